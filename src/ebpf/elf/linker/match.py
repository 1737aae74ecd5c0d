"""Whether two objects mean the same by one symbol: its types, and definitions of maps.

The rules are those of libbpf's linker: qualifiers and typedefs do not matter, nor the lengths of
arrays and the values of enums; behind a pointer a struct has to have the same name only, and may
be a declaration.
"""

from __future__ import annotations

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.elf.maps import MapParser
from ebpf.errors import BtfError
from ebpf.spec import MapSpec

# A pair of types to compare, and whether the members of structs are looked at.
Pair = tuple[int, int, bool]


class Mismatch(Exception):
    """What differs."""


class Matcher:
    """Compares types of `one` with types of `other`; what was found to be the same is kept."""

    def __init__(self, one: Btf, other: Btf) -> None:
        self.one, self.other = one, other
        self._maps = MapParser(one), MapParser(other)
        self._same: set[Pair] = set()

    def match(self, one_id: int, other_id: int) -> None:
        """Raises Mismatch, and BtfError for malformed types."""
        # More pairs than these come from types that lead to themselves.
        room = 4 * (self.one.end_id + self.other.end_id)
        pending: list[Pair] = [(one_id, other_id, True)]
        while pending:
            pair = pending.pop()
            if pair in self._same:
                continue
            self._same.add(pair)
            if len(self._same) > room:
                raise BtfError("types that lead to themselves")
            pending.extend(reversed(self._compare(*pair)))

    def match_maps(self, one_id: int, other_id: int) -> None:
        """The same for two variables that are definitions of maps."""
        one, other = self._maps
        self._match_maps(one.declared(one_id), other.declared(other_id))

    def _match_maps(self, one: MapSpec, other: MapSpec) -> None:
        for name in ("type", "key_size", "value_size", "max_entries"):
            _demand_same(name, getattr(one, name), getattr(other, name))
        for name in ("key_type_id", "value_type_id"):
            one_id, other_id = getattr(one, name), getattr(other, name)
            if bool(one_id) != bool(other_id):
                raise Mismatch(f"only one of them says the type of its {name.partition('_')[0]}")
            self.match(one_id, other_id)
        for name in ("flags", "numa_node", "pinning"):
            _demand_same(name, getattr(one, name), getattr(other, name))
        if one.inner and other.inner:
            self._match_maps(one.inner, other.inner)
        elif one.inner or other.inner:
            raise Mismatch("only one of them says what its inner maps are")

    def _compare(self, one_id: int, other_id: int, exact: bool) -> list[Pair]:
        """The pairs that must match for these two to. Raises Mismatch."""
        one, other = self.one.resolve(one_id), self.other.resolve(other_id)
        if isinstance(one, t.Fwd) != isinstance(other, t.Fwd) and not exact:
            _match_declaration(one, other)
            return []
        if one.kind != other.kind:
            raise Mismatch(f"{_describe(one)} and {_describe(other)}")
        if isinstance(one, _NAMED) and one.name != other.name:
            raise Mismatch(f"{_describe(one)} and {_describe(other)}")
        if isinstance(one, t.Composite) and isinstance(other, t.Composite):
            return _members(one, other) if exact else []
        if isinstance(one, t.FuncProto) and isinstance(other, t.FuncProto):
            return _parameters(one, other, exact)
        if isinstance(one, _SIZED) and isinstance(other, _SIZED):
            _demand_same(f"size of {_describe(one)}", one.size, other.size)
            return []
        if isinstance(one, t.Pointer) and isinstance(other, t.Pointer):
            return [(one.type_id, other.type_id, False)]
        if isinstance(one, _REFERRING) and isinstance(other, _REFERRING):
            return [(one.type_id, other.type_id, exact)]
        if isinstance(one, (t.Void, t.Fwd)):
            return []
        raise Mismatch(f"{_describe(one)}, which no variable or function can be made of")


_NAMED = (t.Composite, t.Enum, t.Enum64, t.Fwd, t.Func, t.Var)
_SIZED = (t.Int, t.Float, t.Enum, t.Enum64)
_REFERRING = (t.Array, t.Func, t.Var)


def _demand_same(what: str, one: object, other: object) -> None:
    if one != other:
        raise Mismatch(f"{what.replace('_', ' ')} {one!s} and {other!s}")


def _members(one: t.Composite, other: t.Composite) -> list[Pair]:
    label = _describe(one)
    _demand_same(f"number of members of {label}", len(one.members), len(other.members))
    for left, right in zip(one.members, other.members, strict=True):
        if left.name != right.name:
            raise Mismatch(f"{label} with member {left.name!r} and with {right.name!r}")
        placed = (left.bit_offset, left.bitfield_size), (right.bit_offset, right.bitfield_size)
        if placed[0] != placed[1]:
            raise Mismatch(f"{label} with {left.name!r} at two places")
    pairs = zip(one.members, other.members, strict=True)
    return [(left.type_id, right.type_id, True) for left, right in pairs]


def _parameters(one: t.FuncProto, other: t.FuncProto, exact: bool) -> list[Pair]:
    _demand_same("number of parameters", len(one.parameters), len(other.parameters))
    pairs = zip(one.parameters, other.parameters, strict=True)
    found = [(left.type_id, right.type_id, exact) for left, right in pairs]
    return [*found, (one.type_id, other.type_id, exact)]


def _match_declaration(one: t.Type, other: t.Type) -> None:
    """A declaration on one side, and on the other perhaps what it declares."""
    declared, defined = (one, other) if isinstance(one, t.Fwd) else (other, one)
    assert isinstance(declared, t.Fwd)
    wanted = t.Union if declared.is_union else t.Struct
    if not isinstance(defined, wanted) or defined.name != declared.name:
        raise Mismatch(f"{_describe(one)} and {_describe(other)}")


def _describe(type: t.Type) -> str:
    if isinstance(type, t.Fwd):
        return f"{'union' if type.is_union else 'struct'} {type.name}"
    if isinstance(type, (t.Int, t.Float, t.Void)) and type.name:
        return type.name
    words = {t.Kind.PTR: "a pointer", t.Kind.ARRAY: "an array", t.Kind.FUNC_PROTO: "a function"}
    word = words.get(type.kind, type.kind.name.lower())
    return f"{word} {type.name}".rstrip()
