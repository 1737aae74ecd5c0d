/* Reads what user space writes into a ring: how many records, their bytes added up, the last one. */

#include "bpf.h"

LICENSE("GPL");

struct {
	NUMBER(type, 31);
	NUMBER(max_entries, 4096);
} ring SEC(".maps");

struct bpf_dynptr {
	u64 opaque[2];
};

static long (*user_ringbuf_drain)(void *map, void *callback, void *context,
				  u64 flags) = (void *)209;
static long (*dynptr_read)(void *to, u32 length, const struct bpf_dynptr *from, u32 offset,
			   u64 flags) = (void *)201;

u64 records, sum;
u64 order[64];
u32 stop_after = 1 << 30;

static long take(struct bpf_dynptr *record, void *context)
{
	u64 number = 0;

	if (dynptr_read(&number, sizeof(number), record, 0, 0))
		dynptr_read(&number, 4, record, 0, 0);
	order[records & 63] = number;
	records++;
	sum += number;
	return records >= stop_after;
}

SEC("syscall")
int drain(void *context)
{
	return user_ringbuf_drain(&ring, take, 0, 0);
}
