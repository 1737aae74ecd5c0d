"""Maps that hold kernel objects: programs, maps, sockets, devices, CPUs, cgroups, events."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import ebpf
from ebpf import ArrayMap, DescriptorArray, HashMap, Map, MapType, asm
from ebpf.asm import R0, R1, R2, R3, R6, Helper
from tests.kernel.maps.support import bpftool, dumped

LOOPBACK = 1
SO_COOKIE = 57  # include/uapi/asm-generic/socket.h


def returning(number: int) -> list[Any]:
    return [asm.mov(R0, number), asm.exit_()]


@pytest.fixture
def program() -> Iterator[ebpf.Program]:
    with ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, returning(7), name="seven") as loaded:
        yield loaded


def test_a_program_array_is_what_tail_calls_follow(program: ebpf.Program) -> None:
    """A program put into a slot is not the one that a tail call runs, or stays after del."""
    with DescriptorArray.create(MapType.PROG_ARRAY, max_entries=4, name="calls") as m:
        # SOCKET_FILTER: the context is in R1.
        code = [
            asm.mov(R6, R1),
            asm.ld_map_fd(R2, m),
            asm.mov(R3, 2),
            asm.call(Helper.TAIL_CALL),
            *returning(1),
        ]
        with ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, code) as caller:
            assert caller.test_run(bytes(14)).return_value == 1
            m[2] = program
            assert caller.test_run(bytes(14)).return_value == 7
            assert m[2] == m.lookup(2) == program.info().id
            assert list(m) == [2]
            assert list(m.items()) == [(2, program.info().id)]
            assert 2 in m
            assert 3 not in m
            assert dumped(m)[struct.pack("I", 2)] == struct.pack("I", program.info().id)
            del m[2]
            assert caller.test_run(bytes(14)).return_value == 1
            m.put(2, program.fileno())
            assert caller.test_run(bytes(14)).return_value == 7
            m.clear()
            assert caller.test_run(bytes(14)).return_value == 1


def test_empty_slots_and_bad_indexes(program: ebpf.Program) -> None:
    """An empty slot or a bad index raises something that doesn't say what is wrong."""
    with DescriptorArray.create(MapType.PROG_ARRAY, max_entries=2, name="calls") as m:
        assert len(m) == 2
        assert list(m.keys()) == [0, 1]
        assert list(m) == []
        with pytest.raises(KeyError):
            m[1]
        with pytest.raises(KeyError):
            del m[1]
        assert m.delete(1) is False
        assert m.lookup(1) is None
        with pytest.raises(IndexError, match=r"'calls'.* must be 0 to 1, but 2"):
            m[2] = program
        with pytest.raises(TypeError, match=r"index of .*'x' is not an int"):
            m["x"] = program
        with pytest.raises(ebpf.CodecError, match=r"^value of .*'calls'"):
            m[0] = "program"


def test_a_closed_object_is_not_put(program: ebpf.Program) -> None:
    """The number of a closed program, which may be something else's by now, is put."""
    with DescriptorArray.create(MapType.PROG_ARRAY, max_entries=2) as m:
        program.close()
        with pytest.raises(ebpf.ClosedError, match=r"'seven'"):
            m[0] = program
        assert list(m) == []


def test_a_wrong_kind_of_object() -> None:
    """A map where a program belongs is taken, or the error doesn't name the map."""
    with (
        DescriptorArray.create(MapType.PROG_ARRAY, max_entries=2, name="calls") as m,
        pytest.raises(ebpf.BpfError, match=r"write the key 0 \(value: .* is no program.*'calls'"),
    ):
        m[0] = m


