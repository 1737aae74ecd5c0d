"""The part of a kernel's types that the relocations of a program refer to.

A program carries the types that it was written against, for the loader to compare them with those
of the kernel. Of a struct with hundreds of members it needs those that it uses: what CO-RE looks
for is found by name.
"""

from __future__ import annotations

from ebpf.btf import types as t
from ebpf.btf.core.names import ENUM_KINDS, TYPE_KINDS
from ebpf.btf.fields import Field, Layout
from ebpf.errors import AsmError, BtfError
from ebpf.patterns import Pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from ebpf.asm.relocated import Access
    from ebpf.btf import Btf
    from ebpf.btf.build import BtfBuilder

    # A type of one of several BTFs.
    Key: TypeAlias = tuple[int, int]

_INDEX = Pattern(r"\[(\d+)\]")


class Step:
    """One name of a path: the field in `layout`, and the indices behind it."""

    __slots__ = ("field", "indices", "layout", "name")

    def __init__(self, layout: Layout, segment: str) -> None:
        self.layout = layout
        self.name, brackets, rest = segment.partition("[")
        self.indices = [int(index) for index in _INDEX.findall(brackets + rest)]
        self.field = layout.field(self.name)

    @property
    def type(self) -> t.Type:
        """What the step leads to."""
        btf = self.layout.btf
        found = btf.resolve(self.field.type_id)
        for _ in self.indices:
            assert isinstance(found, t.Array)
            found = btf.resolve(found.type_id)
        return found


def steps(layout: Layout, path: str) -> Iterator[Step]:
    """The steps of a path that does not lead through pointers."""
    # For its errors: no such field, no array, an index that is too large.
    layout.field(path)
    for segment in path.split("."):
        step = Step(layout, segment)
        yield step
        found = step.type
        if isinstance(found, (t.Struct, t.Union)):
            layout = Layout(layout.btf, found)


class Excerpt:
    """Adds to `builder` what the accesses need; ``want`` all of them before ``place``."""

    def __init__(self, builder: BtfBuilder) -> None:
        self._builder = builder
        self._members: dict[Key, dict[str, Field]] = {}
        self._enumerators: dict[Key, list[str]] = {}
        self._ids: dict[Key, int] = {}
        # How an access string leads to a member: "3", or "3:0" through an anonymous struct.
        self._indices: dict[Key, dict[str, str]] = {}

    def want(self, access: Access) -> None:
        """Raises BtfError for a path that leads nowhere."""
        if access.kind in TYPE_KINDS:
            return
        if access.kind in ENUM_KINDS:
            names = self._enumerators.setdefault(_key(access.btf, access.type_id), [])
            if access.path not in names:
                names.append(access.path)
            return
        for step in steps(access.btf.layout(access.type_id), access.path):
            members = self._members.setdefault(_key(step.layout.btf, step.layout.type.id), {})
            members[step.name] = step.field

    def place(self, access: Access) -> tuple[int, str]:
        """The type of `access` in the builder, and its access string."""
        type_id = self.add(access.btf, access.type_id)
        if access.kind in TYPE_KINDS:
            return type_id, "0"
        if access.kind in ENUM_KINDS:
            names = self._enumerators[_key(access.btf, access.type_id)]
            return type_id, str(names.index(access.path))
        parts = ["0"]
        for step in steps(access.btf.layout(access.type_id), access.path):
            key = _key(step.layout.btf, step.layout.type.id)
            parts += [self._indices[key][step.name], *map(str, step.indices)]
        return type_id, ":".join(parts)

    def add(self, btf: Btf, type_id: int) -> int:
        """A type of `btf` in the builder: structs have the wanted members, pointers are void *."""
        found = btf.type(type_id)
        if isinstance(found, t.Typedef) and not btf.resolve(type_id).name:
            key = _key(btf, type_id)
            if key not in self._ids:
                target = self.add(btf, btf.resolve(type_id).id)
                self._ids[key] = self._builder.add(t.Typedef(name=found.name, type_id=target))
            return self._ids[key]
        found = btf.resolve(type_id)
        key = _key(btf, found.id)
        if key not in self._ids:
            self._ids[key] = self._copy(btf, found, key)
        return self._ids[key]

    def _copy(self, btf: Btf, found: t.Type, key: Key) -> int:
        add = self._builder.add_once
        if isinstance(found, (t.Struct, t.Union)):
            return self._composite(btf, found, key)
        if isinstance(found, t.Pointer):
            return add(t.Pointer(type_id=0))
        if isinstance(found, t.Int):
            return add(_whole(found))
        if isinstance(found, t.Array):
            element = self.add(btf, found.type_id)
            number = self.add(btf, found.index_type_id)
            return add(t.Array(type_id=element, index_type_id=number, length=found.length))
        if isinstance(found, (t.Enum, t.Enum64)):
            return self._enum(found, key)
        if isinstance(found, (t.Float, t.Fwd)):
            return add(found)
        raise BtfError(f"a program cannot refer to BTF type {found.id}, a {found.kind.name}")

    def _enum(self, found: t.Enum | t.Enum64, key: Key) -> int:
        wanted = self._enumerators.get(key, [])
        values = {value.name: value for value in found.values}
        chosen = tuple(values[name] for name in wanted)
        make = type(found)
        return self._builder.add(
            make(name=found.name, size=found.size, signed=found.signed, values=chosen)
        )

    def _composite(self, btf: Btf, found: t.Struct | t.Union, key: Key) -> int:
        wanted = self._members.get(key, {})
        members: list[t.Member] = []
        indices: dict[str, str] = {}
        # In the order of their offsets, as the kernel wants them.
        for name, field in sorted(wanted.items(), key=lambda item: item[1].bit_offset):
            indices[name] = str(len(members))
            type_id = self.add(btf, field.type_id)
            member = t.Member(name, type_id, field.bit_offset, field.bitfield_size)
            if isinstance(found, t.Union) and field.bit_offset:
                # All members of a union begin at its start: this one was in an anonymous struct.
                inner = _struct(t.Struct, "", found.size, [member])
                member = t.Member("", self._builder.add(inner), 0)
                indices[name] += ":0"
            members.append(member)
        self._indices[key] = indices
        return self._builder.add(_struct(type(found), found.name, found.size, members))


def _struct(
    make: type[t.Struct] | type[t.Union], name: str, size: int, members: list[t.Member]
) -> t.Struct | t.Union:
    bitfields = any(member.bitfield_size for member in members)
    return make(name=name, size=size, members=tuple(members), kind_flag=bitfields)


def _whole(number: t.Int) -> t.Int:
    """The integer with all of its bits: the width of a bitfield is in the member."""
    return t.Int(name=number.name, size=number.size, bits=8 * number.size, encoding=number.encoding)


def _key(btf: Btf, type_id: int) -> Key:
    return id(btf), type_id


def enumerator(btf: Btf, type_id: int, name: str) -> t.Enumerator:
    """The enumerator `name` of an enum. Raises AsmError."""
    found = btf.resolve(type_id)
    if not isinstance(found, (t.Enum, t.Enum64)):
        raise AsmError(f"BTF type {type_id} is {found.kind.name}, no enum")
    for value in found.values:
        if value.name == name:
            return value
    there = ", ".join(value.name for value in found.values[:30])
    raise AsmError(f"enum {found.name} has no enumerator {name!r}; it has: {there}")
