"""Pinning maps: names on a BPF file system."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ebpf
from ebpf import ArrayMap, HashMap, Map, asm
from ebpf._sys.facts import unprivileged_bpf_disabled
from ebpf.pin import BPFFS, is_bpffs
from tests.kernel import environment
from tests.kernel.maps.support import bpftool, python


@pytest.fixture
def m() -> Iterator[HashMap[int, int]]:
    with HashMap.create(key="I", value="Q", max_entries=4, name="pinned") as map:
        yield map


@pytest.mark.everywhere
def test_a_pinned_map_is_the_same_map(m: HashMap[int, int], bpffs: Path) -> None:
    """open() of a pinned map gives another map, or the pin is not the kernel's."""
    m.pin(bpffs / "counts")
    assert bpftool("map", "show", "pinned", str(bpffs / "counts"))["id"] == m.info().id
    with Map.open(bpffs / "counts", key="I", value="Q") as same:
        assert same.__class__ is HashMap
        assert same.name == "pinned"
        same[1] = 10
        assert m[1] == 10


def test_paths_of_any_kind(
    m: HashMap[int, int], bpffs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path as str, relative, or with characters beyond ASCII is not taken."""
    m.pin(str(bpffs / "str"))
    monkeypatch.chdir(bpffs)
    m.pin("relative")
    m.pin("./ünï côdé")
    for name in ("str", "relative", "ünï côdé"):
        with Map.open(name, key="I", value="Q") as same:
            assert same.info().id == m.info().id
    Map.unpin("relative")
    ebpf.unpin("ünï côdé")
    assert sorted(path.name for path in bpffs.iterdir()) == ["str"]


def test_a_pinned_map_outlives_its_process(bpffs: Path) -> None:
    """A pinned map goes away with the process that made it."""
    code = """
import sys, ebpf
with ebpf.HashMap.create(key="I", value="Q", max_entries=4, name="heritage") as m:
    m[7] = 70
    m.pin(sys.argv[1])
"""
    python(code, str(bpffs / "heritage"))
    with Map.open(bpffs / "heritage", key="I", value="Q") as m:
        assert m.to_dict() == {7: 70}
        assert m.name == "heritage"


@pytest.mark.everywhere
def test_two_processes_share_a_map(m: HashMap[int, int], bpffs: Path) -> None:
    """What another process writes into the pinned map is not seen here."""
    m.pin(bpffs / "shared")
    m[1] = 1
    code = """
import sys, ebpf
with ebpf.Map.open(sys.argv[1], key="I", value="Q") as m:
    m[2] = m[1] + 1
    print(m.info().id)
"""
    assert int(python(code, str(bpffs / "shared"))) == m.info().id
    assert m.to_dict() == {1: 1, 2: 2}


def test_unpin_removes_the_name_only(m: HashMap[int, int], bpffs: Path) -> None:
    """unpin() destroys a map that is in use, or leaves the name."""
    m.pin(bpffs / "name")
    m.unpin(bpffs / "name")
    assert list(bpffs.iterdir()) == []
    m[1] = 1
    assert m[1] == 1
    with pytest.raises(FileNotFoundError, match=r"unpin: nothing is pinned at .*/name"):
        m.unpin(bpffs / "name")
    m.pin(bpffs / "name")  # again


def test_the_last_name_gone_the_map_is_gone(bpffs: Path) -> None:
    """A map that nobody holds stays in the kernel after unpin()."""
    with HashMap.create(key="I", value="Q", max_entries=4) as m:
        id = m.info().id
        m.pin(bpffs / "last")
    with Map.from_id(id) as same:
        assert same.info().id == id
    ebpf.unpin(bpffs / "last")
    # Kernels before 6.2 let go of the map only when an RCU grace period is over.
    while any(map["id"] == id for map in bpftool("map", "show")):
        time.sleep(0.05)
    with pytest.raises(FileNotFoundError):
        Map.from_id(id)


def test_an_existing_path(m: HashMap[int, int], bpffs: Path) -> None:
    """Pinning over something is an error that doesn't say what to do, or replaces it."""
    with ArrayMap.create(value="Q", max_entries=1) as other:
        other.pin(bpffs / "taken")
        with pytest.raises(ebpf.EbpfError, match=r"pin .*'pinned'.*/taken exists; unpin") as caught:
            m.pin(bpffs / "taken")
        assert isinstance(caught.value, FileExistsError)
        assert caught.value.errno == errno.EEXIST
        with Map.open(bpffs / "taken") as same:
            assert same.info().id == other.info().id


def test_a_path_that_is_on_no_bpffs(m: HashMap[int, int], tmp_path: Path) -> None:
    """Without a BPF file system, the kernel's 'Invalid argument' is all one is told."""
    with pytest.raises(ebpf.BpfError, match=rf"{tmp_path} is not on a BPF .*below {BPFFS}"):
        m.pin(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError, match=r"on no BPF file system: choose a path below"):
        Map.open(tmp_path / "m")
    file = tmp_path / "file"
    file.write_text("no map")
    with pytest.raises(ebpf.BpfError, match=r"file is not an object pinned on a BPF file system"):
        Map.open(file)
    with pytest.raises(ebpf.BpfError, match=r"file is not on a BPF file system"):
        ebpf.unpin(file)
    assert file.exists()


def test_without_any_bpffs_the_mount_command_is_named() -> None:
    """Where no BPF file system is mounted at all, nobody says how to mount one."""
    code = f"""
import subprocess, ebpf
while ebpf.pin.is_bpffs("{BPFFS}"):
    subprocess.run(["umount", "{BPFFS}"], check=True)
with ebpf.HashMap.create(key="I", value="Q", max_entries=1) as m:
    for use in (lambda: m.pin("{BPFFS}/m"), lambda: ebpf.Map.open("{BPFFS}/m")):
        try:
            use()
        except ebpf.BpfError as error:
            print(error)
"""
    said = python(code, prefix=("unshare", "--mount", "--propagation", "private")).splitlines()
    assert len(said) == 2
    assert all("mount one with: mount -t bpf bpf /sys/fs/bpf" in line for line in said)


def test_a_missing_directory(m: HashMap[int, int], bpffs: Path) -> None:
    """A directory that doesn't exist is an error that doesn't name it."""
    with pytest.raises(FileNotFoundError, match=rf"the directory {bpffs}/no/such does not exist"):
        m.pin(bpffs / "no/such/m")
    with pytest.raises(FileNotFoundError, match=rf"nothing is pinned at {bpffs}/no/such/m") as e:
        Map.open(bpffs / "no/such/m")
    assert "mount" not in str(e.value)


def test_a_name_with_a_dot(m: HashMap[int, int], bpffs: Path) -> None:
    """A dot in the name, which bpffs refuses with EPERM, is blamed on missing rights."""
    with pytest.raises(ebpf.BpfError, match=r"has no '.': my.map") as caught:
        m.pin(bpffs / "my.map")
    assert "CAP_" not in str(caught.value)


def test_directories(m: HashMap[int, int], bpffs: Path) -> None:
    """A directory is opened as a map, or unpinned."""
    with pytest.raises(ebpf.BpfError, match=r"is not an object pinned"):
        Map.open(bpffs)
    with pytest.raises(ebpf.BpfError, match=r"unpin: .* is a directory"):
        ebpf.unpin(bpffs)
    assert bpffs.is_dir()


def test_the_wrong_kind_of_object(bpffs: Path) -> None:
    """A program at the path is opened as a map, or the error doesn't say that it is one."""
    code = [asm.mov(asm.R0, 0), asm.exit_()]
    with ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, code) as program:
        program.pin(bpffs / "program")
    with pytest.raises(
        ebpf.BpfError, match=r"map pinned at .*/program: it is a program, not a map"
    ):
        Map.open(bpffs / "program")
    with ArrayMap.create(value="Q", max_entries=1) as array:
        array.pin(bpffs / "array")
    with pytest.raises(ebpf.BpfError, match=r"/array: it is an ARRAY map, no HashMap"):
        HashMap.open(bpffs / "array")


