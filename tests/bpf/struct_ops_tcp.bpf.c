/* Congestion controls, which the kernel takes as structs of functions. */

#include "counted.h"

LICENSE("GPL");

struct sock;
struct ack_sample;

/* Some members of the kernel's, in another order, and one that it does not have. */
struct tcp_congestion_ops {
	char name[16];
	u32 flags;
	u64 (*not_in_any_kernel)(struct sock *socket);
	u32 (*undo_cwnd)(struct sock *socket);
	void (*cong_avoid)(struct sock *socket, u32 acknowledged, u32 count);
	u32 (*ssthresh)(struct sock *socket);
};

struct tcp_congestion_ops___flavor {
	u32 (*ssthresh)(struct sock *socket);
	u32 (*undo_cwnd)(struct sock *socket);
	void (*cong_avoid)(struct sock *socket, u32 acknowledged, u32 count);
	char name[16];
};

u32 calls;

SEC("struct_ops")
u32 test_ssthresh(u64 *context)
{
	calls++;
	return 2;
}

SEC("struct_ops")
u32 test_undo_cwnd(u64 *context)
{
	return 2;
}

SEC("struct_ops")
void test_cong_avoid(u64 *context)
{
	calls++;
	count();
}

SEC("struct_ops")
u32 never_used(u64 *context)
{
	return 3;
}

SEC(".struct_ops")
struct tcp_congestion_ops registered = {
	.ssthresh = (void *)test_ssthresh,
	.undo_cwnd = (void *)test_undo_cwnd,
	.cong_avoid = (void *)test_cong_avoid,
	.name = "ebpf_test_a",
};

SEC(".struct_ops.link")
struct tcp_congestion_ops___flavor linked = {
	.ssthresh = (void *)test_ssthresh,
	.undo_cwnd = (void *)test_undo_cwnd,
	.cong_avoid = (void *)test_cong_avoid,
	.name = "ebpf_test_b",
};

SEC("?.struct_ops")
struct tcp_congestion_ops left_out = {
	.ssthresh = (void *)never_used,
	.name = "ebpf_test_c",
};
