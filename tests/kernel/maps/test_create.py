"""Creating maps: each type as bpftool sees it, and definitions that are refused before bpf()."""

from __future__ import annotations

import errno
import mmap
import os
from typing import Any

import pytest

import ebpf
from ebpf import (
    ArenaMap,
    ArrayMap,
    BloomFilterMap,
    DescriptorArray,
    HashMap,
    Map,
    MapFlags,
    MapType,
    QueueMap,
    StackTraceMap,
)
from ebpf._sys import facts
from ebpf.codec import codec
from ebpf.maps.keyed import KeyedMap
from ebpf.maps.storage import StorageMap
from ebpf.maps.trie import LpmTrieMap
from tests.kernel.maps.support import Btf, shown

ENTRIES: dict[str, Any] = {"key": "I", "value": "Q", "max_entries": 3}
SLOTS: dict[str, Any] = {"value": "Q", "max_entries": 3}
OBJECTS: dict[str, Any] = {"max_entries": 3}
# struct bpf_cgroup_storage_key: cgroup_inode_id, attach_type.
STORAGE_KEY: dict[str, Any] = {"key": "QI", "value": "Q"}
PAGE = mmap.PAGESIZE


def case(type: MapType, cls: type[Any], config: str | None, /, **definition: Any) -> Any:
    marks = [] if config is None else [pytest.mark.needs_config(config)]
    return pytest.param(type, cls, definition, id=type.name, marks=marks)


CASES = [
    case(MapType.HASH, HashMap, None, **ENTRIES),
    case(MapType.ARRAY, ArrayMap, None, **SLOTS),
    case(MapType.PROG_ARRAY, DescriptorArray, None, **OBJECTS),
    case(MapType.PERF_EVENT_ARRAY, DescriptorArray, "CONFIG_PERF_EVENTS", **OBJECTS),
    case(MapType.PERCPU_HASH, HashMap, None, **ENTRIES),
    case(MapType.PERCPU_ARRAY, ArrayMap, None, **SLOTS),
    case(MapType.STACK_TRACE, StackTraceMap, "CONFIG_PERF_EVENTS", max_entries=3),
    case(MapType.CGROUP_ARRAY, DescriptorArray, "CONFIG_CGROUPS", **OBJECTS),
    case(MapType.LRU_HASH, HashMap, None, **ENTRIES),
    case(MapType.LRU_PERCPU_HASH, HashMap, None, **ENTRIES),
    case(MapType.LPM_TRIE, LpmTrieMap, None, key="I4s", value="Q", max_entries=3),
    case(MapType.DEVMAP, DescriptorArray, "CONFIG_NET", **OBJECTS),
    case(MapType.SOCKMAP, DescriptorArray, "CONFIG_NET_SOCK_MSG", **OBJECTS),
    case(MapType.CPUMAP, DescriptorArray, "CONFIG_NET", max_entries=1),
    case(MapType.XSKMAP, DescriptorArray, "CONFIG_XDP_SOCKETS", **OBJECTS),
    case(MapType.SOCKHASH, HashMap, "CONFIG_NET_SOCK_MSG", key="I", value="I", max_entries=3),
    case(MapType.CGROUP_STORAGE, KeyedMap, "CONFIG_CGROUP_BPF", **STORAGE_KEY),
    case(MapType.REUSEPORT_SOCKARRAY, DescriptorArray, "CONFIG_INET", **OBJECTS),
    case(MapType.PERCPU_CGROUP_STORAGE, KeyedMap, "CONFIG_CGROUP_BPF", **STORAGE_KEY),
    case(MapType.QUEUE, QueueMap, None, **SLOTS),
    case(MapType.STACK, QueueMap, None, **SLOTS),
    case(MapType.DEVMAP_HASH, HashMap, "CONFIG_NET", key="I", value="I", max_entries=3),
    case(MapType.RINGBUF, Map, None, max_entries=PAGE),
    case(MapType.BLOOM_FILTER, BloomFilterMap, None, **SLOTS),
    case(MapType.USER_RINGBUF, Map, None, max_entries=PAGE),
    case(MapType.ARENA, ArenaMap, None, max_entries=1),
    # struct bpf_insn_array_value: orig_off, xlated_off, jitted_off, padding.
    case(MapType.INSN_ARRAY, ArrayMap, None, value="4I", max_entries=3),
    case(MapType.RHASH, HashMap, None, **ENTRIES),
]


@pytest.mark.parametrize(("type", "cls", "definition"), CASES)
def test_every_type_is_created_as_defined(
    type: MapType, cls: type[Any], definition: dict[str, Any]
) -> None:
    """A type comes out with another size, name or type than asked for, or as a wrong class."""
    with Map.create(type, name=f"t_{type.value}", **definition) as m:
        assert m.__class__ is cls
        seen = shown(m)
        # An older bpftool has just numbers for the newest types.
        assert seen["type"] in (type.name.lower(), type.value)
        assert seen["name"] == f"t_{type.value}"
        assert seen["max_entries"] == definition.get("max_entries", 0)
        sizes = {"key": "bytes_key", "value": "bytes_value"}
        for given, reported in sizes.items():
            if given in definition:
                assert seen[reported] == codec(definition[given]).size


