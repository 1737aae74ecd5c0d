/* Perf buffers made by hand, in memory of exactly their size. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/perf_event.h>

#include "driver.h"
#include "ebpf/core.h"

#define RINGS 3
#define SIZE 4096

/* The kernel's side of a ring. */
struct writer {
	struct ebpf_perf_ring *ring;
	uint64_t head;
	uint32_t number; /* of the next record */
};

static struct ebpf_perf_mmap_page *control(const struct ebpf_perf_ring *ring)
{
	return (struct ebpf_perf_mmap_page *)(uintptr_t)ring->base;
}

static struct ebpf_perf_ring make_ring(uint64_t size)
{
	struct ebpf_perf_ring ring = { .size = size, .page = (uint64_t)sysconf(_SC_PAGESIZE) };
	void *base = aligned_alloc(ring.page, ring.page + size);

	EXPECT(base);
	memset(base, 0, ring.page + size);
	ring.base = (uintptr_t)base;
	return ring;
}

static void put_bytes(struct ebpf_perf_ring *ring, uint64_t position, const void *bytes, size_t length)
{
	unsigned char *data = (unsigned char *)(uintptr_t)(ring->base + ring->page);

	for (size_t i = 0; i < length; i++)
		data[(position + i) % ring->size] = ((const unsigned char *)bytes)[i];
}

/* A sample of `length` bytes: the ring's tag, the record's number, and bytes that depend on both. */
static size_t make_sample(unsigned char *record, uint32_t tag, uint32_t number, uint32_t length,
			  uint64_t time)
{
	size_t before = 8 + (time ? 8 : 0);
	uint32_t raw = ((length + 4 + 7) & ~7u) - 4;
	struct perf_event_header header = { PERF_RECORD_SAMPLE, 0, (uint16_t)(before + 4 + raw) };

	memset(record, 0xee, header.size);
	memcpy(record, &header, sizeof(header));
	if (time)
		memcpy(record + 8, &time, 8);
	memcpy(record + before, &raw, 4);
	memcpy(record + before + 4, &tag, 4);
	memcpy(record + before + 8, &number, 4);
	for (uint32_t i = 8; i < length; i++)
		record[before + 4 + i] = (unsigned char)(number + i);
	return header.size;
}

static int put(struct writer *writer, const void *record, size_t size)
{
	struct ebpf_perf_ring *ring = writer->ring;
	uint64_t tail = atomic_load_explicit((_Atomic uint64_t *)&control(ring)->data_tail,
					     memory_order_acquire);

	if (writer->head + size - tail > ring->size)
		return 0;
	put_bytes(ring, writer->head, record, size);
	writer->head += size;
	atomic_store_explicit((_Atomic uint64_t *)&control(ring)->data_head, writer->head,
			      memory_order_release);
	return 1;
}

static int put_sample(struct writer *writer, uint32_t tag, uint32_t length, uint64_t time)
{
	unsigned char record[1024];
	size_t size = make_sample(record, tag, writer->number, length, time);

	if (!put(writer, record, size))
		return 0;
	writer->number++;
	return 1;
}

static void put_lost(struct writer *writer, uint64_t count)
{
	struct {
		struct perf_event_header header;
		uint64_t id, lost;
	} record = { { PERF_RECORD_LOST, 0, 24 }, 7, count };

	put(writer, &record, sizeof(record));
}

static void expect_sample(const unsigned char *record, uint32_t length, uint32_t tag, uint32_t number)
{
	uint32_t found;

	memcpy(&found, record, 4);
	EXPECT(found == tag);
	memcpy(&found, record + 4, 4);
	EXPECT(found == number);
	for (uint32_t i = 8; i < length; i++)
		EXPECT(record[i] == (unsigned char)(number + i));
}

/* Takes a pickle apart: calls back with each record. */
static const unsigned char *next_pickled(const unsigned char *at, uint32_t *length)
{
	EXPECT(*at == 'C' || *at == 'B');
	*length = *at == 'C' ? at[1] : at[1] | at[2] << 8 | at[3] << 16 | (uint32_t)at[4] << 24;
	return at + (*at == 'C' ? 2 : 5);
}

struct all {
	struct ebpf_perf perf;
	struct ebpf_perf_ring rings[RINGS];
	struct writer writers[RINGS];
	uint32_t read[RINGS];
	uint32_t last; /* in the order of time, of all */
};

static struct all *make_all(void)
{
	struct all *all = calloc(1, sizeof(*all));

	for (int i = 0; i < RINGS; i++) {
		all->rings[i] = make_ring(SIZE);
		all->writers[i].ring = &all->rings[i];
	}
	return all;
}

static void free_all(struct all *all)
{
	for (int i = 0; i < RINGS; i++)
		free((void *)(uintptr_t)all->rings[i].base);
	free(all);
}

