"""What was read does not change: the buffers that it came from are used again."""

from __future__ import annotations

import ctypes
import importlib
import ipaddress
import struct
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from ebpf.codec import Array, Char, Codec, PerCpu, Raw, be32, codec, f64, u8, u32, u64


@dataclass
class Inner:
    small: u8
    name: Annotated[str, Char(4)]
    raw: Annotated[bytes, Raw(4)]
    numbers: Annotated[list[int], Array(u32, 2)]


@dataclass
class Outer:
    order: be32
    inner: Inner
    total: u64


class Pair(ctypes.Structure):
    _fields_ = (("a", ctypes.c_uint32), ("b", ctypes.c_uint32 * 3))


class View:
    """An object that gives back what it was given."""

    size = 8

    def pack(self, value: bytes) -> bytes:
        return value

    def unpack(self, data: bytes) -> memoryview:
        return memoryview(data)


KINDS: list[Any] = [
    *("I", ">I", "QI", "16s", "3c", "?", "d", 8, struct.Struct("<HB")),
    *(u32, f64, Annotated[str, Char(8)], Raw(8), Array(u32, 4), Inner, Outer),
    *(ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network),
    *(Pair, View()),
]
DTYPES: list[Any] = ["u8", ">u4", "S8", "V8", [("a", "u4"), ("b", "u4")], [("c", "u8", (2,))]]


def printable(value: Any) -> str:
    """All of a value, as text."""
    return repr(bytes(value) if isinstance(value, (Pair, memoryview)) else value)


def unchanged(made: Codec[Any]) -> None:
    for of in (made, PerCpu(made, 2)):
        buffer = bytearray(of.size)
        values = [of.unpack(buffer), *of.iter_unpack(buffer)]
        before = [printable(value) for value in values]
        buffer[:] = b"\x01" * len(buffer)
        assert [printable(value) for value in values] == before


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_values_are_copies(kind: Any) -> None:
    """Wrong: a value is a view, and is another one after the next is read."""
    unchanged(codec(kind))


@pytest.mark.parametrize("kind", DTYPES, ids=str)
def test_values_of_numpy_are_copies(kind: Any) -> None:
    """Wrong: numpy's value is a view, and is another one after the next is read."""
    pytest.importorskip("numpy")
    unchanged(codec(importlib.import_module("numpy").dtype(kind)))
