/* Programs for sockets, their maps and namespaces, by the names of their sections. */
#include "bpf.h"

LICENSE("GPL");

volatile u64 received, chosen, looked_up, sent, arrived, dissected;

SEC("socket")
int counts_received(void *packet)
{
	__sync_fetch_and_add(&received, 1);
	return 1 << 16;
}

SEC("sk_reuseport")
int counts_chosen(void *packet)
{
	__sync_fetch_and_add(&chosen, 1);
	return 1;
}

SEC("sk_lookup")
int counts_lookups(void *lookup)
{
	__sync_fetch_and_add(&looked_up, 1);
	return 1;
}

SEC("sk_msg")
int counts_messages(void *message)
{
	__sync_fetch_and_add(&sent, 1);
	return 1;
}

SEC("sk_skb/stream_verdict")
int counts_data(void *packet)
{
	__sync_fetch_and_add(&arrived, 1);
	return 1;
}

SEC("flow_dissector")
int counts_flows(void *packet)
{
	__sync_fetch_and_add(&dissected, 1);
	return 0;
}
