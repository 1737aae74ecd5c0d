/*
 * Rings that user space writes. They have the form of those that it reads, so the core's own reader
 * stands in for the kernel here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <linux/bpf.h>

#include "ebpf/core.h"
#include "driver.h"

#define SIZE 4096u

static struct ebpf_user_ring writer_of(const struct ebpf_ring *ring)
{
	return (struct ebpf_user_ring){
		.consumer = ring->consumer,
		.producer = ring->producer,
		.size = ring->size,
		.page = ring->page,
	};
}

static _Atomic unsigned long *at_page(uint64_t page)
{
	return (_Atomic unsigned long *)(uintptr_t)page;
}

static void fill(unsigned char *bytes, uint64_t number, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		bytes[i] = (unsigned char)(number * 37 + i);
}

/* Reads all that is finished and expects the records from `number` on; returns the next number. */
static uint64_t read_all(struct ebpf_ring *ring, uint64_t number, const uint32_t *lengths)
{
	unsigned char buffer[SIZE], expected[SIZE];
	uint32_t ends[SIZE / 8], start = 0;
	int64_t count = ebpf_ring_drain(ring, buffer, sizeof(buffer), ends, SIZE / 8);

	EXPECT(count >= 0);
	for (int64_t i = 0; i < count; i++, number++) {
		uint32_t length = lengths[number];

		EXPECT(ends[i] - start == length);
		fill(expected, number, length);
		EXPECT(memcmp(buffer + start, expected, length) == 0);
		start = ends[i];
	}
	return number;
}

/* Records of every length, many times around, as many as there is room for. */
static void test_written_is_read(void)
{
	static uint32_t lengths[20000];
	struct ebpf_ring ring = ring_in_memory(SIZE);
	struct ebpf_user_ring writer = writer_of(&ring);
	uint64_t written = 0, read = 0;

	while (written < 20000) {
		uint32_t length = (uint32_t)random_below(random_below(8) ? 60 : SIZE - 8);
		/* Exactly as long as the core is told, so that a byte beyond is seen. */
		unsigned char *record = malloc(length + !length);
		int64_t result;

		fill(record, written, length);
		result = ebpf_user_ring_write(&writer, record, length, 1);
		free(record);
		lengths[written] = length;
		if (result == 1) {
			written++;
			continue;
		}
		EXPECT(result == -ENOSPC);
		EXPECT(ebpf_ring_unread(&ring) > SIZE - 8 - (int64_t)((length + 15) & ~7u));
		read = read_all(&ring, read, lengths);
		EXPECT(read == written && ebpf_ring_unread(&ring) == 0);
	}
	EXPECT(read_all(&ring, read, lengths) == written && ring.records == written);
}

/* Several at once: those that fit are written, and their number is returned. */
static void test_side_by_side(void)
{
	struct ebpf_ring ring = ring_in_memory(SIZE);
	struct ebpf_user_ring writer = writer_of(&ring);
	uint32_t lengths[SIZE / 24];
	unsigned char records[16 * (SIZE / 24 + 1)];

	for (uint32_t i = 0; i < SIZE / 24; i++) {
		lengths[i] = 16;
		fill(records + 16 * i, i, 16);
	}
	EXPECT(ebpf_user_ring_write(&writer, records, 16, SIZE / 24 + 1) == SIZE / 24);
	EXPECT(ebpf_user_ring_write(&writer, records, 16, 1) == -ENOSPC);
	EXPECT(ebpf_user_ring_write(&writer, records, 16, 0) == 0);
	EXPECT(read_all(&ring, 0, lengths) == SIZE / 24);
}

