"""Names without their flavours."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf.btf.core import essential_name


@pytest.mark.parametrize(
    ("name", "essential"),
    [
        ("task_struct", "task_struct"),
        ("task_struct___old", "task_struct"),
        ("a___b___c", "a___b"),
        ("a____b", "a____b"),
        ("___a", "___a"),
        ("a___", "a___"),
        ("a___b_", "a"),
        ("a___b____c", "a"),
        ("", ""),
        ("x___1", "x"),
    ],
)
def test_the_last_flavour_is_cut_off(name: str, essential: str) -> None:
    """Fails when another part of a name than libbpf's counts as its flavour."""
    assert essential_name(name) == essential


@given(st.text("ab_", max_size=20))
def test_a_flavour_stands_between_other_signs(name: str) -> None:
    """Fails when underscores next to the three are taken for a part of the separator."""
    ends = [match.start() + 1 for match in re.finditer(r"(?=[^_]___[^_])", name)]
    assert essential_name(name) == (name[: ends[-1]] if ends else name)


def test_a_name_of_underscores_takes_linear_time() -> None:
    """Fails when hostile names are searched again for every underscore."""
    name = "_" * 2_000_000
    assert essential_name(name) == name
