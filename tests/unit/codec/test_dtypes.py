"""numpy's view of a codec has the same values at the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from ebpf.codec import Array, Char, Pad, PerCpu, Raw, be32, codec, f64, s16, u8, u16, u64
from ebpf.codec.dtypes import array_of, dtype_of

numpy = pytest.importorskip("numpy")


@dataclass
class Inner:
    low: s16
    flag: bool


@dataclass
class Outer:
    number: u64
    name: Annotated[str, Char(5)]
    mac: Annotated[bytes, Raw(6)]
    address: be32
    inner: Inner
    many: Annotated[list[Inner], Array(Inner, 2)]
    counts: Annotated[list[int], Array(u16, 3)]
    ratio: f64
    small: u8
    _pad: Annotated[bytes, Pad(3)] = b""


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        ("I", [0, 1, (1 << 32) - 1]),
        ("q", [-1, 1 << 62]),
        (">H", [1, 256]),
        ("?", [True, False]),
        ("d", [1.5, -0.25]),
        ("e", [0.5]),
    ],
)
def test_numbers(spec: str, values: list[Any]) -> None:
    """A number has another size, sign or byte order for numpy."""
    made = codec(spec)
    array = array_of(made, b"".join(map(made.pack, values)))
    assert array.tolist() == values
    assert array.dtype == dtype_of(made)


def test_a_dataclass_is_a_structured_dtype() -> None:
    """A field is at another offset, or has another type."""
    made = codec(Outer)
    value = Outer(
        *(1 << 60, "abc", b"\0\1\2\3\4\0", 0x7F000001, Inner(-5, True)),
        *([Inner(1, False), Inner(-1, True)], [7, 8, 9], 0.5, 200),
    )
    (row,) = array_of(made, made.pack(value))
    dtype = dtype_of(made)
    assert dtype.itemsize == made.size
    assert {name: dtype.fields[name][1] for name in dtype.names} == {
        name: offset for name, offset in made.offsets.items() if name != "_pad"
    }
    assert (row["number"], row["name"], row["mac"].tobytes()) == (1 << 60, b"abc", value.mac)
    assert (row["address"], row["ratio"], row["small"]) == (0x7F000001, 0.5, 200)
    assert (row["inner"]["low"], row["inner"]["flag"]) == (-5, True)
    assert row["many"]["low"].tolist() == [1, -1]
    assert row["counts"].tolist() == [7, 8, 9]


def test_tuples_and_bytes() -> None:
    """The items of a format are at other offsets than C's alignment puts them."""
    made = codec("BI3sH")
    array = array_of(made, made.pack((1, 2, b"abc", 3)) * 2)
    assert [array[f"f{i}"].tolist() for i in range(4)] == [[1, 1], [2, 2], [b"abc"] * 2, [3, 3]]
    assert array_of(codec(4), b"\0ab\0").tolist() == [b"\0ab\0"]
    assert array_of(codec("4s"), b"ab\0\0").tolist() == [b"ab"]
    assert array_of(codec(numpy.dtype("u2")), b"\1\0\2\0").tolist() == [1, 2]


@pytest.mark.parametrize("spec", ["I", "Q", "3s", Inner])
def test_values_per_cpu_have_two_dimensions(spec: Any) -> None:
    """A CPU's value is read from the gap behind another's."""
    inner = codec(spec)
    made = PerCpu(inner, 3)
    one: dict[Any, Any] = {"I": 1, "Q": 2, "3s": b"abc", Inner: Inner(7, True)}
    array = array_of(made, made.pack([one[spec]] * 3) * 2)
    assert array.shape == (2, 3)
    expected = (7, True) if spec is Inner else one[spec]
    assert array.tolist() == [[expected] * 3] * 2


def test_nothing_is_copied_and_no_values_are_none() -> None:
    """The array is a copy; an empty buffer is an error."""
    buffer = bytearray(8)
    array = array_of(codec("I"), buffer)
    array[1] = 5
    assert buffer[4] == 5
    assert array_of(codec(Outer), b"").shape == (0,)
    assert array_of(PerCpu(codec("I"), 2), b"").shape == (0, 2)
    assert array_of(codec("I"), bytes(16), 8).tolist() == [0, 0]
