"""The flow of a program: functions, successors, and which registers an instruction touches."""

from __future__ import annotations

from ebpf import opcodes as op
from ebpf.asm.helpers import Helper
from ebpf.asm.instruction import describe_position
from ebpf.errors import AsmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from ebpf.asm.assemble import Assembly
    from ebpf.asm.instruction import Instruction

CALLER_SAVED = 0b11_1110  # R1 to R5, as bits
_JUMP_CLASSES = (op.JMP, op.JMP32)
_NO_BRANCH = (op.CALL_OPCODE, op.EXIT_OPCODE, op.JAX)
_ALWAYS = (op.JMP | op.JA, op.JA32)
_ENDS = (*_ALWAYS, op.EXIT_OPCODE, op.JAX)
HELPERS = {int(helper): helper for helper in Helper}


class Flow:
    """The graph of an assembly; numbers are those of instructions, not of slots.

    Attributes:
        jumps: instruction -> the one it jumps to, for those that jump.
        references: instruction -> the first of the function that it calls or takes the address of.
        entries: the first instruction of each function, ascending.
        is_complete: False where an indirect jump may go anywhere.
    """

    def __init__(self, assembly: Assembly, outside: Collection[int] = ()) -> None:
        self.instructions = assembly.instructions
        self._labels = assembly.labels
        self._slots: list[int] = []
        slot = 0
        for instruction in self.instructions:
            self._slots.append(slot)
            slot += len(instruction)
        self._numbers = {slot: number for number, slot in enumerate(self._slots)}
        self.jumps: dict[int, int] = {}
        self.references: dict[int, int] = {}
        for number, instruction in enumerate(self.instructions):
            if is_jump(instruction):
                self.jumps[number] = self._goal(number)
            elif refers_to_function(instruction) and number not in outside:
                self.references[number] = self._goal(number)
        self.entries = sorted({0, *self.references.values()})
        self.is_complete = all(i.opcode != op.JAX for i in self.instructions)

    def _goal(self, number: int) -> int:
        """The number of the instruction that a jump or a reference goes to."""
        instruction = self.instructions[number]
        if instruction.target is not None:
            goal = self._labels[instruction.target]
        else:
            long = instruction.opcode in (op.CALL_OPCODE, op.JA32, op.LDDW)
            distance = instruction.imm if long else instruction.offset
            if instruction.opcode == op.LDDW:
                distance = (distance & 0xFFFF_FFFF ^ 2**31) - 2**31
            goal = self._slots[number] + 1 + distance
        if goal not in self._numbers:
            last = self._slots[-1] + len(self.instructions[-1]) - 1
            inside = 0 <= goal <= last
            place = "the second half of an lddw" if inside else f"the program's slots 0..{last}"
            raise self.error(number, f"goes to slot {goal}, {'' if inside else 'outside '}{place}")
        return self._numbers[goal]

    def successors(self, number: int) -> list[int]:
        """What may run after an instruction in its function."""
        opcode = self.instructions[number].opcode
        after = [] if opcode in _ENDS else [number + 1]
        return [*after, self.jumps[number]] if number in self.jumps else after

    def check_shape(self) -> None:
        """Every function ends, and no jump leaves its function."""
        ends = [*self.entries[1:], len(self.instructions)]
        for start, end in zip(self.entries, ends, strict=True):
            if self.instructions[end - 1].opcode not in _ENDS:
                what = "program" if end == len(self.instructions) else "function"
                raise self.error(end - 1, f"the {what} goes on after its end: exit_() is missing")
            for number in range(start, end):
                if number in self.jumps and not start <= self.jumps[number] < end:
                    raise self.error(
                        number, "jumps into another function of the program; use call_local"
                    )

    def check_reached(self) -> None:
        """Every instruction can be reached."""
        reached, left = {0}, [0]
        while left:
            number = left.pop()
            after = self.successors(number)
            if number in self.references:
                after.append(self.references[number])
            new = [follower for follower in after if follower not in reached]
            reached.update(new)
            left += new
        for number in range(len(self.instructions)):
            if number not in reached:
                raise self.error(number, "unreachable: nothing jumps here, and nothing runs before")

    def error(self, number: int, message: str) -> AsmError:
        instruction = self.instructions[number]
        return AsmError(f"{describe_position(instruction.position)}: {instruction}: {message}")


def is_jump(i: Instruction) -> bool:
    """Whether an instruction jumps to a place that it names."""
    return (
        i.opcode & op.CLASS_MASK in _JUMP_CLASSES
        and i.opcode & ~op.X not in (op.CALL_OPCODE, op.EXIT_OPCODE)
        and i.opcode not in _NO_BRANCH
    )


def refers_to_function(i: Instruction) -> bool:
    """Whether an instruction calls a function of the program, or loads the address of one."""
    return (i.opcode, i.src) in (
        (op.CALL_OPCODE, op.PSEUDO_CALL),
        (op.LDDW, op.PSEUDO_FUNC),
    )


def reads(i: Instruction) -> int:
    """The registers that an instruction reads, as bits; not R0 of exit."""
    kind = i.opcode & op.CLASS_MASK
    dst, src = 1 << i.dst, 1 << i.src
    by_register = src if i.opcode & op.SOURCE_MASK else 0
    if kind in (op.ALU, op.ALU64):
        operation = i.opcode & op.OPERATION_MASK
        if operation in (op.END, op.NEG):
            return dst
        return by_register | (0 if operation == op.MOV else dst)
    if i.opcode == op.CALL_OPCODE:
        helper = HELPERS.get(i.imm) if i.src == 0 else None
        return 0 if helper is None else (1 << helper.arguments) - 1 << 1
    if i.opcode == op.JAX:
        return dst
    if kind in _JUMP_CLASSES:
        plain = i.opcode in (*_ALWAYS, op.EXIT_OPCODE, op.JMP | op.JCOND)
        return 0 if plain else dst | by_register
    return _memory_reads(i, kind, dst, src)


def _memory_reads(i: Instruction, kind: int, dst: int, src: int) -> int:
    mode = i.opcode & op.MODE_MASK
    if kind == op.LDX:
        return src
    if kind == op.LD:
        # Legacy packet access takes the skb from R6.
        return {op.ABS: 1 << 6, op.IND: 1 << 6 | src}.get(mode, 0)
    if kind == op.ST:
        return dst
    if mode == op.ATOMIC and i.imm == op.LOAD_ACQUIRE:
        return src
    return dst | src | (1 if mode == op.ATOMIC and i.imm == op.CMPXCHG else 0)


def writes(i: Instruction) -> int:
    """The registers that have a value after an instruction, as bits."""
    kind = i.opcode & op.CLASS_MASK
    if kind in (op.ALU, op.ALU64, op.LDX):
        return 1 << i.dst
    if kind == op.LD:
        return 1 << i.dst if i.opcode == op.LDDW else 1
    if i.opcode == op.CALL_OPCODE:
        return 1
    if kind != op.STX or i.opcode & op.MODE_MASK != op.ATOMIC:
        return 0
    if i.imm in (op.LOAD_ACQUIRE, op.CMPXCHG):
        return 1 << i.dst if i.imm == op.LOAD_ACQUIRE else 1
    return 1 << i.src if i.imm & op.FETCH else 0


def clobbers(i: Instruction) -> int:
    """The registers that have no value any more after an instruction, as bits."""
    is_packet_load = i.opcode & op.CLASS_MASK == op.LD and i.opcode != op.LDDW
    return CALLER_SAVED if i.opcode == op.CALL_OPCODE or is_packet_load else 0
