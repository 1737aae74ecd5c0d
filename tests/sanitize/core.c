/*
 * Drives the C core without Python, so that the sanitizers see all of it.
 *
 *   core memory    a ring made by hand, in memory: what a real one can hardly be brought to do
 *   core threads   the same, written by one thread and read by another
 *   core kernel    rings and maps of the running kernel; needs root
 *
 * Exits with 0 when all is as it should be, otherwise it says the line and aborts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/bpf.h>

#include "ebpf/core.h"
#include "driver.h"

static uint64_t state = 88172645463325252ull;

uint64_t random_below(uint64_t limit)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % limit;
}

/* ---- a ring in memory, and its producer -------------------------------------------------- */

static void *map_fixed(void *where, uint64_t length, int fd, uint64_t offset)
{
	void *mapped = mmap(where, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
			    (off_t)offset);

	EXPECT(mapped == where);
	return mapped;
}

/* The positions on pages of their own, the data behind, mapped twice. */
struct ebpf_ring ring_in_memory(uint64_t size)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	int fd = memfd_create("ring", MFD_CLOEXEC);
	struct ebpf_ring ring = { .size = size, .page = page };
	unsigned char *all;

	EXPECT(fd >= 0 && ftruncate(fd, (off_t)(2 * page + size)) == 0);
	all = mmap(NULL, 2 * page + 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(all != MAP_FAILED);
	map_fixed(all, 2 * page + size, fd, 0);
	map_fixed(all + 2 * page + size, size, fd, 2 * page);
	close(fd);
	ring.consumer = (uintptr_t)all;
	ring.producer = (uintptr_t)(all + page);
	return ring;
}

static _Atomic unsigned long *position(uint64_t page)
{
	return (_Atomic unsigned long *)(uintptr_t)page;
}

static unsigned char *data_at(const struct ebpf_ring *ring, unsigned long at)
{
	return (unsigned char *)(uintptr_t)(ring->producer + ring->page) + (at & (ring->size - 1));
}

static unsigned char byte_of(uint64_t number, uint32_t at)
{
	return (unsigned char)(number * 31 + at);
}

static uint64_t step(uint32_t length)
{
	return ((uint64_t)length + BPF_RINGBUF_HDR_SZ + 7) & ~(uint64_t)7;
}

/* Writes record `number` and returns its header, or NULL when the ring is full. */
static _Atomic uint32_t *put(struct ebpf_ring *ring, uint64_t number, uint32_t length,
			     uint32_t flags)
{
	unsigned long at = atomic_load_explicit(position(ring->producer), memory_order_relaxed);
	unsigned long consumer = atomic_load(position(ring->consumer));
	_Atomic uint32_t *header = (_Atomic uint32_t *)(void *)data_at(ring, at);
	uint32_t i;

	if (at + step(length) - consumer > ring->size - 1)
		return NULL;
	atomic_store_explicit(header, length | BPF_RINGBUF_BUSY_BIT, memory_order_relaxed);
	atomic_store_explicit(position(ring->producer), at + step(length), memory_order_release);
	for (i = 0; i < length; i++)
		((unsigned char *)header)[BPF_RINGBUF_HDR_SZ + i] = byte_of(number, i);
	atomic_store_explicit(header, length | flags, memory_order_release);
	return header;
}

static void expect_record(const unsigned char *record, uint64_t number, uint32_t length)
{
	uint32_t i;

	for (i = 0; i < length; i++)
		EXPECT(record[i] == byte_of(number, i));
}

/* ---- reading, with buffers of exactly the size that the core is told ---------------------- */

struct records {
	int64_t count;
	uint32_t lengths[4096];
	unsigned char *bytes;
};

static struct records drain_packed(struct ebpf_ring *ring, uint64_t capacity, uint64_t most)
{
	struct records records = { 0 };
	uint32_t *ends = malloc((most < 4096 ? most : 4096) * sizeof(*ends) + 1);
	uint32_t start = 0;
	int64_t i;

