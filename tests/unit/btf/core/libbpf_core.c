/* What libbpf makes of CO-RE relocations, without loading anything.
 *
 * usage: libbpf_core LOCAL.btf TARGET.btf < questions > answers
 *
 * A question is a line "TYPE_ID KIND ACCESS SLOTS": SLOTS is one or two instructions in hex. Its
 * answer is "error", or "VALUE ORIGINAL VALIDATE POISON FAIL_MEMSZ SLOTS", with "unpatched" for
 * slots that libbpf refuses to patch. Questions of one type share candidates, as in an object.
 * The first line of the answers is libbpf's version.
 *
 * The functions are libbpf's own, which its static library exports to its other files only.
 */
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bpf_core_cand {
	const struct btf *btf;
	__u32 id;
};

struct bpf_core_cand_list {
	struct bpf_core_cand *cands;
	int len;
};

struct bpf_core_relo_res {
	__u64 orig_val, new_val;
	bool poison, validate, fail_memsz_adjust;
	__u32 orig_sz, orig_type_id, new_sz, new_type_id;
};

size_t bpf_core_essential_name_len(const char *name);
int bpf_core_add_cands(struct bpf_core_cand *local, size_t local_length, const struct btf *target,
		       const char *target_name, int first_id, struct bpf_core_cand_list *list);
int bpf_core_calc_relo_insn(const char *program, const struct bpf_core_relo *relo, int index,
			    const struct btf *local, struct bpf_core_cand_list *list,
			    void *scratch, struct bpf_core_relo_res *result);
int bpf_core_patch_insn(const char *program, struct bpf_insn *insn, int insn_index,
			const struct bpf_core_relo *relo, int index,
			const struct bpf_core_relo_res *result);

static struct btf *read_btf(const char *path)
{
	static char data[64 << 20];
	FILE *file = fopen(path, "rb");
	size_t size = file ? fread(data, 1, sizeof(data), file) : 0;
	struct btf *btf = size ? btf__new(data, size) : NULL;

	if (!btf) {
		fprintf(stderr, "libbpf cannot parse the BTF in %s\n", path);
		exit(1);
	}
	fclose(file);
	return btf;
}

static struct bpf_core_cand_list *candidates(struct btf *local, struct btf *target, __u32 id)
{
	static struct bpf_core_cand_list *known[1 << 18];
	const struct btf_type *type = btf__type_by_id(local, id);
	struct bpf_core_cand cand = {local, id};
	const char *name;

	if (!type || id >= 1 << 18)
		return NULL;
	name = btf__name_by_offset(local, type->name_off);
	if (!known[id] && name && *name) {
		known[id] = calloc(1, sizeof(*known[id]));
		bpf_core_add_cands(&cand, bpf_core_essential_name_len(name), target, "target", 1,
				   known[id]);
	}
	return known[id];
}

static void print_slots(const struct bpf_insn *insns, size_t length)
{
	for (size_t i = 0; i < length; i++)
		printf("%02x", ((const unsigned char *)insns)[i]);
}

static void answer(struct btf *local, struct btf *target, struct bpf_core_relo *relo,
		   struct bpf_insn *insns, size_t length)
{
	static char scratch[1 << 16];
	struct bpf_core_relo_res result;
	struct bpf_core_cand_list *list = NULL;

	if (relo->kind != BPF_CORE_TYPE_ID_LOCAL) {
		list = candidates(local, target, relo->type_id);
		if (!list) {
			puts("error");
			return;
		}
	}
	if (bpf_core_calc_relo_insn("p", relo, 0, local, list, scratch, &result)) {
		puts("error");
		return;
	}
	printf("%llu %llu %d %d %d ", result.new_val, result.orig_val, result.validate,
	       result.poison, result.fail_memsz_adjust);
	if (bpf_core_patch_insn("p", insns, 0, relo, 0, &result))
		printf("unpatched");
	else
		print_slots(insns, length);
	puts("");
}

static int quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return getenv("VERBOSE") ? vfprintf(stderr, format, arguments) : 0;
}

int main(int argc, char **argv)
{
	struct btf *local, *target;
	char access[1024], hex[40];
	unsigned int id, kind;

	if (argc != 3)
		return 2;
	libbpf_set_print(quiet);
	local = read_btf(argv[1]);
	target = read_btf(argv[2]);
	btf__set_pointer_size(local, 8); /* as libbpf does for objects */
	printf("libbpf %u %u\n", libbpf_major_version(), libbpf_minor_version());
	while (scanf("%u %u %1023s %39s", &id, &kind, access, hex) == 4) {
		struct bpf_core_relo relo = {.type_id = id, .kind = kind};
		struct bpf_insn insns[2] = {};
		size_t length = strlen(hex) / 2;

		for (size_t i = 0; i < length; i++)
			sscanf(hex + 2 * i, "%2hhx", (unsigned char *)insns + i);
		relo.access_str_off = btf__add_str(local, access);
		answer(local, target, &relo, insns, length);
	}
	return 0;
}
