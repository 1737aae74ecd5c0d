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

/* A ring of HALF entries of `entry` bytes: its positions, then the entries. */
static struct ebpf_xsk_ring ring_of(uint64_t entry)
{
	uint32_t *positions = calloc(1, 2 * sizeof(uint32_t));
	struct ebpf_xsk_ring ring = { .size = HALF };

	EXPECT(positions);
	ring.producer = (uintptr_t)positions;
	ring.consumer = (uintptr_t)(positions + 1);
	ring.entries = (uintptr_t)calloc(HALF, entry);
	EXPECT(ring.entries);
	return ring;
}

static struct ebpf_xsk xsk_in_memory(void)
{
	struct ebpf_xsk xsk = { .half = HALF, .frame = FRAME, .umem_length = 2 * HALF * FRAME };
	uint64_t *idle = calloc(HALF, sizeof(*idle));

	xsk.fill = ring_of(sizeof(uint64_t));
	xsk.completion = ring_of(sizeof(uint64_t));
	xsk.rx = ring_of(sizeof(struct xdp_desc));
	xsk.tx = ring_of(sizeof(struct xdp_desc));
	xsk.umem = (uintptr_t)calloc(2 * HALF, FRAME);
	EXPECT(idle && xsk.umem);
	for (uint64_t n = 0; n < HALF; n++) {
		((uint64_t *)(uintptr_t)xsk.fill.entries)[n] = n * FRAME;
		idle[n] = HALF + n;
	}
	*(uint32_t *)(uintptr_t)xsk.fill.producer = HALF;
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

/* Positions and entries that no kernel writes are refused, and nothing outside is read. */
static void test_damaged(void)
{
	struct ebpf_xsk xsk = xsk_in_memory();
	struct xdp_desc *found = (struct xdp_desc *)(uintptr_t)xsk.rx.entries;
	unsigned char frame[FRAME + 1] = { 0 };
	uint32_t end = sizeof(frame);

	EXPECT(ebpf_xsk_send(&xsk, frame, &end, 1) == -EMSGSIZE);
	*position(xsk.rx.producer) = 1;
	*found = (struct xdp_desc){ .addr = HALF * FRAME, .len = 1 };
	EXPECT(ebpf_xsk_receive(&xsk, frame, sizeof(frame), &end, 1) == -EPROTO);
	*found = (struct xdp_desc){ .addr = FRAME - 1, .len = 2 };
	EXPECT(ebpf_xsk_receive(&xsk, frame, sizeof(frame), &end, 1) == -EPROTO);
	*found = (struct xdp_desc){ .addr = 0, .len = 20 };
	EXPECT(ebpf_xsk_receive(&xsk, frame, 19, &end, 1) == -ENOSPC);
	*position(xsk.rx.producer) = HALF + 1;
	EXPECT(ebpf_xsk_receive(&xsk, frame, sizeof(frame), &end, 1) == -EPROTO);
	*position(xsk.completion.producer) = 1;
	EXPECT(ebpf_xsk_send(&xsk, frame, &end, 1) == -EPROTO);
	free_xsk(&xsk);
}

void xsk_memory(void)
{
	struct ebpf_xsk xsk = xsk_in_memory();
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
	free_xsk(&xsk);
	test_damaged();
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
	struct ebpf_xsk xsk = xsk_in_memory();
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
