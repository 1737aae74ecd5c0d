"""Which buffers are keys or values of a map."""

from __future__ import annotations

import struct
import sys
from ctypes import BigEndianStructure, c_uint32
from typing import Any

import pytest

from ebpf.codec import PerCpu, Raw, be32, codec, u64
from ebpf.maps.buffers import columns, readable, writable

# 24 bytes: as many items as make it up in each format.
DATA = bytes(range(1, 25))
FOREIGN = ">I" if sys.byteorder == "little" else "<I"


def items(format: str) -> memoryview:
    return memoryview(DATA).cast(format)  # type: ignore[call-overload,no-any-return]


def bytearray_of(view: memoryview) -> memoryview:
    return memoryview(bytearray(view.cast("B"))).cast(view.format)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    ("spec", "format", "refusal"),
    [
        ("Q", "Q", None),
        ("Q", "L", None),
        ("Q", "q", None),
        ("Q", "B", None),
        ("Q", "c", None),
        ("Q", "b", r"items of 1 bytes \(format 'b'\), but the map's have 8"),
        ("Q", "H", r"items of 2 bytes \(format 'H'\), but the map's have 8"),
        ("Q", "I", r"items of 4 bytes \(format 'I'\), but the map's have 8"),
        ("Q", "f", r"items of 4 bytes \(format 'f'\), but the map's have 8"),
        ("Q", "?", r"items of 1 bytes"),
        ("Q", "d", r"floats \(format 'd'\), but the map has integers \('Q'\)"),
        ("d", "d", None),
        ("d", "f", r"items of 4 bytes"),
        ("d", "Q", r"integers .*, but the map has floats"),
        ("I", "Q", r"items of 8 bytes \(format 'Q'\), but the map's have 4"),
        (FOREIGN, "I", r"integers .*, but the map has integers of the other byte order"),
        (FOREIGN, "H", r"items of 2 bytes"),
        # Several values, and bytes of which nobody knows what they are.
        ("III", "I", None),
        ("III", "H", None),
        ("III", "Q", r"items of 8 bytes \(format 'Q'\), but the map's have 12"),
        ("6s", "H", None),
        (Raw(8), "Q", None),
        (8, "d", None),
    ],
)
def test_items_of_another_size_or_kind(spec: Any, format: str, refusal: str | None) -> None:
    """Two numbers of an array are taken for one of the map's, or floats for integers."""
    made = codec(spec)
    for take in (readable, lambda name, given, of: writable(name, bytearray_of(given), of)):
        if refusal is None:
            _, count = take("keys", items(format), made)
            assert count == len(DATA) // made.size
        else:
            with pytest.raises(ValueError, match=rf"^keys: the buffer has .*{refusal}"):
                take("keys", items(format), made)


def test_numbers_in_network_order() -> None:
    """Numbers of this machine's order are taken for a __be32."""

    class Address(BigEndianStructure):
        _fields_ = (("number", c_uint32),)

    made = codec(be32)
    number = Address._fields_[0][1].__ctype_be__
    _, count = readable("keys", (number * 2)(1, 2), made)
    assert count == 2
    _, count = readable("keys", made.pack(1), made)
    assert count == 1
    if sys.byteorder == "little":
        with pytest.raises(ValueError, match=r"^keys: .*map has integers of the other byte order"):
            readable("keys", items("I"), made)


@pytest.mark.parametrize(
    ("spec", "format", "numbers", "refusal"),
    [
        ("I", "i", [1, 2], None),
        ("I", "i", [1, 2, -1], r"item 2 of the buffer \(format 'i'\) is negative.*unsigned.*'I'"),
        ("i", "I", [1, (1 << 31) - 1], None),
        ("i", "I", [1 << 31], r"item 0 of .* too large: the map has signed integers of 4 bytes"),
        ("i", "i", [-1], None),
        ("Q", "q", [-1], r"item 0 of .* negative"),
        ("B", "b", [-1], r"item 0 of .* negative"),
        # Bytes are bytes.
        ("b", "B", [255], None),
        ("II", "i", [-1, -1], None),
    ],
)
def test_signs(spec: str, format: str, numbers: list[int], refusal: str | None) -> None:
    """A negative number becomes a large one in the map, or a large one a negative one."""
    packed = struct.pack(f"{len(numbers)}{format}", *numbers)
    view = memoryview(packed).cast(format)  # type: ignore[call-overload]
    if refusal is None:
        readable("values", view, codec(spec))
    else:
        with pytest.raises(ValueError, match=rf"^values: {refusal}"):
            readable("values", view, codec(spec))
        # What is to be overwritten may be anything.
        writable("values", bytearray_of(view), codec(spec))


def test_values_per_cpu() -> None:
    """The items of a per-CPU value are compared with those of all CPUs, or its gaps with them."""
    gaps = PerCpu(codec("I"), 2)
    high = struct.pack("=IIII", 1, 1 << 31, 2, 0)
    assert readable("values", memoryview(high).cast("I"), gaps)[1] == 1
    assert readable("values", memoryview(high).cast("i"), gaps)[1] == 1
    with pytest.raises(ValueError, match=r"items of 8 bytes \(format 'Q'\), but the map's have 4"):
        readable("values", memoryview(high).cast("Q"), gaps)
    with pytest.raises(ValueError, match=r"items of 4 bytes"):
        readable("values", memoryview(high).cast("I"), PerCpu(codec(u64), 2))
    with pytest.raises(ValueError, match=r"item 1 of .* negative"):
        readable("values", memoryview(struct.pack("qq", 1, -1)).cast("q"), PerCpu(codec(u64), 2))


def test_items_of_no_size() -> None:
    """numpy's items of no bytes end in a division by zero."""
    numpy = pytest.importorskip("numpy")
    for spec in ("I", "II"):
        with pytest.raises(ValueError, match=r"^keys: the buffer has items of 0 bytes"):
            readable("keys", numpy.zeros(2, "V0"), codec(spec))


@pytest.mark.parametrize(
    ("given", "kind", "told"),
    [
        (None, TypeError, "None is no iterable and no mapping"),
        ([(1, 2), 3], TypeError, "entry 1, 3, is no pair"),
        ([(1, 2, 3)], ValueError, r"entry 0, \(1, 2, 3\), is no pair of a key and a value"),
        ([(1, 2), (3,)], ValueError, r"entry 1, \(3,\), is no pair"),
    ],
)
def test_what_are_no_entries(given: Any, kind: type[Exception], told: str) -> None:
    """The error is Python's for an assignment inside, and names no argument and no entry."""
    with pytest.raises(kind, match=f"^other: {told}"):
        columns(given, {})