def test_map_in_map() -> None:
    """A hash of maps does not lead a program to the inner map that was put there."""
    with (
        ArrayMap.create(value="Q", max_entries=1) as one,
        ArrayMap.create(value="Q", max_entries=1) as two,
        HashMap.create(MapType.HASH_OF_MAPS, key="I", value="I", max_entries=4, inner=one) as outer,
    ):
        outer[10], outer[20] = one, two
        assert outer.to_dict() == {10: one.info().id, 20: two.info().id}
        one[0], two[0] = 111, 222
        # r0 = outer[20]; r0 = r0[0]; return *r0
        lookup = [
            asm.add(R2, -4),
            asm.call(Helper.MAP_LOOKUP_ELEM),
            asm.jeq(R0, 0, "absent"),
        ]
        code = [
            asm.stw(asm.R10 - 4, 20),
            asm.mov(R2, asm.R10),
            asm.ld_map_fd(R1, outer),
            *lookup,
            asm.stw(asm.R10 - 4, 0),
            asm.mov(R1, R0),
            asm.mov(R2, asm.R10),
            *lookup,
            asm.ldxdw(R0, R0),
            asm.exit_(),
            asm.Label("absent"),
            *returning(0),
        ]
        with ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, code, license="GPL") as program:
            assert program.test_run(bytes(14)).return_value == 222
            del outer[20]
            assert program.test_run(bytes(14)).return_value == 0


def test_devices_and_cpus() -> None:
    """Interface indexes or CPU queue sizes don't come back, or del leaves them."""
    for type, value in ((MapType.DEVMAP, LOOPBACK), (MapType.CPUMAP, 128)):
        with DescriptorArray.create(type, max_entries=2) as m:
            m[1 if type == MapType.DEVMAP else 0] = value
            assert list(m.items()) == [(1 if type == MapType.DEVMAP else 0, value)]
            m.clear()
            assert list(m) == []


@pytest.mark.needs_config("CONFIG_NET_SOCK_MSG", "CONFIG_INET")
def test_sockets() -> None:
    """A socket put into a SOCKMAP or SOCKHASH is not the one that the kernel then holds."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        DescriptorArray.create(MapType.SOCKMAP, value="Q", max_entries=2) as array,
        HashMap.create(MapType.SOCKHASH, key="I", value="Q", max_entries=2) as hash,
    ):
        array[1] = client
        assert array[1] == cookie(client)
        assert dict(array.items()) == {1: cookie(client)}
        del array[1]
        assert list(array) == []
        hash[77] = client
        assert hash.to_dict() == {77: cookie(client)}
        assert hash.pop(77) == cookie(client)
        assert hash.to_dict() == {}


@contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        with client, server.accept()[0] as peer:
            yield client, peer


def cookie(of: socket.socket) -> int:
    return int(struct.unpack("Q", of.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0])


@pytest.mark.needs_config("CONFIG_NET_SOCK_MSG", "CONFIG_INET")
def test_sockets_are_read_without_a_word_about_values() -> None:
    """Where nobody said what the values are, no socket can be read, counted or removed."""
    with (
        connected() as (one, two),
        DescriptorArray.create(MapType.SOCKMAP, max_entries=4) as array,
        HashMap.create(MapType.SOCKHASH, key="I", max_entries=4) as hash,
    ):
        array[0], array[2] = hash[0], hash[2] = one, two
        for map in (array, hash):
            assert dict(map.items()) == map.to_dict() == {0: cookie(one), 2: cookie(two)}
            assert sorted(map) == [0, 2]
            assert 0 in map
            assert 1 not in map
        assert len(hash) == 2
        assert hash.popitem()[1] in (cookie(one), cookie(two))
        for map in (array, hash):
            map.clear()
            assert list(map) == []


@pytest.mark.needs_config("CONFIG_NET_SOCK_MSG", "CONFIG_INET")
def test_empty_slots_of_a_sockmap() -> None:
    """The kernel's EINVAL for an empty slot is an error, and ends clear() half way."""
    with (
        connected() as (one, two),
        DescriptorArray.create(MapType.SOCKMAP, max_entries=4) as m,
    ):
        m[0], m[2] = one, two
        assert m.delete(1) is False
        with pytest.raises(KeyError):
            del m[1]
        with pytest.raises(ebpf.BpfError) as caught:
            m.delete(4)
        assert caught.value.errno == errno.EINVAL
        m.clear()
        assert list(m) == []


