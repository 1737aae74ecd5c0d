/*
 * What a small tracer is made of: a ring buffer, a constant that is set before loading, and CO-RE
 * reads. It reports the process `target` whenever that leaves a CPU.
 */
#include "../tests/bpf/bpf.h"

LICENSE("GPL");

static long (*probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;

struct {
	NUMBER(type, RINGBUF);
	NUMBER(max_entries, 262144);
} events SEC(".maps");

const volatile u32 target = 0;

struct task_struct {
	int tgid;
	int pid;
	char comm[16];
	struct task_struct *real_parent;
} __attribute__((preserve_access_index));

struct event {
	u32 tgid;
	u32 pid;
	u32 parent;
	char comm[16];
};

#define READ(to, from) probe_read_kernel(&(to), sizeof(to), &(from))

SEC("raw_tp/sched_switch")
int on_switch(u64 *arguments)
{
	struct task_struct *task = (void *)arguments[1], *parent = 0;
	struct event event = {};

	READ(event.tgid, task->tgid);
	if (event.tgid != target)
		return 0;
	READ(event.pid, task->pid);
	READ(event.comm, task->comm);
	READ(parent, task->real_parent);
	READ(event.parent, parent->tgid);
	ringbuf_output(&events, &event, sizeof(event), 0);
	return 0;
}
