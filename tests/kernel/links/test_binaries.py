"""Files of a process: the one that it runs is probed, whatever has its name by now."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ebpf import (
    BpfError,
    BpfFileNotFoundError,
    BpfPermissionError,
    HashMap,
    Program,
    ProgramType,
)
from ebpf._sys import hwcaps
from ebpf._sys.mappings import Mapping
from ebpf.elf import ldcache
from ebpf.links import binaries
from ebpf.links.binaries import find_binary, function_offset
from tests.binaries import built
from tests.kernel.samples import Forked, count, load, per_process


@pytest.fixture
def counts() -> Iterator[HashMap[int, int]]:
    with per_process() as made:
        yield made


@pytest.fixture
def program(counts: HashMap[int, int]) -> Iterator[Program]:
    with load(ProgramType.KPROBE, count(counts)) as made:
        yield made


def copied(path: Path) -> Path:
    """A copy of the library, in a file of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(built("library"), path)
    return path


def test_a_library_that_was_replaced_since_it_was_loaded(
    tmp_path: Path, program: Program, counts: HashMap[int, int]
) -> None:
    """As after an upgrade: the probe would be in the new file, which the process does not run."""
    path = copied(tmp_path / "libreplaced.so")
    loaded = ctypes.CDLL(str(path))
    me = os.getpid()
    with program.attach_uprobe(path, "twice", pid=me):
        assert loaded.twice(4) == 8
    copied(tmp_path / "new").rename(path)
    with program.attach_uprobe("libreplaced.so", "twice", pid=me) as link:
        assert "/map_files/" in link.target
        loaded.twice(1)
    assert counts[me] == 2
    told = r"another file than .*libreplaced.so \(deleted\); give its name alone, libreplaced.so "
    with pytest.raises(BpfFileNotFoundError, match=told):
        program.attach_uprobe(path, "twice", pid=me)
    # Without a process, the file is what its path says; and what no process runs yet, it may load.
    program.attach_uprobe(path, "twice").close()
    program.attach_uprobe(copied(tmp_path / "later.so"), "twice", pid=me).close()


def test_a_process_that_may_not_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CAP_PERFMON probes it all the same: what cannot be compared is not refused, and by its name
    alone the file cannot be found."""
    path = copied(tmp_path / "libhidden.so")

    def refuse(pid: int) -> list[Mapping]:
        raise BpfPermissionError(errno.EACCES, f"pid: read the mappings of process {pid}")

    monkeypatch.setattr(binaries, "executable_mappings", refuse)
    assert find_binary(path, os.getpid()) == str(path)
    with pytest.raises(BpfPermissionError, match="pid: read the mappings"):
        find_binary("libhidden.so", os.getpid())


def test_a_library_by_the_name_that_programs_ask_for(tmp_path: Path) -> None:
    """``libz.so.1`` is the file libz.so.1.2.13: the loader's cache would give the one that has the
    name now."""
    mapped = Path("/proc/self/maps").read_text()
    names = ("libresolv.so.2", "libanl.so.1", "libBrokenLocale.so.1")
    name = next(name for name in names if name not in mapped)
    path = tmp_path / "renamed.so"
    shutil.copy(find_binary(name), path)
    ctypes.CDLL(str(path))
    assert os.path.samefile(find_binary(name, os.getpid()), path)


def test_a_library_without_its_version_of_a_process_in_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one of this machine would be probed, which the process does not run."""
    path = copied(tmp_path / "libcontained.so.1")
    ctypes.CDLL(str(path))
    copied(tmp_path / "new").rename(path)
    monkeypatch.setattr(binaries, "_find_library", lambda name, given="": str(path))
    with pytest.raises(BpfFileNotFoundError, match=r"give its name alone, libcontained\.so\.1 "):
        find_binary("libcontained", os.getpid())
    assert "/map_files/" in find_binary("libcontained.so.1", os.getpid())
    assert find_binary("libcontained") == str(path)


def test_a_library_for_better_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader takes that, so in the other one nothing is ever seen."""
    plain = copied(tmp_path / "libbetter.so")
    better = copied(tmp_path / "glibc-hwcaps" / "x86-64-v2" / "libbetter.so")
    copied(tmp_path / "glibc-hwcaps" / "x86-64-v4" / "libbetter.so")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setattr(hwcaps, "glibc_hwcaps", lambda: ["x86-64-v3", "x86-64-v2"])
    assert find_binary("libbetter.so") == str(better)
    monkeypatch.setattr(hwcaps, "glibc_hwcaps", list)
    assert find_binary("libbetter.so") == str(plain)
    # Where only the loader can tell.
    monkeypatch.setenv("LD_LIBRARY_PATH", "")
    monkeypatch.setattr(hwcaps, "glibc_hwcaps", lambda: None)
    # Some guests have no cache.
    (tmp_path / "cache").touch()
    monkeypatch.setattr(binaries, "CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ldcache, "cached_libraries", lambda data, name: [f"/lib/{name}"])
    monkeypatch.setattr(ldcache, "cached_for_processors", lambda data, name: [f"/v9/{name}"])
    with pytest.raises(BpfError, match=r"libc\.so\.6 is there for some .*: /v9/libc\.so\.6, /"):
        find_binary("libc.so.6")


def test_two_files_of_one_name(tmp_path: Path) -> None:
    """One would be chosen by chance."""
    paths = [copied(tmp_path / folder / "libtwin.so") for folder in ("a", "b")]
    for path in paths:
        ctypes.CDLL(str(path))
    with pytest.raises(BpfError, match=r"several files called libtwin\.so; choose one: ") as caught:
        find_binary("libtwin.so", os.getpid())
    assert all(str(path) in str(caught.value) for path in paths)
    assert find_binary(paths[1], os.getpid()) == str(paths[1])


def test_a_library_of_a_process_in_a_chroot(tmp_path: Path) -> None:
    """The list names its files from this process's root, so /proc/PID/root leads nowhere."""
    path = copied(tmp_path / "root" / "lib" / "libinside.so")

    def run(tell: Callable[[int], object]) -> None:
        os.chroot(tmp_path / "root")
        ctypes.CDLL("/lib/libinside.so")
        tell(1)
        signal.pause()

    with Forked(run) as child:
        found = find_binary("libinside.so", child.pid)
        assert os.path.samefile(found, path)
        assert function_offset(found, "twice")
        # Its own name for it, which is another file's here, or none's.
        with pytest.raises(BpfFileNotFoundError, match=r"path: /lib/libinside\.so"):
            find_binary("/lib/libinside.so", child.pid)
