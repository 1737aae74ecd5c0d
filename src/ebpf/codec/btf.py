"""Codecs for the C types that BTF describes: ``from_btf(btf, type_id)``.

    integers, bool, float     int, bool, float; __be16, __be32 and __be64 in network byte order
    pointers                  int
    enums                     EnumValue, an int with a ``name``; plain int for a number without one
    char[n]                   bytes up to the first NUL, as C reads it
    unsigned char[n]          bytes, all of them
    other arrays              tuple
    structs and unions        Record: one attribute per field, bitfields and the members of
                              anonymous structs and unions among them

A struct takes a Record of its own, a dict, where fields that are left out are zero, or, as any
value may be, what unpack gave.
"""

from __future__ import annotations

from ebpf.btf import Btf, Field
from ebpf.btf import types as t
from ebpf.codec.base import Codec
from ebpf.codec.btf_nodes import (
    SIGNED,
    UNSIGNED,
    EnumNode,
    EnumValue,
    Member,
    Nothing,
    Record,
    RecordNode,
    WideNode,
    codec_of,
)
from ebpf.codec.composites import ArrayOf
from ebpf.codec.layout import Node, OtherOrder, Scalar, Text
from ebpf.errors import BtfError, CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["EnumValue", "Record", "from_btf"]

# Values of this many items are no values to convert one by one; they are read as raw bytes.
_MAXIMUM_ITEMS = 1 << 20
_MAXIMUM_DEPTH = 32
# No struct of a kernel has a twentieth of that.
_MAXIMUM_FIELDS = 1 << 14

_FLOATS = {2: "e", 4: "f", 8: "d"}

# Typedefs that say how the bytes of a number lie.
_ORDERED = {
    f"__{name}{8 * size}": (order, UNSIGNED[size])
    for name, order in (("be", ">"), ("le", "<"))
    for size in (2, 4, 8)
}

_Composite = t.Struct | t.Union


def from_btf(btf: Btf, type_id: int) -> Codec[Any]:
    """The codec for values of a type of `btf`, in the byte order of `btf`.

    Raises CodecError for a type that has no values (void, a function, a struct that is only
    declared) or too many parts (1,048,576), and BtfError for malformed BTF.
    """
    return _Builder(btf).codec(type_id)


