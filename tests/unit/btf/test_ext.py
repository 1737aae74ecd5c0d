"""`.BTF.ext`: what llvm-objdump reads in the same objects, other record sizes, hostile input."""

from __future__ import annotations

import contextlib
import re
import struct
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.ext import BtfExt, CoreKind, SectionInfo
from ebpf.errors import BtfError

from .blob import Blob
from .conftest import tool
from .core.support import SOURCES, Compiled, compile_c

# As llvm-objdump calls them.
NAMES = ["byte_off", "byte_sz", "field_exists", "signed", "lshift_u64", "rshift_u64"]
NAMES += ["local_type_id", "target_type_id", "type_exists", "type_size"]
NAMES += ["enumval_exists", "enumval_value", "type_matches"]

RELOCATION = re.compile(r"^\s+([0-9a-f]{16}):\s+CO-RE <(\w+)> \[(\d+)\].*?(?:\(([\d:]+)\))?$", re.M)
FUNCTION = re.compile(r"^([0-9a-f]{16}) <(\w+)>:$", re.M)
LINE = re.compile(r"; (\S+):(\d+)")
INSTRUCTION = re.compile(r"\s+(\d+):\t")


@pytest.fixture(scope="module", params=["bpfel", "bpfeb"])
def compiled(
    request: pytest.FixtureRequest, clang: str, tmp_path_factory: pytest.TempPathFactory
) -> Compiled:
    output = tmp_path_factory.mktemp("ext") / "local.o"
    return compile_c(clang, SOURCES / "core_local.bpf.c", output, request.param)


