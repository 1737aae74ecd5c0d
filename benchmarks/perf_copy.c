/*
 * The C limit of draining one CPU's ring of a perf buffer: walk the headers, copy every payload, of
 * whatever length, into one buffer, release the space once.
 *
 *   perf_copy MAP CPU SIZE    prints "ready"; per line on standard input: drain, print "NANOSECONDS
 *                             RECORDS"
 */
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/bpf.h>
#include <linux/perf_event.h>

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static struct perf_event_mmap_page *open_ring(int map, int cpu, size_t size)
{
	struct perf_event_attr event = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(event),
		.config = PERF_COUNT_SW_BPF_OUTPUT,
		.sample_period = 1,
		.sample_type = PERF_SAMPLE_RAW,
		.wakeup_events = 1,
	};
	union bpf_attr update = { 0 };
	int fd = (int)syscall(SYS_perf_event_open, &event, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	void *ring = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE) + size, PROT_READ | PROT_WRITE,
			  MAP_SHARED, fd, 0);

	update.map_fd = (uint32_t)map;
	update.key = (uintptr_t)&cpu;
	update.value = (uintptr_t)&fd;
	if (ring == MAP_FAILED || syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &update, sizeof(update))) {
		perror("perf_copy");
		exit(1);
	}
	return ring;
}

static uint64_t drain(struct perf_event_mmap_page *ring, size_t size, char *next)
{
	const char *data = (const char *)ring + sysconf(_SC_PAGESIZE);
	uint64_t end = atomic_load_explicit((_Atomic uint64_t *)&ring->data_head,
					    memory_order_acquire);
	uint64_t at = ring->data_tail, count = 0;

	while (at < end) {
		const struct perf_event_header *header = (const void *)(data + (at & (size - 1)));
		size_t from = (at + sizeof(*header)) & (size - 1);
		uint32_t length = *(const uint32_t *)(const void *)(data + from);
		size_t left;

		from = (from + sizeof(length)) & (size - 1);
		left = size - from;
		if (header->type == PERF_RECORD_SAMPLE) {
			if (left >= length) {
				memcpy(next, data + from, length);
			} else {
				memcpy(next, data + from, left);
				memcpy(next + left, data, length - left);
			}
			next += length;
			count++;
		}
		at += header->size;
	}
	atomic_store_explicit((_Atomic uint64_t *)&ring->data_tail, at, memory_order_release);
	return count;
}

int main(int argc, char **argv)
{
	size_t size = argc == 4 ? strtoul(argv[3], NULL, 0) : 0;
	struct perf_event_mmap_page *ring;
	char *buffer = malloc(size);
	char line[16];

	if (argc != 4 || !buffer)
		return 1;
	ring = open_ring(atoi(argv[1]), atoi(argv[2]), size);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		uint64_t start = now(), count = drain(ring, size, buffer);

		printf("%llu %llu\n", (unsigned long long)(now() - start), (unsigned long long)count);
		fflush(stdout);
	}
	return 0;
}
