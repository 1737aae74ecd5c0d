/* A congestion control and what takes its place, and one that cannot. */

#include "bpf.h"

LICENSE("GPL");

struct sock;

struct tcp_congestion_ops {
	char name[16];
	u32 (*ssthresh)(struct sock *socket);
	u32 (*undo_cwnd)(struct sock *socket);
	void (*cong_avoid)(struct sock *socket, u32 acknowledged, u32 count);
};

u32 old_calls, new_calls;

SEC("struct_ops")
u32 ssthresh(u64 *context)
{
	return 2;
}

SEC("struct_ops")
u32 undo_cwnd(u64 *context)
{
	return 2;
}

SEC("struct_ops")
void old_cong_avoid(u64 *context)
{
	__sync_fetch_and_add(&old_calls, 1);
}

SEC("struct_ops")
void new_cong_avoid(u64 *context)
{
	__sync_fetch_and_add(&new_calls, 1);
}

SEC(".struct_ops.link")
struct tcp_congestion_ops old = {
	.ssthresh = (void *)ssthresh,
	.undo_cwnd = (void *)undo_cwnd,
	.cong_avoid = (void *)old_cong_avoid,
	.name = "ebpf_test_r",
};

SEC(".struct_ops.link")
struct tcp_congestion_ops new = {
	.ssthresh = (void *)ssthresh,
	.undo_cwnd = (void *)undo_cwnd,
	.cong_avoid = (void *)new_cong_avoid,
	.name = "ebpf_test_r",
};

SEC(".struct_ops.link")
struct tcp_congestion_ops other = {
	.ssthresh = (void *)ssthresh,
	.undo_cwnd = (void *)undo_cwnd,
	.cong_avoid = (void *)new_cong_avoid,
	.name = "ebpf_test_o",
};

SEC(".struct_ops")
struct tcp_congestion_ops unlinked = {
	.ssthresh = (void *)ssthresh,
	.undo_cwnd = (void *)undo_cwnd,
	.cong_avoid = (void *)new_cong_avoid,
	.name = "ebpf_test_u",
};
