/*
 * Asks the kernel for what test_replacement.py asks the library for: a program that takes the place
 * of another program's function. Exits with 0 when it is granted, else with the errno.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/bpf.h>
#include <linux/btf.h>

static const char strings[] = "\0int\0xdp_md\0data\0context\0number";

enum { INT = 1, STRUCT, POINTER, PROTOTYPE, FUNCTION };

/* int number(struct xdp_md *context), and the types in that. */
static const __u32 types[] = {
	1, BTF_KIND_INT << 24, 4, BTF_INT_SIGNED << 24 | 32,
	5, BTF_KIND_STRUCT << 24 | 1, 4, 12, INT, 0,
	0, BTF_KIND_PTR << 24, STRUCT,
	0, BTF_KIND_FUNC_PROTO << 24 | 1, INT, 17, POINTER,
	25, BTF_KIND_FUNC << 24 | BTF_FUNC_GLOBAL, PROTOTYPE,
};

static int call(int command, union bpf_attr *attribute)
{
	return (int)syscall(SYS_bpf, command, attribute, sizeof(*attribute));
}

static int load_btf(void)
{
	struct {
		struct btf_header header;
		char data[sizeof(types) + sizeof(strings)];
	} blob = { .header = { .magic = BTF_MAGIC, .version = BTF_VERSION } };
	union bpf_attr attribute = {};

	blob.header.hdr_len = sizeof(blob.header);
	blob.header.type_len = sizeof(types);
	blob.header.str_off = sizeof(types);
	blob.header.str_len = sizeof(strings);
	memcpy(blob.data, types, sizeof(types));
	memcpy(blob.data + sizeof(types), strings, sizeof(strings));
	attribute.btf = (unsigned long)&blob;
	attribute.btf_size = sizeof(blob.header) + sizeof(types) + sizeof(strings);
	return call(BPF_BTF_LOAD, &attribute);
}

/* A program of the one function; it replaces that of the program `target` where that is given. */
static int load(int type, int btf, int target)
{
	struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 2 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	struct bpf_func_info function = { .type_id = FUNCTION };
	union bpf_attr attribute = {};

	attribute.prog_type = type;
	attribute.insns = (unsigned long)code;
	attribute.insn_cnt = 2;
	attribute.license = (unsigned long)"GPL";
	attribute.prog_btf_fd = btf;
	attribute.func_info = (unsigned long)&function;
	attribute.func_info_rec_size = sizeof(function);
	attribute.func_info_cnt = 1;
	attribute.attach_prog_fd = target;
	attribute.attach_btf_id = target ? FUNCTION : 0;
	return call(BPF_PROG_LOAD, &attribute);
}

int main(void)
{
	int btf = load_btf();
	int target = btf < 0 ? -1 : load(BPF_PROG_TYPE_XDP, btf, 0);

	/* Neither of these is the request that is to be judged. */
	if (target < 0)
		return 100;
	return load(BPF_PROG_TYPE_EXT, btf, target) < 0 ? errno : 0;
}