	records.bytes = malloc(capacity + 1);
	/* The spare byte keeps malloc(0) out of the test; nothing may touch it. */
	records.bytes[capacity] = 0xa5;
	records.count = ebpf_ring_drain(ring, records.bytes, capacity, ends, most);
	EXPECT(records.bytes[capacity] == 0xa5);
	EXPECT(records.count <= (int64_t)most);
	for (i = 0; i < records.count; i++) {
		records.lengths[i] = ends[i] - start;
		EXPECT(records.lengths[i] >= ring->shortest && records.lengths[i] <= ring->longest);
		start = ends[i];
	}
	if (records.count >= 0)
		EXPECT(ring->used == start);
	free(ends);
	return records;
}

/* What Python's pickle.loads() makes of the form: PROTO 3, EMPTY_LIST, MARK, bytes, APPENDS, STOP. */
static struct records drain_pickled(struct ebpf_ring *ring, uint64_t capacity, uint64_t most)
{
	struct records records = { 0 };
	unsigned char *pickle = malloc(capacity + 1);
	unsigned char *to = records.bytes = malloc(capacity + 1);
	const unsigned char *at = pickle + 4, *end;

	records.count = ebpf_ring_drain_pickle(ring, pickle, capacity, most);
	if (records.count < 0 && records.count != -ENOSPC) {
		free(pickle);
		return records;
	}
	EXPECT(ring->used <= capacity);
	end = pickle + ring->used - 2;
	EXPECT(memcmp(pickle, "\x80\x03](", 4) == 0 && memcmp(end, "e.", 2) == 0);
	for (int64_t i = 0; i < records.count; i++) {
		uint32_t length;

		EXPECT(*at == 'C' || *at == 'B');
		if (*at == 'C') {
			length = at[1];
			at += 2;
		} else {
			length = at[1] | at[2] << 8 | at[3] << 16 | (uint32_t)at[4] << 24;
			at += 5;
		}
		memcpy(to, at, length);
		records.lengths[i] = length;
		to += length;
		at += length;
	}
	EXPECT(at == end);
	free(pickle);
	return records;
}

typedef struct records (*drain_form)(struct ebpf_ring *ring, uint64_t capacity, uint64_t most);

/* ---- memory -------------------------------------------------------------------------------- */

/* Random lengths, discards, capacities and limits, against a list of what was written. */
static void test_model(drain_form drain, uint64_t extra)
{
	struct ebpf_ring ring = ring_in_memory(4096);
	uint32_t lengths[4096], flags[4096];
	uint64_t written = 0, read = 0, discarded = 0, bytes = 0, records = 0;

	for (int round = 0; round < 4000; round++) {
		uint64_t many = random_below(40);
		uint64_t unread, capacity, at = 0;
		struct records got;

		while (many--) {
			uint32_t length = (uint32_t)random_below(random_below(8) ? 40 : 600);
			uint32_t flag = random_below(5) ? 0 : BPF_RINGBUF_DISCARD_BIT;

			if (!put(&ring, written, length, flag))
				break;
			lengths[written % 4096] = length;
			flags[written % 4096] = flag;
			written++;
		}
		unread = (uint64_t)ebpf_ring_unread(&ring);
		EXPECT(unread <= 4096);
		capacity = (random_below(3) ? unread : random_below(unread + 1)) + extra;
		got = drain(&ring, capacity, random_below(4) ? 4096 : random_below(10));
		for (int64_t i = 0; i < got.count; i++) {
			while (flags[read % 4096])
				read++, discarded++;
			EXPECT(got.lengths[i] == lengths[read % 4096]);
			expect_record(got.bytes + at, read, got.lengths[i]);
			at += got.lengths[i];
			bytes += got.lengths[i];
			records++;
			read++;
		}
		EXPECT(got.count >= 0 || got.count == -ENOSPC);
		/* A buffer for all that is unread takes all that is unread. */
		if (got.count == -ENOSPC)
			EXPECT(capacity < unread + extra);
		free(got.bytes);
	}
	EXPECT(ring.records == records && ring.bytes == bytes);
	EXPECT(ring.discarded >= discarded && records > 1000 && discarded > 100);
}

