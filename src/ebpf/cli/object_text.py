"""``object show``: a Spec as text, a table for each kind of thing that is in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ebpf.cli.object_facts import (
    core_counts,
    core_rows,
    flag_names,
    iproute2_fields,
    is_zero,
    printable,
    reached,
    subprograms,
    type_of,
    value_of,
)
from ebpf.codec.base import plural
from ebpf.codec.btf import EnumValue, Record
from ebpf.spec import CollectionSpec, ExternSpec, MapSpec, Pinning, ProgramSpec, VariableSpec
from ebpf.types import MapFlags

# Of a value; what is longer is cut off.
_VALUE_WIDTH = 60

Row = tuple[str, ...]


def as_text(spec: CollectionSpec, relocations: bool = False) -> str:
    """A line about the whole object, then a table for each kind of thing that it has."""
    tables = [
        _table("Programs", "name section type attach instructions", _programs(spec)),
        _table("Functions", "name section linkage instructions", _functions(spec)),
        _table("Maps", "name type key value entries other", _maps(spec)),
        _table("Variables", "name section type value", _variables(spec)),
        _table("Externs", "name kind declaration", _externs(spec)),
        _table("Kinds of CO-RE relocations", "kind number", _counts(spec)),
    ]
    if relocations:
        tables.append(_table("CO-RE relocations", "function at kind of source", _core(spec)))
    return "\n".join([_head(spec), *(line for table in tables for line in table)])


def _head(spec: CollectionSpec) -> str:
    parts = [f"license {printable(spec.license) or 'none'}", f"{spec.byte_order}-endian"]
    if spec.kernel_version:
        version = spec.kernel_version
        parts.append(f"for Linux {version >> 16}.{version >> 8 & 0xFF}.{version & 0xFF}")
    parts.append(f"{spec.btf.end_id - 1} BTF types" if spec.btf else "no BTF")
    return f"{printable(spec.name)}: {', '.join(parts)}"


def _table(title: str, columns: str, rows: Iterator[Row]) -> list[str]:
    """The lines of a table with a blank one in front; none where there are no rows."""
    cells = [tuple(map(printable, row)) for row in rows]
    if not cells:
        return []
    cells.insert(0, tuple(columns.upper().split()))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return ["", f"{title} ({len(lines) - 1})", *(f"  {line}" for line in lines)]


def _programs(spec: CollectionSpec) -> Iterator[Row]:
    for name, program in spec.programs.items():
        own = spec.functions[program.function].slots
        others = sum(spec.functions[callee].slots for callee in reached(spec, program))
        count = f"{own} + {others}" if others else f"{own}"
        section = program.section if program.autoload else f"{program.section} (not autoloaded)"
        yield name, section, program.type.name, _attach(program), count


def _attach(program: ProgramSpec) -> str:
    """``"TRACE_FENTRY do_unlinkat"``, ``"kprobe do_unlinkat"``, ``"XDP"``."""
    # kprobes and tracepoints are attached by no type of attachment, but by perf events.
    way = program.attach if program.attach_type is None else program.attach_type.name
    return " ".join(filter(None, [way, program.target])) or "-"


def _functions(spec: CollectionSpec) -> Iterator[Row]:
    for name, function in subprograms(spec).items():
        linkage = function.linkage.name.lower() + (", weak" if function.weak else "")
        yield name, function.section, linkage, str(function.slots)


def _maps(spec: CollectionSpec) -> Iterator[Row]:
    for name, one in spec.maps.items():
        key = _typed_size(spec, one.key_type_id, one.key_size)
        value = _typed_size(spec, 0 if one.data else one.value_type_id, one.value_size)
        other = "; ".join(_attributes(spec, one)) or "-"
        yield name, one.type.name, key, value, str(one.max_entries), other


def _typed_size(spec: CollectionSpec, type_id: int, size: int) -> str:
    bytes = f"{size} {plural(size)}" if size else ""
    return ", ".join(filter(None, [type_of(spec, type_id), bytes])) or "-"


def _attributes(spec: CollectionSpec, one: MapSpec) -> Iterator[str]:
    """What most maps do not have."""
    if one.flags:
        yield "|".join(flag_names(one.flags))
    if one.flags & MapFlags.NUMA_NODE:
        yield f"NUMA node {one.numa_node}"
    if one.map_extra:
        yield f"map_extra {one.map_extra:#x}"
    if one.pinning is Pinning.BY_NAME:
        yield "pinned by name"
    if one.frozen:
        yield "frozen"
    if not one.autocreate:
        yield "not autocreated"
    if one.inner:
        yield f"of {_inner(spec, one.inner)}"
    for index, target in one.slots.items():
        yield f"[{index}] = {target}"
    if one.iproute2:
        yield from (f"{name} {value}" for name, value in iproute2_fields(one.iproute2).items())
    if one.extra:
        yield f"unknown fields {one.extra.hex()}"
    if one.struct_ops:
        link = " by a link" if one.struct_ops.link else ""
        yield f"{type_of(spec, one.struct_ops.type_id)}{link}"
        yield from (f".{member} = {name}" for member, name in one.struct_ops.programs.items())


def _inner(spec: CollectionSpec, inner: MapSpec) -> str:
    key = _typed_size(spec, inner.key_type_id, inner.key_size)
    value = _typed_size(spec, inner.value_type_id, inner.value_size)
    parts = [f"{inner.type.name} ({key}: {value}), {inner.max_entries} entries"]
    return ", ".join([*parts, *_attributes(spec, inner)])


def _variables(spec: CollectionSpec) -> Iterator[Row]:
    for name, variable in spec.variables.items():
        type = type_of(spec, variable.type_id) or f"{variable.size} {plural(variable.size)}"
        yield name, variable.section, type, _value(variable)


def _value(variable: VariableSpec) -> str:
    value = value_of(variable)
    if is_zero(variable) and (value is None or isinstance(value, (Record, tuple))):
        return "zeros"
    text = "?" if value is None else _as_c(value)
    return text if len(text) <= _VALUE_WIDTH else text[: _VALUE_WIDTH - 3] + "..."


def _as_c(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, EnumValue):
        return value.name
    if isinstance(value, Record):
        parts = (f".{name} = {_as_c(part)}" for name, part in value._asdict().items())
        return f"{{{', '.join(parts)}}}"
    if isinstance(value, tuple):
        return f"{{{', '.join(map(_as_c, value))}}}"
    if isinstance(value, bytes):
        text = value.decode("utf-8", "replace")
        return f'"{text}"' if text.isprintable() and text.encode() == value else value.hex(" ")
    return str(value)


def _externs(spec: CollectionSpec) -> Iterator[Row]:
    for name, extern in spec.externs.items():
        yield name, extern.kind.value, _declaration(spec, extern)


def _declaration(spec: CollectionSpec, extern: ExternSpec) -> str:
    declared = type_of(spec, extern.type_id, extern.name) or "-"
    return f"{declared} (weak)" if extern.weak else declared


def _counts(spec: CollectionSpec) -> Iterator[Row]:
    for kind, count in core_counts(spec).items():
        yield kind, str(count)


def _core(spec: CollectionSpec) -> Iterator[Row]:
    for row in core_rows(spec):
        field = f"? ({row.problem})" if row.problem else row.field
        what = f"{row.type}: {field}" if field else row.type
        yield row.function, str(row.instruction), row.kind, what, row.source or "-"
