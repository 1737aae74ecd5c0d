/* What a tracing program gets: the arguments of a function by name and type, and registers.
 *
 * Registers differ by architecture: compile with -D__TARGET_ARCH_x86 (arm64, riscv, s390), or for
 * the machine at hand with ebpf.compile_c, which defines it.
 */

#ifndef __BPF_TRACING_H__
#define __BPF_TRACING_H__

#include "bpf_helpers.h"
#include "bpf_core_read.h"

/* By architecture: the struct that a program sees, and its fields. The uapi headers' struct has
 * other names for them than the kernel's, which vmlinux.h has. System calls take their arguments
 * from the same registers but for the one that is named; where that is the first, it was saved
 * before the result overwrote it. */

#if defined(__TARGET_ARCH_x86)
#define bpf_target_x86
#define bpf_target_defined
#define ___bpf_regs struct pt_regs
#if defined(__KERNEL__) || defined(__VMLINUX_H__)
#define ___bpf_reg1 di
#define ___bpf_reg2 si
#define ___bpf_reg3 dx
#define ___bpf_reg4 cx
#define ___bpf_reg_ret sp
#define ___bpf_reg_fp bp
#define ___bpf_reg_rc ax
#define ___bpf_reg_sp sp
#define ___bpf_reg_ip ip
#else
#define ___bpf_reg1 rdi
#define ___bpf_reg2 rsi
#define ___bpf_reg3 rdx
#define ___bpf_reg4 rcx
#define ___bpf_reg_ret rsp
#define ___bpf_reg_fp rbp
#define ___bpf_reg_rc rax
#define ___bpf_reg_sp rsp
#define ___bpf_reg_ip rip
#endif
#define ___bpf_reg5 r8
#define ___bpf_reg6 r9
#define ___bpf_sysreg4 r10

#elif defined(__TARGET_ARCH_arm64)
#define bpf_target_arm64
#define bpf_target_defined
struct pt_regs___arm64 {
	unsigned long orig_x0;
} __attribute__((preserve_access_index));
#define ___bpf_regs const struct user_pt_regs
#define ___bpf_reg1 regs[0]
#define ___bpf_reg2 regs[1]
#define ___bpf_reg3 regs[2]
#define ___bpf_reg4 regs[3]
#define ___bpf_reg5 regs[4]
#define ___bpf_reg6 regs[5]
#define ___bpf_reg7 regs[6]
#define ___bpf_reg8 regs[7]
#define ___bpf_reg_ret regs[30]
#define ___bpf_reg_fp regs[29]
#define ___bpf_reg_rc regs[0]
#define ___bpf_reg_sp sp
#define ___bpf_reg_ip pc
#define ___bpf_sysregs1 const struct pt_regs___arm64
#define ___bpf_sysreg1 orig_x0

#elif defined(__TARGET_ARCH_riscv)
#define bpf_target_riscv
#define bpf_target_defined
struct pt_regs___riscv {
	unsigned long orig_a0;
} __attribute__((preserve_access_index));
#define ___bpf_regs const struct user_regs_struct
#define ___bpf_reg1 a0
#define ___bpf_reg2 a1
#define ___bpf_reg3 a2
#define ___bpf_reg4 a3
#define ___bpf_reg5 a4
#define ___bpf_reg6 a5
#define ___bpf_reg7 a6
#define ___bpf_reg8 a7
#define ___bpf_reg_ret ra
#define ___bpf_reg_fp s0
#define ___bpf_reg_rc a0
#define ___bpf_reg_sp sp
#define ___bpf_reg_ip pc
#define ___bpf_sysregs1 const struct pt_regs___riscv
#define ___bpf_sysreg1 orig_a0

#elif defined(__TARGET_ARCH_s390)
#define bpf_target_s390
#define bpf_target_defined
struct pt_regs___s390 {
	unsigned long orig_gpr2;
} __attribute__((preserve_access_index));
#define ___bpf_regs const user_pt_regs
#define ___bpf_reg1 gprs[2]
#define ___bpf_reg2 gprs[3]
#define ___bpf_reg3 gprs[4]
#define ___bpf_reg4 gprs[5]
#define ___bpf_reg5 gprs[6]
#define ___bpf_reg_ret gprs[14]
#define ___bpf_reg_fp gprs[11]
#define ___bpf_reg_rc gprs[2]
#define ___bpf_reg_sp gprs[15]
#define ___bpf_reg_ip psw.addr
#define ___bpf_sysregs1 const struct pt_regs___s390
#define ___bpf_sysreg1 orig_gpr2
/* The sixth of a system call is in a register, that of a function on the stack. */
#define ___bpf_sysreg6 gprs[7]
#endif

