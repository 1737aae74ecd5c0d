/*
 * A hundred programs in as many sections, each with a subprogram to call, a map, global data, line
 * information and CO-RE relocations of its own: what parsing and relocating cost.
 */
#include "../tests/bpf/bpf.h"

LICENSE("GPL");

static long (*probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static u64 (*get_current_task)(void) = (void *)35;

struct {
	NUMBER(type, HASH);
	TYPE(key, u32);
	TYPE(value, u64);
	NUMBER(max_entries, 1024);
} counts SEC(".maps");

u64 total;

#define CORE __attribute__((preserve_access_index))
#define READ(to, from) probe_read_kernel(&(to), sizeof(to), &(from))

struct mm_struct {
	u64 start_stack, arg_start;
} CORE;

struct signal_struct {
	int nr_threads;
} CORE;

struct task_struct {
	int pid, tgid, exit_code;
	u32 flags;
	u64 nvcsw, nivcsw, start_time;
	struct task_struct *real_parent, *group_leader;
	struct mm_struct *mm;
	struct signal_struct *signal;
} CORE;

static NOINLINE u64 threads_of(struct task_struct *task)
{
	struct signal_struct *signal = 0;
	int threads = 0;

	READ(signal, task->signal);
	READ(threads, signal->nr_threads);
	return threads;
}

/* As an object of many tools has them: each reads a few fields, no two quite the same. */
#define PROGRAM(number, field)                                                                     \
	SEC("raw_tp/event_" #number)                                                               \
	int program_##number(void *context)                                                        \
	{                                                                                          \
		struct task_struct *task = (void *)get_current_task(), *parent = 0;                \
		struct mm_struct *mm = 0;                                                          \
		u64 *count, value = 0, address = 0;                                                \
		u32 key = number;                                                                  \
                                                                                                   \
		READ(value, task->field);                                                          \
		READ(parent, task->real_parent);                                                   \
		READ(key, parent->pid);                                                            \
		READ(mm, task->mm);                                                                \
		READ(address, mm->arg_start);                                                      \
		total += value + address + threads_of(task) + number;                              \
		count = map_lookup(&counts, &key);                                                 \
		if (count)                                                                         \
			*count += 1;                                                               \
		return 0;                                                                          \
	}

#define TEN(tens)                                                                                  \
	PROGRAM(tens##0, nvcsw) PROGRAM(tens##1, nivcsw) PROGRAM(tens##2, start_time)              \
	PROGRAM(tens##3, nvcsw) PROGRAM(tens##4, nivcsw) PROGRAM(tens##5, start_time)              \
	PROGRAM(tens##6, nvcsw) PROGRAM(tens##7, nivcsw) PROGRAM(tens##8, start_time)              \
	PROGRAM(tens##9, nvcsw)

TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) TEN(6) TEN(7) TEN(8) TEN(9) TEN(10)
