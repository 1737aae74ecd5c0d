"""Headers, sections, and where types begin."""

from __future__ import annotations

import mmap
import struct

import pytest

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.errors import BtfError

from .blob import KINDS, Blob

ELEMENTS = {"STRUCT": 3, "UNION": 3, "ENUM": 2, "FUNC_PROTO": 2, "DATASEC": 3, "ENUM64": 3}
EXTRA = {"INT": 1, "ARRAY": 3, "VAR": 1, "DECL_TAG": 1}


def with_every_kind(order: str) -> Blob:
    blob = Blob(order)
    for kind in KINDS[1:]:
        vlen = 2 if kind in ELEMENTS else 0
        blob.add(kind, kind, 0, *[0] * (EXTRA.get(kind, 0) + 2 * ELEMENTS.get(kind, 0)), vlen=vlen)
    return blob


def field(data: bytes, offset: int, value: int, format: str = "<I") -> bytes:
    """`data` with one header field replaced."""
    copy = bytearray(data)
    struct.pack_into(format, copy, offset, value)
    return bytes(copy)


@pytest.mark.parametrize("order", ["<", ">"])
def test_each_kind_has_the_extent_of_the_format(order: str) -> None:
    """Fails when the size of a kind is wrong: the types after it would not be found."""
    btf = Btf(with_every_kind(order).build())
    assert [type.name for type in btf.types()] == KINDS[1:]
    assert [type.kind.name for type in btf.types()] == KINDS[1:]


@pytest.mark.parametrize("length", [24, 28, 32, 40, 100])
def test_hdr_len_decides_where_the_sections_begin(length: int) -> None:
    """Fails when a header longer than the known one moves nothing, as on Linux 7.1."""
    blob = Blob()
    blob.integer("u64", 8)
    assert Btf(blob.build(length)).find("u64").id == 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_layout_section_describes_kinds_of_the_future(order: str) -> None:
    """Fails when a kind above 31 with more than 65535 elements is not skipped (Linux 7.1, 7.2)."""
    blob = Blob(order)
    blob.add(99, "future", 7, 1, *[2, 3] * 70000, vlen=70000, flag=True)
    blob.integer("after")
    layout = bytearray(4 * 100)
    layout[4 * 99 : 4 * 99 + 2] = bytes([4, 8])
    btf = Btf(blob.build(32, bytes(layout)))
    future = btf.type(1)
    assert isinstance(future, t.Unknown)
    assert (future.kind_number, future.vlen, future.kind_flag) == (99, 70000, True)
    assert (future.size_or_type, future.name) == (7, "future")
    assert future.body[:12] == struct.pack(order + "III", 1, 2, 3)
    assert btf.find("after").id == 2


def test_the_layout_of_the_base_serves_split_btf() -> None:
    """Fails when a module needs its own layout section."""
    base = Blob()
    base.integer()
    split = Blob(base=base)
    split.add(40, "future", 0, 1, 2)
    layout = bytes(4 * 40) + bytes([8, 0, 0, 0])
    kernel = Btf(base.build(32, layout))
    assert Btf(split.build(), base=kernel).type(2).name == "future"


def test_a_known_kind_keeps_its_size_whatever_the_layout_says() -> None:
    """Fails when a layout section can move the members of the known kinds."""
    blob = Blob()
    blob.integer("a")
    blob.integer("b")
    layout = bytes([4, 0, 0, 0]) + bytes([16, 4, 0, 0])
    assert Btf(blob.build(32, layout)).find("b").id == 2


@pytest.mark.parametrize("kind", [0, 20, 127])
def test_a_kind_that_nothing_describes_is_refused(kind: int) -> None:
    """Fails when types are guessed at after one of unknown size."""
    blob = Blob()
    blob.integer()
    blob.add(kind)
    with pytest.raises(BtfError, match=f"type section: type 2 at offset 16: unknown kind {kind}"):
        Btf(blob.build())


