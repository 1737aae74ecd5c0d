"""Maps do what Python's own types do, for any sequence of operations."""

from __future__ import annotations

import os
import socket
from collections import deque
from ipaddress import IPv4Address, IPv4Network
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
from ebpf import (
    ArrayMap,
    BloomFilterMap,
    LpmTrieMap,
    Map,
    MapFlags,
    MapType,
    QueueMap,
    StorageMap,
)

SLOTS = 5
CPUS = os.sysconf("SC_NPROCESSORS_CONF")
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)
INDEXES = st.integers(0, SLOTS - 1)


class Array(RuleBasedStateMachine):
    """A list of fixed length."""

    type = MapType.ARRAY
    flags = MapFlags(0)

    def __init__(self) -> None:
        super().__init__()
        self.map: ArrayMap[Any] = ArrayMap.create(
            self.type, value="q", max_entries=SLOTS, flags=self.flags
        )
        self.model = [self.made(0)] * SLOTS

    def teardown(self) -> None:
        self.map.close()

    def made(self, number: int) -> Any:
        """What a slot has for one of NUMBERS."""
        return number

    @rule(index=INDEXES, number=NUMBERS)
    def write(self, index: int, number: int) -> None:
        self.map[index] = self.model[index] = self.made(number)

    @rule(entries=st.dictionaries(INDEXES, NUMBERS))
    def update(self, entries: dict[int, int]) -> None:
        self.map.update({index: self.made(number) for index, number in entries.items()})
        for index, number in entries.items():
            self.model[index] = self.made(number)

    @rule(index=st.integers(SLOTS, 1 << 33) | st.integers(-10, -1))
    def beyond(self, index: int) -> None:
        for use in (
            lambda: self.map[index],
            lambda: self.map.__setitem__(index, self.made(1)),
            lambda: self.map.update({0: self.made(99), index: self.made(1)}),
        ):
            with pytest.raises(IndexError):
                use()

    @rule()
    def clear(self) -> None:
        self.map.clear()
        self.model = [self.made(0)] * SLOTS

    @rule(indexes=st.lists(INDEXES))
    def read_many(self, indexes: list[int]) -> None:
        assert self.map.lookup_many(indexes) == [self.model[index] for index in indexes]

    @rule(count=st.integers(1, SLOTS))
    def read_in_chunks(self, count: int) -> None:
        chunks = [self.map.value_codec.iter_unpack(values) for _, values in self.map.batches(count)]
        assert [value for chunk in chunks for value in chunk] == self.model

    @invariant()
    def same(self) -> None:
        assert list(self.map) == self.model
        assert [self.map[index] for index in range(SLOTS)] == self.model
        assert self.map.to_dict() == dict(enumerate(self.model))


class MappedArray(Array):
    """The same through its memory."""

    flags = MapFlags.MMAPABLE

    @rule(index=INDEXES, number=NUMBERS)
    def write_memory(self, index: int, number: int) -> None:
        self.map.memory[index] = self.model[index] = number

    @invariant()
    def same_memory(self) -> None:
        assert self.map.memory.tolist() == self.model


class PerCpuArray(Array):
    """The same with another number for each CPU."""

    type = MapType.PERCPU_ARRAY

    def made(self, number: int) -> Any:
        return [number >> cpu for cpu in range(CPUS)]


class Queue(RuleBasedStateMachine):
    """A deque of limited length; `newest` says from which end values are taken."""

    type = MapType.QUEUE
    newest = False

    def __init__(self) -> None:
        super().__init__()
        self.map: QueueMap[int] = QueueMap.create(self.type, value="q", max_entries=3)
        self.model: deque[int] = deque(maxlen=3)

    def teardown(self) -> None:
        self.map.close()

    @rule(number=NUMBERS)
    def push(self, number: int) -> None:
        if len(self.model) < 3:
            self.map.push(number)
            self.model.append(number)
        else:
            with pytest.raises(ebpf.BpfError, match="full"):
                self.map.push(number)

    @rule(number=NUMBERS)
    def push_over(self, number: int) -> None:
        self.map.push(number, overwrite=True)
        self.model.append(number)

    @rule()
    def pop(self) -> None:
        take = self.model.pop if self.newest else self.model.popleft
        assert self.map.pop() == (take() if self.model else None)

    @rule()
    def clear(self) -> None:
        self.map.clear()
        self.model.clear()

    @invariant()
    def same(self) -> None:
        assert self.map.peek() == (self.model[-1 if self.newest else 0] if self.model else None)


class Stack(Queue):
    """A stack."""

    type = MapType.STACK
    newest = True


class Bloom(RuleBasedStateMachine):
    """A set that may claim more than it has."""

    def __init__(self) -> None:
        super().__init__()
        self.map: BloomFilterMap[int] = BloomFilterMap.create(value="q", max_entries=1000)
        self.model: set[int] = set()

    def teardown(self) -> None:
        # The few that are in a filter for a thousand make hardly any other be claimed.
        claimed = sum(number in self.map for number in range(1 << 40, (1 << 40) + 200))
        self.map.close()
        assert claimed < 100

    @rule(number=NUMBERS)
    def add(self, number: int) -> None:
        self.map.add(number)
        self.model.add(number)

    @invariant()
    def none_is_denied(self) -> None:
        assert all(number in self.map for number in self.model)


