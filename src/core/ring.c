#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <linux/bpf.h>

#include "ebpf/core.h"
#include "sink.h"

/*
 * The kernel stores positions and headers with release order on its side. Positions are
 * `unsigned long`, so on a 32-bit kernel only that many bytes may be read.
 */
static unsigned long load_position(uint64_t page)
{
	return atomic_load_explicit((const _Atomic unsigned long *)(uintptr_t)page,
				    memory_order_acquire);
}

static void store_position(uint64_t page, unsigned long position)
{
	atomic_store_explicit((_Atomic unsigned long *)(uintptr_t)page, position,
			      memory_order_release);
}

/* What a 32-bit process runs on, uname() says, unless a personality hides it. */
int64_t ebpf_ring_supported(void)
{
	struct utsname name;
	int narrow = sizeof(long) == 4 && uname(&name) == 0 &&
		     (strstr(name.machine, "64") || strcmp(name.machine, "s390x") == 0);

	return narrow ? -EOPNOTSUPP : 0;
}

int64_t ebpf_ring_open(int fd, uint64_t size, uint64_t overwrite_at, struct ebpf_ring *ring)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	void *consumer, *producer;
	int64_t error;

	memset(ring, 0, sizeof(*ring));
	if (size < page || (size & (size - 1)) || size > SIZE_MAX / 4 || overwrite_at >= page)
		return -EINVAL;
	consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (consumer == MAP_FAILED)
		return -errno;
	/* The kernel maps the data twice in a row, so a record that wraps reads as one piece. */
	producer = mmap(NULL, page + 2 * size, PROT_READ, MAP_SHARED, fd, (off_t)page);
	if (producer == MAP_FAILED) {
		error = -errno;
		munmap(consumer, page);
		return error;
	}
	ring->consumer = (uintptr_t)consumer;
	ring->producer = (uintptr_t)producer;
	ring->size = size;
	ring->page = page;
	ring->overwrite_at = overwrite_at;
	return 0;
}

void ebpf_ring_close(struct ebpf_ring *ring)
{
	uint64_t consumer = ring->consumer, producer = ring->producer;

	if (!consumer)
		return;
	/* First, for a child that is forked meanwhile: it must not unmap what is there by then. */
	ring->consumer = 0;
	ring->producer = 0;
	munmap((void *)(uintptr_t)consumer, ring->page);
	munmap((void *)(uintptr_t)producer, ring->page + 2 * ring->size);
}

/*
 * Both positions, or -errno. The consumer page is writable by whoever maps the ring, so positions
 * that cannot be are refused: they would have us read outside the mapping.
 */
static int load_positions(const struct ebpf_ring *ring, unsigned long *consumer,
			  unsigned long *producer)
{
	if (!ring->consumer)
		return -EBADF;
	*consumer = load_position(ring->consumer);
	/*
	 * The kernel wakes a reader when it commits the record at the consumer's position. A reader
	 * that sees no record and then waits must have published its position before it looked.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	*producer = load_position(ring->producer);
	if (*consumer % BPF_RINGBUF_HDR_SZ)
		return -EPROTO;
	/* The oldest record that is left; the kernel stores it before the producer's position. */
	if (ring->overwrite_at) {
		unsigned long oldest = load_position(ring->producer + ring->overwrite_at);

		if ((long)(oldest - *consumer) > 0)
			*consumer = oldest;
		/* It went on meanwhile, so there is more than that. */
		if ((long)(*producer - *consumer) < 0)
			*producer = *consumer;
	}
	return *producer - *consumer > ring->size ? -EPROTO : 0;
}

int64_t ebpf_ring_unread(const struct ebpf_ring *ring)
{
	unsigned long consumer, producer;
	int error = load_positions(ring, &consumer, &producer);

	return error ? error : (int64_t)(producer - consumer);
}

/* The header of a record, as far as it concerns a reader. */
struct header {
	uint32_t length;
	uint32_t flags;
	uint64_t step;
};

