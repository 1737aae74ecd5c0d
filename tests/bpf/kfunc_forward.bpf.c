/* Calls a kernel function by a declaration that says nothing of a struct but its name. */

#include "bpf.h"

LICENSE("GPL");

struct task_struct;

extern struct task_struct *bpf_task_from_pid(int pid) KSYM;

SEC("syscall")
int looks_up(void *context)
{
	return bpf_task_from_pid(1) ? 1 : 0;
}
