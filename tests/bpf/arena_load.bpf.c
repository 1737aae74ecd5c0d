/* An arena at an address that the object chooses, with variables in it that start with values. */

#include "bpf.h"

LICENSE("GPL");

#define IN_ARENA __attribute__((address_space(1)))

struct {
	NUMBER(type, ARENA);
	NUMBER(map_flags, MMAPABLE);
	NUMBER(max_entries, 8);
	LONG_NUMBER(map_extra, 1ULL << 44);
} arena SEC(".maps");

u32 IN_ARENA step = 3;
u64 IN_ARENA total = 4;
u64 IN_ARENA zero;
u64 runs;

SEC("syscall")
int add(void *context)
{
	/* A program has an arena when it names it. */
	asm volatile("" ::"r"(&arena));
	total += step;
	zero++;
	runs++;
	return 0;
}