struct pt_regs;

#ifdef bpf_target_defined

/* What a function has no register for. */
#ifndef ___bpf_reg6
#define ___bpf_reg6 ___bpf_argument_6_is_not_in_a_register
#endif
#ifndef ___bpf_reg7
#define ___bpf_reg7 ___bpf_argument_7_is_not_in_a_register
#define ___bpf_reg8 ___bpf_argument_8_is_not_in_a_register
#endif

#ifndef ___bpf_sysregs1
#define ___bpf_sysregs1 ___bpf_regs
#define ___bpf_sysreg1 ___bpf_reg1
#endif
#ifndef ___bpf_sysreg4
#define ___bpf_sysreg4 ___bpf_reg4
#endif
#ifndef ___bpf_sysreg6
#define ___bpf_sysreg6 ___bpf_reg6
#endif

/* In the program's context, and by a helper from anywhere, relocated. */
#define ___bpf_get(regs, x, reg) (((regs *)(x))->reg)
#define ___bpf_read(regs, x, reg) BPF_CORE_READ((regs *)(x), reg)

/* The same by the names that programs use whose own macros go by register. */
#define __PT_REGS_CAST(x) ((___bpf_regs *)(x))
#define __PT_PARM1_REG ___bpf_reg1
#define __PT_PARM2_REG ___bpf_reg2
#define __PT_PARM3_REG ___bpf_reg3
#define __PT_PARM4_REG ___bpf_reg4
#define __PT_PARM5_REG ___bpf_reg5
#define __PT_PARM6_REG ___bpf_reg6
#define __PT_PARM7_REG ___bpf_reg7
#define __PT_PARM8_REG ___bpf_reg8
#define __PT_RET_REG ___bpf_reg_ret
#define __PT_FP_REG ___bpf_reg_fp
#define __PT_RC_REG ___bpf_reg_rc
#define __PT_SP_REG ___bpf_reg_sp
#define __PT_IP_REG ___bpf_reg_ip
#define __PT_PARM1_SYSCALL_REG ___bpf_sysreg1
#define __PT_PARM2_SYSCALL_REG ___bpf_reg2
#define __PT_PARM3_SYSCALL_REG ___bpf_reg3
#define __PT_PARM4_SYSCALL_REG ___bpf_sysreg4
#define __PT_PARM5_SYSCALL_REG ___bpf_reg5
#define __PT_PARM6_SYSCALL_REG ___bpf_sysreg6
#define __PT_PARM7_SYSCALL_REG ___bpf_reg7

#define PT_REGS_PARM1(x) ___bpf_get(___bpf_regs, x, ___bpf_reg1)
#define PT_REGS_PARM2(x) ___bpf_get(___bpf_regs, x, ___bpf_reg2)
#define PT_REGS_PARM3(x) ___bpf_get(___bpf_regs, x, ___bpf_reg3)
#define PT_REGS_PARM4(x) ___bpf_get(___bpf_regs, x, ___bpf_reg4)
#define PT_REGS_PARM5(x) ___bpf_get(___bpf_regs, x, ___bpf_reg5)
#define PT_REGS_PARM6(x) ___bpf_get(___bpf_regs, x, ___bpf_reg6)
#define PT_REGS_PARM7(x) ___bpf_get(___bpf_regs, x, ___bpf_reg7)
#define PT_REGS_PARM8(x) ___bpf_get(___bpf_regs, x, ___bpf_reg8)
#define PT_REGS_RET(x) ___bpf_get(___bpf_regs, x, ___bpf_reg_ret)
#define PT_REGS_FP(x) ___bpf_get(___bpf_regs, x, ___bpf_reg_fp)
#define PT_REGS_RC(x) ___bpf_get(___bpf_regs, x, ___bpf_reg_rc)
#define PT_REGS_SP(x) ___bpf_get(___bpf_regs, x, ___bpf_reg_sp)
#define PT_REGS_IP(x) ___bpf_get(___bpf_regs, x, ___bpf_reg_ip)

