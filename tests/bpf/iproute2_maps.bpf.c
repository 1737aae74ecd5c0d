/* Map definitions as iproute2's tc and ip read them. */

#include "bpf.h"

LICENSE("GPL");

struct bpf_elf_map {
	u32 type;
	u32 size_key;
	u32 size_value;
	u32 max_elem;
	u32 flags;
	u32 id;
	u32 pinning;
	u32 inner_id;
	u32 inner_idx;
};

struct bpf_elf_map SEC("maps") shared = {
	.type = HASH,
	.size_key = 4,
	.size_value = 8,
	.max_elem = 100,
	.pinning = 2,
	.inner_idx = -1,
};

struct bpf_elf_map SEC("maps") inside = {
	.type = ARRAY,
	.size_key = 4,
	.size_value = 4,
	.max_elem = 1,
	.id = 42,
	.inner_idx = 3,
};

struct bpf_elf_map SEC("maps") outside = {
	.type = ARRAY_OF_MAPS,
	.size_key = 4,
	.size_value = 4,
	.max_elem = 8,
	.inner_id = 42,
	.inner_idx = -1,
};

SEC("classifier")
int classify(struct __sk_buff *context)
{
	u32 key = 0;

	return map_lookup(&shared, &key) || map_lookup(&outside, &key);
}
