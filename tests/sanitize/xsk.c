/* The rings of AF_XDP sockets, with the part of the kernel played by the driver. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include <linux/if_xdp.h>

#include "driver.h"

#define HALF 8
#define FRAME 256
#define SHARED_FRAMES 20000

/* A ring of HALF entries of `entry` bytes: positions, which begin at `start`, and entries. */
static struct ebpf_xsk_ring ring_of(uint64_t entry, uint32_t start)
{
	uint32_t *positions = calloc(1, 2 * sizeof(uint32_t));
	struct ebpf_xsk_ring ring = { .size = HALF };

	EXPECT(positions);
	positions[0] = positions[1] = start;
	ring.producer = (uintptr_t)positions;
	ring.consumer = (uintptr_t)(positions + 1);
	ring.entries = (uintptr_t)calloc(HALF, entry);
	EXPECT(ring.entries);
	return ring;
}

/* As ebpf_xsk_open() leaves it, but that the positions, of a used socket, are at `start`. */
static struct ebpf_xsk xsk_in_memory(uint32_t start)
{
	struct ebpf_xsk xsk = { .half = HALF, .frame = FRAME, .umem_length = 2 * HALF * FRAME };
	uint64_t *idle = calloc(HALF, sizeof(*idle));

	xsk.fill = ring_of(sizeof(uint64_t), start);
	xsk.completion = ring_of(sizeof(uint64_t), start);
	xsk.rx = ring_of(sizeof(struct xdp_desc), start);
	xsk.tx = ring_of(sizeof(struct xdp_desc), start);
	xsk.umem = (uintptr_t)calloc(2 * HALF, FRAME);
	EXPECT(idle && xsk.umem);
	for (uint64_t n = 0; n < HALF; n++) {
		((uint64_t *)(uintptr_t)xsk.fill.entries)[n] = n * FRAME;
		idle[n] = HALF + n;
	}
	*(uint32_t *)(uintptr_t)xsk.fill.producer = start + HALF;
	xsk.idle = (uintptr_t)idle;
	xsk.idle_count = HALF;
	return xsk;
}

static void free_xsk(struct ebpf_xsk *xsk)
{
	struct ebpf_xsk_ring *rings[] = { &xsk->fill, &xsk->completion, &xsk->rx, &xsk->tx };

	for (int n = 0; n < 4; n++) {
		free((void *)(uintptr_t)rings[n]->producer);
		free((void *)(uintptr_t)rings[n]->entries);
	}
	free((void *)(uintptr_t)xsk->umem);
	free((void *)(uintptr_t)xsk->idle);
}

static _Atomic uint32_t *position(uint64_t address)
{
	return (_Atomic uint32_t *)(uintptr_t)address;
}

/* What the kernel does with a frame that arrives; 0 where it has no place for it. */
static int arrives(const struct ebpf_xsk *xsk, uint32_t number, uint32_t length)
{
	uint32_t at = atomic_load_explicit(position(xsk->fill.consumer), memory_order_relaxed);
	uint32_t next = atomic_load_explicit(position(xsk->rx.producer), memory_order_relaxed);
	struct xdp_desc *made = (struct xdp_desc *)(uintptr_t)xsk->rx.entries + next % HALF;
	uint64_t place;

	if (at == atomic_load_explicit(position(xsk->fill.producer), memory_order_acquire))
		return 0;
	if (next - atomic_load_explicit(position(xsk->rx.consumer), memory_order_acquire) == HALF)
		return 0;
	place = ((uint64_t *)(uintptr_t)xsk->fill.entries)[at % HALF] + 16;
	memset((void *)(uintptr_t)(xsk->umem + place), (int)(number & 0xFF), length);
	*made = (struct xdp_desc){ .addr = place, .len = length };
	atomic_store_explicit(position(xsk->fill.consumer), at + 1, memory_order_release);
	atomic_store_explicit(position(xsk->rx.producer), next + 1, memory_order_release);
	return 1;
}