#define PT_REGS_PARM1_CORE(x) ___bpf_read(___bpf_regs, x, ___bpf_reg1)
#define PT_REGS_PARM2_CORE(x) ___bpf_read(___bpf_regs, x, ___bpf_reg2)
#define PT_REGS_PARM3_CORE(x) ___bpf_read(___bpf_regs, x, ___bpf_reg3)
#define PT_REGS_PARM4_CORE(x) ___bpf_read(___bpf_regs, x, ___bpf_reg4)
#define PT_REGS_PARM5_CORE(x) ___bpf_read(___bpf_regs, x, ___bpf_reg5)
#define PT_REGS_PARM6_CORE(x) ___bpf_read(___bpf_regs, x, ___bpf_reg6)
#define PT_REGS_PARM7_CORE(x) ___bpf_read(___bpf_regs, x, ___bpf_reg7)
#define PT_REGS_PARM8_CORE(x) ___bpf_read(___bpf_regs, x, ___bpf_reg8)
#define PT_REGS_RET_CORE(x) ___bpf_read(___bpf_regs, x, ___bpf_reg_ret)
#define PT_REGS_FP_CORE(x) ___bpf_read(___bpf_regs, x, ___bpf_reg_fp)
#define PT_REGS_RC_CORE(x) ___bpf_read(___bpf_regs, x, ___bpf_reg_rc)
#define PT_REGS_SP_CORE(x) ___bpf_read(___bpf_regs, x, ___bpf_reg_sp)
#define PT_REGS_IP_CORE(x) ___bpf_read(___bpf_regs, x, ___bpf_reg_ip)

/* The arguments of a system call, in the registers that PT_REGS_SYSCALL_REGS gives. */
#define PT_REGS_PARM1_SYSCALL(x) ___bpf_get(___bpf_sysregs1, x, ___bpf_sysreg1)
#define PT_REGS_PARM2_SYSCALL(x) ___bpf_get(___bpf_regs, x, ___bpf_reg2)
#define PT_REGS_PARM3_SYSCALL(x) ___bpf_get(___bpf_regs, x, ___bpf_reg3)
#define PT_REGS_PARM4_SYSCALL(x) ___bpf_get(___bpf_regs, x, ___bpf_sysreg4)
#define PT_REGS_PARM5_SYSCALL(x) ___bpf_get(___bpf_regs, x, ___bpf_reg5)
#define PT_REGS_PARM6_SYSCALL(x) ___bpf_get(___bpf_regs, x, ___bpf_sysreg6)
#define PT_REGS_PARM7_SYSCALL(x) ___bpf_get(___bpf_regs, x, ___bpf_reg7)
#define PT_REGS_PARM1_CORE_SYSCALL(x) ___bpf_read(___bpf_sysregs1, x, ___bpf_sysreg1)
#define PT_REGS_PARM2_CORE_SYSCALL(x) ___bpf_read(___bpf_regs, x, ___bpf_reg2)
#define PT_REGS_PARM3_CORE_SYSCALL(x) ___bpf_read(___bpf_regs, x, ___bpf_reg3)
#define PT_REGS_PARM4_CORE_SYSCALL(x) ___bpf_read(___bpf_regs, x, ___bpf_sysreg4)
#define PT_REGS_PARM5_CORE_SYSCALL(x) ___bpf_read(___bpf_regs, x, ___bpf_reg5)
#define PT_REGS_PARM6_CORE_SYSCALL(x) ___bpf_read(___bpf_regs, x, ___bpf_sysreg6)
#define PT_REGS_PARM7_CORE_SYSCALL(x) ___bpf_read(___bpf_regs, x, ___bpf_reg7)

/* In a kprobe of a system call's handler, where the handler gets its registers by a pointer. */
#define PT_REGS_SYSCALL_REGS(ctx) ((struct pt_regs *)PT_REGS_PARM1(ctx))

/* Where a function returns to: at its first instruction, and at its return. */
#if defined(bpf_target_x86)
#define BPF_KPROBE_READ_RET_IP(ip, ctx)                                                            \
	({ bpf_probe_read_kernel(&(ip), sizeof(ip), (void *)PT_REGS_RET(ctx)); })
#define BPF_KRETPROBE_READ_RET_IP(ip, ctx)                                                         \
	({ bpf_probe_read_kernel(&(ip), sizeof(ip), (void *)(PT_REGS_FP(ctx) + sizeof(ip))); })