@pytest.fixture(scope="module")
def listing(compiled: Compiled) -> str:
    """llvm-objdump's reading of .BTF.ext: without DWARF it takes the lines from there."""
    versions = range(24, 17, -1)  # the first that knows relocations is 18
    stripped = compiled.path.with_suffix(".stripped")
    strip = tool(*(f"llvm-strip-{version}" for version in versions))
    subprocess.run([strip, "-g", str(compiled.path), "-o", str(stripped)], check=True)
    objdump = tool(*(f"llvm-objdump-{version}" for version in versions))
    command = [objdump, "-d", "-r", "-l", "--no-show-raw-insn", str(stripped)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def section(compiled: Compiled) -> SectionInfo:
    assert compiled.ext is not None
    return compiled.ext.sections["socket"]


def test_relocations_are_what_llvm_reads(compiled: Compiled, listing: str) -> None:
    """Fails when the instruction, type, path or kind of a relocation is read wrongly."""
    found = [
        (r.insn_offset, NAMES[r.kind], r.type_id, r.access_string)
        for r in section(compiled).relocations
    ]
    expected = [
        (int(offset, 16), kind, int(type_id), access)
        for offset, kind, type_id, access in RELOCATION.findall(listing)
    ]
    assert len(expected) > 250
    # llvm writes no path after a whole type, and the name of an enumerator after its own.
    whole = [(*row[:3], row[3] or own[3]) for row, own in zip(expected, found, strict=True)]
    assert found == whole
    assert sum(1 for row in expected if row[3]) > 150


def test_functions_are_those_of_the_symbol_table(compiled: Compiled, listing: str) -> None:
    """Fails when a function's start or type is read wrongly."""
    found = [
        (info.insn_offset, compiled.btf.type(info.type_id).name)
        for info in section(compiled).functions
    ]
    assert found == [(int(offset, 16), name) for offset, name in FUNCTION.findall(listing)]
    assert all(isinstance(compiled.btf.type(i), t.Func) for _, i in section(compiled).functions)


def test_lines_are_what_llvm_reads(compiled: Compiled, listing: str) -> None:
    """Fails when the file, line or text of an instruction is read wrongly."""
    source = (SOURCES / "core_local.bpf.c").read_text().splitlines()
    name, number, compared = "", 0, 0
    for shown in listing.splitlines():
        if match := LINE.fullmatch(shown):
            name, number = match[1], int(match[2])
        elif match := INSTRUCTION.match(shown):
            line = section(compiled).line_at(8 * int(match[1]))
            assert line is not None
            assert (line.file_name, line.line) == (name, number), shown
            assert line.line_text == source[number - 1]
            compared += 1
    assert compared > 500
    assert len({line.line for line in section(compiled).lines}) > 50


def test_lines_say_the_column() -> None:
    """Fails when the ten bits of the column are taken for a part of the line."""
    btf, data = sample()
    line = BtfExt(data, btf).sections["socket"].lines[1]
    assert (line.line, line.column, line.insn_offset) == (77, 5, 16)
    assert (line.file_name, line.line_text) == ("a.c", "return 0;")


def test_instructions_before_the_first_line_have_none() -> None:
    """Fails when an instruction is said to come from a line that begins after it."""
    btf, data = sample(first_line=8)
    section = BtfExt(data, btf).sections["socket"]
    assert section.line_at(0) is None
    line = section.line_at(8)
    assert line is not None
    assert line.line == 76


def sample(
    order: str = "<",
    *,
    sizes: tuple[int, int, int] = (8, 16, 16),
    header: int = 32,
    first_line: int = 0,
    insn: int = 8,
    core: bool = True,
    names: tuple[str, str] = ("socket", "xdp"),
) -> tuple[Btf, bytes]:
    """BTF of one struct, and .BTF.ext of two sections with records of these sizes."""
    blob = Blob(order)
    number = blob.integer()
    struct_id = blob.struct("s", 4, ("x", number, 0))
    sections = [blob.string(name) for name in names]
    access = blob.string("0:0")
    file, text = blob.string("a.c"), blob.string("return 0;")
    records = [
        [(0, 3), (8, 4)],
        [(first_line, file, text, 76 << 10 | 1), (16, file, text, 77 << 10 | 5)],
        [(insn, struct_id, access, 0), (24, struct_id, access, 2)],
    ]
    parts = []
    for size, rows in zip(sizes, records, strict=True):
        part = struct.pack(order + "I", size)
        for name in sections:
            part += struct.pack(order + "II", name, len(rows))
            for row in rows:
                part += struct.pack(f"{order}{len(row)}I", *row).ljust(size, b"\xee")[:size]
        parts.append(part)
    if not core:
        parts.pop()
    ranges = []
    position = 0
    for part in parts:
        ranges += [position, len(part)]
        position += len(part)
    head = struct.pack(f"{order}HBBI{len(ranges)}I", 0xEB9F, 1, 0, header, *ranges)
    return Btf(blob.build()), head.ljust(header, b"\xee") + b"".join(parts)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("header", [32, 40])
@pytest.mark.parametrize("sizes", [(8, 16, 16), (12, 24, 20)])
def test_longer_headers_and_records_are_read_by_their_own_sizes(
    order: str, header: int, sizes: tuple[int, int, int]
) -> None:
    """Fails when sizes are assumed: a newer compiler's records would be read at wrong offsets."""
    btf, data = sample(order, sizes=sizes, header=header)
    ext = BtfExt(data, btf)
    assert list(ext.sections) == ["socket", "xdp"]
    for name, section in ext.sections.items():
        assert section.functions == [(0, 3), (8, 4)]
        assert [line.line for line in section.lines] == [76, 77]
        assert section.relocations == [
            (8, 2, "0:0", CoreKind.FIELD_BYTE_OFFSET, name),
            (24, 2, "0:0", CoreKind.FIELD_EXISTS, name),
        ]
        assert section.line_records.size == sizes[1]
        assert len(section.line_records.data) == 2 * sizes[1]


def test_a_header_without_relocations_is_complete() -> None:
    """Fails when objects of compilers before CO-RE are refused."""
    btf, data = sample(header=24, core=False)
    section = BtfExt(data, btf).sections["xdp"]
    assert section.relocations == []
    assert len(section.functions) == 2


def test_sections_of_one_name_are_joined() -> None:
    """Fails when a linker's second part for a section replaces the first."""
    btf, data = sample(names=("socket", "socket"))
    section = BtfExt(data, btf).sections["socket"]
    assert section.functions == [(0, 3), (8, 4)] * 2
    assert [r.insn_offset for r in section.relocations] == [8, 24, 8, 24]


def test_a_part_may_have_no_records() -> None:
    """Fails when objects of old compilers are refused: they have the size of records alone."""
    btf = Btf(Blob().build())
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 4, 4, 4)
    assert BtfExt(header + struct.pack("<II", 8, 16), btf).sections == {}


@pytest.mark.parametrize("part", [0, 1, 2])
def test_smaller_records_are_refused(part: int) -> None:
    """Fails when records are read past their end."""
    sizes = [8, 16, 16]
    sizes[part] -= 4
    btf, data = sample(sizes=(sizes[0], sizes[1], sizes[2]))
    name = ("func_info", "line_info", "core_relo")[part]
    with pytest.raises(BtfError, match=rf"{name} at offset \d+: record size {sizes[part]}"):
        BtfExt(data, btf)


