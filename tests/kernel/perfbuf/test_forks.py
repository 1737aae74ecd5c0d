"""A forked child has the reader of its parent, but not the memory: the kernel leaves that out."""

from __future__ import annotations

import mmap
import os

import pytest

from ebpf import ClosedError, PerfBuffer
from tests.kernel.perfbuf.support import PerfProducer, cpus, perf_map
from tests.kernel.samples import Holding, in_child

SIZE = 1 << 16


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_child_that_reads_is_told(overwrite: bool) -> None:
    """It would read where nothing is mapped, and end by a signal."""
    with (
        perf_map() as events,
        PerfProducer(events, 8) as producer,
        PerfBuffer(events, codec="Q", size=SIZE, overwrite=overwrite) as reader,
    ):
        reader.poll(0)
        parent = os.getpid()

        def use() -> None:
            for call in (
                reader.read,
                reader.read_batch,
                reader.read_buffer,
                reader.poll,
                reader.fileno,
                reader._refresh,
            ):
                with pytest.raises(ClosedError, match=f"of process {parent}; make another"):
                    call()
            assert reader.counters.lost == 0

        assert in_child(use) == 0
        assert producer.run(7, cpus()[0]) == 1
        assert reader.poll(60)
        assert reader.read() == 7


def test_a_child_that_closes_unmaps_nothing_of_its_own() -> None:
    """What it mapped since is where its parent has the rings."""
    with (
        perf_map() as events,
        PerfProducer(events, 8) as producer,
        PerfBuffer(events, codec="Q", size=SIZE) as reader,
    ):

        def close() -> None:
            memory = [mmap.mmap(-1, SIZE + mmap.PAGESIZE) for _ in range(4 * len(reader.cpus))]
            reader.close()
            for one in memory:
                one[0] = 1

        assert in_child(close) == 0
        assert producer.run(7, cpus()[0]) == 1
        assert reader.read() == 7


def test_a_lock_that_a_thread_held_when_it_was_forked() -> None:
    """The thread is not in the child, so whoever waits for its lock there does so for ever."""
    with perf_map() as events, PerfBuffer(events, size=SIZE) as reader:
        with Holding(reader._lock, reader._rings[0].lock):
            assert in_child(reader.close) == 0
        assert reader.poll(0) is False
