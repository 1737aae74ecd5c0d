/*
 * The C limit of draining a ring buffer: walk the headers, copy every payload into one buffer,
 * release the space once.
 *
 *   ring_copy FD SIZE    per line on standard input: drain, print "NANOSECONDS RECORDS"
 */
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/bpf.h>

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int main(int argc, char **argv)
{
	int fd = argc == 3 ? atoi(argv[1]) : -1;
	size_t size = argc == 3 ? strtoul(argv[2], NULL, 0) : 0;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	_Atomic unsigned long *consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *producer = mmap(NULL, page + 2 * size, PROT_READ, MAP_SHARED, fd, (off_t)page);
	char *buffer = malloc(size);
	char line[16];

	if (consumer == MAP_FAILED || producer == MAP_FAILED || !buffer) {
		perror("ring_copy");
		return 1;
	}
	while (fgets(line, sizeof(line), stdin)) {
		uint64_t start = now(), count = 0;
		unsigned long at = atomic_load_explicit(consumer, memory_order_relaxed);
		unsigned long end = atomic_load_explicit((_Atomic unsigned long *)producer,
							 memory_order_acquire);
		char *next = buffer;

		while (at < end) {
			char *header = producer + page + (at & (size - 1));
			uint32_t length = atomic_load_explicit((_Atomic uint32_t *)header,
							       memory_order_acquire);

			if (length & BPF_RINGBUF_BUSY_BIT)
				break;
			if (!(length & BPF_RINGBUF_DISCARD_BIT)) {
				memcpy(next, header + BPF_RINGBUF_HDR_SZ, length);
				next += length;
				count++;
			}
			length &= ~BPF_RINGBUF_DISCARD_BIT;
			at += (length + BPF_RINGBUF_HDR_SZ + 7) & ~7ul;
		}
		atomic_store_explicit(consumer, at, memory_order_release);
		printf("%llu %llu\n", (unsigned long long)(now() - start), (unsigned long long)count);
		fflush(stdout);
	}
	return 0;
}
