/* What nearly every BPF program in C uses: sections, map definitions, helpers, printing, loops.
 *
 * The names are those that programs for libbpf use. Include the kernel's types first: "vmlinux.h",
 * or <linux/bpf.h>.
 */

#ifndef __BPF_HELPERS__
#define __BPF_HELPERS__

#include "bpf_helper_defs.h"

/* Macros on lists of up to 12: how many there are, and one macro for each number. */

#define ___bpf_concat(a, b) a##b
#define ___bpf_apply(macro, count) ___bpf_concat(macro, count)
#define ___bpf_nth(_0, _1, _2, _3, _4, _5, _6, _7, _8, _9, _a, _b, _c, found, ...) found
#define ___bpf_narg(...) ___bpf_nth(_, ##__VA_ARGS__, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)

/* Sections, linkage and inlining. */

/* `used` has no effect on an extern declaration, of which compilers would warn. */
#define SEC(name)                                                                                  \
	_Pragma("GCC diagnostic push")                                                             \
	_Pragma("GCC diagnostic ignored \"-Wignored-attributes\"")                                 \
	__attribute__((section(name), used))                                                       \
	_Pragma("GCC diagnostic pop")

#undef __always_inline
#define __always_inline inline __attribute__((always_inline))

#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif
#ifndef __weak
#define __weak __attribute__((weak))
#endif

/* A function of several files that the verifier checks with each caller, as if it were static. */
#define __hidden __attribute__((visibility("hidden")))

/* Map definitions: a number is the length of an array, a type is behind a pointer. */

#define __uint(name, number) int(*name)[number]
#define __type(name, kind) typeof(kind) *name
#define __array(name, kind) typeof(kind) *name[]
/* A number that is too large for an array's length. */
#define __ulong(name, number)                                                                      \
	enum { ___bpf_apply(__unique_value, __COUNTER__) = number } name

enum libbpf_pin_type {
	LIBBPF_PIN_NONE,
	LIBBPF_PIN_BY_NAME, /* in /sys/fs/bpf, by the map's name */
};

/* The kernel's options, and its functions and variables. */

#define __kconfig __attribute__((section(".kconfig")))
#define __ksym __attribute__((section(".ksyms")))

/* The value of an option y, n or m. */
enum libbpf_tristate {
	TRI_NO = 0,
	TRI_YES = 1,
	TRI_MODULE = 2,
};

