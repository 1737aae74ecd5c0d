/*
 * One program with everything a tracer has: a ring buffer, a typed hash, global data of all kinds,
 * kernel options, a subprogram, and CO-RE reads. Its test reads what it saw of a real execution.
 */
#include "bpf.h"

LICENSE("GPL");

static u64 (*get_current_task)(void) = (void *)35;
static long (*probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;

struct {
	NUMBER(type, RINGBUF);
	NUMBER(max_entries, 5000); /* rounded up by the loader */
} events SEC(".maps");

struct value {
	u32 count;
	char name[12];
	u64 total;
};

struct {
	NUMBER(type, HASH);
	TYPE(key, u32);
	TYPE(value, struct value);
	NUMBER(max_entries, 16);
} table SEC(".maps");

const volatile u32 only_parent = 0;
u64 counter = 5;
u64 zeroed;
static volatile s32 negative = -7;

extern int LINUX_KERNEL_VERSION KCONFIG;
extern _Bool CONFIG_BPF KCONFIG;
extern int CONFIG_NOBODY_HAS_THIS KCONFIG WEAK;

struct task_struct {
	int tgid;
	struct task_struct *real_parent;
} __attribute__((preserve_access_index));

struct event {
	u32 pid;
	u32 parent;
	u32 version;
	s32 option;
	u64 number;
	s64 negative;
};

static NOINLINE u32 parent_of(struct task_struct *task)
{
	struct task_struct *parent = 0;
	u32 tgid = 0;

	probe_read_kernel(&parent, sizeof(parent), &task->real_parent);
	probe_read_kernel(&tgid, sizeof(tgid), &parent->tgid);
	return tgid;
}

SEC("raw_tp/sched_process_exec")
int on_exec(void *ctx)
{
	struct event event = {};

	event.pid = get_current_pid_tgid() >> 32;
	event.parent = parent_of((struct task_struct *)get_current_task());
	if (event.parent != only_parent)
		return 0;
	event.version = CONFIG_BPF ? LINUX_KERNEL_VERSION : 0;
	event.option = CONFIG_NOBODY_HAS_THIS;
	event.number = ++counter;
	event.negative = negative;
	zeroed += 2;
	ringbuf_output(&events, &event, sizeof(event), 0);
	return 0;
}
