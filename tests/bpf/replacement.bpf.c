/* A program with a global function, and programs that take its place, or watch it. */

#include "bpf.h"

LICENSE("GPL");

/* The verifier checks what a global function takes by its type. */
struct xdp_md {
	u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

NOINLINE int number(struct xdp_md *context)
{
	volatile int result = 1;

	return context ? result : 0;
}

SEC("xdp")
int calls_number(struct xdp_md *context)
{
	return number(context);
}

SEC("?freplace/number")
int other_number(struct xdp_md *context)
{
	volatile int result = 2;

	return context ? result : 0;
}

struct {
	NUMBER(type, HASH);
	TYPE(key, u32);
	TYPE(value, u64);
	NUMBER(max_entries, 1024);
} counts SEC(".maps");

const volatile u32 loader;

/* Counts its calls for the process that loaded it. */
SEC("?freplace/number")
int counts_number(struct xdp_md *context)
{
	u32 process = loader;
	u64 one = 1, *value = map_lookup(&counts, &process);

	if (value)
		*value += 1;
	else
		map_update(&counts, &process, &one, 0);
	return context ? 3 : 0;
}

u32 entered, left;

SEC("?fentry/number")
int on_entry(u64 *arguments)
{
	entered++;
	return 0;
}

SEC("?fexit/number")
int on_exit(u64 *arguments)
{
	/* Behind the one argument is what the function returns. */
	left += arguments[1];
	return 0;
}