static void test_busy(drain_form drain)
{
	struct ebpf_ring ring = ring_in_memory(4096);
	_Atomic uint32_t *busy;
	struct records got;

	EXPECT(put(&ring, 0, 8, 0));
	busy = put(&ring, 1, 16, BPF_RINGBUF_BUSY_BIT);
	EXPECT(put(&ring, 2, 8, 0));
	got = drain(&ring, 4096, 10);
	EXPECT(got.count == 1);
	free(got.bytes);
	got = drain(&ring, 4096, 10);
	EXPECT(got.count == 0 && ebpf_ring_unread(&ring) == 24 + 16);
	free(got.bytes);
	atomic_store(busy, 16);
	got = drain(&ring, 4096, 10);
	EXPECT(got.count == 2 && got.lengths[0] == 16 && got.lengths[1] == 8);
	expect_record(got.bytes, 1, 16);
	free(got.bytes);
	/* Busy and discarded at once: it is not given back yet. */
	EXPECT(put(&ring, 3, 8, BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT));
	got = drain(&ring, 4096, 10);
	EXPECT(got.count == 0 && ring.discarded == 0);
	free(got.bytes);
}

static void test_longest(drain_form drain, uint64_t extra)
{
	struct ebpf_ring ring = ring_in_memory(8192);

	for (uint64_t number = 0; number < 50; number++) {
		uint32_t length = 8192 - 16 - (uint32_t)random_below(9);
		struct records got;

		EXPECT(put(&ring, number, length, 0));
		EXPECT(!put(&ring, number, 8, 0));
		got = drain(&ring, extra + 100, 1);
		EXPECT(got.count == -ENOSPC);
		free(got.bytes);
		got = drain(&ring, extra + (uint64_t)ebpf_ring_unread(&ring), 1);
		EXPECT(got.count == 1 && got.lengths[0] == length);
		expect_record(got.bytes, number, length);
		free(got.bytes);
	}
}

static void test_corrupt(drain_form drain)
{
	static const unsigned long impossible[] = { 4096 * 3, 4, ~0ul - 8191 };
	struct ebpf_ring ring = ring_in_memory(4096);
	_Atomic uint32_t *header;
	struct records got;
	size_t i;

	EXPECT(put(&ring, 0, 8, 0));
	header = put(&ring, 1, 8, 0);
	for (uint32_t length = 9; length < BPF_RINGBUF_DISCARD_BIT; length = length * 3) {
		/* A length that goes beyond what was produced; the record before it is good. */
		atomic_store(header, length);
		atomic_store(position(ring.consumer), 0);
		got = drain(&ring, 4096, 10);
		EXPECT(got.count == 1);
		free(got.bytes);
		got = drain(&ring, 4096, 10);
		EXPECT(got.count == -EPROTO);
		free(got.bytes);
	}
	for (i = 0; i < sizeof(impossible) / sizeof(impossible[0]); i++) {
		atomic_store(position(ring.consumer), impossible[i]);
		EXPECT(ebpf_ring_unread(&ring) == -EPROTO);
		got = drain(&ring, 4096, 10);
		EXPECT(got.count == -EPROTO);
		free(got.bytes);
	}
}

static void test_closed(drain_form drain)
{
	struct ebpf_ring ring = ring_in_memory(4096);
	struct records got;

	EXPECT(put(&ring, 0, 8, 0));
	ebpf_ring_close(&ring);
	ebpf_ring_close(&ring);
	EXPECT(ebpf_ring_unread(&ring) == -EBADF);
	got = drain(&ring, 4096, 10);
	EXPECT(got.count == -EBADF);
	free(got.bytes);
}

static void test_small_buffers(void)
{
	struct ebpf_ring ring = ring_in_memory(4096);
	unsigned char tiny[EBPF_RING_PICKLE_OVERHEAD - 1];

	EXPECT(put(&ring, 0, 8, 0));
	EXPECT(ebpf_ring_drain_pickle(&ring, tiny, sizeof(tiny), 1) == -EINVAL);
	EXPECT(ebpf_ring_drain(&ring, NULL, 0, NULL, 0) == 0);
	EXPECT(ebpf_ring_drain(&ring, NULL, 0, NULL, 1) == -ENOSPC);
	EXPECT(ebpf_ring_unread(&ring) == 16);
	EXPECT(ebpf_ring_open(-1, 4096, 0, &ring) == -EBADF);
	EXPECT(ebpf_ring_open(-1, 5000, 0, &ring) == -EINVAL);
	EXPECT(ebpf_ring_open(-1, 0, 0, &ring) == -EINVAL);
	EXPECT(ebpf_ring_open(-1, 1ull << 63, 0, &ring) == -EINVAL);
}