class _Builder:
    """Makes the codecs of one BTF; each type once, so that the work is bounded by its size."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._order = "<" if btf.byte_order == "little" else ">"
        self._nodes: dict[int, Node] = {}
        self._open: list[int] = []
        self._steps = 0  # anonymous structs may hold each other many times over

    def codec(self, type_id: int) -> Codec[Any]:
        return codec_of(self.node(type_id), self._order)

    def node(self, type_id: int) -> Node:
        found = self._nodes.get(type_id)
        if found is not None:
            return found
        if type_id in self._open or len(self._open) >= _MAXIMUM_DEPTH:
            raise CodecError(
                f"BTF type {type_id} contains itself, or more than {_MAXIMUM_DEPTH} types deep"
            )
        self._open.append(type_id)
        try:
            made = self._make(type_id)
        finally:
            self._open.pop()
        self._nodes[type_id] = made
        return made

    def _make(self, type_id: int) -> Node:
        ordered = self._ordered(type_id)
        if ordered is not None:
            return ordered
        target = self._btf.resolve(type_id)
        if isinstance(target, t.Var):
            return self.node(target.type_id)
        if isinstance(target, t.Int):
            return self._integer(target)
        if isinstance(target, t.Pointer):
            return Scalar(UNSIGNED[self._btf.pointer_size])
        if isinstance(target, (t.Enum, t.Enum64)):
            if target.size not in SIGNED:
                raise CodecError(f"{_label(target)} has {target.size} bytes; known are 1, 2, 4, 8")
            return EnumNode(target)
        if isinstance(target, t.Float):
            code = _FLOATS.get(target.size)
            return Scalar(code) if code else Text(max(target.size, 1), "raw")
        if isinstance(target, t.Array):
            return self._array(target)
        if isinstance(target, (t.Struct, t.Union)):
            return self._nodes.get(target.id) or self._record(target)
        raise CodecError(f"{_label(target)} has no values")

    def _ordered(self, type_id: int) -> Node | None:
        """The layout of a typedef that says the byte order, as those of linux/types.h do."""
        target = self._btf.type(type_id)
        for _ in range(_MAXIMUM_DEPTH):
            if isinstance(target, t.Typedef) and target.name in _ORDERED:
                order, code = _ORDERED[target.name]
                return Scalar(code) if order == self._order else OtherOrder(order, code)
            if not isinstance(target, t.MODIFIERS):
                return None
            target = self._btf.type(target.type_id)
        return None

    def _integer(self, target: t.Int) -> Node:
        if target.encoding & t.IntEncoding.BOOL and target.size == 1:
            return Scalar("?")
        code = (SIGNED if target.signed else UNSIGNED).get(target.size)
        if code is not None:
            return Scalar(code)
        if target.size != 16:
            raise CodecError(f"{_label(target)} has {target.size} bytes; known are 1, 2, 4, 8, 16")
        return WideNode(target.size, target.signed, self._btf.byte_order)

    def _array(self, target: t.Array) -> Node:
        element = self._btf.resolve(target.type_id)
        if target.length == 0 or self._btf.sizeof(target.type_id) == 0:
            return Nothing()
        if isinstance(element, t.Int) and element.size == 1 and element.bits == 8:
            if element.name == "char" or element.encoding & t.IntEncoding.CHAR:
                return Text(target.length, "char")
            if not element.encoding:
                return Text(target.length, "raw")
        node = self.node(target.type_id)
        if node.width * target.length > _MAXIMUM_ITEMS:
            raise CodecError(
                f"an array of {target.length} times {_label(element)} has too many parts to "
                "convert; use its raw bytes"
            )
        return ArrayOf(node, target.length, as_tuple=True)

    def _record(self, target: t.Struct | t.Union) -> Node:
        if target.size > 8 * _MAXIMUM_ITEMS:
            raise CodecError(f"{_label(target)} has {target.size} bytes; use its raw bytes")
        members: list[Member] = []
        self._collect(target, target, 0, members)
        node = RecordNode(self._btf.byte_order, target, members)
        self._nodes[target.id] = node
        return node

    def _collect(
        self, owner: _Composite, target: _Composite, base: int, members: list[Member]
    ) -> None:
        """Adds the members of `target`, which begins `base` bits into `owner`.

        The members of anonymous members are members of the owner, as in C.
        """
        layout = self._btf.layout(target.id)
        for member in target.members:
            self._steps += 1
            if self._steps > _MAXIMUM_FIELDS:
                raise CodecError(f"{_label(owner)} has too many fields")
            if member.name:
                field = layout._field(member.name, member.type_id, member.bit_offset, member)
                members.append(self._member(owner, field, base + field.bit_offset))
                continue
            inner = self._btf.resolve(member.type_id)  # an unnamed bitfield is padding
            if isinstance(inner, (t.Struct, t.Union)):
                self._enter(owner, inner, base + member.bit_offset, members)

    def _enter(
        self, owner: _Composite, inner: _Composite, base: int, members: list[Member]
    ) -> None:
        if inner.id in self._open or len(self._open) >= _MAXIMUM_DEPTH:
            raise CodecError(f"{_label(inner)} contains itself, or too many others")
        self._open.append(inner.id)
        self._collect(owner, inner, base, members)
        self._open.pop()

    def _member(self, owner: _Composite, field: Field, bit_offset: int) -> Member:
        codec = self.codec(field.type_id)
        resolved = self._btf.resolve(field.type_id)
        signed = isinstance(resolved, (t.Int, t.Enum, t.Enum64)) and resolved.signed
        member = Member(field.path, bit_offset, field.bitfield_size, signed, codec)
        if member.covers()[1] > 8 * owner.size or (not member.bits and bit_offset % 8):
            raise BtfError(f"BTF {_label(owner)}: field {field.path!r} is outside of it")
        if member.bits > 8 * codec.size:
            raise BtfError(f"BTF {_label(owner)}: field {field.path!r} has {member.bits} bits")
        return member


def _label(target: t.Type) -> str:
    return f"{target.kind.name.lower()} {target.name or '(anonymous)'}"
