"""ELF64 relocatable files, as far as BPF objects use the format.

The file may come from anywhere. Everything is checked against its length before it is used, no
loop runs longer than the file has bytes, and nothing is copied but names: every failure is an
ElfError that names the section and the offset in it. Numbers: the ELF-64 object file format and
``EM_BPF`` of linux/elf-em.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cached_property

from ebpf.btf.raw import ByteOrder
from ebpf.errors import ElfError
from ebpf.plain import NamedTuple, dataclass

ET_REL = 1
EM_NONE = 0  # what clang wrote before EM_BPF was assigned
EM_BPF = 247
_COMPILE = "clang -target bpf -O2 -g -c"

SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA = 0, 1, 2, 3, 4
SHT_NOBITS, SHT_REL, SHT_SYMTAB_SHNDX = 8, 9, 18
SHF_EXECINSTR, SHF_COMPRESSED = 0x4, 0x800
SHN_UNDEF, SHN_LORESERVE, SHN_XINDEX = 0, 0xFF00, 0xFFFF

STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_SECTION = 0, 1, 2, 3
STV_INTERNAL, STV_HIDDEN = 1, 2

_HEADER_SIZE, _SECTION_SIZE, _SYMBOL_SIZE, _REL_SIZE = 64, 64, 24, 16
# Names that end alike share their bytes, so all of them together may be longer than their
# table; hostile offsets into one long string would take its length each.
_NAME_SHARING = 8


@dataclass(frozen=True)
class Section:
    """One section header. ``size`` in bytes; a section of type NOBITS has none in the file."""

    index: int
    name: str
    type: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int

    @property
    def executable(self) -> bool:
        return bool(self.flags & SHF_EXECINSTR)

    def error(self, problem: str, offset: int | None = None) -> ElfError:
        """``ELF section 3 '.text', offset 0x10: ...``"""
        where = "" if offset is None else f", offset {offset:#x}"
        return ElfError(f"ELF section {self.index} {self.name!r}{where}: {problem}")


class Symbol(NamedTuple):
    """One symbol. ``section`` is a section's index, or a special number from SHN_LORESERVE on."""

    number: int
    name: str
    binding: int
    type: int
    visibility: int
    section: int
    value: int
    size: int
    special: bool

    @property
    def exported(self) -> bool:
        """Global or weak."""
        return self.binding in (STB_GLOBAL, STB_WEAK)

    @property
    def hidden(self) -> bool:
        return self.visibility in (STV_INTERNAL, STV_HIDDEN)

    @property
    def undefined(self) -> bool:
        """What an ``extern`` declaration leaves in the object."""
        return self.section == SHN_UNDEF and self.exported and self.type == STT_NOTYPE


class Rel(NamedTuple):
    """One relocation: `offset` in the section that it changes, its symbol's index, its type."""

    offset: int
    symbol: int
    type: int


