"""Patterns for functions."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf.links.functions import is_pattern, matcher

NAMES = st.text(alphabet="ab_.[]$^+", max_size=8)


@given(NAMES, st.text(alphabet="ab_*?", max_size=6))
def test_a_pattern_matches_as_in_a_shell(name: str, pattern: str) -> None:
    """Another function would be traced, or one left out."""
    assert bool(matcher(pattern)(name)) == fnmatch.fnmatchcase(name, pattern)


@given(NAMES, NAMES)
def test_all_other_characters_are_themselves(name: str, other: str) -> None:
    """A dot, which names of functions have, would stand for any character."""
    assert bool(matcher(name)(other)) == (name == other)
    assert not is_pattern(name)
    assert is_pattern(f"{name}*")


def test_a_pattern_is_a_text() -> None:
    """The kernel would see the part before a NUL."""
    with pytest.raises(ValueError, match=r"pattern: .* has a NUL"):
        matcher("a\0*")
    not_a_text: object = b"a*"
    with pytest.raises(TypeError, match="is not a str"):
        matcher(not_a_text)  # type: ignore[arg-type]
