/* Functions that take a context because a tag says so, not by the type of the parameter. */

#include "bpf.h"

LICENSE("GPL");

#define ARG_CTX __attribute__((btf_decl_tag("arg:ctx")))

struct pt_regs {
	u64 first;
};

NOINLINE int length(void *context ARG_CTX)
{
	return *(u32 *)context;
}

/* One function for programs of two types: the protocol of a packet, or the queue it came from. */
NOINLINE int fifth_word(int factor, const void *context ARG_CTX)
{
	return factor * *((u32 *)context + 4);
}

NOINLINE int argument(u64 *context ARG_CTX)
{
	return context[0];
}

NOINLINE int first_register(struct pt_regs *context ARG_CTX)
{
	return context->first;
}

SEC("socket")
int packet_length(struct __sk_buff *context)
{
	return length(context);
}

SEC("socket")
int packet_protocol(struct __sk_buff *context)
{
	return fifth_word(2, context);
}

SEC("xdp")
int queue(struct xdp_md *context)
{
	return fifth_word(1, context) + 2;
}

SEC("raw_tp/sys_enter")
int raw_argument(u64 *context)
{
	return argument(context);
}

SEC("kprobe/do_unlinkat")
int probe(struct pt_regs *context)
{
	return first_register(context);
}

SEC("perf_event")
int sample(void *context)
{
	return first_register(context);
}
