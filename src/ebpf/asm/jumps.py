"""Jumps, calls and exit (RFC 9669, section 4.3).

A `target` is the name of a label (or the label). Names without a number compare all 64 bits,
names that end in 32 the lower 32 bits. `src` is a register or an immediate: signed and
sign-extended to 64 bits, or -2**31..2**32-1 where 32 bits are compared.

Every function raises AsmError for an operand that the instruction cannot have. Whether the
target exists, and near enough, is known to `assemble`.
"""

from __future__ import annotations

from ebpf import opcodes as op
from ebpf.asm.helpers import Helper, helper_number
from ebpf.asm.instruction import Instruction, Label
from ebpf.asm.operands import (
    immediate,
    in_range,
    register,
    register_or_immediate,
    symbol_name,
    target_name,
)
from ebpf.asm.registers import Register

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import SupportsIndex

    Operand = Register | SupportsIndex
    Target = str | Label


def _jump(operation: int, bits: int, dst: Register, src: Operand, target: Target) -> Instruction:
    def check(name: str, value: object) -> int:
        return immediate(name, value, bits)

    opcode = operation | (op.JMP if bits == 64 else op.JMP32)
    number = register("dst", dst)
    by_register, operand = register_or_immediate("src", src, check)
    place = target_name("target", target)
    if by_register:
        return Instruction(opcode | op.X, number, operand, target=place)
    return Instruction(opcode | op.K, number, imm=operand, target=place)


def ja(target: Target) -> Instruction:
    """Jump to target, at most 32,768 slots away."""
    return Instruction(op.JMP | op.JA, target=target_name("target", target))


def ja32(target: Target) -> Instruction:
    """Jump to target, however far (gotol). Linux 6.6."""
    return Instruction(op.JA32, target=target_name("target", target))


def gotox(target: Register) -> Instruction:
    """Jump to the instruction that target points to, loaded from an INSN_ARRAY map. Linux 6.19."""
    return Instruction(op.JAX, register("target", target))


def may_goto(target: Target) -> Instruction:
    """Jump to target once the kernel's budget for this loop is used up. Linux 6.9."""
    return Instruction(op.JMP | op.JCOND, target=target_name("target", target))


def call(helper: str | Helper | int) -> Instruction:
    """Call a helper of the kernel: R0 = helper(R1, R2, R3, R4, R5).

    Args:
        helper: a name, with or without ``bpf_``; a `Helper`; or the number of one that this
            library does not know.
    """
    return Instruction(op.CALL_OPCODE, imm=helper_number(helper))


def call_local(target: Target) -> Instruction:
    """Call the function of this program that starts at target. Linux 4.16."""
    place = target_name("target", target)
    return Instruction(op.CALL_OPCODE, src=op.PSEUDO_CALL, target=place)


def call_kfunc(function: str | SupportsIndex, module: SupportsIndex = 0) -> Instruction:
    """Call a function of the kernel that is there for programs. Linux 5.13.

    Args:
        function: its name, which loading looks up in the BTF of the kernel and of its modules;
            or the id of its type in that BTF.
        module: with an id, the place of the module's BTF in fd_array (0: the kernel itself).
    """
    if isinstance(function, str):
        name = symbol_name("function", function)
        return Instruction(op.CALL_OPCODE, src=op.PSEUDO_KFUNC_CALL, symbol=name)
    number = in_range("function", function, 1, 2**31 - 1)
    place = in_range("module", module, 0, 2**15 - 1)
    return Instruction(op.CALL_OPCODE, src=op.PSEUDO_KFUNC_CALL, offset=place, imm=number)


def exit_() -> Instruction:
    """Return R0 to the caller."""
    return Instruction(op.EXIT_OPCODE)


def jeq(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst == src."""
    return _jump(op.JEQ, 64, dst, src, target)


def jeq32(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst == src (32 bits). Linux 5.1."""
    return _jump(op.JEQ, 32, dst, src, target)


def jne(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst != src."""
    return _jump(op.JNE, 64, dst, src, target)


def jne32(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst != src (32 bits). Linux 5.1."""
    return _jump(op.JNE, 32, dst, src, target)


def jgt(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst > src, unsigned."""
    return _jump(op.JGT, 64, dst, src, target)


def jgt32(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst > src, unsigned (32 bits). Linux 5.1."""
    return _jump(op.JGT, 32, dst, src, target)


def jge(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst >= src, unsigned."""
    return _jump(op.JGE, 64, dst, src, target)


def jge32(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst >= src, unsigned (32 bits). Linux 5.1."""
    return _jump(op.JGE, 32, dst, src, target)


def jlt(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst < src, unsigned. Linux 4.14."""
    return _jump(op.JLT, 64, dst, src, target)


def jlt32(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst < src, unsigned (32 bits). Linux 5.1."""
    return _jump(op.JLT, 32, dst, src, target)


def jle(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst <= src, unsigned. Linux 4.14."""
    return _jump(op.JLE, 64, dst, src, target)


def jle32(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst <= src, unsigned (32 bits). Linux 5.1."""
    return _jump(op.JLE, 32, dst, src, target)


def jset(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst & src."""
    return _jump(op.JSET, 64, dst, src, target)


def jset32(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst & src (32 bits). Linux 5.1."""
    return _jump(op.JSET, 32, dst, src, target)


def jsgt(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst > src, signed."""
    return _jump(op.JSGT, 64, dst, src, target)


def jsgt32(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst > src, signed (32 bits). Linux 5.1."""
    return _jump(op.JSGT, 32, dst, src, target)


def jsge(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst >= src, signed."""
    return _jump(op.JSGE, 64, dst, src, target)


def jsge32(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst >= src, signed (32 bits). Linux 5.1."""
    return _jump(op.JSGE, 32, dst, src, target)


def jslt(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst < src, signed. Linux 4.14."""
    return _jump(op.JSLT, 64, dst, src, target)


def jslt32(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst < src, signed (32 bits). Linux 5.1."""
    return _jump(op.JSLT, 32, dst, src, target)


def jsle(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst <= src, signed. Linux 4.14."""
    return _jump(op.JSLE, 64, dst, src, target)


def jsle32(dst: Register, src: Operand, target: Target) -> Instruction:
    """Jump to target if dst <= src, signed (32 bits). Linux 5.1."""
    return _jump(op.JSLE, 32, dst, src, target)
