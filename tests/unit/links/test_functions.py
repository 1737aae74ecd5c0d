"""Patterns for functions."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf import kallsyms
from ebpf.links import functions, kprobe_multi, tracing_multi
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


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A kernel with two functions `show` that ftrace patches behind their beginnings, and one that
    it does not patch; its addresses are hidden where the parameter is True."""
    traceable = [(0x14, "show"), (0x20, "read"), (0x34, "show"), (0x34, "show")]
    symbols = {"show": [0x10, 0x30, 0x40], "read": [0x20]}
    if request.param:
        traceable = [(0, name) for _, name in traceable]
        symbols = {name: [0] * len(addresses) for name, addresses in symbols.items()}

    def addresses_of(names: Iterable[str]) -> dict[str, list[int]]:
        return {name: symbols[name] for name in {*names} & symbols.keys()}

    monkeypatch.setattr(functions, "_traceable", lambda: iter(traceable))
    monkeypatch.setattr(kallsyms, "addresses_of", addresses_of)


@pytest.mark.parametrize(
    ("kernel", "symbols", "names", "addresses", "cookies"),
    [
        (False, ["read", "show", "read"], [], [0x10, 0x20, 0x30], [2, 0, 2]),
        (False, "sho?", [], [0x10, 0x30], [2, 2]),
        (False, "show", [], [0x10, 0x30], [2, 2]),
        (False, ["show", "show"], [], [0x10, 0x30], [2, 2]),
        # Which one is not there is for the kernel to say.
        (False, ["show", "raed"], ["show", "raed"], [], [2, 0]),
        (True, ["read", "show", "read"], ["read", "show"], [], [0, 2]),
        (True, "*", ["show", "read"], [], [2, 0]),
    ],
    indirect=["kernel"],
)
@pytest.mark.usefixtures("kernel")
def test_a_name_means_all_functions_of_it(
    symbols: str | list[str], names: list[str], addresses: list[int], cookies: list[int]
) -> None:
    """The kernel takes the first function of a name, and refuses a name that is there twice."""
    places = kprobe_multi.Places(symbols, None, {"show": 2})
    assert places.names == names
    assert places.addresses == addresses
    assert places.cookies == cookies


def test_cookies_of_functions_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is there twice, or that two functions have, moves the cookies of the others."""
    found = {"read": [4], "show": [7, 8]}
    monkeypatch.setattr(
        tracing_multi,
        "btf_functions",
        lambda names: [(id, name) for name in names for id in found[name]],
    )
    names, places = tracing_multi._functions(["show", "show", "read"], None)
    assert places == [(7, "show"), (8, "show"), (4, "read")]
    assert tracing_multi._cookies({"show": 1, "read": 2}, names, places) == [1, 1, 2]
    assert tracing_multi._cookies([1, 2], names, places) == [1, 1, 2]
