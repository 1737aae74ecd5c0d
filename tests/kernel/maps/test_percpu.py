"""Per-CPU maps: one value for each possible CPU."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import ebpf
from ebpf import ArrayMap, HashMap, Map, MapType, ProgramType, TestRunFlags, UpdateFlags
from ebpf.codec import s8, u32
from ebpf.maps import keyed
from tests.kernel.maps.support import bpftool, from_hex, increment

CPUS = os.sysconf("SC_NPROCESSORS_CONF")
TYPES = [MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH, MapType.PERCPU_ARRAY]


def create(type: MapType, value: object = "Q") -> Any:
    keys = {} if type == MapType.PERCPU_ARRAY else {"key": "I"}
    return Map.create(type, value=value, max_entries=8, **keys)


@pytest.fixture(params=TYPES, ids=str)
def m(request: pytest.FixtureRequest) -> Iterator[Any]:
    with create(request.param) as map:
        yield map


def seen_by_bpftool(map: Any, key: int) -> list[bytes]:
    for entry in bpftool("map", "dump", "id", str(map.info().id)):
        if from_hex(entry["key"]) == struct.pack("I", key):
            values = sorted(entry["values"], key=lambda value: int(value["cpu"]))
            return [from_hex(value["value"]) for value in values]
    raise AssertionError(f"bpftool sees no key {key}")


def test_each_cpu_has_its_own_value(m: Any) -> None:
    """Values written for the CPUs get mixed up, lost, or read back shorter than there are CPUs."""
    values = [1000 + cpu for cpu in range(CPUS)]
    m[3] = values
    assert m[3] == m.lookup(3) == values
    assert dict(m.items())[3] == values
    assert seen_by_bpftool(m, 3) == [struct.pack("Q", value) for value in values]


@pytest.mark.parametrize("type", TYPES, ids=str)
def test_values_that_are_no_multiple_of_8_bytes(type: MapType) -> None:
    """The kernel's rounding up to 8 bytes shifts the values of all CPUs but the first."""
    with create(type, "3s") as m:
        values = [bytes([65 + cpu]) * 3 for cpu in range(CPUS)]
        m[1] = values
        assert m[1] == values
        assert seen_by_bpftool(m, 1) == values


@dataclass
class Sample:
    delta: s8
    count: u32


@pytest.mark.parametrize("type", TYPES, ids=str)
def test_dataclass_values(type: MapType) -> None:
    """Structs per CPU come back with other fields."""
    with create(type, Sample) as m:
        values = [Sample(-cpu - 1, cpu << 20) for cpu in range(CPUS)]
        m[2] = values
        assert m[2] == values


@pytest.mark.parametrize("cpu", range(CPUS))
def test_a_program_writes_the_slot_of_its_cpu(m: Any, cpu: int) -> None:
    """What a program counts on one CPU shows up as another CPU's."""
    m[5] = [10] * CPUS
    code = increment(m, 5)
    with ebpf.Program.load(ProgramType.RAW_TRACEPOINT, code, license="GPL") as program:
        program.test_run(flags=TestRunFlags.RUN_ON_CPU, cpu=cpu)
    expected = [10] * CPUS
    expected[cpu] = 11
    assert m[5] == expected


def test_a_wrong_number_of_values(m: Any) -> None:
    """Too few values make the kernel read beyond the buffer."""
    m[1] = [7] * CPUS
    for bad in (7, [7] * (CPUS + 1), [7] * (CPUS - 1), []):
        with pytest.raises(ebpf.CodecError, match=rf"^value of .* {CPUS} "):
            m[1] = bad
    with pytest.raises(ebpf.CodecError, match=r"^value of .*CPU 0: "):
        m[1] = [-1] * CPUS
    assert m[1] == [7] * CPUS


def test_opened_without_codecs_the_values_are_raw(m: Any) -> None:
    """A per-CPU map opened without codecs is read into a buffer for one CPU."""
    m[1] = list(range(CPUS))
    with Map.from_id(m.info().id) as same:
        key = 1 if m.type == MapType.PERCPU_ARRAY else struct.pack("I", 1)
        assert same[key] == [struct.pack("Q", cpu) for cpu in range(CPUS)]