/* Finished in another order than reserved, one of them given up. */
static void test_reserved(void)
{
	static const uint32_t lengths[] = { 8, 8 };
	struct ebpf_ring ring = ring_in_memory(SIZE);
	struct ebpf_user_ring writer = writer_of(&ring);
	unsigned char *data = (unsigned char *)(uintptr_t)(ring.producer + ring.page);
	int64_t first = ebpf_user_ring_reserve(&writer, 8);
	int64_t given_up = ebpf_user_ring_reserve(&writer, 100);
	int64_t last = ebpf_user_ring_reserve(&writer, 8);

	EXPECT(first == 0 && given_up == 16 && last == 16 + 112);
	fill(data + first + 8, 0, 8);
	fill(data + last + 8, 1, 8);
	ebpf_user_ring_finish(&writer, (uint64_t)last, 0);
	ebpf_user_ring_finish(&writer, (uint64_t)given_up, 1);
	EXPECT(read_all(&ring, 0, lengths) == 0);
	ebpf_user_ring_finish(&writer, (uint64_t)first, 0);
	EXPECT(read_all(&ring, 0, lengths) == 2 && ring.discarded == 1);
}

/* What has no room ever, and positions that no kernel leaves. */
static void test_refused(void)
{
	struct ebpf_ring ring = ring_in_memory(SIZE);
	struct ebpf_user_ring writer = writer_of(&ring);

	EXPECT(ebpf_user_ring_reserve(&writer, SIZE - 7) == -E2BIG);
	EXPECT(ebpf_user_ring_reserve(&writer, BPF_RINGBUF_BUSY_BIT) == -E2BIG);
	EXPECT(ebpf_user_ring_reserve(&writer, BPF_RINGBUF_DISCARD_BIT | 8) == -E2BIG);
	EXPECT(ebpf_user_ring_reserve(&writer, UINT32_MAX) == -E2BIG);
	atomic_store(at_page(ring.producer), 4);
	EXPECT(ebpf_user_ring_reserve(&writer, 8) == -EPROTO);
	atomic_store(at_page(ring.producer), 0);
	atomic_store(at_page(ring.consumer), 8);
	EXPECT(ebpf_user_ring_reserve(&writer, 8) == -EPROTO);
	atomic_store(at_page(ring.consumer), 0);
	EXPECT(ebpf_user_ring_reserve(&writer, SIZE - 8) == 0);
	EXPECT(ebpf_user_ring_reserve(&writer, 0) == -ENOSPC);
}

/* What a program can read of one record; a longer one would stay in the ring for ever. */
static void test_longest_record(void)
{
	struct ebpf_ring ring = ring_in_memory(1 << 25);
	struct ebpf_user_ring writer = writer_of(&ring);

	EXPECT(ebpf_user_ring_reserve(&writer, EBPF_USER_RING_LONGEST + 1) == -E2BIG);
	EXPECT(ebpf_user_ring_write(&writer, NULL, 1 << 24, 1) == -E2BIG);
	EXPECT(ebpf_ring_unread(&ring) == 0);
	EXPECT(ebpf_user_ring_reserve(&writer, EBPF_USER_RING_LONGEST) == 0);
}

void user_ring_memory(void)
{
	test_longest_record();
	test_written_is_read();
	test_side_by_side();
	test_reserved();
	test_refused();
}

#define SHARED_RECORDS 100000u

static uint32_t shared_lengths[SHARED_RECORDS];

static void *write_all(void *argument)
{
	const struct ebpf_user_ring *writer = argument;
	unsigned char record[64];

	for (uint32_t number = 0; number < SHARED_RECORDS; number++) {
		fill(record, number, shared_lengths[number]);
		while (ebpf_user_ring_write(writer, record, shared_lengths[number], 1) != 1)
			sched_yield();
	}
	return NULL;
}

/* The reader may have given space back that it still reads, or see a record before its bytes. */
void user_ring_threads(void)
{
	struct ebpf_ring ring = ring_in_memory(SIZE);
	struct ebpf_user_ring writer = writer_of(&ring);
	uint64_t read = 0;
	pthread_t thread;

	for (uint32_t number = 0; number < SHARED_RECORDS; number++)
		shared_lengths[number] = number % 61;
	EXPECT(pthread_create(&thread, NULL, write_all, &writer) == 0);
	while (read < SHARED_RECORDS) {
		uint64_t before = read;

		read = read_all(&ring, read, shared_lengths);
		if (read == before)
			sched_yield();
	}
	EXPECT(pthread_join(thread, NULL) == 0);
	EXPECT(ring.records == SHARED_RECORDS);
}
