"""Arguments that no kernel takes."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from ebpf._sys.arguments import (
    c_string,
    check_number,
    check_numbers,
    check_objects,
    check_seconds,
    poll_time,
)


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


@pytest.mark.parametrize("value", [0, -1, 2, 0.5, float("inf"), Fraction(1, 2)])
def test_times_that_are_numbers(value: Any) -> None:
    """A time that Python's own functions take is refused, or becomes another."""
    seconds = check_seconds("timeout", value)
    assert (type(seconds), seconds) == (float, value)
    assert check_seconds("timeout", None) is None


def test_times_of_numpy() -> None:
    """Its 32-bit numbers are neither int nor float."""
    numpy = pytest.importorskip("numpy")
    for value in (numpy.float32(0.5), numpy.float64(0.5), numpy.int8(1)):
        assert check_seconds("timeout", value) == value


@pytest.mark.parametrize("value", ["1", b"1", [], True, 1j, Decimal(1), object()])
def test_times_that_are_no_numbers(value: Any) -> None:
    """The error comes from a sum inside the library, and names no argument."""
    with pytest.raises(TypeError, match=r"^timeout: .* is not a number of seconds"):
        check_seconds("timeout", value)


@pytest.mark.parametrize(("value", "told"), [(float("nan"), "no time"), (10**400, "no float")])
def test_times_that_never_come(value: float, told: str) -> None:
    """What waits for NaN never ends; what no float holds fails as OverflowError."""
    with pytest.raises(ValueError, match=f"^timeout: .*{told}"):
        check_seconds("timeout", value)


def test_what_poll_can_count() -> None:
    """A long wait overflows 32 bits of milliseconds, a negative one never ends."""
    assert poll_time(0.5) == 500
    assert poll_time(-1.0) == 0
    assert poll_time(24 * 86400.0) == 24 * 86400 * 1000 < 1 << 31
    for endless in (None, 25 * 86400.0, float("inf")):
        assert poll_time(endless) is None