#else
#define BPF_KPROBE_READ_RET_IP(ip, ctx) ({ (ip) = PT_REGS_RET(ctx); })
#define BPF_KRETPROBE_READ_RET_IP BPF_KPROBE_READ_RET_IP
#endif

#else

#define ___bpf_no_target                                                                           \
	({                                                                                         \
		_Pragma("GCC error \"define __TARGET_ARCH_x86, _arm64, _riscv or _s390\"") 0l;     \
	})
#define PT_REGS_PARM1(x) ___bpf_no_target
#define PT_REGS_PARM1_CORE(x) ___bpf_no_target
#define PT_REGS_PARM2(x) ___bpf_no_target
#define PT_REGS_PARM2_CORE(x) ___bpf_no_target
#define PT_REGS_PARM3(x) ___bpf_no_target
#define PT_REGS_PARM3_CORE(x) ___bpf_no_target
#define PT_REGS_PARM4(x) ___bpf_no_target
#define PT_REGS_PARM4_CORE(x) ___bpf_no_target
#define PT_REGS_PARM5(x) ___bpf_no_target
#define PT_REGS_PARM5_CORE(x) ___bpf_no_target
#define PT_REGS_PARM6(x) ___bpf_no_target
#define PT_REGS_PARM6_CORE(x) ___bpf_no_target
#define PT_REGS_PARM7(x) ___bpf_no_target
#define PT_REGS_PARM7_CORE(x) ___bpf_no_target
#define PT_REGS_PARM8(x) ___bpf_no_target
#define PT_REGS_PARM8_CORE(x) ___bpf_no_target
#define PT_REGS_PARM1_SYSCALL(x) ___bpf_no_target
#define PT_REGS_PARM1_CORE_SYSCALL(x) ___bpf_no_target
#define PT_REGS_PARM2_SYSCALL(x) ___bpf_no_target
#define PT_REGS_PARM2_CORE_SYSCALL(x) ___bpf_no_target
#define PT_REGS_PARM3_SYSCALL(x) ___bpf_no_target
#define PT_REGS_PARM3_CORE_SYSCALL(x) ___bpf_no_target
#define PT_REGS_PARM4_SYSCALL(x) ___bpf_no_target
#define PT_REGS_PARM4_CORE_SYSCALL(x) ___bpf_no_target
#define PT_REGS_PARM5_SYSCALL(x) ___bpf_no_target
#define PT_REGS_PARM5_CORE_SYSCALL(x) ___bpf_no_target
#define PT_REGS_PARM6_SYSCALL(x) ___bpf_no_target
#define PT_REGS_PARM6_CORE_SYSCALL(x) ___bpf_no_target
#define PT_REGS_PARM7_SYSCALL(x) ___bpf_no_target
#define PT_REGS_PARM7_CORE_SYSCALL(x) ___bpf_no_target
#define PT_REGS_RET(x) ___bpf_no_target
#define PT_REGS_RET_CORE(x) ___bpf_no_target
#define PT_REGS_FP(x) ___bpf_no_target
#define PT_REGS_FP_CORE(x) ___bpf_no_target
#define PT_REGS_RC(x) ___bpf_no_target
#define PT_REGS_RC_CORE(x) ___bpf_no_target
#define PT_REGS_SP(x) ___bpf_no_target
#define PT_REGS_SP_CORE(x) ___bpf_no_target
#define PT_REGS_IP(x) ___bpf_no_target
#define PT_REGS_IP_CORE(x) ___bpf_no_target
#define PT_REGS_SYSCALL_REGS(ctx) ((struct pt_regs *)___bpf_no_target)
#define BPF_KPROBE_READ_RET_IP(ip, ctx) ___bpf_no_target
#define BPF_KRETPROBE_READ_RET_IP(ip, ctx) ___bpf_no_target

#endif

/* Programs with named arguments: int BPF_PROG(on_exit, struct task_struct *task) { ... }
 *
 * The kernel calls a function of one argument, `ctx`. This is the one that gets the name and the
 * section; it calls the body, an inline function of the arguments that were written, with
 * `value(1)`, `value(2)`, ... for them. These are pointers, which C converts to whatever an
 * argument is, if it is told not to mind.
 */

