""".BTF.ext of the output: the records of all objects, by the sections that they have gone into."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence

from ebpf.btf.build import BtfBuilder
from ebpf.btf.ext import CORE_HEADER, Records
from ebpf.btf.raw import MAGIC, VERSION
from ebpf.elf.linker.btf import string, translated_id
from ebpf.elf.linker.inputs import Input, blaming
from ebpf.errors import BtfError, LinkError

# The words of a record behind the offset of its instruction -> those in the output.
Translate = Callable[[Input, BtfBuilder, Sequence[int]], Sequence[int]]


def _function(input: Input, builder: BtfBuilder, words: Sequence[int]) -> Sequence[int]:
    return (translated_id(input, words[0], "func_info"),)


def _line(input: Input, builder: BtfBuilder, words: Sequence[int]) -> Sequence[int]:
    file, text, position = words
    return string(input, builder, file), string(input, builder, text), position


def _relocation(input: Input, builder: BtfBuilder, words: Sequence[int]) -> Sequence[int]:
    type_id, access, kind = words
    return translated_id(input, type_id, "core_relo"), string(input, builder, access), kind


# (attribute of SectionInfo, words of a record, what translates them)
_PARTS: tuple[tuple[str, int, Translate], ...] = (
    ("function_records", 2, _function),
    ("line_records", 4, _line),
    ("relocation_records", 4, _relocation),
)


def merge_ext(inputs: Sequence[Input], builder: BtfBuilder) -> bytes:
    """The section, empty where no object has records; adds strings to `builder`.

    Raises FormatError.
    """
    order = inputs[0].elf.order
    parts = [_part(inputs, builder, *part) for part in _PARTS]
    if not any(parts):
        return b""
    ranges = []
    start = 0
    for part in parts:
        ranges += [start, len(part)]
        start += len(part)
    header = struct.pack(order + "HBBI6I", MAGIC, VERSION, 0, CORE_HEADER, *ranges)
    return header + b"".join(parts)


def _part(
    inputs: Sequence[Input], builder: BtfBuilder, what: str, words: int, translate: Translate
) -> bytes:
    """The records of one kind: their size, then each section's name, their number, and they."""
    found: dict[str, bytearray] = {}
    size, label = 0, ""
    for input in inputs:
        for name, records in _sections(input, what):
            if size not in (0, records.size):
                problem = f"records of {size} bytes in {label} and of {records.size} in"
                raise LinkError(f".BTF.ext: {problem} {input.label}; use one compiler for both")
            size, label = records.size, input.label
            with blaming(input.label):
                moved = _moved(input, builder, name, records, words, translate)
            found.setdefault(name, bytearray()).extend(moved)
    if not found:
        return b""
    order = inputs[0].elf.order
    made = bytearray(struct.pack(order + "I", size))
    for name, data in found.items():
        made += struct.pack(order + "II", builder.string(name), len(data) // size) + data
    return bytes(made)


def _sections(input: Input, what: str) -> Iterator[tuple[str, Records]]:
    for name, info in input.ext.sections.items() if input.ext else ():
        records: Records = getattr(info, what)
        if len(records):
            yield name, records


def _moved(
    input: Input,
    builder: BtfBuilder,
    name: str,
    records: Records,
    words: int,
    translate: Translate,
) -> bytearray:
    section = input.by_name.get(name)
    if section is None or section.index not in input.places:
        raise BtfError(f".BTF.ext: records of section {name!r}, which the object does not have")
    start = input.places[section.index].offset
    writer = struct.Struct(f"{input.elf.order}{words}I")
    made = bytearray(records.data)
    for number, (offset, *rest) in enumerate(records.rows(f"{words}I")):
        if offset >= section.size:
            raise BtfError(f".BTF.ext: a record of offset {offset:#x} in section {name!r}")
        at = number * records.size
        # What the format has grown by stays behind the known words.
        writer.pack_into(made, at, start + offset, *translate(input, builder, rest))
    return made
