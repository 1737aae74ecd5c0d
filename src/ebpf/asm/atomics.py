"""Atomic read-modify-write of memory (RFC 9669, section 5.3), and ordered loads and stores.

Names without a number work on 64 bits, names that end in 32 on 32 bits. Everything but
`atomic_add` and `atomic_add32` without `fetch` needs Linux 5.12. `load_acquire` and
`store_release` name their size as the other loads and stores do, and need Linux 6.15.

Every function raises AsmError for an operand that the instruction cannot have.
"""

from __future__ import annotations

from ebpf import opcodes as op
from ebpf.asm.instruction import Instruction
from ebpf.asm.operands import memory, register, writable
from ebpf.asm.registers import Memory, Register

TYPE_CHECKING = False
if TYPE_CHECKING:
    MemoryOperand = Memory | Register


def _atomic(
    imm: int, size: int, destination: MemoryOperand, src: Register, writes_src: bool
) -> Instruction:
    base, offset = memory("memory", destination)
    number = writable("src", src) if writes_src else register("src", src)
    return Instruction(op.STX | op.ATOMIC | size, base, number, offset, imm)


def _arithmetic(
    operation: int, size: int, destination: MemoryOperand, src: Register, fetch: bool
) -> Instruction:
    if not isinstance(fetch, bool):
        raise TypeError(f"fetch must be True or False, not {type(fetch).__name__} {fetch!r}")
    imm = operation | op.FETCH if fetch else operation
    return _atomic(imm, size, destination, src, writes_src=fetch)


def _load_acquire(size: int, dst: Register, source: MemoryOperand) -> Instruction:
    base, offset = memory("memory", source)
    opcode = op.STX | op.ATOMIC | size
    return Instruction(opcode, writable("dst", dst), base, offset, op.LOAD_ACQUIRE)


def atomic_add(memory: MemoryOperand, src: Register, *, fetch: bool = False) -> Instruction:
    """The 64 bits at memory += src; with fetch, src = what was there before."""
    return _arithmetic(op.ADD, op.DW, memory, src, fetch)


def atomic_add32(memory: MemoryOperand, src: Register, *, fetch: bool = False) -> Instruction:
    """The 32 bits at memory += src; with fetch, src = what was there before."""
    return _arithmetic(op.ADD, op.W, memory, src, fetch)


def atomic_or(memory: MemoryOperand, src: Register, *, fetch: bool = False) -> Instruction:
    """The 64 bits at memory |= src; with fetch, src = what was there before."""
    return _arithmetic(op.OR, op.DW, memory, src, fetch)


def atomic_or32(memory: MemoryOperand, src: Register, *, fetch: bool = False) -> Instruction:
    """The 32 bits at memory |= src; with fetch, src = what was there before."""
    return _arithmetic(op.OR, op.W, memory, src, fetch)


def atomic_and(memory: MemoryOperand, src: Register, *, fetch: bool = False) -> Instruction:
    """The 64 bits at memory &= src; with fetch, src = what was there before."""
    return _arithmetic(op.AND, op.DW, memory, src, fetch)


def atomic_and32(memory: MemoryOperand, src: Register, *, fetch: bool = False) -> Instruction:
    """The 32 bits at memory &= src; with fetch, src = what was there before."""
    return _arithmetic(op.AND, op.W, memory, src, fetch)


def atomic_xor(memory: MemoryOperand, src: Register, *, fetch: bool = False) -> Instruction:
    """The 64 bits at memory ^= src; with fetch, src = what was there before."""
    return _arithmetic(op.XOR, op.DW, memory, src, fetch)


def atomic_xor32(memory: MemoryOperand, src: Register, *, fetch: bool = False) -> Instruction:
    """The 32 bits at memory ^= src; with fetch, src = what was there before."""
    return _arithmetic(op.XOR, op.W, memory, src, fetch)


def xchg(memory: MemoryOperand, src: Register) -> Instruction:
    """Exchange the 64 bits at memory with src."""
    return _atomic(op.XCHG, op.DW, memory, src, writes_src=True)


def xchg32(memory: MemoryOperand, src: Register) -> Instruction:
    """Exchange the 32 bits at memory with src."""
    return _atomic(op.XCHG, op.W, memory, src, writes_src=True)


def cmpxchg(memory: MemoryOperand, src: Register) -> Instruction:
    """If the 64 bits at memory equal R0 they become src; R0 = what was there before."""
    return _atomic(op.CMPXCHG, op.DW, memory, src, writes_src=False)


def cmpxchg32(memory: MemoryOperand, src: Register) -> Instruction:
    """If the 32 bits at memory equal R0 they become src; R0 = what was there before."""
    return _atomic(op.CMPXCHG, op.W, memory, src, writes_src=False)


def load_acquireb(dst: Register, memory: MemoryOperand) -> Instruction:
    """dst = the 8 bits at memory, zero-extended; no later access comes before this one."""
    return _load_acquire(op.B, dst, memory)


def load_acquireh(dst: Register, memory: MemoryOperand) -> Instruction:
    """dst = the 16 bits at memory, zero-extended; no later access comes before this one."""
    return _load_acquire(op.H, dst, memory)


def load_acquirew(dst: Register, memory: MemoryOperand) -> Instruction:
    """dst = the 32 bits at memory, zero-extended; no later access comes before this one."""
    return _load_acquire(op.W, dst, memory)


def load_acquiredw(dst: Register, memory: MemoryOperand) -> Instruction:
    """dst = the 64 bits at memory; no later access comes before this one."""
    return _load_acquire(op.DW, dst, memory)


def store_releaseb(memory: MemoryOperand, src: Register) -> Instruction:
    """The 8 bits at memory = the lowest 8 bits of src; no earlier access comes after this one."""
    return _atomic(op.STORE_RELEASE, op.B, memory, src, writes_src=False)


def store_releaseh(memory: MemoryOperand, src: Register) -> Instruction:
    """The 16 bits at memory = the lowest 16 bits of src; no earlier access comes after this one."""
    return _atomic(op.STORE_RELEASE, op.H, memory, src, writes_src=False)


def store_releasew(memory: MemoryOperand, src: Register) -> Instruction:
    """The 32 bits at memory = the lowest 32 bits of src; no earlier access comes after this one."""
    return _atomic(op.STORE_RELEASE, op.W, memory, src, writes_src=False)


def store_releasedw(memory: MemoryOperand, src: Register) -> Instruction:
    """The 64 bits at memory = src; no earlier access comes after this one."""
    return _atomic(op.STORE_RELEASE, op.DW, memory, src, writes_src=False)