def test_clear() -> None:
    """clear() zeroes just one CPU's values."""
    with ArrayMap.create(MapType.PERCPU_ARRAY, value="Q", max_entries=2) as array:
        array[0] = array[1] = [5] * CPUS
        array.clear()
        assert list(array) == [[0] * CPUS] * 2
    with HashMap.create(MapType.PERCPU_HASH, key="I", value="Q", max_entries=2) as hash:
        hash[1] = [5] * CPUS
        hash.clear()
        assert hash.to_dict() == {}


def test_sums(m: Any) -> None:
    """The sum over the CPUs is of other values, or not of each field."""
    m[1] = list(range(10, 10 + CPUS))
    assert m[1].sum() == sum(range(10, 10 + CPUS))
    assert {key: values.sum() for key, values in m.items()}[1] == m[1].sum()
    with create(m.type, Sample) as samples:
        samples[1] = [Sample(-1, 5)] * CPUS
        assert samples[1].sum() == Sample(-CPUS, 5 * CPUS)
        assert samples.lookup_many([1])[0].sum() == Sample(-CPUS, 5 * CPUS)


def test_the_value_of_one_cpu(m: Any) -> None:
    """With the flag CPU (7.0) another CPU's value is read or written, or all are."""
    m[3] = list(range(CPUS))
    last = CPUS - 1
    assert m.lookup_cpu(3, last) == last
    assert m.lookup_cpu(3, 0) == 0
    m.put_cpu(3, 77, last)
    assert m[3] == [*range(last), 77]
    m.put_cpu(3, 5, None)
    assert m[3] == [5] * CPUS
    if m.type != MapType.PERCPU_ARRAY:
        assert m.lookup_cpu(4, 0) is None
        m.put_cpu(4, 9, last)
        assert m[4] == [0] * last + [9]
    with create(m.type, "3s") as narrow:
        narrow.put_cpu(1, b"abc", None)
        assert narrow.lookup_cpu(1, last) == b"abc"
        assert narrow[1] == [b"abc"] * CPUS


def test_wrong_cpus(m: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that there is not is passed on to the kernel, one behind a hole in their numbers is
    not, or a map with one value is read so."""
    for cpu in (-1, CPUS, "0", 1.5):
        with pytest.raises(ValueError, match=rf"^cpu: .* 0 to {CPUS - 1}"):
            m.lookup_cpu(1, cpu)
        with pytest.raises(ValueError, match=r"^cpu: "):
            m.put_cpu(1, 1, cpu)
    monkeypatch.setattr(keyed, "_cpus", [CPUS + 1])
    with pytest.raises(ValueError, match=rf"^cpu: 0, .* CPUs are {CPUS + 1}$"):
        m.lookup_cpu(1, 0)
    # One that there is, but for this machine's kernel: that refuses it, or the flag.
    with pytest.raises(ebpf.BpfError, match="look up a key"):
        m.lookup_cpu(1, CPUS + 1)
    with HashMap.create(key="I", value="Q", max_entries=1) as plain:
        for use in (lambda: plain.lookup_cpu(1, 0), lambda: plain.put_cpu(1, 1, 0)):
            with pytest.raises(TypeError, match=r"one value for all CPUs"):
                use()


@pytest.mark.parametrize("flags", [UpdateFlags.CPU | 1 << 32, UpdateFlags.ALL_CPUS])
def test_flags_for_one_value_where_those_of_all_cpus_are_meant(m: Any, flags: int) -> None:
    """A kernel that knows them (7.0) takes one value and drops the others, or gives one and leaves
    the others what they were in another key."""
    m[3] = list(range(CPUS))
    uses: list[Any] = [
        lambda: m.lookup(3, flags=flags),
        lambda: m.put(3, [9] * CPUS, flags | UpdateFlags.EXIST),
        lambda: m.update_batch([3], [[9] * CPUS], flags=flags),
    ]
    if m.type != MapType.PERCPU_ARRAY:
        uses.append(lambda: m.lookup_and_delete(3, flags=flags))
    for use in uses:
        with pytest.raises(ValueError, match=r"^flags: .*lookup_cpu\(\) and put_cpu\(\)"):
            use()
    assert m[3] == list(range(CPUS))
