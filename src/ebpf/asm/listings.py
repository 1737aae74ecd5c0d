"""Whole programs as text, in three styles, and one instruction as the kernel prints it.

The kernel's text is that of print_bpf_insn (kernel/bpf/disasm.c) in Linux 6.18, which the verifier
and bpftool use: ``(61) r1 = *(u32 *)(r2 +4)``.
"""

from __future__ import annotations

from ebpf import opcodes as op
from ebpf.asm.assemble import Assembly, assemble
from ebpf.asm.disassemble import disassemble
from ebpf.asm.helpers import Helper
from ebpf.asm.text import (
    ALU_SIGNS,
    ATOMIC_NAMES,
    ATOMIC_SIGNS,
    COMPARISONS,
    SIGNED_ALU_SIGNS,
    SIZES,
    SWAP_SIZES,
    format_instruction,
    has_reserved_fields,
    is_sign_extension,
    unknown_text,
)
from ebpf.errors import AsmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    from ebpf.asm.instruction import Instruction

    Style = Literal["llvm", "objdump", "kernel"]


def listing(
    program: bytes | bytearray | memoryview | Assembly | Iterable[object],
    *,
    style: Style = "llvm",
) -> str:
    """A program as text: one line for each instruction, with its slot; labels where they are known.

    `parse` reads every style back: the bytes are the same, but for the kind of reference of a
    64-bit load, which the kernel does not print.

    Args:
        program: bytes of this machine's byte order, an `Assembly`, or what `assemble` takes.
        style: "llvm" with decimal numbers, as llvm-mc; "objdump" with hexadecimal ones, as
            llvm-objdump; "kernel" as the verifier's log and ``bpftool prog dump xlated``.

    Raises:
        AsmError: a style that does not exist, or what `assemble` and `disassemble` raise.
    """
    if style not in _STYLES:
        raise AsmError(f"style must be {', '.join(map(repr, _STYLES))}, not {style!r}")
    if isinstance(program, (bytes, bytearray, memoryview)):
        instructions, names = disassemble(program), {}
    else:
        assembly = program if isinstance(program, Assembly) else assemble(program, check=False)
        instructions = list(assembly.instructions)
        names = {} if style == "kernel" else _names_at(assembly)
        if style == "kernel":
            # It has no labels: jumps are relative.
            instructions = disassemble(assembly.code, byteorder=assembly.byteorder)
    lines, slot = [], 0
    for instruction in instructions:
        lines += [f"{name}:" for name in names.get(slot, [])]
        lines.append(f"{slot:8}: {_STYLES[style](instruction)}")
        slot += len(instruction)
    return "\n".join(lines) + "\n"


def _names_at(assembly: Assembly) -> dict[int, list[str]]:
    names: dict[int, list[str]] = {}
    for name, slot in assembly.labels.items():
        names.setdefault(slot, []).append(name)
    return names


def kernel_text(i: Instruction) -> str:
    """One instruction as the kernel's verifier prints it; ``<unknown ...>`` for what it refuses."""
    if has_reserved_fields(i):
        return unknown_text(i)
    kind = i.opcode & op.CLASS_MASK
    if kind in (op.ALU, op.ALU64):
        text = _alu(i, "w" if kind == op.ALU else "r")
    elif kind in (op.JMP, op.JMP32):
        text = _jump(i, "w" if kind == op.JMP32 else "r")
    else:
        text = _memory(i, kind)
    return unknown_text(i) if text is None else f"({i.opcode:02x}) {text}"


def _alu(i: Instruction, letter: str) -> str | None:
    operation = i.opcode & op.OPERATION_MASK
    by_register = bool(i.opcode & op.SOURCE_MASK)
    dst, src = f"{letter}{i.dst}", f"{letter}{i.src}"
    if operation == op.END:
        return _swap(i, letter == "r", by_register)
    if operation == op.NEG:
        return None if by_register else f"{dst} = -{dst}"
    if operation == op.MOV and by_register and i.offset:
        if letter == "r" and i.offset == op.ADDR_SPACE_CAST:
            return f"{dst} = addr_space_cast({src}, {i.imm >> 16 & 0xFFFF}, {i.imm & 0xFFFF})"
        return f"{dst} = (s{i.offset}){src}" if is_sign_extension(i) else None
    sign = {0: ALU_SIGNS, 1: SIGNED_ALU_SIGNS}.get(i.offset, {}).get(operation)
    return None if sign is None else f"{dst} {sign} {src if by_register else i.imm}"


