/* Loads an object with libbpf and prints what the kernel made of it, as JSON.
 *
 *     libbpf_load OBJECT PIN_ROOT KCONFIG MISSING [PROGRAM...]
 *     libbpf_load version
 *
 * With names of programs only those are loaded. KCONFIG are lines of kernel options, which take the
 * place of the running kernel's. MISSING are lines of what the object leaves to who loads it:
 * "program NAME TYPE" and "map NAME MAX_ENTRIES".
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

static int log_message(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return level == LIBBPF_DEBUG ? 0 : vfprintf(stderr, format, arguments);
}

static void print_hex(const unsigned char *data, size_t size)
{
	for (size_t at = 0; at < size; at++)
		printf("%02x", data[at]);
}

static void *allocate(size_t size)
{
	void *memory = calloc(1, size + 1);

	if (!memory)
		exit(2);
	return memory;
}

static void print_program(const struct bpf_program *program, const char *separator)
{
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);
	int fd = bpf_program__fd(program);
	unsigned char *code;
	__u32 ids[64];

	if (bpf_prog_get_info_by_fd(fd, &info, &size))
		exit(3);
	size = info.xlated_prog_len;
	code = allocate(size);
	memset(&info, 0, sizeof(info));
	info.xlated_prog_len = size;
	info.xlated_prog_insns = (unsigned long)code;
	info.nr_map_ids = 64;
	info.map_ids = (unsigned long)ids;
	size = sizeof(info);
	if (bpf_prog_get_info_by_fd(fd, &info, &size))
		exit(3);
	printf("%s{\"name\": \"%s\", \"id\": %u, \"kernel_name\": \"%s\", ", separator,
	       bpf_program__name(program), info.id, info.name);
	printf("\"type\": %u, \"gpl\": %u, ", info.type, info.gpl_compatible);
	printf("\"functions\": %u, \"lines\": %u, ", info.nr_func_info, info.nr_line_info);
	printf("\"attach_btf_id\": %u, \"map_ids\": [", info.attach_btf_id);
	for (__u32 at = 0; at < info.nr_map_ids; at++)
		printf("%s%u", at ? ", " : "", ids[at]);
	printf("], \"xlated\": \"");
	print_hex(code, info.xlated_prog_len);
	printf("\"}");
	free(code);
}

/* What a map of one value starts with: the data of the object. */
static void print_value(int fd, const struct bpf_map_info *info)
{
	unsigned char *value = allocate(info->value_size);
	__u32 key = 0;

	if (info->type == BPF_MAP_TYPE_ARRAY && info->max_entries == 1 &&
	    !bpf_map_lookup_elem(fd, &key, value))
		print_hex(value, info->value_size);
	free(value);
}

/* What a map of maps or programs holds, by index; the kernel shows the ids. */
static void print_slots(int fd, const struct bpf_map_info *info)
{
	const char *separator = "";
	__u32 id;

	if (info->type != BPF_MAP_TYPE_PROG_ARRAY && info->type != BPF_MAP_TYPE_ARRAY_OF_MAPS)
		return;
	for (__u32 key = 0; key < info->max_entries; key++) {
		if (bpf_map_lookup_elem(fd, &key, &id))
			continue;
		printf("%s\"%u\": %u", separator, key, id);
		separator = ", ";
	}
}

static void print_map(const struct bpf_map *map, const char *separator)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);
	int fd = bpf_map__fd(map);

	if (bpf_map_get_info_by_fd(fd, &info, &size))
		exit(3);
	printf("%s{\"id\": %u, \"name\": \"%s\", \"type\": %u, ", separator, info.id, info.name, info.type);
	printf("\"key_size\": %u, \"value_size\": %u, ", info.key_size, info.value_size);
	printf("\"max_entries\": %u, \"flags\": %u, ", info.max_entries, info.map_flags);
	printf("\"map_extra\": %llu, ", (unsigned long long)info.map_extra);
	printf("\"key_type_id\": %u, \"value_type_id\": %u, ", info.btf_key_type_id,
	       info.btf_value_type_id);
	printf("\"value\": \"");
	print_value(fd, &info);
	printf("\", \"slots\": {");
	print_slots(fd, &info);
	printf("}}");
}

static int choose(struct bpf_object *object, int count, char **names)
{
	struct bpf_program *program;

	if (!count)
		return 0;
	bpf_object__for_each_program(program, object)
		bpf_program__set_autoload(program, false);
	for (int i = 0; i < count; i++) {
		program = bpf_object__find_program_by_name(object, names[i]);
		if (!program)
			return -ENOENT;
		if (bpf_program__set_autoload(program, true))
			exit(4);
	}
	return 0;
}

static void complete(struct bpf_object *object, char *missing)
{
	for (char *line = strtok(missing, "\n"); line; line = strtok(NULL, "\n")) {
		struct bpf_program *program;
		struct bpf_map *map;
		char kind[8], name[128];
		unsigned int value;

		if (sscanf(line, "%7s %127s %u", kind, name, &value) != 3)
			exit(5);
		program = bpf_object__find_program_by_name(object, name);
		map = bpf_object__find_map_by_name(object, name);
		if (!strcmp(kind, "program") && program)
			bpf_program__set_type(program, value);
		if (!strcmp(kind, "map") && map)
			bpf_map__set_max_entries(map, value);
	}
}

static void print_object(struct bpf_object *object)
{
	struct bpf_program *program;
	struct bpf_map *map;
	const char *separator = "";
	int known = 0;

	printf("{\"error\": 0, \"programs\": [");
	bpf_object__for_each_program(program, object) {
		known++;
		if (bpf_program__fd(program) < 0)
			continue;
		print_program(program, separator);
		separator = ", ";
	}
	printf("], \"maps\": [");
	separator = "";
	bpf_object__for_each_map(map, object) {
		if (bpf_map__fd(map) < 0 || !bpf_map__autocreate(map))
			continue;
		print_map(map, separator);
		separator = ", ";
	}
	printf("], \"known\": %d}\n", known);
}

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_object_open_opts, options);
	struct bpf_object *object;

	if (argc == 2 && !strcmp(argv[1], "version")) {
		puts(libbpf_version_string());
		return 0;
	}
	if (argc < 5)
		return 2;
	libbpf_set_print(log_message);
	options.pin_root_path = argv[2];
	options.kconfig = argv[3];
	object = bpf_object__open_file(argv[1], &options);
	if (!object) {
		printf("{\"error\": %d, \"stage\": \"open\"}\n", errno);
		return 0;
	}
	complete(object, argv[4]);
	if (choose(object, argc - 5, argv + 5))
		printf("{\"error\": %d, \"stage\": \"choose\"}\n", ENOENT);
	else if (bpf_object__load(object))
		printf("{\"error\": %d, \"stage\": \"load\"}\n", errno);
	else
		print_object(object);
	bpf_object__close(object);
	return 0;
}