def test_types_and_classes_are_all_there() -> None:
    """A map type of this library is in no test above, nor in those of maps that need others."""
    tested = {parameters.values[0] for parameters in CASES}
    others = set(STORAGES) | {MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS, MapType.STRUCT_OPS}
    assert set(MapType) - tested - others == {MapType.UNSPEC}


STORAGES = [
    MapType.SK_STORAGE,
    MapType.INODE_STORAGE,
    MapType.TASK_STORAGE,
    MapType.CGRP_STORAGE,
]


@pytest.mark.parametrize(
    "type",
    [
        pytest.param(MapType.SK_STORAGE, marks=pytest.mark.needs_config("CONFIG_NET")),
        pytest.param(MapType.INODE_STORAGE, marks=pytest.mark.needs_config("CONFIG_BPF_LSM")),
        MapType.TASK_STORAGE,
        pytest.param(MapType.CGRP_STORAGE, marks=pytest.mark.needs_config("CONFIG_CGROUPS")),
    ],
    ids=str,
)
def test_local_storage_is_created_with_btf(type: MapType) -> None:
    """Local storage, which takes BTF for key and value, can't be created."""
    types = Btf()
    number = types.integer("int", 4, signed=True)
    with (
        types.load() as btf,
        Map.create(type, value="i", btf=btf, btf_key_type_id=number, btf_value_type_id=number) as m,
    ):
        assert isinstance(m, StorageMap)
        assert shown(m)["type"] in (type.name.lower(), type.value)
        assert m.info().btf_id != 0
        assert m.info().flags == MapFlags.NO_PREALLOC


@pytest.mark.parametrize("type", [MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS], ids=str)
def test_a_map_of_maps_is_created_from_an_example(type: MapType) -> None:
    """A map of maps can't be created, or doesn't tell which map it holds."""
    keys = {"key": "I", "value": "I"} if type == MapType.HASH_OF_MAPS else {}
    with (
        ArrayMap.create(value="Q", max_entries=1) as inner,
        Map.create(type, max_entries=2, inner=inner, **keys) as outer,
    ):
        outer[1] = inner
        assert outer[1] == inner.info().id


def test_a_perf_event_array_has_one_slot_per_possible_cpu() -> None:
    """Left out, the size of a perf event array is not what perf readers need."""
    with Map.create(MapType.PERF_EVENT_ARRAY) as m:
        assert shown(m)["max_entries"] == os.sysconf("SC_NPROCESSORS_CONF") == len(m)


@pytest.mark.parametrize(
    ("cls", "type"),
    [(HashMap, MapType.HASH), (ArrayMap, MapType.ARRAY), (QueueMap, MapType.QUEUE)],
)
def test_a_class_creates_its_obvious_type(cls: type[Any], type: MapType) -> None:
    """HashMap.create without a type makes something else than a HASH."""
    keys = {"key": "I"} if cls is HashMap else {}
    with cls.create(value="Q", max_entries=1, **keys) as m:
        assert m.__class__ is cls
        assert m.info().type == type


def test_flags_and_numa_node_reach_the_kernel() -> None:
    """map_flags or numa_node are lost on the way."""
    flags = MapFlags.NO_PREALLOC | MapFlags.RDONLY_PROG
    with HashMap.create(flags=flags, numa_node=0, **ENTRIES) as m:
        assert shown(m)["flags"] == flags | MapFlags.NUMA_NODE


def test_map_extra_reaches_the_kernel() -> None:
    """The number of hash functions of a bloom filter is lost on the way."""
    with BloomFilterMap.create(map_extra=3, **SLOTS) as m:
        assert m.info().map_extra == 3


def test_a_flag_younger_than_the_kernel_is_dated() -> None:
    """A new flag on an old kernel is answered by a bare EINVAL; on a new one it doesn't work."""
    with Map.create(MapType.RINGBUF, max_entries=PAGE, flags=MapFlags.RB_OVERWRITE) as m:
        assert m.info().flags == MapFlags.RB_OVERWRITE


