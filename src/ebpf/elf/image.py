"""Executables, shared libraries and debug files: what is needed to find symbols in them.

Any class (32 or 64 bits), byte order and machine. The file may come from anywhere, a process's
own root directory among others: every number is checked against the file before it is used, only
the parts that are asked for are read, and every failure is an ElfError. It is read, not mapped: a
file that shrinks meanwhile is an error then, where a mapping would end this process by SIGBUS.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from functools import cached_property

from ebpf.btf.raw import ByteOrder
from ebpf.elf.reader import (
    SHF_COMPRESSED,
    SHN_XINDEX,
    SHT_NOBITS,
    SHT_NULL,
    SHT_STRTAB,
    StringTable,
)
from ebpf.errors import ElfError
from ebpf.plain import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self

ET_REL, ET_EXEC, ET_DYN = 1, 2, 3
EM_ARM = 40
PT_LOAD, PT_DYNAMIC, PT_NOTE = 1, 2, 4
PF_X = 1
SHT_NOTE = 7
_NT_GNU_BUILD_ID = 3
_DT_NULL, _DT_STRTAB, _DT_STRSZ, _DT_SONAME = 0, 5, 10, 14
_PN_XNUM = 0xFFFF

# A file with holes may claim any size; nothing that is read here in one piece comes near this.
_LARGEST = 1 << 31

# What differs between the two classes: the header behind e_version, a section header, a program
# header, and the places in the latter of offset, address, file size, memory size and flags.
_HEADER = {32: "HHIIIIIHHHHHH", 64: "HHIQQQIHHHHHH"}
_SECTION = {32: "10I", 64: "IIQQQQIIQQ"}
_SEGMENT = {32: ("8I", (1, 2, 4, 5, 6, 7)), 64: ("IIQQQQQQ", (2, 3, 5, 6, 1, 7))}


class ImageSection(NamedTuple):
    """One section header; offsets and sizes in bytes."""

    number: int
    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry_size: int

    def error(self, problem: str) -> ElfError:
        return ElfError(f"ELF section {self.number} {self.name!r}: {problem}")


class Segment(NamedTuple):
    """One program header; offsets and sizes in bytes."""

    type: int
    offset: int
    address: int
    file_size: int
    memory_size: int
    flags: int
    align: int


class Note(NamedTuple):
    """One entry of a note section or segment, ``.note.stapsdt`` for one."""

    owner: str
    type: int
    data: bytes


class ElfImage:
    """The headers of an ELF file, and what they lead to.

    A context manager where it was made by `open`; one of `bytes` needs no closing.
    """

    def __init__(self, data: bytes | _File) -> None:
        """Read the headers of a file that is at hand.

        Raises:
            ElfError: it is no ELF file, or one whose headers contradict themselves.
        """
        self._file = _Bytes(data) if isinstance(data, bytes) else data
        self.size = self._file.size
        ident = self.read(0, min(self.size, 16), "header")
        if ident[:4] != b"\x7fELF":
            raise ElfError(f"ELF header: starts with {ident[:4]!r}, not with b'\\x7fELF'")
        if len(ident) < 16 or ident[4] not in (1, 2) or ident[5] not in (1, 2):
            raise ElfError(f"ELF header: {ident!r} names no class (1, 2) and byte order (1, 2)")
        self.bits = 32 * ident[4]
        self.byte_order: ByteOrder = "little" if ident[5] == 1 else "big"
        self.order = "<" if ident[5] == 1 else ">"
        fields = self.unpack(_HEADER[self.bits], 16, "header")
        self.type, self.machine, _, self.entry = fields[:4]
        self._segment_table, self._section_table = fields[4], fields[5]
        self._segment_size, self._segment_count = fields[8], fields[9]
        self._section_size, self._section_count, self._section_names = fields[10:]

    @classmethod
    def open(cls, path: str | os.PathLike[str], start: int = 0, size: int | None = None) -> Self:
        """The ELF file at `path`, or in the `size` bytes from `start` of it (in an archive).

        Raises:
            OSError: the file cannot be opened, or is not a regular one.
            ElfError: it is no ELF file.
        """
        file = _File(path, start, size)
        try:
            return cls(file)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        """Close the file; what was read from it stays."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def read(self, offset: int, length: int, what: str) -> bytes:
        """`length` bytes at `offset`, all of which are in the file."""
        if length > _LARGEST:
            raise ElfError(f"ELF {what}: {length:#x} bytes are too many; no file has as many")
        if offset + length > self.size:
            raise ElfError(
                f"ELF {what}: bytes {offset:#x}..{offset + length:#x} do not fit the"
                f" {self.size:#x} bytes of the file"
            )
        data = self._file.read(offset, length)
        if len(data) != length:
            raise ElfError(f"ELF {what}: the file has become shorter while it was read")
        return data

    def unpack(self, format: str, offset: int, what: str) -> tuple[int, ...]:
        """The numbers at `offset`, in the byte order of the file."""
        layout = struct.Struct(self.order + format)
        return layout.unpack(self.read(offset, layout.size, what))

    @cached_property
    def sections(self) -> list[ImageSection]:
        """Every section by its index; empty for a file that was stripped of the headers."""
        layout = struct.Struct(self.order + _SECTION[self.bits])
        start, count, names = self._section_table, self._section_count, self._section_names
        if not start:
            return []
        if self._section_size != layout.size:
            raise ElfError(
                f"ELF header: section headers of {self._section_size} bytes, not {layout.size}"
            )
        first = layout.unpack(self.read(start, layout.size, "section headers"))
        # Where the two numbers do not fit 16 bits, the first section header has them.
        count = count or first[5]
        names = first[6] if names == SHN_XINDEX else names
        raw = list(layout.iter_unpack(self.read(start, count * layout.size, "section headers")))
        table = self._section_name_table(raw, names)
        return [
            ImageSection(number, table.get(row[0]) if table else "", *row[1:])
            for number, row in enumerate(raw)
        ]

    def _section_name_table(self, raw: list[tuple[int, ...]], names: int) -> StringTable | None:
        if not names:
            return None
        label = f"section {names} (section names)"
        if names >= len(raw) or raw[names][1] != SHT_STRTAB:
            raise ElfError(f"ELF {label}: no string table")
        data = self.read(raw[names][4], raw[names][5], label)
        return StringTable(data, 0, len(data), label)

    @cached_property
    def segments(self) -> list[Segment]:
        """Every program header, in the order of the file."""
        format, places = _SEGMENT[self.bits]
        layout = struct.Struct(self.order + format)
        count = self._segment_count
        if not self._segment_table or not count:
            return []
        if self._segment_size != layout.size:
            raise ElfError(
                f"ELF header: program headers of {self._segment_size} bytes, not {layout.size}"
            )
        if count == _PN_XNUM and self.sections:
            count = self.sections[0].info
        data = self.read(self._segment_table, count * layout.size, "program headers")
        return [
            Segment(row[0], *(row[place] for place in places)) for row in layout.iter_unpack(data)
        ]

    def section(self, name: str) -> ImageSection | None:
        """The first section of that name, None where there is none."""
        return next((section for section in self.sections if section.name == name), None)

    def data(self, section: ImageSection) -> bytes:
        """The bytes of `section`; none where it has none in this file (NOBITS).

        Raises:
            ElfError: they are not all in the file, or are compressed.
        """
        if section.type in (SHT_NULL, SHT_NOBITS):
            return b""
        if section.flags & SHF_COMPRESSED:
            raise section.error("compressed; decompress it with objcopy")
        return self.read(section.offset, section.size, f"section {section.name!r}")

    def strings(self, index: int, what: str) -> StringTable:
        """The string table in section `index`."""
        if not 0 < index < len(self.sections) or self.sections[index].type != SHT_STRTAB:
            raise ElfError(f"ELF {what}: names in section {index}, which is no string table")
        data = self.data(self.sections[index])
        return StringTable(data, 0, len(data), f"section {self.sections[index].name!r}")

    def file_offset(self, address: int) -> int:
        """Where in the file the byte at the virtual address `address` is, as uprobes want it.

        Raises:
            ElfError: no loaded segment has it in the file.
        """
        for segment in self._loaded:
            if segment.address <= address < segment.address + segment.file_size:
                return address - segment.address + segment.offset
        raise ElfError(f"ELF address {address:#x}: in no segment that is loaded from the file")

    def address(self, offset: int) -> int | None:
        """The virtual address of the byte at file offset `offset`; None where it is not loaded."""
        for segment in self._loaded:
            if segment.offset <= offset < segment.offset + segment.file_size:
                return offset - segment.offset + segment.address
        return None

    @cached_property
    def _loaded(self) -> list[Segment]:
        """Segments that are loaded, those with code first: they share pages with others."""
        loaded = [segment for segment in self.segments if segment.type == PT_LOAD]
        return sorted(loaded, key=lambda segment: not segment.flags & PF_X)

    @cached_property
    def build_id(self) -> bytes | None:
        """What the linker called this build (``NT_GNU_BUILD_ID``), None where it did not."""
        # The segments of a debug file describe the file that it was split from.
        parts = [(s.offset, s.size, s.align) for s in self.sections if s.type == SHT_NOTE] or [
            (s.offset, s.file_size, s.align) for s in self.segments if s.type == PT_NOTE
        ]
        for offset, size, align in parts:
            for note in self._notes(self.read(offset, size, "notes"), align):
                if (note.owner, note.type) == ("GNU", _NT_GNU_BUILD_ID) and note.data:
                    return note.data
        return None

    @cached_property
    def soname(self) -> str | None:
        """The name by which programs ask the loader for this library, None where it has none."""
        tags = self._dynamic
        if _DT_SONAME not in tags:
            return None
        start = self.file_offset(tags.get(_DT_STRTAB, 0))
        names = self.read(start, tags.get(_DT_STRSZ, 0), "dynamic strings")
        table = StringTable(names, 0, len(names), "dynamic strings")
        return table.get(tags[_DT_SONAME])

    @property
    def _dynamic(self) -> dict[int, int]:
        """The entries for the loader, of several of one tag the last; none where it is linked by
        nothing."""
        layout = struct.Struct(self.order + {32: "iI", 64: "qQ"}[self.bits])
        tags: dict[int, int] = {}
        for segment in self.segments:
            if segment.type != PT_DYNAMIC:
                continue
            size = segment.file_size // layout.size * layout.size
            data = self.read(segment.offset, size, "dynamic section")
            for tag, value in layout.iter_unpack(data):
                if tag == _DT_NULL:
                    break
                tags[tag] = value
        return tags

    @cached_property
    def debug_link(self) -> tuple[str, int] | None:
        """Name and CRC-32 of the file that the symbols were moved to (``.gnu_debuglink``)."""
        section = self.section(".gnu_debuglink")
        if section is None:
            return None
        name, end, rest = self.data(section).partition(b"\0")
        at = (len(name) + 1 + 3) & ~3
        crc = rest[at - len(name) - 1 :]
        if not end or not name or len(crc) < 4:
            raise section.error("no file name and checksum")
        return os.fsdecode(name), int.from_bytes(crc[:4], self.byte_order)

    def notes(self, section: ImageSection) -> Iterator[Note]:
        """The entries of a note section."""
        return self._notes(self.data(section), section.align)

    def _notes(self, data: bytes, align: int) -> Iterator[Note]:
        mask = 7 if align == 8 else 3
        at = 0
        while at + 12 <= len(data):
            name_size, size, kind = struct.unpack_from(self.order + "III", data, at)
            begin = at + 12 + name_size + mask & ~mask
            if begin + size > len(data):
                raise ElfError(f"ELF notes: the note at {at:#x} goes beyond their end")
            owner = data[at + 12 : at + 12 + name_size].rstrip(b"\0")
            yield Note(owner.decode("ascii", "replace"), kind, data[begin : begin + size])
            at = begin + size + mask & ~mask


class _Bytes:
    """A file that is in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    def close(self) -> None:
        pass


class _File:
    """A file on disk, or a part of it."""

    _fd = -1

    def __init__(self, path: str | os.PathLike[str], start: int, size: int | None) -> None:
        # Not to wait for the writer of a pipe that somebody has put there.
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self._start = start
        try:
            status = os.fstat(self._fd)
            if not stat.S_ISREG(status.st_mode):
                raise ElfError(f"{os.fspath(path)} is not a regular file")
            left = max(status.st_size - start, 0)
            self.size = left if size is None else min(size, left)
        except BaseException:
            self.close()
            raise

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        while length:
            part = os.pread(self._fd, length, self._start + offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()
