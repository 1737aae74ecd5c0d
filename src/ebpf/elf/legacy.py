"""Map definitions as bytes, from before BTF: ``SEC("maps")`` and gobpf's ``SEC("maps/NAME")``.

``struct bpf_map_def`` begins with type, key_size, value_size, max_entries and map_flags; what
follows differs between projects. How long it is shows in the distance of the symbols.
"""

from __future__ import annotations

import struct

from ebpf.btf import types as t
from ebpf.elf.context import Context, Role
from ebpf.elf.reader import STT_NOTYPE, STT_OBJECT, Section, Symbol
from ebpf.errors import ElfError
from ebpf.spec import Iproute2, MapSpec
from ebpf.types import MapFlags, MapType

_SHORTEST = 20
_IPROUTE2, _IPROUTE2_SIZE = "bpf_elf_map", 36  # of iproute2's bpf_elf.h
_NO_INDEX = -1
_MAPS_OF_MAPS = (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS)


def read_legacy_maps(context: Context) -> None:
    """Adds the maps of every legacy section."""
    for section in context.sections(Role.LEGACY_MAPS):
        if section.size:
            _read_section(context, section)
    _fill_iproute2(context)


def _read_section(context: Context, section: Section) -> None:
    data = context.elf.data(section)
    symbols = _definitions(context, section)
    if not symbols:
        raise section.error("no symbol in it: which maps are there?")
    structs = _struct_names(context, section)
    ends = [symbol.value for symbol in symbols[1:]] + [section.size]
    for symbol, end in zip(symbols, ends, strict=True):
        raw = bytes(data[symbol.value : end])
        if len(raw) < _SHORTEST:
            raise section.error(
                f"map {symbol.name!r} is defined by {len(raw)} bytes, at least {_SHORTEST}",
                symbol.value,
            )
        key = context.map_keys.key(symbol.name)
        context.spec.maps[key] = _map(context.elf.order, section, symbol.name, raw, structs)
        context.map_at[section.index, symbol.value] = key


def _definitions(context: Context, section: Section) -> list[Symbol]:
    """The symbols of the maps by offset, of several at one offset the first."""
    found: dict[int, Symbol] = {}
    for symbol in context.symbols_in[section.index]:
        # clang before 8 gives objects no type.
        if symbol.name and symbol.type in (STT_NOTYPE, STT_OBJECT):
            found.setdefault(symbol.value, symbol)
    return [found[offset] for offset in sorted(found)]


def _map(order: str, section: Section, name: str, raw: bytes, structs: dict[str, str]) -> MapSpec:
    kind, key_size, value_size, max_entries, flags = struct.unpack_from(order + "5I", raw)
    spec = MapSpec(
        name=name,
        type=MapType(kind),
        key_size=key_size,
        value_size=value_size,
        max_entries=max_entries,
        flags=MapFlags(flags),
        section=section.name,
    )
    rest = raw[_SHORTEST:]
    # Without BTF the length tells: no other definition has it.
    if len(raw) == _IPROUTE2_SIZE and structs.get(name, _IPROUTE2) == _IPROUTE2:
        spec.iproute2 = Iproute2(*struct.unpack(order + "IIIi", rest))
    elif any(rest):
        spec.extra = rest
    return spec


def _struct_names(context: Context, section: Section) -> dict[str, str]:
    """The struct of each definition that BTF knows: {map: name of the struct}."""
    datasec = context.datasec(section)
    if datasec is None or context.btf is None:
        return {}
    btf = context.btf.btf
    variables = (btf.type(variable.type_id) for variable in datasec.variables)
    return {v.name: btf.resolve(v.type_id).name for v in variables if isinstance(v, t.Var)}


def _fill_iproute2(context: Context) -> None:
    """Templates and initial slots, which iproute2 declares by numbers."""
    maps = context.spec.maps
    numbered = {spec.iproute2.id: key for key, spec in maps.items() if spec.iproute2}
    outer = {spec.iproute2.inner_id: spec for spec in maps.values() if spec.iproute2}
    for spec in maps.values():
        if spec.iproute2 and spec.iproute2.inner_id and spec.type in _MAPS_OF_MAPS:
            template = numbered.get(spec.iproute2.inner_id)
            if template is not None and maps[template] is not spec:
                spec.inner = _template(spec, maps[template])
    for key, spec in maps.items():
        if spec.iproute2 and spec.iproute2.id and spec.iproute2.inner_index != _NO_INDEX:
            holder = outer.get(spec.iproute2.id)
            if holder is not None and holder is not spec and holder.inner:
                holder.slots[spec.iproute2.inner_index] = key


def _template(outer: MapSpec, template: MapSpec) -> MapSpec:
    if template.type in _MAPS_OF_MAPS:
        raise ElfError(
            f"map {outer.name!r} in section {outer.section!r}: its template, {template.name!r}, is "
            "a map of maps too, and kernels take no maps of maps of maps"
        )
    inner = template.copy()
    inner.name = f"{outer.name}.inner"
    return inner
