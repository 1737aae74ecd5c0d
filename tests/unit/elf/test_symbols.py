"""Symbols of executables and libraries, against readelf, the dynamic loader and wrong files."""

from __future__ import annotations

import contextlib
import ctypes
import random
import re
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpf.elf.image import ET_DYN, ET_REL, ElfImage, ImageSection
from ebpf.elf.symbols import (
    ElfSymbol,
    FunctionIndex,
    find_symbols,
    symbol_offset,
    symbol_tables,
)
from ebpf.errors import ElfError

from .conftest import compilers, tool

SOURCE = """
__attribute__((noinline)) static int hidden_one(int x) { return x * 3 + 1; }
int first(int x) { return hidden_one(x) ^ 0x1234; }
int second_old(int x) { return hidden_one(x) - 99; }
int second_new(int x) { return hidden_one(x) + 77; }
int weak_one(int x) __attribute__((weak));
int weak_one(int x) { return x / 7; }
extern int also_first(int x) __attribute__((alias("first")));
int counter = 5;
int zeros[100];
__asm__(".symver second_old, second@V1\\n.symver second_new, second@@V2");
"""
VERSIONS = """
V1 { global: first; also_first; weak_one; counter; zeros; };
V2 { } V1;
"""

TYPES = {"NOTYPE": 0, "OBJECT": 1, "FUNC": 2, "SECTION": 3, "FILE": 4, "COMMON": 5, "TLS": 6}
TYPES |= {"IFUNC": 10}
BINDINGS = {"LOCAL": 0, "GLOBAL": 1, "WEAK": 2, "UNIQUE": 10}
VISIBILITIES = {"DEFAULT": 0, "INTERNAL": 1, "HIDDEN": 2, "PROTECTED": 3}
# Number, value, size, type, binding, visibility, [what the machine adds], section, name.
ROW = re.compile(
    r" *\d+: ([0-9a-f]+) +(0x[0-9a-f]+|\d+) (\w+) +(\w+) +(\w+) +(?:\[.*?\] +)?(\w+) ?(.*)$"
)
PLACES = {"UND": 0, "ABS": 0xFFF1, "COM": 0xFFF2}


def libc() -> Path:
    """The C library that this process runs with."""
    maps = Path("/proc/self/maps").read_text()
    match = re.search(r"(/\S*/(?:libc\.so\S*|ld-musl\S*))$", maps, re.MULTILINE)
    assert match is not None
    return Path(match[1])


def libraries() -> list[Path]:
    """Real files of several machines: the interpreter, its C library, those of cross compilers."""
    foreign = sorted(Path("/usr").glob("*-linux-gnu*/lib/libc.so.6"))
    return [Path(sys.executable).resolve(), libc(), *foreign]


def readelf(*arguments: str) -> str:
    return subprocess.run(
        [tool("readelf"), "--wide", *arguments], check=True, capture_output=True, text=True
    ).stdout


