"""BTF as bytes: the header, its sections, and where each type begins.

Everything here is checked against the length of the data, because an object file may come from
anywhere: every failure is a BtfError that names the section and the offset in it.
"""

from __future__ import annotations

import mmap
import struct
import sys
from array import array
from itertools import pairwise

from ebpf.btf.types import Kind
from ebpf.errors import BtfError
from ebpf.plain import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    ByteOrder = Literal["little", "big"]
else:
    ByteOrder = str

MAGIC = 0xEB9F
VERSION = 1
MINIMUM_HEADER = 24
LAYOUT_HEADER = 32  # Linux 7.1 added layout_off and layout_len
TYPE_SIZE = 12  # struct btf_type

# What find() and unpack_from() work on in place.
Data = bytes | mmap.mmap

# (bytes after struct btf_type, bytes for each of its vlen elements); linux/btf.h
KIND_LAYOUT: dict[int, tuple[int, int]] = {
    Kind.INT: (4, 0),
    Kind.PTR: (0, 0),
    Kind.ARRAY: (12, 0),
    Kind.STRUCT: (0, 12),
    Kind.UNION: (0, 12),
    Kind.ENUM: (0, 8),
    Kind.FWD: (0, 0),
    Kind.TYPEDEF: (0, 0),
    Kind.VOLATILE: (0, 0),
    Kind.CONST: (0, 0),
    Kind.RESTRICT: (0, 0),
    Kind.FUNC: (0, 0),
    Kind.FUNC_PROTO: (0, 8),
    Kind.VAR: (4, 0),
    Kind.DATASEC: (0, 12),
    Kind.FLOAT: (0, 0),
    Kind.DECL_TAG: (4, 0),
    Kind.TYPE_TAG: (0, 0),
    Kind.ENUM64: (0, 12),
}


@dataclass(frozen=True)
class Section:
    """A byte range of the data: `start` and `end` count from its first byte."""

    name: str
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class Header:
    """``struct btf_header``, its sections turned into ranges of the data."""

    byte_order: ByteOrder
    length: int
    types: Section
    strings: Section
    layout: Section

    @property
    def order(self) -> str:
        """The byte order as the struct module writes it."""
        return "<" if self.byte_order == "little" else ">"

    @property
    def swapped(self) -> bool:
        """Whether the data is in the byte order that this machine does not have."""
        return self.byte_order != sys.byteorder


def info_kind(info: int) -> int:
    # 5 bits of kind and 16 of vlen until Linux 7.1, with zeros around them; 7 and 24 since.
    return info >> 24 & 0x7F


def info_vlen(info: int) -> int:
    return info & 0xFFFFFF


def as_data(data: object) -> Data:
    """`data` itself if it is bytes or a mapping, else a copy of the buffer as bytes.

    Raises TypeError for what is no buffer.
    """
    if isinstance(data, (bytes, mmap.mmap)):
        return data
    return bytes(memoryview(data))  # type: ignore[arg-type]


def parse_header(data: Data) -> Header:
    """Reads and checks the header of `data`.

    A header longer than the known one is accepted, its rest ignored, as libbpf does. Raises
    BtfError.
    """
    if len(data) < MINIMUM_HEADER:
        raise BtfError(f"BTF header: {len(data)} bytes, a header has at least {MINIMUM_HEADER}")
    byte_order = _byte_order(data)
    order = "<" if byte_order == "little" else ">"
    fields = struct.unpack_from(order + "HBBIIIII", data)
    _, version, flags, length, type_off, type_len, str_off, str_len = fields
    if version != VERSION:
        raise BtfError(f"BTF header: version {version} at offset 2, only {VERSION} is known")
    if flags:
        raise BtfError(f"BTF header: flags {flags:#x} at offset 3, none is known")
    if not MINIMUM_HEADER <= length <= len(data):
        raise BtfError(
            f"BTF header: hdr_len {length} at offset 4 is outside "
            f"{MINIMUM_HEADER}..{len(data)} (the whole data)"
        )
    layout_off = layout_len = 0
    if length >= LAYOUT_HEADER:
        layout_off, layout_len = struct.unpack_from(order + "II", data, MINIMUM_HEADER)
    header = Header(
        byte_order,
        length,
        types=Section("type", length + type_off, length + type_off + type_len),
        strings=Section("string", length + str_off, length + str_off + str_len),
        layout=Section("layout", length + layout_off, length + layout_off + layout_len),
    )
    _check_sections(header, len(data))
    return header


