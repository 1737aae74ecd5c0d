"""Sound files with something changed: the readers answer, or say what is wrong and where."""

from __future__ import annotations

import functools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.mutate import MUTATORS, mutate
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS
from tests.objects import NoCompiler


@functools.cache
def sound(target: str) -> list[bytes]:
    try:
        return seeds(target)
    except NoCompiler as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("target", TARGETS)
def test_changed_files_are_read_or_refused(target: str) -> None:
    """Fails when anything but a FormatError comes out, or one that does not say where."""
    start = sound(target)

    @settings(max_examples=150, derandomize=True, database=None)
    @given(st.integers(0, len(start) - 1), st.randoms(use_true_random=False))
    def run(number: int, choices: random.Random) -> None:
        TARGETS[target](mutate(target, start[number], choices))

    run()


@pytest.mark.parametrize("target", TARGETS)
def test_changes_reach_behind_the_first_check(target: str) -> None:
    """Fails when the mutations only make files that are refused at once, or none that are."""
    start = sound(target)
    choices = random.Random(1)
    same = sum(mutate(target, data, choices) == data for data in start)
    assert same <= len(start) // 2
    assert set(MUTATORS) == set(TARGETS)