/* Discarded records are passed, so that a descriptor is not readable for their sake. */
static void test_ready(void)
{
	struct ebpf_ring ring = ring_in_memory(4096);
	_Atomic uint32_t *busy;
	struct records got;

	EXPECT(ebpf_ring_ready(&ring) == 0);
	EXPECT(put(&ring, 0, 8, BPF_RINGBUF_DISCARD_BIT) && put(&ring, 1, 30, BPF_RINGBUF_DISCARD_BIT));
	EXPECT(ebpf_ring_ready(&ring) == 0 && ebpf_ring_unread(&ring) == 0 && ring.discarded == 2);
	busy = put(&ring, 2, 8, BPF_RINGBUF_BUSY_BIT);
	EXPECT(ebpf_ring_ready(&ring) == 2 && ebpf_ring_ready(&ring) == 2);
	atomic_store(busy, 8);
	EXPECT(ebpf_ring_ready(&ring) == 1);
	got = drain_packed(&ring, 4096, 10);
	EXPECT(got.count == 1);
	free(got.bytes);
	atomic_store(put(&ring, 3, 8, 0), BPF_RINGBUF_DISCARD_BIT | 4000);
	EXPECT(ebpf_ring_ready(&ring) == 1);
	got = drain_packed(&ring, 4096, 10);
	EXPECT(got.count == -EPROTO);
	free(got.bytes);
	ebpf_ring_close(&ring);
	EXPECT(ebpf_ring_ready(&ring) == -EBADF);
}

/* As the kernel makes room in overwrite mode: the oldest records go, one by one. */
static void make_room(struct ebpf_ring *ring, uint32_t length, _Atomic unsigned long *oldest)
{
	unsigned long at = atomic_load(position(ring->producer)), first = atomic_load(oldest);

	while (at + step(length) - first > ring->size - 1)
		first += step(*(uint32_t *)(void *)data_at(ring, first) & ~BPF_RINGBUF_DISCARD_BIT);
	atomic_store(oldest, first);
}

static void test_overwritten(drain_form drain, uint64_t extra)
{
	struct ebpf_ring ring = ring_in_memory(4096);
	_Atomic unsigned long *oldest = position(ring.producer) + 1;
	struct ebpf_ring writer = ring;
	uint64_t written = 0, read = 0;

	ring.overwrite_at = sizeof(unsigned long);
	/* So that put() finds room. */
	writer.consumer = ring.producer + sizeof(unsigned long);
	for (int round = 0; round < 500; round++) {
		struct records got;
		uint64_t at = 0, lost;

		for (uint64_t many = random_below(300); many; many--) {
			make_room(&writer, 8 + written % 40, oldest);
			EXPECT(put(&writer, written, 8 + written % 40, 0));
			written++;
		}
		lost = ring.overwritten;
		got = drain(&ring, 4096 + extra, random_below(3) ? 4096 : 5);
		EXPECT(got.count >= 0);
		/* What was passed is counted: in records of at most 56 bytes. */
		if (got.count)
			while (got.lengths[0] != 8 + read % 40 || got.bytes[0] != byte_of(read, 0))
				EXPECT(read++ < written);
		EXPECT(ring.overwritten - lost <= 56 * written);
		for (int64_t i = 0; i < got.count; i++, read++) {
			EXPECT(got.lengths[i] == 8 + read % 40);
			expect_record(got.bytes + at, read, got.lengths[i]);
			at += got.lengths[i];
		}
		free(got.bytes);
	}
	EXPECT(ring.overwritten > 100000 && ring.records > 10000);
}

