/* Reads and writes an arena at the addresses that user space says. */

#include "bpf.h"

LICENSE("GPL");

#define IN_ARENA __attribute__((address_space(1)))

struct {
	NUMBER(type, ARENA);
	NUMBER(map_flags, MMAPABLE);
	NUMBER(max_entries, 4);
} arena SEC(".maps");

struct arguments {
	u64 from;
	u64 to;
};

SEC("syscall")
int add_one(struct arguments *arguments)
{
	u64 IN_ARENA *from = (u64 IN_ARENA *)arguments->from;
	u64 IN_ARENA *to = (u64 IN_ARENA *)arguments->to;

	/* A program has an arena when it names it. */
	asm volatile("" ::"r"(&arena));
	*to = *from + 1;
	return 0;
}
