"""Writing a relocation's result into its instruction."""

from __future__ import annotations

import struct

from ebpf import opcodes as op
from ebpf.btf.core.values import CoreResult
from ebpf.btf.raw import ByteOrder
from ebpf.errors import RelocationError
from ebpf.plain import NamedTuple

# A call of a helper that does not exist, as libbpf and the kernel have it: the verifier refuses
# it where the program can reach it, as "invalid func unknown#195896080".
POISON = 0xBAD2310

_SLOT = 8
_LARGEST_OFFSET = 0x7FFF
_MASK = 0xFFFFFFFFFFFFFFFF
_BYTES = {op.B: 1, op.H: 2, op.W: 4, op.DW: 8}
_SIZES = {count: size for size, count in _BYTES.items()}


class _Slot(NamedTuple):
    """``struct bpf_insn``; the registers stay one byte, their order depends on the byte order."""

    opcode: int
    registers: int
    offset: int
    imm: int


_FORMATS = {"little": struct.Struct("<BBhi"), "big": struct.Struct(">BBhi")}


def patch(code: bytearray, slot: int, result: CoreResult) -> bool:
    """Puts `result` into the instruction at `slot` (in 8-byte slots) of `code`.

    Returns True if the instruction was replaced by a call that the verifier refuses, because
    `result` is ``poison``, or a load or store cannot be adjusted. Raises RelocationError when the
    instruction is of no kind that can be relocated, does not hold the old value, or has no room
    for the new one; `code` is unchanged then.
    """
    if not 0 <= slot < len(code) // _SLOT:
        raise RelocationError(f"instruction {slot} of a program of {len(code) // _SLOT}")
    old = _read(code, slot, result.byte_order)
    if result.poison:
        _poison(code, slot, old, result.byte_order)
        return True
    cls = old.opcode & op.CLASS_MASK
    if cls in (op.ALU, op.ALU64):
        new = _patch_alu(old, result)
    elif cls in (op.LDX, op.ST, op.STX):
        _check_access(old, result)
        if result.fail_memsz_adjust:
            _poison(code, slot, old, result.byte_order)
            return True
        new = _patch_access(old, result)
    elif cls == op.LD:
        _patch_lddw(code, slot, old, result)
        return False
    else:
        raise RelocationError(f"opcode {old.opcode:#04x} cannot be relocated")
    _write(code, slot, new, result.byte_order)
    return False


def _read(code: bytearray, slot: int, order: ByteOrder) -> _Slot:
    return _Slot(*_FORMATS[order].unpack_from(code, slot * _SLOT))


def _write(code: bytearray, slot: int, new: _Slot, order: ByteOrder) -> None:
    _FORMATS[order].pack_into(code, slot * _SLOT, *new)


def _poison(code: bytearray, slot: int, old: _Slot, order: ByteOrder) -> None:
    call = _Slot(op.CALL_OPCODE, 0, 0, POISON)
    # The second half of lddw alone would be "unknown opcode 00".
    wide = old.opcode == op.LDDW and (slot + 2) * _SLOT <= len(code)
    for poisoned in range(slot, slot + 1 + wide):
        _write(code, poisoned, call, order)


def _validate(found: int, result: CoreResult) -> None:
    if result.validate and found & _MASK != result.original:
        raise RelocationError(
            f"the instruction holds {found}, but by the object's own types it is {result.original}"
        )


def _patch_alu(old: _Slot, result: CoreResult) -> _Slot:
    if old.opcode & op.SOURCE_MASK != op.K:
        raise RelocationError(f"opcode {old.opcode:#04x} has no immediate")
    _validate(old.imm, result)
    if not (result.value < 1 << 32 or result.value >= _MASK + 1 - (1 << 31)):
        raise RelocationError(f"{result.value} does not fit the 32 bits of the immediate")
    return old._replace(imm=_signed32(result.value))


def _check_access(old: _Slot, result: CoreResult) -> None:
    _validate(old.offset, result)
    if result.value > _LARGEST_OFFSET:
        raise RelocationError(
            f"offset {result.value} does not fit a load or store, which takes {_LARGEST_OFFSET}"
        )


def _patch_access(old: _Slot, result: CoreResult) -> _Slot:
    new = old._replace(offset=result.value)
    if result.size == result.original_size:
        return new
    found = _BYTES[old.opcode & op.SIZE_MASK]
    if found != result.original_size:
        raise RelocationError(
            f"the instruction accesses {found} bytes of a field of {result.original_size}"
        )
    if result.size not in _SIZES:
        raise RelocationError(f"no load or store has the {result.size} bytes of the field")
    return new._replace(opcode=old.opcode & ~op.SIZE_MASK | _SIZES[result.size])


def _patch_lddw(code: bytearray, slot: int, old: _Slot, result: CoreResult) -> None:
    if old.opcode != op.LDDW or (slot + 2) * _SLOT > len(code):
        raise RelocationError(f"opcode {old.opcode:#04x} cannot be relocated")
    upper = _read(code, slot + 1, result.byte_order)
    source = old.registers >> 4 if result.byte_order == "little" else old.registers & 0xF
    if source or old.offset or upper[:3] != (0, 0, 0):
        raise RelocationError("lddw of something that is no plain number")
    _validate(old.imm & 0xFFFFFFFF | upper.imm << 32, result)
    low, high = _signed32(result.value), _signed32(result.value >> 32)
    _write(code, slot, old._replace(imm=low), result.byte_order)
    _write(code, slot + 1, upper._replace(imm=high), result.byte_order)


def _signed32(value: int) -> int:
    return (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
