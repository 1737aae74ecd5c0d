"""Inputs that once broke a reader, found by the fuzzers, and shapes made to cost too much."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.limits import lines_of, memory_for, peak_memory
from tests.fuzz.seeds import CRASHERS, crashers
from tests.fuzz.shapes import SHAPES, Shape
from tests.fuzz.targets import TARGETS

FOUND = [(target, path) for target in TARGETS for path in crashers(target)]
MADE = [(target, shape) for target, shapes in SHAPES.items() for shape in shapes]


def check(target: str, data: bytes) -> None:
    """The target lets no other exception pass, and ends with little work and memory."""

    def run() -> None:
        TARGETS[target](data)

    lines_of(run)
    assert peak_memory(run) <= memory_for(len(data))


@pytest.mark.parametrize(("target", "path"), FOUND, ids=lambda value: getattr(value, "stem", value))
def test_what_was_found_stays_fixed(target: str, path: Path) -> None:
    """Fails when an input crashes a reader again, or keeps it busy."""
    check(target, path.read_bytes())


@pytest.mark.parametrize(
    ("target", "shape"), MADE, ids=lambda value: getattr(value, "__name__", value)
)
def test_parts_that_refer_to_one_another_cost_what_their_size_allows(
    target: str, shape: Shape
) -> None:
    """Fails when a file of many parts that refer to one large part takes their product."""
    data = shape(SHAPES[target][shape])
    assert len(data) < 1 << 17
    check(target, data)


def test_every_file_that_was_found_is_tried() -> None:
    """Fails when a crasher lies where no target looks for it."""
    assert {path for _, path in FOUND} == {path for path in CRASHERS.rglob("*") if path.is_file()}
