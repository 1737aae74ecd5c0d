/*
 * The peer: libbpf doing what benchmarks/loader.py measures of this library.
 *
 *   loader_libbpf event OBJECT    load, attach, wait for the first event
 *   loader_libbpf btf TYPE        open the kernel's BTF, find the struct TYPE
 *   loader_libbpf parse OBJECT    per line on standard input: open the object
 *   loader_libbpf load OBJECT     per line: open the object, and load it
 *
 * The first prints the time of the event (ns of CLOCK_MONOTONIC) and the peak of resident memory
 * (KiB), the second ns and the KiB that resident memory grew by, the third ns, the fourth ns of
 * loading and how many of them bpf() calls took.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

typedef unsigned long long u64;

static u64 in_kernel;

static u64 now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (u64)time.tv_sec * 1000000000u + (u64)time.tv_nsec;
}

/* libbpf makes its bpf() calls through this, so that the kernel's share can be told. */
long syscall(long number, ...)
{
	static long (*real)(long number, ...);
	long a, b, c, d, e, f, result;
	va_list list;
	u64 start;

	if (!real)
		real = (long (*)(long number, ...))dlsym(RTLD_NEXT, "syscall");
	va_start(list, number);
	a = va_arg(list, long);
	b = va_arg(list, long);
	c = va_arg(list, long);
	d = va_arg(list, long);
	e = va_arg(list, long);
	f = va_arg(list, long);
	va_end(list);
	start = now();
	result = real(number, a, b, c, d, e, f);
	if (number == SYS_bpf)
		in_kernel += now() - start;
	return result;
}

static long memory(const char *field)
{
	FILE *status = fopen("/proc/self/status", "r");
	size_t length = strlen(field);
	char line[256];
	long size = 0;

	while (status && fgets(line, sizeof(line), status))
		if (!strncmp(line, field, length))
			size = atol(line + length + 1);
	if (status)
		fclose(status);
	return size;
}

static int stop(const char *what)
{
	perror(what);
	return 1;
}

static int count(void *context, void *data, size_t size)
{
	(void)data;
	(void)size;
	*(u64 *)context = now();
	return 0;
}

static int first_event(const char *path)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	uint32_t target = (uint32_t)getpid();
	struct bpf_program *program;
	struct ring_buffer *ring;
	struct bpf_map *constants;
	u64 time = 0;

	if (!object)
		return stop("open");
	constants = bpf_object__find_map_by_name(object, ".rodata");
	if (bpf_map__set_initial_value(constants, &target, sizeof(target)))
		return stop(".rodata");
	if (bpf_object__load(object))
		return stop("load");
	bpf_object__for_each_program(program, object)
		if (!bpf_program__attach(program))
			return stop("attach");
	ring = ring_buffer__new(bpf_object__find_map_fd_by_name(object, "events"), count, &time,
				NULL);
	if (!ring)
		return stop("ring");
	while (!time)
		ring_buffer__poll(ring, 1000);
	printf("%llu %ld\n", time, memory("VmHWM"));
	return 0;
}

static int kernel_btf(const char *name)
{
	long before = memory("VmRSS");
	u64 start = now(), time;
	struct btf *btf = btf__load_vmlinux_btf();

	if (!btf || btf__find_by_name_kind(btf, name, BTF_KIND_STRUCT) < 0)
		return stop("vmlinux");
	time = now() - start;
	printf("%llu %ld\n", time, memory("VmRSS") - before);
	return 0;
}

static int parse(const char *path)
{
	char line[16];

	while (fgets(line, sizeof(line), stdin)) {
		u64 start = now(), time;
		struct bpf_object *object = bpf_object__open_file(path, NULL);

		time = now() - start;
		if (!object)
			return stop("open");
		bpf_object__close(object);
		printf("%llu\n", time);
		fflush(stdout);
	}
	return 0;
}

static int load(const char *path)
{
	char line[16];

	while (fgets(line, sizeof(line), stdin)) {
		struct bpf_object *object = bpf_object__open_file(path, NULL);
		u64 start = now(), time;

		in_kernel = 0;
		if (!object || bpf_object__load(object))
			return stop("load");
		time = now() - start;
		bpf_object__close(object);
		printf("%llu %llu\n", time, in_kernel);
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc == 3 ? argv[1] : "";

	if (!strcmp(what, "event"))
		return first_event(argv[2]);
	if (!strcmp(what, "btf"))
		return kernel_btf(argv[2]);
	if (!strcmp(what, "parse"))
		return parse(argv[2]);
	if (!strcmp(what, "load"))
		return load(argv[2]);
	fprintf(stderr, "usage: loader_libbpf event|parse|load|btf OBJECT|TYPE\n");
	return 2;
}
