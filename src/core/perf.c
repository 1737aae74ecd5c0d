#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/perf_event.h>

#include "ebpf/core.h"
#include "sink.h"

/* The smallest sample: a header, the length of the raw data, and data that fill the 8 bytes. */
#define SMALLEST 16

static struct ebpf_perf_mmap_page *control(const struct ebpf_perf_ring *ring)
{
	return (struct ebpf_perf_mmap_page *)(uintptr_t)ring->base;
}

/* Positions have 64 bits on every kernel; a 32-bit one stores them in two halves, as it reads ours. */
static uint64_t load_head(const struct ebpf_perf_ring *ring)
{
	return atomic_load_explicit((_Atomic uint64_t *)&control(ring)->data_head,
				    memory_order_acquire);
}

static void store_tail(struct ebpf_perf_ring *ring, uint64_t tail)
{
	ring->tail = tail;
	atomic_store_explicit((_Atomic uint64_t *)&control(ring)->data_tail, tail,
			      memory_order_release);
}

int64_t ebpf_perf_open(int fd, uint64_t size, int backward, struct ebpf_perf_ring *ring)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	void *base;

	memset(ring, 0, sizeof(*ring));
	if (size < page || (size & (size - 1)) || size > SIZE_MAX / 4)
		return -EINVAL;
	base = mmap(NULL, page + size, backward ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		    0);
	if (base == MAP_FAILED)
		return -errno;
	ring->base = (uintptr_t)base;
	ring->size = size;
	ring->page = page;
	return 0;
}

void ebpf_perf_close(struct ebpf_perf_ring *ring)
{
	if (!ring->base)
		return;
	munmap((void *)(uintptr_t)ring->base, ring->page + ring->size);
	ring->base = 0;
}

int64_t ebpf_perf_pause(int perf_fd, int pause)
{
	return ioctl(perf_fd, PERF_EVENT_IOC_PAUSE_OUTPUT, pause) < 0 ? -errno : 0;
}

static const unsigned char *at(const struct ebpf_perf_ring *ring, uint64_t position)
{
	return (const unsigned char *)(uintptr_t)(ring->base + ring->page) +
	       (position & (ring->size - 1));
}

/* Everything in a ring is 8-byte aligned, so a word of that size never wraps. */
static uint64_t word_at(const struct ebpf_perf_ring *ring, uint64_t position)
{
	uint64_t word;

	memcpy(&word, at(ring, position), sizeof(word));
	return word;
}

/* Whatever is in the rings comes from the kernel, but was within reach of this process: a length
 * that cannot be would have us read outside of the mapping. */
static int load_header(const struct ebpf_perf_ring *ring, uint64_t position, uint64_t left,
		       struct perf_event_header *header)
{
	if (left < sizeof(*header))
		return -EPROTO;
	memcpy(header, at(ring, position), sizeof(*header));
	if (header->size < sizeof(*header) || header->size % 8 || header->size > left)
		return -EPROTO;
	return 0;
}

/*
 * What a drain of one ring needs of it, in variables of its own: the copies of records go through
 * pointers to bytes, which to the compiler may point at any struct.
 */
struct view {
	const unsigned char *data;
	uint64_t size;
	uint32_t before;      /* bytes of a sample before the length of its data */
	uint32_t record_size; /* as in struct ebpf_perf */
	uint32_t padded;      /* what the kernel makes of record_size */
};

static inline struct view view_of(const struct ebpf_perf *perf, const struct ebpf_perf_ring *ring)
{
	struct view view = { at(ring, 0), ring->size, sizeof(struct perf_event_header), 0, 0 };

	view.before += perf->timed ? 8 : 0;
	view.record_size = (uint32_t)perf->record_size;
	/* It pads data and length together to 8 bytes, and calls that the length. */
	view.padded = view.record_size ? ((view.record_size + 4 + 7) & ~7u) - 4 : UINT32_MAX;
	return view;
}

/* The payload of the sample of `size` bytes at `position`. */
static inline int payload(const struct view *view, uint64_t position, uint32_t size,
			  struct source *source, uint32_t *length)
{
	uint32_t raw;

	if (size < view->before + 8)
		return -EPROTO;
	position = (position + view->before) & (view->size - 1);
	memcpy(&raw, view->data + position, sizeof(raw));
	if (raw > size - view->before - sizeof(raw))
		return -EPROTO;
	position = (position + sizeof(raw)) & (view->size - 1);
	source->at = view->data + position;
	source->start = view->data;
	source->room = view->size - position;
	*length = raw == view->padded ? view->record_size : raw;
	return 0;
}

