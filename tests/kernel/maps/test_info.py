"""Describing maps, and further objects for the same map."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

import ebpf
from ebpf import ArrayMap, DescriptorArray, HashMap, Map, MapFlags, MapType, QueueMap
from tests.kernel.maps.support import shown


def test_info_is_what_bpftool_and_fdinfo_say() -> None:
    """A field of info() differs from what other programs show."""
    with HashMap.create(MapType.LRU_HASH, key="I", value=24, max_entries=77, name="described") as m:
        info, seen = m.info(), shown(m)
        assert info.id == seen["id"]
        assert info.name == seen["name"] == m.name == "described"
        assert info.type.name.lower() == seen["type"]
        assert (info.key_size, info.value_size) == (seen["bytes_key"], seen["bytes_value"])
        assert info.max_entries == seen["max_entries"] == m.max_entries == 77
        assert info.flags == seen["flags"] == MapFlags(0)
        assert info.memlock == seen["bytes_memlock"]
        assert info.frozen == bool(seen["frozen"])
        lines = Path(f"/proc/self/fdinfo/{m.fileno()}").read_text().splitlines()
        fdinfo = dict(line.split(":\t") for line in lines)
        assert int(fdinfo["map_type"]) == info.type
        assert int(fdinfo["memlock"]) == info.memlock > 77 * 28
        assert (info.btf_id, info.ifindex, info.map_extra) == (0, 0, 0)


def test_from_id_is_the_same_map() -> None:
    """from_id gives another map, another class, or lacks type, name or size."""
    with (
        HashMap.create(key="I", value="Q", max_entries=4, name="shared") as m,
        Map.from_id(m.info().id, key="I", value="Q") as same,
    ):
        assert same.__class__ is HashMap
        assert (same.type, same.name, same.max_entries) == (MapType.HASH, "shared", 4)
        assert same.fileno() != m.fileno()
        assert same != m
        same[1] = 10
        assert m[1] == 10
        assert same.info() == m.info()


@pytest.mark.parametrize("id", [0xFFFFFFFF, 0])
def test_an_id_that_no_map_has(id: int) -> None:
    """An unknown id is an error that doesn't say which."""
    with pytest.raises(FileNotFoundError, match=rf"open the map with id {id}:"):
        Map.from_id(id)


@pytest.mark.parametrize(("id", "error"), [(-1, ValueError), (1 << 32, ValueError),
                                           ("7", TypeError), (None, TypeError)])  # fmt: skip
def test_an_id_that_is_none(id: int, error: type[Exception]) -> None:
    """What can't be an id is passed to the kernel cut to 32 bits."""
    with pytest.raises(error, match=r"^id: "):
        Map.from_id(id)


def test_from_fd_and_duplicate_have_descriptors_of_their_own() -> None:
    """Closing a duplicate closes the original, or the other way round."""
    m = HashMap.create(key="I", value="Q", max_entries=4, name="original")
    with Map.from_fd(m.fileno(), key="I", value="Q") as adopted, m.duplicate() as copy:
        assert len({m.fileno(), adopted.fileno(), copy.fileno()}) == 3
        assert copy.__class__ is adopted.__class__ is HashMap
        m[1] = 10
        m.close()
        assert adopted[1] == copy[1] == 10
        assert (copy.name, adopted.name) == ("original", "original")


def test_from_fd_of_something_else() -> None:
    """A descriptor that is no map is taken for one, or leaks."""
    with pytest.raises(ebpf.BpfError, match=r"descriptor -1"):
        Map.from_fd(-1)
    read, write = os.pipe()
    with pytest.raises(ebpf.BpfError, match=rf"open descriptor {read}: it is a pipe:.*not a map"):
        Map.from_fd(read)
    os.close(read)
    os.close(write)
    code = struct.pack("=BBhi", 0xB7, 0, 0, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    with (
        ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, code) as program,
        pytest.raises(ebpf.BpfError, match=r"it is a program, not a map"),
    ):
        Map.from_fd(program.fileno())


def test_a_map_of_another_class_is_refused() -> None:
    """HashMap.from_id takes an array, whose methods then fail one by one."""
    with ArrayMap.create(value="Q", max_entries=1) as m:
        id = m.info().id
        with pytest.raises(ebpf.BpfError, match=rf"id {id}: it is an ARRAY map, no HashMap"):
            HashMap.from_id(id)
        with pytest.raises(ebpf.BpfError, match=r"it is an ARRAY map, no QueueMap"):
            QueueMap.from_fd(m.fileno())
        with ArrayMap.from_id(id, value="Q") as same:
            same[0] = 5
            assert m[0] == 5


def test_opened_without_codecs() -> None:
    """Without codecs a map can't be opened, or an array has lost its integer keys."""
    with HashMap.create(key="I", value="Q", max_entries=1) as hash:
        hash[1] = 2
        with Map.from_id(hash.info().id) as raw:
            assert raw.to_dict() == {struct.pack("I", 1): struct.pack("Q", 2)}
    with (
        ArrayMap.create(value="Q", max_entries=1) as array,
        Map.from_id(array.info().id) as raw,
    ):
        assert list(raw.items()) == [(0, bytes(8))]


@pytest.mark.parametrize(
    ("type", "value", "key"),
    [
        (MapType.DEVMAP, "II", "I"),
        (MapType.CPUMAP, "II", "I"),
        (MapType.STACK_TRACE, "16Q", "I"),
        (MapType.SOCKMAP, "Q", "I"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_sizes_other_than_the_usual_are_opened(type: MapType, value: str, key: str) -> None:
    """A map whose value size is not the class's usual one can't be opened without a codec."""
    with Map.create(type, value=value, max_entries=1) as m, Map.from_id(m.info().id) as same:
        assert same.value_codec.size == m.value_codec.size == m.info().value_size


def test_a_program_array_opened_again_takes_programs() -> None:
    """A map of objects that was opened by id doesn't take objects any more."""
    code = struct.pack("=BBhi", 0xB7, 0, 0, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    with (
        DescriptorArray.create(MapType.PROG_ARRAY, max_entries=2) as m,
        Map.from_id(m.info().id) as same,
        ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, code) as program,
    ):
        same[0] = program
        assert m[0] == program.info().id
