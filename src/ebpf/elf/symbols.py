"""The symbols of executables and libraries: by name, as uprobes need them, and by address.

Numbers: the ELF object file format; symbol versions are those of the GNU tools (``.gnu.version``).
Names are decoded when they are asked for, because a large program has a million of them.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property

from ebpf.elf.image import EM_ARM, ET_REL, ElfImage, ImageSection
from ebpf.elf.reader import (
    SHN_LORESERVE,
    SHN_UNDEF,
    SHN_XINDEX,
    SHT_SYMTAB,
    STB_GLOBAL,
    STB_WEAK,
    STT_FUNC,
    StringTable,
)
from ebpf.errors import ElfError
from ebpf.plain import NamedTuple

SHT_DYNSYM = 11
SHT_GNU_VERDEF, SHT_GNU_VERNEED, SHT_GNU_VERSYM = 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF
STT_GNU_IFUNC = 10

# Of a symbol's number in .gnu.version: another version is the one that programs are linked to.
_NOT_DEFAULT = 0x8000
_LAYOUT = {32: "IIIBBH", 64: "IBBHQQ"}

_LAST = (1 << 64) - 1

# (name offset, type and binding, visibility, section, value, size)
Row = tuple[int, int, int, int, int, int]


class ElfSymbol(NamedTuple):
    """One symbol; `value` is a virtual address (in a relocatable file an offset in its section).

    `version` is its version's name, or None; `default` is whether programs are linked to this
    version of the name (``name@@version``).
    """

    name: str
    value: int
    size: int
    type: int
    binding: int
    visibility: int
    section: int
    version: str | None = None
    default: bool = True

    @property
    def defined(self) -> bool:
        """In this file, not in another one that it is linked to."""
        return self.section != SHN_UNDEF

    @property
    def function(self) -> bool:
        """Code, or a resolver that picks the code (IFUNC)."""
        return self.type in (STT_FUNC, STT_GNU_IFUNC)


class SymbolTable:
    """``.symtab`` or ``.dynsym``: iterate for every symbol, in the order of the file.

    Raises ElfError when it is read and malformed.
    """

    def __init__(self, image: ElfImage, section: ImageSection) -> None:
        self.image = image
        self.name = section.name
        self._section = section

    def __iter__(self) -> Iterator[ElfSymbol]:
        return (self.symbol(number, row) for number, row in enumerate(self.rows()))

    def rows(self) -> Iterator[Row]:
        """Every symbol as its numbers, unnamed: what is fast."""
        layout = struct.Struct(self.image.order + _LAYOUT[self.image.bits])
        # Not kept: it is the largest part of most files, and read once.
        data = self.image.data(self._section)
        if self._section.entry_size != layout.size or len(data) % layout.size:
            raise self._section.error(
                f"{len(data)} bytes in entries of {self._section.entry_size}; a symbol has"
                f" {layout.size}"
            )
        rows = layout.iter_unpack(data)
        if self.image.bits == 64:
            return rows
        return (
            (name, info, other, section, value, size)
            for name, value, size, info, other, section in rows
        )

    def symbol(self, number: int, row: Row) -> ElfSymbol:
        """The symbol of row `number`."""
        name, info, other, section, value, size = row
        version, default = self._version(number, section == SHN_UNDEF)
        fields = (value, size, info & 15, info >> 4, other & 3, section)
        return ElfSymbol(self.names.get(name), *fields, version, default)

    def find(self, name: str) -> list[ElfSymbol]:
        """Every symbol called `name`, defined or not; no other name is decoded."""
        wanted = set(self.names.offsets_of(name))
        if not wanted:
            return []
        return [
            self.symbol(number, row) for number, row in enumerate(self.rows()) if row[0] in wanted
        ]

    @cached_property
    def names(self) -> StringTable:
        return self.image.strings(self._section.link, f"section {self.name!r}")

    def _version(self, number: int, undefined: bool) -> tuple[str | None, bool]:
        if number >= len(self._version_numbers):
            return None, True
        index = self._version_numbers[number]
        defined, needed = (versions.get(index & ~_NOT_DEFAULT) for versions in self._versions)
        if not undefined and defined is None and needed is not None:
            # A variable of a library that an executable has its own copy of.
            return needed, False
        name = needed if undefined else defined
        return name, name is None or not index & _NOT_DEFAULT

    @cached_property
    def _version_numbers(self) -> list[int]:
        for section in self.image.sections:
            if section.type == SHT_GNU_VERSYM and section.link == self._section.number:
                data = self.image.data(section)
                data = data[: len(data) & ~1]
                return [number for (number,) in struct.iter_unpack(self.image.order + "H", data)]
        return []

    @cached_property
    def _versions(self) -> tuple[dict[int, str], dict[int, str]]:
        """Version names by number: those that the file defines, and those that it needs."""
        defined: dict[int, str] = {}
        needed: dict[int, str] = {}
        for section in self.image.sections:
            if section.type == SHT_GNU_VERDEF:
                defined.update(_defined_versions(self.image, section))
            elif section.type == SHT_GNU_VERNEED:
                needed.update(_needed_versions(self.image, section))
        return defined, needed


def symbol_tables(image: ElfImage) -> list[SymbolTable]:
    """The symbol tables, the one with all symbols (``.symtab``) before the dynamic one."""
    found = [s for s in image.sections if s.type in (SHT_SYMTAB, SHT_DYNSYM)]
    return [SymbolTable(image, section) for section in sorted(found, key=lambda s: s.type)]


def find_symbols(image: ElfImage, name: str) -> list[ElfSymbol]:
    """The symbols that the file defines under `name`: each address once, functions first.

    ``name@VERSION`` asks for that version, ``name@@VERSION`` for it as the default one. Without a
    version, all of them are found, the default one first.
    """
    plain, version, default = _split(name)
    found: dict[tuple[int, int], ElfSymbol] = {}
    # The dynamic table first: it has the versions.
    for table in reversed(symbol_tables(image)):
        # The linker leaves names such as "memcpy@GLIBC_2.2.5" in .symtab.
        for symbol in [*table.find(plain), *(table.find(name) if version else ())]:
            if not symbol.defined or (version and not _has(symbol, version, default)):
                continue
            found.setdefault((symbol.section, symbol.value), symbol)
    return sorted(
        found.values(), key=lambda s: (not s.function, not s.default, s.binding not in _EXPORTED)
    )


_EXPORTED = (STB_GLOBAL, STB_WEAK)


def _split(name: str) -> tuple[str, str, bool]:
    """``open@@GLIBC_2.2.5`` -> ("open", "GLIBC_2.2.5", default)."""
    plain, _, version = name.partition("@")
    # A name that begins with it has no version.
    if not plain or not version:
        return name, "", False
    return plain, version.removeprefix("@"), version.startswith("@")


def _has(symbol: ElfSymbol, version: str, default: bool) -> bool:
    _, own, own_default = _split(symbol.name)
    if own:
        return own == version and (own_default or not default)
    return symbol.version == version and (symbol.default or not default)


def symbol_offset(image: ElfImage, symbol: ElfSymbol) -> int:
    """Where in the file the code of `symbol` begins: what a uprobe takes.

    Raises:
        ElfError: it is not in this file, or has no place in it (an absolute number, data that
            begins as zeros, a debug file without the code).
    """
    if not symbol.defined or SHN_LORESERVE <= symbol.section < SHN_XINDEX:
        raise ElfError(f"ELF symbol {symbol.name!r}: the file has no code of it")
    address = code_address(image, symbol)
    if image.type != ET_REL:
        return image.file_offset(address)
    if symbol.section >= len(image.sections):
        raise ElfError(f"ELF symbol {symbol.name!r}: section {symbol.section} does not exist")
    return image.sections[symbol.section].offset + address


def code_address(image: ElfImage, symbol: ElfSymbol) -> int:
    """The address of the first instruction: on ARM the lowest bit only says that it is Thumb."""
    thumb = image.machine == EM_ARM and symbol.function
    return symbol.value & ~1 if thumb else symbol.value


class FunctionIndex:
    """The functions of a file by address, for many addresses."""

    def __init__(self, tables: Iterable[SymbolTable]) -> None:
        """Read the numbers of all functions; names are read when they are asked for."""
        self._tables = list(tables)
        rows = [row for number in range(len(self._tables)) for row in self._functions(number)]
        # Of several names for one address the last one remains.
        rows.sort()
        best = {row[0]: row for row in rows}
        self._starts = array("Q", best)
        self._ends = array("Q", (row[2] for row in best.values()))
        self._names = array("Q", (row[4] * len(self._tables) + row[3] for row in best.values()))

    def _functions(self, number: int) -> Iterator[tuple[int, int, int, int, int]]:
        """(address, rank, end, table, name offset) of every function that the file defines."""
        table = self._tables[number]
        mask = ~1 if table.image.machine == EM_ARM else ~0
        ends = [min(s.address + s.size, _LAST) for s in table.image.sections]
        for name, info, _, section, value, size in table.rows():
            if info & 15 in (STT_FUNC, STT_GNU_IFUNC) and section != SHN_UNDEF and name:
                # One of unknown size ends with its section, if no other begins before.
                end = min(value + size, _LAST) if size or section >= len(ends) else ends[section]
                yield value & mask, _rank(info >> 4, size), end, number, name

    def __len__(self) -> int:
        return len(self._starts)

    def find(self, address: int) -> tuple[str, int] | None:
        """Name and address of the function that `address` is in, None where none is known."""
        at = bisect_right(self._starts, address) - 1
        if at < 0 or address >= self._ends[at]:
            return None
        name, table = divmod(self._names[at], len(self._tables))
        return self._tables[table].names.get(name), self._starts[at]


def _rank(binding: int, size: int) -> int:
    """Which of several names for one address is the better one."""
    return 3 * bool(size) + {STB_GLOBAL: 2, STB_WEAK: 1}.get(binding, 0)


def _chain(
    image: ElfImage, data: bytes, at: int, format: str, next: int
) -> Iterator[tuple[int, ...]]:
    """The entries of a list that each say where the next one is; (offset, *fields) of each.

    `next` is the field that says so, counted from the entry; 0 ends the list. It only goes
    forward, so that it ends.
    """
    layout = struct.Struct(image.order + format)
    while at + layout.size <= len(data):
        fields = layout.unpack_from(data, at)
        yield (at, *fields)
        if not fields[next]:
            return
        at += fields[next]
    raise ElfError(f"ELF symbol versions: an entry at {at:#x} of {len(data):#x} bytes")


def _defined_versions(image: ElfImage, section: ImageSection) -> Iterator[tuple[int, str]]:
    data, names = image.data(section), image.strings(section.link, f"section {section.name!r}")
    for at, _, _, index, _, _, first, _ in _chain(image, data, 0, "HHHHIII", 6):
        # The first name is its own, the others are those that it follows.
        _, name, _ = next(_chain(image, data, at + first, "II", 1))
        # Version 1 is that of the file itself.
        if index > 1:
            yield index, names.get(name)


def _needed_versions(image: ElfImage, section: ImageSection) -> Iterator[tuple[int, str]]:
    data, names = image.data(section), image.strings(section.link, f"section {section.name!r}")
    entries = 0
    for at, _, _, _, first, _ in _chain(image, data, 0, "HHIII", 4):
        for _, _, _, index, name, _ in _chain(image, data, at + first, "IHHII", 4):
            # Lists that share their ends would take the square of the file's length.
            entries += 1
            if entries > len(data):
                raise section.error("its lists run into each other")
            yield index & ~_NOT_DEFAULT, names.get(name)
