/* Programs for a cgroup, by the names of their sections, that count their runs. */
#include "bpf.h"

LICENSE("GPL");

volatile u64 sent, connected, operations, created;

SEC("cgroup_skb/egress")
int counts_packets(void *packet)
{
	__sync_fetch_and_add(&sent, 1);
	return 1;
}

SEC("cgroup/connect4")
int counts_connects(void *address)
{
	__sync_fetch_and_add(&connected, 1);
	return 1;
}

SEC("sockops")
int counts_operations(void *operation)
{
	__sync_fetch_and_add(&operations, 1);
	return 1;
}

SEC("cgroup/sock_create")
int counts_sockets(void *socket)
{
	__sync_fetch_and_add(&created, 1);
	return 1;
}
