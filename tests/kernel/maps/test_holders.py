"""What maps that hold kernel objects do for programs, beyond tests/kernel/maps/test_objects.py."""

from __future__ import annotations

import operator
import os
import socket
import struct
import subprocess
import sys
import threading
from collections import abc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ebpf
from ebpf import ArrayMap, DescriptorArray, HashMap, Map, MapType, ProgramType, asm
from ebpf._sys import bpf
from ebpf.asm import R0, R1, R2, R10, Helper
from ebpf.types import AttachType
from tests.kernel.links.hooks import inside_cgroup

SO_COOKIE = 57  # include/uapi/asm-generic/socket.h
AF_XDP = 44
SOL_XDP = 283
XDP_RX_RING = 2


def first_of_inner(outer: Any, key: int) -> list[Any]:
    """Instructions that return slot 0 of the array that `outer` has for `key`, or 0."""
    find = [asm.add(R2, -4), asm.call(Helper.MAP_LOOKUP_ELEM), asm.jeq(R0, 0, "absent")]
    return [
        asm.stw(R10 - 4, key),
        asm.mov(R2, R10),
        asm.ld_map_fd(R1, outer),
        *find,
        asm.stw(R10 - 4, 0),
        asm.mov(R1, R0),
        asm.mov(R2, R10),
        *find,
        asm.ldxdw(R0, R0),
        asm.exit_(),
        asm.Label("absent"),
        asm.mov(R0, 0),
        asm.exit_(),
    ]


@pytest.mark.parametrize("type", [MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS], ids=str)
def test_inner_maps_are_replaced_while_a_program_uses_them(type: MapType) -> None:
    """A program sees no map, a wrong one or freed memory while the inner maps are exchanged."""
    options: dict[str, Any] = {} if type == MapType.ARRAY_OF_MAPS else {"key": "I", "value": "I"}
    inner = [ArrayMap.create(value="Q", max_entries=1) for _ in range(4)]
    for number, one in enumerate(inner):
        one[0] = 100 + number
    stop = threading.Event()
    with Map.create(type, max_entries=4, inner=inner[0], **options) as outer:
        outer[1] = inner[0]
        with ebpf.Program.load(
            ProgramType.SOCKET_FILTER, first_of_inner(outer, 1), license="GPL"
        ) as program:

            def replace() -> None:
                turn = 0
                while not stop.is_set():
                    turn += 1
                    outer[1] = inner[turn % 4]

            thread = threading.Thread(target=replace)
            thread.start()
            seen = {program.test_run(bytes(14), repeat=20).return_value for _ in range(400)}
            stop.set()
            thread.join()
            assert seen <= {100, 101, 102, 103}
            # The map that was taken out lives on with its descriptor only.
            outer[1] = inner[2]
            assert program.test_run(bytes(14)).return_value == 102
            for one in inner:
                one.close()
            assert program.test_run(bytes(14)).return_value == 102
            del outer[1]
            assert program.test_run(bytes(14)).return_value == 0


def test_an_inner_map_of_another_kind_is_refused() -> None:
    """A map with other sizes than the example is taken, or the error does not name the key."""
    with (
        ArrayMap.create(value="Q", max_entries=1) as example,
        ArrayMap.create(value="I", max_entries=1) as narrow,
        HashMap.create(key="I", value="Q", max_entries=1) as hash,
        DescriptorArray.create(
            MapType.ARRAY_OF_MAPS, max_entries=2, inner=example, name="outer"
        ) as outer,
    ):
        wanted = r"not ARRAY with keys of 4 and values of 8 bytes, 1 entries\) to .*'outer'"
        for wrong, own in (
            (narrow, r"ARRAY with keys of 4 and values of 4 bytes"),
            (hash, r"HASH with keys of 4 and values of 8 bytes"),
        ):
            with pytest.raises(ebpf.BpfError, match=rf"key 1 \(value: .* is {own}.*{wanted}"):
                outer[1] = wrong
        with DescriptorArray.from_id(outer.info().id) as opened:
            with pytest.raises(ebpf.BpfError, match=r"values of 4 bytes.*unlike the inner map"):
                opened[1] = narrow
            with pytest.raises(ebpf.BpfError, match=r"value: 999 is no map\).*EBADF"):
                opened[1] = 999
        assert list(outer) == []


def test_a_map_of_objects_that_is_opened_takes_objects() -> None:
    """Its values would be bytes, and a map or an interface none of them."""
    with (
        ArrayMap.create(value="Q", max_entries=1) as inner,
        HashMap.create(MapType.HASH_OF_MAPS, key="I", max_entries=2, inner=inner) as outer,
        HashMap.from_id(outer.info().id) as opened,
        HashMap.create(MapType.DEVMAP_HASH, key="I", value="II", max_entries=2) as devices,
        HashMap.from_id(devices.info().id, key="I") as same,
        DescriptorArray.create(MapType.SOCKMAP, value="Q", max_entries=1) as sockets,
        DescriptorArray.from_id(sockets.info().id) as cookies,
    ):
        opened[struct.pack("I", 7)] = inner
        assert dict(outer.items()) == {7: inner.info().id}
        same[1] = (1, 0)
        assert devices[1][0] == 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            cookies[0] = one
            assert cookies[0] == int.from_bytes(
                one.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), sys.byteorder
            )