static inline struct header load_header(const unsigned char *at)
{
	uint32_t word = atomic_load_explicit((const _Atomic uint32_t *)(const void *)at,
					     memory_order_acquire);
	struct header header;

	header.flags = word & (BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
	header.length = word ^ header.flags;
	header.step = ((uint64_t)header.length + BPF_RINGBUF_HDR_SZ + 7) & ~(uint64_t)7;
	return header;
}

/* Whether the kernel has overwritten the record at `position` by now: what was read of it before
 * this call is then worth nothing. `oldest` is the record to go on with. */
static inline int overwritten(const struct ebpf_ring *ring, unsigned long position,
			      unsigned long *oldest)
{
	atomic_thread_fence(memory_order_acquire);
	*oldest = load_position(ring->producer + ring->overwrite_at);
	return (long)(*oldest - position) > 0;
}

static const unsigned char *data_of(const struct ebpf_ring *ring)
{
	return (const unsigned char *)(uintptr_t)(ring->producer + ring->page);
}

int64_t ebpf_ring_ready(struct ebpf_ring *ring)
{
	unsigned long consumer, producer, start, oldest, first = 0;
	int64_t ready = 0;
	int error;

	if (ring->consumer)
		first = load_position(ring->consumer);
	error = load_positions(ring, &consumer, &producer);
	if (error)
		return error;
	start = consumer;
	while (!ready && producer - consumer >= BPF_RINGBUF_HDR_SZ) {
		struct header header = load_header(data_of(ring) + (consumer & (ring->size - 1)));

		if (ring->overwrite_at && overwritten(ring, consumer, &oldest))
			ready = 1;
		else if (header.flags & BPF_RINGBUF_BUSY_BIT)
			ready = 2;
		else if (!(header.flags & BPF_RINGBUF_DISCARD_BIT) ||
			 header.step > producer - consumer)
			ready = 1;
		else {
			ring->discarded++;
			consumer += header.step;
		}
	}
	/* Otherwise the descriptor would stay readable for the sake of nothing. */
	if (consumer != start) {
		/* The next drain begins behind what was overwritten before. */
		ring->overwritten += start - first;
		store_position(ring->consumer, consumer);
	}
	return ready;
}

static inline __attribute__((always_inline)) int64_t drain(struct ebpf_ring *ring,
							    struct sink *sink,
							    uint64_t max_records,
							    write_record write, int overwrite)
{
	const unsigned char *data;
	unsigned long consumer, producer, oldest, first = 0;
	struct tally tally = { 0, 0, UINT64_MAX, 0 };
	/* Copies: records are copied through pointers to bytes, which may point at any struct. */
	const uint64_t mask = ring->size - 1;
	struct sink out = *sink;
	uint64_t discarded = 0;
	int error;

	ring->shortest = 0;
	ring->longest = 0;
	if (ring->consumer)
		first = load_position(ring->consumer);
	error = load_positions(ring, &consumer, &producer);
	if (error)
		return error;
	if (overwrite)
		ring->overwritten += consumer - first;
	data = data_of(ring);
	while (producer - consumer >= BPF_RINGBUF_HDR_SZ && tally.records < max_records) {
		const unsigned char *at = data + (consumer & mask);
		struct source source = { at + BPF_RINGBUF_HDR_SZ, NULL, UINT64_MAX };
		struct header header = load_header(at);
		struct sink before = out;
		int fits = 1;

		/* Only a corrupted ring says this; without the check it would be read past. */
		if (!(header.flags & BPF_RINGBUF_BUSY_BIT) && header.step > producer - consumer)
			error = -EPROTO;
		else if (!header.flags)
			fits = write(&out, source, header.length);
		if (overwrite && overwritten(ring, consumer, &oldest)) {
			out = before;
			error = 0;
			ring->overwritten += oldest - consumer;
			consumer = oldest;
			if ((long)(producer - consumer) < 0)
				break;
			continue;
		}
		if (!fits)
			error = -ENOSPC;
		if (error || header.flags & BPF_RINGBUF_BUSY_BIT)
			break;
		if (header.flags & BPF_RINGBUF_DISCARD_BIT)
			discarded++;
		else
			count(&tally, header.length);
		consumer += header.step;
	}
	*sink = out;
	store_position(ring->consumer, consumer);
	ring->records += tally.records;
	ring->bytes += tally.bytes;
	ring->discarded += discarded;
	if (tally.records) {
		ring->shortest = tally.shortest;
		ring->longest = tally.longest;
	}
	/* What was copied before the obstacle counts; the next drain begins with it. */
	return error && !tally.records ? error : (int64_t)tally.records;
}

int64_t ebpf_ring_drain(struct ebpf_ring *ring, void *buffer, uint64_t capacity, uint32_t *ends,
			uint64_t max_records)
{
	struct sink sink = packed_sink(buffer, capacity, ends);
	int64_t records;

	if (ring->overwrite_at)
		records = drain(ring, &sink, max_records, write_packed, 1);
	else
		records = drain(ring, &sink, max_records, write_packed, 0);
	ring->used = (uint64_t)(sink.next - sink.start);
	return records;
}

int64_t ebpf_ring_drain_pickle(struct ebpf_ring *ring, void *buffer, uint64_t capacity,
			       uint64_t max_records)
{
	struct sink sink;
	int64_t records;

	if (capacity < EBPF_RING_PICKLE_OVERHEAD)
		return -EINVAL;
	sink = pickled_sink(buffer, capacity);
	if (ring->overwrite_at)
		records = drain(ring, &sink, max_records, write_pickled, 1);
	else
		records = drain(ring, &sink, max_records, write_pickled, 0);
	finish_pickle(&sink);
	ring->used = (uint64_t)(sink.next - sink.start);
	return records;
}
