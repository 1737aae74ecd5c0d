"""From the object of one type to its words: the reverse of decode."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ebpf.btf import types as t
from ebpf.btf.words import make_info
from ebpf.errors import BtfError
from ebpf.patterns import Pattern

# A name -> its offset in the string section.
StringOffset = Callable[[str], int]
Words = list[int]

_MAXIMUM_VLEN = 0xFFFFFF  # 0xFFFF until Linux 7.1
_MAXIMUM_NAME = 511  # KSYM_NAME_LEN - 1 since Linux 6.1; 127 before
# What kernel/bpf/btf.c takes for a name; dots came for the names of compiler-made functions.
_IDENTIFIER = Pattern(r"[A-Za-z_.][A-Za-z0-9_.]*")
_PRINTABLE = Pattern(r"[ -~]+")


def encode(type: t.Type, string: StringOffset) -> Words:
    """The words of `type`. Raises BtfError for a field that does not fit the format."""
    encoder = _ENCODERS.get(type.__class__)
    if encoder is None:
        raise BtfError(
            f"{type.__class__.__name__} cannot be written: it is no type of a known BTF kind"
        )
    return encoder(type, string)


def check_names(type: t.Type) -> None:
    """Raises BtfError for a name that the kernel refuses (kernel/bpf/btf.c, check_meta)."""
    if type.kind in _NAMELESS:
        if type.name:
            raise BtfError(f"BTF {type.kind.name} has no name, not {type.name!r}")
    elif type.kind in _NAMED and not type.name:
        raise BtfError(f"BTF {type.kind.name} needs a name")
    elif type.kind == t.Kind.DATASEC:
        _check(type, "section name", type.name, _PRINTABLE)
    elif type.name and type.kind not in _FREE:
        _check(type, "name", type.name, _IDENTIFIER)
    if isinstance(type, (t.Struct, t.Union)):
        _check_all(type, "member", [member.name for member in type.members if member.name])
    elif isinstance(type, t.FuncProto):
        _check_all(type, "parameter", [item.name for item in type.parameters if item.name])
    elif isinstance(type, (t.Enum, t.Enum64)):
        _check_all(type, "enumerator", [item.name for item in type.values])


_NAMELESS = {
    t.Kind.PTR,
    t.Kind.ARRAY,
    t.Kind.VOLATILE,
    t.Kind.CONST,
    t.Kind.RESTRICT,
    t.Kind.FUNC_PROTO,
}
_NAMED = {
    t.Kind.FWD,
    t.Kind.TYPEDEF,
    t.Kind.FUNC,
    t.Kind.VAR,
    t.Kind.DATASEC,
    t.Kind.DECL_TAG,
    t.Kind.TYPE_TAG,
}
# "long unsigned int" and the text of a tag are no identifiers.
_FREE = {t.Kind.INT, t.Kind.FLOAT, t.Kind.DECL_TAG, t.Kind.TYPE_TAG}


def _check_all(type: t.Type, what: str, names: list[str]) -> None:
    for name in names:
        _check(type, f"{what} name", name, _IDENTIFIER)


def _check(type: t.Type, what: str, name: str, pattern: Pattern) -> None:
    if not pattern.fullmatch(name):
        raise BtfError(
            f"BTF {type.kind.name} {type.name!r}: the kernel refuses the {what} {name!r}"
        )
    if len(name) > _MAXIMUM_NAME:
        raise BtfError(
            f"BTF {type.kind.name}: {what} of {len(name)} characters, "
            f"the kernel takes {_MAXIMUM_NAME}: {name[:40]!r}..."
        )


def _fit(type: t.Type, what: str, value: int, bits: int, signed: bool = False) -> int:
    """`value` as an unsigned word, if it fits `bits`."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if not low <= value <= high:
        label = f"BTF {type.kind.name} {type.name!r}".replace(" ''", "")
        raise BtfError(f"{label}: {what} {value} is outside {low}..{high}")
    return value & (1 << bits) - 1


def _head(
    type: t.Type,
    string: StringOffset,
    what: str,
    size_or_type: int,
    elements: Sequence[object] = (),
    flag: bool = False,
) -> Words:
    if len(elements) > _MAXIMUM_VLEN:
        raise BtfError(
            f"BTF {type.kind.name} {type.name!r}: {len(elements)} elements, "
            f"the format counts up to {_MAXIMUM_VLEN}"
        )
    info = make_info(type.kind, len(elements), flag)
    return [string(type.name), info, _fit(type, what, size_or_type, 32)]


