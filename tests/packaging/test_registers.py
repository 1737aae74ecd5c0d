"""`asm.PtRegs`, against what C compilers and the kernel's headers for each machine say."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ebpf import AsmError, asm
from ebpf.asm import R0, R1, R10
from ebpf.plain import NamedTuple
from tests.packaging.conftest import run


class Machine(NamedTuple):
    """What C calls the registers, by their names in assembly, and a few by what they are for.

    `type` is the struct of uapi asm/ptrace.h (asm/processor.h for s390x) that user space sees of
    ``struct pt_regs``; `first` is where the first argument of a system call is kept.
    """

    type: str
    member: str
    first: str
    others: tuple[str, ...]
    result: str
    instruction_pointer: str
    stack_pointer: str
    frame_pointer: str


MACHINES = {
    "x86_64": Machine(
        "struct pt_regs", r"r\w+", "offsetof(T, rdi)", ("rsi", "rdx", "r10", "r8", "r9"),
        "rax", "rip", "rsp", "rbp",
    ),
    "aarch64": Machine(
        "struct user_pt_regs", r"regs[\1]", "sizeof(T)", ("x1", "x2", "x3", "x4", "x5"),
        "x0", "pc", "sp", "x29",
    ),
    # The kernel has three registers of its own between: status, badaddr and cause.
    "riscv64": Machine(
        "struct user_regs_struct", r"a\d", "sizeof(T) + 24", ("a1", "a2", "a3", "a4", "a5"),
        "a0", "pc", "sp", "s0",
    ),
    "s390x": Machine(
        "user_pt_regs", r"gprs[\1]", "sizeof(T)", ("r3", "r4", "r5", "r6", "r7"),
        "r2", "psw.addr", "r15", "r11",
    ),
}  # fmt: skip

# More than any machine has registers for.
MOST = 9


def compiler(machine: str) -> str:
    name = "gcc" if machine == platform.machine() else f"{machine}-linux-gnu-gcc"
    if shutil.which(name) is None:
        pytest.skip(f"no {name} (gcc-{machine.replace('_', '-')}-linux-gnu)")
    return name


def field(machine: str, register: str) -> str:
    """The member that has the register ``x3``, ``r5``: most are elements of an array."""
    member = MACHINES[machine].member
    return re.sub(r"^[xr](\d+)$", member, register) if "[" in member else register


def registers_of_arguments(machine: str) -> list[str]:
    """Where the compiler takes each argument of a function from that returns it."""
    declared = ", ".join(f"long a{n}" for n in range(MOST))
    source = "".join(f"long f{n}({declared}) {{ return a{n}; }}\n" for n in range(MOST))
    command = [compiler(machine), "-O2", "-S", "-x", "c", "-", "-o", "-"]
    text = subprocess.run(command, input=source, check=True, capture_output=True, text=True).stdout
    found = []
    for n in range(MOST):
        body = text.split(f"\nf{n}:")[1].split(".size")[0]
        # What is on the stack has parentheses or brackets; what is in its place needs no move.
        move = re.search(r"^\s+(?:mov|movq|mv|lgr)\s+%?(\w+),\s*%?(\w+)$", body, re.MULTILINE)
        if move is not None:
            found.append(move[1 if machine == "x86_64" else 2])
        elif n == 0:
            found.append(MACHINES[machine].result)
    return found


@pytest.mark.parametrize("machine", MACHINES)
def test_registers_are_where_c_has_them(machine: str, tmp_path: Path) -> None:
    """A program for another machine reads another argument, or half of two."""
    there, regs = MACHINES[machine], asm.PtRegs(machine)
    arguments = registers_of_arguments(machine)
    wanted = [
        (field(machine, name), regs.argument(R0, R1, number)[0].offset)
        for number, name in enumerate(arguments)
    ]
    with pytest.raises(AsmError, match=f"has {len(arguments)} in registers"):
        regs.argument(R0, R1, len(arguments))
    wanted += [
        (field(machine, there.result), regs.result(R0, R1)[0].offset),
        (there.instruction_pointer, regs.instruction_pointer(R0, R1)[0].offset),
        (field(machine, there.stack_pointer), regs.stack_pointer(R0, R1)[0].offset),
        (field(machine, there.frame_pointer), regs.frame_pointer(R0, R1)[0].offset),
    ]
    system_call = [regs.system_call_argument(R0, R1, number, buffer=R10 - 8) for number in range(6)]
    offsets = [code[1].imm for code in system_call]
    wanted += [(field(machine, n), at) for n, at in zip(there.others, offsets[1:], strict=True)]
    lines = ["#include <stddef.h>", "#include <asm/ptrace.h>", f"typedef {there.type} T;"]
    lines += [f'_Static_assert(offsetof(T, {name}) == {at}, "{name}");' for name, at in wanted]
    lines.append(f'_Static_assert({there.first} == {offsets[0]}, "first");')
    source = tmp_path / "registers.c"
    source.write_text("\n".join(lines) + "\n")
    run(compiler(machine), "-c", source, "-o", tmp_path / "registers.o")