/* Looking for a record passes what was discarded, and what was overwritten before it. */
static void test_ready_overwritten(void)
{
	struct ebpf_ring ring = ring_in_memory(4096);
	_Atomic unsigned long *oldest = position(ring.producer) + 1;
	struct ebpf_ring writer = ring;
	struct records got;

	ring.overwrite_at = sizeof(unsigned long);
	writer.consumer = ring.producer + sizeof(unsigned long);
	for (uint64_t number = 0; number < 1000; number++) {
		make_room(&writer, 8, oldest);
		EXPECT(put(&writer, number, 8, number < 999 ? BPF_RINGBUF_DISCARD_BIT : 0));
	}
	EXPECT(ebpf_ring_ready(&ring) == 1 && ring.discarded == 4096 / 16 - 2);
	EXPECT(ring.overwritten == 16 * (999 - ring.discarded));
	got = drain_packed(&ring, 4096, 10);
	EXPECT(got.count == 1 && ring.overwritten == 16 * (999 - ring.discarded));
	free(got.bytes);
}

static int memory(void)
{
	static const struct {
		drain_form drain;
		uint64_t extra;
	} forms[] = { { drain_packed, 0 }, { drain_pickled, EBPF_RING_PICKLE_OVERHEAD } };

	for (int i = 0; i < 2; i++) {
		test_model(forms[i].drain, forms[i].extra);
		test_busy(forms[i].drain);
		test_longest(forms[i].drain, forms[i].extra);
		test_corrupt(forms[i].drain);
		test_closed(forms[i].drain);
	}
	test_small_buffers();
	test_ready();
	test_ready_overwritten();
	test_overwritten(drain_packed, 0);
	test_overwritten(drain_pickled, EBPF_RING_PICKLE_OVERHEAD);
	perf_memory();
	user_ring_memory();
	xsk_memory();
	return 0;
}

/* ---- threads ------------------------------------------------------------------------------- */

#define SHARED_RECORDS 100000

static void *produce(void *argument)
{
	struct ebpf_ring *ring = argument;

	for (uint64_t number = 0; number < SHARED_RECORDS; number++)
		while (!put(ring, number, 8 + number % 50, 0))
			sched_yield();
	return NULL;
}

static int threads(void)
{
	struct ebpf_ring ring = ring_in_memory(4096);
	struct ebpf_ring writer = ring;
	uint64_t number = 0;
	pthread_t producer;

	EXPECT(pthread_create(&producer, NULL, produce, &writer) == 0);
	while (number < SHARED_RECORDS) {
		struct records got = drain_packed(&ring, 4096, 4096);
		uint64_t at = 0;

		EXPECT(got.count >= 0);
		for (int64_t i = 0; i < got.count; i++, number++) {
			EXPECT(got.lengths[i] == 8 + number % 50);
			expect_record(got.bytes + at, number, got.lengths[i]);
			at += got.lengths[i];
		}
		free(got.bytes);
		if (!got.count)
			sched_yield();
	}
	EXPECT(pthread_join(producer, NULL) == 0);
	EXPECT(ring.records == SHARED_RECORDS);
	perf_threads();
	user_ring_threads();
	xsk_threads();
	return 0;
}

/* ---- kernel -------------------------------------------------------------------------------- */

static int create_map(uint32_t type, uint32_t key_size, uint32_t value_size, uint32_t entries)
{
	struct ebpf_attr_map_create attr = {
		.map_type = type,
		.key_size = key_size,
		.value_size = value_size,
		.max_entries = entries,
	};
	int64_t fd = ebpf_bpf_fd(BPF_MAP_CREATE, &attr, sizeof(attr));

	EXPECT(fd > 2);
	return (int)fd;
}

/* A raw tracepoint program that copies its first argument into a record of `ring`. */
static int load_producer(int ring)
{
	const struct bpf_insn insns[] = {
		{ BPF_LDX | BPF_MEM | BPF_DW, 2, 1, 0, 0 },
		{ BPF_STX | BPF_MEM | BPF_DW, 10, 2, -8, 0 },
		{ BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, ring },
		{ 0, 0, 0, 0, 0 },
		{ BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0 },
		{ BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -8 },
		{ BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 8 },
		{ BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 0 },
		{ BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ringbuf_output },
		{ BPF_JMP | BPF_EXIT, 0, 0, 0, 0 },
	};
	struct ebpf_attr_prog_load attr = {
		.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
		.insn_cnt = sizeof(insns) / sizeof(insns[0]),
		.insns = (uintptr_t)insns,
		.license = (uintptr_t) "GPL",
	};
	int64_t fd = ebpf_bpf_fd(BPF_PROG_LOAD, &attr,
				 offsetof(struct ebpf_attr_prog_load, core_relo_cnt));

	EXPECT(fd > 2);
	return (int)fd;
}

