/* Map definitions from before BTF. */

#include "bpf.h"

LICENSE("GPL");

struct bpf_map_def {
	u32 type;
	u32 key_size;
	u32 value_size;
	u32 max_entries;
	u32 map_flags;
#ifdef EXTRA_FIELDS
	u32 extra[EXTRA_FIELDS];
#endif
};

struct bpf_map_def SEC("maps") hash = {
	.type = HASH,
	.key_size = 4,
	.value_size = 8,
	.max_entries = 10,
	.map_flags = NO_PREALLOC,
};

struct bpf_map_def SEC("maps") array = {
	.type = ARRAY,
	.key_size = 4,
	.value_size = 16,
	.max_entries = 2,
};

struct bpf_map_def SEC("maps/events") events = {
	.type = PERF_EVENT_ARRAY,
	.key_size = 4,
	.value_size = 4,
};

SEC("socket1")
int filter(struct __sk_buff *context)
{
	u32 key = 0;

	return map_lookup(&hash, &key) || map_lookup(&array, &key) || map_lookup(&events, &key);
}
