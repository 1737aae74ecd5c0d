"""uprobes: which process, which function, which file; and what is wrong with a place."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import pytest

from ebpf import (
    AttachType,
    BpfError,
    BpfFileNotFoundError,
    ElfError,
    HashMap,
    NotSupportedError,
    Program,
    ProgramType,
)
from ebpf.asm import R0, R6, R7, exit_, ldxdw, mov
from ebpf.errors import BpfProcessLookupError
from tests.binaries import built
from tests.kernel import environment
from tests.kernel.links.hooks import RETURNED, library
from tests.kernel.samples import (
    ATTACH_COOKIE,
    PASS,
    count,
    keep,
    load,
    per_process,
)


@pytest.fixture
def path() -> Path:
    return built("library")


@pytest.fixture
def counts() -> Iterator[HashMap[int, int]]:
    with per_process() as made:
        yield made


@pytest.fixture
def program(counts: HashMap[int, int]) -> Iterator[Program]:
    with load(ProgramType.KPROBE, count(counts)) as made:
        yield made


def seen(counts: HashMap[int, int]) -> int:
    return counts.lookup(os.getpid()) or 0


def test_an_offset_into_a_function_and_into_the_file(
    path: Path, program: Program, counts: HashMap[int, int]
) -> None:
    """The probe is somewhere else: the two ways to name a place disagree."""
    start = symbol_offset(path, "twice")
    with program.attach_uprobe(path, offset=start):
        library().twice(1)
        library().thrice(1)
    assert seen(counts) == 1
    with program.attach_uprobe(path, "twice", offset=0):
        library().twice(1)
    assert seen(counts) == 2


def symbol_offset(path: Path, name: str) -> int:
    """By readelf; the addresses of this library's code are its places in the file."""
    out = subprocess.check_output(["readelf", "-sW", str(path)], text=True)
    row = next(
        line.split() for line in out.splitlines() if line.split()[-1:] in ([name], [f"{name}@@OLD"])
    )
    return int(row[1], 16)


def test_a_uretprobe_reads_what_was_returned(path: Path) -> None:
    """It runs at the wrong time, or in another context."""
    with (
        per_process() as kept,
        load(ProgramType.KPROBE, keep(kept, [ldxdw(R7, R6 + RETURNED)])) as program,
    ):
        with program.attach_uretprobe(path, "thrice"):
            assert library().thrice(14) == 42
        assert kept[os.getpid()] == 42


def test_a_pid_leaves_other_processes_out(
    path: Path, program: Program, counts: HashMap[int, int]
) -> None:
    """Every process that has the library is traced, or the one that is meant is not."""
    call = f"import ctypes; ctypes.CDLL({str(path)!r}).twice(1)"
    with program.attach_uprobe(path, "twice", pid=os.getpid()):
        subprocess.run([sys.executable, "-c", call], check=True)
        library().twice(1)
    assert counts.to_dict() == {os.getpid(): 1}
    with program.attach_uprobe(path, "twice"):
        subprocess.run([sys.executable, "-c", call], check=True)
    assert len(counts) == 2


def test_the_program_sees_its_cookie(path: Path) -> None:
    """One program on several functions could not tell them apart (5.15)."""
    with per_process() as kept:
        if environment.kernel_version() < (5, 15):
            with load(ProgramType.KPROBE, PASS) as plain:
                plain.attach_uprobe(path, "twice", cookie=1)
        with load(ProgramType.KPROBE, keep(kept, ATTACH_COOKIE)) as program:
            for name, cookie in (("twice", 1 << 63 | 5), ("thrice", 6)):
                with program.attach_uprobe(path, name, cookie=cookie):
                    getattr(library(), name)(1)
                assert kept[os.getpid()] == cookie


def test_a_reference_counter_is_raised_while_the_probe_is_there(
    path: Path, program: Program
) -> None:
    """A program that skips its probes while nobody watches would never come to them."""
    loaded = library()
    loaded.watched.restype = ctypes.c_int
    counter = file_offset(path, "watchers")
    assert loaded.watched() == 0
    with program.attach_uprobe(path, "twice", ref_ctr_offset=counter):
        assert loaded.watched() == 1
        with pytest.raises(BpfError, match="already has another reference counter"):
            program.attach_uprobe(path, "twice", ref_ctr_offset=counter + 2)
    assert loaded.watched() == 0