def test_codecs_that_do_not_fit(m: HashMap[int, int], bpffs: Path) -> None:
    """A pinned map is opened with codecs of other sizes, so that reads overrun."""
    m.pin(bpffs / "m")
    with pytest.raises(ebpf.CodecError, match=r"value of the map pinned at .* has 8 .* takes 4"):
        Map.open(bpffs / "m", key="I", value="I")


def test_another_mount_of_a_bpffs_counts(m: HashMap[int, int], tmp_path: Path) -> None:
    """A BPF file system that is mounted elsewhere, in a directory with odd names, is not seen."""
    directory: Any = tmp_path / "b p\tf\r ü\\040"
    directory.mkdir()
    subprocess.run(["mount", "-t", "bpf", "none", directory], check=True)
    try:
        assert is_bpffs(directory)
        assert not is_bpffs(tmp_path)
        m.pin(directory / "m")
        with Map.open(directory / "m") as same:
            assert same.info().id == m.info().id
        link = tmp_path / "link"
        link.symlink_to(directory)
        with Map.open(link / "m") as same:
            assert same.info().id == m.info().id
    finally:
        subprocess.run(["umount", directory], check=True)
    assert not is_bpffs(directory)


@pytest.fixture
def unlisted() -> Iterator[Path]:
    """A BPF file system that is not among this process's mounts, as a container's is not."""
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    # fsopen(), fsconfig() to make it, fsmount(): the same numbers on every architecture.
    fs = syscall(430, b"bpf", 1)
    assert syscall(431, fs, 6, None, None, 0) == 0, os.strerror(ctypes.get_errno())
    mount = syscall(432, fs, 1, 0)
    assert mount >= 0, os.strerror(ctypes.get_errno())
    yield Path(f"/proc/self/fd/{mount}")
    os.close(mount)
    os.close(fs)