static void check_sample(struct all *all, const unsigned char *record, uint32_t length)
{
	uint32_t tag;

	memcpy(&tag, record, 4);
	EXPECT(tag < RINGS);
	expect_sample(record, length, tag, all->read[tag]++);
}

/* Drains with buffers of exactly the size that the core is told; how many records. */
static int64_t drain_some(struct all *all, uint64_t capacity, uint64_t most, int pickled)
{
	unsigned char *buffer = malloc(capacity + 1);
	uint32_t *ends = malloc((most < 4096 ? most : 4096) * sizeof(*ends) + 1), start = 0;
	int64_t count;

	buffer[capacity] = 0xa5;
	if (pickled)
		count = ebpf_perf_drain_pickle(&all->perf, all->rings, RINGS, buffer, capacity, most);
	else
		count = ebpf_perf_drain(&all->perf, all->rings, RINGS, buffer, capacity, ends, most);
	EXPECT(buffer[capacity] == 0xa5 && count <= (int64_t)most);
	if (pickled) {
		const unsigned char *at = buffer + 4;

		for (int64_t i = 0; i < count; i++) {
			at = next_pickled(at, &start);
			check_sample(all, at, start);
			at += start;
		}
	} else {
		for (int64_t i = 0; i < count; i++) {
			check_sample(all, buffer + start, ends[i] - start);
			start = ends[i];
		}
		EXPECT(count < 0 || all->perf.used == start);
	}
	free(buffer);
	free(ends);
	return count;
}

/* Random lengths, lost records, capacities and limits; what was written is read, ring by ring. */
static void test_model(int timed)
{
	struct all *all = make_all();
	uint64_t lost[RINGS] = { 0 }, clock = 1, total = 0, written = 0;

	all->perf.timed = (uint64_t)timed;
	for (int round = 0; round < 3000; round++) {
		uint64_t many = random_below(60), capacity;
		int64_t unread, count;

		while (many--) {
			uint32_t tag = (uint32_t)random_below(RINGS);
			uint32_t length = 8 + 4 * (uint32_t)random_below(random_below(8) ? 10 : 150);
			struct writer *writer = &all->writers[tag];

			/* Of a length that needs no padding, so that none is in the payload. */
			length += length % 8 ? 0 : 4;
			written += (uint64_t)put_sample(writer, tag, length, timed ? clock++ : 0);
			if (!random_below(20) && writer->head + 24 - all->rings[tag].tail <= SIZE) {
				put_lost(writer, 5);
				lost[tag] += 5;
			}
		}
		all->perf.until = random_below(3) ? clock : clock - random_below(clock < 50 ? clock : 50);
		unread = ebpf_perf_unread(all->rings, RINGS);
		EXPECT(unread >= 0 && unread <= RINGS * SIZE);
		capacity = 16 + (random_below(3) ? (uint64_t)unread : random_below((uint64_t)unread + 1));
		count = drain_some(all, capacity, random_below(4) ? 4096 : random_below(10), round % 2);
		EXPECT(count >= 0 || count == -ENOSPC);
		total += count > 0 ? (uint64_t)count : 0;
	}
	all->perf.until = UINT64_MAX;
	while (drain_some(all, RINGS * SIZE, 4096, 0) > 0)
		;
	EXPECT(ebpf_perf_ready(&all->perf, all->rings, RINGS) == 0);
	EXPECT(all->perf.records == written && total > 10000);
	for (int i = 0; i < RINGS; i++)
		EXPECT(all->rings[i].lost == lost[i] && all->read[i] == all->writers[i].number);
	free_all(all);
}

/* One record after the other, each in another ring than the one before. */
static void test_order(void)
{
	struct all *all = make_all();
	unsigned char buffer[SIZE];
	uint32_t ends[64], number, tag = 0;

	all->perf.timed = 1;
	for (number = 0; number < 60; number++) {
		all->writers[tag].number = number;
		EXPECT(put_sample(&all->writers[tag], tag, 12, 100 + number));
		tag = (tag + 1 + (uint32_t)random_below(RINGS - 1)) % RINGS;
	}
	all->perf.until = 99;
	EXPECT(ebpf_perf_ready(&all->perf, all->rings, RINGS) == 2);
	EXPECT(ebpf_perf_drain(&all->perf, all->rings, RINGS, buffer, SIZE, ends, 64) == 0);
	all->perf.until = 119;
	EXPECT(ebpf_perf_ready(&all->perf, all->rings, RINGS) == 1);
	for (uint32_t from = 0; from < 60;) {
		int64_t count = ebpf_perf_drain(&all->perf, all->rings, RINGS, buffer, SIZE, ends, 7);

		for (int64_t i = 0; i < count; i++, from++)
			EXPECT(memcmp(buffer + 12 * i + 4, &from, 4) == 0);
		/* Twenty are old enough at first. */
		EXPECT(count == (from == 20 ? 6 : 7) || from == 60);
		if (from == 20)
			all->perf.until = UINT64_MAX;
	}
	free_all(all);
}

