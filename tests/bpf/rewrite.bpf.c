/* Programs and maps that the tests change before they load them. */

#include "bpf.h"

LICENSE("GPL");

struct {
	NUMBER(type, HASH);
	TYPE(key, u32);
	TYPE(value, u64);
	NUMBER(max_entries, 8);
} counts SEC(".maps");

int last(struct __sk_buff *context);

struct {
	NUMBER(type, PROG_ARRAY);
	NUMBER(max_entries, 2);
	NUMBER(key_size, sizeof(u32));
	int (*values[])(struct __sk_buff *context);
} calls SEC(".maps") = {
	.values = { [1] = last },
};

const volatile u32 parent;
u64 runs, events;

SEC("socket")
int count(struct __sk_buff *context)
{
	u32 key = 0;
	u64 one = 1, *value = map_lookup(&counts, &key);

	if (value)
		*value += 1;
	else
		map_update(&counts, &key, &one, 0);
	runs++;
	return 0;
}

SEC("socket")
int last(struct __sk_buff *context)
{
	return 77;
}

SEC("socket")
int jump(struct __sk_buff *context)
{
	tail_call(context, &calls, 1);
	return 1;
}

static u64 (*current)(void) = (void *)35;
static long (*probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;

struct task_struct {
	u32 tgid;
	struct task_struct *real_parent;
} __attribute__((preserve_access_index));

/* Of the test and its children only: other processes make events, too. */
SEC("raw_tp/sys_exit")
int on_event(void *context)
{
	struct task_struct *task = (void *)current(), *above = 0;
	u32 own = 0, above_tgid = 0;

	probe_read_kernel(&own, sizeof(own), &task->tgid);
	probe_read_kernel(&above, sizeof(above), &task->real_parent);
	probe_read_kernel(&above_tgid, sizeof(above_tgid), &above->tgid);
	if (own == parent || above_tgid == parent)
		events++;
	return 0;
}

/* The third argument of sched_process_exec, its binary's. */
SEC("tp_btf/sched_process_exec")
int by_btf(u64 *arguments)
{
	return arguments[2] != 0;
}
