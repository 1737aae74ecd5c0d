"""Types of a target by essential name, and their members by name; kept as long as the target is.

The kernel's BTF has over 100,000 types, so nothing here decodes a type that has another name.
Split BTF (that of a module) is searched for its own types only, though their names may be strings
of its base.
"""

from __future__ import annotations

from collections.abc import Iterator

from ebpf.btf import types as t
from ebpf.btf.btf import Btf
from ebpf.btf.core.names import essential_name
from ebpf.btf.strings import ENCODING_ERRORS
from ebpf.plain import NamedTuple

_FLAVOUR = b"___"


class Found(NamedTuple):
    """A member: ``type_id`` is the struct or union that directly holds it.

    ``bit_offset`` counts from the start of the type in which it was looked for.
    """

    type_id: int
    position: int
    bit_offset: int
    member: t.Member


class _Known:
    """What is known of one Btf."""

    def __init__(self) -> None:
        self.entries: dict[str, list[int]] = {}
        self.tails: dict[str, list[int]] = {}
        self.flavours: dict[str, list[int]] | None = None
        self.ids: dict[tuple[str, t.Kind], tuple[int, ...]] = {}
        self.members: dict[int, dict[str, Found]] = {}
        self.enumerators: dict[int, dict[str, int]] = {}


def _of(btf: Btf) -> _Known:
    known: _Known | None = btf.notes.get(__name__)
    return btf.notes.setdefault(__name__, _Known()) if known is None else known


def candidates(btf: Btf, name: str, kind: t.Kind) -> tuple[int, ...]:
    """The ids, ascending, of the types of `btf` that have the essential name `name` and `kind`.

    Those of its base are left out. ENUM and ENUM64 are one kind.
    """
    known = _of(btf)
    key = name, kind
    found = known.ids.get(key)
    if found is None:
        kinds = (t.Kind.ENUM, t.Kind.ENUM64) if kind in _ENUMS else (kind,)
        found = known.ids[key] = tuple(sorted(_ids(btf, name, kinds)))
    return found


_ENUMS = (t.Kind.ENUM, t.Kind.ENUM64)


def _ids(btf: Btf, name: str, kinds: tuple[t.Kind, ...]) -> set[int]:
    """As Btf.find_all: an offset inside a longer string counts where no string is `name`."""
    flavoured = _positions(btf, _flavours(btf, name), kinds)
    exact = _positions(btf, _offsets(btf, name, tails=False), kinds)
    if not exact:
        exact = _positions(btf, _offsets(btf, name, tails=True), kinds)
    return {btf.start_id + position for position in exact | flavoured}


def _positions(btf: Btf, offsets: list[int], kinds: tuple[t.Kind, ...]) -> set[int]:
    if not offsets:
        return set()
    return {position for kind in kinds for position in btf.names.positions(offsets, kind)}


def _offsets(btf: Btf, name: str, tails: bool) -> list[int]:
    """Where `name` is a string of `btf` or of a base; each table is searched once for a name."""
    found = _offsets(btf.base, name, tails) if btf.base else []
    known = _of(btf)
    if name not in known.entries:
        known.entries[name], known.tails[name] = _search(btf, name)
    return found + (known.tails if tails else known.entries)[name]


def _search(btf: Btf, name: str) -> tuple[list[int], list[int]]:
    """The offsets at which strings of `btf` itself are `name`, and at which they end in it."""
    strings, raw = btf.strings, name.encode("utf-8", ENCODING_ERRORS) + b"\0"
    data, section = strings.data, strings.section
    entries: list[int] = []
    tails: list[int] = []
    for position in _every(btf, raw):
        first = position == section.start or data[position - 1 : position] == b"\0"
        (entries if first else tails).append(strings.start + position - section.start)
    return entries, tails


def _every(btf: Btf, needle: bytes) -> Iterator[int]:
    """Where `needle` is in the strings of `btf` itself, as an offset in its data."""
    data, section = btf.strings.data, btf.strings.section
    position = data.find(needle, section.start, section.end)
    while position >= 0:
        yield position
        position = data.find(needle, position + 1, section.end)


def _flavours(btf: Btf, name: str) -> list[int]:
    """The offsets of strings of `btf` and its bases that are `name` with a flavour."""
    found = _flavours(btf.base, name) if btf.base else []
    known = _of(btf)
    if known.flavours is None:
        known.flavours = _index_flavours(btf)
    return found + known.flavours.get(name, [])


def _index_flavours(btf: Btf) -> dict[str, list[int]]:
    """The offsets of all strings of `btf` itself that have a flavour, by essential name.

    One pass for all: a kernel has under a hundred strings with three underscores.
    """
    strings = btf.strings
    data, section = strings.data, strings.section
    index: dict[str, list[int]] = {}
    done = section.start
    for position in _every(btf, _FLAVOUR):
        if position < done:
            continue
        start = max(data.rfind(b"\0", section.start, position) + 1, section.start)
        done = data.find(b"\0", position, section.end)
        name = data[start:done].decode("utf-8", ENCODING_ERRORS)
        essential = essential_name(name)
        if essential != name:
            index.setdefault(essential, []).append(strings.start + start - section.start)
    return index


def members(btf: Btf, composite: t.Struct | t.Union) -> dict[str, Found]:
    """Every member of `composite` by name, through anonymous structs and unions, the first of each.

    Raises BtfError.
    """
    known = _of(btf).members
    found = known.get(composite.id)
    if found is None:
        found = known[composite.id] = _collect(btf, composite)
    return found


def enumerators(btf: Btf, enum: t.Enum | t.Enum64) -> dict[str, int]:
    """The position of every enumerator by its essential name, of several the first."""
    known = _of(btf).enumerators
    found = known.get(enum.id)
    if found is None:
        found = known[enum.id] = {}
        for position, (name, _) in enumerate(enum.values):
            found.setdefault(essential_name(name), position)
    return found


def _collect(btf: Btf, composite: t.Struct | t.Union) -> dict[str, Found]:
    """In the order of declaration. A type that was seen holds no name that was not seen."""
    found: dict[str, Found] = {}
    seen = {composite.id}
    pending: list[tuple[t.Struct | t.Union, int, int]] = [(composite, 0, 0)]
    while pending:
        holder, base, first = pending.pop()
        for index in range(first, len(holder.members)):
            member = holder.members[index]
            bit_offset = base + member.bit_offset
            if member.name:
                if member.name not in found:
                    found[member.name] = Found(holder.id, index, bit_offset, member)
                continue
            inner = btf.resolve(member.type_id)
            if isinstance(inner, (t.Struct, t.Union)) and inner.id not in seen:
                seen.add(inner.id)
                pending += [(holder, base, index + 1), (inner, bit_offset, 0)]
                break
    return found
