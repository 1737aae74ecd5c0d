/* Programs that every kernel refuses, each for another reason, at lines that the tests know. */

#include "bpf.h"

LICENSE("GPL");

static long (*probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;

struct {
	NUMBER(type, HASH);
	TYPE(key, u32);
	TYPE(value, u32[4]);
	NUMBER(max_entries, 1);
} words SEC(".maps");

static NOINLINE u32 word(u32 index)
{
	u32 key = 0;
	u32 *value = map_lookup(&words, &key);

	return value ? value[index] : 0; /* beyond the value */
}

SEC("raw_tp/sys_enter")
int unbounded(u64 *context)
{
	return word(context[1]);
}

SEC("raw_tp/sys_enter")
int unchecked(u64 *context)
{
	u32 key = 0;
	u32 *value = map_lookup(&words, &key);

	return *value; /* maybe null */
}

SEC("raw_tp/sys_enter")
int only_gpl(void *context)
{
	u32 number = 0;

	probe_read_kernel(&number, sizeof(number), context);
	return number;
}
