/* The other of two objects that are linked, see link_main.bpf.c. */

#include "link.h"

LICENSE("GPL");
u32 version_code SEC("version") = 0x060c01;

struct single other_map SEC(".maps");
struct slots parts_map SEC(".maps");

struct {
	NUMBER(type, ARRAY_OF_MAPS);
	NUMBER(max_entries, 1);
	TYPE(key, u32);
	ELEMENTS(values, struct single);
} parts_outer SEC(".maps") = {.values = {(void *)&other_map}};

u64 out[OUT];
int shared = 6;
const volatile int constant = 1000;

int limit = 70;
WEAK int first_wins = 2;
int moved;

static int hits = 200;
static int zeroed;
static const volatile int knob = 22;

u64 aligned_one SEC(".data.custom") __attribute__((aligned(32))) = 2;
extern u32 CONFIG_BPF_SYSCALL_MISSING KCONFIG WEAK;
extern const int no_such_variable KSYM WEAK;

static NOINLINE int helper(int n)
{
	hits += n;
	zeroed += 2;
	return hits;
}

int chosen(int n)
{
	return n + 2;
}

WEAK NOINLINE int first_chosen(int n)
{
	return n + 2;
}

NOINLINE int in_parts_only(int n)
{
	return helper(n) + in_main_only(n);
}

HIDDEN NOINLINE int hidden_part(int n)
{
	return helper(n) * 2;
}

SEC("socket")
int parts_entry(struct __sk_buff *context)
{
	u32 key = 1;
	struct sample *found = map_lookup(&parts_map, &key);

	out[16] = helper(1);
	out[17] = chosen(30);
	out[18] = first_chosen(40);
	out[19] = limit;
	out[20] = first_wins;
	out[21] = moved;
	out[22] = found ? found->count : 0;
	out[23] = zeroed;
	out[24] = knob;
	out[25] = aligned_one;
	out[26] = "text of parts"[shared & 7];
	out[27] = LINUX_KERNEL_VERSION + CONFIG_BPF_SYSCALL_MISSING + (u64)&no_such_variable;
	return 2;
}

SEC("socket")
int parts_maps(struct __sk_buff *context)
{
	u32 key = 0;
	u32 *value;
	void *inner = map_lookup(&parts_outer, &key);

	if (inner && (value = map_lookup(inner, &key)))
		*value += 4;
	return 1;
}

/* Less of it than the other object says. */
struct task_struct {
	int tgid;
} __attribute__((preserve_access_index));

SEC("socket")
int parts_offsets(struct __sk_buff *context)
{
	struct task_struct *task = 0;

	out[31] = __builtin_preserve_field_info(task->tgid, 0);
	return 2;
}

static long visit(void *map, const u32 *key, struct sample *value, void *context)
{
	out[29] += 10;
	return 0;
}

SEC("socket")
int parts_callback(struct __sk_buff *context)
{
	for_each_map_elem(&parts_map, visit, 0, 0);
	return 2;
}
