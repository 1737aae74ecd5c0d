"""``.struct_ops``: structs of function pointers, each of which becomes a map of type STRUCT_OPS."""

from __future__ import annotations

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.elf.context import Context, Placed, Role, place_variables
from ebpf.elf.reader import Section
from ebpf.errors import RelocationError
from ebpf.spec import MapSpec, StructOps
from ebpf.types import MapFlags, MapType


def read_struct_ops(context: Context) -> None:
    """Adds a map for every struct in the sections of struct_ops; programs must be known."""
    for section in context.sections(Role.STRUCT_OPS):
        btf = context.need_btf(section).btf
        datasec = context.datasec(section)
        if datasec is None:
            raise section.error("no DATASEC of that name in the BTF")
        placed = place_variables(context, section, datasec)
        if sum(one.size for one in placed) > section.size:
            raise section.error(f"variables that overlap in {section.size} bytes")
        maps = [(one.offset, _add_map(context, section, btf, one)) for one in placed]
        _add_programs(context, section, btf, maps)


def _add_map(context: Context, section: Section, btf: Btf, placed: Placed) -> MapSpec:
    struct = btf.resolve(placed.var.type_id)
    if not isinstance(struct, t.Struct) or not struct.name:
        raise section.error(
            f"{placed.var.name!r} is {struct.kind.name} {struct.name!r}, no struct with a name",
            placed.offset,
        )
    if struct.size > placed.size:
        raise section.error(
            f"{placed.var.name!r} has {placed.size} bytes, struct {struct.name} {struct.size}",
            placed.offset,
        )
    name = section.name.removeprefix("?")
    link = name == ".struct_ops.link"
    data = context.elf.data(section)[placed.offset : placed.offset + struct.size]
    spec = MapSpec(
        name=placed.var.name,
        type=MapType.STRUCT_OPS,
        key_size=4,
        value_size=struct.size,
        max_entries=1,
        flags=MapFlags.LINK if link else MapFlags(0),
        contents=bytearray(data) if data else None,
        autocreate=not section.name.startswith("?"),
        section=name,
        struct_ops=StructOps(struct.id, {}, link),
    )
    key = context.map_keys.key(placed.var.name)
    context.spec.maps[key] = spec
    context.map_at[section.index, placed.offset] = key
    return spec


def _add_programs(
    context: Context, section: Section, btf: Btf, maps: list[tuple[int, MapSpec]]
) -> None:
    """Notes which program each function pointer names, which is in the relocations."""
    entries = {program.function: key for key, program in context.spec.programs.items()}
    members = _Members(btf)
    number = 0
    for rel in context.relocations.get(section.index, ()):
        while number + 1 < len(maps) and maps[number + 1][0] <= rel.offset:
            number += 1
        offset, spec = maps[number] if maps else (0, None)
        symbol = context.elf.symbols[rel.symbol]
        label = context.symbol_name(symbol)
        if spec is None or not offset <= rel.offset < offset + spec.value_size:
            raise RelocationError(str(section.error(f"{label!r} outside of every map", rel.offset)))
        assert spec.struct_ops is not None
        member = members.function_pointer(spec.struct_ops.type_id, rel.offset - offset)
        function = context.function_at.get((symbol.section, symbol.value), "")
        if member is None or function not in entries:
            problem = "is no program" if member else "is at no function pointer"
            problem = f"map {spec.name!r}: {label!r} {problem}"
            raise RelocationError(str(section.error(problem, rel.offset)))
        spec.struct_ops.programs[member] = entries[function]


class _Members:
    """The function pointers of structs by offset, looked up once per struct."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._known: dict[int, dict[int, str]] = {}

    def function_pointer(self, type_id: int, offset: int) -> str | None:
        if type_id not in self._known:
            struct = self._btf.type(type_id)
            assert isinstance(struct, t.Struct)
            self._known[type_id] = {
                member.bit_offset // 8: member.name
                for member in struct.members
                if self._is_function_pointer(member.type_id)
            }
        return self._known[type_id].get(offset)

    def _is_function_pointer(self, type_id: int) -> bool:
        pointer = self._btf.resolve(type_id)
        if not isinstance(pointer, t.Pointer):
            return False
        return isinstance(self._btf.resolve(pointer.type_id), t.FuncProto)
