"""Arguments that no kernel takes."""

from __future__ import annotations

from typing import Any

import pytest

from ebpf._sys.arguments import c_string, check_number, check_numbers, check_objects


@pytest.mark.parametrize("value", [0, 1, (1 << 32) - 1])
def test_numbers_that_fit(value: int) -> None:
    """The smallest or the largest number that fits is refused."""
    check_number("flags", value, 32)
    check_numbers(32, flags=value)


@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_numbers_that_do_not_fit(value: int) -> None:
    """A number is cut to the width of its field."""
    told = rf"^flags: {value} does not fit .* 32 bits \(0 to 0xffffffff\)"
    with pytest.raises(ValueError, match=told):
        check_number("flags", value, 32)
    with pytest.raises(ValueError, match=told):
        check_numbers(32, id=1, flags=value)


@pytest.mark.parametrize("value", [True, 1.0, "1", None])
def test_numbers_that_are_none(value: Any) -> None:
    """Something else than an int is taken for a number."""
    with pytest.raises(TypeError, match=r"^flags: .* is not an int"):
        check_number("flags", value, 32)


def test_a_text_is_passed_whole_or_not_at_all() -> None:
    """C ends a text at its NUL: another name than the one given would be used."""
    assert c_string("license", "GPL") == b"GPL"
    assert c_string("path", "ü\udcff") == b"\xc3\xbc\xff"
    for text in ("\0", "GPL\0", "a\0b"):
        with pytest.raises(ValueError, match=r"^license: .* has a NUL"):
            c_string("license", text)


@pytest.mark.parametrize("value", [b"GPL", None, 7])
def test_a_text_is_a_str(value: Any) -> None:
    """Bytes fail later, with an error that does not name the argument."""
    with pytest.raises(TypeError, match=r"^license: .* is not a str"):
        c_string("license", value)


def test_an_object_has_a_descriptor() -> None:
    """Otherwise the error is an AttributeError from inside the library."""
    with open("/dev/null") as file:
        check_objects(inner=file, btf=None)
    for value in (7, object(), "map"):
        with pytest.raises(TypeError, match=r"^inner: .* has no descriptor"):
            check_objects(inner=value)
