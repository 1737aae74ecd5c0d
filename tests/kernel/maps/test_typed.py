"""Maps whose keys and values have types: told to the kernel, and read back from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pytest

import ebpf
from ebpf import ArrayMap, HashMap, Map, MapType
from ebpf.codec import Array, Char, Pad, Raw, be32, s16, u8, u16, u32, u64
from ebpf.maps.storage import StorageMap
from tests.kernel.maps.support import bpftool, shown
from tests.objects import compiled


@dataclass(frozen=True)
class Flow:
    source: be32
    port: u16
    _pad: Annotated[bytes, Pad(2)] = b""


@dataclass
class Range:
    low: s16
    high: s16


@dataclass
class Usage:
    name: Annotated[str, Char(8)]
    mac: Annotated[bytes, Raw(6)]
    range: Range
    buckets: Annotated[list[int], Array(u32, 3)]
    set: bool
    bytes: u64
    pairs: Annotated[list[Range], Array(Range, 2)] = field(default_factory=list)


FLOW = Flow(0x7F000001, 443)
USAGE = Usage("nginx", b"\1\2\3\4\5\6", Range(-2, 3), [7, 8, 9], True, 1 << 40,
              [Range(1, 2), Range(3, -4)])  # fmt: skip


@pytest.fixture
def typed() -> Iterator[HashMap[Flow, Usage]]:
    with HashMap.create(key=Flow, value=Usage, max_entries=4, name="typed") as m:
        m[FLOW] = USAGE
        yield m


def test_bpftool_prints_the_fields_of_a_dataclass(typed: HashMap[Flow, Usage]) -> None:
    """The BTF that is made of a dataclass has other names, types or offsets."""
    assert shown(typed)["btf_id"] == typed.info().btf_id != 0
    (entry,) = bpftool("map", "dump", "id", str(typed.info().id))
    formatted = entry["formatted"]
    # bpftool knows no byte order but its own.
    assert formatted["key"] == {"source": int.from_bytes(bytes([127, 0, 0, 1]), "little"),
                                "port": 443}  # fmt: skip
    value = formatted["value"]
    assert value["name"] == "nginx"
    assert value["mac"] == [1, 2, 3, 4, 5, 6]
    assert value["range"] == {"low": -2, "high": 3}
    assert value["buckets"] == [7, 8, 9]
    assert value["set"] in (True, "true", 1)
    assert value["bytes"] == 1 << 40
    assert value["pairs"] == [{"low": 1, "high": 2}, {"low": 3, "high": -4}]


def test_a_map_that_is_opened_decodes_by_itself(typed: HashMap[Flow, Usage], bpffs: Path) -> None:
    """Who opens a typed map by id or pin gets raw bytes, or other fields than were written."""
    typed.pin(bpffs / "typed")
    for same in (HashMap.from_id(typed.info().id), HashMap.open(bpffs / "typed")):
        with same:
            ((key, value),) = same.items()
            assert (key.source, key.port) == (0x7F000001, 443)
            assert (value.name, value.mac) == (b"nginx", b"\1\2\3\4\5\6")
            assert (value.range.low, value.range.high) == (-2, 3)
            assert value.buckets == (7, 8, 9)
            assert value.set is True
            assert [pair.high for pair in value.pairs] == [2, -4]
            same[{"source": 1, "port": 2}] = value._replace(bytes=5)
            assert typed[Flow(1, 2)].bytes == 5
            assert same.lookup(key) == value
            del same[{"source": 1, "port": 2}]


def test_your_own_codecs_have_the_last_word(typed: HashMap[Flow, Usage]) -> None:
    """Codecs that are given are overruled by the map's types."""
    with HashMap.from_id(typed.info().id, key=8, value=Usage) as same:
        assert list(same.values()) == [USAGE]
        assert list(same) == [b"\x7f\0\0\1\xbb\1\0\0"]
        with pytest.raises(ebpf.CodecError, match=r"key of the map with id .* has 8 bytes"):
            HashMap.from_id(typed.info().id, key=4)


