"""Hands each function its part of .BTF.ext, which has its records by section."""

from __future__ import annotations

from bisect import bisect_left
from operator import itemgetter

from ebpf.btf.ext import BtfExt, CoreRelocation, SectionInfo
from ebpf.elf.functions import Function
from ebpf.errors import BtfError
from ebpf.spec import CollectionSpec, FunctionSpec


def join_ext(spec: CollectionSpec, ext: BtfExt, functions: list[Function]) -> None:
    """Fills in type_id, core_relocations and line_records of the functions.

    Raises BtfError, also for relocations of which nothing says what code they are for: programs
    without theirs load, and read the wrong fields.
    """
    by_section: dict[str, list[Function]] = {}
    for function in functions:
        by_section.setdefault(function.section.name, []).append(function)
    for name, info in ext.sections.items():
        group = by_section.get(name, [])
        count = len({function.section.index for function in group})
        if count == 1:
            _join_section(spec, info, group)
        elif info.relocations:
            problem = f"{count} sections of code have this name" if count else "no code has it"
            raise BtfError(
                f".BTF.ext core_relo of section {name!r}: {problem}, so the CO-RE relocations"
                " cannot be told apart; give sections their names in the source, not by objcopy"
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
