/* One field of the current task, wherever the given types say that it is. */

#include "bpf.h"

LICENSE("GPL");

static void *(*get_current_task)(void) = (void *)35;
static long (*probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;

struct task_struct {
	int static_prio;
} __attribute__((preserve_access_index));

u32 static_prio;

SEC("raw_tp/sys_enter")
int probed(void *context)
{
	struct task_struct *task = get_current_task();

	probe_read_kernel(&static_prio, sizeof(static_prio), &task->static_prio);
	return 0;
}
