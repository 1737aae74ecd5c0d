"""Arithmetic and moves (RFC 9669, sections 4.1 and 4.2).

Names without a number work on all 64 bits, names that end in 32 on the lower 32 bits and clear
the rest. `src` is a register or an immediate. The immediate of a 64-bit operation is signed 32
bits wide and sign-extended; a 32-bit operation takes -2**31..2**32-1.

Every function raises AsmError for an operand that the instruction cannot have.
"""

from __future__ import annotations

from ebpf import opcodes as op
from ebpf.asm.instruction import Instruction
from ebpf.asm.operands import (
    immediate,
    in_range,
    integer,
    register,
    register_or_immediate,
    writable,
)
from ebpf.asm.registers import Register
from ebpf.errors import AsmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import SupportsIndex

    Operand = Register | SupportsIndex

_DIVISIONS = (op.DIV, op.MOD)
_SHIFTS = (op.LSH, op.RSH, op.ARSH)


def _alu(operation: int, bits: int, dst: Register, src: Operand, offset: int = 0) -> Instruction:
    def check(name: str, value: object) -> int:
        if operation in _DIVISIONS and integer(name, value) == 0:
            raise AsmError(f"{name} must not be 0: division by an immediate zero")
        if operation in _SHIFTS:
            return in_range(name, value, 0, bits - 1)
        return immediate(name, value, bits)

    opcode = operation | (op.ALU64 if bits == 64 else op.ALU)
    number = writable("dst", dst)
    by_register, operand = register_or_immediate("src", src, check)
    if by_register:
        return Instruction(opcode | op.X, number, operand, offset)
    return Instruction(opcode | op.K, number, 0, offset, operand)


def _unary(opcode: int, dst: Register, imm: int = 0) -> Instruction:
    return Instruction(opcode, writable("dst", dst), imm=imm)


def _movsx(opcode: int, dst: Register, src: Register, bits: int) -> Instruction:
    return Instruction(opcode | op.MOV | op.X, writable("dst", dst), register("src", src), bits)


def mov(dst: Register, src: Operand) -> Instruction:
    """dst = src."""
    return _alu(op.MOV, 64, dst, src)


def mov32(dst: Register, src: Operand) -> Instruction:
    """dst = src (32 bits)."""
    return _alu(op.MOV, 32, dst, src)


def add(dst: Register, src: Operand) -> Instruction:
    """dst += src."""
    return _alu(op.ADD, 64, dst, src)


def add32(dst: Register, src: Operand) -> Instruction:
    """dst += src (32 bits)."""
    return _alu(op.ADD, 32, dst, src)


def sub(dst: Register, src: Operand) -> Instruction:
    """dst -= src."""
    return _alu(op.SUB, 64, dst, src)


def sub32(dst: Register, src: Operand) -> Instruction:
    """dst -= src (32 bits)."""
    return _alu(op.SUB, 32, dst, src)


def mul(dst: Register, src: Operand) -> Instruction:
    """dst *= src."""
    return _alu(op.MUL, 64, dst, src)


def mul32(dst: Register, src: Operand) -> Instruction:
    """dst *= src (32 bits)."""
    return _alu(op.MUL, 32, dst, src)


def div(dst: Register, src: Operand) -> Instruction:
    """dst /= src, unsigned; division by a register that is 0 gives 0."""
    return _alu(op.DIV, 64, dst, src)


def div32(dst: Register, src: Operand) -> Instruction:
    """dst /= src, unsigned; division by a register that is 0 gives 0 (32 bits)."""
    return _alu(op.DIV, 32, dst, src)


def or_(dst: Register, src: Operand) -> Instruction:
    """dst |= src."""
    return _alu(op.OR, 64, dst, src)


def or32(dst: Register, src: Operand) -> Instruction:
    """dst |= src (32 bits)."""
    return _alu(op.OR, 32, dst, src)


def and_(dst: Register, src: Operand) -> Instruction:
    """dst &= src."""
    return _alu(op.AND, 64, dst, src)


def and32(dst: Register, src: Operand) -> Instruction:
    """dst &= src (32 bits)."""
    return _alu(op.AND, 32, dst, src)


def lsh(dst: Register, src: Operand) -> Instruction:
    """dst <<= src; an immediate is at most 63."""
    return _alu(op.LSH, 64, dst, src)


def lsh32(dst: Register, src: Operand) -> Instruction:
    """dst <<= src; an immediate is at most 31 (32 bits)."""
    return _alu(op.LSH, 32, dst, src)


def rsh(dst: Register, src: Operand) -> Instruction:
    """dst >>= src, filling with zeros; an immediate is at most 63."""
    return _alu(op.RSH, 64, dst, src)


def rsh32(dst: Register, src: Operand) -> Instruction:
    """dst >>= src, filling with zeros; an immediate is at most 31 (32 bits)."""
    return _alu(op.RSH, 32, dst, src)


def mod(dst: Register, src: Operand) -> Instruction:
    """dst %= src, unsigned; modulo a register that is 0 leaves dst as it is."""
    return _alu(op.MOD, 64, dst, src)


def mod32(dst: Register, src: Operand) -> Instruction:
    """dst %= src, unsigned; modulo a register that is 0 leaves dst as it is (32 bits)."""
    return _alu(op.MOD, 32, dst, src)


