"""Headers, sections, symbols and relocations, against llvm-readelf and against wrong files."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ebpf.elf.reader import SHT_RELA, ElfFile
from ebpf.errors import ElfError
from ebpf.spec import CollectionSpec

from .conftest import OBJECTS, TARGETS, Compile
from .image import EXECUTABLE, LOCAL, NOBITS, PROGBITS, RELA, RETURN_0, STRTAB, Image


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", OBJECTS)
def test_readelf_finds_the_same(
    compile_bpf: Compile, readelf: Callable[[Path], dict[str, Any]], source: str, target: str
) -> None:
    """Sections, symbols or relocations in another place would be read as something else."""
    path = compile_bpf(source, target)
    theirs = readelf(path)
    file = ElfFile(path.read_bytes())
    sections = [row["Section"] for row in theirs["Sections"]]
    assert [(s.name, s.type, s.flags, s.offset, s.size, s.link, s.info) for s in file.sections] == [
        (
            *(row["Name"]["Name"], row["Type"]["Value"], row["Flags"]["Value"], row["Offset"]),
            *(row["Size"], row["Link"], row["Info"]),
        )
        for row in sections
    ]
    symbols = [row["Symbol"] for row in theirs["Symbols"]]
    assert [(s.name, s.value, s.size, s.binding, s.type, s.section) for s in file.symbols] == [
        (
            # readelf gives the symbol of a section the name of the section.
            "" if row["Type"]["Name"] == "Section" else row["Name"]["Name"],
            *(row["Value"], row["Size"], row["Binding"]["Value"], row["Type"]["Value"]),
            row["Section"]["Value"],
        )
        for row in symbols
    ]
    compared = 0
    for group in theirs["Relocations"]:
        section = file.sections[group["SectionIndex"]]
        rows = [row["Relocation"] for row in group["Relocs"]]
        expected = [(r["Offset"], r["Symbol"]["Value"], r["Type"]["Value"]) for r in rows]
        assert file.relocations(section) == sorted(expected), section.name
        compared += len(rows)
    assert compared


def refused(data: bytes, words: str) -> None:
    with pytest.raises(ElfError, match=words):
        CollectionSpec.from_bytes(data)


def test_the_file_is_named(tmp_path: Path) -> None:
    """Of many objects that are loaded, one cannot tell which is the bad one."""
    path = tmp_path / "bad.o"
    path.write_bytes(b"\0\1\2\3")
    with pytest.raises(ElfError) as caught:
        CollectionSpec.from_file(path)
    assert str(caught.value).startswith(f"{path}: ELF header: starts with")
    assert "text" not in str(caught.value)


def test_what_is_no_bpf_object() -> None:
    """Another kind of file must be named for what it is, not fail somewhere inside."""
    good = Image().build()
    refused(b"", "starts with b''")
    refused(b"#!/bin/sh\n", "not with")
    refused(b"#include <linux/bpf.h>\n", "this is text: clang -target bpf -O2 -g -c makes")
    refused(good[:18] + b"\x3e" + good[19:], "machine 62;.* as clang -target bpf")
    refused(good[:-100], "the file is truncated")
    refused(good[:40], "40 bytes, a header has 64")
    refused(good[:4] + b"\1" + good[5:], "class 1.*64-bit")
    refused(good[:5] + b"\3" + good[6:], "byte order 3")
    refused(good[:6] + b"\2" + good[7:], "version 2")
    refused(Image().build(kind=2), "type 2, machine 247")
    refused(Image().build(machine=62), "machine 62")
    assert CollectionSpec.from_bytes(Image().build(machine=0)).programs == {}


def test_every_truncation_is_refused() -> None:
    """A file that was cut anywhere must not be taken for a whole one."""
    image = Image()
    image.symbol("program", image.code(), 0, 16)
    data = image.build()
    assert list(CollectionSpec.from_bytes(data).programs) == ["program"]
    for size in range(len(data)):
        refused(data[:size], "ELF")


def test_sections_outside_of_the_file() -> None:
    """Their bytes would be read from nowhere."""
    image = Image()
    image.section(".data", PROGBITS, b"1234", size=1 << 40)
    refused(image.build(), r"section 1 '.data': bytes .* do not fit")


def test_sections_that_overlap() -> None:
    """Copies of many sections over the same bytes would take any amount of memory."""
    image = Image()
    image.section(".data", PROGBITS, bytes(4000))
    data = bytearray(image.build())
    start = struct.unpack_from("<Q", data, 40)[0]
    for number in (2, 3):
        offset, size = struct.unpack_from("<QQ", data, start + 64 + 24)
        struct.pack_into("<IQQQQ", data, start + 64 * number + 4, 1, 0, 0, offset, size)
    with pytest.raises(ElfError):
        CollectionSpec.from_bytes(bytes(data))


def test_a_large_bss_takes_no_memory() -> None:
    """A section without bytes in the file may claim 4 GiB; it must not be allocated to parse."""
    image = Image()
    section = image.section(".bss", NOBITS, size=0xFFFFFFF8)
    image.symbol("huge", section, 8, 0xFFFFFF00, 1)
    spec = CollectionSpec.from_bytes(image.build())
    assert spec.maps[".bss"].value_size == 0xFFFFFFF8
    assert spec.maps[".bss"].contents is None
    image = Image()
    image.section(".bss", NOBITS, size=1 << 32)
    refused(image.build(), "4294967296 bytes")


def test_names_that_do_not_end() -> None:
    """A name without its NUL would run on into whatever follows."""
    image = Image()
    image.section("x", STRTAB, b"abc")
    data = bytearray(image.build())
    start, count = struct.unpack_from("<Q", data, 40)[0], struct.unpack_from("<H", data, 60)[0]
    struct.pack_into("<I", data, start + 64, 0xFFFFFF)
    refused(bytes(data), f"section {count - 1} .*offset 0xffffff: no name that ends")


def test_names_inside_of_each_other_take_no_quadratic_time() -> None:
    """300,000 names in one string of 300,000 bytes are 45 GB of characters."""
    image = Image()
    image.code()
    image.names += b"a" * 300_000 + b"\0"
    rows = (struct.pack("<IBBHQQ", i, 2, 0, 1, 0, 16) for i in range(1, 300_000))
    image.symbols += b"".join(rows)
    refused(image.build(), "over and over")


def test_many_names_of_one_function_take_no_quadratic_time() -> None:
    """An object may repeat a symbol; if the n-th cost n times as much, this would hang."""
    image = Image()
    section = image.code(data=RETURN_0 * 500)
    image.symbol("same", section, 0, 16 * 500)
    image.symbols += image.symbols[-24:] * 20_000
    spec = CollectionSpec.from_bytes(image.build())
    assert len(spec.functions) == 20_001
    assert {id(function.code) for function in spec.functions.values()} == {
        id(spec.functions["same"].code)
    }


def test_relocations_with_addends_are_refused() -> None:
    """RELA has the addend elsewhere: read as REL, code would refer to wrong places."""
    image = Image()
    code = image.code()
    image.symbol("program", code, 0, 16)
    image.section(".rela", RELA, bytes(24), info=code, each=24)
    assert SHT_RELA == RELA
    refused(image.build(), "RELA")


def test_compressed_sections_are_refused() -> None:
    """Compressed bytes are no data; and decompressing them needs memory that nothing bounds."""
    image = Image()
    image.section(".data", PROGBITS, b"12345678", flags=0x800)
    refused(image.build(), "'.data': compressed")


def test_two_symbol_tables_and_none() -> None:
    """Indices of symbols mean nothing with two tables, and with none nothing has a name."""
    image = Image()
    image.section("more", 2, bytes(24), link=3, each=24)
    refused(image.build(), "second symbol table")
    data = bytearray(Image().build())
    start = struct.unpack_from("<Q", data, 40)[0]
    struct.pack_into("<I", data, start + 64 + 4, 1)
    refused(bytes(data), "stripped")


def test_indices_beyond_the_last() -> None:
    """Each number that refers to a section or symbol must be checked."""
    image = Image()
    image.symbol("lost", 77, 0, 8)
    refused(image.build(), "symbol 1 in section 77, the last is 2")
    image = Image()
    code = image.code()
    image.symbol("program", code, 0, 16)
    image.relocations(code, (0, 99, 1))
    refused(image.build(), "symbol 99, the last is 1")
    image = Image()
    image.symbol("program", image.code(), 0, 16)
    image.relocations(55, (0, 0, 1))
    refused(image.build(), "relocates section 55")


def test_more_sections_than_16_bits_count() -> None:
    """Past 65,279 sections the counts are in the first section header, and symbols' elsewhere."""
    image = Image()
    for _ in range(66_000):
        image.section("", PROGBITS)
    code = image.code("socket")
    image.symbol("program", 0xFFFF, 0, 16)
    wide = struct.pack("<II", 0, code)
    table = image.section(".symtab_shndx", 18, wide, each=4)
    image.rows[table] = (*image.rows[table][:5], len(image.rows), 0, 4)
    spec = CollectionSpec.from_bytes(image.build())
    assert list(spec.programs) == ["program"]
    assert spec.functions["program"].code == RETURN_0


def test_a_static_function_is_no_program() -> None:
    """The kernel cannot be asked to run what has no name outside of the object."""
    image = Image()
    section = image.section("socket", PROGBITS, RETURN_0 * 2, flags=EXECUTABLE)
    image.symbol("inner", section, 0, 16, bind=LOCAL)
    image.symbol("program", section, 16, 16)
    spec = CollectionSpec.from_bytes(image.build())
    assert list(spec.programs) == ["program"]
    assert list(spec.functions) == ["inner", "program"]