static void pass(struct ebpf_perf_ring *ring, uint64_t position, const struct perf_event_header *header)
{
	/* struct { header; u64 id; u64 lost; } */
	if (header->type == PERF_RECORD_LOST && header->size >= sizeof(*header) + 16)
		ring->lost += word_at(ring, position + sizeof(*header) + 8);
}

int64_t ebpf_perf_unread(const struct ebpf_perf_ring *rings, uint32_t count)
{
	uint64_t unread = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t bytes;

		if (!rings[i].base)
			return -EBADF;
		bytes = load_head(&rings[i]) - rings[i].tail;
		if (bytes > rings[i].size)
			return -EPROTO;
		unread += bytes;
	}
	return (int64_t)unread;
}

/*
 * Goes to the next sample of a ring and says when it was written: 1, 0 when there is none up to
 * ring->head, or -errno. What is no sample is counted and passed.
 */
static int next_sample(const struct ebpf_perf *perf, struct ebpf_perf_ring *ring)
{
	struct perf_event_header header;
	uint64_t tail = ring->tail;
	int found = 0;

	while (!found && tail != ring->head) {
		found = load_header(ring, tail, ring->head - tail, &header);
		if (!found && header.type == PERF_RECORD_SAMPLE) {
			found = header.size < SMALLEST + (perf->timed ? 8 : 0) ? -EPROTO : 1;
		} else if (!found) {
			pass(ring, tail, &header);
			tail += header.size;
		}
	}
	if (tail != ring->tail)
		store_tail(ring, tail);
	if (found == 1 && perf->timed)
		ring->time = word_at(ring, tail + sizeof(header));
	return found;
}

/* Notes how far a drain may go. */
static int64_t mark(struct ebpf_perf_ring *ring)
{
	if (!ring->base)
		return -EBADF;
	ring->head = load_head(ring);
	return ring->head - ring->tail > ring->size ? -EPROTO : 0;
}

int64_t ebpf_perf_ready(const struct ebpf_perf *perf, struct ebpf_perf_ring *rings, uint32_t count)
{
	int64_t ready = 0;

	for (uint32_t i = 0; i < count; i++) {
		int64_t found = mark(&rings[i]);

		if (!found)
			found = next_sample(perf, &rings[i]);
		if (found < 0)
			return found == -EBADF ? found : 1;
		if (found && (!perf->timed || rings[i].time <= perf->until))
			return 1;
		if (found)
			ready = 2;
	}
	return ready;
}

/* Writes the samples of one ring, up to ring->head. */
static inline __attribute__((always_inline)) int drain_ring(const struct ebpf_perf *perf,
							      struct ebpf_perf_ring *ring,
							      struct sink *sink,
							      struct tally *tally,
							      uint64_t max_records,
							      write_record write)
{
	const struct view view = view_of(perf, ring);
	const uint64_t head = ring->head;
	uint64_t tail = ring->tail;
	struct sink out = *sink;
	struct tally found = *tally;
	int error = 0;

	while (tail != head && found.records < max_records) {
		struct perf_event_header header;
		struct source source;
		uint32_t length;

		memcpy(&header, view.data + (tail & (view.size - 1)), sizeof(header));
		if (header.size < sizeof(header) || header.size % 8 || header.size > head - tail) {
			error = -EPROTO;
			break;
		}
		if (header.type != PERF_RECORD_SAMPLE) {
			pass(ring, tail, &header);
			tail += header.size;
			continue;
		}
		error = payload(&view, tail, header.size, &source, &length);
		if (!error && !write(&out, source, length))
			error = -ENOSPC;
		if (error)
			break;
		count(&found, length);
		tail += header.size;
	}
	*sink = out;
	*tally = found;
	store_tail(ring, tail);
	return error;
}

static inline __attribute__((always_inline)) int drain_by_ring(struct ebpf_perf *perf,
								 struct ebpf_perf_ring *rings,
								 uint32_t count, struct sink *sink,
								 struct tally *tally,
								 uint64_t max_records,
								 write_record write)
{
	uint32_t first = (uint32_t)perf->first;
	int error = 0;

	/* Each time with another one: a busy CPU must not starve those behind it. */
	perf->first = first + 1 < count ? first + 1 : 0;
	for (uint32_t i = 0; i < count && !error; i++) {
		struct ebpf_perf_ring *ring = &rings[(first + i) % count];

		error = drain_ring(perf, ring, sink, tally, max_records, write);
	}
	return error;
}

