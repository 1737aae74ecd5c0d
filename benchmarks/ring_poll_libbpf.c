/*
 * The peer under load: libbpf's ring_buffer__poll() in a loop, with a callback that counts.
 *
 *   ring_poll_libbpf FD    reads until SIGTERM, then prints how many records it saw
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <bpf/libbpf.h>

static uint64_t count;
static volatile sig_atomic_t stopped;

static void stop(int number)
{
	(void)number;
	stopped = 1;
}

static int record(void *context, void *data, size_t size)
{
	(void)context;
	(void)data;
	(void)size;
	count++;
	return 0;
}

int main(int argc, char **argv)
{
	struct ring_buffer *ring;

	ring = argc == 2 ? ring_buffer__new(atoi(argv[1]), record, NULL, NULL) : NULL;
	if (!ring) {
		perror("ring_poll_libbpf");
		return 1;
	}
	signal(SIGTERM, stop);
	puts("ready");
	fflush(stdout);
	while (!stopped)
		ring_buffer__poll(ring, 10);
	ring_buffer__consume(ring);
	printf("%llu\n", (unsigned long long)count);
	ring_buffer__free(ring);
	return 0;
}
