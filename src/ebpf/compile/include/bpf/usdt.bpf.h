/* USDT probes: the arguments of the probe that is running, wherever the traced program's compiler
 * put them.
 *
 * The loader reads that from the traced file and writes it into the maps here; their names and the
 * layout of what is in them are those of libbpf since 1.7, so that either can load the object.
 */

#ifndef __USDT_BPF_H__
#define __USDT_BPF_H__

#include "bpf_helpers.h"
#include "bpf_tracing.h"

/* Results are -ENOENT: no such argument; -ESRCH: not a probe that the loader attached; -EINVAL: an
 * argument described in a way that is not known here. */
#if __has_include(<linux/errno.h>)
#include <linux/errno.h>
#endif
#ifndef ENOENT
#define ENOENT 2
#endif
#ifndef ESRCH
#define ESRCH 3
#endif
#ifndef EINVAL
#define EINVAL 22
#endif

/* How many different probes can be attached, and from how many places without attach cookies
 * (before Linux 5.15). Define them first for other numbers. */
#ifndef BPF_USDT_MAX_SPEC_CNT
#define BPF_USDT_MAX_SPEC_CNT 256
#endif
#ifndef BPF_USDT_MAX_IP_CNT
#define BPF_USDT_MAX_IP_CNT (4 * BPF_USDT_MAX_SPEC_CNT)
#endif
#define BPF_USDT_MAX_ARG_CNT 12

/* Where an argument is. */
enum __bpf_usdt_arg_type {
	BPF_USDT_ARG_CONST,	/* it is val_off */
	BPF_USDT_ARG_REG,	/* in the register */
	BPF_USDT_ARG_REG_DEREF, /* in memory, at the register plus val_off */
	BPF_USDT_ARG_SIB,	/* there, plus the scaled index register */
};

struct __bpf_usdt_arg_spec {
	__u64 val_off;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	enum __bpf_usdt_arg_type arg_type : 8;
	__u16 idx_reg_off : 12;
	__u16 scale_bitshift : 4;
	__u8 __reserved : 8;
#else
	__u8 __reserved : 8;
	__u16 idx_reg_off : 12;
	__u16 scale_bitshift : 4;
	enum __bpf_usdt_arg_type arg_type : 8;
#endif
	short reg_off; /* in struct pt_regs, as is idx_reg_off */
	_Bool arg_signed;
	char arg_bitshift; /* 64 minus the argument's bits */
};

struct __bpf_usdt_spec {
	struct __bpf_usdt_arg_spec args[BPF_USDT_MAX_ARG_CNT];
	__u64 usdt_cookie;
	short arg_cnt;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BPF_USDT_MAX_SPEC_CNT);
	__type(key, int);
	__type(value, struct __bpf_usdt_spec);
} __bpf_usdt_specs SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BPF_USDT_MAX_IP_CNT);
	__type(key, long);
	__type(value, __u32);
} __bpf_usdt_ip_to_spec_id SEC(".maps") __weak;

extern const _Bool LINUX_HAS_BPF_COOKIE __kconfig;

/* The description of the probe that is running, NULL where there is none. */
static __always_inline struct __bpf_usdt_spec *___bpf_usdt_here(struct pt_regs *ctx)
{
	int number;

	if (LINUX_HAS_BPF_COOKIE) {
		number = bpf_get_attach_cookie(ctx);
	} else {
		long address = PT_REGS_IP(ctx);
		__u32 *known = bpf_map_lookup_elem(&__bpf_usdt_ip_to_spec_id, &address);

		if (!known)
			return NULL;
		number = *known;
	}
	return bpf_map_lookup_elem(&__bpf_usdt_specs, &number);
}

/* How many arguments the probe has, or -ESRCH. */
__weak __hidden int bpf_usdt_arg_cnt(struct pt_regs *ctx)
{
	struct __bpf_usdt_spec *spec = ___bpf_usdt_here(ctx);

	return spec ? spec->arg_cnt : -ESRCH;
}

