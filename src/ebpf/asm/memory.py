"""Loads, stores and constants of 64 bits (RFC 9669, sections 5.1, 5.2, 5.4 and 5.5).

`memory` is a register plus or minus a constant of 16 bits: ``R10 - 8``, ``R1 + 4``, ``R1``.

Every function raises AsmError for an operand that the instruction cannot have.
"""

from __future__ import annotations

from ebpf import opcodes as op
from ebpf.asm.instruction import Instruction, Label
from ebpf.asm.operands import (
    any_sign,
    in_range,
    memory,
    register,
    sign_extended,
    symbol_name,
    target_name,
    writable,
)
from ebpf.asm.registers import Memory, Register
from ebpf.errors import AsmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import SupportsIndex

    from ebpf.asm.instruction import MapReference

    MemoryOperand = Memory | Register


def _load(opcode: int, dst: Register, source: MemoryOperand) -> Instruction:
    base, offset = memory("memory", source)
    return Instruction(op.LDX | opcode, writable("dst", dst), base, offset)


def _store(size: int, destination: MemoryOperand, src: Register) -> Instruction:
    base, offset = memory("memory", destination)
    return Instruction(op.STX | op.MEM | size, base, register("src", src), offset)


def _store_immediate(
    size: int, destination: MemoryOperand, imm: SupportsIndex, bits: int
) -> Instruction:
    base, offset = memory("memory", destination)
    value = sign_extended("imm", imm) if bits == 64 else any_sign("imm", imm, bits)
    return Instruction(op.ST | op.MEM | size, base, 0, offset, value)


def ldxb(dst: Register, memory: MemoryOperand) -> Instruction:
    """dst = the 8 bits at memory, zero-extended."""
    return _load(op.MEM | op.B, dst, memory)


def ldxh(dst: Register, memory: MemoryOperand) -> Instruction:
    """dst = the 16 bits at memory, zero-extended."""
    return _load(op.MEM | op.H, dst, memory)


def ldxw(dst: Register, memory: MemoryOperand) -> Instruction:
    """dst = the 32 bits at memory, zero-extended."""
    return _load(op.MEM | op.W, dst, memory)


def ldxdw(dst: Register, memory: MemoryOperand) -> Instruction:
    """dst = the 64 bits at memory."""
    return _load(op.MEM | op.DW, dst, memory)


def ldxsb(dst: Register, memory: MemoryOperand) -> Instruction:
    """dst = the 8 bits at memory, sign-extended. Linux 6.6."""
    return _load(op.MEMSX | op.B, dst, memory)


def ldxsh(dst: Register, memory: MemoryOperand) -> Instruction:
    """dst = the 16 bits at memory, sign-extended. Linux 6.6."""
    return _load(op.MEMSX | op.H, dst, memory)


def ldxsw(dst: Register, memory: MemoryOperand) -> Instruction:
    """dst = the 32 bits at memory, sign-extended. Linux 6.6."""
    return _load(op.MEMSX | op.W, dst, memory)


def stxb(memory: MemoryOperand, src: Register) -> Instruction:
    """The 8 bits at memory = the lowest 8 bits of src."""
    return _store(op.B, memory, src)


def stxh(memory: MemoryOperand, src: Register) -> Instruction:
    """The 16 bits at memory = the lowest 16 bits of src."""
    return _store(op.H, memory, src)


def stxw(memory: MemoryOperand, src: Register) -> Instruction:
    """The 32 bits at memory = the lowest 32 bits of src."""
    return _store(op.W, memory, src)


def stxdw(memory: MemoryOperand, src: Register) -> Instruction:
    """The 64 bits at memory = src."""
    return _store(op.DW, memory, src)


def stb(memory: MemoryOperand, imm: SupportsIndex) -> Instruction:
    """The 8 bits at memory = imm (-2**7..2**8-1)."""
    return _store_immediate(op.B, memory, imm, 8)


def sth(memory: MemoryOperand, imm: SupportsIndex) -> Instruction:
    """The 16 bits at memory = imm (-2**15..2**16-1)."""
    return _store_immediate(op.H, memory, imm, 16)


def stw(memory: MemoryOperand, imm: SupportsIndex) -> Instruction:
    """The 32 bits at memory = imm (-2**31..2**32-1)."""
    return _store_immediate(op.W, memory, imm, 32)


def stdw(memory: MemoryOperand, imm: SupportsIndex) -> Instruction:
    """The 64 bits at memory = imm (signed 32 bits, sign-extended to 64)."""
    return _store_immediate(op.DW, memory, imm, 64)


def lddw(dst: Register, imm: SupportsIndex) -> Instruction:
    """dst = imm, any constant in -2**63..2**64-1; fills two slots."""
    value = any_sign("imm", imm, 64)
    return Instruction(op.LDDW, writable("dst", dst), imm=value)


def ld_map_fd(dst: Register, map: MapReference) -> Instruction:
    """dst = the map, as the helpers want it; fills two slots.

    Args:
        map: the name of a map, or anything with ``fileno()``.
    """
    number = writable("dst", dst)
    return Instruction(op.LDDW, number, op.PSEUDO_MAP_FD, map=_map("map", map))


