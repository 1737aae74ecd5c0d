"""The files of just-in-time compilers: whose they are, what is appended, what lies over what."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("ebpf._ffi", reason="the extension is not built", exc_type=ImportError)

from ebpf.symbols import perf_map
from ebpf.symbols.perf_map import PerfMap


@pytest.fixture
def path() -> Iterator[Path]:
    """The file of this process."""
    made = Path(f"/tmp/perf-{os.getpid()}.map")
    yield made
    made.unlink(missing_ok=True)


def names(read: PerfMap, *addresses: int) -> list[tuple[str, int] | None]:
    read.refresh()
    return [read.find(address) for address in addresses]


def test_code_in_the_place_of_what_was_thrown_away(path: Path) -> None:
    """Only a line with the same start would replace another one."""
    path.write_text(
        "1000 100 old_big\n1040 10 old_small\n1000 100 new_big\n1040 0 label\n2000 10 x\n"
    )
    found = names(PerfMap(os.getpid()), 0x1000, 0x1044, 0x1060, 0x1100, 0x2000, 0xFFF)
    assert found == [("new_big", 0), ("new_big", 0x44), ("new_big", 0x60), None, ("x", 0), None]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), max_size=30), st.data())
def test_what_was_written_last_has_the_address(
    places: list[tuple[int, int]], data: st.DataObject
) -> None:
    """In one piece or in two, against every line in turn."""
    lines = [(start, at, start + size, str(at)) for at, (start, size) in enumerate(places)]
    read = PerfMap(os.getpid())
    cut = data.draw(st.integers(0, len(lines)))
    read._add(lines[:cut])
    read._add(lines[cut:])
    for address in range(60):
        covering = [line for line in lines if line[0] <= address < line[2]]
        found = read.find(address)
        assert found is None or found[0] in [name for *_, name in covering]
        # What has nothing over it is there; of the rest, some may have no name any more.
        for start, at, end, name in covering[-1:]:
            if not any(at < line[1] and start < line[2] and line[0] < end for line in lines):
                assert found == (name, address - start)


def test_only_what_was_appended_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole file for each stack, and nobody profiles a program that compiles all the time."""
    parsed: list[bytes] = []
    real = PerfMap._parsed

    def spy(read: PerfMap, lines: bytes) -> list[perf_map.Function]:
        parsed.append(lines)
        return real(read, lines)

    monkeypatch.setattr(PerfMap, "_parsed", spy)
    read = PerfMap(os.getpid())
    path.write_text("1000 10 one\n1010 10 two\n")
    assert names(read, 0x1000, 0x1010) == names(read, 0x1000, 0x1010) == [("one", 0), ("two", 0)]
    with path.open("a") as file:
        file.write("1020 10 thr")
    assert names(read, 0x1020) == [None]
    with path.open("a") as file:
        file.write("ee\n")
    assert names(read, 0x1000, 0x1020) == [("one", 0), ("three", 0)]
    assert parsed == [b"1000 10 one\n1010 10 two", b"1020 10 three"]
    # Another file, in the place of the old one or in the same.
    path.write_text("3000 10 other and a name that makes it longer than the old one was\n")
    assert names(read, 0x1000, 0x3000)[0] is None
    path.unlink()
    path.write_text("1000 10 again\n")
    assert names(read, 0x1000, 0x3000) == [("again", 0), None]


def test_large_files_are_read_in_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As much memory as a file may be large, for one of a few lines."""
    lines = [f"{at:x} 1 f{at}\n" for at in range(1000, 1300)]
    monkeypatch.setattr(perf_map, "_PIECE", 100)
    path.write_text("".join(lines))
    assert names(PerfMap(os.getpid()), 1000, 1150, 1299, 1300) == [
        ("f1000", 0), ("f1150", 0), ("f1299", 0), None,
    ]  # fmt: skip
    monkeypatch.setattr(perf_map, "_MOST_FUNCTIONS", 50)
    read = PerfMap(os.getpid())
    assert names(read, 1000, 1299) == [("f1000", 0), None]
    assert 50 <= len(read._functions) < 100
    monkeypatch.setattr(perf_map, "_LARGEST", 60)
    assert len(lines[0]) < 60
    assert names(PerfMap(os.getpid()), 1000, 1020) == [("f1000", 0), None]


def test_a_file_of_another_user_is_not_believed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/tmp is everybody's: any user could give the functions of root's processes names."""
    path.write_text("1000 10 spoofed\n")
    owner = path.stat().st_uid
    monkeypatch.setattr(perf_map, "_status", lambda pid: (pid, {owner + 1}))
    assert names(PerfMap(os.getpid()), 0x1000) == [None]
    monkeypatch.setattr(perf_map, "_status", lambda pid: (pid, {owner, owner + 1}))
    assert names(PerfMap(os.getpid()), 0x1000) == [("spoofed", 0)]


def test_the_users_of_a_process_and_root() -> None:
    """A just-in-time compiler writes as the process's own user."""
    assert perf_map._status(os.getpid()) == (os.getpid(), {0, *os.getresuid()})
    assert perf_map._status(999999999) == (999999999, {0})


def test_a_process_whose_name_looks_like_lines() -> None:
    """Any process may call itself so, and would end the profiler of all, or choose the file."""
    text = Path("/proc/thread-self/comm")
    before = text.read_bytes()
    expected = perf_map._status(os.getpid())
    try:
        for name in (b"x\rNSpid:\tz", b"x\x0cUid:\t7 7", b"x\x85\xff\rNSpid:"):
            text.write_bytes(name)
            assert perf_map._status(os.getpid()) == expected
    finally:
        text.write_bytes(before.rstrip(b"\n"))


def test_a_file_that_is_no_text(path: Path) -> None:
    """Whoever owns the process puts there what he likes."""
    path.write_bytes(b"\xff\xfe 1 \n1000 10 caf\xc3\x85 \x1c b\xff\n1 2\n-5 8 x\nz z z\n\n")
    assert names(PerfMap(os.getpid()), 0x1000, 1, 0) == [
        ("caf\xc5 \x1c b\ufffd", 0),
        None,
        None,
    ]
