from __future__ import annotations

import copy
import pickle
import sys
from typing import Any

import pytest

from ebpf import asm
from ebpf.asm import R0, R1, Instruction, Label, Position
from ebpf.errors import AsmError


def here() -> int:
    return sys._getframe(1).f_lineno


def test_position_is_the_line_that_made_it() -> None:
    """Errors and source listings would point into the library, or at another line."""
    made = [asm.mov(R0, 0), asm.jeq32(R1, 5, "x"), asm.call(1), asm.atomic_add(R1, R0)]; line = here()  # noqa: E501, E702  # fmt: skip
    label = Label("x"); label_line = here()  # noqa: E702  # fmt: skip
    assert [i.position for i in made] == [Position(__file__, line)] * 4
    assert label.position == Position(__file__, label_line)
    assert str(label.position) == f"{__file__}:{label_line}"


def test_position_in_a_snippet_is_the_snippets() -> None:
    """An instruction made by a user's function would be blamed on the function's caller."""

    def snippet() -> list[Instruction]:
        return [asm.mov(R0, 1)]

    (made,) = snippet()
    assert made.position is not None
    assert made.position.line == snippet.__code__.co_firstlineno + 1


def test_position_does_not_count_in_comparisons() -> None:
    """Equal instructions from two lines would differ."""
    first = asm.mov(R0, 1)
    second = asm.mov(R0, 1)
    assert first.position != second.position
    assert first == second
    assert hash(first) == hash(second)
    assert first != asm.mov(R0, 2)
    assert asm.ja("a") != asm.ja("b")
    assert asm.ld_map_fd(R1, "a") != asm.ld_map_fd(R1, "b")
    assert Label("a") == Label("a")
    assert Label("a") != Label("b")


def test_lddw_fills_two_slots() -> None:
    """Every jump over a 64-bit constant would miss its target."""
    assert len(asm.lddw(R0, 1)) == len(asm.ld_map_fd(R1, "m")) == 2
    assert len(asm.mov(R0, 1)) == 1


def test_instructions_cannot_change() -> None:
    """A snippet used in two programs could be changed through one of them."""
    made = asm.mov(R0, 1)
    with pytest.raises(AttributeError, match="immutable"):
        made.imm = 2
    with pytest.raises(AttributeError):
        made.comment = "x"
    assert made.imm == 1


def test_copies_keep_everything() -> None:
    """A program sent to another process would lose its labels or positions."""
    for made in (asm.ja("there"), asm.lddw(R1, -1), asm.ld_map_fd(R1, "m"), Label("l")):
        for copied in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
            assert copied == made
            assert copied.position == made.position


def test_repr_has_the_text_and_the_place() -> None:
    """A list of instructions would be unreadable in a debugger."""
    made = asm.mov(R0, 7)
    assert repr(made) == f"<Instruction r0 = 7 at {made.position}>"
    assert repr(Instruction(0x95, position=None)) == "<Instruction exit at unknown position>"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"opcode": 256}, "opcode must be in 0..255, not 256"),
        ({"opcode": 0xB7, "dst": 16}, "dst must be in 0..15"),
        ({"opcode": 0xB7, "src": -1}, "src must be in 0..15"),
        ({"opcode": 0xB7, "offset": 2**15}, "offset must be in"),
        ({"opcode": 0xB7, "imm": 2**31}, "imm must be in"),
        ({"opcode": 0x18, "imm": 2**63}, "imm must be in"),
        ({"opcode": 0xB7, "target": "x"}, "no jump, call or lddw"),
        ({"opcode": 0xB7, "map": "x"}, "only lddw can"),
    ],
)
def test_fields_must_fit(fields: dict[str, Any], message: str) -> None:
    """A field would be cut off, or a reference silently dropped, when it is encoded."""
    with pytest.raises(AsmError, match=message):
        Instruction(**fields)


@pytest.mark.parametrize("name", ["opcode", "dst", "src", "offset", "imm"])
def test_fields_are_integers(name: str) -> None:
    """True would be encoded as 1."""
    fields: dict[str, Any] = {"opcode": 0xB7, name: True}
    with pytest.raises(TypeError, match=f"{name} must be an integer, not bool True"):
        Instruction(**fields)


@pytest.mark.parametrize(("name", "error"), [("", AsmError), (5, TypeError), (None, TypeError)])
def test_labels_have_names(name: Any, error: type[Exception]) -> None:
    """A label that no jump can name would be accepted."""
    with pytest.raises(error, match="name must"):
        Label(name)
