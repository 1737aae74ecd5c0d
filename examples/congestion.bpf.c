/* What congestion.py loads: a TCP congestion control whose window is a number that Python sets.
 *
 * The kernel takes it as a struct of functions, and calls cong_avoid when data was acknowledged.
 */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

/* The kernel's, as far as it is used: where the field is, the loader finds out. */
struct tcp_sock {
	__u32 snd_cwnd;
} __attribute__((preserve_access_index));

struct sock;

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

/* In segments; congestion.py changes it while connections are open. */
volatile __u32 window = 10;

/* How often the kernel has asked. */
__u64 calls = 0;

SEC("struct_ops")
__u32 BPF_PROG(ssthresh, struct tcp_sock *tp)
{
	return window;
}

SEC("struct_ops")
void BPF_PROG(cong_avoid, struct tcp_sock *tp, __u32 ack, __u32 acked)
{
	__sync_fetch_and_add(&calls, 1);
	tp->snd_cwnd = window;
}

SEC("struct_ops")
__u32 BPF_PROG(undo_cwnd, struct tcp_sock *tp)
{
	return tp->snd_cwnd;
}

SEC(".struct_ops")
struct tcp_congestion_ops fixed = {
	.ssthresh = (void *)ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.undo_cwnd = (void *)undo_cwnd,
	.name = "ebpf_fixed",
};
