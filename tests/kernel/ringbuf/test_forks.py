"""A forked child has the reader of its parent, and must leave it alone."""

from __future__ import annotations

import os
import warnings

import pytest

from ebpf import ClosedError, RingBuffer
from tests.kernel.samples import Holding, Producer, in_child, ring_map


@pytest.mark.parametrize("maps", [1, 2])
def test_a_child_that_uses_or_closes_it_leaves_the_parent_alone(maps: int) -> None:
    """The child takes records away, or wakes its parent for ever: they wait by the same eventfd."""
    with ring_map() as ring, ring_map() as other, Producer(ring, batch=3) as producer:
        reader = RingBuffer([ring, other][:maps] if maps > 1 else ring)
        producer.run()
        record = reader.read()
        assert reader.poll(0)
        waiter = reader._wait_on()
        parent = os.getpid()

        def use() -> None:
            for read in (reader.read, reader.read_batch, reader.read_buffer, reader.poll):
                with pytest.raises((ClosedError, TypeError), match=f"of process {parent}|several"):
                    read()
            for call in (reader.fileno, reader.__enter__, lambda: reader.consume(print, 1)):
                with pytest.raises(ClosedError, match=f"of process {parent}; make another"):
                    call()
            reader.close()
            # The child's own reader works.
            with RingBuffer(other) as mine:
                assert mine.poll(0) is False

        assert in_child(use) == 0
        assert len([record, *reader.read_batch()]) == 3
        assert not waiter.wait(0)
        producer.run(7)
        assert waiter.wait(0)
        assert reader.poll(60)
        assert len(reader.read_batch()) == 3
        reader.close()


def test_a_lock_that_a_thread_held_when_it_was_forked() -> None:
    """The thread is not in the child, so whoever waits for its lock there does so for ever."""
    with ring_map() as ring, RingBuffer(ring) as reader:
        with Holding(reader._lock, reader._rings[0].lock):
            assert in_child(reader.close) == 0
        assert reader.poll(0) is False


def test_a_child_that_forgets_it_does_not_warn() -> None:
    """What its parent left open is not the child's mistake."""
    with ring_map() as ring:
        readers = [RingBuffer(ring)]

        def forget() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                readers[0].__del__()
            readers.clear()

        assert in_child(forget) == 0
        readers[0].close()