def xor(dst: Register, src: Operand) -> Instruction:
    """dst ^= src."""
    return _alu(op.XOR, 64, dst, src)


def xor32(dst: Register, src: Operand) -> Instruction:
    """dst ^= src (32 bits)."""
    return _alu(op.XOR, 32, dst, src)


def arsh(dst: Register, src: Operand) -> Instruction:
    """dst >>= src, filling with the sign; an immediate is at most 63."""
    return _alu(op.ARSH, 64, dst, src)


def arsh32(dst: Register, src: Operand) -> Instruction:
    """dst >>= src, filling with the sign; an immediate is at most 31 (32 bits)."""
    return _alu(op.ARSH, 32, dst, src)


def sdiv(dst: Register, src: Operand) -> Instruction:
    """dst /= src, signed, towards zero. Linux 6.6."""
    return _alu(op.DIV, 64, dst, src, offset=1)


def sdiv32(dst: Register, src: Operand) -> Instruction:
    """dst /= src, signed, towards zero (32 bits). Linux 6.6."""
    return _alu(op.DIV, 32, dst, src, offset=1)


def smod(dst: Register, src: Operand) -> Instruction:
    """dst %= src, signed, with the sign of dst. Linux 6.6."""
    return _alu(op.MOD, 64, dst, src, offset=1)


def smod32(dst: Register, src: Operand) -> Instruction:
    """dst %= src, signed, with the sign of dst (32 bits). Linux 6.6."""
    return _alu(op.MOD, 32, dst, src, offset=1)


def neg(dst: Register) -> Instruction:
    """dst = -dst."""
    return _unary(op.NEG | op.ALU64, dst)


def neg32(dst: Register) -> Instruction:
    """dst = -dst (32 bits)."""
    return _unary(op.NEG | op.ALU, dst)


def movsx864(dst: Register, src: Register) -> Instruction:
    """dst = the lowest 8 bits of src, sign-extended to 64 bits. Linux 6.6."""
    return _movsx(op.ALU64, dst, src, 8)


def movsx1664(dst: Register, src: Register) -> Instruction:
    """dst = the lowest 16 bits of src, sign-extended to 64 bits. Linux 6.6."""
    return _movsx(op.ALU64, dst, src, 16)


def movsx3264(dst: Register, src: Register) -> Instruction:
    """dst = the lowest 32 bits of src, sign-extended to 64 bits. Linux 6.6."""
    return _movsx(op.ALU64, dst, src, 32)


def movsx832(dst: Register, src: Register) -> Instruction:
    """dst = the lowest 8 bits of src, sign-extended to 32 bits. Linux 6.6."""
    return _movsx(op.ALU, dst, src, 8)


def movsx1632(dst: Register, src: Register) -> Instruction:
    """dst = the lowest 16 bits of src, sign-extended to 32 bits. Linux 6.6."""
    return _movsx(op.ALU, dst, src, 16)


def addr_space_cast(
    dst: Register, src: Register, to: SupportsIndex, of: SupportsIndex
) -> Instruction:
    """dst = the pointer src of address space `of`, as one of address space `to`. Linux 6.9.

    1 is the address space of the program's arena, 0 that of the kernel: Linux knows the casts
    from 1 to 0 and back.
    """
    spaces = in_range("to", to, 0, 2**15 - 1) << 16 | in_range("of", of, 0, 2**16 - 1)
    number = writable("dst", dst)
    opcode = op.ALU64 | op.MOV | op.X
    return Instruction(opcode, number, register("src", src), op.ADDR_SPACE_CAST, spaces)


def le16(dst: Register) -> Instruction:
    """dst = the lowest 16 bits of dst, from or to little-endian, zero-extended."""
    return _unary(op.ALU | op.END | op.K, dst, 16)


def le32(dst: Register) -> Instruction:
    """dst = the lowest 32 bits of dst, from or to little-endian, zero-extended."""
    return _unary(op.ALU | op.END | op.K, dst, 32)


def le64(dst: Register) -> Instruction:
    """dst = dst, from or to little-endian."""
    return _unary(op.ALU | op.END | op.K, dst, 64)


def be16(dst: Register) -> Instruction:
    """dst = the lowest 16 bits of dst, from or to big-endian, zero-extended."""
    return _unary(op.ALU | op.END | op.X, dst, 16)


def be32(dst: Register) -> Instruction:
    """dst = the lowest 32 bits of dst, from or to big-endian, zero-extended."""
    return _unary(op.ALU | op.END | op.X, dst, 32)


def be64(dst: Register) -> Instruction:
    """dst = dst, from or to big-endian."""
    return _unary(op.ALU | op.END | op.X, dst, 64)


def bswap16(dst: Register) -> Instruction:
    """dst = the lowest 16 bits of dst with their bytes reversed, zero-extended. Linux 6.6."""
    return _unary(op.ALU64 | op.END | op.K, dst, 16)


def bswap32(dst: Register) -> Instruction:
    """dst = the lowest 32 bits of dst with their bytes reversed, zero-extended. Linux 6.6."""
    return _unary(op.ALU64 | op.END | op.K, dst, 32)


def bswap64(dst: Register) -> Instruction:
    """dst = dst with their bytes reversed. Linux 6.6."""
    return _unary(op.ALU64 | op.END | op.K, dst, 64)