#define ___bpf_list0(value)
#define ___bpf_list1(value) , value(1)
#define ___bpf_list2(value) ___bpf_list1(value), value(2)
#define ___bpf_list3(value) ___bpf_list2(value), value(3)
#define ___bpf_list4(value) ___bpf_list3(value), value(4)
#define ___bpf_list5(value) ___bpf_list4(value), value(5)
#define ___bpf_list6(value) ___bpf_list5(value), value(6)
#define ___bpf_list7(value) ___bpf_list6(value), value(7)
#define ___bpf_list8(value) ___bpf_list7(value), value(8)
#define ___bpf_list9(value) ___bpf_list8(value), value(9)
#define ___bpf_list10(value) ___bpf_list9(value), value(10)
#define ___bpf_list11(value) ___bpf_list10(value), value(11)
#define ___bpf_list12(value) ___bpf_list11(value), value(12)

#define ___bpf_entry(name, context, value, args...)                                                \
	name(context *ctx);                                                                        \
	static __always_inline typeof(name(0)) ____##name(context *ctx, ##args);                   \
	typeof(name(0)) name(context *ctx)                                                         \
	{                                                                                          \
		_Pragma("GCC diagnostic push")                                                     \
		_Pragma("GCC diagnostic ignored \"-Wint-conversion\"")                             \
		return ____##name(ctx ___bpf_apply(___bpf_list, ___bpf_narg(args))(value));        \
		_Pragma("GCC diagnostic pop")                                                      \
	}                                                                                          \
	static __always_inline typeof(name(0)) ____##name(context *ctx, ##args)

/* fentry, fexit, fmod_ret, LSM, tp_btf, raw_tp, struct_ops: an array of 64-bit values. */
#define ___bpf_slot(n) (void *)ctx[(n) - 1]
#define BPF_PROG(name, args...) ___bpf_entry(name, unsigned long long, ___bpf_slot, ##args)

/* The same for functions that take structs by value, of up to two 64-bit values each. Types and
 * names are arguments of their own: int BPF_PROG2(name, struct pair, first, int, second) { ... }
 */

#define ___bpf_nth2(_0, _1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16,     \
		    _17, _18, _19, _20, _21, _22, _23, _24, found, ...)                            \
	found
#define ___bpf_npairs(...)                                                                         \
	___bpf_nth2(_, ##__VA_ARGS__, 12, 12, 11, 11, 10, 10, 9, 9, 8, 8, 7, 7, 6, 6, 5, 5, 4, 4,  \
		    3, 3, 2, 2, 1, 1, 0)