def _swap(i: Instruction, wide: bool, to_big: bool) -> str | None:
    if i.imm not in SWAP_SIZES or (wide and to_big):
        return None
    name = "bswap" if wide else "be" if to_big else "le"
    return f"r{i.dst} = {name}{i.imm} r{i.dst}"


_PLAIN_JUMPS = {op.JMP | op.JA: "goto", op.JA32: "gotol", op.JMP | op.JCOND: "may_goto"}


def _jump(i: Instruction, letter: str) -> str | None:
    if i.opcode == op.CALL_OPCODE:
        return _call(i)
    if i.opcode == op.EXIT_OPCODE:
        return "exit"
    if i.opcode == op.JAX:
        return f"gotox r{i.dst}"
    if i.opcode in _PLAIN_JUMPS:
        distance = i.imm if i.opcode == op.JA32 else i.offset
        return f"{_PLAIN_JUMPS[i.opcode]} pc{distance:+d}"
    sign = COMPARISONS.get(i.opcode & op.OPERATION_MASK)
    if sign is None:
        return None
    right = f"{letter}{i.src}" if i.opcode & op.SOURCE_MASK else f"{i.imm & 0xFFFF_FFFF:#x}"
    return f"if {letter}{i.dst} {sign} {right} goto pc{i.offset:+d}"


def _call(i: Instruction) -> str | None:
    if i.src == op.PSEUDO_CALL:
        return f"call pc{i.imm:+d}"
    if i.src == op.PSEUDO_KFUNC_CALL:
        return f"call kfunc#{i.imm}" + (f"@{i.offset}" if i.offset else "")
    if i.src:
        return None
    return f"call {_HELPERS.get(i.imm, 'unknown')}#{i.imm}"


_HELPERS = {int(helper): f"bpf_{helper.name.lower()}" for helper in Helper}


def _memory(i: Instruction, kind: int) -> str | None:
    mode, size = i.opcode & op.MODE_MASK, i.opcode & op.SIZE_MASK
    if kind == op.LD:
        return _load(i, mode, size)
    if mode in (op.MEM, op.MEMSX) and kind == op.LDX:
        letter = "u" if mode == op.MEM else "s"
        if letter == "s" and size == op.DW:
            return None
        return f"r{i.dst} = *({letter}{SIZES[size]} *)(r{i.src} {i.offset:+d})"
    if kind == op.STX and mode == op.ATOMIC:
        return _atomic(i, size)
    if mode != op.MEM:
        return None
    value = i.imm if kind == op.ST else f"r{i.src}"
    return f"*(u{SIZES[size]} *)(r{i.dst} {i.offset:+d}) = {value}"


def _load(i: Instruction, mode: int, size: int) -> str | None:
    if i.opcode == op.LDDW:
        return f"r{i.dst} = {i.imm & 2**64 - 1:#x}"
    if mode not in (op.ABS, op.IND) or size == op.DW:
        return None
    place = i.imm if mode == op.ABS else f"r{i.src} + {i.imm}"
    return f"r0 = *(u{SIZES[size]} *)skb[{place}]"


def _atomic(i: Instruction, size: int) -> str | None:
    bits = SIZES[size]
    if i.imm == op.LOAD_ACQUIRE:
        return f"r{i.dst} = load_acquire((u{bits} *)(r{i.src} {i.offset:+d}))"
    place = f"(u{bits} *)(r{i.dst} {i.offset:+d})"
    if i.imm == op.STORE_RELEASE:
        return f"store_release({place}, r{i.src})"
    if bits < 32:
        return None
    if i.imm in ATOMIC_SIGNS:
        return f"lock *{place} {ATOMIC_SIGNS[i.imm]} r{i.src}"
    wide = "64" if bits == 64 else ""
    if i.imm == op.CMPXCHG:
        return f"r0 = atomic{wide}_cmpxchg({place}, r0, r{i.src})"
    if i.imm == op.XCHG:
        return f"r{i.src} = atomic{wide}_xchg({place}, r{i.src})"
    name = ATOMIC_NAMES.get(i.imm & ~op.FETCH)
    return f"r{i.src} = atomic{wide}_fetch_{name}({place}, r{i.src})" if name else None


def _hexadecimal(instruction: Instruction) -> str:
    return format_instruction(instruction, hex)


_STYLES = {"llvm": format_instruction, "objdump": _hexadecimal, "kernel": kernel_text}
