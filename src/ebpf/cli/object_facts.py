"""What of a Spec has to be worked out before it can be shown, as text or as JSON."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Any, NamedTuple

from ebpf.btf import Btf
from ebpf.btf.c_type import TypeNames
from ebpf.btf.core.names import ENUM_KINDS
from ebpf.btf.core.spec import parse
from ebpf.btf.ext import INSTRUCTION_SIZE, CoreKind, CoreRelocation
from ebpf.errors import CodecError, RelocationError
from ebpf.spec import (
    CollectionSpec,
    FunctionSpec,
    Iproute2,
    ProgramSpec,
    RelocationKind,
    VariableSpec,
)
from ebpf.types import KernelFlags

# Variables beyond this size have no value here: an object may claim gigabytes of zeros.
MAXIMUM_VALUE = 4096


def printable(text: str) -> str:
    """`text` without anything that a terminal would obey: names come from the file."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def type_of(spec: CollectionSpec, type_id: int, name: str = "") -> str | None:
    """The C name of a type of the object, or the declaration of `name`; None without a type."""
    if spec.btf is None or not type_id:
        return None
    return _names(spec.btf).declare(type_id, name)


@lru_cache(maxsize=1)
def _names(btf: Btf) -> TypeNames:
    # One for the whole object: it bounds the work.
    return TypeNames(btf)


def flag_names(flags: KernelFlags) -> list[str]:
    return str(flags).split("|") if flags else []


def iproute2_fields(fields: Iproute2) -> dict[str, int]:
    """The members of ``struct bpf_elf_map`` that other maps do not have."""
    return {
        "id": fields.id,
        "pinning": fields.pinning,
        "inner_id": fields.inner_id,
        "inner_index": fields.inner_index,
    }


def value_of(variable: VariableSpec) -> Any:
    """The value that the object gives the variable; None where it has none to show."""
    if variable.size > MAXIMUM_VALUE or not variable.type_id:
        return None
    try:
        return variable.value
    except CodecError:  # a type that has no values in Python
        return None


def is_zero(variable: VariableSpec) -> bool:
    """Whether all bytes of the variable are zero."""
    return variable.map.contents is None or not any(variable.raw)


def subprograms(spec: CollectionSpec) -> dict[str, FunctionSpec]:
    """The functions that are no programs."""
    entries = {program.function for program in spec.programs.values()}
    return {name: function for name, function in spec.functions.items() if name not in entries}


def reached(spec: CollectionSpec, program: ProgramSpec) -> list[str]:
    """The functions that the program calls or passes on, and those that they do."""
    found = {program.function: None}
    pending = [program.function]
    while pending:
        for relocation in spec.functions[pending.pop()].relocations:
            calls = relocation.kind in (RelocationKind.CALL, RelocationKind.FUNCTION)
            if calls and relocation.target not in found:
                found[relocation.target] = None
                pending.append(relocation.target)
    return list(found)[1:]


def kind_name(kind: int) -> str:
    return kind.name if isinstance(kind, CoreKind) else f"UNKNOWN_{kind}"


def core_counts(spec: CollectionSpec) -> dict[str, int]:
    """How many CO-RE relocations of each kind there are, by the kinds' numbers."""
    counts = Counter(
        relocation.kind
        for function in _relocated(spec).values()
        for relocation in function.core_relocations
    )
    return {kind_name(kind): counts[kind] for kind in sorted(counts)}


class CoreRow(NamedTuple):
    """One CO-RE relocation.

    ``instruction`` counts units of 8 bytes from the start of the function. ``field`` is the path
    in `type`, or an enumerator, and empty where the whole type is meant. ``source`` is
    ``"file.c:12"``, and empty where the object does not tell. ``problem`` says why the object's
    own types do not have what it asks for; it is empty where they do.
    """

    function: str
    instruction: int
    kind: str
    type: str
    field: str
    source: str
    problem: str


def core_rows(spec: CollectionSpec) -> list[CoreRow]:
    """Every CO-RE relocation, by function. Raises BtfError for a type that does not exist."""
    return [
        _row(spec, name, function, relocation)
        for name, function in _relocated(spec).items()
        for relocation in function.core_relocations
    ]


def _relocated(spec: CollectionSpec) -> dict[str, FunctionSpec]:
    """The functions with CO-RE relocations; of several names of one function the first."""
    first: dict[int, tuple[str, FunctionSpec]] = {}
    for name, function in spec.functions.items():
        if function.core_relocations:
            first.setdefault(id(function.core_relocations), (name, function))
    return dict(first.values())


def _row(
    spec: CollectionSpec, name: str, function: FunctionSpec, relocation: CoreRelocation
) -> CoreRow:
    field, problem = "", ""
    try:
        field = _field(spec, relocation)
    except RelocationError as error:
        problem = str(error)
    return CoreRow(
        name,
        relocation.insn_offset // INSTRUCTION_SIZE,
        kind_name(relocation.kind),
        type_of(spec, relocation.type_id) or "void",
        field,
        _source(spec, function, relocation),
        problem,
    )


def _field(spec: CollectionSpec, relocation: CoreRelocation) -> str:
    assert spec.btf is not None  # without it there is no BTF.ext, where the relocation is from
    place = parse(spec.btf, relocation)
    if relocation.kind in ENUM_KINDS:
        return place.accessors[0].name or ""
    return place.path()


def _source(spec: CollectionSpec, function: FunctionSpec, relocation: CoreRelocation) -> str:
    info = spec.btf_ext.sections.get(function.section) if spec.btf_ext else None
    # Without records of its own the function would be given another one's line.
    if info is None or not function.line_records:
        return ""
    line = info.line_at(function.offset + relocation.insn_offset)
    return f"{line.file_name}:{line.line}" if line else ""
