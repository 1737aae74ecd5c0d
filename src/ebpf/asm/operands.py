"""Checks of what the instruction functions are given; each error names the argument."""

from __future__ import annotations

import operator
from collections.abc import Callable

from ebpf.asm.instruction import Label
from ebpf.asm.registers import Memory, Register
from ebpf.errors import AsmError


def integer(name: str, value: object) -> int:
    """`value` as a plain int; bool, float and None are refused, an IntEnum is fine."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__} {value!r}")
    return operator.index(value)


def register(name: str, value: object) -> int:
    """The number of a register that is read."""
    if not isinstance(value, Register):
        raise AsmError(
            f"{name} must be a register (R0 to R10), not {type(value).__name__} {value!r}"
        )
    return value.number


def writable(name: str, value: object) -> int:
    """The number of a register that is written: any but R10."""
    number = register(name, value)
    if number == 10:
        raise AsmError(
            f"{name} must not be R10: the frame pointer is read-only; "
            "copy it to another register with mov"
        )
    return number


def memory(name: str, value: object) -> tuple[int, int]:
    """Base register and offset of a memory operand; a register alone is offset 0."""
    if isinstance(value, Register):
        return value.number, 0
    if not isinstance(value, Memory):
        raise AsmError(
            f"{name} must be memory, such as R10 - 8 or R1, not {type(value).__name__} {value!r}"
        )
    if not -(2**15) <= value.offset < 2**15:
        raise AsmError(
            f"{name}: offset {value.offset} does not fit in 16 bits ({-(2**15)}..{2**15 - 1}); "
            "add it to the base register first"
        )
    return value.base.number, value.offset


def sign_extended(name: str, value: object) -> int:
    """An immediate that a 64-bit operation extends with its sign."""
    number = integer(name, value)
    if 2**31 <= number < 2**32:
        raise AsmError(
            f"{name} {number:#x} would be sign-extended to {number - 2**32 & 2**64 - 1:#x} by a "
            "64-bit operation; load it into a register with lddw, or use a 32-bit operation"
        )
    if not -(2**31) <= number < 2**31:
        raise AsmError(
            f"{name} {number} does not fit in 32 bits ({-(2**31)}..{2**31 - 1}); "
            "load it into a register with lddw"
        )
    return number


def any_sign(name: str, value: object, bits: int) -> int:
    """An immediate of which only the lowest `bits` matter: signed or unsigned, they are equal.

    Returns it as a signed number of `bits` bits.
    """
    number = integer(name, value)
    if not -(2 ** (bits - 1)) <= number < 2**bits:
        raise AsmError(
            f"{name} {number} does not fit in {bits} bits ({-(2 ** (bits - 1))}..{2**bits - 1})"
        )
    return number - 2**bits if number >= 2 ** (bits - 1) else number


def immediate(name: str, value: object, bits: int) -> int:
    """The immediate of an operation on 32 or 64 bits."""
    if bits == 64:
        return sign_extended(name, value)
    return any_sign(name, value, 32)


def in_range(name: str, value: object, low: int, high: int) -> int:
    number = integer(name, value)
    if not low <= number <= high:
        raise AsmError(f"{name} must be in {low}..{high}, not {number}")
    return number


def register_or_immediate(
    name: str, value: object, check: Callable[[str, object], int]
) -> tuple[bool, int]:
    """(True, number of the register) or (False, checked immediate)."""
    if isinstance(value, Register):
        return True, value.number
    if isinstance(value, Memory):
        raise TypeError(
            f"{name} must be a register or an integer, not memory ({value!r}): to compute an "
            "address use mov and add, to read memory ldxw or its like"
        )
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(
            f"{name} must be a register or an integer, not {type(value).__name__} {value!r}"
        )
    return False, check(name, value)


def symbol_name(name: str, value: str) -> str:
    """The name of a function or variable of the kernel."""
    if not value.isidentifier():
        raise AsmError(f"{name} {value!r} is no name of C")
    return value


def target_name(name: str, value: object) -> str:
    """The name of the label that a jump or call goes to."""
    if isinstance(value, Label):
        return value.name
    if isinstance(value, str):
        if not value:
            raise AsmError(f"{name} must not be empty: it is the name of a label")
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        raise AsmError(
            f"{name} must be the name of a label, not the relative offset {value}: put a "
            "Label('name') in front of the instruction and jump to 'name'"
        )
    raise TypeError(f"{name} must be the name of a label, not {type(value).__name__} {value!r}")
