/* A program that counts its runs in one process: its tests attach it to one hook after the other. */
#include "bpf.h"

LICENSE("GPL");

volatile u32 only;
volatile u64 runs;

SEC("raw_tracepoint")
int counts_runs(void *context)
{
	if (get_current_pid_tgid() >> 32 == only)
		__sync_fetch_and_add(&runs, 1);
	return 0;
}

/* The same for networks, whose programs have no processes before 6.10. */
SEC("?socket")
int passes(void *context)
{
	return 2;
}
