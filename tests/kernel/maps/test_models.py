"""Arrays, queues and tries do what Python's own types do, for any sequence of operations."""

from __future__ import annotations

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
from ebpf import ArrayMap, LpmTrieMap, MapFlags, MapType, QueueMap

SLOTS = 5
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)
INDEXES = st.integers(0, SLOTS - 1)


class Array(RuleBasedStateMachine):
    """A list of fixed length."""

    flags = MapFlags(0)

    def __init__(self) -> None:
        super().__init__()
        self.map: ArrayMap[Any] = ArrayMap.create(value="q", max_entries=SLOTS, flags=self.flags)
        self.model = [0] * SLOTS

    def teardown(self) -> None:
        self.map.close()

    @rule(index=INDEXES, number=NUMBERS)
    def write(self, index: int, number: int) -> None:
        self.map[index] = self.model[index] = number

    @rule(entries=st.dictionaries(INDEXES, NUMBERS))
    def update(self, entries: dict[int, int]) -> None:
        self.map.update(entries)
        for index, number in entries.items():
            self.model[index] = number

    @rule(index=st.integers(SLOTS, 1 << 33) | st.integers(-10, -1))
    def beyond(self, index: int) -> None:
        for use in (
            lambda: self.map[index],
            lambda: self.map.__setitem__(index, 1),
            lambda: self.map.update({0: 99, index: 1}),
        ):
            with pytest.raises(IndexError):
                use()

    @rule()
    def clear(self) -> None:
        self.map.clear()
        self.model = [0] * SLOTS

    @rule(indexes=st.lists(INDEXES))
    def read_many(self, indexes: list[int]) -> None:
        assert self.map.lookup_many(indexes) == [self.model[index] for index in indexes]

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


@pytest.mark.parametrize("machine", [Array, MappedArray, Queue, Stack, Trie])
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
