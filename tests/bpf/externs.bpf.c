/* What a program may use of the kernel without defining it. */

#include "bpf.h"

LICENSE("GPL");

extern u32 LINUX_KERNEL_VERSION KCONFIG;
extern _Bool CONFIG_BPF_SYSCALL KCONFIG;
extern enum libbpf_tristate CONFIG_MODULES KCONFIG WEAK;
extern char CONFIG_FIRST_LETTER KCONFIG WEAK;
extern u64 CONFIG_WIDE KCONFIG WEAK;
extern s16 CONFIG_SMALL KCONFIG WEAK;
extern char CONFIG_DEFAULT_HOSTNAME[7] KCONFIG;
extern int CONFIG_HZ KCONFIG;

extern const void bpf_prog_put KSYM;
extern const void no_such_symbol KSYM WEAK;
extern const int bpf_prog_active KSYM;
extern const struct rq runqueues KSYM WEAK;

struct task_struct;
extern struct task_struct *bpf_task_acquire(struct task_struct *task) KSYM;
extern void bpf_task_release(struct task_struct *task) KSYM;
extern int no_such_kfunc___flavour(int) KSYM WEAK;

u64 out[16];

SEC("tp_btf/task_newtask")
int use_all(u64 *context)
{
	struct task_struct *task = bpf_task_acquire((void *)context[0]);

	out[0] = LINUX_KERNEL_VERSION;
	out[1] = CONFIG_BPF_SYSCALL;
	out[2] = CONFIG_MODULES;
	out[3] = CONFIG_FIRST_LETTER;
	out[4] = CONFIG_WIDE;
	out[5] = CONFIG_SMALL;
	out[6] = CONFIG_DEFAULT_HOSTNAME[0];
	out[7] = CONFIG_HZ;
	out[8] = (u64)&bpf_prog_put;
	out[9] = (u64)&no_such_symbol;
	out[10] = (u64)&bpf_prog_active;
	out[11] = (u64)&runqueues;
	if (task)
		bpf_task_release(task);
	if (no_such_kfunc___flavour)
		out[12] = no_such_kfunc___flavour(1);
	return 0;
}
