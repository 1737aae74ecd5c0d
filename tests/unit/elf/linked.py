"""Linking the objects of the tests, and all that a spec says in a form that can be compared."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.elf.linker import link
from ebpf.errors import LinkError
from ebpf.spec import CollectionSpec, FunctionSpec, MapSpec, VariableSpec


def linked(*paths: Path) -> CollectionSpec:
    return CollectionSpec.from_bytes(link([(p.name, p.read_bytes()) for p in paths]), name="both")


def linked_if_they_fit(*paths: Path) -> CollectionSpec | None:
    try:
        return linked(*paths)
    except LinkError:
        return None


def type_text(btf: Btf, type_id: int, depth: int = 0) -> str:
    """A type with all that it is made of; behind pointers names are enough."""
    type = btf.type(type_id)
    text = f"{type.kind.name} {type.name}"
    if isinstance(type, t.Composite):
        if depth > 8:
            return text
        members = [
            f"{m.name}@{m.bit_offset} {type_text(btf, m.type_id, depth + 1)}" for m in type.members
        ]
        return f"{text} {type.size} {{{', '.join(members)}}}"
    if isinstance(type, t.FuncProto):
        given = [f"{p.name} {type_text(btf, p.type_id, depth + 4)}" for p in type.parameters]
        return f"({', '.join(given)}) {type_text(btf, type.type_id, depth + 4)}"
    if isinstance(type, t.Array):
        return f"[{type.length}] {type_text(btf, type.type_id, depth)}"
    if isinstance(type, (t.Func, t.Var)):
        return f"{text} {type.linkage.name} {type_text(btf, type.type_id, depth)}"
    if isinstance(type, (t.Pointer, t.Typedef, t.Const, t.Volatile)):
        return f"{text} {type_text(btf, type.type_id, depth + 1)}"
    return text


def function_facts(spec: CollectionSpec, function: FunctionSpec) -> dict[str, Any]:
    btf = spec.btf
    assert btf is not None
    order = "<" if spec.byte_order == "little" else ">"
    lines = struct.iter_unpack(order + "IIII", function.line_records)
    text = btf.strings.get
    return {
        **{name: getattr(function, name) for name in ("section", "offset", "code", "linkage")},
        **{name: getattr(function, name) for name in ("weak", "hidden", "relocations")},
        "type": type_text(btf, function.type_id),
        "lines": [(at, text(file), text(line), where) for at, file, line, where in lines],
        "core": [
            (one.insn_offset, type_text(btf, one.type_id), one.access_string, one.kind)
            for one in function.core_relocations
        ],
    }


def map_facts(spec: CollectionSpec, one: MapSpec | None) -> dict[str, Any]:
    if one is None:
        return {}
    assert spec.btf is not None
    plain = ("name", "type", "key_size", "value_size", "max_entries", "flags", "slots", "section")
    types = (one.key_type_id, 0 if one.data else one.value_type_id)
    return {
        **{name: getattr(one, name) for name in (*plain, "contents", "frozen", "pinning")},
        "types": [type_text(spec.btf, type_id) for type_id in types],
        "inner": map_facts(spec, one.inner),
    }


def variable_facts(variable: VariableSpec) -> dict[str, Any]:
    assert variable.btf is not None
    plain = ("section", "offset", "size", "raw", "linkage", "weak", "constant")
    return {
        **{name: getattr(variable, name) for name in plain},
        "type": type_text(variable.btf, variable.type_id),
    }


def facts(spec: CollectionSpec) -> dict[str, Any]:
    """All that a spec says, with what ids of types stand for."""
    return {
        "programs": {name: repr(program) for name, program in spec.programs.items()},
        "functions": {name: function_facts(spec, one) for name, one in spec.functions.items()},
        "maps": {name: map_facts(spec, one) for name, one in spec.maps.items()},
        "variables": {name: variable_facts(one) for name, one in spec.variables.items()},
        "externs": {
            name: (one.kind, one.weak, one.offset, one.size, one.kconfig)
            for name, one in spec.externs.items()
        },
        "rest": (spec.license, spec.kernel_version, spec.byte_order),
    }
