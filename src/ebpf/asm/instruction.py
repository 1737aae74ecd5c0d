"""Instructions and labels: immutable values that know the line of code that made them."""

from __future__ import annotations

import sys

from ebpf import opcodes as op
from ebpf.asm.text import format_instruction
from ebpf.asm.value import Value, set_field
from ebpf.errors import AsmError
from ebpf.patterns import Pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class HasFileno(Protocol):
        """A map, or anything else that owns a descriptor."""

        def fileno(self) -> int: ...

    MapReference = str | HasFileno

#: What can be told from the rest of an instruction in a listing.
NAME = r"[A-Za-z_.$][\w.$-]*"
_NAME = Pattern(NAME)


class Position(Value):
    """Where an instruction or a label was written."""

    __slots__ = ("filename", "line")
    filename: str
    line: int

    def __init__(self, filename: str, line: int) -> None:
        set_field(self, "filename", filename)
        set_field(self, "line", line)

    def _key(self) -> tuple[object, ...]:
        return (self.filename, self.line)

    def __repr__(self) -> str:
        return f"Position({self.filename!r}, {self.line})"

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}"


# Stands for "the line that is being executed outside this package"; None means "unknown".
CALLER = Position("", 0)


def caller_position() -> Position | None:
    """The innermost line of code outside this package, None where there is none."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__package__") != __package__:
            return Position(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]  # mypy: the outermost frame's is None
    return None


def describe_position(position: Position | None) -> str:
    return str(position) if position is not None else "unknown position"


class Label(Value):
    """A place in a program that jumps and calls can name.

    Names are of letters, digits and ``_ . $ -``, and begin with none of the digits and ``-``; those
    with a dot in front are of snippets. Two labels are equal if their names are; `position` doesn't
    count.
    """

    __slots__ = ("name", "position")
    name: str
    position: Position | None

    def __init__(self, name: str, position: Position | None = CALLER) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name must be a str, not {type(name).__name__} {name!r}")
        if not name:
            raise AsmError("name must not be empty")
        if not _NAME.fullmatch(name):
            raise AsmError(
                f"name must be of letters, digits and _ . $ -, and begin with no digit: {name!r}"
            )
        set_field(self, "name", name)
        set_field(self, "position", caller_position() if position is CALLER else position)

    def _key(self) -> tuple[object, ...]:
        return (self.name,)

    def __repr__(self) -> str:
        return f"Label({self.name!r})"

    def __str__(self) -> str:
        return f"{self.name}:"


class Instruction(Value):
    """One instruction; `len()` is the number of 8-byte slots it fills (2 for lddw, else 1).

    `opcode`, `dst`, `src`, `offset` (signed) and `imm` (signed) are the fields of RFC 9669,
    section 3. The `imm` of lddw is all 64 bits of it: the second slot's in the upper half.
    `target` names a label and `map` a map (by name, or anything with ``fileno()``) until
    `assemble` and `Assembly.resolve` put numbers in their place; `symbol` names a function or a
    variable of the kernel in the same way. Equality ignores `position`.
    """

    __slots__ = ("dst", "imm", "map", "offset", "opcode", "position", "src", "symbol", "target")
    opcode: int
    dst: int
    src: int
    offset: int
    imm: int
    target: str | None
    map: MapReference | None
    position: Position | None
    symbol: str | None

    def __init__(
        self,
        opcode: int,
        dst: int = 0,
        src: int = 0,
        offset: int = 0,
        imm: int = 0,
        target: str | None = None,
        map: MapReference | None = None,
        position: Position | None = CALLER,
        symbol: str | None = None,
    ) -> None:
        imm_bits = 64 if opcode == op.LDDW else 32
        set_field(self, "opcode", _field("opcode", opcode, 0, 0xFF))
        set_field(self, "dst", _field("dst", dst, 0, 15))
        set_field(self, "src", _field("src", src, 0, 15))
        set_field(self, "offset", _field("offset", offset, -(2**15), 2**15 - 1))
        limit = 1 << (imm_bits - 1)
        set_field(self, "imm", _field("imm", imm, -limit, limit - 1))
        if target is not None and not _takes_target(opcode):
            raise AsmError(f"opcode {opcode:#04x} has no target: it is no jump, call or lddw")
        if map is not None and opcode != op.LDDW:
            raise AsmError(f"opcode {opcode:#04x} cannot refer to a map: only lddw can")
        set_field(self, "target", target)
        set_field(self, "map", map)
        if symbol is not None and not _takes_symbol(opcode, src):
            raise AsmError(
                f"opcode {opcode:#04x} cannot refer to the kernel: only kfunc calls and lddw can"
            )
        set_field(self, "symbol", symbol)
        set_field(self, "position", caller_position() if position is CALLER else position)

    def _key(self) -> tuple[object, ...]:
        return (
            self.opcode, self.dst, self.src, self.offset, self.imm, self.target, self.map,
            self.symbol,
        )  # fmt: skip

    def __hash__(self) -> int:
        # Without the map, which need not be hashable.
        return hash(
            (self.opcode, self.dst, self.src, self.offset, self.imm, self.target, self.symbol)
        )

    def __len__(self) -> int:
        return 2 if self.opcode == op.LDDW else 1

    def __str__(self) -> str:
        return format_instruction(self)

    def __repr__(self) -> str:
        return f"<Instruction {self} at {describe_position(self.position)}>"


def _field(name: str, value: int, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__} {value!r}")
    if not low <= value <= high:
        raise AsmError(f"{name} must be in {low}..{high}, not {value}")
    return int(value)


def _takes_target(opcode: int) -> bool:
    return opcode & op.CLASS_MASK in (op.JMP, op.JMP32) or opcode == op.LDDW


def _takes_symbol(opcode: int, src: int) -> bool:
    return (opcode, src) in (
        (op.CALL_OPCODE, op.PSEUDO_KFUNC_CALL),
        (op.LDDW, op.PSEUDO_BTF_ID),
    )