def test_a_descriptor_of_something_else_is_named() -> None:
    """EBADF and EINVAL would not say that it is the value that is wrong, and what it must be."""
    with (
        DescriptorArray.create(MapType.PROG_ARRAY, max_entries=1) as programs,
        DescriptorArray.create(MapType.CGROUP_ARRAY, max_entries=1) as cgroups,
        Map.create(MapType.PERF_EVENT_ARRAY) as events,
        open("/dev/null") as file,
    ):
        for map, what in (
            (programs, "program"),
            (cgroups, "cgroup v2 directory"),
            (events, "perf event"),
        ):
            with pytest.raises(ebpf.BpfError, match=rf"\(value: <.*null.*> is no {what}.*to <.*"):
                map[0] = file


@pytest.fixture
def cgroups(tmp_path: Path) -> Iterator[Path]:
    """A cgroup of our own, below the root of a private mount, without any process in it."""
    directory = tmp_path / "cgroups"
    directory.mkdir()
    subprocess.run(["mount", "-t", "cgroup2", "none", directory], check=True)
    own = directory / f"ebpf-test-{os.getpid()}"
    own.mkdir()
    yield own
    own.rmdir()
    subprocess.run(["umount", directory], check=True)


@pytest.mark.needs_config("CONFIG_CGROUPS")
def test_a_cgroup_array_answers_who_is_in_a_cgroup(cgroups: Path) -> None:
    """A program is told of another cgroup than the one in the slot."""
    with DescriptorArray.create(MapType.CGROUP_ARRAY, max_entries=2) as m:
        for index, path in enumerate((cgroups.parent, cgroups)):
            fd = os.open(path, os.O_RDONLY)
            m[index] = fd
            os.close(fd)
        answers = []
        for index in range(2):
            code = [
                asm.ld_map_fd(R1, m),
                asm.mov(R2, index),
                asm.call(Helper.CURRENT_TASK_UNDER_CGROUP),
                asm.exit_(),
            ]
            with ebpf.Program.load(ProgramType.RAW_TRACEPOINT, code, license="GPL") as program:
                answers.append(program.test_run().return_value)
        assert answers == [1, 0]


def receive_packets(count: int) -> None:
    """In the cgroup where this process is now, to which its new sockets belong."""
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.settimeout(60)
        one.bind(("127.0.0.1", 0))
        for _ in range(count):
            one.sendto(b"1", one.getsockname())
            one.recv(1)


@pytest.mark.needs_config("CONFIG_CGROUP_BPF")
@pytest.mark.parametrize("type", [MapType.CGROUP_STORAGE, MapType.PERCPU_CGROUP_STORAGE], ids=str)
def test_the_storage_of_an_attached_program_is_readable(type: MapType, cgroups: Path) -> None:
    """The deprecated cgroup storage has another key, or can't be read or written, or a program sees
    another value than is read."""
    fd = os.open(cgroups, os.O_RDONLY)
    try:
        with Map.create(type, key="QI", value="Q") as m:
            code = [
                asm.ld_map_fd(R1, m),
                asm.mov(R2, 0),
                asm.call(Helper.GET_LOCAL_STORAGE),
                asm.mov(R1, 1),
                asm.atomic_add(R0 + 0, R1),
                asm.mov(R0, 1),
                asm.exit_(),
            ]
            with ebpf.Program.load(
                ProgramType.CGROUP_SKB,
                code,
                license="GPL",
            ) as program:
                key = (cgroups.stat().st_ino, int(AttachType.CGROUP_INET_INGRESS))
                assert m.lookup(key) is None
                link = bpf.link_create(
                    prog_fd=program.fileno(),
                    target_fd=fd,
                    attach_type=AttachType.CGROUP_INET_INGRESS,
                )
                value = 7 if type == MapType.CGROUP_STORAGE else [7] * len(m.lookup(key))
                m.put(key, value, ebpf.UpdateFlags.EXIST)
                assert m.lookup(key) == value
                assert key in m
                with inside_cgroup(cgroups):
                    receive_packets(3)
                if type == MapType.CGROUP_STORAGE:
                    assert m.lookup(key) == 7 + 3
                else:
                    assert m.lookup(key).sum() == sum(value) + 3
                os.close(link)
    finally:
        os.close(fd)


