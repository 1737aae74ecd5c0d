"""The output as an ELF64 file."""

from __future__ import annotations

import struct

from ebpf.codec.layout import align_up
from ebpf.elf.linker.inputs import Input
from ebpf.elf.linker.layout import Layout
from ebpf.elf.linker.symbols import SymbolTable
from ebpf.elf.reader import (
    EM_BPF,
    ET_REL,
    SHN_LORESERVE,
    SHT_NOBITS,
    SHT_PROGBITS,
    SHT_REL,
    SHT_STRTAB,
    SHT_SYMTAB,
    STB_GLOBAL,
    STB_LOCAL,
    STB_WEAK,
    STT_SECTION,
    Rel,
    Symbol,
)
from ebpf.errors import LinkError
from ebpf.plain import dataclass

_HEADER_SIZE, _SECTION_SIZE, _SYMBOL_SIZE, _REL_SIZE = 64, 64, 24, 16
_ALIGNMENT = 8


class Strings:
    """A string table under construction."""

    def __init__(self) -> None:
        self.content = bytearray(b"\0")
        self._offsets: dict[str, int] = {"": 0}

    def offset(self, text: str) -> int:
        found = self._offsets.get(text)
        if found is None:
            found = self._offsets[text] = len(self.content)
            self.content += text.encode("utf-8", "surrogateescape") + b"\0"
        return found


class SymbolWriter:
    """The symbol table: local symbols first, as the format has it, then global ones."""

    def __init__(self, order: str, layout: Layout, strings: Strings) -> None:
        self._row = struct.Struct(order + "IBBHQQ")
        self._strings = strings
        self._indices = {name: index for index, name in enumerate(layout.sections, 1)}
        self._sections: dict[str, int] = {}
        self.data = bytearray(_SYMBOL_SIZE)
        self.first_global = 1

    def add_all(self, symbols: SymbolTable) -> None:
        """Writes every symbol and notes its number where relocations ask for it."""
        for input, symbol in symbols.locals:
            self._add_local(input, symbol)
        self.first_global = self._count()
        for shared in symbols.globals.values():
            shared.number = self._count()
            name = shared.section if shared.defined else ""
            symbol = shared.symbol._replace(
                binding=STB_WEAK if shared.weak else STB_GLOBAL, visibility=shared.visibility
            )
            self._write(symbol, self._indices.get(name, 0), shared.offset)

    def _count(self) -> int:
        return len(self.data) // _SYMBOL_SIZE

    def _add_local(self, input: Input, symbol: Symbol) -> None:
        place = input.places.get(symbol.section)
        number = self._count()
        symbol = symbol._replace(binding=STB_LOCAL)  # jump tables are global, of equal names
        if place is None or symbol.special:
            self._write(symbol, symbol.section, symbol.value)
        elif symbol.type == STT_SECTION:
            # One for each output section: relocations have been moved to its start.
            number = self._sections.setdefault(place.name, number)
            if number == self._count():
                self._write(symbol, self._indices[place.name], 0)
        else:
            self._write(symbol, self._indices[place.name], place.offset + symbol.value)
        input.symbol_numbers[symbol.number] = number

    def _write(self, symbol: Symbol, section: int, value: int) -> None:
        info = symbol.binding << 4 | symbol.type
        name = self._strings.offset(symbol.name)
        self.data += self._row.pack(name, info, symbol.visibility, section, value, symbol.size)


@dataclass(frozen=True, kw_only=True)
class _Header:
    """One section and its header; ``size`` is that of the data unless it has none in the file."""

    name: str
    type: int
    data: bytes | bytearray = b""
    flags: int = 0
    size: int | None = None
    link: int = 0
    info: int = 0
    alignment: int = _ALIGNMENT
    entry_size: int = 0


def write(
    order: str,
    layout: Layout,
    symbols: SymbolWriter,
    strings: Strings,
    relocations: dict[str, list[Rel]],
    btf: dict[str, bytes],
) -> bytes:
    """The file; `btf` are the contents of .BTF and .BTF.ext. Raises LinkError."""
    headers = [_Header(name="", type=0, alignment=0), *_contents(layout)]
    table = len(headers) + len(relocations) + len(btf)
    indices = {header.name: index for index, header in enumerate(headers)}
    pack = struct.Struct(order + "QQ").pack
    for name, rows in relocations.items():
        made = _Header(
            name=f".rel{name}",
            type=SHT_REL,
            data=b"".join(pack(rel.offset, rel.symbol << 32 | rel.type) for rel in rows),
            link=table,
            info=indices[name],
            entry_size=_REL_SIZE,
        )
        headers.append(made)
    headers += [_Header(name=name, type=SHT_PROGBITS, data=data) for name, data in btf.items()]
    headers += [_symbol_table(symbols, link=table + 1)]
    if len(headers) + 1 >= SHN_LORESERVE:
        raise LinkError(f"{len(headers)} sections in the output; use fewer names")
    for header in headers:
        strings.offset(header.name)
    strings.offset(".strtab")
    headers.append(_Header(name=".strtab", type=SHT_STRTAB, data=strings.content, alignment=1))
    return _file(order, headers, strings)


def _contents(layout: Layout) -> list[_Header]:
    return [
        _Header(
            name=name,
            type=section.first.type,
            data=section.data,
            flags=section.first.flags,
            size=section.size,
            alignment=section.alignment,
            entry_size=section.first.entry_size,
        )
        for name, section in layout.sections.items()
    ]


def _symbol_table(symbols: SymbolWriter, link: int) -> _Header:
    return _Header(
        name=".symtab",
        type=SHT_SYMTAB,
        data=symbols.data,
        link=link,
        info=symbols.first_global,
        entry_size=_SYMBOL_SIZE,
    )


def _file(order: str, headers: list[_Header], strings: Strings) -> bytes:
    """The ELF header, the contents, and the section headers."""
    body = bytearray(_HEADER_SIZE)
    table = bytearray()
    row = struct.Struct(order + "IIQQQQIIQQ")
    for header in headers:
        body += bytes(align_up(len(body), _ALIGNMENT) - len(body))
        size = len(header.data) if header.size is None else header.size
        offset = len(body) if header.type else 0
        table += row.pack(
            *(strings.offset(header.name), header.type, header.flags, 0, offset, size),
            *(header.link, header.info, header.alignment, header.entry_size),
        )
        if header.type != SHT_NOBITS:
            body += header.data
    body += bytes(align_up(len(body), _ALIGNMENT) - len(body))
    ident = b"\x7fELF" + bytes((2, 1 if order == "<" else 2, 1)) + bytes(9)
    sizes = _HEADER_SIZE, 0, 0, _SECTION_SIZE, len(headers), len(headers) - 1
    fields = ET_REL, EM_BPF, 1, 0, 0, len(body), 0, *sizes
    body[:_HEADER_SIZE] = ident + struct.pack(order + "HHIQQQIHHHHHH", *fields)
    return bytes(body + table)
