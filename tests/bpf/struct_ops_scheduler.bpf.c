/* A scheduler for the tasks that ask for SCHED_EXT: one queue for all CPUs, in order. */

#include "bpf.h"

LICENSE("GPL");

#define GLOBAL_QUEUE 0x8000000000000001ULL /* SCX_DSQ_GLOBAL */
#define SLICE 20000000ULL		    /* SCX_SLICE_DFL */

struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

struct sched_ext_ops {
	void (*enqueue)(struct task_struct *task, u64 flags);
	void (*running)(struct task_struct *task);
	u64 flags;
	char name[128];
};

extern void scx_bpf_dsq_insert(struct task_struct *task, u64 queue, u64 slice, u64 flags) KSYM;

/* How often which task has been given a CPU. */
volatile int watched;
u64 runs, enqueued;

SEC("struct_ops")
void test_enqueue(u64 *context)
{
	struct task_struct *task = (void *)context[0];

	__sync_fetch_and_add(&enqueued, 1);
	scx_bpf_dsq_insert(task, GLOBAL_QUEUE, SLICE, context[1]);
}

SEC("struct_ops")
void test_running(u64 *context)
{
	struct task_struct *task = (void *)context[0];

	if (task->pid == watched)
		__sync_fetch_and_add(&runs, 1);
}

SEC(".struct_ops.link")
struct sched_ext_ops scheduler = {
	.enqueue = (void *)test_enqueue,
	.running = (void *)test_running,
	.flags = 1 << 3, /* SCX_OPS_SWITCH_PARTIAL */
	.name = "ebpf_test",
};
