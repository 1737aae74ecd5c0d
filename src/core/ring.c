#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <linux/bpf.h>

#include "ebpf/core.h"

/* Where a drain writes: `write` appends one record and returns false when it does not fit. */
struct sink {
	unsigned char *start;
	unsigned char *next;
	unsigned char *end;
	uint32_t *ends;
};

typedef int (*write_record)(struct sink *sink, const unsigned char *record, uint32_t length);

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

/*
 * A 32-bit process on a 64-bit kernel: the kernel's positions are wider than those here, and can't
 * be read and written at once. What it runs on, uname() says, unless a personality hides it.
 */
static int narrower_than_kernel(void)
{
	struct utsname name;

	return sizeof(long) == 4 && uname(&name) == 0 &&
	       (strstr(name.machine, "64") || strcmp(name.machine, "s390x") == 0);
}

int64_t ebpf_ring_open(int fd, uint64_t size, struct ebpf_ring *ring)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	void *consumer, *producer;
	int64_t error;

	memset(ring, 0, sizeof(*ring));
	if (narrower_than_kernel())
		return -EOPNOTSUPP;
	if (size < page || (size & (size - 1)) || size > SIZE_MAX / 4)
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
	return 0;
}

void ebpf_ring_close(struct ebpf_ring *ring)
{
	if (!ring->consumer)
		return;
	munmap((void *)(uintptr_t)ring->consumer, ring->page);
	munmap((void *)(uintptr_t)ring->producer, ring->page + 2 * ring->size);
	ring->consumer = 0;
	ring->producer = 0;
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
	if (*producer - *consumer > ring->size || *consumer % BPF_RINGBUF_HDR_SZ)
		return -EPROTO;
	return 0;
}

int64_t ebpf_ring_unread(const struct ebpf_ring *ring)
{
	unsigned long consumer, producer;
	int error = load_positions(ring, &consumer, &producer);

	return error ? error : (int64_t)(producer - consumer);
}

static inline __attribute__((always_inline)) int64_t drain(struct ebpf_ring *ring,
							    struct sink *sink,
							    uint64_t max_records,
							    write_record write)
{
	const unsigned char *data;
	unsigned long consumer, producer;
	uint64_t records = 0, bytes = 0, discarded = 0, shortest = UINT64_MAX, longest = 0;
	int error;

	ring->shortest = 0;
	ring->longest = 0;
	error = load_positions(ring, &consumer, &producer);
	if (error)
		return error;
	data = (const unsigned char *)(uintptr_t)(ring->producer + ring->page);
	while (producer - consumer >= BPF_RINGBUF_HDR_SZ && records < max_records) {
		const unsigned char *header = data + (consumer & (ring->size - 1));
		uint32_t word = atomic_load_explicit((const _Atomic uint32_t *)(const void *)header,
						     memory_order_acquire);
		uint32_t length = word & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		uint64_t step = ((uint64_t)length + BPF_RINGBUF_HDR_SZ + 7) & ~(uint64_t)7;

		if (word & BPF_RINGBUF_BUSY_BIT)
			break;
		/* Only a corrupted ring says this; without the check it would be read past. */
		if (step > producer - consumer) {
			error = -EPROTO;
			break;
		}
		if (word & BPF_RINGBUF_DISCARD_BIT) {
			discarded++;
		} else {
			if (!write(sink, header + BPF_RINGBUF_HDR_SZ, length)) {
				error = -ENOSPC;
				break;
			}
			records++;
			bytes += length;
			shortest = length < shortest ? length : shortest;
			longest = length > longest ? length : longest;
		}
		consumer += step;
	}
	store_position(ring->consumer, consumer);
	ring->records += records;
	ring->bytes += bytes;
	ring->discarded += discarded;
	if (records) {
		ring->shortest = shortest;
		ring->longest = longest;
	}
	/* What was copied before the obstacle counts; the next drain begins with it. */
	return error && !records ? error : (int64_t)records;
}

/*
 * Most records are a few words long, and for those a call to memcpy() costs more than the copy.
 * A record begins 8-byte aligned in the ring and its last word is readable whole.
 */
static inline void copy(unsigned char *to, const unsigned char *from, uint32_t length)
{
	if (length > 64) {
		memcpy(to, from, length);
		return;
	}
	for (; length >= 8; length -= 8, to += 8, from += 8)
		memcpy(to, from, 8);
	if (length)
		memcpy(to, from, length);
}

static inline int write_packed(struct sink *sink, const unsigned char *record, uint32_t length)
{
	if (length > (uint64_t)(sink->end - sink->next))
		return 0;
	copy(sink->next, record, length);
	sink->next += length;
	*sink->ends++ = (uint32_t)(sink->next - sink->start);
	return 1;
}

int64_t ebpf_ring_drain(struct ebpf_ring *ring, void *buffer, uint64_t capacity, uint32_t *ends,
			uint64_t max_records)
{
	struct sink sink = { buffer, buffer, NULL, ends };
	int64_t records;

	/* `ends` counts in 32 bits. */
	if (capacity > UINT32_MAX)
		capacity = UINT32_MAX;
	sink.end = sink.start + capacity;
	records = drain(ring, &sink, max_records, write_packed);
	ring->used = (uint64_t)(sink.next - sink.start);
	return records;
}

static inline int write_pickled(struct sink *sink, const unsigned char *record, uint32_t length)
{
	uint64_t room = (uint64_t)(sink->end - sink->next);

	if (length < 256) {
		if (room < (uint64_t)length + 2)
			return 0;
		*sink->next++ = 'C'; /* SHORT_BINBYTES */
		*sink->next++ = (unsigned char)length;
	} else {
		if (room < (uint64_t)length + 5)
			return 0;
		*sink->next++ = 'B'; /* BINBYTES, length in little-endian order */
		for (int shift = 0; shift < 32; shift += 8)
			*sink->next++ = (unsigned char)(length >> shift);
	}
	copy(sink->next, record, length);
	sink->next += length;
	return 1;
}

int64_t ebpf_ring_drain_pickle(struct ebpf_ring *ring, void *buffer, uint64_t capacity,
			       uint64_t max_records)
{
	static const unsigned char head[] = { 0x80, 3, ']', '(' }; /* PROTO EMPTY_LIST MARK */
	static const unsigned char tail[] = { 'e', '.' };	   /* APPENDS STOP */
	struct sink sink = { buffer, buffer, NULL, NULL };
	int64_t records;

	if (capacity < EBPF_RING_PICKLE_OVERHEAD)
		return -EINVAL;
	memcpy(sink.next, head, sizeof(head));
	sink.next += sizeof(head);
	sink.end = sink.start + capacity - sizeof(tail);
	records = drain(ring, &sink, max_records, write_pickled);
	memcpy(sink.next, tail, sizeof(tail));
	ring->used = (uint64_t)(sink.next - sink.start) + sizeof(tail);
	return records;
}
