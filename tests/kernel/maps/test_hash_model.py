"""A HashMap does what a dict does, for any sequence of operations that hypothesis finds."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

import ebpf
from ebpf import HashMap, MapType
from tests.kernel.maps.support import dumped, dumped_per_cpu, settled

# Few keys, so that operations meet; one entry fewer than keys, so that the map gets full.
KEYS = st.sampled_from([-1, 0, 1, -(1 << 31), (1 << 31) - 1, 7])
VALUES = st.tuples(st.integers(-128, 127), st.integers(0, (1 << 64) - 1))
MAX_ENTRIES = 5
# Each CPU takes free elements of an LRU map in batches of 128: a smaller one evicts early.
ROOM = 1024
CPUS = os.sysconf("SC_NPROCESSORS_CONF")


class Model(RuleBasedStateMachine):
    type = MapType.HASH
    flags = ebpf.MapFlags(0)
    value = "bQ"
    max_entries = MAX_ENTRIES

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[int, Any] = {}
        self.map: Any = HashMap.create(
            self.type, key="i", value=self.value, max_entries=self.max_entries, flags=self.flags
        )

    def teardown(self) -> None:
        with self.map:
            key, value = self.map.key_codec, self.map.value_codec
            packed = {key.pack(k): value.pack(v) for k, v in self.model.items()}
            assert settled(self.map, self.dumped, packed) == packed

    def made(self, value: tuple[int, int]) -> Any:
        """What the map has for one of VALUES."""
        return value

    def dumped(self) -> dict[bytes, bytes]:
        return dumped(self.map)

    def room(self, *keys: int) -> bool:
        return len(self.model.keys() | set(keys)) <= self.max_entries

    def unpacked(self, keys: Any, values: Any) -> dict[int, Any]:
        decoded = self.map.key_codec.iter_unpack(keys), self.map.value_codec.iter_unpack(values)
        return dict(zip(*decoded, strict=True))

    @rule(key=KEYS, value=VALUES)
    def write(self, key: int, value: tuple[int, int]) -> None:
        if self.room(key):
            self.map[key] = self.model[key] = self.made(value)
        else:
            with pytest.raises(ebpf.BpfError, match=r"full"):
                self.map[key] = self.made(value)

    @rule(key=KEYS, value=VALUES)
    def setdefault(self, key: int, value: tuple[int, int]) -> None:
        made = self.made(value)
        if self.room(key):
            assert self.map.setdefault(key, made) == self.model.setdefault(key, made)

    @rule(key=KEYS)
    def read(self, key: int) -> None:
        assert self.map.get(key) == self.model.get(key)
        assert (key in self.map) == (key in self.model)

    @rule(key=KEYS)
    def delete(self, key: int) -> None:
        assert self.map.delete(key) == (self.model.pop(key, None) is not None)

    @rule(key=KEYS)
    def pop(self, key: int) -> None:
        assert self.map.pop(key, None) == self.model.pop(key, None)

    @rule()
    def popitem(self) -> None:
        if self.model:
            key, value = self.map.popitem()
            assert self.model.pop(key) == value
        else:
            with pytest.raises(KeyError):
                self.map.popitem()

    @rule(entries=st.dictionaries(KEYS, VALUES, max_size=3))
    def update(self, entries: dict[int, tuple[int, int]]) -> None:
        if self.room(*entries):
            made = {key: self.made(value) for key, value in entries.items()}
            self.map.update(made)
            self.model.update(made)

    @rule(keys=st.lists(KEYS, max_size=4), value=VALUES)
    def update_many(self, keys: list[int], value: tuple[int, int]) -> None:
        if self.room(*keys):
            values = [self.made((number, value[1])) for number in range(len(keys))]
            self.map.update_batch(keys, values)
            # Of a key that is there twice, the last value stays.
            self.model.update(zip(keys, values, strict=True))

    @rule(keys=st.lists(KEYS, max_size=4))
    def look_up_many(self, keys: list[int]) -> None:
        assert self.map.lookup_many(keys) == [self.model.get(key) for key in keys]

    @rule(keys=st.lists(KEYS, max_size=4))
    def delete_many(self, keys: list[int]) -> None:
        there = [key for key in dict.fromkeys(keys) if self.model.pop(key, None) is not None]
        assert self.map.delete_batch(keys) == len(there)

    @rule()
    def take_all(self) -> None:
        taken: dict[int, Any] = {}

        def all_so_far() -> dict[int, Any]:
            taken.update(self.unpacked(*self.map.lookup_and_delete_batch()))
            return taken

        assert settled(self.map, all_so_far, self.model) == self.model
        self.model.clear()

    @rule(count=st.integers(1, 3))
    def read_in_chunks(self, count: int) -> None:
        def chunks() -> dict[int, Any]:
            found: dict[int, Any] = {}
            for keys, values in self.map.batches(count):
                found.update(self.unpacked(keys, values))
            return found

        assert settled(self.map, chunks, self.model) == self.model

    @rule(more=st.integers(0, 2))
    def read_into_buffers(self, more: int) -> None:
        room = len(self.model) + more
        keys = bytearray(room * self.map.key_codec.size)
        values = bytearray(room * self.map.value_codec.size)

        def read() -> dict[int, Any]:
            found = self.map.lookup_batch_into(keys, values)
            sizes = found * self.map.key_codec.size, found * self.map.value_codec.size
            return self.unpacked(keys[: sizes[0]], values[: sizes[1]])

        assert settled(self.map, read, self.model) == self.model

    @rule()
    def clear(self) -> None:
        self.map.clear()
        self.model.clear()

    @invariant()
    def same(self) -> None:
        assert settled(self.map, self.map.to_dict, self.model) == self.model
        assert settled(self.map, lambda: len(self.map), len(self.model)) == len(self.model)


class NotPreallocated(Model):
    flags = ebpf.MapFlags.NO_PREALLOC


class Resizable(Model):
    type = MapType.RHASH


class Lru(Model):
    """As long as there is room, it forgets nothing."""

    type = MapType.LRU_HASH
    max_entries = ROOM


class PerCpu(Model):
    """Values of 9 bytes, which the kernel keeps in 16, another one for each CPU."""

    type = MapType.PERCPU_HASH
    value = "=bQ"

    def made(self, value: tuple[int, int]) -> Any:
        return [(value[0], value[1] ^ cpu) for cpu in range(CPUS)]

    def dumped(self) -> dict[bytes, bytes]:
        return dumped_per_cpu(self.map)


class LruPerCpu(PerCpu):
    type = MapType.LRU_PERCPU_HASH
    max_entries = ROOM


@pytest.mark.parametrize("machine", [Model, NotPreallocated, Resizable, Lru, PerCpu, LruPerCpu])
def test_a_hash_map_is_a_dict(machine: type[Model]) -> None:
    """Some sequence of operations leaves a HashMap different from a dict."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=10,
            stateful_step_count=20,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