/* Takes a frame that is to be sent, which has to be one of `number`; 0 where there is none. */
static int leaves(const struct ebpf_xsk *xsk, uint32_t number)
{
	uint32_t at = atomic_load_explicit(position(xsk->tx.consumer), memory_order_relaxed);
	uint32_t next = atomic_load_explicit(position(xsk->completion.producer),
					     memory_order_relaxed);
	const struct xdp_desc *found = (struct xdp_desc *)(uintptr_t)xsk->tx.entries + at % HALF;
	const unsigned char *frame;

	if (at == atomic_load_explicit(position(xsk->tx.producer), memory_order_acquire))
		return 0;
	frame = (const unsigned char *)(uintptr_t)(xsk->umem + found->addr);
	EXPECT(found->addr >= HALF * FRAME && found->len == 1 + number % 100);
	for (uint32_t n = 0; n < found->len; n++)
		EXPECT(frame[n] == (number & 0xFF));
	((uint64_t *)(uintptr_t)xsk->completion.entries)[next % HALF] = found->addr;
	atomic_store_explicit(position(xsk->tx.consumer), at + 1, memory_order_release);
	atomic_store_explicit(position(xsk->completion.producer), next + 1, memory_order_release);
	return 1;
}

/* Receives up to 3 frames, the first of which is `number`; how many. */
static uint32_t receive(struct ebpf_xsk *xsk, uint32_t number)
{
	unsigned char buffer[3 * FRAME];
	uint32_t ends[3], start = 0;
	int64_t count = ebpf_xsk_receive(xsk, buffer, sizeof(buffer), ends, 3);

	EXPECT(count >= 0 && count <= 3);
	for (uint32_t n = 0; n < count; n++) {
		EXPECT(ends[n] - start == 1 + (number + n) % 100);
		for (; start < ends[n]; start++)
			EXPECT(buffer[start] == ((number + n) & 0xFF));
	}
	EXPECT(xsk->used == start);
	return (uint32_t)count;
}

static uint32_t transmit(struct ebpf_xsk *xsk, uint32_t number)
{
	unsigned char frame[100];
	uint32_t end = 1 + number % 100;
	int64_t count;

	memset(frame, (int)(number & 0xFF), end);
	count = ebpf_xsk_send(xsk, frame, &end, 1);
	EXPECT(count == 0 || count == 1);
	return (uint32_t)count;
}

/* Nothing to receive, nothing sent: no position moves. And nothing is touched after closing. */
static void test_empty(void)
{
	struct ebpf_xsk xsk = xsk_in_memory(0);
	unsigned char frame[FRAME] = { 0 };
	uint32_t end = FRAME;

	EXPECT(ebpf_xsk_receive(&xsk, frame, sizeof(frame), &end, 1) == 0 && xsk.used == 0);
	EXPECT(ebpf_xsk_send(&xsk, frame, &end, 0) == 0);
	EXPECT(ebpf_xsk_unsent(&xsk) == 0);
	EXPECT(*position(xsk.fill.producer) == HALF && *position(xsk.tx.producer) == 0);
	free_xsk(&xsk);
	xsk.umem = 0;
	EXPECT(ebpf_xsk_receive(&xsk, frame, sizeof(frame), &end, 1) == -EBADF);
	EXPECT(ebpf_xsk_send(&xsk, frame, &end, 1) == -EBADF);
	EXPECT(ebpf_xsk_unsent(&xsk) == -EBADF);
}

