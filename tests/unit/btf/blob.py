"""Writes BTF by hand, from the uapi header and without the code under test."""

from __future__ import annotations

import struct
from pathlib import Path

# In the order of their numbers.
KINDS = ["VOID", "INT", "PTR", "ARRAY", "STRUCT", "UNION", "ENUM", "FWD", "TYPEDEF", "VOLATILE"]
KINDS += ["CONST", "RESTRICT", "FUNC", "FUNC_PROTO", "VAR", "DATASEC", "FLOAT", "DECL_TAG"]
KINDS += ["TYPE_TAG", "ENUM64"]


class Blob:
    """BTF under construction; `order` is "<" or ">", `base` what split BTF continues."""

    def __init__(self, order: str = "<", base: Blob | None = None) -> None:
        self.order = order
        self.base = base
        self.strings = bytearray(b"" if base else b"\0")
        self.types = bytearray()
        self.first_id: int = base.next_id if base else 1
        self.next_id: int = self.first_id
        self.string_start: int = base.string_start + len(base.strings) if base else 0

    def string(self, text: str) -> int:
        """The offset of a new string; nothing is shared."""
        if not text:
            return 0
        offset = self.string_start + len(self.strings)
        self.strings += text.encode() + b"\0"
        return offset

    def add(
        self,
        kind: str | int,
        name: str | int = "",
        size_or_type: int = 0,
        *words: int,
        vlen: int = 0,
        flag: bool = False,
    ) -> int:
        """A type and the 32-bit words after it; its id. A `name` may be a string offset."""
        number = kind if isinstance(kind, int) else KINDS.index(kind)
        offset = name if isinstance(name, int) else self.string(name)
        info = flag << 31 | number << 24 | vlen
        every = [offset, info, size_or_type, *(word & 0xFFFFFFFF for word in words)]
        self.types += struct.pack(f"{self.order}{len(every)}I", *every)
        self.next_id += 1
        return self.next_id - 1

    def integer(self, name: str = "int", size: int = 4, encoding: int = 1) -> int:
        return self.add("INT", name, size, encoding << 24 | 8 * size)

    def array(self, element: int, length: int) -> int:
        return self.add("ARRAY", "", 0, element, element, length)

    def struct(
        self,
        name: str,
        size: int,
        *members: tuple[str, int, int],
        flag: bool = False,
        kind: str = "STRUCT",
    ) -> int:
        """Each member is (name, type id, offset word)."""
        words = [w for m, type_id, offset in members for w in (self.string(m), type_id, offset)]
        return self.add(kind, name, size, *words, vlen=len(members), flag=flag)

    def build(
        self, header_length: int = 24, layout: bytes = b"", magic: int = 0xEB9F, version: int = 1
    ) -> bytes:
        """header, types, layout, strings; a header of 32 bytes and more has the layout fields."""
        sections = [0, len(self.types), len(self.types) + len(layout), len(self.strings)]
        if header_length >= 32:
            sections += [len(self.types), len(layout)]
        header = struct.pack(f"{self.order}HBBI", magic, version, 0, header_length)
        header += struct.pack(f"{self.order}{len(sections)}I", *sections)
        return header.ljust(header_length, b"\0") + self.types + layout + self.strings


def btf_section(path: Path) -> bytes:
    """The .BTF section of an ELF file of either class and byte order."""
    data = path.read_bytes()
    order = "<" if data[5] == 1 else ">"
    wide = data[4] == 2
    (table,) = struct.unpack_from(order + ("Q" if wide else "I"), data, 0x28 if wide else 0x20)
    size, count, names = struct.unpack_from(order + "HHH", data, 0x3A if wide else 0x2E)
    entry = order + ("IIQQQQ" if wide else "IIIIII")
    sections = [struct.unpack_from(entry, data, table + i * size) for i in range(count)]
    for name, _, _, _, offset, length in sections:
        start = sections[names][4] + name
        if data[start : data.index(b"\0", start)] == b".BTF":
            return data[offset : offset + length]
    raise LookupError(f"{path} has no .BTF section")