REFUSED: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (ValueError, "name: 'a234567890123456' has 16 characters; the kernel takes 15",
     {"name": "a234567890123456"}),
    (ValueError, "name: 'a-b' may only have letters", {"name": "a-b"}),
    (ValueError, "name: 'é' may only have letters", {"name": "é"}),
    (TypeError, "name: b'x' is not a str", {"name": b"x"}),
    (ValueError, "max_entries: a HASH map needs at least 1", {"max_entries": 0}),
    (ValueError, "max_entries: -1 does not fit", {"max_entries": -1}),
    (ValueError, "max_entries: 4294967296 does not fit", {"max_entries": 1 << 32}),
    (TypeError, "max_entries: 2.0 is not an int", {"max_entries": 2.0}),
    (TypeError, "max_entries: True is not an int", {"max_entries": True}),
    (ValueError, "key: a HASH map needs one", {"key": None}),
    (ValueError, "value: a HASH map needs one", {"value": None}),
    (ebpf.CodecError, "0 bytes", {"key": 0}),
    (TypeError, "is no codec", {"value": 1.5}),
    (TypeError, "type: 1 is not an ebpf.MapType", {"type": 1}),
    (ValueError, "type: UNKNOWN_999 is not a map type", {"type": MapType(999)}),
    (ValueError, "type: UNSPEC is not a map type", {"type": MapType.UNSPEC}),
    (ValueError, "flags: 4294967296 does not fit", {"flags": 1 << 32}),
    (ValueError, "numa_node: -1 does not fit", {"numa_node": -1}),
    (ValueError, "map_extra: -1 does not fit", {"map_extra": -1}),
    (ValueError, "key: of 8 bytes, but an ARRAY map has u32 keys of 4",
     {"type": MapType.ARRAY, "key": "Q"}),
    (ValueError, "key: of 4 bytes, but an LPM_TRIE has keys of 5 to 260",
     {"type": MapType.LPM_TRIE}),
    (ValueError, "key: a QUEUE map has no keys", {"type": MapType.QUEUE}),
    (ValueError, "key, value: a RINGBUF map has neither", {"type": MapType.RINGBUF}),
    (ValueError, "max_entries: 5000 bytes is no size for a RINGBUF; .* 8192 would do",
     {"type": MapType.RINGBUF, "key": None, "value": None, "max_entries": 5000}),
    (ValueError, "max_entries: 3, but an SK_STORAGE map grows", {"type": MapType.SK_STORAGE}),
    (ValueError, "inner: HASH_OF_MAPS takes a map",
     {"type": MapType.HASH_OF_MAPS, "value": "I"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "message", "change"), REFUSED, ids=[message[:30] for _, message, _ in REFUSED]
)
def test_a_bad_definition_is_refused_before_the_system_call(
    error: type[Exception], message: str, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A definition that no kernel takes is answered by the kernel's bare EINVAL."""
    monkeypatch.setattr("ebpf._sys.bpf.map_create", None)
    definition = {"type": MapType.HASH, **ENTRIES, **change}
    if os.sysconf("SC_PAGESIZE") == 4096 or "5000" not in message:
        with pytest.raises(error, match=message):
            Map.create(definition.pop("type"), **definition)


def test_more_than_the_kernel_takes() -> None:
    """ "Argument list too long" tells nobody that there are too many entries."""
    with pytest.raises(
        ebpf.BpfError, match=r"2000000000 entries with keys of 4.*up to 134217728"
    ) as error:
        Map.create(MapType.HASH, key="I", value="I", max_entries=2_000_000_000)
    assert error.value.errno == errno.E2BIG
    with pytest.raises(ebpf.BpfError, match=r"values of 1073741824 bytes .* less than 4 MiB"):
        Map.create(MapType.HASH, key="I", value=1 << 30, max_entries=1)


def test_a_class_refuses_types_of_other_classes() -> None:
    """ArrayMap.create(HASH) makes a map that the class can't handle."""
    with pytest.raises(ValueError, match=r"type: ArrayMap is one of ARRAY, .* not HASH"):
        ArrayMap.create(MapType.HASH, **ENTRIES)
    with pytest.raises(TypeError, match=r"type: DescriptorArray needs one of PROG_ARRAY"):
        DescriptorArray.create(max_entries=1)
    with pytest.raises(TypeError, match=r"type: Map needs one of any MapType"):
        Map.create(**ENTRIES)


def test_what_only_the_kernel_refuses_names_the_map() -> None:
    """The error for a definition that this kernel refuses does not say for which map."""
    with pytest.raises(ebpf.BpfError, match=r"create a HASH map named 'huge'.*") as caught:
        HashMap.create(key="I", value=1 << 30, max_entries=1, name="huge")
    assert caught.value.errno is not None


def test_a_subclass_is_kept() -> None:
    """A class that a user derived gives maps without its methods."""

    class Counters(HashMap[int, int]):
        def bump(self, key: int) -> None:
            self[key] = self.setdefault(key, 0) + 1

    with Counters.create(**ENTRIES) as counters:
        counters.bump(5)
        counters.bump(5)
        with Counters.from_id(counters.info().id, key="I", value="Q") as same:
            same.bump(5)
        assert counters[5] == 3


def test_a_perf_event_array_has_an_entry_for_every_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the numbers of CPUs have holes, programs on the last ones would write nowhere."""
    monkeypatch.setattr(facts, "possible_cpu_numbers", lambda: [0, 2, 5])
    with Map.create(MapType.PERF_EVENT_ARRAY) as m:
        assert m.info().max_entries == 6