@pytest.mark.needs_config("CONFIG_XDP_SOCKETS")
def test_an_xskmap_takes_sockets_of_its_family() -> None:
    """An AF_XDP socket can't be put into an XSKMAP, or any socket can."""
    with DescriptorArray.create(MapType.XSKMAP, max_entries=2, name="xsks") as m:
        with socket.socket(AF_XDP, socket.SOCK_RAW) as xdp, socket.socket() as other:
            refused = ""
            try:
                m[1] = xdp
            except ebpf.BpfError as error:  # 6.18 takes one that cannot receive, 7.3 does not.
                refused = str(error)
            assert not refused or "set XDP_RX_RING up first" in refused
            xdp.setsockopt(SOL_XDP, XDP_RX_RING, 64)
            m[1] = xdp
            assert m.delete(0) is True  # It does not tell.
            del m[1]
            with pytest.raises(ebpf.BpfError, match=r"write the key 0 to .*'xsks'"):
                m[0] = other
        with pytest.raises(ebpf.NotSupportedError, match=r"'xsks'"):
            m[0]


@pytest.mark.needs_config("CONFIG_INET")
def test_a_sockarray_holds_sockets_of_a_group() -> None:
    """A listening socket is not the one that the kernel then holds in its slot."""
    with (
        DescriptorArray.create(MapType.REUSEPORT_SOCKARRAY, value="Q", max_entries=2) as m,
        socket.socket() as one,
    ):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("127.0.0.1", 0))
        one.listen()
        cookie = struct.unpack("Q", one.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0]
        m[1] = one
        assert m[1] == cookie
        assert dict(m.items()) == {1: cookie}
        del m[1]
        assert list(m) == []


def test_a_missing_operation_says_which_there_are() -> None:
    """Asking a queue for a key, or an array to delete, is answered without naming what it has."""
    with (
        ebpf.QueueMap.create(value="Q", max_entries=1) as queue,
        ArrayMap.create(value="Q", max_entries=1) as array,
        Map.create(MapType.RINGBUF, max_entries=4096) as ring,
    ):
        with pytest.raises(AttributeError, match=r"QUEUE map has no 'lookup'; .*: .*peek.*pop.*pu"):
            queue.lookup(1)  # type: ignore[attr-defined]
        with pytest.raises(AttributeError, match=r"ARRAY map has no 'delete'; an Arr.*lookup"):
            array.delete(1)  # type: ignore[attr-defined]
        with pytest.raises(AttributeError, match=r"QueueMap has no 'lookup'"):
            ebpf.QueueMap.lookup  # type: ignore[attr-defined]  # noqa: B018
        assert not hasattr(ring, "lookup")
        assert not hasattr(array, "delete")
        with pytest.raises(AttributeError, match=r"RINGBUF map has no 'items'.*ebpf.RingBuffer\(m"):
            ring.items()


@pytest.mark.parametrize(
    ("use", "named"),
    [
        (lambda m: m[1], r"m\[...\];"),
        (lambda m: operator.setitem(m, 1, 1), r"m\[...\] = "),
        (lambda m: operator.delitem(m, 1), "del m"),
    ],
)
def test_a_missing_operator_says_which_operations_there_are(
    use: Callable[[Any], object], named: str
) -> None:
    """Python's own words name neither the map nor what it can do."""
    with (
        ebpf.QueueMap.create(value="Q", max_entries=1) as queue,
        pytest.raises(TypeError, match=rf"QUEUE map has no {named}.*: .*peek.*pop.*push"),
    ):
        use(queue)


def test_a_map_is_what_it_can_do_and_no_more() -> None:
    """A ring is iterable for collections.abc, and what goes by that; dir() has what it can't do."""
    uses: list[Callable[[Any], object]] = [list, len, lambda m: 1 in m]
    with (
        ebpf.QueueMap.create(value="Q", max_entries=1) as queue,
        ArrayMap.create(value="Q", max_entries=1, flags=ebpf.MapFlags.MMAPABLE) as array,
        HashMap.create(key="I", value="Q", max_entries=1) as hash,
        Map.create(MapType.RINGBUF, max_entries=4096) as ring,
    ):
        kinds = (abc.Iterable, abc.Container, abc.Sized)
        for m, expected in ((queue, ()), (ring, ()), (array, kinds), (hash, kinds)):
            assert tuple(kind for kind in kinds if isinstance(m, kind)) == expected
            assert [name for name in dir(m) if not hasattr(m, name)] == []
        assert {"push", "max_entries"} <= {*dir(queue)}
        assert {"pop", "to_dict", "__getitem__"} & {*dir(ring)} == set()
        for use in uses:
            with pytest.raises(TypeError, match="QueueMap"):
                use(queue)


def test_operations_that_no_map_of_the_type_can_do() -> None:
    """They would fail in the kernel, with a number."""
    array: Any = ArrayMap.create(value="Q", max_entries=1)
    stacks = ebpf.StackTraceMap.create(max_entries=1)
    storage: Any = ebpf.StorageMap.create(MapType.SK_STORAGE, value="I")
    with array, stacks, storage:
        with pytest.raises(TypeError, match=r"ARRAY map has no del m"):
            del array[0]
        missing = [(stacks, "put"), (storage, "to_dict"), (storage, "lookup_cpu")]
        for m, name in [*missing, (array, "lookup_and_delete_batch")]:
            with pytest.raises(AttributeError, match=rf"map has no '{name}'; "):
                getattr(m, name)
        with pytest.raises(TypeError, match="'StorageMap' object is not iterable"):
            list(storage)
