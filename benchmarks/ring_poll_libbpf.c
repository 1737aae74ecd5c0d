/*
 * The peer under load: libbpf's ring_buffer__poll() in a loop, with a callback that counts.
 *
 *   ring_poll_libbpf FD    reads until standard input ends, then prints how many records it saw
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/poll.h>
#include <unistd.h>

#include <bpf/libbpf.h>

static uint64_t count;

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
	struct pollfd input = { .fd = 0, .events = POLLIN };

	ring = argc == 2 ? ring_buffer__new(atoi(argv[1]), record, NULL, NULL) : NULL;
	if (!ring) {
		perror("ring_poll_libbpf");
		return 1;
	}
	puts("ready");
	fflush(stdout);
	while (!poll(&input, 1, 0))
		ring_buffer__poll(ring, 10);
	ring_buffer__consume(ring);
	printf("%llu\n", (unsigned long long)count);
	ring_buffer__free(ring);
	return 0;
}