/* What the kernel pads is cut where the size is known, and else is a part of the record. */
static void test_padding(void)
{
	struct all *all = make_all();
	unsigned char buffer[SIZE];
	uint32_t ends[8];

	for (uint32_t length = 8; length < 300; length++) {
		all->perf.record_size = length;
		EXPECT(put_sample(&all->writers[0], 0, length, 0));
		EXPECT(ebpf_perf_drain(&all->perf, all->rings, RINGS, buffer, SIZE, ends, 8) == 1);
		EXPECT(ends[0] == length);
		expect_sample(buffer, length, 0, length - 8);
		all->perf.record_size = length + 8;
		all->writers[0].number--;
		EXPECT(put_sample(&all->writers[0], 0, length, 0));
		EXPECT(ebpf_perf_drain(&all->perf, all->rings, RINGS, buffer, SIZE, ends, 8) == 1);
		EXPECT(ends[0] == ((length + 11) & ~7u) - 4);
	}
	free_all(all);
}

/* Lengths that lead out of what was written, or out of the record. */
static void test_corrupt(void)
{
	static const uint16_t sizes[] = { 0, 4, 7, 12, 64, 4096, 0xfff8 };
	unsigned char record[64];
	uint64_t size;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct all *all = make_all();

		size = make_sample(record, 1, 0, 12, 0);
		EXPECT(put(&all->writers[1], record, size));
		all->writers[1].number = 1;
		size = make_sample(record, 1, 1, 12, 0);
		memcpy(record + 6, &sizes[i], 2);
		EXPECT(put(&all->writers[1], record, size));
		EXPECT(drain_some(all, SIZE, 10, (int)i % 2) == 1);
		EXPECT(drain_some(all, SIZE, 10, (int)i % 2) == -EPROTO);
		EXPECT(ebpf_perf_ready(&all->perf, all->rings, RINGS) == 1);
		all->perf.timed = 1;
		all->perf.until = UINT64_MAX;
		EXPECT(drain_some(all, SIZE, 10, (int)i % 2) == -EPROTO);
		free_all(all);
	}
	for (uint32_t raw = 13; raw < 1u << 28; raw *= 7) {
		struct all *all = make_all();

		size = make_sample(record, 0, 0, 12, 0);
		memcpy(record + 8, &raw, 4);
		EXPECT(put(&all->writers[0], record, size));
		EXPECT(drain_some(all, SIZE, 10, 0) == -EPROTO);
		control(&all->rings[0])->data_head += 2 * SIZE;
		EXPECT(ebpf_perf_unread(all->rings, RINGS) == -EPROTO);
		EXPECT(drain_some(all, SIZE, 10, 0) == -EPROTO);
		free_all(all);
	}
}

static void test_closed(void)
{
	struct ebpf_perf perf = { 0 };
	struct ebpf_perf_ring ring = { 0 };
	unsigned char buffer[64];

	EXPECT(ebpf_perf_unread(&ring, 1) == -EBADF && ebpf_perf_ready(&perf, &ring, 1) == -EBADF);
	EXPECT(ebpf_perf_drain(&perf, &ring, 1, buffer, 64, NULL, 1) == -EBADF);
	EXPECT(ebpf_perf_drain_pickle(&perf, &ring, 1, buffer, 64, 1) == -EBADF);
	EXPECT(ebpf_perf_drain_pickle(&perf, &ring, 1, buffer, 15, 1) == -EINVAL);
	EXPECT(ebpf_perf_snapshot(&perf, &ring, buffer, 64) == -EBADF);
	ebpf_perf_close(&ring);
	EXPECT(ebpf_perf_open(-1, 4096, 0, &ring) == -EBADF);
	EXPECT(ebpf_perf_open(-1, 5000, 0, &ring) == -EINVAL);
	EXPECT(ebpf_perf_pause(-1, 1) == -EBADF);
}