def test_the_types_of_a_c_program(bpffs: Path) -> None:
    """Enums, unions, bitfields, char arrays, pointers or byte orders of C come out wrong."""
    with ebpf.CollectionSpec.from_file(compiled("typed_maps")).load() as objects:
        for name in ("records", "points", "states"):
            objects.maps[name].pin(bpffs / name)
    with (
        HashMap.open(bpffs / "records") as records,
        ArrayMap.open(bpffs / "points") as points,
        ArrayMap.open(bpffs / "states") as states,
    ):
        written = {
            "state": "BUSY",
            "name": b"one",
            "mac": b"\1\2\3\4\5\6",
            "corners": [{"x": 1, "y": -1}, {"x": 2, "y": -2}],
            "octets": (1, 0, 0, 0) if records.value_codec is None else b"\1\0\0\0",
            "low": 5,
            "high": -3,
            "set": True,
            "where": 0xFFFF888000000000,
            "delta": -(1 << 40),
            "port": 80,
        }
        records[{"a": 1, "b": 2}] = written
        record = records[{"a": 1, "b": 2}]
        assert (record.state, record.state.name, str(record.state)) == (5, "BUSY", "BUSY")
        assert record.name == b"one"
        assert [(corner.x, corner.y) for corner in record.corners] == [(1, -1), (2, -2)]
        assert (record.word, record.low, record.high, record.set) == (1, 5, -3, True)
        assert (record.where, record.delta, record.port) == (0xFFFF888000000000, -(1 << 40), 80)
        ((key, _),) = records.items()
        assert (key.a, key.b) == (1, 2)
        (entry,) = bpftool("map", "dump", "id", str(records.info().id))
        assert entry["formatted"]["value"]["low"] == "0x5"
        assert entry["formatted"]["value"]["port"] == int.from_bytes(bytes([0, 80]), "little")
        cpus = len(points[0])
        points[1] = [{"x": cpu, "y": -cpu} for cpu in range(cpus)]
        assert [(point.x, point.y) for point in points[1]] == [(cpu, -cpu) for cpu in range(cpus)]
        states[1] = "GONE"
        assert [state.name for state in states] == ["IDLE", "GONE"]
        assert states[1] == 7


def test_what_has_no_names_needs_no_btf() -> None:
    """Maps of plain integers cost loading BTF."""
    with HashMap.create(key="I", value="QI", max_entries=1) as m:
        assert m.info().btf_id == 0


@pytest.mark.parametrize(
    "type", [MapType.LPM_TRIE, MapType.ARRAY, MapType.PERCPU_HASH, MapType.QUEUE], ids=str
)
def test_types_for_which_the_kernel_takes_no_btf_are_created_without(type: MapType) -> None:
    """A dataclass makes a map type unusable that has no BTF in this kernel."""

    @dataclass
    class Key:
        bits: u32
        data: Annotated[bytes, Raw(4)]

    keys: dict[MapType, object] = {MapType.LPM_TRIE: 8, MapType.ARRAY: None, MapType.QUEUE: None}
    options: Any = {"key": keys.get(type, Key), "value": Range, "max_entries": 2}
    with Map.create(type, **options) as m:
        assert m.info().value_size == 4


@pytest.mark.parametrize(
    "type", [MapType.SK_STORAGE, MapType.TASK_STORAGE, MapType.CGRP_STORAGE], ids=str
)
def test_local_storage_gets_its_btf_by_itself(type: MapType) -> None:
    """Local storage, which the kernel takes with BTF only, needs BTF made by hand."""
    for value in ("Q", Range, 5, "QI"):
        with StorageMap.create(type, value=value) as m:
            assert m.info().btf_value_type_id != 0


def test_numbers_of_one_byte() -> None:
    """A field of one byte becomes a character."""

    @dataclass
    class Small:
        a: u8
        b: Annotated[bytes, Char(1)]

    # Annotations of local classes have to be objects.
    Small.__annotations__ = {"a": u8, "b": Annotated[bytes, Char(1)]}
    with HashMap.create(key="B", value=Small, max_entries=1) as m:
        m[1] = Small(200, b"x")
        with HashMap.from_id(m.info().id) as same:
            assert (same[1].a, same[1].b) == (200, b"x")
