"""Codecs from BTF. The bytes that a compiler writes are compared in tests/unit/elf/test_data.py."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.codec import PerCpu, from_btf
from ebpf.codec.btf import EnumValue, Record
from ebpf.errors import BtfError, CodecError

SIGNED = t.IntEncoding.SIGNED


class Types:
    """A few types, by name, to which tests add."""

    def __init__(self, byte_order: Any = sys.byteorder) -> None:
        self.builder = BtfBuilder(byte_order)
        self.u8 = self.integer("unsigned char", 1)
        self.char = self.integer("char", 1, SIGNED)
        self.s8 = self.integer("signed char", 1, SIGNED)
        self.u32 = self.integer("unsigned int", 4)
        self.s32 = self.integer("int", 4, SIGNED)
        self.u64 = self.integer("unsigned long", 8)

    def integer(self, name: str, size: int, encoding: t.IntEncoding = t.IntEncoding(0)) -> int:  # noqa: B008
        return self.builder.add(t.Int(name=name, size=size, bits=8 * size, encoding=encoding))

    def array(self, element: int, length: int) -> int:
        return self.builder.add(t.Array(type_id=element, index_type_id=self.u32, length=length))

    def struct(
        self, name: str, size: int, *members: tuple[str, int, int], bits: bool = False
    ) -> int:
        """Each member is (name, type id, bit offset); with `bits` a fourth number is a width."""
        made = tuple(t.Member(*member) for member in members)
        return self.builder.add(t.Struct(name=name, size=size, members=made, kind_flag=bits))

    def union(self, name: str, size: int, *members: tuple[str, int, int]) -> int:
        made = tuple(t.Member(*member) for member in members)
        return self.builder.add(t.Union(name=name, size=size, members=made))

    def codec(self, type_id: int) -> Any:
        return from_btf(self.builder.to_btf(), type_id)


def point(types: Types) -> int:
    return types.struct("point", 8, ("x", types.s32, 0), ("y", types.s32, 32))


def test_records_of_all_cpus_add_up() -> None:
    """A counter in a map that was opened by its id would have to be added by hand."""
    types = Types()
    counts = types.array(types.u32, 2)
    inner = point(types)
    codec = PerCpu(
        types.codec(
            types.struct("all", 24, ("n", types.u64, 0), ("c", counts, 64), ("p", inner, 128))
        ),
        3,
    )
    values = codec.unpack(
        codec.pack([{"n": cpu, "c": [cpu, 10], "p": {"x": -cpu, "y": 1}} for cpu in (1, 2, 3)])
    )
    total = values.sum()
    assert (total.n, list(total.c), total.p.x, total.p.y) == (6, [6, 30], -6, 3)
    many = codec.unpack(codec.pack([{"c": [1 << 31, 0]}] * 3))
    with pytest.raises(CodecError, match="6442450944 does not fit"):
        many.sum()
    named = PerCpu(
        types.codec(types.struct("named", 4, ("name", types.array(types.char, 4), 0))), 2
    )
    with pytest.raises(TypeError, match="is no number; add up what you need"):
        named.unpack(bytes(16)).sum()


@pytest.mark.parametrize("order", ["little", "big"])
def test_integers_have_the_order_and_sign_of_the_types(order: Any) -> None:
    """Objects of the other byte order are read on this machine too."""
    types = Types(order)
    assert types.codec(types.s32).pack(-2) == (-2).to_bytes(4, order, signed=True)
    assert types.codec(types.u32).unpack(b"\0\0\0\1") == int.from_bytes(b"\0\0\0\1", order)
    wide = types.integer("__int128", 16, SIGNED)
    assert types.codec(wide).pack(-(1 << 100)) == (-(1 << 100)).to_bytes(16, order, signed=True)
    assert types.codec(wide).unpack(b"\xff" * 16) == -1
    pointer = types.builder.add(t.Pointer(type_id=0))
    assert types.codec(pointer).size == 8
    flag = types.integer("_Bool", 1, t.IntEncoding.BOOL)
    assert types.codec(flag).unpack(b"\1") is True


def test_modifiers_change_nothing() -> None:
    """``static volatile const u32`` is three types around one."""
    types = Types()
    const = types.builder.add(t.Const(type_id=types.u32))
    volatile = types.builder.add(t.Volatile(type_id=const))
    var = types.builder.add(t.Var(name="v", type_id=volatile))
    assert types.codec(var).pack(7) == types.codec(types.u32).pack(7)


def test_arrays() -> None:
    """Text ends at its NUL, bytes do not, and other arrays are immutable like what was read."""
    types = Types()
    text = types.codec(types.array(types.char, 8))
    assert text.unpack(b"ab\0cdefg") == b"ab"
    assert text.pack(b"ab") == b"ab" + bytes(6)
    raw = types.codec(types.array(types.u8, 4))
    assert raw.unpack(b"a\0b\0") == b"a\0b\0"
    signed = types.codec(types.array(types.s8, 2))
    assert signed.unpack(b"\xff\1") == (-1, 1)
    points = types.codec(types.array(types.array(point(types), 2), 1))
    value = points.unpack(points.pack([[{"x": 1, "y": 2}, {"x": 3}]]))
    assert [(p.x, p.y) for p in value[0]] == [(1, 2), (3, 0)]
    with pytest.raises(CodecError, match="got 3 values, but it takes 2"):
        signed.pack([1, 2, 3])
    assert types.codec(types.array(types.u32, 0)).unpack(b"") == ()


def test_enums_have_names() -> None:
    """A number alone means nothing to whoever reads a record."""
    types = Types()
    values = (t.Enumerator("A", 0), t.Enumerator("B", -1), t.Enumerator("mro", 7))
    enum = types.codec(types.builder.add(t.Enum(name="e", size=4, signed=True, values=values)))
    read = enum.unpack(enum.pack(-1))
    assert (read, read.name, str(read), f"{read:d}") == (-1, "B", "B", "-1")
    assert isinstance(read, EnumValue)
    assert repr(read) == "<e.B: -1>"
    assert enum.pack("mro") == enum.pack(7)
    assert enum.unpack(enum.pack(99)) == 99
    with pytest.raises(CodecError, match="enum e has no 'C'; it has A, B, mro"):
        enum.pack("C")
    with pytest.raises(CodecError, match="does not fit s32"):
        enum.pack(1 << 40)
    large = (t.Enumerator("L", 1 << 40),)
    wide = types.codec(types.builder.add(t.Enum64(name="w", size=8, values=large)))
    assert wide.unpack(wide.pack(1 << 40)).name == "L"


def test_records_are_immutable_and_make_changed_ones() -> None:
    """Setting a field of a copy would be lost without a word."""
    types = Types()
    codec = types.codec(point(types))
    value = codec.unpack(codec.pack({"x": 1, "y": -2}))
    assert isinstance(value, Record)
    assert repr(value) == "point(x=1, y=-2)"
    assert (value.x, value["y"], value._asdict()) == (1, -2, {"x": 1, "y": -2})
    with pytest.raises(AttributeError, match=r"_replace\(x="):
        value.x = 5
    changed = value._replace(x=5)
    assert (changed.x, changed.y, value.x) == (5, -2, 1)
    assert codec.unpack(codec.pack(changed)) == changed != value
    assert len({value, changed, codec.unpack(codec.pack(value))}) == 2
    assert type(value)(x=1, y=-2) == value


def test_records_say_what_does_not_fit() -> None:
    """With twenty fields a message without the name of the field helps no one."""
    types = Types()
    line = types.struct("line", 16, ("from", point(types), 0), ("to", point(types), 64))
    codec = types.codec(line)
    with pytest.raises(CodecError, match=r"to: .*y.*does not fit s32"):
        codec.pack({"to": {"x": 1, "y": 1 << 40}})
    with pytest.raises(CodecError, match="line has no field 'too'; its fields: from, to"):
        codec.pack({"too": {}})
    with pytest.raises(CodecError, match="3 is not a line, nor a dict of its fields"):
        codec.pack(3)
    with pytest.raises(CodecError, match="got 15 bytes"):
        codec.unpack(bytes(15))
    assert codec.unpack(bytes(16))["from"].x == 0
    assert (codec.offsetof("to.y"), codec.offsetof("from")) == (12, 0)


def test_padding_is_zeroed() -> None:
    """A key read from the kernel must find its own entry, whatever its padding holds."""
    types = Types()
    padded = types.struct("padded", 8, ("a", types.u8, 0), ("b", types.u32, 32))
    codec = types.codec(padded)
    read = codec.unpack(b"\1\xaa\xbb\xcc\2\0\0\0")
    assert codec.pack(read) == b"\1\0\0\0\2\0\0\0"


def test_unions_show_every_member_and_take_one() -> None:
    """All members are the same bytes: two that are given would overwrite each other."""
    types = Types()
    halves = types.struct("", 8, ("low", types.u32, 0), ("high", types.u32, 32))
    union = types.union("", 8, ("whole", types.u64, 0), ("", halves, 0))
    outer = types.struct("outer", 16, ("tag", types.u32, 0), ("", union, 64))
    codec = types.codec(outer)
    low, high = (1, 2) if sys.byteorder == "little" else (2, 1)
    value = codec.unpack(codec.pack({"tag": 9, "whole": 2 << 32 | 1}))
    assert (value.tag, value.low, value.high) == (9, low, high)
    assert codec.unpack(codec.pack({"low": low, "high": high})).whole == 2 << 32 | 1
    with pytest.raises(CodecError, match="whole and low share their bytes"):
        codec.pack({"whole": 1, "low": 1})
    assert value._replace(low=7).low == 7
    assert codec.pack(value) == codec.pack({"tag": 9, "low": low, "high": high})


class Reference(ctypes.Structure):
    """The bitfields below, as ctypes lays them out."""

    _fields_ = (
        ("a", ctypes.c_uint, 3),
        ("b", ctypes.c_int, 5),
        ("c", ctypes.c_uint, 24),
        ("d", ctypes.c_ulonglong, 40),
        ("e", ctypes.c_longlong, 24),
    )


@given(
    st.integers(0, 7),
    st.integers(-16, 15),
    st.integers(0, (1 << 24) - 1),
    st.integers(0, (1 << 40) - 1),
    st.integers(-(1 << 23), (1 << 23) - 1),
)
def test_bitfields_are_where_ctypes_has_them(a: int, b: int, c: int, d: int, e: int) -> None:
    """A bitfield shifted by one bit, or without its sign."""
    types = Types()
    s64 = types.integer("long", 8, SIGNED)
    struct = types.builder.add(
        t.Struct(
            name="bits",
            size=16,
            kind_flag=True,
            members=(
                t.Member("a", types.u32, 0, 3),
                t.Member("b", types.s32, 3, 5),
                t.Member("c", types.u32, 8, 24),
                t.Member("d", types.u64, 64, 40),
                t.Member("e", s64, 104, 24),
            ),
        )
    )
    codec = types.codec(struct)
    reference = bytes(Reference(a, b, c, d, e))
    assert codec.pack({"a": a, "b": b, "c": c, "d": d, "e": e}) == reference
    read = codec.unpack(reference)
    assert (read.a, read.b, read.c, read.d, read.e) == (a, b, c, d, e)
    with pytest.raises(CodecError, match=r"b: 16 does not fit 5 bits \(-16..15\)"):
        codec.pack({"b": 16})


def test_types_without_values() -> None:
    """void, functions and structs that are only declared cannot be read."""
    types = Types()
    prototype = types.builder.add(t.FuncProto(type_id=0))
    declared = types.builder.add(t.Fwd(name="declared"))
    for type_id in (0, prototype, declared):
        with pytest.raises(CodecError, match="has no values"):
            types.codec(type_id)


def test_types_that_contain_themselves() -> None:
    """No compiler writes them; following them would never end."""
    types = Types()
    own = types.builder.next_id
    types.struct("self", 8, ("inner", own, 0))
    with pytest.raises(CodecError, match="contains itself"):
        types.codec(own)
    anonymous = types.builder.next_id
    types.struct("", 8, ("", anonymous, 0))
    with pytest.raises(CodecError, match="contains itself"):
        types.codec(anonymous)


def test_anonymous_structs_that_multiply() -> None:
    """Thirty levels of two each are a thousand million members, in a few hundred bytes."""
    types = Types()
    inner = types.struct("", 4, ("", types.u32, 0))
    for _ in range(30):
        inner = types.struct("", 4, ("", inner, 0), ("", inner, 0))
    with pytest.raises(CodecError, match="too many"):
        types.codec(inner)


def test_fields_outside_of_their_struct() -> None:
    """They would be read from the bytes behind."""
    types = Types()
    wrong = types.struct("wrong", 4, ("far", types.u32, 16))
    with pytest.raises(BtfError, match="field 'far' is outside of it"):
        types.codec(wrong)


def test_arrays_too_large_to_convert() -> None:
    """A tuple of a thousand million numbers is no value."""
    types = Types()
    with pytest.raises(CodecError, match="raw bytes"):
        types.codec(types.array(types.u32, 1 << 30))


def test_fields_with_the_names_of_python() -> None:
    """C may call its fields what it wants; the record must work all the same."""
    types = Types()
    names = ("_raw", "_fields", "__class__", "__len__", "class", "_asdict")
    members = [(name, types.u32, 32 * i) for i, name in enumerate(names)]
    codec = types.codec(types.struct("odd", 24, *members))
    value = codec.unpack(codec.pack({name: i for i, name in enumerate(names)}))
    assert [value[name] for name in names] == list(range(6))
    assert value == codec.unpack(codec.pack(value))
