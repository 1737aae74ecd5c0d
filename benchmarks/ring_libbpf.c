/*
 * The peer: libbpf's ring_buffer__consume() with a callback that does nothing.
 *
 *   ring_libbpf FD SIZE    per line on standard input: drain, print "NANOSECONDS RECORDS"
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <bpf/libbpf.h>

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int nothing(void *context, void *data, size_t size)
{
	(void)context;
	(void)data;
	(void)size;
	return 0;
}

int main(int argc, char **argv)
{
	struct ring_buffer *ring;
	char line[16];

	ring = argc == 3 ? ring_buffer__new(atoi(argv[1]), nothing, NULL, NULL) : NULL;
	if (!ring) {
		perror("ring_libbpf");
		return 1;
	}
	while (fgets(line, sizeof(line), stdin)) {
		uint64_t start = now();
		int count = ring_buffer__consume(ring);

		printf("%llu %d\n", (unsigned long long)(now() - start), count);
		fflush(stdout);
	}
	ring_buffer__free(ring);
	return 0;
}