/* All frames at once, in rings that end in the middle of them; each place comes back once. */
static void test_full_to_receive(uint32_t start)
{
	struct ebpf_xsk xsk = xsk_in_memory(start);
	uint32_t ends[HALF], total = 0, seen = 0;
	unsigned char *buffer;

	for (uint32_t n = 0; n < HALF; n++) {
		EXPECT(arrives(&xsk, n, 1 + n));
		total += 1 + n;
	}
	EXPECT(!arrives(&xsk, HALF, 1));
	buffer = malloc(total);
	EXPECT(buffer);
	/* One less than all of them take; the last one is left where it is. */
	EXPECT(ebpf_xsk_receive(&xsk, buffer, total - 1, ends, HALF) == HALF - 1);
	EXPECT(xsk.used == total - HALF && ends[HALF - 2] == xsk.used);
	for (uint32_t n = 0; n < HALF - 1; n++)
		EXPECT(buffer[ends[n] - 1] == n && buffer[ends[n] - 1 - n] == n);
	EXPECT(*position(xsk.rx.consumer) == start + HALF - 1);
	EXPECT(ebpf_xsk_receive(&xsk, buffer, HALF - 1, ends, 1) == -ENOSPC && xsk.used == 0);
	EXPECT(ebpf_xsk_receive(&xsk, buffer, HALF, ends, 0) == 0);
	EXPECT(ebpf_xsk_receive(&xsk, buffer, HALF, ends, 1) == 1 && ends[0] == HALF);
	EXPECT(*position(xsk.fill.producer) == start + 2 * HALF);
	for (uint32_t n = 0; n < HALF; n++) {
		uint64_t place = ((uint64_t *)(uintptr_t)xsk.fill.entries)[n];

		EXPECT(place % FRAME == 0 && place < HALF * FRAME);
		seen |= 1u << place / FRAME;
	}
	EXPECT(seen == (1u << HALF) - 1);
	free(buffer);
	free_xsk(&xsk);
}

/* As many frames as there is room for, in one batch, and taken back in one. */
static void test_full_to_send(uint32_t start)
{
	struct ebpf_xsk xsk = xsk_in_memory(start);
	unsigned char *frames = calloc(HALF + 1, FRAME);
	uint32_t ends[HALF + 1], number;

	EXPECT(frames);
	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t n = 0, at = 0; n <= HALF; n++) {
			number = round * HALF + n;
			memset(frames + at, (int)number, 1 + number);
			ends[n] = at += 1 + number;
		}
		EXPECT(ebpf_xsk_send(&xsk, frames, ends, HALF + 1) == HALF);
		EXPECT(ebpf_xsk_send(&xsk, frames, ends, 1) == 0);
		EXPECT(ebpf_xsk_unsent(&xsk) == HALF);
		for (uint32_t n = 0; n < HALF; n++)
			EXPECT(leaves(&xsk, round * HALF + n));
		EXPECT(ebpf_xsk_unsent(&xsk) == 0);
	}
	free(frames);
	free_xsk(&xsk);
}

/* Lengths: the longest frame, one that is longer, and ends that are not in their order. */
static void test_lengths(void)
{
	struct ebpf_xsk xsk = xsk_in_memory(0);
	unsigned char frames[FRAME + 3] = { 0 };
	const struct xdp_desc *made = (struct xdp_desc *)(uintptr_t)xsk.tx.entries;

	EXPECT(ebpf_xsk_send(&xsk, frames, (uint32_t[]){ FRAME + 1 }, 1) == -EMSGSIZE);
	EXPECT(xsk.idle_count == HALF && *position(xsk.tx.producer) == 0);
	EXPECT(ebpf_xsk_send(&xsk, frames, (uint32_t[]){ 2, FRAME + 3 }, 2) == 1);
	EXPECT(ebpf_xsk_send(&xsk, frames, (uint32_t[]){ 2, 1 }, 2) == 1);
	EXPECT(ebpf_xsk_send(&xsk, frames, (uint32_t[]){ FRAME }, 1) == 1);
	EXPECT(made[0].len == 2 && made[1].len == 2 && made[2].len == FRAME);
	EXPECT(xsk.idle_count == HALF - 3 && ebpf_xsk_unsent(&xsk) == 3);
	free_xsk(&xsk);
}

