"""The kernel's BTF, indexed by the extension."""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf._sys import facts
from ebpf.btf import Btf
from ebpf.errors import BpfFileNotFoundError, BtfError, NotSupportedError

from .blob import Blob
from .test_btf import kernel_and_module
from .test_malformed import SAMPLES

pytest.importorskip("ebpf._ffi", reason="the extension is not built", exc_type=ImportError)
kernel_btf = pytest.importorskip("ebpf.kernel_btf")


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stands for /sys/kernel/btf, with a kernel and a module of three types."""
    kernel, module = kernel_and_module()
    (tmp_path / "vmlinux").write_bytes(kernel.build())
    (tmp_path / "mod").write_bytes(module.build())
    (tmp_path / "modules" / "plain").mkdir(parents=True)
    monkeypatch.setattr(kernel_btf, "BTF_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(kernel_btf, "MODULE_DIRECTORY", str(tmp_path / "modules"))
    monkeypatch.setattr(kernel_btf, "VMLINUX_FILES", (str(tmp_path / "vmlinux-{0}"),))
    kernel_btf.release()
    yield tmp_path
    kernel_btf.release()


def test_every_type_of_the_kernel_is_the_one_of_the_pure_code(vmlinux: bytes) -> None:
    """Fails when the index of the extension leads to other types than the pure one."""
    btf = kernel_btf.kernel_btf()
    pure = Btf(vmlinux)
    assert (btf.start_id, btf.end_id) == (pure.start_id, pure.end_id)
    assert all(a == b for a, b in zip(btf.types(), pure.types(), strict=True))
    for name in ("task_struct", "int", "bpf_prog_load"):
        assert [t.id for t in btf.find_all(name)] == [t.id for t in pure.find_all(name)]
    kernel_btf.release()


def test_the_kernel_is_opened_once_until_it_is_released(directory: Path) -> None:
    """Fails when each lookup opens the file again, or release keeps the old one."""
    first = kernel_btf.kernel_btf()
    assert kernel_btf.kernel_btf() is first
    blob = Blob()
    blob.struct("later", 1)
    (directory / "other").write_bytes(blob.build())
    os.replace(directory / "other", directory / "vmlinux")
    kernel_btf.release()
    assert kernel_btf.kernel_btf().find_struct("later").size == 1
    assert first.find_struct("shared").size == 8


def test_a_module_continues_the_kernel(directory: Path) -> None:
    """Fails when the BTF of a module is opened without its base."""
    btf = kernel_btf.kernel_btf("mod")
    assert btf.base is kernel_btf.kernel_btf()
    assert btf.find_struct("own").offsetof("second.value") == 8
    assert kernel_btf.kernel_btf("mod") is btf


def test_a_module_that_was_loaded_anew(directory: Path) -> None:
    """Fails when the types are those of the module that was there before, or of one that went."""
    before = kernel_btf.kernel_btf("mod")
    _, module = kernel_and_module()
    module.struct("newer", 4)
    (directory / "other").write_bytes(module.build())
    os.replace(directory / "other", directory / "mod")
    assert kernel_btf.kernel_btf("mod").find_struct("newer").size == 4
    assert not before.find_all("newer")
    (directory / "mod").unlink()
    with pytest.raises(BpfFileNotFoundError, match="module mod, which is not loaded"):
        kernel_btf.kernel_btf("mod")


def test_what_is_missing_is_named(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when the error does not say which build option or module is missing."""
    with pytest.raises(BpfFileNotFoundError, match="module absent, which is not loaded"):
        kernel_btf.kernel_btf("absent")
    monkeypatch.setattr(facts, "kernel_version", lambda: (5, 11))
    with pytest.raises(NotSupportedError, match="CONFIG_DEBUG_INFO_BTF_MODULES"):
        kernel_btf.kernel_btf("plain")
    monkeypatch.setattr(facts, "kernel_version", lambda: (5, 10))
    with pytest.raises(NotSupportedError, match=r"module plain \(requires Linux 5\.11"):
        kernel_btf.kernel_btf("plain")
    (directory / "vmlinux").unlink()
    kernel_btf.release()
    with pytest.raises(NotSupportedError, match="without CONFIG_DEBUG_INFO_BTF"):
        kernel_btf.kernel_btf()


@pytest.mark.parametrize("name", ["", "../vmlinux", ".", "a/b"])
def test_a_module_name_is_no_path(name: str) -> None:
    """Fails when a name reaches files outside the folder."""
    with pytest.raises(ValueError, match="module is"):
        kernel_btf.kernel_btf(name)


def test_a_file_that_cannot_be_mapped_is_read(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails on kernels before 6.16, which refuse to map the file."""

    def refuse(*args: Any) -> mmap.mmap:
        raise OSError(errno.ENODEV, "no mapping")

    monkeypatch.setattr(kernel_btf, "_Mapping", refuse)
    data = kernel_btf._contents(str(directory / "vmlinux"))
    assert data == (directory / "vmlinux").read_bytes()
    monkeypatch.undo()


@pytest.mark.parametrize("data", SAMPLES)
def test_the_extension_finds_what_the_pure_code_finds(data: bytes) -> None:
    """Fails when the byte order or the layout section is not handed to the C core."""
    fast, pure = kernel_btf.indexed_btf(data), Btf(data)
    assert list(fast.types()) == list(pure.types())
    for type in pure.types():
        if type.name:
            assert fast.find_all(type.name) == pure.find_all(type.name)


def test_malformed_btf_is_explained_by_the_pure_code() -> None:
    """Fails when the C core's errno is all that is said of a damaged file."""
    blob = Blob()
    blob.integer()
    blob.add(90)
    with pytest.raises(BtfError, match="type 2 at offset 16: unknown kind 90"):
        kernel_btf.indexed_btf(blob.build())


@given(
    data=st.lists(st.sampled_from([b"\0", b"a", b"b", b"___"]), min_size=1, max_size=40),
    text=st.lists(st.sampled_from([b"\0", b"a", b"b", b"_"]), max_size=5),
    bounds=st.tuples(st.integers(0, 50), st.integers(0, 50)),
)
def test_texts_are_found_where_bytes_have_them(
    data: list[bytes], text: list[bytes], bounds: tuple[int, int]
) -> None:
    """Fails when the search in C finds another place than Python's, or looks past the end."""
    raw, needle = b"".join(data), b"".join(text)
    with tempfile.TemporaryFile() as file:
        file.write(raw)
        file.flush()
        with kernel_btf._Mapping(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ) as mapping:
            start, end = sorted(min(bound, len(raw)) for bound in bounds)
            assert mapping.find(needle, start, end) == raw.find(needle, start, end)
            assert mapping.find(needle, start) == raw.find(needle, start)