def ld_map_value(dst: Register, map: MapReference, offset: SupportsIndex = 0) -> Instruction:
    """dst = the address `offset` bytes into the value of a one-element array map. Linux 5.2.

    Args:
        map: the name of a map, or anything with ``fileno()``.
        offset: in bytes, 0..2**31-1. Fills two slots.
    """
    number = writable("dst", dst)
    imm = in_range("offset", offset, 0, 2**31 - 1) << 32
    return Instruction(op.LDDW, number, op.PSEUDO_MAP_VALUE, imm=imm, map=_map("map", map))


def ld_map_idx(dst: Register, index: SupportsIndex) -> Instruction:
    """dst = the map whose descriptor is at `index` in fd_array; fills two slots. Linux 5.14."""
    imm = in_range("index", index, 0, 2**31 - 1)
    return Instruction(op.LDDW, writable("dst", dst), op.PSEUDO_MAP_IDX, imm=imm)


def ld_map_idx_value(dst: Register, index: SupportsIndex, offset: SupportsIndex = 0) -> Instruction:
    """As `ld_map_value`, for the map whose descriptor is at `index` in fd_array. Linux 5.14."""
    imm = in_range("offset", offset, 0, 2**31 - 1) << 32 | in_range("index", index, 0, 2**31 - 1)
    return Instruction(op.LDDW, writable("dst", dst), op.PSEUDO_MAP_IDX_VALUE, imm=imm)


def ld_btf_id(dst: Register, variable: str | SupportsIndex, btf: SupportsIndex = 0) -> Instruction:
    """dst = the address of a variable of the kernel, typed by BTF; fills two slots. Linux 5.10.

    Args:
        variable: its name, which loading looks up in the BTF of the kernel and of its modules;
            or the id of its type in that BTF. BTF has a kernel's per-CPU variables.
        btf: with an id, the descriptor of the module's BTF (0: the kernel itself).
    """
    number = writable("dst", dst)
    if isinstance(variable, str):
        name = symbol_name("variable", variable)
        return Instruction(op.LDDW, number, op.PSEUDO_BTF_ID, symbol=name)
    imm = in_range("variable", variable, 1, 2**31 - 1) | in_range("btf", btf, 0, 2**31 - 1) << 32
    return Instruction(op.LDDW, number, op.PSEUDO_BTF_ID, imm=imm)


def ld_func(dst: Register, target: str | Label) -> Instruction:
    """dst = the address of the function at target, for helpers that call back. Linux 5.13."""
    place = target_name("target", target)
    return Instruction(op.LDDW, writable("dst", dst), op.PSEUDO_FUNC, target=place)


def _map(name: str, value: MapReference) -> MapReference:
    if isinstance(value, str):
        if not value:
            raise AsmError(f"{name} must not be empty: it is the name of a map")
        return value
    if isinstance(value, type) or not callable(getattr(value, "fileno", None)):
        raise TypeError(
            f"{name} must be the name of a map or have fileno(), "
            f"not {type(value).__name__} {value!r}"
        )
    return value


def ldabsb(offset: SupportsIndex) -> Instruction:
    """R0 = the 8 bits at `offset` into the packet, in host order; R6 must hold the skb.

    Legacy packet access: clobbers R1 to R5, and ends the program where the packet is shorter.
    """
    return Instruction(op.LD | op.ABS | op.B, imm=_packet_offset("offset", offset))


def ldabsh(offset: SupportsIndex) -> Instruction:
    """R0 = the 16 bits at `offset` into the packet, in host order; R6 must hold the skb.

    Legacy packet access: clobbers R1 to R5, and ends the program where the packet is shorter.
    """
    return Instruction(op.LD | op.ABS | op.H, imm=_packet_offset("offset", offset))


def ldabsw(offset: SupportsIndex) -> Instruction:
    """R0 = the 32 bits at `offset` into the packet, in host order; R6 must hold the skb.

    Legacy packet access: clobbers R1 to R5, and ends the program where the packet is shorter.
    """
    return Instruction(op.LD | op.ABS | op.W, imm=_packet_offset("offset", offset))


def ldindb(src: Register, offset: SupportsIndex = 0) -> Instruction:
    """R0 = the 8 bits at src + `offset` into the packet; otherwise as ldabsb."""
    imm = _packet_offset("offset", offset)
    return Instruction(op.LD | op.IND | op.B, src=register("src", src), imm=imm)


def ldindh(src: Register, offset: SupportsIndex = 0) -> Instruction:
    """R0 = the 16 bits at src + `offset` into the packet; otherwise as ldabsh."""
    imm = _packet_offset("offset", offset)
    return Instruction(op.LD | op.IND | op.H, src=register("src", src), imm=imm)


def ldindw(src: Register, offset: SupportsIndex = 0) -> Instruction:
    """R0 = the 32 bits at src + `offset` into the packet; otherwise as ldabsw."""
    imm = _packet_offset("offset", offset)
    return Instruction(op.LD | op.IND | op.W, src=register("src", src), imm=imm)


def _packet_offset(name: str, value: SupportsIndex) -> int:
    # Signed: classic BPF's special offsets (SKF_NET_OFF, SKF_LL_OFF) are negative.
    return in_range(name, value, -(2**31), 2**31 - 1)
