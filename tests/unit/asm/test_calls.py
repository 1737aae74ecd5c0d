from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf import asm
from ebpf.asm import R1, R2, R3, R6, R10, Instruction, Register, call, invoke
from ebpf.errors import AsmError


def texts(made: list[Instruction]) -> list[str]:
    return [str(instruction) for instruction in made]


def test_each_kind_of_argument() -> None:
    """An argument would reach the helper as something else."""
    made = invoke(call("map_update_elem"), "counts", R10 - 8, R6, 2**31)
    assert texts(made) == [
        "r1 = counts ll", "r2 = r10", "r2 += -8", "r3 = r6", "r4 = 2147483648 ll", "call 2",
    ]  # fmt: skip
    assert texts(invoke(asm.call_local("f"), R1, R10 + 0)) == ["r2 = r10", "call f"]
    assert texts(invoke(asm.call_kfunc("f"), R1 + 4)) == ["r1 += 4", "call kfunc:f"]


@given(st.permutations(range(1, 6)), st.sets(st.integers(1, 5)))
def test_no_argument_is_overwritten_before_it_is_read(places: list[int], kept: set[int]) -> None:
    """A helper would be called with another argument's value."""
    arguments: list[Any] = [Register(n) if i in kept else 0 for i, n in enumerate(places, 1)]
    try:
        made = invoke(asm.call_local("f"), *arguments)
    except AsmError:
        # Only where the registers form a ring.
        assert any(places[i - 1] != i for i in kept)
        return
    values: dict[int, Any] = {n: f"value {n}" for n in range(11)}
    for move in made[:-1]:
        values[move.dst] = values[move.src] if move.opcode == 0xBF else move.imm
    assert [values[n] for n in range(1, 6)] == [
        f"value {a.number}" if isinstance(a, Register) else 0 for a in arguments
    ]


def test_arguments_that_change_places_are_refused() -> None:
    """One of them would be lost."""
    with pytest.raises(AsmError, match=r"R1 = R2, R2 = R1 would have to change places"):
        invoke(asm.call_local("f"), R2, R1)


@pytest.mark.parametrize(
    ("helper", "count", "message"),
    [
        ("map_lookup_elem", 1, "helper map_lookup_elem takes 2 arguments, not 1"),
        ("map_lookup_elem", 3, "takes 2 arguments, not 3"),
        ("get_current_pid_tgid", 1, "takes 0 arguments, not 1"),
        ("trace_printk", 1, "takes 2 to 5 arguments, not 1"),
    ],
)
def test_the_number_of_arguments_is_the_helpers(helper: str, count: int, message: str) -> None:
    """The verifier would be the first to notice, or nobody."""
    with pytest.raises(AsmError, match=message):
        invoke(call(helper), *[0] * count)


def test_any_number_where_the_prototype_is_unknown() -> None:
    """Functions of the program and of the kernel could not be called."""
    for callee in (asm.call_local("f"), asm.call_kfunc("f"), call(5000)):
        for count in range(6):
            assert len(invoke(callee, *[7] * count)) == count + 1
        with pytest.raises(AsmError, match="there are registers for 5"):
            invoke(callee, *[7] * 6)
    with pytest.raises(AsmError, match="call must be what call"):
        invoke(asm.mov(R2, R3))
    with pytest.raises(TypeError, match="argument 1 must be an integer, not float"):
        invoke(call(5000), 1.5)  # type: ignore[arg-type]
