/* One of two objects that are linked; link_parts.bpf.c is the other. */

#include "link.h"

LICENSE("GPL");
u32 version_code SEC("version") = 0x060c01;

/* Both have a map of their own in front of the shared one. */
struct single main_map SEC(".maps");

struct {
	NUMBER(type, ARRAY_OF_MAPS);
	NUMBER(max_entries, 2);
	TYPE(key, u32);
	ELEMENTS(values, struct single);
} main_outer SEC(".maps") = {.values = {0, (void *)&main_map}};

SEC("socket")
int main_target(struct __sk_buff *context)
{
	return 5;
}

struct {
	NUMBER(type, PROG_ARRAY);
	NUMBER(max_entries, 2);
	TYPE(key, u32);
	ELEMENTS(values, int(void *));
} main_calls SEC(".maps") = {.values = {(void *)&main_target}};

/* Weak here and strong there; weak in both; weak in .data here and strong in .bss there. */
WEAK int limit = 7;
WEAK int first_wins = 1;
WEAK int moved = 5;

/* Static in both. */
static int hits = 100;
static int zeroed;
static const volatile int knob = 11;

u8 odd SEC(".data.custom") = 1;
extern u32 CONFIG_BPF_SYSCALL_MISSING KCONFIG WEAK;
extern const int no_such_variable KSYM WEAK;

static NOINLINE int helper(int n)
{
	hits += n;
	zeroed++;
	return hits;
}

WEAK NOINLINE int chosen(int n)
{
	return n + 1;
}

WEAK NOINLINE int first_chosen(int n)
{
	return n + 1;
}

NOINLINE int in_main_only(int n)
{
	return helper(n) + constant;
}

SEC("socket")
int main_entry(struct __sk_buff *context)
{
	u32 key = 1;
	struct sample *found = map_lookup(&parts_map, &key);

	out[0] = helper(1);
	out[1] = in_parts_only(2);
	out[2] = hidden_part(3);
	out[3] = chosen(10);
	out[4] = first_chosen(20);
	out[5] = limit;
	out[6] = first_wins;
	out[7] = moved;
	out[8] = shared;
	out[9] = found ? found->count : 0;
	out[10] = zeroed;
	out[11] = knob;
	out[12] = odd;
	out[13] = LINUX_KERNEL_VERSION;
	out[14] = "main text"[shared & 7];
	out[15] = CONFIG_BPF_SYSCALL_MISSING + (u64)&no_such_variable;
	return 1;
}

SEC("socket")
int main_maps(struct __sk_buff *context)
{
	u32 key = 1, first = 0;
	u32 *value;
	void *inner = map_lookup(&main_outer, &key);

	if (inner && (value = map_lookup(inner, &first)))
		*value += 3;
	tail_call(context, &main_calls, 0);
	return 1;
}

struct task_struct {
	int pid;
	int tgid;
} __attribute__((preserve_access_index));

SEC("socket")
int main_offsets(struct __sk_buff *context)
{
	struct task_struct *task = 0;

	out[30] = __builtin_preserve_field_info(task->tgid, 0);
	return 1;
}

static long visit(void *map, const u32 *key, struct sample *value, void *context)
{
	out[28] += 1;
	return 0;
}

SEC("socket")
int main_callback(struct __sk_buff *context)
{
	for_each_map_elem(&parts_map, visit, 0, 0);
	return 1;
}
