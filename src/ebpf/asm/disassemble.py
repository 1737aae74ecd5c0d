"""Bytes to instructions."""

from __future__ import annotations

import sys

from ebpf import opcodes as op
from ebpf.asm.assemble import SLOT_SIZE, slot_struct
from ebpf.asm.instruction import Instruction
from ebpf.errors import AsmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal


def disassemble(
    code: bytes | bytearray | memoryview, *, byteorder: Literal["little", "big"] = sys.byteorder
) -> list[Instruction]:
    """The instructions of `code`, one for each slot or pair of slots (lddw), without positions.

    Jumps stay relative offsets, so ``assemble(disassemble(code)).code == code``. An opcode that
    this library does not know is kept as it is; its text is ``<unknown ...>``.

    Raises:
        AsmError: `code` is no whole number of 8-byte slots, or an lddw lacks its second slot.
    """
    slot = slot_struct(byteorder)
    view = memoryview(code).cast("B")
    if len(view) % SLOT_SIZE:
        raise AsmError(f"code must be a multiple of {SLOT_SIZE} bytes, not {len(view)} bytes")
    slots = list(slot.iter_unpack(view))
    instructions: list[Instruction] = []
    index = 0
    while index < len(slots):
        opcode, registers, offset, imm = slots[index]
        if opcode == op.LDDW:
            imm = imm & 0xFFFF_FFFF | _upper_half(slots, index) << 32
        dst, src = registers & 15, registers >> 4
        if byteorder == "big":
            dst, src = src, dst
        instruction = Instruction(opcode, dst, src, offset, imm, position=None)
        instructions.append(instruction)
        index += len(instruction)
    return instructions


def _upper_half(slots: list[tuple[int, int, int, int]], index: int) -> int:
    if index + 1 >= len(slots):
        raise AsmError(f"the code ends inside the lddw at slot {index}")
    opcode, registers, offset, imm = slots[index + 1]
    if opcode or registers or offset:
        raise AsmError(
            f"slot {index + 1} is not the second half of the lddw at slot {index}: "
            "all of it but the immediate must be zero"
        )
    return imm
