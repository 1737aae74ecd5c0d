/* Changes what an input device reports, before anybody reads it. */

#include "counted.h"

LICENSE("GPL");

struct hid_bpf_ctx {
	u32 allocated_size;
} __attribute__((preserve_access_index));

struct hid_bpf_ops {
	int hid_id;
	int (*hid_device_event)(struct hid_bpf_ctx *hid, int type, u64 source);
};

extern u8 *hid_bpf_get_data(struct hid_bpf_ctx *hid, unsigned int offset, const u64 size) KSYM;

SEC("struct_ops")
int test_event(u64 *context)
{
	u8 *data = hid_bpf_get_data((void *)context[0], 0, 2);

	count();
	if (data)
		data[1] ^= 0xff;
	return 0;
}

/* hid_id is set before loading. */
SEC(".struct_ops.link")
struct hid_bpf_ops inverted = {
	.hid_device_event = (void *)test_event,
};
