"""``object show --json``: a Spec as what JSON can hold. The command's help lists the members."""

from __future__ import annotations

import math
from typing import Any

from ebpf.cli.object_facts import (
    core_counts,
    core_rows,
    flag_names,
    iproute2_fields,
    reached,
    subprograms,
    type_of,
    value_of,
)
from ebpf.codec.btf import EnumValue, Record
from ebpf.spec import (
    CollectionSpec,
    ExternSpec,
    FunctionSpec,
    MapSpec,
    ProgramSpec,
    StructOps,
    VariableSpec,
)


def as_json(spec: CollectionSpec, relocations: bool = False) -> dict[str, Any]:
    """The object that ``--json`` prints."""
    shown: dict[str, Any] = {
        "name": spec.name,
        "license": spec.license,
        "byte_order": spec.byte_order,
        "kernel_version": spec.kernel_version or None,
        "btf_types": None if spec.btf is None else spec.btf.end_id - 1,
        "programs": {name: _program(spec, one) for name, one in spec.programs.items()},
        "functions": {name: _function(one) for name, one in subprograms(spec).items()},
        "maps": {name: _map(spec, one) for name, one in spec.maps.items()},
        "variables": {name: _variable(spec, one) for name, one in spec.variables.items()},
        "externs": {name: _extern(spec, one) for name, one in spec.externs.items()},
        "core_relocations": core_counts(spec),
    }
    if relocations:
        shown["relocations"] = [row._asdict() for row in core_rows(spec)]
    return shown


def _program(spec: CollectionSpec, program: ProgramSpec) -> dict[str, Any]:
    return {
        "section": program.section,
        "type": program.type.name,
        "attach_type": None if program.attach_type is None else program.attach_type.name,
        "attach": program.attach or None,
        "target": program.target or None,
        "flags": flag_names(program.flags),
        "autoload": program.autoload,
        "instructions": spec.functions[program.function].slots,
        "calls": reached(spec, program),
    }


def _function(function: FunctionSpec) -> dict[str, Any]:
    return {
        "section": function.section,
        "linkage": function.linkage.name.lower(),
        "weak": function.weak,
        "instructions": function.slots,
    }


def _map(spec: CollectionSpec, one: MapSpec) -> dict[str, Any]:
    return {
        "type": one.type.name,
        "key_size": one.key_size,
        "value_size": one.value_size,
        "max_entries": one.max_entries,
        "flags": flag_names(one.flags),
        "map_extra": one.map_extra,
        "numa_node": one.numa_node,
        "pinning": one.pinning.name,
        "key_type": type_of(spec, one.key_type_id),
        # Of a map of global data it is the section, which is shown as `section`.
        "value_type": None if one.data else type_of(spec, one.value_type_id),
        "inner": one.inner and _map(spec, one.inner),
        "slots": one.slots,
        "section": one.section,
        "data": one.data,
        "frozen": one.frozen,
        "autocreate": one.autocreate,
        "struct_ops": one.struct_ops and _struct_ops(spec, one.struct_ops),
        "iproute2": one.iproute2 and iproute2_fields(one.iproute2),
        "extra": one.extra.hex(),
    }


def _struct_ops(spec: CollectionSpec, struct: StructOps) -> dict[str, Any]:
    return {
        "type": type_of(spec, struct.type_id),
        "programs": struct.programs,
        "link": struct.link,
    }


def _variable(spec: CollectionSpec, variable: VariableSpec) -> dict[str, Any]:
    return {
        "section": variable.section,
        "offset": variable.offset,
        "size": variable.size,
        "type": type_of(spec, variable.type_id),
        "value": _plain(value_of(variable)),
        "linkage": variable.linkage.name.lower(),
        "weak": variable.weak,
        "constant": variable.constant,
    }


def _plain(value: Any) -> Any:
    """Enums by their names, text as text, other bytes as {"hex": ...}, infinities as text."""
    if isinstance(value, EnumValue):
        return value.name
    if isinstance(value, Record):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, bytes):
        text = value.decode("utf-8", "replace")
        return text if text.isprintable() and text.encode() == value else {"hex": value.hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _extern(spec: CollectionSpec, extern: ExternSpec) -> dict[str, Any]:
    return {
        "kind": extern.kind.value,
        # The type behind an untyped symbol is void, which has no number.
        "type": type_of(spec, extern.type_id),
        "weak": extern.weak,
    }
