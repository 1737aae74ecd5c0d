"""Writes ELF files by hand, also wrong ones, without the code under test."""

from __future__ import annotations

import struct

PROGBITS, SYMTAB, STRTAB, RELA, NOBITS, REL = 1, 2, 3, 4, 8, 9
EXECUTABLE = 6  # SHF_ALLOC | SHF_EXECINSTR
LOCAL, GLOBAL, WEAK = 0, 1, 2
NOTYPE, OBJECT, FUNC, SECTION = 0, 1, 2, 3

EXIT = bytes.fromhex("9500000000000000")
RETURN_0 = bytes.fromhex("b700000000000000") + EXIT


class Image:
    """An object under construction; ``order`` is "<" or ">"."""

    def __init__(self, order: str = "<") -> None:
        self.order = order
        self.names = bytearray(b"\0")
        self.rows: list[tuple[str, int, int, bytes, int, int, int, int]] = []
        self.symbols = bytearray(24)
        self.section("", 0)

    def section(
        self,
        name: str,
        kind: int,
        data: bytes = b"",
        *,
        flags: int = 0,
        size: int | None = None,
        link: int = 0,
        info: int = 0,
        each: int = 0,
    ) -> int:
        """Adds a section; its index. A `size` may claim more than there is."""
        size = len(data) if size is None else size
        self.rows.append((name, kind, flags, data, size, link, info, each))
        return len(self.rows) - 1

    def code(self, name: str = "socket", data: bytes = RETURN_0) -> int:
        return self.section(name, PROGBITS, data, flags=EXECUTABLE)

    def symbol(
        self, name: str, section: int, value: int, size: int, kind: int = FUNC, bind: int = GLOBAL
    ) -> int:
        """Adds a symbol; its index."""
        offset = len(self.names) if name else 0
        if name:
            self.names += name.encode() + b"\0"
        row = struct.pack(self.order + "IBBHQQ", offset, bind << 4 | kind, 0, section, value, size)
        self.symbols += row
        return len(self.symbols) // 24 - 1

    def relocations(self, target: int, *rows: tuple[int, int, int], kind: int = REL) -> int:
        """Each row is (offset, symbol, type)."""
        data = b"".join(struct.pack(self.order + "QQ", o, s << 32 | t) for o, s, t in rows)
        return self.section(f".rel{target}", kind, data, info=target, each=16)

    def build(self, *, machine: int = 247, kind: int = 1) -> bytes:
        """The file: header, contents, section headers."""
        rows = list(self.rows)
        strings = len(rows) + 1
        rows.append((".symtab", SYMTAB, 0, bytes(self.symbols), len(self.symbols), strings, 0, 24))
        names = bytearray(self.names)
        offsets = []
        for name, *_ in [*rows, (".strtab",)]:
            offsets.append(len(names))
            names += name.encode() + b"\0"
        rows.append((".strtab", STRTAB, 0, bytes(names), len(names), 0, 0, 0))
        body, headers = bytearray(64), []
        for offset, (_, type_, flags, data, size, link, info, each) in zip(
            offsets, rows, strict=True
        ):
            fields = (offset, type_, flags, 0, len(body), size, link, info, 8, each)
            headers.append(struct.pack(self.order + "IIQQQQIIQQ", *fields))
            body += data
        table = b"".join(headers)
        ident = b"\x7fELF" + bytes([2, 1 if self.order == "<" else 2, 1]) + bytes(9)
        wide = len(rows) >= 0xFF00
        if wide:  # the first section header has what does not fit
            first = struct.pack(
                self.order + "IIQQQQIIQQ", 0, 0, 0, 0, 0, len(rows), strings, 0, 0, 0
            )
            table = first + table[64:]
        counts = (64, 0, 0, 64, 0 if wide else len(rows), 0xFFFF if wide else strings)
        header = struct.pack(
            self.order + "HHIQQQIHHHHHH", kind, machine, 1, 0, 0, len(body), 0, *counts
        )
        body[:64] = ident + header
        return bytes(body) + table