static int64_t run(int program, uint64_t number)
{
	struct ebpf_attr_prog_test_run attr = {
		.prog_fd = (uint32_t)program,
		.ctx_in = (uintptr_t)&number,
		.ctx_size_in = sizeof(number),
	};
	int64_t result = ebpf_bpf(BPF_PROG_TEST_RUN, &attr,
				  offsetof(struct ebpf_attr_prog_test_run, batch_size));

	EXPECT(result == 0);
	return (int32_t)attr.retval;
}

static void test_real_ring(void)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), number = 0, next = 0;
	int map = create_map(BPF_MAP_TYPE_RINGBUF, 0, 0, (uint32_t)page);
	int program = load_producer(map);
	struct ebpf_ring ring;

	EXPECT(ebpf_ring_open(map, 2 * page, 0, &ring) < 0);
	EXPECT(ebpf_ring_open(map, page, 0, &ring) == 0);
	EXPECT(ebpf_ring_unread(&ring) == 0);
	for (int round = 0; round < 40; round++) {
		drain_form drain = round % 2 ? drain_packed : drain_pickled;
		struct records got;

		while (run(program, number) == 0)
			number++;
		EXPECT(ebpf_ring_unread(&ring) == (int64_t)(number - next) * 16);
		do {
			got = drain(&ring, 2 * page, 1 + random_below(200));
			for (int64_t i = 0; i < got.count; i++, next++) {
				EXPECT(got.lengths[i] == 8);
				EXPECT(memcmp(got.bytes + 8 * i, &next, 8) == 0);
			}
			free(got.bytes);
		} while (got.count > 0);
		EXPECT(next == number);
	}
	EXPECT(number > 40 * (page / 16 - 1) - 1 && ring.records == number);
	ebpf_ring_close(&ring);
	close(program);
	close(map);
}

static void test_real_maps(void)
{
	int map = create_map(BPF_MAP_TYPE_HASH, 4, 8, 100);
	uint64_t value = 0, sum = 0;
	uint32_t keys[100], key;
	int64_t found;
	int copy;

	for (key = 0; key < 60; key++) {
		value = key * 1000ull;
		EXPECT(ebpf_map_update(map, &key, &value, BPF_NOEXIST) == 0);
	}
	EXPECT(ebpf_map_update(map, &(uint32_t){ 5 }, &value, BPF_NOEXIST) == -EEXIST);
	EXPECT(ebpf_map_lookup(map, &(uint32_t){ 7 }, &value, 0) == 0 && value == 7000);
	EXPECT(ebpf_map_lookup(map, &(uint32_t){ 60 }, &value, 0) == -ENOENT);
	EXPECT(ebpf_map_delete(map, &(uint32_t){ 7 }) == 0);
	EXPECT(ebpf_map_delete(map, &(uint32_t){ 7 }) == -ENOENT);
	found = ebpf_map_keys(map, NULL, 4, keys, 20);
	EXPECT(found == 20);
	found += ebpf_map_keys(map, &keys[19], 4, keys + 20, 80);
	EXPECT(found == 59);
	for (int64_t i = 0; i < found; i++)
		sum += keys[i];
	EXPECT(sum == 59 * 60 / 2 - 7);
	EXPECT(ebpf_map_lookup(-1, &key, &value, 0) == -EBADF);
	copy = (int)ebpf_dup(map);
	EXPECT(copy > 2 && copy != map);
	EXPECT(ebpf_dup(-1) == -EBADF);
	close(copy);
	close(map);
}

