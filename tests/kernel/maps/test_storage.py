"""StorageMap: values that live with a socket, task, inode or cgroup."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ebpf
from ebpf import MapType, UpdateFlags
from ebpf.maps.storage import StorageMap
from tests.kernel.environment import descriptors
from tests.kernel.maps.support import Btf


@contextmanager
def storage(type: MapType) -> Iterator[StorageMap[int]]:
    types = Btf()
    key, value = types.integer("int", 4, signed=True), types.integer("long", 8, signed=True)
    with (
        types.load() as btf,
        StorageMap.create(
            type, value="q", name="store", btf=btf, btf_key_type_id=key, btf_value_type_id=value
        ) as m,
    ):
        yield m


def exercise(m: StorageMap[int], key: Any) -> None:
    assert m.lookup(key) is None
    assert key not in m
    with pytest.raises(KeyError):
        m[key]
    m[key] = -5
    assert m[key] == m.lookup(key) == -5
    assert key in m
    with pytest.raises(FileExistsError, match=r"NOEXIST"):
        m.put(key, 6, UpdateFlags.NOEXIST)
    assert m.delete(key) is True
    assert m.delete(key) is False
    with pytest.raises(KeyError):
        del m[key]


def test_sockets() -> None:
    """The value of one socket is another's, or the socket itself is no key."""
    with storage(MapType.SK_STORAGE) as m, socket.socket() as one, socket.socket() as two:
        exercise(m, one)
        m[one], m[two.fileno()] = 1, 2
        assert (m[one], m[two]) == (1, 2)


def test_tasks() -> None:
    """A pidfd is no key of task storage."""
    with storage(MapType.TASK_STORAGE) as m:
        pidfd = os.pidfd_open(os.getpid())
        try:
            exercise(m, pidfd)
        finally:
            os.close(pidfd)


def test_tasks_by_their_process() -> None:
    """A process is no key, or stands for another task; its descriptor is left open."""
    with storage(MapType.TASK_STORAGE) as m, subprocess.Popen(["sleep", "100"]) as child:
        pidfd = os.pidfd_open(child.pid)
        try:
            exercise(m, child)
            m[child] = 5
            assert m[pidfd] == 5
        finally:
            os.close(pidfd)
            child.kill()


def test_tasks_that_are_none() -> None:
    """The error names neither the key nor the map, or a process that has the number of one that
    ended is taken for it."""
    ended = SimpleNamespace(pid=os.getpid(), returncode=0)
    with storage(MapType.TASK_STORAGE) as m, Path("/dev/null").open("rb") as file:
        m[SimpleNamespace(pid=os.getpid(), returncode=None)] = 1
        for key, told in ((ended, "has ended"), (SimpleNamespace(pid=1 << 30), "1073741824")):
            with pytest.raises(ProcessLookupError, match=rf"key of .*'store'.*{told}"):
                m[key]
        with pytest.raises(ebpf.BpfError, match=r"key of .*'store'.*the process -1: "):
            m[SimpleNamespace(pid=-1)]
        for use in (m.lookup, m.delete, lambda key: m.put(key, 1)):
            with pytest.raises(ebpf.BpfError, match=r"'store'.*: the key is no pidfd"):
                use(file)
    with pytest.raises(ebpf.ClosedError):
        m.lookup(0)


def test_a_key_that_does_not_fit_its_codec() -> None:
    """The descriptor of a task is left open where the map's keys are no descriptors."""
    with storage(MapType.TASK_STORAGE) as m, StorageMap.from_fd(m.fileno(), key=4) as raw:
        before = descriptors()
        with pytest.raises(ebpf.CodecError, match=r"^key of .* is not bytes"):
            raw.lookup(SimpleNamespace(pid=os.getpid()))
        assert descriptors() == before


@pytest.mark.needs_config("CONFIG_BPF_LSM")
def test_inodes(tmp_path: Path) -> None:
    """A path is no key, or its value is another file's."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.touch()
    two.touch()
    with storage(MapType.INODE_STORAGE) as m, one.open() as file:
        exercise(m, one)
        m[str(one)], m[two] = 1, 2
        assert (m[file], m[one], m[two]) == (1, 1, 2)
        with pytest.raises(FileNotFoundError, match=r"^key of .*'store'.*/three"):
            m[tmp_path / "three"]


@pytest.mark.needs_config("CONFIG_CGROUPS")
def test_cgroups(tmp_path: Path) -> None:
    """A cgroup's directory is no key of cgroup storage (6.2), or any directory is."""
    with storage(MapType.CGRP_STORAGE) as m:
        directory = tmp_path / "cgroup"
        directory.mkdir()
        subprocess.run(["mount", "-t", "cgroup2", "none", directory], check=True)
        try:
            exercise(m, directory)
            with pytest.raises(ebpf.BpfError, match=r"write the key"):
                m[tmp_path] = 1
        finally:
            subprocess.run(["umount", directory], check=True)


def test_it_can_not_be_iterated() -> None:
    """Iterating local storage, which the kernel can't, gives nothing instead of an error."""
    with storage(MapType.SK_STORAGE) as m, socket.socket() as one:
        m[one] = 1
        with pytest.raises(AttributeError, match=r"STORAGE map has no 'to_dict'"):
            m.to_dict()
        with pytest.raises(TypeError, match="'StorageMap' object is not iterable"):
            iter(m)  # type: ignore[call-overload]


def test_a_key_that_is_no_socket() -> None:
    """Any descriptor is taken for a socket, or the error doesn't name the map."""
    with storage(MapType.SK_STORAGE) as m:
        with pytest.raises(ebpf.BpfError, match=r"write the key .*'store'.*the key is no socket"):
            m[m] = 1
        with pytest.raises(ebpf.CodecError, match=r"^key of .*'store'"):
            m["socket"] = 1
