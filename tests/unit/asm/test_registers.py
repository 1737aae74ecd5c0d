from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from ebpf.asm import R1, R3, R10, Memory, Register
from ebpf.errors import AsmError


def test_arithmetic_on_a_register_is_memory() -> None:
    """R10 - 8 would address other bytes than those 8 below the frame pointer."""
    assert Memory(R10, -8) == R10 - 8
    assert Memory(R1, 5) == R1 + 4 + 2 - 1
    assert Memory(R1, 4) == 4 + R1
    assert Memory(R1, -2) == 2 + (R1 - 4)


def test_texts_are_those_of_python_code() -> None:
    """Error messages would show operands that nobody wrote."""
    assert repr(R3) == "R3"
    assert repr(R10 - 8) == "R10 - 8"
    assert repr(R1 + 0) == "R1 + 0"


def test_registers_are_values() -> None:
    """Two spellings of a register would be two registers."""
    assert Register(3) == R3
    assert R3 != R1
    assert {R3: "x"}[Register(3)] == "x"
    assert copy.deepcopy(R10 - 8) == R10 - 8
    assert pickle.loads(pickle.dumps(R10 - 8)) == R10 - 8


def test_registers_cannot_change() -> None:
    """One program could change R3 for every other program."""
    with pytest.raises(AttributeError, match="immutable"):
        R3.number = 4
    with pytest.raises(AttributeError, match="immutable"):
        del R3.number
    assert R3.number == 3


@pytest.mark.parametrize("number", [-1, 11])
def test_there_are_eleven_registers(number: int) -> None:
    """A register that does not exist would be encoded."""
    with pytest.raises(AsmError, match=f"no register R{number}"):
        Register(number)


@pytest.mark.parametrize("offset", [True, 1.0, None, "4", R1])
def test_offsets_are_integers(offset: Any) -> None:
    """A slip such as R1 + R2 would become an address."""
    with pytest.raises(TypeError):
        R1 + offset
    with pytest.raises(TypeError):
        R1 - offset
    with pytest.raises(TypeError):
        Memory(R1, offset)
