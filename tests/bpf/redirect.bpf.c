/* XDP programs that redirect by the maps for it; what was counted tells which program has run. */
#include "bpf.h"

LICENSE("GPL");

struct xdp_md {
	u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

static long (*redirect_map)(void *map, u64 key, u64 flags) = (void *)51;

struct {
	NUMBER(type, 17); /* XSKMAP */
	NUMBER(max_entries, 4);
	TYPE(key, u32);
	TYPE(value, u32);
} sockets SEC(".maps");

struct pair {
	u32 where;
	u32 program;
};

struct {
	NUMBER(type, 14); /* DEVMAP */
	NUMBER(max_entries, 4);
	TYPE(key, u32);
	TYPE(value, struct pair);
} devices SEC(".maps");

struct {
	NUMBER(type, 16); /* CPUMAP */
	NUMBER(max_entries, 64);
	TYPE(key, u32);
	TYPE(value, struct pair);
} processors SEC(".maps");

volatile u64 on_device;
volatile u64 on_cpu;
volatile u32 device;
volatile u32 drop;

/* To the socket of the queue, or on where it has none. */
SEC("xdp")
int to_socket(struct xdp_md *frame)
{
	return redirect_map(&sockets, frame->rx_queue_index, 2 /* XDP_PASS */);
}

SEC("xdp")
int to_device(struct xdp_md *frame)
{
	return redirect_map(&devices, 0, 0);
}

SEC("xdp")
int to_cpu(struct xdp_md *frame)
{
	return redirect_map(&processors, 0, 0);
}

SEC("xdp/devmap")
int at_device(struct xdp_md *frame)
{
	device = frame->egress_ifindex;
	__sync_fetch_and_add(&on_device, 1);
	return drop ? 1 : 2;
}

SEC("xdp/cpumap")
int at_cpu(struct xdp_md *frame)
{
	__sync_fetch_and_add(&on_cpu, 1);
	return drop ? 1 : 2;
}

/* The other end of a pair takes redirected frames only when it has a program, too. */
SEC("xdp")
int passes(struct xdp_md *frame)
{
	return 2;
}
