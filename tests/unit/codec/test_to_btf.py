"""The BTF that is made of a codec describes the same values at the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.codec import Array, Char, Pad, Raw, be32, codec, from_btf, s8, s64, u16, u64
from ebpf.codec.to_btf import btf_of


@dataclass
class Inner:
    low: s8
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
    delta: s64
    _pad: Annotated[bytes, Pad(8)] = b""


def test_a_dataclass_there_and_back() -> None:
    """A field is read at another offset, or as another type, than it was written."""
    made = codec(Outer)
    data, key_id, value_id = btf_of(None, made)
    assert key_id == 0
    value = Outer(
        *(1 << 63, "abc", b"\0\1\2\3\4\0", 0x7F000001, Inner(-5, True)),
        *([Inner(1, False), Inner(-1, True)], [7, 8, 9], -(1 << 62)),
    )
    record: Any = from_btf(Btf(data), value_id).unpack(made.pack(value))
    assert (record.number, record.name, record.mac) == (1 << 63, b"abc", value.mac)
    assert (record.address, record.delta, record.counts) == (0x7F000001, -(1 << 62), (7, 8, 9))
    assert (record.inner.low, record.inner.flag) == (-5, True)
    assert [(one.low, one.flag) for one in record.many] == [(1, False), (-1, True)]
    assert record._fields == (
        "number",
        "name",
        "mac",
        "address",
        "inner",
        "many",
        "counts",
        "delta",
    )


@pytest.mark.parametrize("letter", list("bBhHiIqQ?"))
def test_numbers(letter: str) -> None:
    """A number has another size or sign."""
    made = codec(letter)
    data, key_id, value_id = btf_of(made, made)
    assert key_id == value_id
    again = from_btf(Btf(data), key_id)
    assert again.size == made.size
    assert again.unpack(b"\xff" * made.size if letter != "?" else b"\1") == made.unpack(
        b"\xff" * made.size if letter != "?" else b"\1"
    )


def test_tuples_have_numbered_fields() -> None:
    """The items of a format are at other offsets than the codec packs them."""
    made = codec("BI3sH")
    data, _, value_id = btf_of(None, made)
    record: Any = from_btf(Btf(data), value_id).unpack(made.pack((1, 2, b"abc", 3)))
    assert (record.f0, record.f1, record.f2, record.f3) == (1, 2, b"abc", 3)


@pytest.mark.parametrize("spec", [7, ">I", "f", "d", "e"])
def test_what_c_has_no_type_for_is_bytes(spec: Any) -> None:
    """Numbers of another byte order, or floats, become integers of this machine's."""
    made = codec(spec)
    data, _, value_id = btf_of(None, made)
    target = Btf(data).resolve(value_id)
    assert isinstance(target, t.Array)
    assert target.length == made.size
    assert from_btf(Btf(data), value_id).unpack(bytes(range(made.size))) == bytes(range(made.size))
