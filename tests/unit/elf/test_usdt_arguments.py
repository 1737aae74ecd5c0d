"""Operands of USDT probes, as compilers write them for each architecture."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf.elf.usdt_arguments import (
    EM_AARCH64,
    EM_RISCV,
    EM_S390,
    EM_X86_64,
    REGISTERS,
    ArgumentKind,
    UsdtArgument,
    parse_arguments,
)
from ebpf.errors import FormatError

CONST, REG, DEREF, SIB = ArgumentKind

# Offsets are those of struct pt_regs in the uapi's asm/ptrace.h of each architecture.
CASES = {
    (EM_X86_64, "-4@$-9"): UsdtArgument(CONST, 4, True, -9),
    (EM_X86_64, "8@$0x10"): UsdtArgument(CONST, 8, False, 16),
    (EM_X86_64, "8@%rax"): UsdtArgument(REG, 8, False, 0, 80),
    (EM_X86_64, "-1@%bl"): UsdtArgument(REG, 1, True, 0, 40),
    (EM_X86_64, "2@%r10w"): UsdtArgument(REG, 2, False, 0, 56),
    (EM_X86_64, "1@%sil"): UsdtArgument(REG, 1, False, 0, 104),
    (EM_X86_64, "-4@-1204(%rbp)"): UsdtArgument(DEREF, 4, True, -1204, 32),
    (EM_X86_64, "8@(%rsp)"): UsdtArgument(DEREF, 8, False, 0, 152),
    (EM_X86_64, "-1@-96(%rbp,%rax,8)"): UsdtArgument(SIB, 1, True, -96, 32, 80, 8),
    (EM_X86_64, "8@(%rdx,%rcx)"): UsdtArgument(SIB, 8, False, 0, 96, 88, 1),
    (EM_AARCH64, "-4@7"): UsdtArgument(CONST, 4, True, 7),
    (EM_AARCH64, "8@x19"): UsdtArgument(REG, 8, False, 0, 152),
    (EM_AARCH64, "4@w3"): UsdtArgument(REG, 4, False, 0, 24),
    (EM_AARCH64, "-4@[sp, 60]"): UsdtArgument(DEREF, 4, True, 60, 248),
    (EM_AARCH64, "8@[x29,-8]"): UsdtArgument(DEREF, 8, False, -8, 232),
    (EM_AARCH64, "8@[x0]"): UsdtArgument(DEREF, 8, False, 0, 0),
    (EM_RISCV, "-8@-17"): UsdtArgument(CONST, 8, True, -17),
    (EM_RISCV, "8@a0"): UsdtArgument(REG, 8, False, 0, 80),
    (EM_RISCV, "8@s1"): UsdtArgument(REG, 8, False, 0, 72),
    (EM_RISCV, "8@t6"): UsdtArgument(REG, 8, False, 0, 248),
    (EM_RISCV, "-4@-20(s0)"): UsdtArgument(DEREF, 4, True, -20, 64),
    (EM_S390, "-4@7"): UsdtArgument(CONST, 4, True, 7),
    (EM_S390, "8@%r2"): UsdtArgument(REG, 8, False, 0, 40),
    (EM_S390, "-4@164(%r15)"): UsdtArgument(DEREF, 4, True, 164, 144),
    (EM_S390, "8@8(%r1,%r2)"): UsdtArgument(SIB, 8, False, 8, 40, 32, 1),
}


@pytest.mark.parametrize(("machine", "text"), CASES, ids=lambda value: str(value))
def test_a_form(machine: int, text: str) -> None:
    """A program would read another register, place or width."""
    assert parse_arguments(text, machine) == [CASES[machine, text]]


@pytest.mark.parametrize("machine", {machine for machine, _ in CASES})
def test_several_arguments(machine: int) -> None:
    """One argument takes a part of the next, which matters where operands have spaces."""
    texts = [text for known, text in CASES if known == machine]
    expected = [CASES[machine, text] for text in texts]
    assert parse_arguments(" ".join(texts), machine) == expected
    assert parse_arguments(f"  {'   '.join(texts)} ", machine) == expected
    assert parse_arguments("", machine) == []


WRONG = [
    (EM_X86_64, "8f@%xmm0"),
    (EM_X86_64, "8@%xmm0"),
    (EM_X86_64, "3@%rax"),
    (EM_X86_64, "8@%ah"),
    (EM_X86_64, "8@variable(%rip)"),
    (EM_X86_64, "8@16(,%rax,8)"),
    (EM_X86_64, "%rax"),
    (EM_X86_64, "8@%raxx"),
    (EM_AARCH64, "8@d0"),
    (EM_AARCH64, "8@[x0, x1]"),
    (EM_RISCV, "8@fa0"),
    (EM_S390, "8@%f0"),
    (40, "4@r0"),
]


@pytest.mark.parametrize(("machine", "text"), WRONG)
def test_a_form_that_no_program_can_read(machine: int, text: str) -> None:
    """It would be taken for something else; the error has the whole text."""
    with pytest.raises(FormatError, match=re.escape(repr(text))):
        parse_arguments(text, machine)


@given(st.sampled_from(sorted(REGISTERS)), st.text(alphabet="-0189@$%()[], raxspw\n\0é"))
def test_any_text_is_parsed_or_refused(machine: int, text: str) -> None:
    """A probe's note may say anything; no other exception may come of it."""
    try:
        found = parse_arguments(text, machine)
    except FormatError:
        return
    assert text.count("@") == len(found)


# What gives each compiler's own answer about struct pt_regs.
PTRACE = {
    EM_X86_64: ("gcc", "pt_regs", {"%rax": "rax", "%r15": "r15", "%rsp": "rsp", "%rip": "rip"}),
    EM_AARCH64: ("aarch64-linux-gnu-gcc", "user_pt_regs", {"x30": "regs[30]", "sp": "sp"}),
    EM_RISCV: (
        "riscv64-linux-gnu-gcc",
        "user_regs_struct",
        {"a7": "a7", "s11": "s11", "t3": "t3", "s0": "s0", "tp": "tp", "ra": "ra"},
    ),
    EM_S390: ("s390x-linux-gnu-gcc", "user_regs_struct", {}),
}


@pytest.mark.parametrize("machine", [m for m, (_, _, names) in PTRACE.items() if names])
def test_offsets_are_those_of_the_headers(machine: int, tmp_path: Path) -> None:
    """Each register would be read as another one."""
    import shutil

    compiler, struct, members = PTRACE[machine]
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    checks = "".join(
        f"_Static_assert(offsetof(struct {struct}, {member}) =="
        f' {REGISTERS[machine][register]}, "{register}");\n'
        for register, member in members.items()
    )
    source = tmp_path / "offsets.c"
    source.write_text(f"#include <stddef.h>\n#include <asm/ptrace.h>\n{checks}")
    subprocess.run([compiler, "-fsyntax-only", str(source)], check=True)
