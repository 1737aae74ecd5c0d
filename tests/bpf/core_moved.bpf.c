/* Declarations that are unlike any kernel's: what is read through them is right by CO-RE only. */

#include "bpf.h"

LICENSE("GPL");

#define CORE __attribute__((preserve_access_index))
#define FIELD(field, kind) __builtin_preserve_field_info(field, kind)
#define TYPE_INFO(type, kind) __builtin_preserve_type_info(*(typeof(type) *)0, kind)
#define ENUM(type, name, kind) __builtin_preserve_enum_value(*(typeof(type) *)name, kind)

enum { BYTE_OFFSET, BYTE_SIZE, EXISTS, SIGNED, LSHIFT_U64, RSHIFT_U64 };

static void *(*get_current_task)(void) = (void *)35;
static long (*probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;

/* A bitfield as BPF_CORE_READ_BITFIELD_PROBED reads it. */
#define BITFIELD(source, field)                                                                    \
	({                                                                                         \
		u64 value = 0;                                                                     \
		u32 size = FIELD((source)->field, BYTE_SIZE);                                      \
		probe_read_kernel(&value, size, (void *)(source) + FIELD((source)->field, BYTE_OFFSET)); \
		value <<= FIELD((source)->field, LSHIFT_U64);                                      \
		FIELD((source)->field, SIGNED)                                                     \
			? (u64)((s64)value >> FIELD((source)->field, RSHIFT_U64))                  \
			: value >> FIELD((source)->field, RSHIFT_U64);                             \
	})

struct rlimit {
	u64 rlim_max, rlim_cur;
} CORE;

struct signal_struct {
	struct rlimit rlim[16];
} CORE;

/* What the kernel has as a bitfield is none here, and the reverse. */
struct task_struct {
	u64 sched_reset_on_fork;
	s64 static_prio : 20;
	struct signal_struct *signal;
	char comm[16];
	u64 personality;
} CORE;

/* Fields of other widths; what is behind ___ is no part of the name. */
struct task_struct___narrow {
	u16 personality;
} CORE;

struct task_struct___wrong {
	struct no_such_struct *comm;
	u64 nothing;
} CORE;

struct list_head {
	struct list_head *prev;
} CORE;

struct list_head___wrong {
	u32 prev;
} CORE;

/* The values of this one do not fit 32 bits. */
enum bpf_map_type___wide { BPF_MAP_TYPE_ARRAY___wide = 1ULL << 40 };
enum perf_callchain_context { PERF_CONTEXT_KERNEL = 5 };

/* Private to nf_conntrack, which is a module of some kernels. */
struct conntrack_gc_work {
	_Bool exiting;
} CORE;

u64 work_size, exiting_offset;
u64 on_fork, static_prio, limit, letter, hash, context, context_exists;
u64 local_id, target_id, matches, no_match, wide, narrow, nothing;

SEC("raw_tp/sys_enter")
int probed(void *ctx)
{
	struct task_struct *task = get_current_task();
	struct signal_struct *signal = 0;

	on_fork = BITFIELD(task, sched_reset_on_fork);
	static_prio = BITFIELD(task, static_prio);
	probe_read_kernel(&signal, sizeof(signal), &task->signal);
	probe_read_kernel(&limit, sizeof(limit), &signal->rlim[7].rlim_cur);
	probe_read_kernel(&letter, 1, &task->comm[2]);
	hash = ENUM(enum bpf_map_type___wide, BPF_MAP_TYPE_ARRAY___wide, 1);
	context_exists = ENUM(enum perf_callchain_context, PERF_CONTEXT_KERNEL, 0);
	if (context_exists)
		context = ENUM(enum perf_callchain_context, PERF_CONTEXT_KERNEL, 1);
	local_id = __builtin_btf_type_id(*(struct task_struct *)0, 0);
	target_id = __builtin_btf_type_id(*(struct task_struct *)0, 1);
	matches = TYPE_INFO(struct list_head, 2);
	no_match = TYPE_INFO(struct list_head___wrong, 2);
	return 0;
}

SEC("raw_tp/sys_enter")
int of_module(void *ctx)
{
	struct conntrack_gc_work *work = 0;

	work_size = TYPE_INFO(struct conntrack_gc_work, 1);
	if (FIELD(work->exiting, EXISTS))
		exiting_offset = FIELD(work->exiting, BYTE_OFFSET);
	return 0;
}

/* Loads by the program itself, whose width changes with the field's. */
SEC("tp_btf/sched_process_exec")
int direct(u64 *arguments)
{
	struct task_struct *task = (void *)arguments[0];
	struct task_struct___narrow *other = (void *)arguments[0];

	wide = task->personality;
	narrow = other->personality;
	if (FIELD(((struct task_struct___wrong *)task)->nothing, EXISTS))
		nothing = ((struct task_struct___wrong *)task)->nothing;
	return 0;
}
