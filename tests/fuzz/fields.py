"""Where the numbers are in a file that are worth changing, by what they mean."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from tests.fuzz.structure import (
    DYNSYM,
    OTHERS,
    REL,
    REL_SIZE,
    SECTION_SIZE,
    SYMBOL_SIZE,
    SYMTAB,
    ObjectFile,
    type_length,
)


class Field(NamedTuple):
    """A number of `width` bytes; numbers of one `tag` may stand for each other."""

    offset: int
    width: int
    tag: str


# (offset, width, tag) in a structure.
Row = tuple[int, int, str]

_HEADER: list[Row] = [
    *((n, 1, "header") for n in (4, 5, 6, 7)),
    *((n, 2, "header") for n in (16, 18, 52, 58)),
    (40, 8, "offset"),
    (60, 2, "section"),
    (62, 2, "section"),
]
_SECTION: list[Row] = [
    (0, 4, "name"),
    (4, 4, "section type"),
    (8, 8, "section flags"),
    (24, 8, "offset"),
    (32, 8, "size"),
    (40, 4, "section"),
    (44, 4, "section"),
    (56, 8, "entry size"),
]
_SYMBOL: list[Row] = [
    (0, 4, "name"),
    (4, 1, "symbol info"),
    (5, 1, "symbol other"),
    (6, 2, "section"),
    (8, 8, "value"),
    (16, 8, "size"),
]
# The symbol and the type share 8 bytes, in the byte order of the file.
_RELOCATION = {
    "<": [(0, 8, "value"), (8, 4, "relocation type"), (12, 4, "symbol")],
    ">": [(0, 8, "value"), (8, 4, "symbol"), (12, 4, "relocation type")],
}
_INSTRUCTION: list[Row] = [(0, 1, "opcode"), (1, 1, "registers"), (2, 2, "jump"), (4, 4, "imm")]

# Of 64-bit files, whose headers are 56 bytes long.
_SEGMENT_SIZE = 56
_SEGMENT: list[Row] = [(0, 4, "segment type"), (4, 4, "segment flags"), (8, 8, "offset")]
_SEGMENT += [(16, 8, "value"), (32, 8, "size"), (40, 8, "size"), (48, 8, "entry size")]

_BTF_HEADER: list[Row] = [(0, 2, "btf header"), (2, 1, "btf header"), (3, 1, "btf header")]
_BTF_HEADER += [(4 * n, 4, "btf length") for n in range(1, 6)]
# What the third word of a type is, and the words of its elements; linux/btf.h.
_SIZED = (1, 4, 5, 6, 15, 16, 19)
_ELEMENTS: dict[int, list[str]] = {
    1: ["encoding"],
    3: ["type", "type", "count"],
    4: ["string", "type", "bits"],
    5: ["string", "type", "bits"],
    6: ["string", "number"],
    13: ["string", "type"],
    14: ["linkage"],
    15: ["type", "place", "size"],
    17: ["component"],
    19: ["string", "number", "number"],
}
_EXT_WORDS = {8: ["insn", "type"], 16: ["insn", "string", "string", "line"]}
_CORE_WORDS = ["insn", "type", "string", "core kind"]


def object_fields(data: bytes) -> Iterator[Field]:
    """The fields of an object file, with those of the BTF in it."""
    parsed = ObjectFile.parse(data)
    if parsed is None:
        return
    yield from _at(0, _HEADER)
    (first,) = struct.unpack_from(parsed.order + "Q", data, 32)
    (count,) = struct.unpack_from(parsed.order + "H", data, 56)
    last = min(first + count * _SEGMENT_SIZE, len(data))
    yield from _every(first, last, _SEGMENT_SIZE, _SEGMENT)
    (start,) = struct.unpack_from(parsed.order + "Q", data, 40)
    for number, part in enumerate(parsed.sections):
        yield from _at(start + number * SECTION_SIZE, _SECTION)
        offset, end = part.header["offset"], part.header["offset"] + len(part.data)
        kind = part.header["type"]
        if kind in (SYMTAB, DYNSYM):
            yield from _every(offset, end, SYMBOL_SIZE, _SYMBOL)
        elif kind == REL:
            yield from _every(offset, end, REL_SIZE, _RELOCATION[parsed.order])
        elif part.name == ".BTF":
            yield from btf_fields(bytes(part.data), offset)
        elif part.name == ".BTF.ext":
            yield from ext_fields(bytes(part.data), offset)
        elif kind == 1 and part.header["flags"] & 4:
            yield from _every(offset, end, 8, _INSTRUCTION)
        elif kind in (1, *OTHERS):
            yield from _every(offset, end, 4, [(0, 4, "contents")])


def btf_fields(data: bytes, base: int = 0) -> Iterator[Field]:
    """The fields of BTF that begins at `base` of the file."""
    order = {b"\x9f\xeb": "<", b"\xeb\x9f": ">"}.get(data[:2])
    if order is None or len(data) < 24:
        return
    yield from _at(base, _BTF_HEADER)
    length, types, size, strings, rest = struct.unpack_from(order + "5I", data, 4)
    position, end = length + types, min(length + types + size, len(data))
    while position + 12 <= end:
        after = min(position + type_length(order, data, position), end)
        yield from _type_fields(order, data, position, after, base)
        position = after
    first, last = length + strings, min(length + strings + rest, len(data))
    yield from _every(base + first, base + last, 1, [(0, 1, "text")])


def _type_fields(order: str, data: bytes, start: int, end: int, base: int) -> Iterator[Field]:
    kind = struct.unpack_from(order + "I", data, start + 4)[0] >> 24 & 0x7F
    yield Field(base + start, 4, "string")
    yield Field(base + start + 4, 4, "btf info")
    yield Field(base + start + 8, 4, "size" if kind in _SIZED else "type")
    tags = _ELEMENTS.get(kind, ["number"])
    for number, offset in enumerate(range(start + 12, end - 3, 4)):
        yield Field(base + offset, 4, tags[number % len(tags)])


def ext_fields(data: bytes, base: int = 0) -> Iterator[Field]:
    """The fields of .BTF.ext that begins at `base` of the file."""
    order = {b"\x9f\xeb": "<", b"\xeb\x9f": ">"}.get(data[:2])
    if order is None or len(data) < 32:
        return
    yield from _at(base, _BTF_HEADER)
    yield from (Field(base + at, 4, "btf length") for at in (24, 28))
    length, *places = struct.unpack_from(order + "7I", data, 4)
    for number, (start, size) in enumerate(zip(places[::2], places[1::2], strict=True)):
        first, end = length + start, min(length + start + size, len(data))
        words = _CORE_WORDS if number == 2 else _EXT_WORDS[16 if number else 8]
        yield from _info_fields(order, data, first, end, words, base)


def _info_fields(
    order: str, data: bytes, start: int, end: int, words: list[str], base: int
) -> Iterator[Field]:
    if start + 4 > end:
        return
    (size,) = struct.unpack_from(order + "I", data, start)
    yield Field(base + start, 4, "record size")
    position = start + 4
    while position + 8 <= end:
        (count,) = struct.unpack_from(order + "I", data, position + 4)
        yield Field(base + position, 4, "string")
        yield Field(base + position + 4, 4, "count")
        after = min(position + 8 + count * size, end)
        rows = [(4 * n, 4, word) for n, word in enumerate(words)]
        if size:
            yield from _every(base + position + 8, base + after, size, rows)
        position = after


def _at(base: int, rows: list[Row]) -> Iterator[Field]:
    return (Field(base + offset, width, tag) for offset, width, tag in rows)


def _every(start: int, end: int, step: int, rows: list[Row]) -> Iterator[Field]:
    for base in range(start, end - step + 1, step):
        yield from _at(base, rows)
