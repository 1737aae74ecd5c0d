/* Variables in an arena, and numbers of 64 bits in map definitions. */

#include "bpf.h"

LICENSE("GPL");

#define IN_ARENA __attribute__((address_space(1)))

struct {
	NUMBER(type, ARENA);
	NUMBER(map_flags, MMAPABLE);
	NUMBER(max_entries, 10);
	LONG_NUMBER(map_extra, 1ULL << 44);
} arena SEC(".maps");

/* The length of an array has 32 bits; this has 64. */
struct {
	NUMBER(type, ARRAY);
	NUMBER(max_entries, 1);
	NUMBER(key_size, 4);
	NUMBER(value_size, 4);
	LONG_NUMBER(map_extra, 0x123456789abcULL);
} wide_extra SEC(".maps");

u32 IN_ARENA before = 3;
u64 IN_ARENA after = 4;

SEC("syscall")
int bump(void *context)
{
	after += before;
	return 0;
}
