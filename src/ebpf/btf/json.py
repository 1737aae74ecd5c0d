"""BTF as JSON, in the shape of ``bpftool -j btf dump``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from ebpf.btf import types as t
from ebpf.btf.btf import Btf
from ebpf.errors import BtfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# bpftool's word for the name of what has none.
ANONYMOUS = "(anon)"
# Characters that the name of each part of a type may have, and some more in all: many may have one
# name, which is in the data only once.
_PART, _ROOM = 256, 1 << 20
_LINKAGE = {t.Linkage.STATIC: "static", t.Linkage.GLOBAL: "global", t.Linkage.EXTERN: "extern"}
_ENCODING = {
    0: "(none)",
    t.IntEncoding.SIGNED: "SIGNED",
    t.IntEncoding.CHAR: "CHAR",
    t.IntEncoding.BOOL: "BOOL",
}

Row = dict[str, "Any"]


def to_json(btf: Btf) -> str:
    """``{"types": [...]}``: every type of `btf` but those of its base, in the order of ids.

    Each has ``id``, ``kind``, ``name`` (``"(anon)"`` if it has none) and the fields of its kind
    under bpftool's names: ``size``, ``type_id``, ``members`` with ``bits_offset`` and, for
    bitfields, ``bitfield_size``, ``values``, ``params``, ``vars``, ``linkage`` and so on. Values
    of enums have the sign that the enum has. Raises BtfError for malformed BTF, and for BTF of many
    types that share names of thousands of characters.
    """
    return f'{{"types":[{",".join(_rows(btf))}]}}'


def _rows(btf: Btf) -> Iterator[str]:
    encode = json.JSONEncoder(separators=(",", ":")).encode
    room = _ROOM
    for type in btf.types():
        row = type_row(type)
        parts = row.get("members") or row.get("values") or row.get("params") or ()
        room += _PART * (len(parts) + 1)
        room -= len(row["name"]) + sum(len(part["name"]) for part in parts)
        if room < 0:
            raise BtfError(
                f"BTF type {type.id}: its long names repeat so often that the JSON would not end"
            )
        yield encode(row)


def type_row(type: t.Type) -> Row:
    """One element of ``types``."""
    if isinstance(type, t.Unknown):
        return {
            "id": type.id,
            "kind": f"UNKNOWN_{type.kind_number}",
            "name": _name(type.name),
            "vlen": type.vlen,
            "size_or_type": type.size_or_type,
            "body": type.body.hex(),
        }
    row: Row = {"id": type.id, "kind": type.kind.name, "name": _name(type.name)}
    details = _DETAILS.get(type.__class__, _reference)
    return row | details(type)


def _name(name: str) -> str:
    return name or ANONYMOUS


def _int(type: t.Int) -> Row:
    return {
        "size": type.size,
        "bits_offset": type.bit_offset,
        "nr_bits": type.bits,
        "encoding": _ENCODING.get(int(type.encoding), "UNKN"),
    }


def _array(type: t.Array) -> Row:
    return {
        "type_id": type.type_id,
        "index_type_id": type.index_type_id,
        "nr_elems": type.length,
    }


def _composite(type: t.Struct | t.Union) -> Row:
    return {
        "size": type.size,
        "vlen": len(type.members),
        "members": [_member(member) for member in type.members],
    }


def _member(member: t.Member) -> Row:
    row: Row = {
        "name": _name(member.name),
        "type_id": member.type_id,
        "bits_offset": member.bit_offset,
    }
    if member.bitfield_size:
        row["bitfield_size"] = member.bitfield_size
    return row


def _enum(type: t.Enum | t.Enum64) -> Row:
    return {
        "size": type.size,
        "encoding": "SIGNED" if type.signed else "UNSIGNED",
        "vlen": len(type.values),
        "values": [{"name": _name(name), "val": value} for name, value in type.values],
    }


def _fwd(type: t.Fwd) -> Row:
    return {"fwd_kind": "union" if type.is_union else "struct"}


def _linked(type: t.Func | t.Var) -> Row:
    return {"type_id": type.type_id, "linkage": _LINKAGE.get(type.linkage, "(unknown)")}


def _func_proto(type: t.FuncProto) -> Row:
    return {
        "ret_type_id": type.type_id,
        "vlen": len(type.parameters),
        "params": [{"name": _name(name), "type_id": one} for name, one in type.parameters],
    }


def _datasec(type: t.Datasec) -> Row:
    return {
        "size": type.size,
        "vlen": len(type.variables),
        "vars": [variable._asdict() for variable in type.variables],
    }


def _float(type: t.Float) -> Row:
    return {"size": type.size}


def _decl_tag(type: t.DeclTag) -> Row:
    return {"type_id": type.type_id, "component_idx": type.component_index}


def _reference(type: Any) -> Row:
    return {"type_id": type.type_id}


# Each function takes the class it stands beside; all others refer to one type.
_DETAILS: dict[type[t.Type], Callable[[Any], Row]] = {
    t.Int: _int,
    t.Array: _array,
    t.Struct: _composite,
    t.Union: _composite,
    t.Enum: _enum,
    t.Enum64: _enum,
    t.Fwd: _fwd,
    t.Func: _linked,
    t.Var: _linked,
    t.FuncProto: _func_proto,
    t.Datasec: _datasec,
    t.Float: _float,
    t.DeclTag: _decl_tag,
}
