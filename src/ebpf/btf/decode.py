"""From the bytes of one type to its object. Nothing is decoded before it is asked for."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache

from ebpf.btf import types as t
from ebpf.btf.raw import TYPE_SIZE, Data, Header, info_kind, info_vlen
from ebpf.btf.strings import StringTable
from ebpf.errors import BtfError
from ebpf.plain import NamedTuple, dataclass


class RawType(NamedTuple):
    """``struct btf_type`` and the bytes that belong to it."""

    id: int
    offset: int
    name: str
    kind: int
    kind_flag: bool
    vlen: int
    size_or_type: int
    body: bytes


@cache
def _struct(format: str) -> struct.Struct:
    """One compiled struct per format; the formats are those of this file."""
    return struct.Struct(format)


@dataclass(frozen=True)
class Decoder:
    """Decodes types of one BTF; `end_id` is the first id that does not exist."""

    data: Data
    header: Header
    layout: dict[int, tuple[int, int]]
    strings: StringTable
    end_id: int

    def decode(self, type_id: int, offset: int) -> t.Type:
        """The type `type_id`, which begins at `offset` of the type section."""
        raw = self._raw(type_id, offset)
        return _DECODERS.get(raw.kind, _unknown)(self, raw)

    def _raw(self, type_id: int, offset: int) -> RawType:
        section = self.header.types
        start = section.start + offset
        if start + TYPE_SIZE > section.end:
            raise self.error(type_id, offset, "does not fit the section")
        head = _struct(self.header.order + "III")
        name_off, info, size_or_type = head.unpack_from(self.data, start)
        kind, vlen = info_kind(info), info_vlen(info)
        if kind not in self.layout:
            raise self.error(type_id, offset, f"unknown kind {kind}")
        fixed, each = self.layout[kind]
        body = start + TYPE_SIZE
        end = body + fixed + each * vlen
        if end > section.end:
            raise self.error(type_id, offset, f"{end - start} bytes do not fit the section")
        try:
            name = self.strings.get(name_off)
        except BtfError as error:
            raise self.error(type_id, offset, str(error)) from None
        return RawType(
            type_id, offset, name, kind, bool(info >> 31), vlen, size_or_type, self.data[body:end]
        )

    def rows(self, raw: RawType, format: str) -> list[tuple[int, ...]]:
        """The elements of `raw`, each of struct `format`."""
        return list(_struct(self.header.order + format).iter_unpack(raw.body))

    def reference(self, raw: RawType, type_id: int) -> int:
        """`type_id`, which `raw` refers to, if it exists."""
        if type_id >= self.end_id:
            raise self.error(
                raw.id, raw.offset, f"refers to type {type_id}, the last is {self.end_id - 1}"
            )
        return type_id

    def name(self, raw: RawType, offset: int) -> str:
        try:
            return self.strings.get(offset)
        except BtfError as error:
            raise self.error(raw.id, raw.offset, str(error)) from None

    @staticmethod
    def error(type_id: int, offset: int, problem: str) -> BtfError:
        return BtfError(f"BTF type section: type {type_id} at offset {offset}: {problem}")


def _int(decoder: Decoder, raw: RawType) -> t.Type:
    ((word,),) = decoder.rows(raw, "I")
    return t.Int(
        name=raw.name,
        id=raw.id,
        size=raw.size_or_type,
        bits=word & 0xFF,
        bit_offset=word >> 16 & 0xFF,
        encoding=t.IntEncoding(word >> 24 & 0xF),
    )


def _array(decoder: Decoder, raw: RawType) -> t.Type:
    ((element, index, length),) = decoder.rows(raw, "III")
    return t.Array(
        name=raw.name,
        id=raw.id,
        type_id=decoder.reference(raw, element),
        index_type_id=decoder.reference(raw, index),
        length=length,
    )


def _members(decoder: Decoder, raw: RawType) -> tuple[t.Member, ...]:
    name, reference = decoder.name, decoder.reference
    # With kind_flag the top 8 bits of the offset are the size of a bitfield.
    size_shift, offset_mask = (24, 0xFFFFFF) if raw.kind_flag else (32, 0xFFFFFFFF)
    return tuple(
        t.Member(
            name(raw, name_off),
            reference(raw, type_id),
            offset & offset_mask,
            offset >> size_shift,
        )
        for name_off, type_id, offset in decoder.rows(raw, "III")
    )


def _composite(cls: type[t.Struct] | type[t.Union]) -> Callable[[Decoder, RawType], t.Type]:
    def decode(decoder: Decoder, raw: RawType) -> t.Type:
        return cls(
            name=raw.name,
            id=raw.id,
            size=raw.size_or_type,
            members=_members(decoder, raw),
            kind_flag=raw.kind_flag,
        )

    return decode


def _enum(decoder: Decoder, raw: RawType) -> t.Type:
    rows = decoder.rows(raw, "Ii" if raw.kind_flag else "II")
    values = tuple(t.Enumerator(decoder.name(raw, name), value) for name, value in rows)
    return t.Enum(
        name=raw.name, id=raw.id, size=raw.size_or_type, signed=raw.kind_flag, values=values
    )


def _enum64(decoder: Decoder, raw: RawType) -> t.Type:
    # Two words, low first in both byte orders, so that they need no 8-byte alignment.
    rows = decoder.rows(raw, "IIi" if raw.kind_flag else "III")
    values = tuple(
        t.Enumerator(decoder.name(raw, name), high << 32 | low) for name, low, high in rows
    )
    return t.Enum64(
        name=raw.name, id=raw.id, size=raw.size_or_type, signed=raw.kind_flag, values=values
    )


def _fwd(decoder: Decoder, raw: RawType) -> t.Type:
    return t.Fwd(name=raw.name, id=raw.id, is_union=raw.kind_flag)


Reference = type[t.Pointer] | type[t.Typedef] | type[t.Volatile] | type[t.Const] | type[t.Restrict]


def _reference(cls: Reference) -> Callable[[Decoder, RawType], t.Type]:
    def decode(decoder: Decoder, raw: RawType) -> t.Type:
        type_id = decoder.reference(raw, raw.size_or_type)
        return cls(name=raw.name, id=raw.id, type_id=type_id)

    return decode


def _func(decoder: Decoder, raw: RawType) -> t.Type:
    return t.Func(
        name=raw.name,
        id=raw.id,
        type_id=decoder.reference(raw, raw.size_or_type),
        linkage=t.Linkage(raw.vlen),
    )


def _func_proto(decoder: Decoder, raw: RawType) -> t.Type:
    parameters = tuple(
        t.Parameter(decoder.name(raw, name), decoder.reference(raw, type_id))
        for name, type_id in decoder.rows(raw, "II")
    )
    return t.FuncProto(
        name=raw.name,
        id=raw.id,
        type_id=decoder.reference(raw, raw.size_or_type),
        parameters=parameters,
    )


def _var(decoder: Decoder, raw: RawType) -> t.Type:
    ((linkage,),) = decoder.rows(raw, "I")
    return t.Var(
        name=raw.name,
        id=raw.id,
        type_id=decoder.reference(raw, raw.size_or_type),
        linkage=t.Linkage(linkage),
    )


def _datasec(decoder: Decoder, raw: RawType) -> t.Type:
    variables = tuple(
        t.SectionVariable(decoder.reference(raw, type_id), offset, size)
        for type_id, offset, size in decoder.rows(raw, "III")
    )
    return t.Datasec(name=raw.name, id=raw.id, size=raw.size_or_type, variables=variables)


def _float(decoder: Decoder, raw: RawType) -> t.Type:
    return t.Float(name=raw.name, id=raw.id, size=raw.size_or_type)


def _decl_tag(decoder: Decoder, raw: RawType) -> t.Type:
    ((component,),) = decoder.rows(raw, "i")
    return t.DeclTag(
        name=raw.name,
        id=raw.id,
        type_id=decoder.reference(raw, raw.size_or_type),
        component_index=component,
        is_attribute=raw.kind_flag,
    )


def _type_tag(decoder: Decoder, raw: RawType) -> t.Type:
    return t.TypeTag(
        name=raw.name,
        id=raw.id,
        type_id=decoder.reference(raw, raw.size_or_type),
        is_attribute=raw.kind_flag,
    )


def _unknown(decoder: Decoder, raw: RawType) -> t.Type:
    return t.Unknown(
        name=raw.name,
        id=raw.id,
        kind_number=raw.kind,
        kind_flag=raw.kind_flag,
        vlen=raw.vlen,
        size_or_type=raw.size_or_type,
        body=raw.body,
    )


_DECODERS: dict[int, Callable[[Decoder, RawType], t.Type]] = {
    t.Kind.INT: _int,
    t.Kind.PTR: _reference(t.Pointer),
    t.Kind.ARRAY: _array,
    t.Kind.STRUCT: _composite(t.Struct),
    t.Kind.UNION: _composite(t.Union),
    t.Kind.ENUM: _enum,
    t.Kind.FWD: _fwd,
    t.Kind.TYPEDEF: _reference(t.Typedef),
    t.Kind.VOLATILE: _reference(t.Volatile),
    t.Kind.CONST: _reference(t.Const),
    t.Kind.RESTRICT: _reference(t.Restrict),
    t.Kind.FUNC: _func,
    t.Kind.FUNC_PROTO: _func_proto,
    t.Kind.VAR: _var,
    t.Kind.DATASEC: _datasec,
    t.Kind.FLOAT: _float,
    t.Kind.DECL_TAG: _decl_tag,
    t.Kind.TYPE_TAG: _type_tag,
    t.Kind.ENUM64: _enum64,
}
