/* Kernel functions and variables that are there, and weak ones that are not. */

#include "bpf.h"

LICENSE("GPL");

struct task_struct;
struct cgroup;

extern void bpf_rcu_read_lock(void) WEAK KSYM;
extern void bpf_rcu_read_unlock(void) KSYM;
extern int bpf_not_in_any_kernel(int number) WEAK KSYM;
extern void bpf_rcu_read_lock___other(int number) WEAK KSYM;
extern const int bpf_prog_active WEAK KSYM;
extern const int not_in_any_kernel WEAK KSYM;
extern const void jiffies_64 KSYM;
extern const void no_symbol_of_any_kernel WEAK KSYM;

/* Not in any instruction, but the verifier refuses a program whose constants are missing. */
const volatile u32 selector = 2;
const volatile u32 metadata SEC(".rodata.meta") = 7;
u64 found;

SEC("syscall")
int calls(void *context)
{
	if (bpf_rcu_read_lock) {
		bpf_rcu_read_lock();
		found |= 1;
		bpf_rcu_read_unlock();
	}
	if (bpf_not_in_any_kernel)
		found |= bpf_not_in_any_kernel(2);
	if (bpf_rcu_read_lock___other)
		bpf_rcu_read_lock___other(3);
	return 0;
}

SEC("syscall")
int symbols(void *context)
{
	u64 address = (u64)&jiffies_64;

	if (address)
		found |= 2;
	if (&not_in_any_kernel)
		found |= 4;
	if (&no_symbol_of_any_kernel)
		found |= 8;
	return selector;
}

SEC("syscall")
int typed_symbol(void *context)
{
	if (&bpf_prog_active)
		found |= 16;
	return 0;
}