/* Descriptors that no kernel writes: nothing is read, and no place is given back. */
static void test_descriptors(void)
{
	static const struct xdp_desc damaged[] = {
		{ .addr = HALF * FRAME },
		{ .addr = HALF * FRAME, .len = 1 },
		{ .addr = 2 * HALF * FRAME - 1, .len = 1 },
		{ .addr = 2 * HALF * FRAME, .len = 1 },
		{ .addr = HALF * FRAME - 1, .len = 2 },
		{ .addr = FRAME - 1, .len = 2 },
		{ .addr = 0, .len = FRAME + 1 },
		{ .addr = 0, .len = UINT32_MAX },
		{ .addr = 16, .len = UINT32_MAX - 15 },
		{ .addr = UINT64_MAX, .len = 1 },
		{ .addr = UINT64_MAX - FRAME + 1, .len = FRAME },
		/* As of frames that begin anywhere (XDP_UMEM_UNALIGNED_CHUNK_FLAG). */
		{ .addr = 16ull << XSK_UNALIGNED_BUF_OFFSET_SHIFT, .len = 1 },
	};
	unsigned char *buffer = malloc(2 * FRAME);
	uint32_t ends[2];

	EXPECT(buffer);
	for (size_t n = 0; n < sizeof(damaged) / sizeof(*damaged); n++) {
		struct ebpf_xsk xsk = xsk_in_memory(UINT32_MAX);
		struct xdp_desc *second = (struct xdp_desc *)(uintptr_t)xsk.rx.entries;

		EXPECT(arrives(&xsk, 1, 1) && arrives(&xsk, 2, 1));
		*second = damaged[n];
		EXPECT(ebpf_xsk_receive(&xsk, buffer, 2 * FRAME, ends, 2) == -EPROTO);
		EXPECT(*position(xsk.rx.consumer) == UINT32_MAX);
		EXPECT(*position(xsk.fill.producer) == UINT32_MAX + HALF);
		/* What is before it can be had. */
		EXPECT(ebpf_xsk_receive(&xsk, buffer, 2 * FRAME, ends, 1) == 1 && buffer[0] == 1);
		*second = (struct xdp_desc){ .addr = (HALF - 1) * FRAME, .len = FRAME };
		EXPECT(ebpf_xsk_receive(&xsk, buffer, FRAME, ends, 1) == 1 && ends[0] == FRAME);
		free_xsk(&xsk);
	}
	free(buffer);
}

/* Frames that cannot have been sent: they do not become free, and nothing is written elsewhere. */
static void test_completions(void)
{
	static const uint64_t damaged[] = {
		0, (HALF - 1) * FRAME, HALF * FRAME - 1, 2 * HALF * FRAME, UINT64_MAX,
	};
	unsigned char frame = 0;
	uint32_t ends[2] = { 1, 1 };

	for (size_t n = 0; n < sizeof(damaged) / sizeof(*damaged); n++) {
		struct ebpf_xsk xsk = xsk_in_memory(UINT32_MAX);
		uint64_t *second = (uint64_t *)(uintptr_t)xsk.completion.entries;

		EXPECT(transmit(&xsk, 0) && transmit(&xsk, 1));
		EXPECT(leaves(&xsk, 0) && leaves(&xsk, 1));
		*second = damaged[n];
		for (int again = 0; again < 2; again++)
			EXPECT(ebpf_xsk_send(&xsk, &frame, ends, 1) == -EPROTO);
		EXPECT(xsk.idle_count == HALF - 2);
		EXPECT(*position(xsk.completion.consumer) == UINT32_MAX);
		EXPECT(*position(xsk.tx.producer) == 1);
		free_xsk(&xsk);
	}
}

/* More frames come back than were sent: there is no room for another number. */
static void test_completed_twice(void)
{
	struct ebpf_xsk xsk = xsk_in_memory(0);
	unsigned char frame = 0;
	uint32_t end = 1;

	EXPECT(transmit(&xsk, 0) && leaves(&xsk, 0));
	((uint64_t *)(uintptr_t)xsk.completion.entries)[1] = HALF * FRAME;
	*position(xsk.completion.producer) = 2;
	EXPECT(ebpf_xsk_send(&xsk, &frame, &end, 1) == -EPROTO && xsk.idle_count == HALF - 1);
	free_xsk(&xsk);
}

