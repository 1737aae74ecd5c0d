"""An object file without what only debuggers read."""

from __future__ import annotations

import re
import struct

from ebpf.elf.reader import SHT_NOBITS, SHT_NULL, ElfFile, Section

_DEBUG = re.compile(r"(\.rela?)?\.debug_.*")
_HEADER_SIZE, _SECTION_SIZE = 64, 64
_TABLE_PLACE = 40  # of e_shoff in the header
_OFFSET_PLACE = 24  # of sh_offset and sh_size in a section's header
# What contents keep of their place in the file; BPF objects align nothing further.
_ALIGNMENT = 16


def without_debug(data: bytes) -> bytes:
    """The object file `data` with nothing in its DWARF sections: no loader reads them.

    The sections stay, as others go by their numbers. BTF is kept, with the lines of the source.
    Raises ElfError for what is no object.
    """
    file = ElfFile(data)
    place = struct.Struct(file.order + "QQ")
    (start,) = struct.unpack_from(file.order + "Q", data, _TABLE_PLACE)
    table = bytearray(data[start : start + _SECTION_SIZE * len(file.sections)])
    body = bytearray(data[:_HEADER_SIZE])
    for section in file.sections:
        if section.type == SHT_NULL:
            continue
        contents = _contents(file, section)
        body += bytes((section.offset - len(body)) % _ALIGNMENT)
        size = section.size if section.type == SHT_NOBITS else len(contents)
        row = _SECTION_SIZE * section.index + _OFFSET_PLACE
        place.pack_into(table, row, len(body), size)
        body += contents
    body += bytes(-len(body) % _ALIGNMENT)
    struct.pack_into(file.order + "Q", body, _TABLE_PLACE, len(body))
    return bytes(body + table)


def _contents(file: ElfFile, section: Section) -> bytes:
    if section.type == SHT_NOBITS or _DEBUG.fullmatch(section.name):
        return b""
    return file.bytes[section.offset : section.offset + section.size]
