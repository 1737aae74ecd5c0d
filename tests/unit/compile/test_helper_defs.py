"""bpf/bpf_helper_defs.h against the header of the kernel at hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ebpf
from ebpf.asm.helpers import Helper
from tests.helper_defs import HEADER, prototypes

KERNEL = Path("/usr/include/linux/bpf.h")
DECLARED = {
    match[2]: (match[1].strip(), match[3], int(match[4]))
    for match in re.finditer(
        r"^static (.*)\(\*const (\w+)\)\((.*)\) = \(void \*\)(\d+);$",
        HEADER.read_text("utf-8"),
        re.MULTILINE,
    )
}
STRICT = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"]
X86 = "__TARGET_ARCH_x86"
EVERYTHING = """
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>
enum number { ONE = 1 };
struct bpf_iter_num { __u64 opaque[1]; } __attribute__((aligned(8)));
struct inner {
	struct inner *next; int one[4]; unsigned int three : 3; long long four : 4; int last;
};
char out[64];
long seen;
SEC("socket") int loops(void *ctx)
{
	int i, *one;
	bpf_for(i, 0, 4) seen += i;
	bpf_repeat(3) seen++;
	bpf_for_each(num, one, 0, 3) seen += *one;
	return 0;
}
SEC("raw_tp") int BPF_PROG(core, struct inner *inner, long number)
{
	struct inner copy = {};
	bpf_printk("%d %ld", inner->last, number);
	bpf_printk("%d %d %d %d", 1, 2, 3, 4);
	BPF_SNPRINTF(out, sizeof(out), "%d %d", 1, 2);
	BPF_CORE_READ_INTO(&copy.last, inner, next, next, last);
	BPF_CORE_READ_STR_INTO(&out, inner, next, one);
	BPF_PROBE_READ_USER_INTO(&copy.last, inner, next, last);
	bpf_core_read(&copy, sizeof(copy), inner);
	BPF_CORE_WRITE_BITFIELD(&copy, three, 2);
	seen = BPF_CORE_READ(inner, next, last) + BPF_CORE_READ_USER(inner, next, last);
	seen += BPF_PROBE_READ(inner, next, last) + BPF_CORE_READ_BITFIELD_PROBED(inner, four);
	seen += BPF_CORE_READ_BITFIELD(&copy, three) + __CORE_RELO(inner, last, BYTE_OFFSET);
	seen += bpf_core_field_exists(inner->last) + bpf_core_field_size(struct inner, last);
	seen += bpf_core_type_exists(struct inner) + bpf_core_type_size(struct inner);
	seen += bpf_core_type_id_kernel(struct inner) + bpf_core_enum_value(enum number, ONE);
	seen += bpf_core_enum_value_exists(enum number, ONE) + offsetof(struct inner, last);
	seen += container_of(&inner->one[1], struct inner, one[1]) == inner;
	seen += container_of(number, struct inner, last)->last;
	return 0;
}
SEC("kprobe/nothing") int BPF_KPROBE(probe, int first, void *second)
{
	seen = first + (long)second + PT_REGS_PARM6(ctx) + PT_REGS_PARM3_CORE(ctx) + PT_REGS_IP(ctx);
	seen += __PT_REGS_CAST(ctx)->__PT_PARM1_REG + __PT_REGS_CAST(ctx)->__PT_RC_REG;
	seen += __PT_REGS_CAST(ctx)->__PT_PARM4_SYSCALL_REG + __PT_REGS_CAST(ctx)->__PT_SP_REG;
	return 0;
}
SEC("kretprobe/nothing") int BPF_KRETPROBE(probe_return, long result) { return result; }
SEC("ksyscall/getpid") int BPF_KSYSCALL(call, int first, char *second)
{
	return first + !second;
}
SEC("fentry/nothing") int BPF_PROG2(pair, int, first, char, second) { return first + second; }
SEC("usdt") int BPF_USDT(traced, int first, void *second)
{
	long third;
	if (bpf_usdt_arg(ctx, 2, &third) == -ENOENT || bpf_usdt_arg_cnt(ctx) == -ESRCH)
		return -EINVAL;
	return first + !second + bpf_usdt_cookie(ctx) + bpf_usdt_arg_size(ctx, 1) + third;
}
"""


def test_every_helper_is_declared_by_its_number() -> None:
    """A call would be of another helper, or not compile."""
    numbers = {name.removeprefix("bpf_").upper(): one[2] for name, one in DECLARED.items()}
    assert numbers == {helper.name: int(helper) for helper in Helper}


@pytest.mark.skipif(not KERNEL.exists(), reason="no linux/bpf.h")
def test_prototypes_are_the_kernels() -> None:
    """An argument would be missing, or a number be where a pointer belongs."""
    described = prototypes(KERNEL.read_text("utf-8"))
    assert len(described) > 150
    for name, (_, arguments) in described.items():
        # Names, const and widths of integers have changed from release to release.
        theirs, ours = (
            [re.findall(r"\*|\.\.\.", one) for one in text.split(",")]
            for text in (arguments, DECLARED[name][1])
        )
        assert ours == theirs, name


@pytest.mark.parametrize("types", ["<linux/bpf.h>", None])
def test_headers_compile_without_a_warning(clang: str, types: str | None) -> None:
    """A program with -Werror would not compile with these headers."""
    own = "\n".join(
        f"typedef {kind} __{name}; typedef __{name} {name};"
        for name, kind in (
            *(("u8", "unsigned char"), ("u16", "unsigned short"), ("u32", "unsigned int")),
            *(("u64", "unsigned long long"), ("s8", "signed char"), ("s16", "short")),
            *(("s32", "int"), ("s64", "long long")),
        )
    )
    own += "\ntypedef __u16 __be16; typedef __u32 __be32, __wsum;"
    source = (f"#include {types}" if types else own) + (
        "\n#include <bpf/bpf_helpers.h>\n#include <bpf/bpf_endian.h>\n"
        'SEC("socket") int run(void *ctx) { return bpf_get_prandom_u32(); }\n'
    )
    assert list(ebpf.compile_c(source, flags=STRICT, compiler=clang).programs) == ["run"]


@pytest.mark.skipif(not KERNEL.exists(), reason="no linux/bpf.h")
def test_macros_expand_without_a_warning(clang: str) -> None:
    """A program with -Werror would compile until it uses a macro, or miss what libbpf's headers
    bring along: the numbers of errors, and registers by the names that own macros are made of."""
    spec = ebpf.compile_c(EVERYTHING, flags=STRICT, defines={X86: None}, compiler=clang)
    assert len(spec.programs) == EVERYTHING.count("\nSEC(")
