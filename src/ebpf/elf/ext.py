"""Hands each function its part of .BTF.ext, which has its records by section."""

from __future__ import annotations

import warnings
from bisect import bisect_left
from operator import itemgetter

from ebpf.btf.ext import BtfExt, CoreRelocation, SectionInfo
from ebpf.elf.functions import Function
from ebpf.errors import BtfError
from ebpf.spec import CollectionSpec, FunctionSpec


def join_ext(spec: CollectionSpec, ext: BtfExt, functions: list[Function]) -> None:
    """Fills in type_id, core_relocations and line_records of the functions.

    Records name their section, so of several sections with one name the first gets them, as in
    libbpf. Raises BtfError. A RuntimeWarning tells of code that is left without CO-RE relocations:
    it loads, and reads the fields where the compiler's kernel had them.
    """
    by_section: dict[str, dict[int, list[Function]]] = {}
    for function in functions:
        by_index = by_section.setdefault(function.section.name, {})
        by_index.setdefault(function.section.index, []).append(function)
    for name, info in ext.sections.items():
        groups = list(by_section.get(name, {}).values())
        if groups:
            _join_section(spec, info, groups[0])
        if len(groups) != 1 and info.relocation_records:
            _warn(spec, name, len(groups))


def _warn(spec: CollectionSpec, name: str, count: int) -> None:
    problem = "no code has this name"
    if count:
        problem = f"{count} sections of code have this name, the first gets them"
    warnings.warn(
        f"object {spec.name!r}: .BTF.ext core_relo of section {name!r}: {problem}; code without its"
        " CO-RE relocations reads the fields of the kernel that it was compiled for. Give sections"
        " their names in the source, not by objcopy",
        RuntimeWarning,
        # Who called CollectionSpec.from_file.
        stacklevel=6,
    )


def _join_section(spec: CollectionSpec, info: SectionInfo, functions: list[Function]) -> None:
    types = {record.insn_offset: record.type_id for record in info.functions}
    relocations = sorted(info.relocations, key=itemgetter(0))
    offsets = [relocation.insn_offset for relocation in relocations]
    lines = [offset for (offset,) in info.line_records.rows("I")]
    if lines != sorted(lines):
        raise BtfError(f".BTF.ext line_info of section {info.name!r}: not in order of offsets")
    size = info.line_records.size
    # Two names of one function share their records: there may be many names.
    shared: dict[tuple[int, int], FunctionSpec] = {}
    for function in functions:
        made = spec.functions[function.key]
        start, end = function.start, function.end
        made.type_id = types.get(start, made.type_id)
        made.line_record_size = size
        alias = shared.setdefault((start, end), made)
        if alias is not made:
            made.line_records, made.core_relocations = alias.line_records, alias.core_relocations
            continue
        first, last = bisect_left(lines, start), bisect_left(lines, end)
        made.line_records = bytes(info.line_records.data[first * size : last * size])
        first, last = bisect_left(offsets, start), bisect_left(offsets, end)
        made.core_relocations = tuple(
            CoreRelocation(offset - start, type_id, access, kind, section)
            for offset, type_id, access, kind, section in relocations[first:last]
        )