def _int(type: t.Int, string: StringOffset) -> Words:
    encoding = _fit(type, "encoding", int(type.encoding), 4)
    offset = _fit(type, "bit_offset", type.bit_offset, 8)
    word = encoding << 24 | offset << 16 | _fit(type, "bits", type.bits, 8)
    return [*_head(type, string, "size", type.size), word]


def _array(type: t.Array, string: StringOffset) -> Words:
    return [
        *_head(type, string, "size", 0),
        _fit(type, "type_id", type.type_id, 32),
        _fit(type, "index_type_id", type.index_type_id, 32),
        _fit(type, "length", type.length, 32),
    ]


def _composite(type: t.Struct | t.Union, string: StringOffset) -> Words:
    words = _head(type, string, "size", type.size, type.members, type.kind_flag)
    for member in type.members:
        if member.bitfield_size and not type.kind_flag:
            raise BtfError(
                f"BTF {type.kind.name} {type.name!r}: member {member.name!r} is a bitfield: "
                "set kind_flag=True"
            )
        what = f"bit_offset of member {member.name!r}"
        offset = _fit(type, what, member.bit_offset, 24 if type.kind_flag else 32)
        size = _fit(type, f"bitfield_size of member {member.name!r}", member.bitfield_size, 8)
        type_id = _fit(type, f"type_id of member {member.name!r}", member.type_id, 32)
        words += [string(member.name), type_id, size << 24 | offset]
    return words


def _enum(type: t.Enum, string: StringOffset) -> Words:
    words = _head(type, string, "size", type.size, type.values, type.signed)
    for name, value in type.values:
        words += [string(name), _fit(type, f"value of {name}", value, 32, type.signed)]
    return words


def _enum64(type: t.Enum64, string: StringOffset) -> Words:
    words = _head(type, string, "size", type.size, type.values, type.signed)
    for name, value in type.values:
        word = _fit(type, f"value of {name}", value, 64, type.signed)
        words += [string(name), word & 0xFFFFFFFF, word >> 32]
    return words


def _fwd(type: t.Fwd, string: StringOffset) -> Words:
    return _head(type, string, "size", 0, flag=type.is_union)


_Reference = t.Pointer | t.Typedef | t.Volatile | t.Const | t.Restrict


def _reference(type: _Reference, string: StringOffset) -> Words:
    return _head(type, string, "type_id", type.type_id)


def _func(type: t.Func, string: StringOffset) -> Words:
    words = _head(type, string, "type_id", type.type_id)
    # A function keeps its linkage where others count elements.
    words[1] |= _fit(type, "linkage", int(type.linkage), 24)
    return words


def _func_proto(type: t.FuncProto, string: StringOffset) -> Words:
    words = _head(type, string, "type_id", type.type_id, type.parameters)
    for name, type_id in type.parameters:
        words += [string(name), _fit(type, f"type_id of parameter {name!r}", type_id, 32)]
    return words


def _var(type: t.Var, string: StringOffset) -> Words:
    linkage = _fit(type, "linkage", int(type.linkage), 32)
    return [*_head(type, string, "type_id", type.type_id), linkage]


def _datasec(type: t.Datasec, string: StringOffset) -> Words:
    words = _head(type, string, "size", type.size, type.variables)
    for variable in type.variables:
        for what, value in zip(variable._fields, variable, strict=True):
            words.append(_fit(type, f"{what} of a variable", value, 32))
    return words


def _float(type: t.Float, string: StringOffset) -> Words:
    return _head(type, string, "size", type.size)


def _decl_tag(type: t.DeclTag, string: StringOffset) -> Words:
    component = _fit(type, "component_index", type.component_index, 32, signed=True)
    return [*_head(type, string, "type_id", type.type_id, flag=type.is_attribute), component]


def _type_tag(type: t.TypeTag, string: StringOffset) -> Words:
    return _head(type, string, "type_id", type.type_id, flag=type.is_attribute)


# Each function takes the class it stands beside.
_ENCODERS: dict[type[t.Type], Callable[..., Words]] = {
    t.Int: _int,
    t.Pointer: _reference,
    t.Array: _array,
    t.Struct: _composite,
    t.Union: _composite,
    t.Enum: _enum,
    t.Fwd: _fwd,
    t.Typedef: _reference,
    t.Volatile: _reference,
    t.Const: _reference,
    t.Restrict: _reference,
    t.Func: _func,
    t.FuncProto: _func_proto,
    t.Var: _var,
    t.Datasec: _datasec,
    t.Float: _float,
    t.DeclTag: _decl_tag,
    t.TypeTag: _type_tag,
    t.Enum64: _enum64,
}