class ElfFile:
    """The headers, symbols and relocations of an ELF64 relocatable file for BPF.

    Raises ElfError.
    """

    def __init__(self, data: bytes) -> None:
        self.bytes = data
        self._view = memoryview(data)
        self.byte_order: ByteOrder = _byte_order(data)
        self.order: str = "<" if self.byte_order == "little" else ">"
        self.sections: list[Section] = self._read_sections()
        self._check_extents()

    @cached_property
    def symbols(self) -> list[Symbol]:
        """Every symbol, by index; objects that were stripped of them are refused."""
        tables = [section for section in self.sections if section.type == SHT_SYMTAB]
        if not tables:
            raise ElfError("ELF file: no symbol table; was it stripped?")
        if len(tables) > 1:
            raise tables[1].error("a second symbol table")
        return self._read_symbols(tables[0])

    def data(self, section: Section) -> memoryview:
        """The bytes of `section` in the file, not copied; none for NOBITS."""
        if section.type == SHT_NOBITS:
            return self._view[:0]
        if section.flags & SHF_COMPRESSED:
            raise section.error("compressed, which no BPF loader reads; decompress it with objcopy")
        return self._view[section.offset : section.offset + section.size]

    def relocations(self, section: Section) -> list[Rel]:
        """The entries of a section of type REL, by offset."""
        if section.entry_size not in (0, _REL_SIZE) or section.size % _REL_SIZE:
            raise section.error(
                f"{section.size} bytes in entries of {section.entry_size}; a relocation has 16"
            )
        count = len(self.symbols)
        unpack = struct.Struct(self.order + "QQ").iter_unpack
        found = [
            Rel(off, info >> 32, info & 0xFFFFFFFF) for off, info in unpack(self.data(section))
        ]
        for number, rel in enumerate(found):
            if rel.symbol >= count:
                raise section.error(
                    f"symbol {rel.symbol}, the last is {count - 1}", number * _REL_SIZE
                )
        found.sort()
        return found

    def relocation_sections(self) -> Iterator[tuple[Section, Section]]:
        """Each section of type REL or RELA, and the one that it changes."""
        for section in self.sections:
            if section.type in (SHT_REL, SHT_RELA):
                if not 0 < section.info < len(self.sections):
                    raise section.error(f"relocates section {section.info}, which does not exist")
                yield section, self.sections[section.info]

    def _read_sections(self) -> list[Section]:
        start, size, count, names = self._section_table()
        entries = struct.iter_unpack(
            self.order + "IIQQQQIIQQ", self._view[start : start + count * size]
        )
        raw = list(entries)
        if names >= len(raw):
            raise ElfError(f"ELF header: section names in section {names} of {len(raw)}")
        table = self._string_table(raw[names], f"section {names} (section names)")
        return [
            Section(i, table.get(name), kind, flags, offset, length, link, info, align, each)
            for i, (name, kind, flags, _, offset, length, link, info, align, each) in enumerate(raw)
        ]

    def _section_table(self) -> tuple[int, int, int, int]:
        """(offset, entry size, count, index of the names) of the section headers."""
        header = struct.unpack_from(self.order + "HHIQQQIHHHHHH", self.bytes, 16)
        kind, machine, _, _, _, start, _, _, _, _, size, count, names = header
        if kind != ET_REL or machine not in (EM_NONE, EM_BPF):
            raise ElfError(
                f"ELF header: type {kind}, machine {machine}; a BPF object is relocatable (1) "
                f"and for machine {EM_BPF}, as {_COMPILE} makes it"
            )
        if size != _SECTION_SIZE or not _HEADER_SIZE <= start <= len(self.bytes) - size:
            raise ElfError(
                f"ELF header: section headers of {size} bytes at offset {start:#x} of "
                f"{len(self.bytes):#x}; they have {_SECTION_SIZE}{self._truncated(start + size)}"
            )
        first = struct.unpack_from(self.order + "IIQQQQIIQQ", self.bytes, start)
        # Where the two counts do not fit 16 bits, the first section header has them.
        count = count or first[5]
        names = first[6] if names == SHN_XINDEX else names
        if not 0 < count <= (len(self.bytes) - start) // size:
            raise ElfError(
                f"ELF header: {count} section headers at {start:#x} do not fit the file"
                f"{self._truncated(start + count * size)}"
            )
        return start, size, count, names

    def _truncated(self, end: int) -> str:
        """Compilers put the section headers last, so they are what a cut takes away."""
        return "; the file is truncated" if end > len(self.bytes) else ""

    def _string_table(self, raw: tuple[int, ...], label: str) -> StringTable:
        kind, offset, length = raw[1], raw[4], raw[5]
        if kind != SHT_STRTAB or offset + length > len(self.bytes):
            raise ElfError(f"ELF {label}: no string table inside of the file")
        return StringTable(self.bytes, offset, offset + length, label)

    def _check_extents(self) -> None:
        total = 0
        for section in self.sections:
            if section.type in (SHT_NULL, SHT_NOBITS):
                continue
            if section.offset + section.size > len(self.bytes):
                raise section.error(
                    f"bytes {section.offset:#x}..{section.offset + section.size:#x} do not fit "
                    f"the {len(self.bytes):#x} bytes of the file"
                )
            total += section.size
        # Bounds the memory that copies of sections take.
        if total > len(self.bytes):
            raise ElfError(
                f"ELF section headers: sections of {total} bytes in a file of {len(self.bytes)}: "
                "they overlap"
            )

    def _read_symbols(self, section: Section) -> list[Symbol]:
        if section.entry_size not in (0, _SYMBOL_SIZE) or section.size % _SYMBOL_SIZE:
            raise section.error(
                f"{section.size} bytes in entries of {section.entry_size}; a symbol has 24"
            )
        if not 0 < section.link < len(self.sections):
            raise section.error(f"names in section {section.link}, which does not exist")
        strings = self.sections[section.link]
        if strings.type != SHT_STRTAB:
            raise section.error(f"names in section {strings.index}, which is no string table")
        table = StringTable(
            self.bytes, strings.offset, strings.offset + strings.size, f"section {strings.index}"
        )
        wide = self._wide_indices(section)
        rows = struct.iter_unpack(self.order + "IBBHQQ", self.data(section))
        found = []
        for i, (name, info, other, index, value, size) in enumerate(rows):
            special = index >= SHN_LORESERVE
            if index == SHN_XINDEX and i < len(wide):
                index, special = wide[i], False
            if index >= len(self.sections) and not special:
                raise section.error(
                    f"symbol {i} in section {index}, the last is {len(self.sections) - 1}",
                    i * _SYMBOL_SIZE,
                )
            found.append(
                Symbol(
                    *(i, table.get(name), info >> 4, info & 15, other & 3),
                    *(index, value, size, special),
                )
            )
        return found

    def _wide_indices(self, symbols: Section) -> list[int]:
        """The sections of the symbols whose 16 bits say XINDEX; empty where there is no list."""
        for section in self.sections:
            if section.type == SHT_SYMTAB_SHNDX and section.link == symbols.index:
                data = self.data(section)
                return [
                    index
                    for (index,) in struct.iter_unpack(self.order + "I", data[: len(data) // 4 * 4])
                ]
        return []


class StringTable:
    """Names by offset; each is decoded once."""

    __slots__ = ("_budget", "_cache", "_data", "_end", "_label", "_start")

    def __init__(self, data: bytes, start: int, end: int, label: str) -> None:
        self._data, self._start, self._end, self._label = data, start, end, label
        self._cache: dict[int, str] = {}
        self._budget = _NAME_SHARING * (end - start) + 4096

    def get(self, offset: int) -> str:
        found = self._cache.get(offset)
        if found is not None:
            return found
        begin = self._start + offset
        if offset == 0 and self._start == self._end:
            return ""
        stop = self._data.find(b"\0", begin, self._end) if begin < self._end else -1
        if stop < 0:
            raise ElfError(
                f"ELF {self._label}, offset {offset:#x}: no name that ends inside of the "
                f"{self._end - self._start:#x} bytes of the table"
            )
        self._budget -= stop - begin
        if self._budget < 0:
            raise ElfError(f"ELF {self._label}: names lie inside each other over and over")
        text = self._data[begin:stop].decode("utf-8", "surrogateescape")
        self._cache[offset] = text
        return text

    def offsets_of(self, name: str) -> Iterator[int]:
        """Where in the table `name` is; also at the end of longer names, which share its bytes."""
        wanted = name.encode("utf-8", "surrogateescape") + b"\0"
        at = self._data.find(wanted, self._start, self._end) if name else -1
        while at >= 0:
            yield at - self._start
            at = self._data.find(wanted, at + 1, self._end)


def _byte_order(data: bytes) -> ByteOrder:
    if data[:4] != b"\x7fELF":
        text = bool(data) and all(0x20 <= byte < 0x7F or 9 <= byte <= 13 for byte in data[:64])
        raise ElfError(
            f"ELF header: starts with {data[:4]!r}, not with b'\\x7fELF'"
            f"{f'; this is text: {_COMPILE} makes an object file of C source' if text else ''}"
        )
    if len(data) < _HEADER_SIZE:
        raise ElfError(f"ELF header: {len(data)} bytes, a header has {_HEADER_SIZE}")
    if data[4] != 2:
        raise ElfError(f"ELF header: class {data[4]} at offset 4; BPF objects are 64-bit (2)")
    if data[5] not in (1, 2):
        raise ElfError(f"ELF header: byte order {data[5]} at offset 5; it is 1 or 2")
    if data[6] != 1:
        raise ElfError(f"ELF header: version {data[6]} at offset 6; only 1 is known")
    return "little" if data[5] == 1 else "big"
