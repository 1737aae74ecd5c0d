/*
 * Asks the kernel for what test_refused.py asks the library for: an fentry program for a function
 * of the kernel, found in the kernel's BTF. Exits with 0 when it is granted, else with the errno.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/bpf.h>
#include <linux/btf.h>

#ifndef FUNCTION
#define FUNCTION "do_nanosleep"
#define PROGRAM_TYPE BPF_PROG_TYPE_TRACING
#define ATTACH_TYPE BPF_TRACE_FENTRY
#endif

static char *contents(const char *path, size_t *size)
{
	size_t room = 1 << 20;
	char *data = malloc(room);
	int fd = open(path, O_RDONLY);
	ssize_t count;

	*size = 0;
	while (data && fd >= 0 && (count = read(fd, data + *size, room - *size)) > 0) {
		*size += (size_t)count;
		if (*size == room)
			data = realloc(data, room *= 2);
	}
	close(fd);
	return *size ? data : NULL;
}

/* The bytes that follow struct btf_type, by kind. */
static size_t extra(const struct btf_type *type)
{
	size_t count = BTF_INFO_VLEN(type->info);

	switch (BTF_INFO_KIND(type->info)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case 17: /* DECL_TAG */
		return 4;
	case BTF_KIND_ARRAY:
		return 12;
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
	case BTF_KIND_DATASEC:
	case 19: /* ENUM64 */
		return 12 * count;
	case BTF_KIND_ENUM:
	case BTF_KIND_FUNC_PROTO:
		return 8 * count;
	default:
		return 0;
	}
}

static unsigned int find_function(const char *data, const char *name)
{
	const struct btf_header *header = (const void *)data;
	const char *types = data + header->hdr_len + header->type_off;
	const char *strings = data + header->hdr_len + header->str_off;
	const char *end = types + header->type_len;
	unsigned int id = 1;

	for (; types < end; id++) {
		const struct btf_type *type = (const void *)types;

		if (BTF_INFO_KIND(type->info) == BTF_KIND_FUNC &&
		    !strcmp(strings + type->name_off, name))
			return id;
		types += sizeof(*type) + extra(type);
	}
	return 0;
}

int main(void)
{
	struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr;
	size_t size;
	char *btf = contents("/sys/kernel/btf/vmlinux", &size);
	unsigned int id = btf ? find_function(btf, FUNCTION) : 0;

	if (!id) {
		fprintf(stderr, "no " FUNCTION " in the kernel's BTF\n");
		return ENOENT;
	}
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = PROGRAM_TYPE;
	attr.insns = (unsigned long)code;
	attr.insn_cnt = 2;
	attr.license = (unsigned long)"GPL";
	attr.expected_attach_type = ATTACH_TYPE;
	attr.attach_btf_id = id;
	return syscall(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof(attr)) < 0 ? errno : 0;
}
