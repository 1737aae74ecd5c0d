/* A qdisc: packets wait in an array, first in, first out; short ones are dropped on request. */

#include "counted.h"

LICENSE("GPL");

#define KPTR __attribute__((btf_type_tag("kptr")))
#define SLOTS 64

struct sk_buff {
	u32 len;
} __attribute__((preserve_access_index));

struct qdisc_skb_head {
	u32 qlen;
} __attribute__((preserve_access_index));

struct Qdisc {
	struct qdisc_skb_head q;
} __attribute__((preserve_access_index));

struct bpf_sk_buff_ptr {
	struct sk_buff *skb;
};

struct Qdisc_ops {
	char id[16];
	int (*enqueue)(struct sk_buff *, struct Qdisc *, struct sk_buff **);
	struct sk_buff *(*dequeue)(struct Qdisc *);
	int (*init)(struct Qdisc *, void *, void *);
	void (*reset)(struct Qdisc *);
	void (*destroy)(struct Qdisc *);
};

extern void bpf_qdisc_skb_drop(struct sk_buff *skb, struct bpf_sk_buff_ptr *to_free) KSYM;
extern void bpf_qdisc_bstats_update(struct Qdisc *qdisc, const struct sk_buff *skb) KSYM;
extern void bpf_kfree_skb(struct sk_buff *skb) KSYM;

static void *(*kptr_xchg)(void *place, void *pointer) = (void *)194;

struct slot {
	struct sk_buff KPTR *skb;
};

struct {
	NUMBER(type, ARRAY);
	NUMBER(max_entries, SLOTS);
	TYPE(key, u32);
	TYPE(value, struct slot);
} slots SEC(".maps");

/* The kernel calls the functions under the lock of the qdisc. */
u32 first, next;
u64 enqueued, dequeued, dropped;
/* Packets shorter than this are dropped. */
volatile u32 least;

SEC("struct_ops")
int test_enqueue(u64 *context)
{
	struct sk_buff *skb = (void *)context[0], *old;
	struct Qdisc *qdisc = (void *)context[1];
	struct bpf_sk_buff_ptr *to_free = (void *)context[2];
	u32 key = next % SLOTS;
	struct slot *slot;

	slot = map_lookup(&slots, &key);
	if (!slot || skb->len < least || next - first >= SLOTS) {
		dropped++;
		bpf_qdisc_skb_drop(skb, to_free);
		return 1; /* NET_XMIT_DROP */
	}
	old = kptr_xchg(&slot->skb, skb);
	if (old)
		bpf_qdisc_skb_drop(old, to_free);
	next++;
	enqueued++;
	count();
	qdisc->q.qlen++;
	return 0;
}

SEC("struct_ops")
struct sk_buff *test_dequeue(u64 *context)
{
	struct Qdisc *qdisc = (void *)context[0];
	u32 key = first % SLOTS;
	struct sk_buff *skb;
	struct slot *slot;

	slot = map_lookup(&slots, &key);
	if (!slot || first == next)
		return 0;
	skb = kptr_xchg(&slot->skb, 0);
	first++;
	qdisc->q.qlen--;
	if (!skb)
		return 0;
	dequeued++;
	bpf_qdisc_bstats_update(qdisc, skb);
	return skb;
}

SEC("struct_ops")
int test_init(u64 *context)
{
	return 0;
}

static long forget(u32 index, void *unused)
{
	u32 key = index;
	struct slot *slot = map_lookup(&slots, &key);
	struct sk_buff *skb = slot ? kptr_xchg(&slot->skb, 0) : 0;

	if (skb)
		bpf_kfree_skb(skb);
	return 0;
}

SEC("struct_ops")
void test_reset(u64 *context)
{
	struct Qdisc *qdisc = (void *)context[0];

	loop(SLOTS, forget, 0, 0);
	first = next;
	qdisc->q.qlen = 0;
}

SEC("struct_ops")
void test_destroy(u64 *context)
{
}

SEC(".struct_ops.link")
struct Qdisc_ops fifo = {
	.id = "ebpf_test",
	.enqueue = (void *)test_enqueue,
	.dequeue = (void *)test_dequeue,
	.init = (void *)test_init,
	.reset = (void *)test_reset,
	.destroy = (void *)test_destroy,
};
