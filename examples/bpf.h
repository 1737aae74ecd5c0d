/* The declarations that a small BPF program needs, so that clang alone compiles it: no libbpf, no
 * kernel headers, no vmlinux.h. Where libbpf-dev is installed, <bpf/bpf_helpers.h> has them all.
 * Numbers are those of the kernel's linux/bpf.h, and never change.
 */

#ifndef EXAMPLES_BPF_H
#define EXAMPLES_BPF_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef long long s64;

/* What is in which section says what it is for. A map of another object is declared extern, where
 * clang would warn that "used" means nothing. */
#define SEC(name)                                                                                  \
	_Pragma("GCC diagnostic push")                                                             \
	_Pragma("GCC diagnostic ignored \"-Wignored-attributes\"")                                 \
	__attribute__((section(name), used))                                                       \
	_Pragma("GCC diagnostic pop")

/* Fields of a map's definition: numbers are lengths of arrays, types are behind pointers. */
#define __uint(name, value) int(*name)[value]
#define __type(name, type) __typeof__(type) *name

/* Of a struct of the kernel, only the fields in use are declared, in any order: where they are,
 * the loader finds out from the running kernel. */
#define CORE __attribute__((preserve_access_index))

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_RINGBUF = 27,
};

/* Helpers are called by their numbers. */
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) =
	(void *)2;
static long (*bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static u64 (*bpf_get_current_uid_gid)(void) = (void *)15;
static long (*bpf_get_current_comm)(void *to, u32 size) = (void *)16;
static void *(*bpf_get_current_task)(void) = (void *)35;
static long (*bpf_probe_read_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*bpf_probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*bpf_probe_read_user_str)(void *to, u32 size, const void *from) = (void *)114;
static long (*bpf_ringbuf_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;

/* Copies a field that is not in the program's own context: READ(task->real_parent). */
#define READ(access)                                                                               \
	({                                                                                         \
		__typeof__(access) read__ = 0;                                                     \
		bpf_probe_read_kernel(&read__, sizeof(read__), &(access));                         \
		read__;                                                                            \
	})

#endif
