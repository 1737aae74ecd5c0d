"""Global data: ``.data``, ``.bss`` and ``.rodata`` as maps, ``.addr_space.1``, and variables."""

from __future__ import annotations

from ebpf.btf.types import Linkage
from ebpf.elf.context import Context, Keys, Placed, Role, only, place_variables
from ebpf.elf.reader import SHT_NOBITS, STB_WEAK, STT_NOTYPE, STT_OBJECT, Section, Symbol
from ebpf.plain import dataclass
from ebpf.spec import MapSpec, VariableSpec
from ebpf.types import MapFlags, MapType

_MAXIMUM_SIZE = 0xFFFFFFFF  # value_size has 32 bits


@dataclass(frozen=True)
class _Found:
    """A variable before it has a key."""

    name: str
    section: Section
    map: MapSpec
    offset: int
    size: int
    type_id: int
    linkage: Linkage
    weak: bool


def read_data(context: Context) -> None:
    """Adds a map for every data section, and their variables and those of the arena."""
    found: list[_Found] = []
    for section in context.sections(Role.DATA):
        spec = _data_map(context, section)
        key = context.map_keys.key(section.name)
        context.spec.maps[key] = spec
        context.data_map[section.index] = key
        found += _variables(context, section, spec)
    arena_section = only(context.sections(Role.ARENA), "section of arena variables")
    if arena_section is not None:
        key, arena = _arena(context, arena_section)
        context.data_map[arena_section.index] = key
        found += _variables(context, arena_section, arena)
    _add_variables(context, found)


def _data_map(context: Context, section: Section) -> MapSpec:
    if section.size > _MAXIMUM_SIZE:
        raise section.error(f"{section.size} bytes; a map's value has up to {_MAXIMUM_SIZE}")
    # Zeros are not kept: a section without bytes in the file may claim any size.
    zeros = section.type == SHT_NOBITS
    read_only = _is_read_only(section)
    datasec = context.datasec(section)
    return MapSpec(
        name=section.name,
        type=MapType.ARRAY,
        key_size=4,
        value_size=section.size,
        max_entries=1,
        flags=MapFlags.RDONLY_PROG if read_only else MapFlags(0),
        value_type_id=datasec.id if datasec else 0,
        contents=None if zeros else bytearray(context.elf.data(section)),
        data=True,
        frozen=read_only,
        section=section.name,
        object_name=context.spec.name,
    )


def _is_read_only(section: Section) -> bool:
    return section.name == ".rodata" or section.name.startswith(".rodata.")


def _arena(context: Context, section: Section) -> tuple[str, MapSpec]:
    for key, spec in context.spec.maps.items():
        if spec.type is MapType.ARENA:
            spec.contents = bytearray(context.elf.data(section))
            return key, spec
    raise section.error("variables in an arena, but no map of type ARENA in .maps")


def _variables(context: Context, section: Section, spec: MapSpec) -> list[_Found]:
    datasec = context.datasec(section)
    if datasec is None:
        return [
            _from_symbol(section, spec, symbol)
            for symbol in context.symbols_in[section.index]
            if _is_variable(section, symbol)
        ]
    placed = place_variables(context, section, datasec)
    # libbpf maps a section into user space only if something in it is to be seen from there.
    if spec.data and any(p.var.linkage != Linkage.STATIC and not p.hidden for p in placed):
        spec.flags |= MapFlags.MMAPABLE
    return [_from_btf(section, spec, one) for one in placed if one.var.name]


def _from_btf(section: Section, spec: MapSpec, placed: Placed) -> _Found:
    linkage = Linkage.STATIC if placed.hidden else placed.var.linkage
    return _Found(
        placed.var.name,
        section,
        spec,
        placed.offset,
        placed.size,
        placed.var.type_id,
        linkage,
        placed.weak,
    )


def _is_variable(section: Section, symbol: Symbol) -> bool:
    # Names with a dot are the compiler's own, and objects before clang 8 have no types.
    if not symbol.name or symbol.name.startswith(".") or not symbol.size:
        return False
    if symbol.type == STT_OBJECT or (symbol.type == STT_NOTYPE and symbol.exported):
        if symbol.value + symbol.size > section.size:
            raise section.error(
                f"{symbol.name!r} of {symbol.size} bytes is outside of its {section.size}",
                symbol.value,
            )
        return True
    return False


def _from_symbol(section: Section, spec: MapSpec, symbol: Symbol) -> _Found:
    visible = symbol.exported and not symbol.hidden
    linkage = Linkage.GLOBAL if visible else Linkage.STATIC
    weak = symbol.binding == STB_WEAK
    return _Found(symbol.name, section, spec, symbol.value, symbol.size, 0, linkage, weak)


def _add_variables(context: Context, found: list[_Found]) -> None:
    """Global variables get their names first: static ones of several functions share theirs."""
    keys = Keys()
    btf = context.btf.btf if context.btf else None
    for one in sorted(found, key=lambda one: one.linkage == Linkage.STATIC):
        context.spec.variables[keys.key(one.name)] = VariableSpec(
            name=one.name,
            section=one.section.name,
            offset=one.offset,
            size=one.size,
            map=one.map,
            type_id=one.type_id,
            linkage=one.linkage,
            weak=one.weak,
            constant=_is_read_only(one.section),
            btf=btf,
        )