def _byte_order(data: Data) -> ByteOrder:
    magic = bytes(data[:2])
    if magic == MAGIC.to_bytes(2, "little"):
        return "little"
    if magic == MAGIC.to_bytes(2, "big"):
        return "big"
    raise BtfError(f"BTF header: magic {magic.hex()} at offset 0, it is 9feb or eb9f")


def _check_sections(header: Header, size: int) -> None:
    for section in (header.types, header.layout):
        if len(section) and (section.start - header.length) % 4:
            raise BtfError(
                f"BTF {section.name} section: offset {section.start - header.length} "
                "is not a multiple of 4"
            )
    used = [s for s in (header.types, header.strings, header.layout) if len(s)]
    used.sort(key=lambda section: section.start)
    for section in used:
        if section.end > size:
            raise BtfError(
                f"BTF {section.name} section: bytes {section.start}..{section.end} "
                f"do not fit the {size} bytes of data"
            )
    for before, after in pairwise(used):
        if before.end > after.start:
            raise BtfError(
                f"BTF {after.name} section: starts at offset {after.start}, "
                f"inside the {before.name} section, which ends at {before.end}"
            )
    if len(header.layout) % 4:
        raise BtfError(f"BTF layout section: {len(header.layout)} bytes are no multiple of 4")


def parse_layout(data: Data, header: Header) -> dict[int, tuple[int, int]]:
    """``struct btf_layout`` of each kind that the data describes: {kind: (info_sz, elem_sz)}."""
    section = header.layout
    raw = data[section.start : section.end]
    # A kind has 7 bits; entries beyond cannot be referred to.
    entries = struct.iter_unpack("BBH", raw[: 4 * 128])
    return {kind: (info, element) for kind, (info, element, _) in enumerate(entries)}


def merge_layout(described: dict[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """The known kinds, and those that only the layout section describes.

    A described size that is no multiple of 4 makes its kind unusable, as libbpf has it.
    """
    usable = {k: v for k, v in described.items() if v[0] % 4 == 0 and v[1] % 4 == 0}
    return {**usable, **KIND_LAYOUT}


def index_types(
    data: Data, header: Header, layout: dict[int, tuple[int, int]], first_id: int = 1
) -> array[int]:
    """The offset of every type in the type section, in the order of their ids.

    `layout` is what merge_layout returned; `first_id` serves the messages. Raises BtfError for
    a type that does not fit the section or whose kind nothing describes.
    """
    words = _words(data, header)
    total = len(words)
    # In words, indexed by kind: one lookup per type in the loop below.
    fixed = [0] * 128
    each = [0] * 128
    for kind, (info, element) in layout.items():
        fixed[kind] = (TYPE_SIZE + info) // 4
        each[kind] = element // 4
    offsets = array("I")
    append = offsets.append
    position = 0
    last = total - TYPE_SIZE // 4
    while position <= last:
        info = words[position + 1]
        kind = info >> 24 & 0x7F
        step = fixed[kind]
        if not step:
            raise BtfError(_at(first_id + len(offsets), position, f"unknown kind {kind}"))
        append(position * 4)
        position += step + each[kind] * (info & 0xFFFFFF)
    if position * 4 != len(header.types):
        _raise_truncated(offsets, first_id, header)
    return offsets


def _words(data: Data, header: Header) -> array[int]:
    """The type section as 32-bit words; a rest of 1 to 3 bytes is left out."""
    start, end = header.types.start, header.types.end
    words = array("I")
    with memoryview(data) as view, view[start : end - (end - start) % 4] as part:
        words.frombytes(part)
    if header.swapped:
        words.byteswap()
    return words


def _at(type_id: int, position: int, problem: str) -> str:
    return f"BTF type section: type {type_id} at offset {position * 4}: {problem}"


def _raise_truncated(offsets: array[int], first_id: int, header: Header) -> None:
    last = offsets[-1] if offsets else 0
    type_id = first_id + max(len(offsets) - 1, 0)
    raise BtfError(
        f"BTF type section: type {type_id} at offset {last} or what follows it "
        f"does not fit the {len(header.types)} bytes of the section"
    )
