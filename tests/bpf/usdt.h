/* What libbpf's usdt.bpf.h does, as far as a test needs it: a program finds the description of a
 * probe by its cookie, or by the instruction's address, and reads the arguments by it. The including
 * file defines the two structs, whose layout differs between versions of that header.
 */

#include "bpf.h"

enum { MAX_ARGUMENTS = 12 };
enum { CONST, REG, REG_DEREF, SIB };

struct __bpf_usdt_spec {
	struct __bpf_usdt_arg_spec args[MAX_ARGUMENTS];
	u64 usdt_cookie;
	short arg_cnt;
};

struct {
	NUMBER(type, ARRAY);
	NUMBER(max_entries, 4);
	TYPE(key, int);
	TYPE(value, struct __bpf_usdt_spec);
} __bpf_usdt_specs SEC(".maps");

struct {
	NUMBER(type, HASH);
	NUMBER(max_entries, 16);
	TYPE(key, long);
	TYPE(value, u32);
} __bpf_usdt_ip_to_spec_id SEC(".maps");

extern const _Bool LINUX_HAS_BPF_COOKIE KCONFIG;

static u64 (*get_attach_cookie)(void *context) = (void *)174;
static long (*read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*read_user)(void *to, u32 size, const void *from) = (void *)112;

struct event {
	u64 cookie;
	u32 count;
	u32 pid;
	s64 arguments[MAX_ARGUMENTS];
};

struct {
	NUMBER(type, RINGBUF);
	NUMBER(max_entries, 65536);
} events SEC(".maps");

/* The name of x86-64's and arm64's instruction pointer in struct pt_regs. */
const volatile u32 ip_offset = 0;

static NOINLINE s64 argument(void *context, struct __bpf_usdt_arg_spec *spec)
{
	u64 value = 0, index = 0;

	if (spec->arg_type == CONST)
		value = spec->val_off;
	else
		read_kernel(&value, sizeof(value), context + spec->reg_off);
#ifdef SCALED
	if (spec->arg_type == SIB) {
		read_kernel(&index, sizeof(index), context + spec->idx_reg_off);
		value += index << spec->scale_bitshift;
	}
#endif
	if (spec->arg_type == REG_DEREF || spec->arg_type == SIB)
		read_user(&value, sizeof(value), (void *)value + spec->val_off);
	value <<= spec->arg_bitshift;
	return spec->arg_signed ? (s64)value >> spec->arg_bitshift : value >> spec->arg_bitshift;
}

/* libbpf loads what is in "usdt" for another way to attach, where the kernel has it. */
SEC("uprobe")
int on_probe(void *context)
{
	struct event event = { .pid = get_current_pid_tgid() >> 32 };
	struct __bpf_usdt_spec *spec;
	u32 *found, id;
	long ip;
	int i;

	if (LINUX_HAS_BPF_COOKIE) {
		id = get_attach_cookie(context);
	} else {
		read_kernel(&ip, sizeof(ip), context + ip_offset);
		found = map_lookup(&__bpf_usdt_ip_to_spec_id, &ip);
		if (!found)
			return 0;
		id = *found;
	}
	spec = map_lookup(&__bpf_usdt_specs, &id);
	if (!spec)
		return 0;
	event.cookie = spec->usdt_cookie;
	event.count = spec->arg_cnt;
	for (i = 0; i < MAX_ARGUMENTS; i++)
		if (i < spec->arg_cnt)
			event.arguments[i] = argument(context, &spec->args[i]);
	ringbuf_output(&events, &event, sizeof(event), 0);
	return 0;
}

LICENSE("GPL");