/* Whether the kernel has `sym`, which is declared __ksym and __weak. */
#define bpf_ksym_exists(sym)                                                                       \
	({                                                                                         \
		_Static_assert(!__builtin_constant_p(!!sym), #sym " is to be declared __weak");    \
		!!sym;                                                                             \
	})

/* Kernel objects in map values, and what a global function says of its arguments. */

#if __has_attribute(btf_type_tag)
#define ___bpf_type_tag(name) __attribute__((btf_type_tag(name)))
#else
#define ___bpf_type_tag(name)
#endif
#define __kptr ___bpf_type_tag("kptr")
#define __kptr_untrusted ___bpf_type_tag("kptr_untrusted")
#define __percpu_kptr ___bpf_type_tag("percpu_kptr")
#define __uptr ___bpf_type_tag("uptr")

#define ___bpf_arg_tag(name) __attribute__((btf_decl_tag("arg:" name)))
#define __arg_ctx ___bpf_arg_tag("ctx")
#define __arg_nonnull ___bpf_arg_tag("nonnull")
#define __arg_nullable ___bpf_arg_tag("nullable")
#define __arg_trusted ___bpf_arg_tag("trusted")
#define __arg_untrusted ___bpf_arg_tag("untrusted")
#define __arg_arena ___bpf_arg_tag("arena")

/* What other headers have too. */

#ifndef NULL
#define NULL ((void *)0)
#endif
#ifndef likely
#define likely(x) __builtin_expect(!!(x), 1)
#endif
#ifndef unlikely
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif
#ifndef KERNEL_VERSION
/* As the kernel's, whose sublevels end at 255. */
#define KERNEL_VERSION(major, minor, sub)                                                          \
	(((major) << 16) + ((minor) << 8) + ((sub) < 255 ? (sub) : 255))
#endif

/* By a null pointer's member, not the compiler's builtin: that is a constant of the struct as it was
 * compiled, this is a field's access, which the loader relocates to the running kernel's struct. */
#undef offsetof
#define offsetof(type, member) ((unsigned long)&((type *)0)->member)
#undef container_of
#define container_of(ptr, type, member) ((type *)((void *)(ptr) - offsetof(type, member)))

/* The compiler forgets what it knows of memory, or of one variable. */
#ifndef barrier
#define barrier() asm volatile("" ::: "memory")
#endif
#ifndef barrier_var
#define barrier_var(variable) asm volatile("" : "+r"(variable))
#endif
#ifndef __bpf_unreachable
#define __bpf_unreachable() __builtin_trap()
#endif

/* A tail call with a slot that is known at compile time: the kernel makes a plain jump of it, if
 * the verifier sees one map and one slot. So they are put in their registers at the call itself.
 */
#ifdef __bpf__
static __always_inline void bpf_tail_call_static(void *ctx, const void *map, const __u32 slot)
{
	if (!__builtin_constant_p(slot))
		__bpf_unreachable();
	asm volatile("r1 = %[ctx]\n\t"
		     "r2 = %[map]\n\t"
		     "r3 = %[slot]\n\t"
		     "call 12"
		     :
		     : [ctx] "r"(ctx), [map] "r"(map), [slot] "i"(slot)
		     : "r0", "r1", "r2", "r3", "r4", "r5", "memory");
}
#endif

/* Printing: a format that is kept in .rodata, and arguments of up to 64 bits each. */

#define ___bpf_put0(to)
#define ___bpf_put1(to, x) *to++ = (unsigned long long)(x);
#define ___bpf_put2(to, x, rest...) ___bpf_put1(to, x) ___bpf_put1(to, rest)
#define ___bpf_put3(to, x, rest...) ___bpf_put1(to, x) ___bpf_put2(to, rest)
#define ___bpf_put4(to, x, rest...) ___bpf_put1(to, x) ___bpf_put3(to, rest)
#define ___bpf_put5(to, x, rest...) ___bpf_put1(to, x) ___bpf_put4(to, rest)
#define ___bpf_put6(to, x, rest...) ___bpf_put1(to, x) ___bpf_put5(to, rest)
#define ___bpf_put7(to, x, rest...) ___bpf_put1(to, x) ___bpf_put6(to, rest)
#define ___bpf_put8(to, x, rest...) ___bpf_put1(to, x) ___bpf_put7(to, rest)
#define ___bpf_put9(to, x, rest...) ___bpf_put1(to, x) ___bpf_put8(to, rest)
#define ___bpf_put10(to, x, rest...) ___bpf_put1(to, x) ___bpf_put9(to, rest)
#define ___bpf_put11(to, x, rest...) ___bpf_put1(to, x) ___bpf_put10(to, rest)
#define ___bpf_put12(to, x, rest...) ___bpf_put1(to, x) ___bpf_put11(to, rest)

/* Declares the format ___bpf_text and the array ___bpf_values, filled. */
#define ___bpf_format(fmt, args...)                                                                \
	static const char ___bpf_text[] = fmt;                                                     \
	unsigned long long ___bpf_values[___bpf_narg(args) + !___bpf_narg(args)] = {};             \
	unsigned long long *___bpf_next = ___bpf_values;                                           \
	___bpf_apply(___bpf_put, ___bpf_narg(args))(___bpf_next, ##args)(void) ___bpf_next
#define ___bpf_size(args...) (8 * ___bpf_narg(args))

/* To the trace pipe; with more than three arguments since Linux 5.16. */
#define bpf_printk(fmt, args...)                                                                   \
	___bpf_apply(___bpf_printk, ___bpf_narg(args))(fmt, ##args)
#define __bpf_printk(fmt, args...)                                                                 \
	({                                                                                         \
		BPF_PRINTK_FMT_MOD char ___bpf_text[] = fmt;                                       \
		bpf_trace_printk(___bpf_text, sizeof(___bpf_text), ##args);                        \
	})
#define __bpf_vprintk(fmt, args...)                                                                \
	({                                                                                         \
		___bpf_format(fmt, ##args);                                                        \
		bpf_trace_vprintk(___bpf_text, sizeof(___bpf_text), ___bpf_values,                 \
				  ___bpf_size(args));                                              \
	})
/* On kernels without global data (before 5.2) the format has to be on the stack. */
#ifdef BPF_NO_GLOBAL_DATA
#define BPF_PRINTK_FMT_MOD
#else
#define BPF_PRINTK_FMT_MOD static const
#endif
#define ___bpf_printk0 __bpf_printk
#define ___bpf_printk1 __bpf_printk
#define ___bpf_printk2 __bpf_printk
#define ___bpf_printk3 __bpf_printk
#define ___bpf_printk4 __bpf_vprintk
#define ___bpf_printk5 __bpf_vprintk
#define ___bpf_printk6 __bpf_vprintk
#define ___bpf_printk7 __bpf_vprintk
#define ___bpf_printk8 __bpf_vprintk
#define ___bpf_printk9 __bpf_vprintk
#define ___bpf_printk10 __bpf_vprintk
#define ___bpf_printk11 __bpf_vprintk
#define ___bpf_printk12 __bpf_vprintk

/* To the standard output (1) or error (2) of the program (Linux 6.17); vmlinux.h declares the
 * function that is called. */
#define bpf_stream_printk(stream_id, fmt, args...)                                                 \
	({                                                                                         \
		___bpf_format(fmt, ##args);                                                        \
		bpf_stream_vprintk(stream_id, ___bpf_text, ___bpf_values, ___bpf_size(args));      \
	})

/* Into the file that an iterator is read from. */
#define BPF_SEQ_PRINTF(seq, fmt, args...)                                                          \
	({                                                                                         \
		___bpf_format(fmt, ##args);                                                        \
		bpf_seq_printf(seq, ___bpf_text, sizeof(___bpf_text), ___bpf_values,               \
			       ___bpf_size(args));                                                 \
	})

/* Into memory; the length that the whole text takes, its NUL included. */
#define BPF_SNPRINTF(out, out_size, fmt, args...)                                                  \
	({                                                                                         \
		___bpf_format(fmt, ##args);                                                        \
		bpf_snprintf(out, out_size, ___bpf_text, ___bpf_values, ___bpf_size(args));        \
	})

/* Loops that the verifier does not walk through (Linux 6.4). The iterator ends with the scope. */

struct bpf_iter_num;
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __weak __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __weak __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __weak __ksym;

/* Of a function that is only named as a cleanup, clang would not write down the type. */
#define ___bpf_iterator(kind, args...)                                                             \
	struct bpf_iter_##kind ___bpf_it __attribute__((aligned(8),                                \
							cleanup(bpf_iter_##kind##_destroy))),      \
		*___bpf_at = (bpf_iter_##kind##_new(&___bpf_it, ##args),                           \
			      (void)bpf_iter_##kind##_destroy, &___bpf_it)

/* `cur` is a pointer to what the iterator gives. */
#ifndef bpf_for_each
#define bpf_for_each(kind, cur, args...)                                                           \
	for (___bpf_iterator(kind, ##args); ((cur) = bpf_iter_##kind##_next(___bpf_at));)
#endif

/* `i` from `start` up to `end`, which is not reached; the verifier knows these bounds. Behind the
 * loop `i` is what it was in the last round, and without a round what it was before. */
#ifndef bpf_for
#define bpf_for(i, start, end)                                                                     \
	for (___bpf_iterator(num, (start), (end)); ({                                              \
		     int *___bpf_number = bpf_iter_num_next(___bpf_at);                            \
		     if (___bpf_number)                                                            \
			     (i) = *___bpf_number;                                                 \
		     ___bpf_number && (i) >= (start) && (i) < (end);                               \
	     });)
#endif

#ifndef bpf_repeat
#define bpf_repeat(count)                                                                          \
	for (___bpf_iterator(num, 0, (count)); bpf_iter_num_next(___bpf_at);)
#endif

#endif
