"""What is mapped, of this process: as the kernel lists files of every name and on every file
system."""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("ebpf._ffi", reason="the extension is not built", exc_type=ImportError)

from ebpf._sys.mappings import Mapping, executable_mappings
from ebpf.errors import BpfProcessLookupError


@contextmanager
def mapped(path: Path) -> Iterator[Mapping]:
    """The file at `path`, while it is mapped to be run."""
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC),
    ):
        inode = os.fstat(file.fileno()).st_ino
        (found,) = (m for m in executable_mappings(os.getpid()) if m.inode == inode)
        yield found


@pytest.mark.parametrize("odd", "\n\r\v\f\x1c\x1d\x1e\x85\u2028 \udcff")
def test_names_that_files_may_have(tmp_path: Path, odd: str) -> None:
    """One such file in a process, and nothing of the process could be looked up."""
    path = tmp_path / f"od{odd}d name"
    path.write_bytes(bytes(5000))
    with mapped(path) as found:
        assert found.path == str(path)
        assert found.end - found.start == -5000 // mmap.PAGESIZE * -mmap.PAGESIZE
        assert found.is_file(str(path))
    assert any(m.path.endswith("[vdso]") for m in executable_mappings(os.getpid()))


def test_a_file_that_was_replaced(tmp_path: Path) -> None:
    """The new file would be taken for the one that runs."""
    path = tmp_path / "replaced"
    path.write_bytes(bytes(100))
    with mapped(path) as before:
        assert os.path.samefile(before.find(os.getpid()) or "", path)
        (tmp_path / "new").write_bytes(bytes(100))
        os.rename(tmp_path / "new", path)
        (found,) = (m for m in executable_mappings(os.getpid()) if m.start == before.start)
        assert found.path == f"{path} (deleted)"
        assert found.name == str(path)
        assert not found.is_file(str(path))
        # Open to those who may follow what the kernel leads to.
        assert found.find(os.getpid()) in (found.exact(os.getpid()), None)
    for other in (tmp_path, tmp_path / "none", Path("/dev/null")):
        assert not before.is_file(str(other))


def test_a_file_whose_numbers_are_others_to_stat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On btrfs and overlayfs every file would be taken for another one."""
    path, copy = tmp_path / "one", tmp_path / "two"
    path.write_bytes(bytes(100))
    shutil.copy(path, copy)

    def stat(name: str) -> SimpleNamespace:
        real = os.lstat(name)
        return SimpleNamespace(
            st_mode=real.st_mode, st_size=real.st_size, st_dev=1 << 40, st_ino=real.st_ino
        )

    with mapped(path) as found:
        monkeypatch.setattr(os, "stat", stat)
        assert found.is_file(str(path))
        assert not found.is_file(str(copy))


def test_a_process_that_does_not_exist() -> None:
    """A missing file of /proc would not say which process."""
    with pytest.raises(BpfProcessLookupError, match="pid: read the mappings of process 999999999"):
        executable_mappings(999999999)
