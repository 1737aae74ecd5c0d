/* What libbpf makes of objects that it only opens or links, and of the names of sections.
 *
 *   libbpf_says open FILE      a line for each program and each map
 *   libbpf_says sections       a line for each name on standard input
 *   libbpf_says link OUTPUT FILE...
 *   libbpf_says version
 */

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int print_nothing(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return 0;
}

static void print_hex(const void *data, size_t size)
{
	const unsigned char *bytes = data;

	if (!size)
		putchar('-');
	for (size_t i = 0; i < size; i++)
		printf("%02x", bytes[i]);
}

static void print_program(const struct bpf_program *program)
{
	printf("program\t%s\t%s\t%d\t%d\t%d\t%u\t", bpf_program__name(program),
	       bpf_program__section_name(program), bpf_program__type(program),
	       bpf_program__expected_attach_type(program), bpf_program__autoload(program),
	       bpf_program__flags(program));
	print_hex(bpf_program__insns(program),
		  bpf_program__insn_cnt(program) * sizeof(struct bpf_insn));
	putchar('\n');
}

static void print_map(struct bpf_map *map, const char *kind)
{
	size_t size = 0;
	const char *pin = bpf_map__pin_path(map);
	const void *value = bpf_map__initial_value(map, &size);

	printf("%s\t%s\t%d\t%u\t%u\t%u\t%u\t%llu\t%u\t%u\t%u\t%d\t%s\t", kind, bpf_map__name(map),
	       bpf_map__type(map), bpf_map__key_size(map), bpf_map__value_size(map),
	       bpf_map__max_entries(map), bpf_map__map_flags(map),
	       (unsigned long long)bpf_map__map_extra(map), bpf_map__numa_node(map),
	       bpf_map__btf_key_type_id(map), bpf_map__btf_value_type_id(map),
	       bpf_map__autocreate(map), pin ? pin : "-");
	/* The pointers in the value of struct_ops are libbpf's own. */
	print_hex(value, value && bpf_map__type(map) != BPF_MAP_TYPE_STRUCT_OPS ? size : 0);
	putchar('\n');
	if (bpf_map__inner_map(map))
		print_map(bpf_map__inner_map(map), "inner");
}

static int open_object(const char *path)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_program *program;
	struct bpf_map *map;

	if (libbpf_get_error(object)) {
		printf("error\t%ld\n", libbpf_get_error(object));
		return 0;
	}
	bpf_object__for_each_program(program, object)
		print_program(program);
	bpf_object__for_each_map(map, object)
		print_map(map, "map");
	bpf_object__close(object);
	return 0;
}

static int look_up_sections(void)
{
	enum bpf_prog_type type;
	enum bpf_attach_type attach_type;
	char name[256];

	while (fgets(name, sizeof(name), stdin)) {
		name[strcspn(name, "\n")] = 0;
		if (libbpf_prog_type_by_name(name, &type, &attach_type))
			printf("%s\tunknown\n", name);
		else
			printf("%s\t%d\t%d\n", name, type, attach_type);
	}
	return 0;
}

/* As bpftool gen object does; prints an empty line, or the number of the error. */
static int link_objects(const char *output, char **files, int count)
{
	struct bpf_linker *linker = bpf_linker__new(output, NULL);
	int error = libbpf_get_error(linker);

	for (int i = 0; i < count && !error; i++)
		error = bpf_linker__add_file(linker, files[i], NULL);
	if (!error)
		error = bpf_linker__finalize(linker);
	bpf_linker__free(linker);
	if (error)
		printf("%d", error);
	putchar('\n');
	return 0;
}

int main(int count, char **arguments)
{
	libbpf_set_print(print_nothing);
	if (count == 3 && !strcmp(arguments[1], "open"))
		return open_object(arguments[2]);
	if (count > 3 && !strcmp(arguments[1], "link"))
		return link_objects(arguments[2], arguments + 3, count - 3);
	if (count == 2 && !strcmp(arguments[1], "sections"))
		return look_up_sections();
	if (count == 2 && !strcmp(arguments[1], "version")) {
		printf("%u.%u\n", libbpf_major_version(), libbpf_minor_version());
		return 0;
	}
	fprintf(stderr, "usage: %s open FILE | link OUTPUT FILE... | sections | version\n", arguments[0]);
	return 2;
}
