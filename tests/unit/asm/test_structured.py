"""Blocks against a model: random programs run by a small machine and by Python itself."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf import asm
from ebpf.asm import (
    R0,
    R1,
    R2,
    R6,
    R7,
    R8,
    R9,
    Label,
    Register,
    add,
    all_of,
    any_of,
    assemble,
    call,
    exit_,
    for_range,
    if_,
    ja,
    mov,
    not_,
    return_,
    when,
    while_,
)
from ebpf.errors import AsmError

MASK = 2**64 - 1


def signed(value: int, bits: int) -> int:
    half = 1 << bits - 1
    return (value & 2 * half - 1 ^ half) - half


COMPARED: dict[str, Any] = {
    "==": lambda a, b, _: a == b, "!=": lambda a, b, _: a != b, "<": lambda a, b, _: a < b,
    "<=": lambda a, b, _: a <= b, ">": lambda a, b, _: a > b, ">=": lambda a, b, _: a >= b,
    "&": lambda a, b, _: a & b != 0,
    "s<": lambda a, b, n: signed(a, n) < signed(b, n),
    "s<=": lambda a, b, n: signed(a, n) <= signed(b, n),
    "s>": lambda a, b, n: signed(a, n) > signed(b, n),
    "s>=": lambda a, b, n: signed(a, n) >= signed(b, n),
}  # fmt: skip
OPERATIONS = {0x10: "==", 0x50: "!=", 0xA0: "<", 0xB0: "<=", 0x20: ">", 0x30: ">=", 0x40: "&",
              0xC0: "s<", 0xD0: "s<=", 0x60: "s>", 0x70: "s>="}  # fmt: skip


def compare(sign: str, a: int, b: int, bits: int) -> bool:
    return bool(COMPARED[sign](a & 2**bits - 1, b & 2**bits - 1, bits))


def run(program: Any, **registers: int) -> int:
    """What a program of moves, additions, jumps and exits returns."""
    made = assemble(program, check=False)
    numbers = {int(name[1:]): value & MASK for name, value in registers.items()}
    slots: dict[int, Any] = {}
    slot = 0
    for instruction in asm.disassemble(made.code):
        slots[slot] = instruction
        slot += len(instruction)
    at = steps = 0
    while True:
        i, at, steps = slots[at], at + len(slots[at]), steps + 1
        assert steps < 100_000, "the program never ends"
        operand = numbers.get(i.src, 0) if i.opcode & 8 else i.imm & MASK
        if i.opcode == 0x95:
            return numbers[0]
        if i.opcode == 0x18:
            numbers[i.dst] = i.imm & MASK
        elif i.opcode & 0xF7 == 0xB7:
            numbers[i.dst] = operand
        elif i.opcode & 0xF7 == 0x07:
            numbers[i.dst] = numbers[i.dst] + operand & MASK
        elif i.opcode == 0x05:
            at += i.offset
        else:
            bits = 64 if i.opcode & 7 == 5 else 32
            if compare(OPERATIONS[i.opcode & 0xF0], numbers[i.dst], operand, bits):
                at += i.offset


# A model of conditions and statements: tuples, made into instructions and run in Python.
NUMBERS = st.sampled_from([0, 1, 2, 7, -1, 2**31 - 1, -(2**31)])
LEAVES = st.tuples(
    st.just("when"), st.sampled_from([6, 7]), st.sampled_from(sorted(COMPARED)),
    NUMBERS | st.sampled_from(["R6", "R7"]), st.sampled_from([32, 64]),
)  # fmt: skip
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: (
        st.tuples(st.sampled_from(["all", "any"]), st.lists(inner, min_size=1, max_size=3))
        | st.tuples(st.just("not"), inner)
    ),
    max_leaves=4,
)
SIMPLE = st.sampled_from([("add", 1), ("add", 3), ("add", -5), ("leave",), ("skip",), ("return",)])


def compound(inner: Any) -> Any:
    block = st.lists(inner, max_size=3)
    return st.tuples(st.just("if"), CONDITIONS, block, block) | st.tuples(
        st.just("for"), st.integers(0, 3), st.integers(0, 6), st.integers(1, 3), block
    )


BLOCKS = st.lists(st.recursive(SIMPLE, compound, max_leaves=8), max_size=4)


class Leave(Exception):
    pass


class Skip(Exception):
    pass


class Return(Exception):
    pass


def holds(condition: Any, r6: int, r7: int) -> bool:
    kind = condition[0]
    if kind == "not":
        return not holds(condition[1], r6, r7)
    if kind != "when":
        found = [holds(c, r6, r7) for c in condition[1]]
        return all(found) if kind == "all" else any(found)
    _, dst, sign, src, bits = condition
    operand = {"R6": r6, "R7": r7}.get(src, src)
    return compare(sign, r6 if dst == 6 else r7, operand & MASK, bits)


def made(condition: Any) -> Any:
    kind = condition[0]
    if kind == "not":
        return not_(made(condition[1]))
    if kind != "when":
        return (all_of if kind == "all" else any_of)(*map(made, condition[1]))
    _, dst, sign, src, bits = condition
    operand = {"R6": R6, "R7": R7}.get(src, src)
    return when(Register(dst), sign, operand, bits=bits)


def execute(block: Any, r6: int, r7: int, depth: int) -> int:
    for statement in block:
        kind = statement[0]
        if kind == "add":
            r6 = r6 + statement[1] & MASK
        elif kind == "return":
            raise Return(r6)
        elif kind in ("leave", "skip"):
            if depth:
                raise (Leave if kind == "leave" else Skip)(r6)
        elif kind == "if":
            chosen = statement[2] if holds(statement[1], r6, r7) else statement[3]
            r6 = execute(chosen, r6, r7, depth)
        elif depth < 2:
            _, start, stop, step, body = statement
            for _ in range(start, stop, step):
                try:
                    r6 = execute(body, r6, r7, depth + 1)
                except Skip as skip:
                    r6 = skip.args[0]
                except Leave as leave:
                    r6 = leave.args[0]
                    break
    return r6


def in_loop(block: Any, loops: list[Any], loop: Any) -> list[Any]:
    return built(block, [*loops, loop])


def built(block: Any, loops: list[Any]) -> list[Any]:
    items: list[Any] = []
    for statement in block:
        kind = statement[0]
        if kind == "add":
            items.append(add(R6, statement[1]))
        elif kind == "return":
            items.append(return_(R6))
            break
        elif kind in ("leave", "skip"):
            if loops:
                items.append(ja(loops[-1].end if kind == "leave" else loops[-1].next))
                break
        elif kind == "if":
            items.append(if_(made(statement[1]), *(built(b, loops) for b in statement[2:])))
        elif len(loops) < 2:
            _, start, stop, step, body = statement
            counter = [R8, R9][len(loops)]
            inner = partial(in_loop, body, loops)
            items.append(for_range(counter, start, stop, inner, step=step))
    return items


@given(BLOCKS, NUMBERS, NUMBERS)
def test_blocks_do_what_python_does(block: Any, r6: int, r7: int) -> None:
    """A branch would go the wrong way, or a loop run once too often."""
    program = [mov(R6, r6), mov(R7, r7), built(block, []), return_(R6)]
    try:
        expected = execute(block, r6 & MASK, r7 & MASK, 0)
    except Return as early:
        expected = early.args[0]
    assert run(program) == expected


@pytest.mark.parametrize(
    "program",
    [
        [if_(when(R1, "==", 0), return_(1), return_(2))],
        [if_(when(R1, "==", 0), if_(when(R1, "<", 9), return_(1), return_(3)), return_(2))],
        [if_(when(R1, "==", 0), return_(1)), return_(2)],
        [for_range(R6, 0, 4, [return_(1)]), return_(2)],
        [for_range(R6, 0, 4, lambda loop: [if_(when(R1, "&", 1), ja(loop.end))]), return_(2)],
        [while_(None, lambda loop: [if_(when(R1, "&", 1), ja(loop.next), ja(loop.end))]),
         return_(2)],
        [while_(when(R1, "&", 1), return_(1)), return_(2)],
        [while_(None, [], budget=True), return_(2)],
        [while_(None, return_(4))],
    ],
)  # fmt: skip
def test_no_block_has_code_that_nothing_reaches(program: Any) -> None:
    """The verifier would refuse the jumps that a block adds behind an exit."""
    assemble(program)


def test_while() -> None:
    """A loop would end too early, too late or never."""

    def odd_numbers(loop: Any) -> list[Any]:
        return [
            add(R6, 1),
            if_(not_(when(R6, "&", 1)), ja(loop.next)),
            if_(when(R6, ">", 10), ja(loop.end)),
            add(R0, R6),
        ]

    program = [mov(R0, 0), mov(R6, 0), while_(when(R6, "<", 100), odd_numbers), exit_()]
    assert run(program) == 1 + 3 + 5 + 7 + 9
    program = [mov(R0, 0), mov(R6, 0), while_(when(R6, "<", 5), [add(R6, 2)]), mov(R0, R6), exit_()]
    assert run(program) == 6


def test_a_range_up_to_a_register() -> None:
    """A loop that the verifier can bound would run less often than it should, or more."""
    for stop, turns in ((0, 0), (3, 3), (100, 16)):
        block = for_range(R6, 2, R7, [add(R0, 1)], at_most=16)
        assert run([mov(R0, 0), mov(R7, stop + 2), block, exit_()]) == turns


def test_blocks_are_made_anew() -> None:
    """A snippet could be used once in a program only."""

    def snippet() -> list[Any]:
        return [if_(when(R0, "==", 1), [add(R0, 1)]), for_range(R6, 0, 2, [add(R0, 1)])]

    assert run([mov(R0, 1), snippet(), snippet(), exit_()]) == 6


def test_big_numbers_are_returned_whole() -> None:
    """A result of 64 bits would be cut to 32."""
    assert run(return_(2**63)) == 2**63
    assert run([mov(R0, 4), return_(R0)]) == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: when(R1, "=", 0), "sign must be one of == != "),
        (lambda: when(R1, "==", 0, bits=16), "bits must be 32 or 64, not 16"),
        (lambda: when(R1, "==", 2**32), "src 4294967296 does not fit"),
        (lambda: all_of(), "one or more"),
        (lambda: for_range(R6, 0, 4, [], step=0), r"step must be in 1\.\."),
        (lambda: for_range(R6, R1, 4, [], at_most=3), "at_most needs a start that is a number"),
        (lambda: for_range(R6, -5, 5, []), r"start must be in 0\.\..*, not -5"),
        (lambda: for_range(R6, 0, -1, []), r"stop must be in 0\.\..*, not -1"),
        (lambda: for_range(R6, 0, R6, []), "stop must not be R6, the counter"),
        (lambda: for_range(R1, 0, 4, [call(7)]), "counter must not be R1: call 7 in the block"),
        (lambda: for_range(R0, 0, 4, [[call(7)]]), "counter must not be R0: call 7"),
        (lambda: for_range(R6, 0, R2, [asm.call_local("f")]), "stop must not be R2: call f"),
    ],
)
def test_refused_with_the_reason(make: Any, message: str) -> None:
    """The mistake would be found by the verifier, or by nobody."""
    with pytest.raises(AsmError, match=message):
        make()


@pytest.mark.parametrize("wrong", [True, R1, [add(R0, 1)], None])
def test_conditions_are_conditions(wrong: Any) -> None:
    """``if_(R1 == 0, ...)`` compares in Python, and would always be false."""
    with pytest.raises(TypeError, match="a condition is what when"):
        if_(wrong, [add(R0, 1)])
    with pytest.raises(TypeError, match="block"):
        while_(None, [5])


def test_positions_are_those_of_the_caller() -> None:
    """An error would point into the library."""
    made_here = if_(when(R1, "==", 0), [add(R0, 1)])
    assert all(item.position and item.position.filename == __file__ for item in made_here)
    assert isinstance(made_here[-1], Label)