/* The ring whose next sample is the oldest one, NULL when none is old enough; `*following` is when
 * the next one of the others was written. */
static struct ebpf_perf_ring *oldest(const struct ebpf_perf *perf, struct ebpf_perf_ring *rings,
				     uint32_t count, uint64_t *following)
{
	struct ebpf_perf_ring *found = NULL;

	*following = perf->until;
	for (uint32_t i = 0; i < count; i++) {
		if (rings[i].tail == rings[i].head || rings[i].time > perf->until)
			continue;
		if (!found || rings[i].time < found->time) {
			if (found && found->time < *following)
				*following = found->time;
			found = &rings[i];
		} else if (rings[i].time < *following) {
			*following = rings[i].time;
		}
	}
	return found;
}

static inline __attribute__((always_inline)) int drain_by_time(struct ebpf_perf *perf,
								 struct ebpf_perf_ring *rings,
								 uint32_t count, struct sink *sink,
								 struct tally *tally,
								 uint64_t max_records,
								 write_record write)
{
	struct ebpf_perf_ring *ring;
	uint64_t following;
	int found = 0;

	for (uint32_t i = 0; i < count && found >= 0; i++)
		found = next_sample(perf, &rings[i]);
	while (found >= 0 && (ring = oldest(perf, rings, count, &following))) {
		/* Samples of one CPU often come in a row. */
		do {
			uint64_t end = ring->head;
			struct perf_event_header header;

			if (tally->records >= max_records)
				return 0;
			memcpy(&header, at(ring, ring->tail), sizeof(header));
			ring->head = ring->tail + header.size;
			found = drain_ring(perf, ring, sink, tally, max_records, write);
			ring->head = end;
			if (!found)
				found = next_sample(perf, ring);
		} while (found > 0 && ring->time <= following);
	}
	return found < 0 ? found : 0;
}

static inline __attribute__((always_inline)) int64_t drain(struct ebpf_perf *perf,
							    struct ebpf_perf_ring *rings,
							    uint32_t count, struct sink *sink,
							    uint64_t max_records,
							    write_record write)
{
	struct tally tally = { 0, 0, UINT64_MAX, 0 };
	int64_t error = 0;

	perf->shortest = 0;
	perf->longest = 0;
	for (uint32_t i = 0; i < count && !error; i++)
		error = mark(&rings[i]);
	if (error)
		return error;
	if (perf->timed)
		error = drain_by_time(perf, rings, count, sink, &tally, max_records, write);
	else
		error = drain_by_ring(perf, rings, count, sink, &tally, max_records, write);
	perf->records += tally.records;
	perf->bytes += tally.bytes;
	if (tally.records) {
		perf->shortest = tally.shortest;
		perf->longest = tally.longest;
	}
	/* What was copied before the obstacle counts; the next drain begins with it. */
	return error && !tally.records ? error : (int64_t)tally.records;
}

int64_t ebpf_perf_drain(struct ebpf_perf *perf, struct ebpf_perf_ring *rings, uint32_t count,
			void *buffer, uint64_t capacity, uint32_t *ends, uint64_t max_records)
{
	struct sink sink = packed_sink(buffer, capacity, ends);
	int64_t records = drain(perf, rings, count, &sink, max_records, write_packed);

	perf->used = (uint64_t)(sink.next - sink.start);
	return records;
}

int64_t ebpf_perf_drain_pickle(struct ebpf_perf *perf, struct ebpf_perf_ring *rings, uint32_t count,
			       void *buffer, uint64_t capacity, uint64_t max_records)
{
	struct sink sink;
	int64_t records;

	if (capacity < EBPF_RING_PICKLE_OVERHEAD)
		return -EINVAL;
	sink = pickled_sink(buffer, capacity);
	records = drain(perf, rings, count, &sink, max_records, write_pickled);
	finish_pickle(&sink);
	perf->used = (uint64_t)(sink.next - sink.start);
	return records;
}

/* Where the oldest bytes end that are not overwritten by now: what was read of those behind it before
 * this call is worth nothing. */
static uint64_t limit_of(const struct ebpf_perf_ring *ring)
{
	atomic_thread_fence(memory_order_acquire);
	return load_head(ring) + ring->size;
}

