"""Blocks as the verifier takes them: loops that it can bound, values that it does not know."""

from __future__ import annotations

from typing import Any

import pytest

from ebpf import ArrayMap, NotSupportedError, Program, ProgramType
from ebpf.asm import (
    R0,
    R6,
    R7,
    R8,
    R9,
    Frame,
    add,
    all_of,
    any_of,
    call,
    for_range,
    if_,
    invoke,
    ja,
    ldxdw,
    mov,
    return_,
    stw,
    when,
    while_,
    xor,
)
from tests.kernel import environment

SIGNS = {
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b, "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
    "&": lambda a, b: a & b != 0,
}  # fmt: skip


def looked_up(values: ArrayMap[int], index: int, into: Any) -> list[Any]:
    key = Frame().slot("index", 4)
    return [
        stw(key, index),
        invoke(call("map_lookup_elem"), values, key),
        if_(when(R0, "==", 0), return_(-1)),
        ldxdw(into, R0),
    ]


@pytest.fixture(scope="module")
def values() -> Any:
    with ArrayMap.create(value="Q", max_entries=4) as created:
        yield created


def run(program: list[Any]) -> int:
    with Program.load(ProgramType.SCHED_CLS, program, license="GPL") as loaded:
        return loaded.test_run(data=bytes(64)).return_value


def test_conditions_on_what_the_verifier_does_not_know(values: ArrayMap[int]) -> None:
    """A branch would go the wrong way in the kernel, or the verifier see code without end."""
    pairs = [(0, 0), (1, 2), (2, 1), (2**63, 1), (2**63, 2**63)]
    tests = [if_(when(R6, sign, R7), [add(R8, 1 << place)]) for place, sign in enumerate(SIGNS)]
    both = if_(all_of(when(R6, "==", 2), when(R7, "==", 1)), [add(R8, 1 << 10)])
    either = if_(any_of(when(R6, "==", 1), when(R7, "==", 1)), [add(R8, 1 << 11)])
    program = [
        looked_up(values, 0, R6), looked_up(values, 1, R7), mov(R8, 0), tests, both, either,
        return_(R8),
    ]  # fmt: skip
    with Program.load(ProgramType.SCHED_CLS, program, license="GPL") as loaded:
        for a, b in pairs:
            values[0], values[1] = a, b
            expected = sum(SIGNS[sign](a, b) << place for place, sign in enumerate(SIGNS))
            expected += ((a, b) == (2, 1)) << 10 | (a == 1 or b == 1) << 11
            assert loaded.test_run(data=bytes(64)).return_value == expected, (a, b)


def test_loops_that_the_verifier_bounds(values: ArrayMap[int]) -> None:
    """Nested loops, and one as long as a number that only the kernel knows, would be refused."""
    values[0] = 5
    program = [
        looked_up(values, 0, R7), mov(R9, 0),
        for_range(R6, 0, 10, [for_range(R8, 0, 6, [add(R9, 1)], step=2)]),
        for_range(R6, 0, R7, [invoke(call("get_prandom_u32")), add(R9, 100)], at_most=8),
        return_(R9),
    ]  # fmt: skip
    with Program.load(ProgramType.SCHED_CLS, program, license="GPL") as loaded:
        assert loaded.test_run(data=bytes(64)).return_value == 530
        values[0] = 50
        assert loaded.test_run(data=bytes(64)).return_value == 830


def test_a_loop_is_left_early(values: ArrayMap[int]) -> None:
    """The end of a loop and its next turn would be one place."""
    values[0] = 3

    def turn(loop: Any) -> list[Any]:
        return [if_(when(R6, "==", R7), ja(loop.end)), if_(when(R6, "==", 1), ja(loop.next)),
                add(R8, 10)]  # fmt: skip

    program = [looked_up(values, 0, R7), mov(R8, 0), for_range(R6, 0, 16, turn), return_(R8)]
    assert run(program) == 20


def test_a_loop_with_a_budget_needs_no_bound(values: ArrayMap[int]) -> None:
    """A loop whose end the verifier cannot see would be refused."""
    if environment.kernel_version() < (6, 9):
        raise NotSupportedError("may_goto", (6, 9))
    values[0] = 1000
    program = [
        looked_up(values, 0, R7), mov(R6, 0), mov(R8, 0),
        while_(when(R6, "!=", R7), [add(R6, 1), xor(R8, R6)], budget=True),
        return_(R8),
    ]  # fmt: skip
    expected = 0
    for number in range(1, 1001):
        expected ^= number
    assert run(program) == expected
