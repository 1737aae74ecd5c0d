/* A ring whose records have a type, and a program that writes one. */

#include "bpf.h"

LICENSE("GPL");

enum kind { OPENED = 1, CLOSED = 2 };

struct place {
	s32 line;
	u16 column;
};

struct event {
	u64 number;
	enum kind kind;
	struct place place;
	char name[16];
	u8 raw[3];
};

struct other {
	u32 number;
	u32 twice;
};

struct {
	NUMBER(type, RINGBUF);
	NUMBER(max_entries, 65536);
	TYPE(value, struct event);
} events SEC(".maps");

struct {
	NUMBER(type, RINGBUF);
	NUMBER(max_entries, 65536);
} others SEC(".maps");

struct other *unused __attribute__((unused));
u64 dropped;

SEC("raw_tp/sched_process_fork")
int write_one(u64 *context)
{
	struct event event = { context[0], CLOSED, { -5, 7 }, "a name", { 1, 2, 255 } };
	struct other other = { context[0], 2 * context[0] };

	if (ringbuf_output(&events, &event, sizeof(event), 0))
		dropped++;
	return ringbuf_output(&others, &other, sizeof(other), 0);
}