/*
 * The kernel writes such a ring towards lower positions, so the newest record is at the head and the
 * older ones follow it, as far as they are not overwritten: up to the last snapshot's head, or once
 * around. Returns how many there are, or -errno; `starts` has room for all that fit, and for where
 * the oldest one ends.
 */
static int64_t find_records(struct ebpf_perf_ring *ring, uint64_t head, uint64_t *starts)
{
	uint64_t all = ring->tail - head, left = all < ring->size ? all : ring->size, position = head;
	int64_t found = 0;

	while (left >= sizeof(struct perf_event_header)) {
		struct perf_event_header header;

		/* The oldest one may be cut, and where nothing was written yet there are zeros. */
		if (load_header(ring, position, left, &header)) {
			if ((int64_t)(ring->tail - limit_of(ring)) > 0)
				break;
			return -EPROTO;
		}
		starts[found++] = position;
		position += header.size;
		left -= header.size;
	}
	starts[found] = position;
	return found;
}

/*
 * Pausing does not wait for a program that is writing: on its own CPU it goes on, over the oldest
 * records. Returns how many of the `found` records it has left as they were. (One that is not done
 * when this looks goes unseen: the kernel tells of a record when it is whole.)
 */
static int64_t intact(const struct ebpf_perf_ring *ring, const uint64_t *starts, int64_t found)
{
	uint64_t limit = limit_of(ring);

	while (found > 0 && (int64_t)(starts[found] - limit) > 0)
		found--;
	return found;
}

static int write_snapshot(struct ebpf_perf *perf, struct ebpf_perf_ring *ring, struct sink *sink,
			  uint64_t position, uint64_t size)
{
	const struct view view = view_of(perf, ring);
	struct perf_event_header header;
	struct source source;
	uint64_t time;
	uint32_t length;
	int error;

	memcpy(&header, at(ring, position), sizeof(header));
	if (header.type != PERF_RECORD_SAMPLE) {
		pass(ring, position, &header);
		return 0;
	}
	/* Its size as it was found: `starts` goes by that. */
	error = payload(&view, position, (uint32_t)size, &source, &length);
	if (error)
		return error;
	if ((uint64_t)(sink->end - sink->next) < (uint64_t)length + 13)
		return -ENOSPC;
	/* One bytes object of time and payload: as write_pickled() writes it. */
	*sink->next++ = 'B';
	for (int shift = 0; shift < 32; shift += 8)
		*sink->next++ = (unsigned char)((length + 8) >> shift);
	time = word_at(ring, position + sizeof(header));
	memcpy(sink->next, &time, sizeof(time));
	copy_source(sink->next + sizeof(time), source, length);
	sink->next += sizeof(time) + length;
	perf->records++;
	perf->bytes += length;
	return 0;
}

/* Writes the `found` records at `starts`, the oldest first. */
static int write_all(struct ebpf_perf *perf, struct ebpf_perf_ring *ring, struct sink *sink,
		     const uint64_t *starts, int64_t found)
{
	int error = 0;

	for (int64_t i = found; i-- > 0 && !error;)
		error = write_snapshot(perf, ring, sink, starts[i], starts[i + 1] - starts[i]);
	return error;
}

int64_t ebpf_perf_snapshot(struct ebpf_perf *perf, struct ebpf_perf_ring *ring, void *buffer,
			   uint64_t capacity)
{
	const struct ebpf_perf counted = *perf;
	const uint64_t lost = ring->lost;
	uint64_t *starts, head;
	struct sink sink;
	int64_t found, left, error = 0;

	if (!ring->base)
		return -EBADF;
	if (capacity < EBPF_RING_PICKLE_OVERHEAD)
		return -EINVAL;
	starts = malloc((ring->size / sizeof(struct perf_event_header) + 1) * sizeof(*starts));
	if (!starts)
		return -ENOMEM;
	head = load_head(ring);
	left = find_records(ring, head, starts);
	do {
		found = left;
		*perf = counted;
		ring->lost = lost;
		sink = pickled_sink(buffer, capacity);
		error = write_all(perf, ring, &sink, starts, found);
		left = intact(ring, starts, found);
	} while (left < found);
	free(starts);
	finish_pickle(&sink);
	perf->used = (uint64_t)(sink.next - sink.start);
	/* The mapping can't be written to; this is for the next snapshot. */
	ring->tail = head;
	return found < 0 ? found : error ? error : found;
}
