/* Functions that are in a module on some kernels and built in on others: nf_conntrack's. */

#include "bpf.h"

LICENSE("GPL");

struct nf_conn {
	int any;
};

struct xdp_md {
	u32 data;
};

struct bpf_sock_tuple {
	u32 saddr, daddr;
	u16 sport, dport;
};

struct bpf_ct_opts {
	s32 netns_id;
	s32 error;
	u8 l4proto;
	u8 dir;
	u8 reserved[2];
};

extern struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *context, struct bpf_sock_tuple *tuple,
					 u32 tuple_size, struct bpf_ct_opts *options,
					 u32 options_size) KSYM;
extern void bpf_ct_release(struct nf_conn *connection) KSYM;

enum { CURRENT_NETNS = -1, TCP = 6 };

s32 error = 1234;

SEC("xdp")
int looks_up(struct xdp_md *context)
{
	struct bpf_sock_tuple tuple = { .saddr = 0x0100007f, .daddr = 0x0200007f, .sport = 1 };
	struct bpf_ct_opts options = { .netns_id = CURRENT_NETNS, .l4proto = TCP };
	struct nf_conn *connection;

	connection = bpf_xdp_ct_lookup(context, &tuple, sizeof(tuple), &options, sizeof(options));
	if (connection)
		bpf_ct_release(connection);
	error = options.error;
	return connection ? 1 : 2;
}
