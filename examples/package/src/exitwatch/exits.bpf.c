/* Reports what ends with an error. */

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* The kernel's, as far as it is used. */
struct task_struct {
	int tgid, exit_code;
} __attribute__((preserve_access_index));

const volatile int lowest = 1;

struct event {
	__s32 process;
	__s32 status;
	char name[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
	__type(value, struct event);
} events SEC(".maps");

SEC("raw_tp/sched_process_exit")
int on_exit(__u64 *arguments)
{
	struct task_struct *task = (struct task_struct *)arguments[0];
	struct event event = {};

	event.process = BPF_CORE_READ(task, tgid);
	event.status = BPF_CORE_READ(task, exit_code) >> 8;
	bpf_get_current_comm(event.name, sizeof(event.name));
	if (event.status >= lowest)
		bpf_ringbuf_output(&events, &event, sizeof(event), 0);
	return 0;
}