/* Positions that are further from each other than the ring is long, or the wrong way round. */
static void test_positions(void)
{
	static const uint32_t damaged[] = { HALF + 1, 1u << 31, UINT32_MAX };
	unsigned char frame = 0;
	uint32_t end = 1;

	for (size_t n = 0; n < sizeof(damaged) / sizeof(*damaged); n++) {
		struct ebpf_xsk xsk = xsk_in_memory(7);

		*position(xsk.rx.producer) = 7 + damaged[n];
		EXPECT(ebpf_xsk_receive(&xsk, &frame, 1, &end, 1) == -EPROTO);
		*position(xsk.completion.producer) = 7 + damaged[n];
		EXPECT(ebpf_xsk_send(&xsk, &frame, &end, 1) == -EPROTO);
		*position(xsk.tx.consumer) = 7 - damaged[n];
		EXPECT(ebpf_xsk_unsent(&xsk) == -EPROTO);
		free_xsk(&xsk);
	}
}

/* What comes and goes at random, from positions on that are `start`. */
static void test_random(uint32_t start)
{
	struct ebpf_xsk xsk = xsk_in_memory(start);
	uint32_t arrived = 0, received = 0, sent = 0, left = 0;

	while (received < 1000 || left < 1000) {
		for (uint64_t n = random_below(HALF + 2); n; n--)
			arrived += (uint32_t)arrives(&xsk, arrived, 1 + arrived % 100);
		received += receive(&xsk, received);
		for (uint64_t n = random_below(HALF + 2); n; n--)
			sent += transmit(&xsk, sent);
		for (uint64_t n = random_below(HALF + 2); n; n--)
			left += (uint32_t)leaves(&xsk, left);
		EXPECT(ebpf_xsk_unsent(&xsk) == sent - left);
	}
	EXPECT(*position(xsk.rx.consumer) == start + received);
	EXPECT(*position(xsk.fill.producer) == start + HALF + received);
	EXPECT(*position(xsk.tx.producer) == start + sent);
	free_xsk(&xsk);
}

void xsk_memory(void)
{
	/* Positions are of 32 bits and go on for ever: past the last, and past the sign. */
	static const uint32_t starts[] = { 0, 5, UINT32_MAX - 2, (1u << 31) - 3 };

	test_empty();
	for (size_t n = 0; n < sizeof(starts) / sizeof(*starts); n++) {
		test_full_to_receive(starts[n]);
		test_full_to_send(starts[n]);
		test_random(starts[n]);
	}
	test_lengths();
	test_descriptors();
	test_completions();
	test_completed_twice();
	test_positions();
}

static void *play_kernel(void *argument)
{
	const struct ebpf_xsk *xsk = argument;
	uint32_t arrived = 0, left = 0;

	while (arrived < SHARED_FRAMES || left < SHARED_FRAMES) {
		int done = 0;

		if (arrived < SHARED_FRAMES)
			done |= arrives(xsk, arrived, 1 + arrived % 100);
		arrived += (uint32_t)done;
		if (left < SHARED_FRAMES && leaves(xsk, left)) {
			left++;
			done = 1;
		}
		if (!done)
			sched_yield();
	}
	return NULL;
}

void xsk_threads(void)
{
	/* In the middle of it the positions come to their end. */
	struct ebpf_xsk xsk = xsk_in_memory(UINT32_MAX - SHARED_FRAMES / 2);
	struct ebpf_xsk shared = xsk;
	uint32_t received = 0, sent = 0;
	pthread_t kernel;

	EXPECT(pthread_create(&kernel, NULL, play_kernel, &shared) == 0);
	while (received < SHARED_FRAMES || sent < SHARED_FRAMES) {
		uint32_t before = received + sent;

		received += receive(&xsk, received);
		if (sent < SHARED_FRAMES)
			sent += transmit(&xsk, sent);
		if (received + sent == before)
			sched_yield();
	}
	EXPECT(pthread_join(kernel, NULL) == 0);
	EXPECT(ebpf_xsk_unsent(&xsk) == 0);
	free_xsk(&xsk);
}
