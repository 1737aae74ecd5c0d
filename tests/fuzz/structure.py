"""Object files and BTF taken apart, so that parts can be repeated, and put together again.

Damaged input is taken apart as far as it goes; None says that there is nothing left to work on.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

SYMTAB, STRTAB, NULL, NOBITS, REL = 2, 3, 0, 8, 9
DYNSYM = 11
# Notes, and the versions of symbols in shared libraries.
OTHERS = (7, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF)
HEADER_SIZE, SECTION_SIZE, SYMBOL_SIZE, REL_SIZE = 64, 64, 24, 16
SECTION_FIELDS = ["name", "type", "flags", "addr", "offset", "size", "link", "info"]
SECTION_FIELDS += ["align", "each"]

# (bytes after struct btf_type, bytes for each element) by kind, from linux/btf.h.
BTF_KINDS = dict.fromkeys((2, 7, 8, 9, 10, 11, 12, 16, 18), (0, 0))
BTF_KINDS |= dict.fromkeys((4, 5, 15, 19), (0, 12))
BTF_KINDS |= dict.fromkeys((6, 13), (0, 8))
BTF_KINDS |= dict.fromkeys((1, 14, 17), (4, 0))
BTF_KINDS[3] = (12, 0)


def pack_parts(*parts: bytes) -> bytes:
    """Several files as one input: each after its length, 4 bytes with the low one first."""
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)


def unpack_parts(data: bytes, count: int) -> list[bytes] | None:
    """The parts of an input; None where it has not `count` of them."""
    parts = []
    position = 0
    while position < len(data):
        if position + 4 > len(data):
            return None
        (length,) = struct.unpack_from("<I", data, position)
        parts.append(data[position + 4 : position + 4 + length])
        position += 4 + length
    return parts if len(parts) == count and position == len(data) else None


@dataclass
class Part:
    """One section: its header's fields, and its bytes."""

    header: dict[str, int]
    data: bytearray
    name: str


@dataclass
class ObjectFile:
    """An ELF64 file; ``order`` is "<" or ">"."""

    order: str
    header: bytes
    sections: list[Part] = field(default_factory=list)

    @classmethod
    def parse(cls, data: bytes) -> ObjectFile | None:
        order = {b"\1": "<", b"\2": ">"}.get(data[5:6])
        if data[:4] != b"\x7fELF" or len(data) < HEADER_SIZE or order is None:
            return None
        (start,) = struct.unpack_from(order + "Q", data, 40)
        count, names = struct.unpack_from(order + "HH", data, 60)
        made = cls(order, data[:HEADER_SIZE])
        for number in range(count):
            at = start + number * SECTION_SIZE
            if at + SECTION_SIZE > len(data):
                return None
            values = struct.unpack_from(order + "IIQQQQIIQQ", data, at)
            header = dict(zip(SECTION_FIELDS, values, strict=True))
            begin, size = header["offset"], header["size"]
            held = header["type"] not in (NULL, NOBITS)
            made.sections.append(
                Part(header, bytearray(data[begin : begin + size] if held else b""), "")
            )
        if not names < len(made.sections):
            return None
        table = made.sections[names].data
        for part in made.sections:
            name = part.header["name"]
            part.name = bytes(table[name : name + 64]).split(b"\0")[0].decode("latin-1")
        return made

    def build(self) -> bytes:
        """The file, laid out anew: header, contents, section headers."""
        body = bytearray(self.header)
        table = bytearray()
        for part in self.sections:
            body += bytes(-len(body) % 8)
            values = dict(part.header, offset=len(body))
            if part.header["type"] not in (NULL, NOBITS):
                values["size"] = len(part.data)
                body += part.data
            table += struct.pack(self.order + "IIQQQQIIQQ", *values.values())
        body += bytes(-len(body) % 8)
        struct.pack_into(self.order + "Q", body, 40, len(body))
        return bytes(body + table)

    def without_debug_info(self) -> ObjectFile:
        """As it is, but with no DWARF, which nothing here reads; indices stay as they are."""
        for part in self.sections:
            if part.name.startswith((".debug", ".rel.debug")) or part.name == ".rel.eh_frame":
                part.header.update(type=NULL, size=0)
                part.data.clear()
        return self


@dataclass
class BtfFile:
    """BTF with a header of any length; each type is its bytes."""

    order: str
    header: bytes
    types: list[bytearray]
    strings: bytearray

    @classmethod
    def parse(cls, data: bytes) -> BtfFile | None:
        order = {b"\x9f\xeb": "<", b"\xeb\x9f": ">"}.get(bytes(data[:2]))
        if order is None or len(data) < 24:
            return None
        length, types, size, strings, rest = struct.unpack_from(order + "5I", data, 4)
        made = cls(order, bytes(data[:24]), [], bytearray())
        if length > len(data):
            return None
        made.strings += data[length + strings : length + strings + rest]
        position, end = length + types, min(length + types + size, len(data))
        while position + 12 <= end:
            step = type_length(order, data, position)
            made.types.append(bytearray(data[position : min(position + step, end)]))
            position += step
        return made if made.types and made.strings else None

    def build(self) -> bytes:
        types = b"".join(self.types)
        lengths = struct.pack(self.order + "5I", 24, 0, len(types), len(types), len(self.strings))
        return self.header[:4] + lengths + types + bytes(self.strings)


def type_length(order: str, data: bytes | bytearray, position: int) -> int:
    """Bytes of the type at `position`; those of an unknown kind count as without elements."""
    info: int = struct.unpack_from(order + "I", data, position + 4)[0]
    fixed, each = BTF_KINDS.get(info >> 24 & 0x7F, (0, 0))
    return 12 + fixed + each * (info & 0xFFFFFF)
