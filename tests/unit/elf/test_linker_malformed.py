"""Damaged objects between others: errors that name them, and nothing worse."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpf.elf.linker import link
from ebpf.elf.reader import ElfFile
from ebpf.errors import BtfError, ElfError, FormatError, LinkError
from ebpf.spec import CollectionSpec

from .test_malformed import damage


def test_a_malformed_object_is_named(link_paths: tuple[Path, ...]) -> None:
    """Among twenty files it matters which one is damaged."""
    first, second = (path.read_bytes() for path in link_paths)
    with pytest.raises(ElfError, match=r"^second.o: ELF header"):
        link([("first.o", first), ("second.o", second[4:])])
    where = second.index(bytes.fromhex("9feb" if second[5] == 1 else "eb9f"))
    broken = second[:where] + b"\0" + second[where + 1 :]
    with pytest.raises(BtfError, match=r"^second.o: BTF header"):
        link([("first.o", first), ("second.o", broken)])


def alignments(data: bytes) -> list[int]:
    """Where in the file the alignment of each section stands."""
    order = "<" if data[5] == 1 else ">"
    (start,) = struct.unpack_from(order + "Q", data, 40)
    (count,) = struct.unpack_from(order + "H", data, 60)
    return [start + 64 * number + 48 for number in range(count)]


@pytest.mark.parametrize("alignment", [3, 1 << 30, 1 << 63])
def test_alignments_are_checked(link_paths: tuple[Path, ...], alignment: int) -> None:
    """An alignment is a number in the file: padding to it may take all memory."""
    data = bytearray(link_paths[1].read_bytes())
    order = "<" if data[5] == 1 else ">"
    for at in alignments(bytes(data)):
        struct.pack_into(order + "Q", data, at, alignment)
    with pytest.raises(LinkError, match=r"^b.o: section '.text': .*(align|bytes with that of a.o)"):
        link([("a.o", link_paths[0].read_bytes()), ("b.o", bytes(data))])


def with_symbol(data: bytes, name: str, changed: dict[str, int]) -> bytes:
    """`data` with other fields in the symbol `name`."""
    order = "<" if data[5] == 1 else ">"
    row = struct.Struct(order + "IBBHQQ")
    elf = ElfFile(data)
    table = next(section for section in elf.sections if section.type == 2)
    number = next(symbol.number for symbol in elf.symbols if symbol.name == name)
    fields = ("name", "info", "other", "section", "value", "size")
    made = bytearray(data)
    at = table.offset + 24 * number
    known = dict(zip(fields, row.unpack_from(made, at), strict=True))
    row.pack_into(made, at, *(known | changed).values())
    return bytes(made)


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("hits", {"value": 2**64 - 1}, "'hits': at offset 0xffffffffffffffff of a section"),
        ("limit", {"info": 0xA1}, "'limit': binding 10"),
        ("limit", {"section": 0xFFF2}, "'limit': in special section 0xfff2.*-fno-common"),
        ("in_main_only", {"info": 0x13}, "'in_main_only': a global symbol that is none of"),
        ("in_main_only", {"info": 0x00}, "'in_main_only': a local symbol that nothing defines"),
        ("limit", {"name": 0}, "symbol .*: a global symbol that is none"),
    ],
)
def test_symbols_that_no_compiler_makes(
    link_paths: tuple[Path, ...], name: str, changed: dict[str, int], message: str
) -> None:
    """A number that does not fit the output, or a place that nothing was put at."""
    first, second = (path.read_bytes() for path in link_paths)
    with pytest.raises(LinkError, match=f"^b.o: {message}"):
        link([("a.o", first), ("b.o", with_symbol(second, name, changed))])


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_objects_raise_format_errors_only(
    link_paths: tuple[Path, ...], data: st.DataObject
) -> None:
    """A linker that is given a damaged file must not crash, nor hang."""
    whole = [path.read_bytes() for path in link_paths]
    number = data.draw(st.integers(0, 1))
    whole[number] = data.draw(damage(whole[number]))
    try:
        made = link([("a.o", whole[0]), ("b.o", whole[1])])
        CollectionSpec.from_bytes(made)
    except FormatError:
        pass
