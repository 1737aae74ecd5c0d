"""Calls together with the moves that put their arguments into R1 to R5."""

from __future__ import annotations

from ebpf import opcodes as op
from ebpf.asm.alu import add, mov
from ebpf.asm.helpers import Helper
from ebpf.asm.instruction import Instruction
from ebpf.asm.memory import ld_map_fd, lddw
from ebpf.asm.operands import integer
from ebpf.asm.registers import Memory, Register
from ebpf.errors import AsmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import SupportsIndex

    from ebpf.asm.instruction import MapReference

    Argument = Register | Memory | SupportsIndex | MapReference

_MOST = 5
# Arguments that not every call needs: see Helper.
_OPTIONAL = {Helper.TRACE_PRINTK: 3, Helper.GET_BRANCH_SNAPSHOT: 1, Helper.GET_CGROUP_CLASSID: 1}


def invoke(call: Instruction, *arguments: Argument) -> list[Instruction]:
    """Put arguments into R1, R2, ... and call.

    ``invoke(call("map_lookup_elem"), "counts", R10 - 4)``

    Args:
        call: what `call`, `call_local` or `call_kfunc` returns.
        arguments: up to 5. A register's value; an address (``R10 - 8``); a number; a map, by name
            or as anything with ``fileno()``. They are moved in an order in which none is
            overwritten before it is read.

    Raises:
        AsmError: the helper takes another number of arguments, or some arguments would have to
            change places.
    """
    if not isinstance(call, Instruction) or call.opcode != op.CALL_OPCODE:
        raise AsmError(f"call must be what call(), call_local() or call_kfunc() returns: {call!r}")
    _check_count(call, len(arguments))
    left = dict(enumerate(arguments, 1))
    moves: list[Instruction] = []
    while left:
        # A register that another argument still has to be taken from waits.
        free = [number for number in left if not _is_needed(number, left)]
        if not free:
            places = ", ".join(f"R{number} = {argument!r}" for number, argument in left.items())
            raise AsmError(f"arguments {places} would have to change places: use R6 to R9")
        moves += _move(Register(free[0]), left.pop(free[0]))
    return [*moves, call]


def _is_needed(number: int, left: dict[int, Argument]) -> bool:
    return any(_read(other) == number for place, other in left.items() if place != number)


def _check_count(call: Instruction, count: int) -> None:
    if count > _MOST:
        raise AsmError(f"{call}: {count} arguments, and there are registers for {_MOST}")
    helper = Helper._value2member_map_.get(call.imm) if not call.src else None
    if helper is None:
        return
    assert isinstance(helper, Helper)
    most = helper.arguments + _OPTIONAL.get(helper, 0)
    if not helper.arguments <= count <= most:
        wanted = f"{helper.arguments}" + (f" to {most}" if most > helper.arguments else "")
        name = helper.name.lower()
        raise AsmError(f"helper {name} takes {wanted} arguments, not {count}")


def _read(argument: Argument) -> int | None:
    """The number of the register that an argument is taken from."""
    if isinstance(argument, Memory):
        argument = argument.base
    return argument.number if isinstance(argument, Register) else None


def _move(place: Register, argument: Argument) -> list[Instruction]:
    if isinstance(argument, Register):
        return [] if argument == place else [mov(place, argument)]
    if isinstance(argument, Memory):
        copy = [] if argument.base == place else [mov(place, argument.base)]
        return [*copy, add(place, argument.offset)] if argument.offset else copy
    if isinstance(argument, str) or callable(getattr(argument, "fileno", None)):
        return [ld_map_fd(place, argument)]  # type: ignore[arg-type]  # mypy: not narrowed
    number = integer(f"argument {place.number}", argument)
    return [mov(place, number) if -(2**31) <= number < 2**31 else lddw(place, number)]
