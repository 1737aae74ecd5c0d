/* Programs by section, several in one of them, and functions of every linkage. */

#include "bpf.h"

LICENSE("Dual MIT/GPL");
u32 kernel_version SEC("version") = 0x060c01;

struct {
	NUMBER(type, ARRAY);
	NUMBER(max_entries, 4);
	TYPE(key, u32);
	TYPE(value, u64);
} counts SEC(".maps");

/* Static, in .text: called by section and distance. */
static NOINLINE int add_one(u32 n)
{
	return n + (u32)ktime_get_ns();
}

/* Called from .text itself, for which no relocation is needed. */
static NOINLINE int add_two(u32 n)
{
	return add_one(n) + add_one(n + 1);
}

NOINLINE int global_twice(u32 n)
{
	return add_two(n) * 2;
}

WEAK NOINLINE int weak_thrice(u32 n)
{
	return add_one(n) * 3;
}

HIDDEN NOINLINE int hidden_square(u32 n)
{
	return n * n + (u32)ktime_get_ns();
}

static long visit(void *map, const u32 *key, u64 *value, void *context)
{
	*value += add_one(*key);
	return 0;
}

/* A second callback, not at the start of its section. */
static long step(u32 index, void *context)
{
	return index == 3;
}

long global_step(u32 index, void *context)
{
	return index == 4;
}

SEC("xdp")
int first(struct xdp_md *context)
{
	return global_twice(get_smp_processor_id()) & 1 ? 2 : 1;
}

SEC("xdp")
int second(struct xdp_md *context)
{
	u32 key = 1;
	u64 *value = map_lookup(&counts, &key);

	if (value)
		*value += weak_thrice(key) + hidden_square(key) + add_two(key);
	return 2;
}

SEC("xdp")
int third(struct xdp_md *context)
{
	for_each_map_elem(&counts, visit, 0, 0);
	loop(10, step, 0, 0);
	loop(10, global_step, 0, 0);
	return 2;
}

SEC("?kprobe/do_unlinkat")
int not_loaded(void *context)
{
	return 0;
}

SEC("fentry.s/bpf_fentry_test1")
int sleepable(u64 *context)
{
	return 0;
}

SEC("uprobe//bin/sh:main+4")
int with_path(void *context)
{
	return 0;
}

SEC("from-netdev")
int free_form(struct __sk_buff *context)
{
	return 0;
}