@pytest.mark.needs_config("CONFIG_NET_SOCK_MSG", "CONFIG_INET")
def test_sockets_in_values_too_small_for_a_cookie() -> None:
    """Of a map that has no room for cookies the keys can't be had, or "no space" is all it says."""
    with (
        connected() as (one, two),
        DescriptorArray.create(MapType.SOCKMAP, value="I", max_entries=4) as array,
        HashMap.create(MapType.SOCKHASH, key="I", value="I", max_entries=4) as hash,
    ):
        array[0], array[2] = hash[0], hash[2] = one, two
        assert sorted(hash) == [0, 2]
        assert len(hash) == 2
        uses = [lambda: list(array), lambda: hash.to_dict(), lambda: hash.pop(0)]
        uses += [use for m in (array, hash) for use in (lambda m=m: m[0], lambda m=m: 0 in m)]
        for use in uses:
            with pytest.raises(ebpf.BpfError, match=r'its cookie.* values have 4; .*value="Q"'):
                use()
        hash.clear()
        assert list(hash) == []
        array.clear()
        assert array.delete(0) is False


@pytest.mark.needs_config("CONFIG_NET_SOCK_MSG")
def test_a_socket_that_cannot_be_in_a_map_is_not_the_kernels_lack() -> None:
    """A socket that is not connected yet is the caller's to connect: no other kernel takes it."""
    with (
        socket.socket() as idle,
        DescriptorArray.create(MapType.SOCKMAP, value="Q", max_entries=2) as array,
        HashMap.create(MapType.SOCKHASH, key="I", value="Q", max_entries=2) as hash,
    ):
        for holder in (array, hash):
            with pytest.raises(ebpf.BpfError, match=r"has to be connected or listening") as caught:
                holder[1] = idle
            assert not isinstance(caught.value, ebpf.NotSupportedError)
            assert caught.value.errno == errno.EOPNOTSUPP


@pytest.mark.needs_config("CONFIG_CGROUPS")
def test_what_can_not_be_looked_up_says_so() -> None:
    """Looking into a map whose objects the kernel does not tell is blamed on the kernel's age."""
    with DescriptorArray.create(MapType.CGROUP_ARRAY, max_entries=2, name="groups") as m:
        for use in (lambda: m[0], lambda: list(m), lambda: m.lookup(0)):
            with pytest.raises(ebpf.NotSupportedError, match=r"look up a key in .*'groups'") as e:
                use()
            assert e.value.minimum_version is None


@pytest.mark.needs_config("CONFIG_CGROUPS")
def test_a_cgroup_array_takes_a_directory(tmp_path: Path) -> None:
    """A cgroup's directory can't be put into a CGROUP_ARRAY, or any directory can."""
    directory = tmp_path / "cgroup"
    directory.mkdir()
    # In the mount namespace of the tests; nothing is created in it.
    subprocess.run(["mount", "-t", "cgroup2", "none", directory], check=True)
    with DescriptorArray.create(MapType.CGROUP_ARRAY, max_entries=2) as m:
        fd = os.open(directory, os.O_RDONLY)
        m[0] = fd
        os.close(fd)
        assert m.delete(0) is True
        assert m.delete(0) is False
        fd = os.open(tmp_path, os.O_RDONLY)
        with pytest.raises(ebpf.BpfError, match=r"write the key 1"):
            m[1] = fd
        os.close(fd)
    subprocess.run(["umount", directory], check=True)


def test_bpftool_lists_the_inner_maps_id() -> None:
    """An array of maps shows another id than the inner map's."""
    with (
        HashMap.create(key="I", value="Q", max_entries=1) as inner,
        DescriptorArray.create(MapType.ARRAY_OF_MAPS, max_entries=2, inner=inner) as outer,
    ):
        outer[1] = inner
        entries = bpftool("map", "dump", "id", str(outer.info().id))
        assert [entry for entry in entries if "inner_map_id" in entry or "value" in entry]
        assert list(outer.items()) == [(1, inner.info().id)]
        with Map.from_id(outer[1], key="I", value="Q") as same:
            same[5] = 6
        assert inner[5] == 6
