"""QueueMap and BloomFilterMap: maps without keys."""

from __future__ import annotations

import errno

import pytest

import ebpf
from ebpf import BloomFilterMap, MapType, QueueMap


@pytest.mark.parametrize(
    ("type", "expected"),
    [(MapType.QUEUE, [1, 2, 3]), (MapType.STACK, [3, 2, 1])],
    ids=["QUEUE", "STACK"],
)
def test_order(type: MapType, expected: list[int]) -> None:
    """A queue does not give the oldest value first, or a stack not the newest."""
    with QueueMap.create(type, value="Q", max_entries=3) as q:
        for value in (1, 2, 3):
            q.push(value)
        assert q.peek() == q.peek() == expected[0]
        assert [q.pop(), q.pop(), q.pop()] == expected
        assert q.pop() is None
        assert q.peek() is None


@pytest.mark.parametrize(
    ("type", "left"), [(MapType.QUEUE, [2, 3]), (MapType.STACK, [3, 2])], ids=["QUEUE", "STACK"]
)
def test_a_full_one_refuses_or_drops_the_oldest(type: MapType, left: list[int]) -> None:
    """A full queue loses values unasked, keeps the wrong ones, or the error doesn't say why."""
    with QueueMap.create(type, value="Q", max_entries=2, name="q") as q:
        q.push(1)
        q.push(2)
        with pytest.raises(ebpf.BpfError, match=r"full: max_entries is 2.*'q'") as caught:
            q.push(3)
        assert caught.value.errno == errno.E2BIG
        q.push(3, overwrite=True)
        assert [q.pop(), q.pop(), q.pop()] == [*left, None]


def test_clear_empties() -> None:
    """clear() leaves values behind."""
    with QueueMap.create(value="Q", max_entries=5) as q:
        for value in range(5):
            q.push(value)
        q.clear()
        assert q.pop() is None
        q.clear()


def test_a_zero_is_a_value() -> None:
    """A queued 0 is taken for an empty queue."""
    with QueueMap.create(value="I", max_entries=2) as q:
        q.push(0)
        assert q.peek() == 0
        assert q.pop() == 0
        assert q.pop() is None


def test_a_bad_value_names_the_queue() -> None:
    """The error for a value that doesn't fit does not say that it is the value."""
    with QueueMap.create(value="I", max_entries=2, name="q") as q:
        for bad in (None, "1", 1.0, -1):
            with pytest.raises(ebpf.CodecError, match=r"^value of <ebpf.QueueMap 'q'"):
                q.push(bad)
        assert q.pop() is None


def test_a_bloom_filter_never_denies_what_was_added() -> None:
    """A value that was added to a bloom filter (5.16) is denied, or everything is affirmed."""
    with BloomFilterMap.create(value="Q", max_entries=100) as bloom:
        assert all(value not in bloom for value in range(50))
        for value in range(0, 100, 2):
            bloom.add(value)
        assert all(value in bloom for value in range(0, 100, 2))
        # With the kernel's 5 hash functions and half of the values it is wrong for about 1 in 200.
        assert sum(value in bloom for value in range(1, 400, 2)) < 50
        with pytest.raises(ebpf.CodecError, match=r"^value of <ebpf.BloomFilterMap"):
            bloom.add("x")