def their_symbols(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Table -> (value, size, type, binding, visibility, section, name, version, default)."""
    tables: dict[str, list[tuple[object, ...]]] = {}
    for line in readelf("--symbols", str(path)).splitlines():
        head = re.match(r"Symbol table '(.*)' contains", line)
        if head:
            table = head[1]
            rows = tables.setdefault(table, [])
        row = ROW.match(line)
        if row is None:
            continue
        kind, binding, visibility, place = TYPES[row[3]], BINDINGS[row[4]], row[5], row[6]
        name, at, version = row[7].strip(), "", ""
        # In .symtab it is a part of the name.
        if table == ".dynsym":
            name, at, version = name.partition("@")
        number = PLACES.get(place)
        section = int(place) if number is None else number
        default = not at or version.startswith("@") or section == 0
        version = version.removeprefix("@").partition(" ")[0]
        rows.append(
            (
                *(int(row[1], 16), int(row[2], 0), kind, binding, VISIBILITIES[visibility]),
                *(section, name, version or None, default),
            )
        )
    return tables


def our_symbols(image: ElfImage) -> dict[str, list[tuple[object, ...]]]:
    tables: dict[str, list[tuple[object, ...]]] = {}
    for table in symbol_tables(image):
        tables[table.name] = [
            (
                *(s.value, s.size, s.type, s.binding, s.visibility, s.section),
                # readelf gives the symbol of a section the name of the section.
                image.sections[s.section].name if s.type == 3 else s.name,
                # It leaves out the version of the symbol that stands for that version.
                *(None if s.version == s.name else s.version, s.default or not s.defined),
            )
            for s in table
        ]
    return tables


@pytest.mark.parametrize("path", libraries(), ids=str)
def test_readelf_finds_the_same_in_real_files(path: Path) -> None:
    """Names, values and versions of a whole C library, in every byte order that is at hand."""
    with ElfImage.open(path) as image:
        assert image.type in (2, 3)
        ours, theirs = our_symbols(image), their_symbols(path)
        assert ours == theirs
        assert sum(map(len, ours.values())) > 10
        said = re.search(r"Build ID: ([0-9a-f]+)", readelf("--notes", str(path)))
        assert (image.build_id or b"").hex() == (said[1] if said else "")
        said = re.search(r"Library soname: \[(.*)\]", readelf("--dynamic", str(path)))
        assert image.soname == (said[1] if said else None)


# A machine -> what clang calls the part of itself that makes code for it.
MACHINES = {"i386": "x86", "mips": "mips", "mipsel": "mipsel", "armv7": "arm"}
MACHINES |= {"s390x": "systemz", "aarch64": "aarch64"}


@pytest.mark.parametrize("target", MACHINES)
def test_readelf_finds_the_same_in_objects_of_every_class_and_order(
    target: str, tmp_path: Path
) -> None:
    """Fields of 32-bit files lie elsewhere, and those of big-endian ones the other way round."""
    clang = tool(*reversed(compilers()))
    there = subprocess.check_output([clang, "-print-targets"], text=True)
    if f" {MACHINES[target]} " not in there:
        pytest.skip(f"{clang} has no {target}")
    (tmp_path / "code.c").write_text(SOURCE.partition("__asm__")[0])
    path = tmp_path / "code.o"
    thumb = ["-mthumb"] if target == "armv7" else []
    subprocess.run(
        [
            clang,
            f"--target={target}-linux-gnu",
            *thumb,
            "-O1",
            "-c",
            tmp_path / "code.c",
            "-o",
            path,
        ],
        check=True,
    )
    with ElfImage.open(path) as image:
        assert image.type == ET_REL
        assert our_symbols(image) == their_symbols(path)
        (symbol,) = (s for s in find_symbols(image, "first"))
        text = next(s for s in image.sections if s.number == symbol.section)
        address = symbol.value & ~1 if target == "armv7" else symbol.value
        assert symbol_offset(image, symbol) == text.offset + address


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with versioned symbols, for this machine."""
    directory = tmp_path_factory.mktemp("library")
    (directory / "code.c").write_text(SOURCE)
    (directory / "versions").write_text(VERSIONS)
    options = ["-O1", "-shared", "-fPIC", f"-Wl,--version-script={directory}/versions"]
    path = directory / "libcode.so"
    subprocess.run(
        [tool("cc"), *options, "-Wl,--build-id", directory / "code.c", "-o", path], check=True
    )
    return path


def test_versions_choose_between_symbols_of_one_name(library: Path) -> None:
    """A probe on the old version sees no call that programs of today make."""
    with ElfImage.open(library) as image:
        both = find_symbols(image, "second")
        assert [(s.version, s.default) for s in both] == [("V2", True), ("V1", False)]
        assert find_symbols(image, "second@V1") == both[1:]
        assert find_symbols(image, "second@V2") == find_symbols(image, "second@@V2") == both[:1]
        assert find_symbols(image, "second@@V1") == find_symbols(image, "second@V3") == []
        # Also names that are the end of another one, and one that exists twice.
        assert [s.name for s in find_symbols(image, "first")] == ["first"]
        assert [s.value for s in find_symbols(image, "also_first")] == [
            s.value for s in find_symbols(image, "first")
        ]
        assert find_symbols(image, "irst") == find_symbols(image, "") == []
        (local,) = find_symbols(image, "hidden_one")
        assert (local.binding, local.function) == (0, True)


def test_offsets_are_where_the_loader_takes_the_code_from(library: Path) -> None:
    """A uprobe at another offset ends the traced process, or never fires."""
    loaded = ctypes.CDLL(str(library))
    data = library.read_bytes()
    with ElfImage.open(library) as image:
        assert image.type == ET_DYN
        for name in ("first", "weak_one", "second"):
            symbol = find_symbols(image, name)[0]
            address = ctypes.cast(getattr(loaded, name), ctypes.c_void_p).value or 0
            offset = symbol_offset(image, symbol)
            assert symbol.size > 4
            assert data[offset : offset + symbol.size] == ctypes.string_at(address, symbol.size)
            assert image.address(offset) == symbol.value
        with pytest.raises(ElfError, match="in no segment that is loaded from the file"):
            symbol_offset(image, find_symbols(image, "zeros")[0])
        with pytest.raises(ElfError, match="has no code of it"):
            symbol_offset(image, ElfSymbol("other", 0, 0, 2, 1, 0, 0))
        assert image.address(len(data) - 1) is None


@pytest.mark.parametrize("path", libraries(), ids=str)
def test_every_address_finds_the_function_that_it_is_in(path: Path) -> None:
    """Against a search through all symbols."""
    with ElfImage.open(path) as image:
        tables = symbol_tables(image)
        index = FunctionIndex(tables)
        functions = {
            (s.value, s.size, s.name) for table in tables for s in table if s.function and s.defined
        }
        assert len(index) == len({value for value, _, _ in functions})
        random.seed(1)
        for value, size, _ in random.sample(sorted(functions), min(200, len(functions))):
            if not size:
                continue
            for address in (value, value + size - 1):
                found = index.find(address)
                covering = {f for f in functions if f[0] <= address < f[0] + f[1]}
                nearest = max(start for start, _, _ in covering)
                assert found is not None
                assert found in {(f[2], f[0]) for f in covering if f[0] == nearest}
        assert index.find(0) is None
        assert index.find((1 << 64) - 1) is None


def test_the_better_name_of_an_address_wins() -> None:
    """Aliases without a size, or weak ones, say less of what runs."""
    image = Small()
    for name, binding, size in (("weak", 2, 8), ("chosen", 1, 8), ("local", 0, 8), ("bare", 1, 0)):
        image.symbol(name, 0x1000, size, binding)
    image.symbol("endless", 0x2000, 0, 1)
    image.symbol("last", 0x3000, 0, 1)
    image.section(".text", 8, b"", size=0x3000, address=0x1000)
    index = FunctionIndex(symbol_tables(ElfImage(image.build())))
    assert index.find(0x1007) == ("chosen", 0x1000)
    assert index.find(0x1008) is None
    assert index.find(0x2FFF) == ("endless", 0x2000)
    assert index.find(0x3000) == ("last", 0x3000)
    assert index.find(0x3FFF) is not None
    assert index.find(0x4000) is None


def test_debug_files_are_found_and_describe_the_same_build(library: Path, tmp_path: Path) -> None:
    """A debug file has the symbols, and no code to find an offset in."""
    objcopy = tool("objcopy")
    debug, stripped = tmp_path / "lib code.debug", tmp_path / "stripped.so"
    subprocess.run([objcopy, "--only-keep-debug", library, debug], check=True)
    subprocess.run(
        [objcopy, "--strip-all", f"--add-gnu-debuglink={debug}", library, stripped], check=True
    )
    with ElfImage.open(stripped) as image, ElfImage.open(debug) as other:
        assert image.debug_link == ("lib code.debug", zlib.crc32(debug.read_bytes()))
        assert other.debug_link is None
        assert image.build_id == other.build_id != None  # noqa: E711
        assert len(image.build_id or b"") == 20
        assert find_symbols(image, "hidden_one") == []
        (symbol,) = find_symbols(other, "hidden_one")
        with pytest.raises(ElfError):
            symbol_offset(other, symbol)
        # The stripped file knows where the address is.
        assert symbol_offset(image, symbol) > 0


def test_a_file_inside_of_an_archive(library: Path, tmp_path: Path) -> None:
    """Android loads libraries from uncompressed ZIP members; offsets count from the member."""
    archive = tmp_path / "archive"
    archive.write_bytes(bytes(4096) + library.read_bytes() + b"more")
    with ElfImage.open(archive, 4096, library.stat().st_size) as inside:
        with ElfImage.open(library) as plain:
            assert our_symbols(inside) == our_symbols(plain)
            assert inside.size == plain.size
        with pytest.raises(ElfError, match="do not fit"):
            inside.read(inside.size, 1, "past the end")


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    """A pipe in the place of a library would be waited for without end."""
    fifo = tmp_path / "fifo"
    subprocess.run(["mkfifo", fifo], check=True)
    for path in (fifo, tmp_path):
        with pytest.raises(ElfError, match="is not a regular file"):
            ElfImage.open(path)
    with pytest.raises(FileNotFoundError):
        ElfImage.open(tmp_path / "none")
    for data in (b"", b"\x7fEL", b"#!/bin/sh\n", b"\x7fELF\3\1", b"\x7fELF\2\1\1"):
        with pytest.raises(ElfError, match=r"^ELF header: "):
            ElfImage(data)


def test_a_file_that_shrinks_is_an_error(library: Path, tmp_path: Path) -> None:
    """Mapped, it would end this process."""
    path = tmp_path / "shrinks.so"
    shutil.copyfile(library, path)
    with ElfImage.open(path) as image:
        with path.open("r+b") as file:
            file.truncate(200)
        with pytest.raises(ElfError, match="has become shorter"):
            find_symbols(image, "first")


# ---- wrong files ----------------------------------------------------------------------------


class Small:
    """A 64-bit little-endian library of sections only, which may say anything."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int, bytes, int, int, int, int]] = [("", 0, b"", 0, 0, 0, 0)]
        self.names = bytearray(b"\0")
        self.symbols = bytearray(24)

    def section(
        self,
        name: str,
        kind: int,
        data: bytes,
        link: int = 0,
        size: int | None = None,
        each: int = 0,
        address: int = 0,
    ) -> int:
        size = len(data) if size is None else size
        self.rows.append((name, kind, data, link, size, each, address))
        return len(self.rows) - 1

    def symbol(self, name: str, value: int, size: int, binding: int) -> None:
        self.symbols += struct.pack("<IBBHQQ", len(self.names), binding << 4 | 2, 0, 1, value, size)
        self.names += name.encode() + b"\0"

    def build(self) -> bytes:
        strings = self.section(".strtab", 3, bytes(self.names))
        self.section(".symtab", 2, bytes(self.symbols), strings, each=24)
        names = b"".join(row[0].encode() + b"\0" for row in self.rows) + b".shstrtab\0"
        self.section(".shstrtab", 3, names)
        body, headers, at = bytearray(64), b"", 0
        for name, kind, data, link, size, each, address in self.rows:
            headers += struct.pack(
                "<IIQQQQIIQQ", at, kind, 0, address, len(body), size, link, 0, 4, each
            )
            at += len(name) + 1
            body += data
        count = len(self.rows)
        body[:64] = (
            b"\x7fELF\2\1\1"
            + bytes(9)
            + struct.pack(
                "<HHIQQQIHHHHHH", 3, 62, 1, 0, 0, len(body), 0, 64, 56, 0, 64, count, count - 1
            )
        )
        return bytes(body) + headers


def walk(image: ElfImage) -> None:
    """Everything that can be asked of a file."""
    image.segments  # noqa: B018
    image.build_id  # noqa: B018
    image.debug_link  # noqa: B018
    image.soname  # noqa: B018
    image.address(100)
    for section in image.sections:
        if section.type == 7:
            list(image.notes(section))
    for name in ("first", "second@V1", "hidden_one"):
        for symbol in find_symbols(image, name):
            symbol_offset(image, symbol)
    tables = symbol_tables(image)
    for table in tables:
        list(table)
    index = FunctionIndex(tables)
    for address in (0, 0x1000, 1 << 40):
        index.find(address)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damaged_files(library: Path, data: st.DataObject) -> None:
    """Any other exception is a crash of whoever looks at a process of somebody else."""
    raw = bytearray(library.read_bytes())
    start, count = struct.unpack_from("<Q", raw, 40)[0], struct.unpack_from("<H", raw, 60)[0]
    places = [(0, 64), (64, 56 * 8), (start, 64 * count)]
    with ElfImage.open(library) as image:
        places += [(s.offset, s.size) for s in image.sections if s.type not in (0, 1, 8) and s.size]
    for _ in range(data.draw(st.integers(1, 5))):
        offset, size = data.draw(st.sampled_from(places))
        width = data.draw(st.sampled_from([1, 2, 4, 8]))
        at = offset + data.draw(st.integers(0, max(size - width, 0))) // width * width
        number = data.draw(
            st.one_of(
                st.integers(0, len(raw)), st.integers(0, (1 << 64) - 1), st.just((1 << 64) - 1)
            )
        )
        raw[at : at + width] = (number & (1 << 8 * width) - 1).to_bytes(width, "little")
    with contextlib.suppress(ElfError):
        walk(ElfImage(bytes(raw)))


def test_every_truncation_is_an_elf_error(library: Path) -> None:
    """A file that is being copied, or was cut."""
    raw = library.read_bytes()
    failed = 0
    for length in range(0, len(raw), 97):
        try:
            walk(ElfImage(raw[:length]))
        except ElfError:
            failed += 1
    assert failed > 100


def names_error(image: Small) -> str:
    with pytest.raises(ElfError) as caught:
        walk(ElfImage(image.build()))
    return str(caught.value)


def test_lists_that_never_end() -> None:
    """Versions and notes are lists that a file links as it likes."""
    # Each entry of the outer list leads into the same long inner one.
    needed = Small()
    inner = b"".join(struct.pack("<IHHII", 0, 0, 2, 0, 16) for _ in range(3000)) + bytes(16)
    outer = b"".join(
        struct.pack("<HHIII", 1, 1, 0, 16 * 3000 - 16 * number, 16) for number in range(3000)
    )
    strings = needed.section(".dynstr", 3, b"\0")
    needed.section(".gnu.version_r", 0x6FFFFFFE, outer + inner, strings)
    needed.section(".gnu.version", 0x6FFFFFFF, bytes(100), 5)
    needed.symbol("first", 0, 8, 1)
    assert "run into each other" in names_error(needed)
    notes = Small()
    notes.section(".note", 7, struct.pack("<III", 4, 1 << 31, 1) + b"GNU\0")
    assert "beyond their end" in names_error(notes)


def test_sizes_that_no_file_has() -> None:
    """They are refused before any memory is taken for them."""
    huge = Small()
    huge.section(".gnu_debuglink", 1, b"", size=1 << 60)
    assert "are too many" in names_error(huge)
    beyond = Small()
    beyond.section(".gnu_debuglink", 1, b"", size=1 << 20)
    assert "do not fit the" in names_error(beyond)
    unnamed = Small()
    unnamed.section(".gnu_debuglink", 1, b"\0\0\0\0\0\0\0\0")
    assert "no file name and checksum" in names_error(unnamed)
    wrong = Small()
    wrong.section(".dynsym", 11, bytes(30), 2, each=24)
    wrong.section(".dynstr", 3, b"\0")
    assert "a symbol has 24" in names_error(wrong)


def test_compressed_sections_are_named() -> None:
    section = ImageSection(3, ".symtab", 2, 0x800, 0, 0, 8, 0, 0, 8, 24)
    with pytest.raises(ElfError, match="decompress it with objcopy"):
        ElfImage(Small().build()).data(section)
