/*
 * Asks for a field, an option and a map that are not there: what the loader says of each.
 */
#include "bpf.h"

LICENSE("GPL");

static u64 (*get_current_task)(void) = (void *)35;
static long (*probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;

struct task_struct {
	int no_such_field;
} __attribute__((preserve_access_index));

struct {
	NUMBER(type, ARRAY);
	TYPE(key, u32);
	TYPE(value, u64);
	NUMBER(max_entries, 1);
} left_out SEC(".maps");

extern int CONFIG_NOBODY_HAS_THIS KCONFIG;

SEC("?raw_tp/sched_process_exec")
int needs_field(void *ctx)
{
	struct task_struct *task = (struct task_struct *)get_current_task();
	int value = 0;

	probe_read_kernel(&value, sizeof(value), &task->no_such_field);
	return value;
}

SEC("?raw_tp/sched_process_exec")
int asks_first(void *ctx)
{
	struct task_struct *task = (struct task_struct *)get_current_task();
	int value = 0;

	if (__builtin_preserve_field_info(task->no_such_field, 2 /* BPF_FIELD_EXISTS */))
		probe_read_kernel(&value, sizeof(value), &task->no_such_field);
	return value;
}

SEC("?raw_tp/sched_process_exec")
int needs_map(void *ctx)
{
	u32 key = 0;

	return map_lookup(&left_out, &key) != 0;
}

SEC("?raw_tp/sched_process_exec")
int needs_option(void *ctx)
{
	return CONFIG_NOBODY_HAS_THIS;
}
