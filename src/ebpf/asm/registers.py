"""Registers, and memory operands made from them: ``R10 - 8``."""

from __future__ import annotations

from ebpf.asm.value import Value, set_field
from ebpf.errors import AsmError


class Register(Value):
    """One of the registers R0 to R10.

    R0 holds results, R1 to R5 arguments, R6 to R9 survive calls, R10 is the read-only frame
    pointer. Adding an integer to a register gives a `Memory` operand.
    """

    __slots__ = ("number",)
    number: int

    def __init__(self, number: int) -> None:
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"number must be an integer, not {type(number).__name__} {number!r}")
        if not 0 <= number <= 10:
            raise AsmError(f"there is no register R{number}: the machine has R0 to R10")
        set_field(self, "number", int(number))

    def _key(self) -> tuple[object, ...]:
        return (self.number,)

    def __repr__(self) -> str:
        return f"R{self.number}"

    def __add__(self, offset: int) -> Memory:
        return Memory(self, 0) + offset

    __radd__ = __add__

    def __sub__(self, offset: int) -> Memory:
        return Memory(self, 0) - offset


class Memory(Value):
    """The memory `offset` bytes after the address in `base`: ``R10 - 8``, ``R1 + 4 + 2``.

    The range of the offset (16 bits, signed) is checked by the instruction that uses it.
    """

    __slots__ = ("base", "offset")
    base: Register
    offset: int

    def __init__(self, base: Register, offset: int) -> None:
        if not isinstance(base, Register):
            raise AsmError(
                f"base must be a register (R0 to R10), not {type(base).__name__} {base!r}"
            )
        if isinstance(offset, bool) or not isinstance(offset, int):
            raise TypeError(f"offset must be an integer, not {type(offset).__name__} {offset!r}")
        set_field(self, "base", base)
        set_field(self, "offset", int(offset))

    def _key(self) -> tuple[object, ...]:
        return (self.base, self.offset)

    def __repr__(self) -> str:
        sign = "-" if self.offset < 0 else "+"
        return f"{self.base!r} {sign} {abs(self.offset)}"

    def __add__(self, offset: int) -> Memory:
        if isinstance(offset, bool) or not isinstance(offset, int):
            return NotImplemented
        return Memory(self.base, self.offset + offset)

    __radd__ = __add__

    def __sub__(self, offset: int) -> Memory:
        if isinstance(offset, bool) or not isinstance(offset, int):
            return NotImplemented
        return Memory(self.base, self.offset - offset)


R0 = Register(0)
R1 = Register(1)
R2 = Register(2)
R3 = Register(3)
R4 = Register(4)
R5 = Register(5)
R6 = Register(6)
R7 = Register(7)
R8 = Register(8)
R9 = Register(9)
R10 = Register(10)
