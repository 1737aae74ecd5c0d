/* A program with a global function, and another program that takes the place of that function. */

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