/* The kernel writes towards lower positions; the oldest record that is left may be cut. */
static void test_snapshots(void)
{
	struct ebpf_perf perf = { .timed = 1 };
	struct ebpf_perf_ring ring = make_ring(SIZE);
	uint64_t capacity = SIZE + EBPF_RING_PICKLE_OVERHEAD, time = 1;
	unsigned char *buffer = malloc(capacity), record[1024];
	uint32_t number = 0, read = 0, lengths[65536];
	uint64_t head = 0;

	for (int round = 0; round < 400; round++) {
		const unsigned char *at = buffer + 4;
		uint64_t bytes = 0;
		uint32_t oldest, length, before = number;
		int64_t count;

		for (uint64_t many = random_below(round % 5 ? 30 : 200); many; many--) {
			size_t size;

			lengths[number] = 12 + 8 * (uint32_t)random_below(30);
			size = make_sample(record, 0, number, lengths[number], ++time);
			head -= size;
			put_bytes(&ring, head, record, size);
			number++;
		}
		control(&ring)->data_head = head;
		for (oldest = number; oldest > before; oldest--) {
			bytes += 20 + lengths[oldest - 1];
			if (bytes > SIZE)
				break;
		}
		count = ebpf_perf_snapshot(&perf, &ring, buffer, capacity);
		EXPECT(count == number - oldest);
		for (read = oldest; read < number; read++) {
			at = next_pickled(at, &length);
			EXPECT(length == 8 + lengths[read]);
			expect_sample(at + 8, lengths[read], 0, read);
			at += length;
		}
		EXPECT(*at == 'e');
	}
	EXPECT(number > 5000);
	free(buffer);
	free((void *)(uintptr_t)ring.base);
}

/* A program that had begun to write when its ring was paused: it goes on when the snapshot first
 * touches `page`, which is there from then on. */
static struct {
	struct ebpf_perf_ring *ring;
	uint64_t head;
	unsigned char *page;
	unsigned char record[256];
	size_t size;
} late;

static void write_late(int signal)
{
	(void)signal;
	EXPECT(mprotect(late.page, late.ring->page, PROT_READ | PROT_WRITE) == 0);
	put_bytes(late.ring, late.head - late.size, late.record, late.size);
	control(late.ring)->data_head = late.head - late.size;
}

/* Two records are overwritten while the first of them is copied: both are left out. */
static void test_snapshot_of_a_late_writer(void)
{
	struct ebpf_perf perf = { .timed = 1 };
	struct ebpf_perf_ring ring = make_ring(SIZE);
	uint64_t page = ring.page, capacity = SIZE + EBPF_RING_PICKLE_OVERHEAD, head = 0;
	unsigned char *pages = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* The pickle's head, that of the record, its time, and half of the record are in front. */
	unsigned char *buffer = pages + page - 4 - 5 - 8 - 24, record[256];
	struct sigaction handler = { .sa_handler = write_late }, before;
	const unsigned char *at = buffer + 4;
	uint32_t length;

	EXPECT(pages != MAP_FAILED);
	for (uint32_t number = 0; number < 100; number++) {
		EXPECT(make_sample(record, 0, number, 44, number + 1) == 64);
		head -= 64;
		put_bytes(&ring, head, record, 64);
	}
	control(&ring)->data_head = head;
	late.ring = &ring;
	late.head = head;
	late.page = pages + page;
	late.size = make_sample(late.record, 0, 100, 108, 101);
	EXPECT(late.size == 128 && mprotect(late.page, page, PROT_NONE) == 0);
	EXPECT(sigaction(SIGSEGV, &handler, &before) == 0);
	EXPECT(ebpf_perf_snapshot(&perf, &ring, buffer, capacity) == SIZE / 64 - 2);
	EXPECT(sigaction(SIGSEGV, &before, NULL) == 0);
	EXPECT(perf.records == SIZE / 64 - 2 && perf.bytes == 44 * perf.records);
	for (uint32_t number = 100 - SIZE / 64 + 2; number < 100; number++) {
		at = next_pickled(at, &length);
		EXPECT(length == 8 + 44);
		expect_sample(at + 8, 44, 0, number);
		at += length;
	}
	EXPECT(*at == 'e');
	/* The late one belongs to the next. */
	EXPECT(ebpf_perf_snapshot(&perf, &ring, buffer, capacity) == 1);
	at = next_pickled(buffer + 4, &length);
	expect_sample(at + 8, 108, 0, 100);
	munmap(pages, 3 * page);
	free((void *)(uintptr_t)ring.base);
}

void perf_memory(void)
{
	test_snapshot_of_a_late_writer();
	test_model(0);
	test_model(1);
	test_order();
	test_padding();
	test_corrupt();
	test_closed();
	test_snapshots();
}

/* ---- threads ------------------------------------------------------------------------------- */

#define SHARED 50000

static void *write_all(void *argument)
{
	struct writer *writer = argument;

	while (writer->number < SHARED)
		if (!put_sample(writer, 0, 12 + 8 * (writer->number % 9), 0))
			sched_yield();
	return NULL;
}

void perf_threads(void)
{
	struct all *all = make_all();
	struct ebpf_perf_ring shared = all->rings[0];
	struct writer writer = { .ring = &shared };
	pthread_t thread;

	EXPECT(pthread_create(&thread, NULL, write_all, &writer) == 0);
	while (all->read[0] < SHARED)
		if (!drain_some(all, SIZE, 4096, 0))
			sched_yield();
	EXPECT(pthread_join(thread, NULL) == 0);
	free_all(all);
}