#define ___bpf_slots(kind) ((sizeof(kind) + 7) / 8)
/* A small integer is the low part of its slot, which a big-endian machine has at the end. */
#define ___bpf_take(kind, at)                                                                      \
	({                                                                                         \
		_Static_assert(sizeof(kind) <= 16, #kind " is passed by address");                 \
		union {                                                                            \
			kind value;                                                                \
			__u8 one;                                                                  \
			__u16 two;                                                                 \
			__u32 four;                                                                \
			__u64 slots[2];                                                            \
		} ___bpf_argument;                                                                 \
		switch (sizeof(kind)) {                                                            \
		case 1:                                                                            \
			___bpf_argument.one = ctx[at];                                             \
			break;                                                                     \
		case 2:                                                                            \
			___bpf_argument.two = ctx[at];                                             \
			break;                                                                     \
		case 4:                                                                            \
			___bpf_argument.four = ctx[at];                                            \
			break;                                                                     \
		default:                                                                           \
			___bpf_argument.slots[0] = ctx[at];                                        \
			if (sizeof(kind) > 8)                                                      \
				___bpf_argument.slots[1] = ctx[(at) + 1];                          \
		}                                                                                  \
		___bpf_argument.value;                                                             \
	})

#define ___bpf_named0()
#define ___bpf_named1(kind, name) , kind name
#define ___bpf_named2(kind, name, rest...) , kind name ___bpf_named1(rest)
#define ___bpf_named3(kind, name, rest...) , kind name ___bpf_named2(rest)
#define ___bpf_named4(kind, name, rest...) , kind name ___bpf_named3(rest)
#define ___bpf_named5(kind, name, rest...) , kind name ___bpf_named4(rest)
#define ___bpf_named6(kind, name, rest...) , kind name ___bpf_named5(rest)
#define ___bpf_named7(kind, name, rest...) , kind name ___bpf_named6(rest)
#define ___bpf_named8(kind, name, rest...) , kind name ___bpf_named7(rest)
#define ___bpf_named9(kind, name, rest...) , kind name ___bpf_named8(rest)
#define ___bpf_named10(kind, name, rest...) , kind name ___bpf_named9(rest)
#define ___bpf_named11(kind, name, rest...) , kind name ___bpf_named10(rest)
#define ___bpf_named12(kind, name, rest...) , kind name ___bpf_named11(rest)

#define ___bpf_taken0(at)
#define ___bpf_taken1(at, kind, name) , ___bpf_take(kind, at)
#define ___bpf_taken2(at, kind, name, rest...) , ___bpf_take(kind, at) \
	___bpf_taken1((at) + ___bpf_slots(kind), rest)
#define ___bpf_taken3(at, kind, name, rest...) , ___bpf_take(kind, at) \
	___bpf_taken2((at) + ___bpf_slots(kind), rest)
#define ___bpf_taken4(at, kind, name, rest...) , ___bpf_take(kind, at) \
	___bpf_taken3((at) + ___bpf_slots(kind), rest)
#define ___bpf_taken5(at, kind, name, rest...) , ___bpf_take(kind, at) \
	___bpf_taken4((at) + ___bpf_slots(kind), rest)
#define ___bpf_taken6(at, kind, name, rest...) , ___bpf_take(kind, at) \
	___bpf_taken5((at) + ___bpf_slots(kind), rest)
#define ___bpf_taken7(at, kind, name, rest...) , ___bpf_take(kind, at) \
	___bpf_taken6((at) + ___bpf_slots(kind), rest)
#define ___bpf_taken8(at, kind, name, rest...) , ___bpf_take(kind, at) \
	___bpf_taken7((at) + ___bpf_slots(kind), rest)
#define ___bpf_taken9(at, kind, name, rest...) , ___bpf_take(kind, at) \
	___bpf_taken8((at) + ___bpf_slots(kind), rest)
#define ___bpf_taken10(at, kind, name, rest...) , ___bpf_take(kind, at) \
	___bpf_taken9((at) + ___bpf_slots(kind), rest)
#define ___bpf_taken11(at, kind, name, rest...) , ___bpf_take(kind, at) \
	___bpf_taken10((at) + ___bpf_slots(kind), rest)
#define ___bpf_taken12(at, kind, name, rest...) , ___bpf_take(kind, at) \
	___bpf_taken11((at) + ___bpf_slots(kind), rest)

#define ___bpf_body2(name, args...)                                                                \
	static __always_inline typeof(name(0)) ____##name(                                         \
		unsigned long long *ctx ___bpf_apply(___bpf_named, ___bpf_npairs(args))(args))
#define BPF_PROG2(name, args...)                                                                   \
	name(unsigned long long *ctx);                                                             \
	___bpf_body2(name, ##args);                                                                \
	typeof(name(0)) name(unsigned long long *ctx)                                              \
	{                                                                                          \
		return ____##name(                                                                 \
			ctx ___bpf_apply(___bpf_taken, ___bpf_npairs(args))(0, ##args));           \
	}                                                                                          \
	___bpf_body2(name, ##args)

/* kprobes and uprobes */
#define ___bpf_parm(n) (void *)PT_REGS_PARM##n(ctx)
#define BPF_KPROBE(name, args...) ___bpf_entry(name, struct pt_regs, ___bpf_parm, ##args)
#define BPF_UPROBE(name, args...) BPF_KPROBE(name, ##args)

/* their returns: one argument, or none */
#define ___bpf_result(n) (void *)PT_REGS_RC(ctx)
#define BPF_KRETPROBE(name, args...) ___bpf_entry(name, struct pt_regs, ___bpf_result, ##args)
#define BPF_URETPROBE(name, args...) BPF_KRETPROBE(name, ##args)

/* kprobes of system calls: whether the handlers get their registers by a pointer is known when
 * the program is loaded. */
extern _Bool LINUX_HAS_SYSCALL_WRAPPER __kconfig;
#define ___bpf_sysparm(n)                                                                          \
	(void *)(LINUX_HAS_SYSCALL_WRAPPER                                                         \
			 ? PT_REGS_PARM##n##_CORE_SYSCALL(PT_REGS_SYSCALL_REGS(ctx))               \
			 : PT_REGS_PARM##n##_SYSCALL(ctx))
#define BPF_KSYSCALL(name, args...) ___bpf_entry(name, struct pt_regs, ___bpf_sysparm, ##args)
#define BPF_KPROBE_SYSCALL BPF_KSYSCALL

#endif
