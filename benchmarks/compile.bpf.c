/* What benchmarks/compile.py compiles: how long the processes lived that end, as a histogram, and
 * those that ended with an error, as records. compile_bcc.py has the same for bcc. */

#ifdef VMLINUX
#include "vmlinux.h"
#else
#include <linux/bpf.h>
#endif
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct event {
	__u64 nanoseconds;
	__u32 process;
	__u32 user;
	char name[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u32);
	__type(value, __u64);
} starts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} lifetimes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 4096);
} events SEC(".maps");

SEC("raw_tp/sched_process_exec")
int on_exec(void *context)
{
	__u32 process = bpf_get_current_pid_tgid() >> 32;
	__u64 now = bpf_ktime_get_ns();

	bpf_map_update_elem(&starts, &process, &now, BPF_ANY);
	return 0;
}

SEC("raw_tp/sched_process_exit")
int on_exit(void *context)
{
	__u32 process = bpf_get_current_pid_tgid() >> 32, slot = 0;
	__u64 *start = bpf_map_lookup_elem(&starts, &process), *count;
	struct event event = {};

	if (!start)
		return 0;
	event.nanoseconds = bpf_ktime_get_ns() - *start;
	event.process = process;
	event.user = bpf_get_current_uid_gid();
	bpf_get_current_comm(event.name, sizeof(event.name));
	for (int i = 0; i < 63 && event.nanoseconds >> i > 1; i++)
		slot++;
	count = bpf_map_lookup_elem(&lifetimes, &slot);
	if (count)
		__sync_fetch_and_add(count, 1);
	bpf_ringbuf_output(&events, &event, sizeof(event), 0);
	bpf_map_delete_elem(&starts, &process);
	return 0;
}
