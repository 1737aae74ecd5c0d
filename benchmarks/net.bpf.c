/*
 * The XDP programs of the load test: `send` gives frames to a device, `drop` and `redirect` are
 * measured, and frames that are redirected end in `end`.
 */
#include "../tests/bpf/bpf.h"

LICENSE("GPL");

static long (*redirect_map)(void *map, u64 key, u64 flags) = (void *)51;

/* How many have reached their end. */
struct {
	NUMBER(type, PERCPU_ARRAY);
	NUMBER(max_entries, 1);
	TYPE(key, u32);
	TYPE(value, u64);
} frames SEC(".maps");

struct {
	NUMBER(type, 14); /* DEVMAP */
	NUMBER(max_entries, 1);
	TYPE(key, u32);
	TYPE(value, u32);
} sending SEC(".maps");

struct {
	NUMBER(type, 14); /* DEVMAP */
	NUMBER(max_entries, 1);
	TYPE(key, u32);
	TYPE(value, u32);
} devices SEC(".maps");

static int count_and_drop(void)
{
	u32 key = 0;
	u64 *count = map_lookup(&frames, &key);

	if (count)
		++*count;
	return 1;
}

SEC("xdp")
int send(struct xdp_md *frame)
{
	return redirect_map(&sending, 0, 0);
}

SEC("xdp")
int drop(struct xdp_md *frame)
{
	return count_and_drop();
}

SEC("xdp")
int redirect(struct xdp_md *frame)
{
	return redirect_map(&devices, 0, 0);
}

SEC("xdp")
int end(struct xdp_md *frame)
{
	return count_and_drop();
}