def test_offsets_inside_an_instruction_are_refused() -> None:
    """Fails when a relocation could patch the middle of an instruction."""
    btf, data = sample(insn=12)
    with pytest.raises(BtfError, match=r"core_relo at offset \d+: instruction offset 12"):
        _ = BtfExt(data, btf).sections["socket"].relocations


BROKEN = {
    "magic": (0, b"\x00\x00", "header: magic 0000 at offset 0"),
    "version": (2, b"\x02", "header: version 2 at offset 2"),
    "flags": (3, b"\x01", "header: flags 0x1 at offset 3"),
    "short header": (4, b"\x08", "header: hdr_len 8 at offset 4"),
    "long header": (4, b"\xff\xff", "header: hdr_len 65535 at offset 4"),
    "unaligned": (8, b"\x02", "func_info at offset 34: offset 2"),
    "outside": (8, b"\x00\x10", "func_info at offset 4128"),
    "too long": (12, b"\x00\x10", "func_info at offset 32: 4096 bytes"),
    "no count": (40, b"\x00", "func_info at offset 36: 0 records of 8 bytes"),
    "count": (40, b"\xff\xff\xff\xff", "func_info at offset 36: 4294967295 records of 8 bytes"),
    "name": (36, b"\xff\xff", "func_info at offset 36: BTF string section: offset 65535"),
    "no name": (36, b"\x00", "func_info at offset 36: a section without a name"),
}


@pytest.mark.parametrize(("at", "put", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_malformed_is_named_with_its_offset(at: int, put: bytes, message: str) -> None:
    """Fails when a malformed section is read as something, or refused without saying where."""
    btf, data = sample()
    BtfExt(data, btf)
    broken = data[:at] + put + data[at + len(put) :]
    with pytest.raises(BtfError, match=re.escape(f".BTF.ext {message}")):
        BtfExt(broken, btf)


def test_the_byte_order_has_to_be_that_of_the_types() -> None:
    """Fails when records are read with names of another file's strings."""
    _, data = sample(">")
    with pytest.raises(BtfError, match="big-endian, but btf is little-endian"):
        BtfExt(data, sample("<")[0])


WORDS = st.sampled_from([0, 1, 4, 8, 12, 16, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF])


@settings(max_examples=500, deadline=None)
@given(data=st.data(), order=st.sampled_from("<>"))
def test_mutated_data_gives_records_or_a_btf_error(data: st.DataObject, order: str) -> None:
    """Fails when hostile data raises anything else, or records lie outside of it."""
    btf, good = sample(order)
    bad = bytearray(good)
    for _ in range(data.draw(st.integers(1, 6))):
        at = 4 * data.draw(st.integers(0, len(bad) // 4 - 1))
        bad[at : at + 4] = struct.pack(order + "I", data.draw(WORDS))
    end = data.draw(st.integers(0, len(bad)) | st.just(len(bad)))
    try:
        ext = BtfExt(bytes(bad[:end]), btf)
    except BtfError:
        return
    for section in ext.sections.values():
        total = 0
        for records in (
            section.function_records,
            section.line_records,
            section.relocation_records,
        ):
            total += len(records.data)
        assert total <= end
        for read in (lambda s: s.functions, lambda s: s.lines, lambda s: s.relocations):
            with contextlib.suppress(BtfError):
                read(section)


def test_many_parts_of_one_section_take_linear_time() -> None:
    """Fails when joining parts copies them again for each: this would take minutes."""
    btf, _ = sample()
    name = btf.strings.entries("socket")[0]
    count = 200_000
    part = struct.pack("<I", 8) + struct.pack("<IIII", name, 1, 8, 3) * count
    head = struct.pack("<HBBI4I", 0xEB9F, 1, 0, 24, 0, len(part), len(part), 0)
    section = BtfExt(head + part, btf).sections["socket"]
    assert len(section.function_records) == count


def test_a_kind_that_is_unknown_keeps_its_number() -> None:
    """Fails when an object of a newer compiler cannot even be listed."""
    btf, data = sample()
    at = data.rindex(struct.pack("<I", 2))
    changed = data[:at] + struct.pack("<I", 99) + data[at + 4 :]
    assert BtfExt(changed, btf).sections["xdp"].relocations[1].kind == 99