class ArrayOfMaps(RuleBasedStateMachine):
    """A dict of maps, which are known by their ids."""

    type = MapType.ARRAY_OF_MAPS

    def __init__(self) -> None:
        super().__init__()
        self.inner = [ArrayMap.create(value="Q", max_entries=1) for _ in range(3)]
        keys = {} if self.type is MapType.ARRAY_OF_MAPS else {"key": "I"}
        self.map: Any = Map.create(self.type, max_entries=SLOTS, inner=self.inner[0], **keys)
        self.model: dict[int, int] = {}

    def teardown(self) -> None:
        for one in (self.map, *self.inner):
            one.close()

    @rule(index=INDEXES, number=st.integers(0, 2))
    def write(self, index: int, number: int) -> None:
        self.map[index] = self.inner[number]
        self.model[index] = self.inner[number].info().id

    @rule(index=INDEXES)
    def delete(self, index: int) -> None:
        assert self.map.delete(index) == (self.model.pop(index, None) is not None)

    @rule()
    def clear(self) -> None:
        self.map.clear()
        self.model.clear()

    @invariant()
    def same(self) -> None:
        assert dict(self.map.items()) == self.model
        assert sorted(self.map) == sorted(self.model)
        read = [self.map.lookup(index) for index in range(SLOTS)]
        assert read == [self.model.get(index) for index in range(SLOTS)]


class HashOfMaps(ArrayOfMaps):
    """The same with keys that are no indexes."""

    type = MapType.HASH_OF_MAPS


class Storage(RuleBasedStateMachine):
    """A dict of sockets, which forgets those that are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.map: StorageMap[int] = StorageMap.create(MapType.SK_STORAGE, value="q")
        self.sockets = [socket.socket() for _ in range(SLOTS)]
        self.model: dict[int, int] = {}

    def teardown(self) -> None:
        for one in (self.map, *self.sockets):
            one.close()

    @rule(index=INDEXES, number=NUMBERS)
    def write(self, index: int, number: int) -> None:
        self.map[self.sockets[index]] = self.model[index] = number

    @rule(index=INDEXES)
    def delete(self, index: int) -> None:
        there = self.model.pop(index, None) is not None
        assert self.map.delete(self.sockets[index].fileno()) == there

    @rule(index=INDEXES)
    def replace(self, index: int) -> None:
        # The new one most likely has the old one's number.
        self.sockets[index].close()
        self.sockets[index] = socket.socket()
        self.model.pop(index, None)

    @invariant()
    def same(self) -> None:
        for index, one in enumerate(self.sockets):
            assert self.map.lookup(one) == self.model.get(index)
            assert (one in self.map) == (index in self.model)


# Few networks and addresses, so that they meet.
BYTES = st.sampled_from([0, 1, 128, 255])
ADDRESSES = st.builds(lambda *octets: IPv4Address(bytes(octets)), *[BYTES] * 4)
NETWORKS = st.builds(
    lambda address, prefix: IPv4Network((address, prefix), strict=False),
    ADDRESSES,
    st.sampled_from([0, 1, 7, 8, 9, 24, 31, 32]),
)


class Trie(RuleBasedStateMachine):
    """A dict that is looked up by the longest prefix."""

    def __init__(self) -> None:
        super().__init__()
        self.map: Any = LpmTrieMap.create(key=IPv4Network, value="I", max_entries=64)
        self.model: dict[IPv4Network, int] = {}
        self.deleted = False

    def teardown(self) -> None:
        self.map.close()

    @rule(network=NETWORKS, number=st.integers(0, 99))
    def write(self, network: IPv4Network, number: int) -> None:
        if network in self.model or len(self.model) < 64:
            self.map[network] = self.model[network] = number

    @rule(entries=st.dictionaries(NETWORKS, st.integers(0, 99), max_size=4))
    def update(self, entries: dict[IPv4Network, int]) -> None:
        if len(self.model | entries) <= 64:
            self.map.update(entries)
            self.model.update(entries)

    @rule(address=ADDRESSES)
    def match(self, address: IPv4Address) -> None:
        within = [network for network in self.model if address in network]
        best = max(within, key=lambda network: network.prefixlen, default=None)
        assert self.map.lookup(address) == (None if best is None else self.model[best])

    @rule(network=NETWORKS)
    def delete(self, network: IPv4Network) -> None:
        there = self.model.pop(network, None) is not None
        assert self.map.delete(network) == there
        self.deleted |= there

    @rule()
    def clear(self) -> None:
        # Kernels before 6.13 may leave out entries after a deletion, see LpmTrieMap.
        if self.deleted:
            return
        self.map.clear()
        assert self.map.lookup(IPv4Address("1.1.1.1")) is None
        self.deleted = bool(self.model)
        self.model.clear()

    @rule()
    def same(self) -> None:
        if self.deleted:
            assert self.map.to_dict().items() <= self.model.items()
        else:
            assert self.map.to_dict() == self.model


MACHINES = [
    *(Array, MappedArray, PerCpuArray, Queue, Stack, Trie),
    *(Bloom, ArrayOfMaps, HashOfMaps, Storage),
]


@pytest.mark.parametrize("machine", MACHINES)
def test_a_map_is_what_its_model_is(machine: type[RuleBasedStateMachine]) -> None:
    """Some sequence of operations leaves a map different from its model."""
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