/* The argument's description; NULL where there is none of this number. */
static __always_inline struct __bpf_usdt_arg_spec *___bpf_usdt_spec_of(struct __bpf_usdt_spec *spec,
								       __u64 arg_num)
{
	barrier_var(arg_num);
	if (arg_num >= BPF_USDT_MAX_ARG_CNT)
		return NULL;
	/* The verifier is to see the bound on what is used as an index. */
	barrier_var(arg_num);
	if (arg_num >= (__u64)spec->arg_cnt)
		return NULL;
	return &spec->args[arg_num];
}

/* The size of an argument in bytes, or -ENOENT or -ESRCH. */
__weak __hidden int bpf_usdt_arg_size(struct pt_regs *ctx, __u64 arg_num)
{
	struct __bpf_usdt_spec *spec = ___bpf_usdt_here(ctx);
	struct __bpf_usdt_arg_spec *arg;

	if (!spec)
		return -ESRCH;
	arg = ___bpf_usdt_spec_of(spec, arg_num);
	if (!arg)
		return -ENOENT;
	return 8 - (unsigned int)arg->arg_bitshift / 8;
}

static __always_inline long ___bpf_usdt_register(struct pt_regs *ctx, int offset, unsigned long *to)
{
	return bpf_probe_read_kernel(to, sizeof(*to), (void *)ctx + offset);
}

/* Puts argument `arg_num`, which counts from 0, into `res`: 0, or -errno. */
__weak __hidden int bpf_usdt_arg(struct pt_regs *ctx, __u64 arg_num, long *res)
{
	struct __bpf_usdt_spec *spec = ___bpf_usdt_here(ctx);
	struct __bpf_usdt_arg_spec *arg;
	unsigned long base = 0, index = 0;
	__u64 value;
	int error;

	*res = 0;
	if (!spec)
		return -ESRCH;
	arg = ___bpf_usdt_spec_of(spec, arg_num);
	if (!arg)
		return -ENOENT;
	value = arg->val_off;
	if (arg->arg_type > BPF_USDT_ARG_SIB)
		return -EINVAL;
	if (arg->arg_type != BPF_USDT_ARG_CONST) {
		error = ___bpf_usdt_register(ctx, arg->reg_off, &base);
		if (error)
			return error;
	}
	if (arg->arg_type == BPF_USDT_ARG_SIB) {
		error = ___bpf_usdt_register(ctx, arg->idx_reg_off, &index);
		if (error)
			return error;
		base += index << arg->scale_bitshift;
	}
	if (arg->arg_type == BPF_USDT_ARG_REG) {
		value = base;
	} else if (arg->arg_type != BPF_USDT_ARG_CONST) {
		error = bpf_probe_read_user(&value, sizeof(value), (void *)(base + value));
		if (error)
			return error;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
		/* The argument is at the start of the eight bytes, which here are the high ones. */
		value >>= arg->arg_bitshift;
#endif
	}
	value <<= arg->arg_bitshift;
	*res = arg->arg_signed ? (long)value >> arg->arg_bitshift : value >> arg->arg_bitshift;
	return 0;
}

/* The cookie that the probe was attached with, or -ESRCH. */
__weak __hidden long bpf_usdt_cookie(struct pt_regs *ctx)
{
	struct __bpf_usdt_spec *spec = ___bpf_usdt_here(ctx);

	return spec ? (long)spec->usdt_cookie : -ESRCH;
}

/* int BPF_USDT(name, int first, void *second) { ... } */
#define ___bpf_usdt_value(n)                                                                       \
	({                                                                                         \
		long ___bpf_argument;                                                              \
		bpf_usdt_arg(ctx, (n) - 1, &___bpf_argument);                                      \
		(void *)___bpf_argument;                                                           \
	})
#define BPF_USDT(name, args...) ___bpf_entry(name, struct pt_regs, ___bpf_usdt_value, ##args)

#endif
