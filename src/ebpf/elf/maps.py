"""Map definitions in ``.maps``: a struct whose members' types say what the map is.

``__uint(max_entries, 8)`` declares ``int (*max_entries)[8]``: the number is the length of an
array in the BTF. ``__ulong`` is an enum of one value, ``__type(key, u32)`` a pointer to the type,
``__array(values, struct ...)`` a flexible array of pointers whose elements are relocations.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.elf.context import Context, Placed, Role, only, place_variables
from ebpf.elf.reader import Rel, Section
from ebpf.errors import BtfError, RelocationError
from ebpf.plain import dataclass, field
from ebpf.spec import MapSpec, Pinning
from ebpf.types import MapFlags, MapType

MAPS_OF_MAPS = (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS)
SECTION = ".maps"
_POINTER_SIZE = 8


@dataclass
class _Definition:
    """What the members of one struct say; ``values`` is the offset of the flexible array."""

    fields: dict[str, int] = field(default_factory=dict)
    inner: _Definition | None = None
    values: int | None = None

    def get(self, name: str) -> int:
        return self.fields.get(name, 0)

    def spec(self, name: str, section: str) -> MapSpec:
        return MapSpec(
            name=name,
            type=MapType(self.get("type")),
            key_size=self.get("key_size"),
            value_size=self.get("value_size"),
            max_entries=self.get("max_entries"),
            flags=MapFlags(self.get("map_flags")),
            map_extra=self.get("map_extra"),
            numa_node=self.get("numa_node"),
            pinning=Pinning(self.get("pinning")),
            key_type_id=self.get("key"),
            value_type_id=self.get("value"),
            inner=self.inner.spec(f"{name}.inner", section) if self.inner else None,
            section=section,
        )


class _Problem(Exception):
    """Why a definition is none; the map's name is added where it is known."""


@dataclass(frozen=True)
class MapPlace:
    """Where a definition is in ``.maps``; ``values`` is the offset of its array in it."""

    key: str
    section: Section
    offset: int
    size: int
    values: int | None


def read_maps(context: Context) -> list[MapPlace]:
    """Adds the maps that ``.maps`` defines; their places, by offset."""
    places: list[MapPlace] = []
    section = only(context.sections(Role.MAPS), "section of maps")
    if section is None:
        return places
    parser = MapParser(context.need_btf(section).btf)
    datasec = context.datasec(section)
    if datasec is None:
        raise section.error("no DATASEC of that name in the BTF")
    arena = ""
    for placed in place_variables(context, section, datasec):
        definition = parser.definition(section, placed)
        key = context.map_keys.key(placed.var.name)
        spec = definition.spec(placed.var.name, section.name)
        if spec.type is MapType.ARENA:
            if arena:
                raise section.error(f"{arena!r} and {key!r} are both arenas; there can be one")
            arena = key
        context.spec.maps[key] = spec
        context.map_at[section.index, placed.offset] = key
        places.append(MapPlace(key, section, placed.offset, placed.size, definition.values))
    return places


def fill_slots(context: Context, places: list[MapPlace]) -> None:
    """Adds what the object puts into its maps of maps and program arrays.

    The elements of ``values`` are pointers, of which the file has only the relocations.
    """
    starts = [place.offset for place in places]
    entries = {program.function: key for key, program in context.spec.programs.items()}
    for section in context.sections(Role.MAPS):
        for rel in context.relocations.get(section.index, ()):
            position = bisect_right(starts, rel.offset) - 1
            if (
                position < 0
                or rel.offset + _POINTER_SIZE > starts[position] + places[position].size
            ):
                raise section.error("a relocation outside of every map", rel.offset)
            _fill_slot(context, places[position], rel, entries)


