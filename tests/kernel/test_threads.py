"""Several threads use the same objects."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import ebpf
from ebpf import ArrayMap, HashMap, QueueMap

THREADS = 4
ROUNDS = 60


def together(work: Callable[[int], None]) -> None:
    """Run `work(number)` in all threads at once; fails as the first of them fails."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(THREADS)

    def run(number: int) -> None:
        try:
            barrier.wait()
            work(number)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_no_thread_reads_what_another_wrote() -> None:
    """Threads share a key or value buffer, so that one reads the other's value."""
    with HashMap.create(key="I", value=256, max_entries=THREADS * 8) as m:

        def work(number: int) -> None:
            for turn in range(ROUNDS):
                key = number * 8 + turn % 8
                value = bytes([number, turn]) * 128
                m[key] = value
                assert m[key] == m.lookup(key) == m.get(key) == value
                assert m.pop(key) == value
                assert m.lookup(key) is None

        together(work)
        assert m.to_dict() == {}


def test_errors_stay_in_their_thread() -> None:
    """One thread's missing key or full map is another thread's error."""
    with HashMap.create(key="I", value="Q", max_entries=THREADS * 2) as m:
        m.update({number: number for number in range(THREADS * 2)})

        def work(number: int) -> None:
            for _ in range(ROUNDS):
                if number % 2:
                    assert m[number] == number
                    m[number] = number
                else:
                    with pytest.raises(KeyError):
                        m[1000 + number]
                    with pytest.raises(ebpf.BpfError, match=r"full"):
                        m[1000 + number] = 1

        together(work)
        assert m.to_dict() == {number: number for number in range(THREADS * 2)}


def test_setdefault_has_one_winner() -> None:
    """Two threads both believe that their default was the first."""
    with HashMap.create(key="I", value="Q", max_entries=64) as m:
        answers: list[list[int]] = [[0] * ROUNDS for _ in range(THREADS)]

        def work(number: int) -> None:
            for key in range(ROUNDS):
                answers[number][key] = m.setdefault(key, number + 1)

        together(work)
        for key in range(ROUNDS):
            assert {answer[key] for answer in answers} == {m[key]}


def test_pop_gives_each_value_once() -> None:
    """Two threads get the same value out of a map, or one is lost."""
    count = THREADS * ROUNDS
    with (
        HashMap.create(key="I", value="I", max_entries=count) as hash,
        QueueMap.create(value="I", max_entries=count) as queue,
    ):
        hash.update({key: key for key in range(count)})
        for value in range(count):
            queue.push(value)
        from_hash: list[int] = []
        from_queue: list[int] = []

        def work(number: int) -> None:
            for key in range(count):
                value = hash.pop(key, None)
                if value is not None:
                    from_hash.append(value)
            while (value := queue.pop()) is not None:
                from_queue.append(value)

        together(work)
        assert sorted(from_hash) == sorted(from_queue) == list(range(count))


def test_per_cpu_values_are_not_mixed() -> None:
    """Per-CPU reads of several threads share the buffer that the kernel fills."""
    with ArrayMap.create(ebpf.MapType.PERCPU_ARRAY, value="Q", max_entries=THREADS) as m:
        cpus = len(m[0])

        def work(number: int) -> None:
            for turn in range(ROUNDS):
                values: Any = [number << 32 | turn << 8 | cpu for cpu in range(cpus)]
                m[number] = values
                assert m[number] == values

        together(work)


def test_objects_are_made_in_all_threads() -> None:
    """Creating, opening and closing in several threads leaks or mixes descriptors up."""

    def work(number: int) -> None:
        for _ in range(10):
            with HashMap.create(key="I", value="I", max_entries=1, name=f"t{number}") as m:
                m[number] = number
                with ebpf.Map.from_id(m.info().id, key="I", value="I") as same:
                    assert same.name == f"t{number}"
                    assert same.to_dict() == {number: number}

    together(work)


def test_every_operation_at_once() -> None:
    """Batches, single operations and memory in several threads disturb each other."""
    with (
        HashMap.create(key="I", value="Q", max_entries=THREADS * 1000) as m,
        HashMap.create(key="I", value="QQ", max_entries=THREADS * 1000) as wide,
        ArrayMap.create(value="Q", max_entries=THREADS, flags=ebpf.MapFlags.MMAPABLE) as array,
    ):

        def work(number: int) -> None:
            own = range(number * 1000, number * 1000 + 300)
            for turn in range(ROUNDS // 4):
                m.update({key: key + turn for key in own})
                wide.update({key: (key, turn) for key in own})
                assert m.lookup_many(own) == [key + turn for key in own]
                assert wide.lookup_many(own) == [(key, turn) for key in own]
                keys, values = m.lookup_batch()
                # What others write meanwhile is theirs, but each value is at its key.
                assert all(value - key < ROUNDS for key, value in zip(keys, values, strict=True))
                for key, pair in wide.items():
                    assert pair[0] == key
                array.memory[number] += 1
                for key in own:
                    m[key] = m[key] + 1
                    assert m[key] == key + turn + 1
                assert m.delete_batch(own[:100]) == 100
                assert {m.pop(key) for key in own[100:]} == {key + turn + 1 for key in own[100:]}
                assert array[number] == turn + 1

        together(work)
        assert m.to_dict() == {}
        assert len(wide) == THREADS * 300
