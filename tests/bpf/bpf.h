/* What the BPF sources of the tests share: the few declarations of a BPF program that a compiler
 * does not know by itself. Numbers are those of linux/bpf.h.
 */

#ifndef TESTS_BPF_H
#define TESTS_BPF_H

typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define NOINLINE __attribute__((noinline))
#define WEAK __attribute__((weak))
#define HIDDEN __attribute__((visibility("hidden")))
#define KCONFIG __attribute__((section(".kconfig")))
#define KSYM __attribute__((section(".ksyms")))
#define LICENSE(text) char license_text[] SEC("license") = text

/* A map's definition keeps its numbers in the lengths of arrays and its types behind pointers. */
#define NUMBER(field, value) int(*field)[value]
#define TYPE(field, type) __typeof__(type) *field
#define ELEMENTS(field, type) __typeof__(type) *field[]
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define LONG_NUMBER(field, value)                                                                  \
	enum { JOIN(long_number_, __COUNTER__) = value } field

enum {
	HASH = 1,
	ARRAY = 2,
	PROG_ARRAY = 3,
	PERF_EVENT_ARRAY = 4,
	PERCPU_HASH = 5,
	PERCPU_ARRAY = 6,
	LPM_TRIE = 11,
	ARRAY_OF_MAPS = 12,
	HASH_OF_MAPS = 13,
	RINGBUF = 27,
	BLOOM_FILTER = 30,
	ARENA = 33,
};

enum {
	NO_PREALLOC = 1 << 0,
	NUMA_NODE = 1 << 2,
	MMAPABLE = 1 << 10,
};

enum libbpf_tristate { TRI_NO, TRI_YES, TRI_MODULE };

struct xdp_md;
struct __sk_buff;

static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static long (*map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static u64 (*ktime_get_ns)(void) = (void *)5;
static u32 (*get_smp_processor_id)(void) = (void *)8;
static long (*tail_call)(void *context, void *map, u32 index) = (void *)12;
static u64 (*get_current_pid_tgid)(void) = (void *)14;
static long (*ringbuf_output)(void *map, void *data, u64 size, u64 flags) = (void *)130;
static long (*for_each_map_elem)(void *map, void *callback, void *context, u64 flags) = (void *)164;
static long (*loop)(u32 count, void *callback, void *context, u64 flags) = (void *)181;

#endif
