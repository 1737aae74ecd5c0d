/* Map definitions in BTF, with every field that libbpf 1.0 knows. */

#include "bpf.h"

LICENSE("GPL");

struct key {
	u32 address;
	u16 port;
};

struct value {
	u64 packets;
	u64 bytes;
};

struct {
	NUMBER(type, HASH);
	NUMBER(max_entries, 1000);
	NUMBER(map_flags, NO_PREALLOC | NUMA_NODE);
	NUMBER(numa_node, 0);
	NUMBER(pinning, 1);
	TYPE(key, struct key);
	TYPE(value, struct value);
} pinned SEC(".maps");

struct {
	NUMBER(type, PERCPU_ARRAY);
	NUMBER(max_entries, 7);
	NUMBER(key_size, 4);
	NUMBER(value_size, 24);
} sizes_only SEC(".maps");

/* Both a size and a type, which agree. */
struct {
	NUMBER(type, HASH);
	NUMBER(max_entries, 1);
	NUMBER(key_size, 4);
	TYPE(key, u32);
	TYPE(value, u64);
	NUMBER(value_size, 8);
} both SEC(".maps");

struct {
	NUMBER(type, BLOOM_FILTER);
	NUMBER(max_entries, 100);
	NUMBER(value_size, 8);
	NUMBER(map_extra, 3);
} bloom SEC(".maps");

struct {
	NUMBER(type, RINGBUF);
	NUMBER(max_entries, 1 << 16);
} ring SEC(".maps");

typedef struct {
	NUMBER(type, ARRAY);
	NUMBER(max_entries, 3);
	TYPE(key, u32);
	TYPE(value, u32);
} inner_t;

inner_t inner_a SEC(".maps");
inner_t inner_b SEC(".maps");

struct {
	NUMBER(type, ARRAY_OF_MAPS);
	NUMBER(max_entries, 5);
	NUMBER(key_size, 4);
	ELEMENTS(values, inner_t);
} outer_array SEC(".maps") = {
	.values = {[1] = &inner_b, [4] = &inner_a},
};

struct {
	NUMBER(type, HASH_OF_MAPS);
	NUMBER(max_entries, 5);
	TYPE(key, u32);
	ELEMENTS(values, struct {
		NUMBER(type, HASH);
		NUMBER(max_entries, 9);
		TYPE(key, struct key);
		TYPE(value, struct value);
	});
} outer_hash SEC(".maps");

int target_a(struct __sk_buff *context);
int target_b(struct __sk_buff *context);

struct {
	NUMBER(type, PROG_ARRAY);
	NUMBER(max_entries, 4);
	NUMBER(key_size, 4);
	ELEMENTS(values, int(void *));
} jumps SEC(".maps") = {
	.values = {[0] = (void *)&target_b, [3] = (void *)&target_a},
};

SEC("tc")
int target_a(struct __sk_buff *context)
{
	return 1;
}

SEC("tc")
int target_b(struct __sk_buff *context)
{
	return 2;
}

SEC("tc")
int entry(struct __sk_buff *context)
{
	struct key key = {.address = 1, .port = 2};
	struct value *value = map_lookup(&pinned, &key);

	if (value)
		value->packets++;
	else
		ringbuf_output(&ring, &key, sizeof(key), 0);
	tail_call(context, &jumps, 3);
	return 0;
}