def test_a_bpffs_that_this_process_has_not_mounted(m: HashMap[int, int], unlisted: Path) -> None:
    """What /proc/PID/root leads to, in another mount namespace, is taken for no BPF file system."""
    assert is_bpffs(unlisted)
    m.pin(unlisted / "m")
    with Map.open(unlisted / "m") as same:
        assert same.info().id == m.info().id
    ebpf.unpin(unlisted / "m")
    with pytest.raises(FileNotFoundError, match=r"nothing is pinned at [^;]*$"):
        Map.open(unlisted / "m")


@pytest.mark.parametrize("bad", [None, 7, 1.5], ids=repr)
def test_a_path_of_a_wrong_type(m: HashMap[int, int], bad: Any) -> None:
    """A number is taken for a path, or for a descriptor of one."""
    for use in (m.pin, Map.open, ebpf.unpin):
        with pytest.raises(TypeError):
            use(bad)


AS_NOBODY = """
import os, sys, ebpf
m = ebpf.HashMap.create(key="I", value="Q", max_entries=1)
# All of it as root: nobody may have no way into the folder of the interpreter.
for name in ebpf.__all__:
    getattr(ebpf, name)
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
for use in (m.pin, ebpf.Map.open, ebpf.Program.open, ebpf.unpin):
    try:
        use(sys.argv[1])
    except (ebpf.BpfPermissionError, FileExistsError) as error:
        print(error)
m.close()
"""


def test_a_directory_that_may_not_be_searched(m: HashMap[int, int], bpffs: Path) -> None:
    """Who may not look there is told that nothing is pinned, or that there is no directory."""
    m.pin(bpffs / "there")
    closed = bpffs / "closed"
    (closed / "below").mkdir(parents=True)
    try:
        for directory, mode in ((closed, 0o700), (bpffs, 0o711), (bpffs, 0o640)):
            directory.chmod(mode)
            path = closed / "below" / "name"
            said = python(AS_NOBODY, str(path)).splitlines()
            # The outermost that is closed to others is what is in the way.
            blamed = closed if directory == closed or mode == 0o711 else bpffs
            shown = f"the directory {blamed} (mode {0o700 if blamed == closed else mode:04o}, owner"
            assert len(said) == 4, said
            assert all(f"may not search {shown}" in line for line in said)
    finally:
        bpffs.chmod(0o755)
        (closed / "below").rmdir()
        closed.rmdir()


def test_a_pin_of_another_user_says_whose_it_is(m: HashMap[int, int], bpffs: Path) -> None:
    """EACCES alone says neither what is in the way nor what to do about it."""
    m.pin(bpffs / "there")
    (bpffs / "there").chmod(0o640)
    (said,) = [
        line
        for line in python(AS_NOBODY, str(bpffs / "there")).splitlines()
        if line.startswith("open map")
    ]
    assert said.startswith(f"open map pinned at {bpffs}/there: ")
    # Before 5.19 the switch for unprivileged BPF closes every command, and nobody looks at modes.
    closed = environment.kernel_version() < (5, 19) and unprivileged_bpf_disabled() in (1, 2)
    expected = "unprivileged BPF is disabled" if closed else "the pin is mode 0640, owner 0:0; open"
    assert expected in said


def test_a_name_that_may_not_be_removed(m: HashMap[int, int], bpffs: Path) -> None:
    """The error is not the library's, or says nothing of the directory."""
    m.pin(bpffs / "there")
    (said,) = [
        line
        for line in python(AS_NOBODY, str(bpffs / "there")).splitlines()
        if line.startswith("unpin")
    ]
    assert f"may not remove {bpffs}/there: it takes write permission for {bpffs}" in said


def test_a_symbolic_link_to_nothing(bpffs: Path, tmp_path: Path) -> None:
    """A link that leads nowhere ends in an error of the operating system."""
    link = tmp_path / "link"
    link.symlink_to(bpffs / "nothing")
    with pytest.raises(ebpf.BpfError, match="is not an object pinned on a BPF file system"):
        Map.open(link)


def test_a_file_in_the_place_of_the_directory(m: HashMap[int, int], tmp_path: Path) -> None:
    """A path through a file is an error that hides what is wrong with it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match=rf"the directory {tmp_path}/file does not exist"):
        m.pin(tmp_path / "file" / "m")
    with pytest.raises(FileNotFoundError, match="nothing is pinned at"):
        Map.open(tmp_path / "file" / "m")