def file_offset(path: Path, name: str) -> int:
    """Where a variable is in the file: by readelf's sections."""
    symbols = subprocess.check_output(["readelf", "-sW", str(path)], text=True)
    row = next(line.split() for line in symbols.splitlines() if line.split()[-1:] == [name])
    sections = subprocess.check_output(["readelf", "-SW", str(path)], text=True)
    (line,) = [line for line in sections.splitlines() if f"[{row[6]:>2}]" in line]
    address, offset = line.split("]")[1].split()[2:4]
    return int(row[1], 16) - int(address, 16) + int(offset, 16)


@pytest.mark.parametrize(
    ("symbol", "version"), [("versioned", 2), ("versioned@@NEW", 2), ("versioned@OLD", 1)]
)
def test_a_version_of_a_symbol(
    path: Path, program: Program, counts: HashMap[int, int], symbol: str, version: int
) -> None:
    """Programs that were linked to another version call another function."""
    with program.attach_uprobe(path, symbol):
        for number in (1, 2):
            before = seen(counts)
            assert getattr(library(), f"versioned_{number}")() == number
            assert seen(counts) - before == (number == version)


def test_a_library_is_found_as_the_loader_finds_it(
    path: Path,
    program: Program,
    counts: HashMap[int, int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Another file of the name is probed, and nothing is ever seen."""
    mapped = next(
        line.split()[-1]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if "/libc.so.6" in line
    )
    with program.attach_uprobe("libc.so.6", "getppid") as link:
        assert os.path.realpath(link.target.split()[1].rpartition(":")[0]) == mapped
        os.getppid()
    assert seen(counts) == 1
    # A folder of its own comes first, but a file there that is no library is none.
    (tmp_path / "libc.so.6").write_text("no library")
    (tmp_path / "libours.so").symlink_to(path)
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/nowhere:{tmp_path}")
    with (
        program.attach_uprobe("libours.so", "twice"),
        program.attach_uprobe("libc.so.6", "getppid"),
    ):
        library().twice(1)
        os.getppid()
    assert seen(counts) == 3


def test_a_library_without_its_version(
    program: Program, counts: HashMap[int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``libc.so`` is a text for the linker, where it is there at all; of two versions one would be
    chosen by chance."""
    with program.attach_uprobe("libc.so.6", "getppid") as link:
        target = link.target
    for name in ("libc.so", "libc"):
        before = seen(counts)
        with program.attach_uprobe(name, "getppid") as link:
            assert link.target == target
            os.getppid()
        assert seen(counts) == before + 1
    # Small systems have no cache of the loader's.
    with monkeypatch.context() as small:
        small.setattr("ebpf.links.binaries.CACHE", str(tmp_path / "none"))
        for name in ("libc.so.6", "libc"):
            with program.attach_uprobe(name, "getppid") as link:
                found, file = (text.split()[1].split(":")[0] for text in (link.target, target))
                assert os.path.samefile(found, file)
    with pytest.raises(BpfFileNotFoundError, match=r"no library libnone for this"):
        program.attach_uprobe("libnone", "main")
    cache = ldcache([("libtwo.so.1", "/lib/libtwo.so.1"), ("libtwo.so.2", "/lib/libtwo.so.2")])
    (tmp_path / "cache").write_bytes(cache)
    monkeypatch.setattr("ebpf.links.binaries.CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("ebpf.links.binaries._machine", lambda path: (62, 64))
    monkeypatch.setattr(
        "ebpf.links.binaries._library", lambda name: name if name[-1].isdigit() else None
    )
    with pytest.raises(BpfError, match=r"libtwo has several .*: libtwo.so.1, libtwo.so.2"):
        program.attach_uprobe("libtwo", "main")


def ldcache(entries: list[tuple[str, str]]) -> bytes:
    """A cache of names and paths as ldconfig writes it."""
    texts, rows = b"", b""
    start = 48 + 24 * len(entries)
    for name, path in entries:
        key = start + len(texts)
        rows += struct.pack("=iIIIQ", 3, key, key + len(name) + 1, 0, 0)
        texts += f"{name}\0{path}\0".encode()
    head = b"glibc-ld.so.cache1.1" + struct.pack("=II20x", len(entries), len(texts))
    return head + rows + texts


def archived(path: Path, folder: Path) -> tuple[Path, int]:
    """An archive with a library, ``lib/libours.so``, and where in it that begins: with a page, as
    what maps libraries out of archives wants it."""
    archive, name = folder / "app.apk", "lib/libours.so"
    headers = len("padding") + len(name) + 2 * 30
    with ZipFile(archive, "w", ZIP_STORED) as made:
        made.writestr("padding", bytes(-headers % mmap.PAGESIZE))
        made.writestr(name, path.read_bytes())
        made.writestr("lib/libsmall.so", path.read_bytes(), ZIP_DEFLATED)
    start = archive.read_bytes().index(path.read_bytes())
    assert start % mmap.PAGESIZE == 0
    return archive, start


def function_at(path: Path, offset: int) -> Any:
    """The function of one number whose code is at `offset` of a file, mapped as a loader would."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, *(ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long))
    page = offset % mmap.PAGESIZE
    with path.open("rb") as file:
        rights = mmap.PROT_READ | mmap.PROT_EXEC
        size = 2 * mmap.PAGESIZE
        at = libc.mmap(None, size, rights, mmap.MAP_PRIVATE, file.fileno(), offset - page)
    return ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long)(at + page)


def test_a_library_in_an_archive(
    path: Path, program: Program, counts: HashMap[int, int], tmp_path: Path
) -> None:
    """Android runs libraries out of APKs: the probe would be at that place of the archive, in
    another file's data."""
    archive, start = archived(path, tmp_path)
    offset = symbol_offset(path, "twice")
    twice = function_at(archive, start + offset)
    inside = f"{archive}!/lib/libours.so"
    with program.attach_uprobe(inside, "twice") as link:
        assert link.target == f"uprobe {inside}:twice"
        assert twice(4) == 8
    assert seen(counts) == 1
    with program.attach_uretprobe(inside, offset=offset):
        twice(4)
    assert seen(counts) == 2
    for wrong, kind, told in (
        (f"{archive}!/lib/libour.so", BpfFileNotFoundError, r"no lib/libour.so .*: lib/libours.so"),
        (f"{archive}!/lib/libsmall.so", BpfError, r"libsmall.so is compressed in .*app.apk"),
        (f"{path}!/lib/libours.so", BpfError, r"is no archive"),
        (f"{tmp_path}/none.apk!/lib/libours.so", BpfFileNotFoundError, r"path: .*/none.apk"),
    ):
        with pytest.raises(kind, match=told):
            program.attach_uprobe(wrong, "twice")


def test_a_pattern_in_an_archive(path: Path, tmp_path: Path, counts: HashMap[int, int]) -> None:
    """As for one function (6.6)."""
    archive, start = archived(path, tmp_path)
    twice = function_at(archive, start + symbol_offset(path, "twice"))
    with Program.load(
        ProgramType.KPROBE, count(counts), license="GPL", attach_type=AttachType.TRACE_UPROBE_MULTI
    ) as program:
        with program.attach_uprobe_multi(f"{archive}!/lib/libours.so", "tw?ce"):
            twice(1)
        with program.attach_uprobe_multi(
            f"{archive}!/lib/libours.so", offsets=[symbol_offset(path, "twice")]
        ):
            twice(1)
    assert seen(counts) == 2


def test_functions_of_one_name_are_all_watched(tmp_path: Path, counts: HashMap[int, int]) -> None:
    """A pattern means every static function that matches: of those that share a name only one
    would be seen (6.6)."""
    text = '__attribute__((noinline)) static long same(long n) { asm volatile(""); return n; }\n'
    sources = []
    for name in ("one", "two"):
        source = tmp_path / f"{name}.c"
        source.write_text(f"{text}long {name}(long n) {{ return same(n) + 1; }}\n")
        sources.append(str(source))
    shared = tmp_path / "libsame.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", shared, *sources], check=True)
    library = ctypes.CDLL(str(shared))
    with (
        Program.load(
            ProgramType.KPROBE,
            count(counts),
            license="GPL",
            attach_type=AttachType.TRACE_UPROBE_MULTI,
        ) as program,
        program.attach_uprobe_multi(shared, "s?me"),
    ):
        assert (library.one(1), library.two(1)) == (2, 2)
    assert seen(counts) == 2


def test_a_program_is_found_in_path(program: Program) -> None:
    """As a shell would find it."""
    with program.attach_uprobe("true", offset=symbolless_entry("true")) as link:
        assert "/true:" in link.target
    with pytest.raises(BpfFileNotFoundError, match="no program no-such-program in PATH"):
        program.attach_uprobe("no-such-program", "main")


def symbolless_entry(name: str) -> int:
    import shutil

    path = shutil.which(name)
    assert path is not None
    with open(path, "rb") as file:
        return int.from_bytes(file.read(32)[24:], "little")


def test_what_a_process_has_mapped_comes_first(
    path: Path, program: Program, tmp_path: Path
) -> None:
    """In a container the library of that name is another file."""
    copy = tmp_path / "libours.so.1"
    copy.write_bytes(path.read_bytes())
    call = f"import ctypes; l = ctypes.CDLL({str(copy)!r}); print(flush=True); input(); l.twice(1)"
    process = subprocess.Popen(
        [sys.executable, "-c", call], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        with program.attach_uprobe("libours.so.1", "twice", pid=process.pid) as link:
            assert f"/proc/{process.pid}/root{copy}" in link.target
            process.communicate(b"\n")


# ---- what cannot be attached ----------------------------------------------------------------


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "an odd counter": (
        {"symbol": "twice", "ref_ctr_offset": 5},
        ValueError,
        "ref_ctr_offset: 0x5 in the file is odd",
    ),
    "no such file": ({"path": "/no/such/file"}, BpfFileNotFoundError, "path: /no/such/file"),
    "no path": ({"path": None}, TypeError, "path: None is not a str"),
    "a directory": ({"path": "/tmp"}, BpfError, "no regular file"),
    "no such library": ({"path": "libnone.so.3"}, BpfFileNotFoundError, "no library libnone.so.3"),
    "no such symbol": (
        {"symbol": "twise"},
        BpfFileNotFoundError,
        "no function twise .*nearest: twice",
    ),
    "data": ({"symbol": "table"}, BpfError, "table of .* is data"),
    "chosen at start": ({"symbol": "chosen"}, BpfError, "chosen when a program starts"),
    "no such version": (
        {"symbol": "versioned@NONE"},
        BpfFileNotFoundError,
        "no function versioned@NONE",
    ),
    "no such process": (
        {"symbol": "twice", "pid": 0x3FFF_FFFF},
        BpfProcessLookupError,
        "no process",
    ),
    "beyond the file": ({"offset": 1 << 40}, BpfError, "beyond the end of the file"),
    "an empty symbol": ({"symbol": ""}, ValueError, "'' is no function name"),
    "a negative offset": ({"offset": -1}, ValueError, "offset: -1"),
    "a cookie that is too long": ({"symbol": "twice", "cookie": 1 << 64}, ValueError, "cookie"),
    "pid 0": ({"symbol": "twice", "pid": 0}, ValueError, "pid: 0 is no process"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_place_that_is_none(case: str, path: Path) -> None:
    """The kernel's EINVAL or ENOENT would not say which of the arguments is wrong."""
    arguments, error, told = WRONG[case]
    with load(ProgramType.KPROBE, PASS) as program:
        for attach in (program.attach_uprobe, program.attach_uretprobe):
            options = {"path": path, **arguments}
            with pytest.raises(error, match=told):
                attach(**options)
        assert program._links == set()


def test_a_file_that_is_no_elf_file(tmp_path: Path) -> None:
    """A script has no symbols; the error is of the file, not of the symbol."""
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    with load(ProgramType.KPROBE, PASS) as program, pytest.raises(ElfError, match="starts with"):
        program.attach_uprobe(script, "main")


def test_a_program_of_another_type_says_so(path: Path) -> None:
    """EINVAL may be anything."""
    with (
        load(ProgramType.SOCKET_FILTER, PASS, "wrong") as program,
        pytest.raises(
            BpfError, match=r"'wrong'.*of another type \(SOCKET_FILTER\); it takes KPROBE"
        ),
    ):
        program.attach_uprobe(path, "twice")


# ---- several places -------------------------------------------------------------------------


def load_multi(
    insns: list[Any], attach_type: AttachType = AttachType.TRACE_UPROBE_MULTI
) -> Program:
    return Program.load(ProgramType.KPROBE, insns, license="GPL", attach_type=attach_type)


def test_a_cookie_for_each_function(path: Path) -> None:
    """The program could not tell which function it is at."""
    # The cookies' helper is older than this way to attach, whose release counts.
    with load_multi(PASS) as program:
        program.attach_uprobe_multi(path, ["twice"]).close()
    with per_process() as kept, load_multi(keep(kept, ATTACH_COOKIE)) as program:
        numbers = {"twice": 2, "thrice": 3}
        for cookies in (numbers, [2, 3]):
            with program.attach_uprobe_multi(path, ["twice", "thrice"], cookies=cookies):
                for name, cookie in numbers.items():
                    getattr(library(), name)(1)
                    assert kept[os.getpid()] == cookie
        with program.attach_uprobe_multi(path, "t*ice", cookies=numbers):
            library().thrice(1)
            assert kept[os.getpid()] == 3


def test_offsets_and_reference_counters_of_many_places(path: Path) -> None:
    """The arrays are taken for each other."""
    loaded = library()
    with per_process() as counts, load_multi(count(counts)) as program:
        places = [symbol_offset(path, name) for name in ("twice", "thrice")]
        counter = file_offset(path, "watchers")
        with program.attach_uprobe_multi(path, offsets=places, ref_ctr_offsets=[counter, 0]):
            assert loaded.watched() == 1
            with pytest.raises(BpfError, match="already has another reference counter"):
                program.attach_uprobe_multi(path, offsets=places[:1], ref_ctr_offsets=[counter + 2])
            loaded.twice(1)
            loaded.thrice(1)
        assert loaded.watched() == 0
        assert seen(counts) == 2


def test_the_link_describes_its_places(path: Path) -> None:
    """Details are behind pointers, which take a second call (6.8)."""
    with load_multi(PASS) as program:
        link = program.attach_uprobe_multi(path, ["twice"], cookies=[9])
        if environment.kernel_version() < (6, 8):
            raise NotSupportedError("details of uprobe_multi links", (6, 8))
        details = link.info().details
    assert details["path"] == str(path)
    assert details["offsets"] == [symbol_offset(path, "twice")]
    assert details["cookies"] == [9]


WRONG_PLACES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a pattern that none matches": (
        {"symbols": "zz*"},
        BpfFileNotFoundError,
        "no function of .* matches zz",
    ),
    "one of several": ({"symbols": ["twice", "twise"]}, BpfFileNotFoundError, "no function twise"),
    "none": ({"symbols": []}, ValueError, "nothing to attach to"),
    "both": ({"symbols": "twice", "offsets": [1]}, TypeError, "either symbols or offsets"),
    "neither": ({}, TypeError, "either symbols or offsets"),
    "too few cookies": (
        {"symbols": ["twice", "thrice"], "cookies": [1]},
        ValueError,
        "1 for 2 places",
    ),
    "a cookie for nothing": (
        {"symbols": ["twice"], "cookies": {"x": 1}},
        ValueError,
        "'x' is none of the symbols",
    ),
    "too many counters": (
        {"symbols": ["twice"], "ref_ctr_offsets": [1, 2]},
        ValueError,
        "2 for 1 places",
    ),
    "an odd counter": (
        {"symbols": ["twice"], "ref_ctr_offsets": [5]},
        ValueError,
        "ref_ctr_offsets: 0x5 in the file is odd",
    ),
    "no such process": (
        {"symbols": ["twice"], "pid": 0x3FFF_FFFF},
        BpfProcessLookupError,
        "no process",
    ),
}


@pytest.mark.parametrize("case", WRONG_PLACES)
def test_places_that_are_none(case: str, path: Path) -> None:
    """Some of them would be attached, or the kernel's EINVAL would not say what is wrong."""
    arguments, error, told = WRONG_PLACES[case]
    with load(ProgramType.KPROBE, PASS) as program, pytest.raises(error, match=told):
        program.attach_uprobe_multi(path, **arguments)


def test_a_program_that_was_loaded_for_single_probes(path: Path) -> None:
    """The kernel says EINVAL; what is missing is an argument of loading."""
    with load(ProgramType.KPROBE, PASS) as program:
        with pytest.raises(BpfError) as caught:
            program.attach_uprobe_multi(path, ["twice"])
        if isinstance(caught.value, NotSupportedError):
            raise caught.value
        assert "without the attach type TRACE_UPROBE_MULTI" in str(caught.value)


def test_a_session_that_says_so_skips_the_return(path: Path) -> None:
    """1 at the entry leaves the return out (6.13)."""
    with per_process() as counts:
        insns = [*count(counts)[: -len(PASS)], mov(R0, 1), exit_()]
        with (
            load_multi(insns, AttachType.TRACE_UPROBE_SESSION) as program,
            program.attach_uprobe_session(path, "twice"),
        ):
            library().twice(1)
        assert seen(counts) == 1
