"""A HashMap does what a dict does, for any sequence of operations that hypothesis finds."""

from __future__ import annotations

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
from tests.kernel.maps.support import dumped, settled

# Few keys, so that operations meet; one entry fewer than keys, so that the map gets full.
KEYS = st.sampled_from([-1, 0, 1, -(1 << 31), (1 << 31) - 1, 7])
VALUES = st.tuples(st.integers(-128, 127), st.integers(0, (1 << 64) - 1))
MAX_ENTRIES = 5


class Model(RuleBasedStateMachine):
    type = MapType.HASH

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[int, tuple[int, int]] = {}
        self.map: Any = HashMap.create(
            self.type, key="i", value="bQ", max_entries=MAX_ENTRIES, flags=self.flags
        )

    flags = ebpf.MapFlags(0)

    def teardown(self) -> None:
        with self.map:
            key, value = self.map.key_codec, self.map.value_codec
            packed = {key.pack(k): value.pack(v) for k, v in self.model.items()}
            assert settled(self.map, lambda: dumped(self.map), packed) == packed

    def room(self, key: int) -> bool:
        return key in self.model or len(self.model) < MAX_ENTRIES

    @rule(key=KEYS, value=VALUES)
    def write(self, key: int, value: tuple[int, int]) -> None:
        if self.room(key):
            self.map[key] = self.model[key] = value
        else:
            with pytest.raises(ebpf.BpfError, match=r"full"):
                self.map[key] = value

    @rule(key=KEYS, value=VALUES)
    def setdefault(self, key: int, value: tuple[int, int]) -> None:
        if self.room(key):
            assert self.map.setdefault(key, value) == self.model.setdefault(key, value)

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
        if len(self.model | entries) <= MAX_ENTRIES:
            self.map.update(entries)
            self.model.update(entries)

    @rule(keys=st.lists(KEYS, max_size=4))
    def look_up_many(self, keys: list[int]) -> None:
        assert self.map.lookup_many(keys) == [self.model.get(key) for key in keys]

    @rule(keys=st.lists(KEYS, max_size=4))
    def delete_many(self, keys: list[int]) -> None:
        there = [key for key in dict.fromkeys(keys) if self.model.pop(key, None) is not None]
        assert self.map.delete_batch(keys) == len(there)

    @rule()
    def take_all(self) -> None:
        taken: dict[int, tuple[int, int]] = {}

        def all_so_far() -> dict[int, tuple[int, int]]:
            keys, values = self.map.lookup_and_delete_batch()
            key, value = self.map.key_codec, self.map.value_codec
            taken.update(zip(key.iter_unpack(keys), value.iter_unpack(values), strict=True))
            return taken

        assert settled(self.map, all_so_far, self.model) == self.model
        self.model.clear()

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


@pytest.mark.parametrize("machine", [Model, NotPreallocated, Resizable])
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