def _fill_slot(context: Context, place: MapPlace, rel: Rel, entries: dict[str, str]) -> None:
    symbol = context.elf.symbols[rel.symbol]
    name = context.symbol_name(symbol)

    def error(problem: str) -> RelocationError:
        at = place.section.error(f"map {place.key!r}: {problem}", rel.offset)
        return RelocationError(str(at))

    spec = context.spec.maps[place.key]
    distance = -1 if place.values is None else rel.offset - place.offset - place.values
    if distance < 0 or distance % _POINTER_SIZE:
        raise error(f"a relocation against {name!r}, which is no element of 'values'")
    target = (symbol.section, symbol.value)
    if spec.type in MAPS_OF_MAPS:
        found = context.map_at.get(target)
        if spec.type is MapType.HASH_OF_MAPS and spec.key_size != 4:
            raise error(f"a hash of maps with 'values' has keys of {spec.key_size} bytes, not 4")
    else:
        found = entries.get(context.function_at.get(target, ""))
    if found is None:
        what = "map" if spec.type in MAPS_OF_MAPS else "program"
        raise error(f"{name!r} in 'values' is no {what}")
    spec.slots[distance // _POINTER_SIZE] = found


class MapParser:
    """Reads the structs of definitions, each once: thousands of maps may be of one struct."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self._known: dict[tuple[int, bool], _Definition] = {}

    def definition(self, section: Section, placed: Placed) -> _Definition:
        name = placed.var.name
        try:
            if placed.var.linkage != t.Linkage.GLOBAL:
                raise _Problem("is static; a map must be global")
            struct = self.btf.resolve(placed.var.type_id)
            if not isinstance(struct, t.Struct):
                raise _Problem(f"is defined by {struct.kind.name}, not by a struct")
            if struct.size > placed.size:
                raise _Problem(f"has {placed.size} bytes, but its struct has {struct.size}")
            return self.parse(struct, inner=False)
        except (_Problem, BtfError) as error:
            raise section.error(f"map {name!r}: {error}", placed.offset) from None

    def declared(self, variable_id: int) -> MapSpec:
        """The map that a variable defines or declares by its type. Raises BtfError."""
        variable = self.btf.type(variable_id)
        try:
            if not isinstance(variable, t.Var):
                raise _Problem(f"is {variable.kind.name}, no variable")
            struct = self.btf.resolve(variable.type_id)
            if not isinstance(struct, t.Struct):
                raise _Problem(f"is defined by {struct.kind.name}, not by a struct")
            return self.parse(struct, inner=False).spec(variable.name, SECTION)
        except _Problem as problem:
            raise BtfError(f"map {variable.name!r}: {problem}") from None

    def parse(self, struct: t.Struct, *, inner: bool) -> _Definition:
        made = self._known.get((struct.id, inner))
        if made is None:
            made = self._known[struct.id, inner] = self._parse(struct, inner)
        return made

    def _parse(self, struct: t.Struct, inner: bool) -> _Definition:
        made = _Definition()
        for member in struct.members:
            read = _MEMBERS.get(member.name)
            if read is None:
                raise _Problem(f"unknown field {member.name!r}; known are {', '.join(_MEMBERS)}")
            if made.values is not None:
                raise _Problem("'values' is not the last field")
            if inner and member.name in ("values", "pinning"):
                raise _Problem(f"field {member.name!r} is for outer maps, not for an inner one")
            read(made, self, member)
        if not made.get("type"):
            raise _Problem("no field 'type'")
        return made


def _integer(parser: MapParser, member: t.Member) -> int:
    """The N of ``int (*name)[N]``."""
    pointer = parser.btf.resolve(member.type_id)
    if not isinstance(pointer, t.Pointer):
        raise _Problem(f"field {member.name!r} is {pointer.kind.name}; declare it with __uint")
    array = parser.btf.type(pointer.type_id)
    if not isinstance(array, t.Array):
        raise _Problem(f"field {member.name!r} points to {array.kind.name}; declare it with __uint")
    return array.length


def _read_integer(made: _Definition, parser: MapParser, member: t.Member) -> None:
    made.fields[member.name] = _integer(parser, member)


def _read_pinning(made: _Definition, parser: MapParser, member: t.Member) -> None:
    value = _integer(parser, member)
    if value not in list(Pinning):
        raise _Problem(f"pinning {value}; it is 0 (none) or 1 (by name)")
    made.fields["pinning"] = value


def _read_long(made: _Definition, parser: MapParser, member: t.Member) -> None:
    enum = parser.btf.resolve(member.type_id)
    if isinstance(enum, (t.Enum, t.Enum64)):
        if len(enum.values) != 1:
            raise _Problem(f"field {member.name!r} is an enum of {len(enum.values)} values, not 1")
        made.fields[member.name] = enum.values[0].value & (1 << 64) - 1
    else:
        _read_integer(made, parser, member)


def _set_size(made: _Definition, name: str, size: int) -> None:
    known = made.get(name)
    if known and known != size:
        raise _Problem(f"{name} is {known} and {size}")
    made.fields[name] = size


def _read_size(made: _Definition, parser: MapParser, member: t.Member) -> None:
    _set_size(made, member.name, _integer(parser, member))


def _read_type(made: _Definition, parser: MapParser, member: t.Member) -> None:
    pointer = parser.btf.type(member.type_id)
    if not isinstance(pointer, t.Pointer):
        raise _Problem(f"field {member.name!r} is {pointer.kind.name}; declare it with __type")
    _set_size(made, f"{member.name}_size", parser.btf.sizeof(pointer.type_id))
    made.fields[member.name] = pointer.type_id


def _read_values(made: _Definition, parser: MapParser, member: t.Member) -> None:
    map_type = made.get("type")
    if map_type not in (*MAPS_OF_MAPS, MapType.PROG_ARRAY):
        raise _Problem("'values' in a map of another type than map of maps or program array")
    _set_size(made, "value_size", 4)
    array = parser.btf.type(member.type_id)
    if not isinstance(array, t.Array) or array.length:
        raise _Problem("'values' is no flexible array; declare it with __array")
    pointer = parser.btf.resolve(array.type_id)
    if not isinstance(pointer, t.Pointer):
        raise _Problem(f"'values' are {pointer.kind.name}, no pointers; declare it with __array")
    target = parser.btf.resolve(pointer.type_id)
    made.values = member.bit_offset // 8
    if map_type == MapType.PROG_ARRAY:
        if not isinstance(target, t.FuncProto):
            raise _Problem(f"'values' of a program array point to {target.kind.name}")
    elif isinstance(target, t.Struct):
        made.inner = parser.parse(target, inner=True)
    else:
        raise _Problem(f"'values' of a map of maps point to {target.kind.name}, not to a struct")


_MEMBERS: dict[str, Callable[[_Definition, MapParser, t.Member], None]] = {
    "type": _read_integer,
    "max_entries": _read_integer,
    "map_flags": _read_integer,
    "numa_node": _read_integer,
    "key_size": _read_size,
    "key": _read_type,
    "value_size": _read_size,
    "value": _read_type,
    "values": _read_values,
    "pinning": _read_pinning,
    "map_extra": _read_long,
}