static void test_scalars(void)
{
	int map = create_map(BPF_MAP_TYPE_HASH, 4, 8, 10);

	EXPECT(ebpf_map_get_u32_u64(map, 1) == EBPF_MAP_ABSENT);
	EXPECT(ebpf_map_set_u32_u64(map, 1, 1ull << 40) == 0);
	EXPECT(ebpf_map_get_u32_u64(map, 1) == 1ull << 40);
	/* Values that are the two numbers with a meaning of their own. */
	EXPECT(ebpf_map_set_u32_u64(map, 1, EBPF_MAP_ABSENT) == 0);
	EXPECT(ebpf_map_get_u32_u64(map, 1) == EBPF_MAP_UNSURE);
	EXPECT(ebpf_map_set_u32_u64(map, 1, EBPF_MAP_UNSURE) == 0);
	EXPECT(ebpf_map_get_u32_u64(map, 1) == EBPF_MAP_UNSURE);
	EXPECT(ebpf_map_get_u32_u64(-1, 1) == EBPF_MAP_UNSURE);
	EXPECT(ebpf_map_set_u32_u64(-1, 1, 1) == -EBADF);
	close(map);
}

static void test_batches(void)
{
	int map = create_map(BPF_MAP_TYPE_HASH, 4, 8, 100);
	uint32_t keys[100], cursor, count = 100;
	uint64_t values[100], done, deleted;
	unsigned char found[100];

	for (uint32_t i = 0; i < 100; i++) {
		keys[i] = i;
		values[i] = i * 10;
	}
	EXPECT(ebpf_map_batch(BPF_MAP_UPDATE_BATCH, map, NULL, NULL, keys, values, &count, 0) == 0);
	EXPECT(count == 100);
	memset(values, 0, sizeof(values));
	EXPECT(ebpf_map_batch(BPF_MAP_LOOKUP_BATCH, map, NULL, &cursor, keys, values, &count, 0) ==
	       -ENOENT);
	EXPECT(count == 100);
	for (uint32_t i = 0; i < 100; i++)
		EXPECT(values[i] == keys[i] * 10ull);
	for (uint32_t i = 0; i < 100; i++)
		keys[i] = 2 * i;
	EXPECT(ebpf_map_lookup_many(map, keys, 4, values, 8, found, 100, 0, &done) == 0);
	EXPECT(done == 100 && found[49] && values[49] == 980 && !found[50] && !values[50]);
	EXPECT(ebpf_map_delete_batch(map, keys, 4, 30, &deleted, &done) == 0);
	EXPECT(deleted == 30 && done == 30);
	EXPECT(ebpf_map_delete_many(map, keys, 4, 100, &deleted, &done) == 0);
	EXPECT(deleted == 20 && done == 100);
	EXPECT(ebpf_map_delete_batch(map, keys, 4, 100, &deleted, &done) == 0);
	EXPECT(deleted == 0 && done == 100);
	EXPECT(ebpf_map_update_many(map, keys, 4, values, 8, 100, BPF_NOEXIST, &done) == -E2BIG);
	EXPECT(done == 50);
	EXPECT(ebpf_map_lookup_many(-1, keys, 4, values, 8, found, 100, 0, &done) == -EBADF);
	EXPECT(ebpf_map_delete_many(-1, keys, 4, 100, &deleted, &done) == -EBADF);
	EXPECT(ebpf_map_delete_batch(-1, keys, 4, 100, &deleted, &done) == -EBADF);
	close(map);
}

/* A program that closed its standard streams: what it prints must not go into a map. */
static void test_standard_streams(void)
{
	int saved = dup(0), map;

	close(0);
	map = create_map(BPF_MAP_TYPE_ARRAY, 4, 8, 1);
	EXPECT(ebpf_dup(map) > 2);
	EXPECT(dup2(saved, 0) == 0);
	close(saved);
	close(map);
}

static int kernel(void)
{
	test_real_ring();
	test_real_maps();
	test_scalars();
	test_batches();
	test_standard_streams();
	EXPECT(ebpf_uapi_version() >= 5 << 16);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "memory"))
		return memory();
	if (argc == 2 && !strcmp(argv[1], "threads"))
		return threads();
	if (argc == 2 && !strcmp(argv[1], "kernel"))
		return kernel();
	fprintf(stderr, "usage: %s memory|threads|kernel\n", argv[0]);
	return 2;
}
