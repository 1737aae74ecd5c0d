/* What opensnoop.py loads.
 *
 * An open is seen twice: when the system call is entered, which is when its arguments are known,
 * and when it returns, with the descriptor or the error. Between the two the map `calls` keeps
 * the arguments. What they point to is read at the return: by then the kernel has read it too, so
 * that it is in memory. A program that is not allowed to sleep cannot bring it there.
 *
 * The fields of the kernel's structs are found by CO-RE, so that one object runs on every kernel.
 */

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>

#define PATH_MAX 4096

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* The kernel's, as far as they are used: where the fields are, the loader finds out. vmlinux.h has
 * them all, and takes longer to compile. */
#define CORE __attribute__((preserve_access_index))

struct syscall_trace_enter {
	unsigned long args[6];
} CORE;

struct syscall_trace_exit {
	long ret;
} CORE;

typedef struct {
	int counter;
} CORE atomic_t;

struct signal_struct {
	atomic_t live;
} CORE;

struct task_struct {
	int tgid;
	struct task_struct *real_parent;
	struct signal_struct *signal;
} CORE;

/* uapi linux/openat2.h */
struct open_how {
	__u64 flags, mode, resolve;
};

/* What to show. opensnoop.py sets these before it loads the programs; the verifier then takes
 * them for constants, and removes the code that they make unreachable. */

const volatile __u32 only_pid = 0;
const volatile char only_name[16] = "";
const volatile _Bool only_failed = 0;
const volatile _Bool only_followed = 0;

/* How many records did not fit. */
__u64 lost = 0;

/* What is sent. The path follows, ended by a NUL. */
struct event {
	__u64 time; /* nanoseconds of CLOCK_MONOTONIC */
	__u64 flags;
	__s32 result; /* a descriptor, or -errno */
	__u32 pid;
	__u32 parent_pid;
	__u32 uid;
	char name[16];
};

struct record {
	struct event event;
	char path[PATH_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} events SEC(".maps");

struct call {
	const char *path;
	__u64 flags;
	const struct open_how *how; /* where openat2() has the flags */
};

/* By thread. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct call);
} calls SEC(".maps");

/* With a command: it and its descendants. The value is unused. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u32);
} processes SEC(".maps");

/* A record is larger than a BPF stack, which has 512 bytes. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct record);
} scratch SEC(".maps");

static __u32 current_pid(void)
{
	return bpf_get_current_pid_tgid() >> 32; /* the low half is the thread's id */
}

static _Bool has_name(void)
{
	char name[sizeof(only_name)];

	bpf_get_current_comm(name, sizeof(name));
	for (int i = 0; i < sizeof(name); i++) {
		if (name[i] != only_name[i])
			return 0;
		if (!name[i])
			break;
	}
	return 1;
}

static _Bool wanted(void)
{
	__u32 pid = current_pid();

	if (only_pid && pid != only_pid)
		return 0;
	if (only_followed && !bpf_map_lookup_elem(&processes, &pid))
		return 0;
	return !only_name[0] || has_name();
}

static int enter(__u64 path, __u64 flags, __u64 how)
{
	__u32 thread = bpf_get_current_pid_tgid();
	struct call call = {(const char *)path, flags, (const struct open_how *)how};

	if (wanted() && bpf_map_update_elem(&calls, &thread, &call, 0))
		__sync_fetch_and_add(&lost, 1);
	return 0;
}

static void fill(struct event *event, const struct call *call, long result)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	event->time = bpf_ktime_get_ns();
	event->flags = call->flags;
	if (call->how)
		bpf_probe_read_user(&event->flags, sizeof(event->flags), &call->how->flags);
	event->result = result;
	event->pid = current_pid();
	event->parent_pid = BPF_CORE_READ(task, real_parent, tgid);
	event->uid = bpf_get_current_uid_gid();
	bpf_get_current_comm(event->name, sizeof(event->name));
}

static void send(const struct call *call, long result)
{
	__u32 first = 0;
	struct record *record = bpf_map_lookup_elem(&scratch, &first);
	__u64 length;

	if (!record)
		return;
	fill(&record->event, call, result);
	length = bpf_probe_read_user_str(record->path, PATH_MAX, call->path);
	if (length > PATH_MAX) /* negative: there is no path at that address */
		length = 0;
	if (bpf_ringbuf_output(&events, record, sizeof(record->event) + length, 0))
		__sync_fetch_and_add(&lost, 1);
}

static int leave(long result)
{
	__u32 thread = bpf_get_current_pid_tgid();
	struct call *call = bpf_map_lookup_elem(&calls, &thread);

	if (!call)
		return 0;
	if (result < 0 || !only_failed)
		send(call, result);
	bpf_map_delete_elem(&calls, &thread);
	return 0;
}

/* The system calls that open by a path. Not every architecture has all of them. */

#define O_CREAT_WRONLY_TRUNC (0100 | 01 | 01000) /* what creat() means */

SEC("tracepoint/syscalls/sys_enter_creat")
int enter_creat(struct syscall_trace_enter *call)
{
	return enter(call->args[0], O_CREAT_WRONLY_TRUNC, 0);
}

SEC("tracepoint/syscalls/sys_enter_open")
int enter_open(struct syscall_trace_enter *call)
{
	return enter(call->args[0], call->args[1], 0);
}

SEC("tracepoint/syscalls/sys_enter_openat")
int enter_openat(struct syscall_trace_enter *call)
{
	return enter(call->args[1], call->args[2], 0);
}

SEC("tracepoint/syscalls/sys_enter_openat2")
int enter_openat2(struct syscall_trace_enter *call)
{
	return enter(call->args[1], 0, call->args[2]);
}

#define RETURNS(name)                                                                              \
	SEC("tracepoint/syscalls/sys_exit_" #name)                                                 \
	int leave_##name(struct syscall_trace_exit *call)                                          \
	{                                                                                          \
		return leave(call->ret);                                                           \
	}

RETURNS(creat)
RETURNS(open)
RETURNS(openat)
RETURNS(openat2)

/* With a command only: who is followed. */

/* Not attached: run by hand, in the process that is to be followed. */
SEC("raw_tp")
int follow_current(void *context)
{
	__u32 pid = current_pid(), unused = 0;

	return bpf_map_update_elem(&processes, &pid, &unused, 0);
}

/* sched_process_fork(parent, child), before the child runs for the first time */
SEC("raw_tp/sched_process_fork")
int on_fork(__u64 *arguments)
{
	struct task_struct *child_task = (struct task_struct *)arguments[1];
	__u32 parent = current_pid(), child = BPF_CORE_READ(child_task, tgid), unused = 0;

	if (child != parent && bpf_map_lookup_elem(&processes, &parent) &&
	    bpf_map_update_elem(&processes, &child, &unused, 0))
		__sync_fetch_and_add(&lost, 1);
	return 0;
}

/* sched_process_exit(task): a thread ends, perhaps in the middle of a call */
SEC("raw_tp/sched_process_exit")
int on_exit(__u64 *arguments)
{
	struct task_struct *task = (struct task_struct *)arguments[0];
	__u32 thread = bpf_get_current_pid_tgid(), pid = current_pid();

	bpf_map_delete_elem(&calls, &thread);
	if (!BPF_CORE_READ(task, signal, live.counter)) /* the last one */
		bpf_map_delete_elem(&processes, &pid);
	return 0;
}