HEADER_ERRORS = [
    (0, 0x1234, "<H", "header: magic 3412 at offset 0"),
    (2, 2, "<B", "header: version 2 at offset 2"),
    (3, 1, "<B", "header: flags 0x1 at offset 3"),
    (4, 23, "<I", "header: hdr_len 23 at offset 4"),
    (4, 10000, "<I", "header: hdr_len 10000 at offset 4"),
    (8, 2, "<I", "type section: offset 2 is not a multiple of 4"),
    (12, 0xFFFFFFFF, "<I", "type section: bytes 24..4294967319 do not fit"),
    (12, 12, "<I", "type section: type 1 at offset 0 .*does not fit the 12 bytes"),
    (12, 15, "<I", "type section: type 1 at offset 0 .*does not fit the 15 bytes"),
    (16, 0, "<I", "section: starts at offset 24, inside the"),
    (16, 0xFFFFFFFF, "<I", "string section: bytes .* do not fit"),
    (20, 0, "<I", "string section: empty"),
    (20, 4, "<I", "string section: the last byte, at offset 3, is not NUL"),
]


@pytest.mark.parametrize(("offset", "value", "format", "message"), HEADER_ERRORS)
def test_a_wrong_header_field_is_named(offset: int, value: int, format: str, message: str) -> None:
    """Fails when a header field is used unchecked, or the message does not say which it was."""
    blob = Blob()
    blob.integer("u32")
    with pytest.raises(BtfError, match=message):
        Btf(field(blob.build(), offset, value, format))


LAYOUT_ERRORS = [
    (24, 18, "layout section: offset 18 is not a multiple of 4"),
    (24, 0, "layout section: starts at offset 32, inside the type section"),
    (28, 3, "layout section: 3 bytes are no multiple of 4"),
    (28, 0xFFFFFFFC, "layout section: bytes .* do not fit"),
]


@pytest.mark.parametrize(("offset", "value", "message"), LAYOUT_ERRORS)
def test_a_wrong_layout_section_is_named(offset: int, value: int, message: str) -> None:
    """Fails when the layout fields of a 32-byte header are used unchecked."""
    blob = Blob()
    blob.integer("u32")
    blob.integer("u8")
    data = blob.build(32, bytes(8))
    with pytest.raises(BtfError, match=message):
        Btf(field(data, offset, value))


@pytest.mark.parametrize("data", [b"", b"\x9f\xeb", bytes(23)])
def test_data_shorter_than_a_header_is_refused(data: bytes) -> None:
    """Fails when bytes outside the data are asked for."""
    with pytest.raises(BtfError, match=f"header: {len(data)} bytes"):
        Btf(data)


def test_every_kind_of_buffer_is_taken() -> None:
    """Fails when data has to be bytes; a mapping is used in place, others are copied."""
    blob = Blob()
    blob.integer("u16", 2)
    data = blob.build()
    with mmap.mmap(-1, len(data)) as mapping:
        mapping[:] = data
        for buffer in (bytearray(data), memoryview(data), mapping):
            assert Btf(buffer).find("u16").name == "u16"
    with pytest.raises(TypeError):
        Btf("text")


def test_an_index_that_is_handed_over_replaces_the_pure_one() -> None:
    """Fails when the index of the C core is not used, or one of another format is accepted."""
    blob = Blob()
    blob.integer("first")
    blob.integer("second")
    data = blob.build()
    only_second = memoryview(struct.pack("I", 16)).cast("I")
    assert Btf(data, only_second).type(1).name == "second"
    with pytest.raises(TypeError, match="index"):
        Btf(data, memoryview(bytes(16)))


@pytest.mark.parametrize("offset", [20, 1000, 0xFFFFFFFF])
def test_a_wrong_index_cannot_leave_the_section(offset: int) -> None:
    """Fails when an offset of the index is used unchecked."""
    blob = Blob()
    blob.integer("first")
    blob.integer("second")
    index = memoryview(struct.pack("I", offset)).cast("I")
    with pytest.raises(BtfError, match="type 1 at offset"):
        Btf(blob.build(), index).type(1)
