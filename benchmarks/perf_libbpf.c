/*
 * The peer: libbpf's perf_buffer__consume() with a callback that does nothing but count.
 *
 *   perf_libbpf MAP CPU SIZE    prints "ready"; per line on standard input: drain, print
 *                               "NANOSECONDS RECORDS"
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <bpf/libbpf.h>

static uint64_t count;

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void sample(void *context, int cpu, void *data, uint32_t size)
{
	(void)context;
	(void)cpu;
	(void)data;
	(void)size;
	count++;
}

int main(int argc, char **argv)
{
	struct perf_buffer *buffer;
	char line[16];

	if (argc != 4)
		return 1;
	buffer = perf_buffer__new(atoi(argv[1]),
				  strtoul(argv[3], NULL, 0) / (size_t)sysconf(_SC_PAGESIZE), sample,
				  NULL, NULL, NULL);
	if (!buffer) {
		perror("perf_libbpf");
		return 1;
	}
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		uint64_t start = now();

		count = 0;
		perf_buffer__consume(buffer);
		printf("%llu %llu\n", (unsigned long long)(now() - start), (unsigned long long)count);
		fflush(stdout);
	}
	perf_buffer__free(buffer);
	return 0;
}
