/*
 * The C limits of the map operations, over the raw system call or over libbpf.
 *
 *   maps_c FD MAPPED_FD BATCH_FD ENTRIES     per line "WAY COUNT" on standard input: do it COUNT
 *                                            times, print the CPU's nanoseconds for one
 *
 * FD is a hash of u32 to u64 with the keys 0 to 999, BATCH_FD one with ENTRIES keys, MAPPED_FD an
 * array of u64 with the flag MMAPABLE. With -DLIBBPF the calls are libbpf's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/bpf.h>

#ifdef LIBBPF
#include <bpf/bpf.h>
#define lookup bpf_map_lookup_elem
#define update bpf_map_update_elem
#define next_key bpf_map_get_next_key
#else
static long sys_bpf(int command, union bpf_attr *attr, unsigned int size)
{
	return syscall(__NR_bpf, command, attr, size);
}

static long lookup(int fd, const void *key, void *value)
{
	union bpf_attr attr = { .map_fd = fd, .key = (uintptr_t)key, .value = (uintptr_t)value };

	return sys_bpf(BPF_MAP_LOOKUP_ELEM, &attr, 32);
}

static long update(int fd, const void *key, const void *value, uint64_t flags)
{
	union bpf_attr attr = {
		.map_fd = fd, .key = (uintptr_t)key, .value = (uintptr_t)value, .flags = flags
	};

	return sys_bpf(BPF_MAP_UPDATE_ELEM, &attr, 32);
}

static long next_key(int fd, const void *key, void *next)
{
	union bpf_attr attr = { .map_fd = fd, .key = (uintptr_t)key, .next_key = (uintptr_t)next };

	return sys_bpf(BPF_MAP_GET_NEXT_KEY, &attr, 32);
}
#endif

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static long batch(int command, int fd, void *in, void *out, uint32_t *keys, uint64_t *values,
		  uint32_t *count)
{
#ifdef LIBBPF
	return command == BPF_MAP_LOOKUP_BATCH
		       ? bpf_map_lookup_batch(fd, in, out, keys, values, count, NULL)
		       : bpf_map_update_batch(fd, keys, values, count, NULL);
#else
	union bpf_attr attr = { .batch = {
		.in_batch = (uintptr_t)in, .out_batch = (uintptr_t)out, .keys = (uintptr_t)keys,
		.values = (uintptr_t)values, .count = *count, .map_fd = fd } };
	long result = sys_bpf(command, &attr, sizeof(attr.batch));

	*count = attr.batch.count;
	return result;
#endif
}

/* All entries, read into `keys` and `values` in chunks of 32,768. */
static void lookup_all(int fd, uint32_t entries, uint32_t *keys, uint64_t *values)
{
	uint32_t cursor, total = 0, count;
	void *at = NULL;

	for (;;) {
		count = entries + 1 - total < 32768 ? entries + 1 - total : 32768;
		long result = batch(BPF_MAP_LOOKUP_BATCH, fd, at, &cursor, keys + total,
				    values + total, &count);
		total += count;
		if (result && errno == ENOENT)
			break;
		if (result)
			fail("lookup batch");
		at = &cursor;
	}
	if (total != entries)
		fail("entries");
}

static void update_all(int fd, uint32_t entries, uint32_t *keys, uint64_t *values)
{
	for (uint32_t at = 0, count; at < entries; at += count) {
		count = entries - at < 32768 ? entries - at : 32768;
		if (batch(BPF_MAP_UPDATE_BATCH, fd, NULL, NULL, keys + at, values + at, &count))
			fail("update batch");
	}
}

static void walk(int fd)
{
	uint32_t key, next;
	uint64_t value;
	void *at = NULL;

	while (next_key(fd, at, &next) == 0) {
		if (lookup(fd, &next, &value))
			fail("lookup");
		key = next;
		at = &key;
	}
}

int main(int argc, char **argv)
{
	int fd = atoi(argv[1]), mapped_fd = atoi(argv[2]), batch_fd = atoi(argv[3]);
	uint32_t entries = argc == 5 ? (uint32_t)strtoul(argv[4], NULL, 0) : 0;
	uint32_t *keys = malloc((entries + 1) * sizeof(*keys));
	uint64_t *values = malloc((entries + 1) * sizeof(*values)), value = 0;
	volatile uint64_t *slots = mmap(NULL, 4096, PROT_READ, MAP_SHARED, mapped_fd, 0);
	char way[32];
	uint32_t count;

	if (slots == MAP_FAILED || !keys || !values)
		fail("maps_c");
	lookup_all(batch_fd, entries, keys, values);
	while (scanf("%31s %u", way, &count) == 2) {
		uint64_t start = now(), sum = 0;

		for (uint32_t i = 0; i < count; i++) {
			uint32_t key = i % 1000;

			if (!strcmp(way, "lookup")) {
				if (lookup(fd, &key, &value))
					fail("lookup");
			} else if (!strcmp(way, "update")) {
				value = i;
				if (update(fd, &key, &value, BPF_ANY))
					fail("update");
			} else if (!strcmp(way, "memory")) {
				sum += slots[i % 512];
			} else if (!strcmp(way, "lookup_batch")) {
				lookup_all(batch_fd, entries, keys, values);
			} else if (!strcmp(way, "update_batch")) {
				update_all(batch_fd, entries, keys, values);
			} else if (!strcmp(way, "walk")) {
				walk(batch_fd);
			}
		}
		printf("%f\n", (double)(now() - start) / count);
		fflush(stdout);
	}
	return 0;
}
