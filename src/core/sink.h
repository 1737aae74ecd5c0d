/*
 * Where the drains of ring.c and perf.c write records to. Everything is inline: a drain is a loop of
 * a few nanoseconds per record, and has one of these in it.
 */
#ifndef EBPF_SINK_H
#define EBPF_SINK_H

#include <stdint.h>
#include <string.h>

#include "ebpf/core.h"

/* `next` is where the next record goes; `ends` may be NULL. */
struct sink {
	unsigned char *start;
	unsigned char *next;
	unsigned char *end;
	uint32_t *ends;
};

/* A record in a ring: after `room` bytes it goes on at `start`, the beginning of the data. */
struct source {
	const unsigned char *at;
	const unsigned char *start;
	uint64_t room;
};

/* Appends one record, or returns 0 when it does not fit. */
typedef int (*write_record)(struct sink *sink, struct source source, uint32_t length);

/* What a drain has found; the shortest and longest count when there are records. */
struct tally {
	uint64_t records;
	uint64_t bytes;
	uint64_t shortest;
	uint64_t longest;
};

static inline void count(struct tally *tally, uint32_t length)
{
	tally->records++;
	tally->bytes += length;
	tally->shortest = length < tally->shortest ? length : tally->shortest;
	tally->longest = length > tally->longest ? length : tally->longest;
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

static inline void copy_source(unsigned char *to, struct source source, uint32_t length)
{
	if (length <= source.room) {
		copy(to, source.at, length);
		return;
	}
	memcpy(to, source.at, source.room);
	memcpy(to + source.room, source.start, length - source.room);
}

static inline int write_packed(struct sink *sink, struct source source, uint32_t length)
{
	if (length > (uint64_t)(sink->end - sink->next))
		return 0;
	copy_source(sink->next, source, length);
	sink->next += length;
	*sink->ends++ = (uint32_t)(sink->next - sink->start);
	return 1;
}

/* `ends` counts in 32 bits, so a packed sink is not larger. */
static inline struct sink packed_sink(void *buffer, uint64_t capacity, uint32_t *ends)
{
	struct sink sink = { buffer, buffer, NULL, ends };

	sink.end = sink.start + (capacity > UINT32_MAX ? UINT32_MAX : capacity);
	return sink;
}

static inline int write_pickled(struct sink *sink, struct source source, uint32_t length)
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
	copy_source(sink->next, source, length);
	sink->next += length;
	return 1;
}

/* A pickled sink begins and ends so; the buffer has at least EBPF_RING_PICKLE_OVERHEAD bytes. */
static inline struct sink pickled_sink(void *buffer, uint64_t capacity)
{
	static const unsigned char head[] = { 0x80, 3, ']', '(' }; /* PROTO EMPTY_LIST MARK */
	struct sink sink = { buffer, buffer, NULL, NULL };

	memcpy(sink.next, head, sizeof(head));
	sink.next += sizeof(head);
	sink.end = sink.start + capacity - 2;
	return sink;
}

static inline void finish_pickle(struct sink *sink)
{
	static const unsigned char tail[] = { 'e', '.' }; /* APPENDS STOP */

	memcpy(sink->next, tail, sizeof(tail));
	sink->next += sizeof(tail);
}

#endif
