"""Waiting for a perf buffer: wake-ups, threads, event loops, and CPUs that come and go."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import select
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ebpf import ClosedError, PerfBuffer, RingBuffer
from ebpf._sys import facts, lib
from tests.kernel.perfbuf.support import PerfProducer, cpus, perf_map
from tests.kernel.samples import Flood, wait_until


def readable(reader: PerfBuffer) -> bool:
    return bool(select.select([reader], [], [], 0)[0])


@pytest.mark.parametrize(
    ("options", "before"),
    [
        ({}, 0),
        ({"wakeup_events": 5}, 4),
        # A record of 8 bytes takes 24 of the ring; it wakes when there are more than so many.
        ({"wakeup_bytes": 24 * 7}, 7),
    ],
)
def test_a_reader_is_woken_after_as_many_as_it_asked_for(
    options: dict[str, int], before: int
) -> None:
    """Once per record costs the program more than the record does."""
    here = cpus()[0]
    with (
        perf_map() as events,
        PerfProducer(events, 8) as producer,
        PerfBuffer(events, codec="Q", **options) as reader,
    ):
        assert not readable(reader)
        for number in range(before):
            producer.run(number, here)
            assert not readable(reader)
        producer.run(before, here)
        wait_until(lambda: readable(reader), "the descriptor is readable")
        assert reader.read_batch() == list(range(before + 1))
        # What doesn't wake is found when the time is over.
        producer.run(99, here)
        assert reader.poll(0.05)
        assert reader.read() == 99


def test_poll_waits_for_a_record() -> None:
    with (
        perf_map() as events,
        PerfProducer(events, 8) as producer,
        PerfBuffer(events, codec="Q") as reader,
    ):
        assert reader.poll(0) is False
        assert reader.poll(0.01) is False
        for number in range(20):
            timer = threading.Timer(0.01, producer.run, (number,))
            timer.start()
            assert reader.poll(60)
            timer.join()
            assert reader.read() == number


# An emulated CPU may stop for long between the time of a record and its end.
@pytest.mark.parametrize("options", [{}, {"ordered": 0.1, "size": 1 << 20}, {"coalesce": 0}])
def test_nothing_that_was_accepted_is_lost_or_doubled(options: dict[str, Any]) -> None:
    """In every form in turn, while the producer goes on and drops what does not fit."""
    with (
        perf_map() as events,
        PerfProducer(events, 8, batch=50) as producer,
        PerfBuffer(events, record_size=8, **{"size": 8192, **options}) as reader,
    ):
        seen: list[bytes] = []
        with Flood(producer) as flood:
            while len(seen) < 20_000:
                reader.poll(10)
                seen += [record for record in (reader.read(), reader.read()) if record]
                seen += reader.read_batch(50)
                reader.consume(seen.append, max_records=20, timeout=1)
                seen += map(bytes, reader.read_buffer(70))
                seen += reader.read_batch()
        while reader.poll(1):
            seen += reader.read_batch()
        # Threads move between CPUs, and the records of two CPUs come in any order.
        assert sorted(seen, key=number) == producer.records(0, flood.accepted)
        if "ordered" in options:
            assert seen == producer.records(0, flood.accepted)
        assert reader.counters.records == flood.accepted


def number(record: bytes) -> int:
    return int.from_bytes(record, "little")


def test_threads_that_share_a_reader_get_each_record_once() -> None:
    with perf_map() as events, PerfProducer(events, 8, batch=20) as producer:
        reader = PerfBuffer(events, record_size=8)
        parts: list[list[bytes]] = [[] for _ in range(3)]

        def work(part: list[bytes]) -> None:
            with contextlib.suppress(ClosedError):
                part.extend(reader)

        threads = [threading.Thread(target=work, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        with Flood(producer) as flood:
            wait_until(lambda: flood.accepted > 2000, "enough is written")
        wait_until(lambda: sum(map(len, parts)) >= flood.accepted, "all is read")
        reader.close()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        everything = [record for part in parts for record in part]
        assert sorted(everything) == sorted(producer.records(0, flood.accepted))


def test_async_for_wakes_when_a_record_comes() -> None:
    """Also when it comes while the event loop is being told of the descriptor."""
    with (
        perf_map() as events,
        PerfProducer(events) as producer,
        PerfBuffer(events, codec="Q") as reader,
    ):

        async def main() -> list[int]:
            seen = []
            asyncio.get_running_loop().call_later(0.01, producer.run, 0)
            async for number in reader:
                seen.append(number)
                if number == 50:
                    return seen
                # At once, and when the reader waits.
                delay = 0.005 * (number % 3)
                asyncio.get_running_loop().call_later(delay, producer.run, number + 1)
            raise AssertionError

        assert asyncio.run(asyncio.wait_for(main(), 120)) == list(range(51))


def test_close_wakes_a_task_that_waits() -> None:
    with perf_map() as events:
        reader = PerfBuffer(events)

        async def main() -> None:
            async def wait() -> None:
                async for _ in reader:
                    pass

            task = asyncio.create_task(wait())
            while reader._waiter is None:
                await asyncio.sleep(0.001)
            reader.close()
            with pytest.raises(ClosedError):
                await asyncio.wait_for(task, 60)

        asyncio.run(main())


# ---- CPUs -----------------------------------------------------------------------------------


def test_cpus_that_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of a CPU that came later would be lost, and those of one that went as well."""
    several = cpus()
    first, last = several[0], several[-1]
    online = [first]
    monkeypatch.setattr(facts, "online_cpus", lambda: online)
    monkeypatch.setattr(PerfBuffer, "_slice", 0.02)
    with (
        perf_map() as events,
        PerfProducer(events, 8) as producer,
        PerfBuffer(events, codec="Q") as reader,
    ):
        assert reader.cpus == [first]
        assert producer.run(1, first) == 1
        online = several
        # Waiting notices.
        assert reader.read() == 1
        assert reader.poll(0.3) is False
        assert reader.cpus == several
        timer = threading.Timer(0.05, producer.run, (2, last))
        timer.start()
        assert reader.poll(60)
        timer.join()
        assert reader.read() == 2
        if first == last:
            return
        producer.run(3, last)
        producer.run(4, first)
        online = [first]
        reader._refresh()
        assert reader.cpus == [first]
        assert sorted(reader.read_batch()) == [3, 4]
        assert producer.run(5, last) == 0
        assert producer.run(6, first) == 1
        assert reader.read() == 6


def test_a_cpu_that_comes_while_records_flood_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that never has to wait must look for new CPUs as well."""
    several = cpus()
    online = several[:1]
    monkeypatch.setattr(facts, "online_cpus", lambda: online)
    monkeypatch.setattr(PerfBuffer, "_slice", 0.02)
    with (
        perf_map() as events,
        PerfProducer(events, 8) as producer,
        PerfBuffer(events, codec="Q") as reader,
    ):
        waiting = reader.fileno()
        online = several
        end = time.monotonic() + 60
        while reader.cpus != several:
            assert time.monotonic() < end
            producer.run(1, several[0])
            assert reader.poll(0)
            reader.read_batch()
        # Whoever waits on the descriptor goes on doing so.
        assert reader.fileno() == waiting
        # The kernel tells once of what was read meanwhile.
        wait_until(lambda: not readable(reader), "nothing is left to tell")
        producer.run(2, several[-1])
        wait_until(lambda: readable(reader), "the new CPU's record is noticed")
        assert reader.read_batch() == [2]


def test_an_event_that_stopped_is_opened_again() -> None:
    """The events of a CPU that was away do not come back with it, so nothing would ever arrive
    from it again."""
    several = cpus()
    with (
        perf_map() as events,
        PerfProducer(events, 8) as producer,
        PerfBuffer(events, codec="Q") as reader,
    ):
        rings = reader._rings[0]
        before = rings.descriptors()
        for _ in range(3):
            reader._refresh()
            time.sleep(0.15)
        assert rings.descriptors() == before
        assert producer.run(1, several[-1]) == 1
        for fd in before:
            lib.ebpf_perf_disable(fd)
        reader._refresh()
        time.sleep(0.15)
        assert producer.run(2, several[-1]) == 0
        reader._refresh()
        assert producer.run(3, several[-1]) == 1
        # What was there before is not lost with the ring.
        assert reader.read_batch() == [1, 3]
        assert reader.cpus == facts.online_cpus()
        assert reader.counters.lost == 0


def test_counts_of_a_cpu_that_is_gone_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    several = cpus()
    online = several
    monkeypatch.setattr(facts, "online_cpus", lambda: online)
    with (
        perf_map() as events,
        PerfProducer(events, 8, batch=1000) as producer,
        PerfBuffer(events, codec="Q", size=4096, ordered=60.0) as reader,
    ):
        gone = several[-1]
        accepted = producer.run(0, gone)
        online = several[:-1]
        reader._refresh()
        # Records that are held back are handed out then; nothing older can come.
        assert len(reader.read_batch()) == accepted
        assert reader.counters.lost_by_cpu.get(gone) == 0
        assert reader.counters.records == accepted


def test_cpus_of_ones_choice() -> None:
    several = cpus()
    with (
        perf_map() as events,
        PerfProducer(events, 8) as producer,
        PerfBuffer(events, codec="Q", cpus=[several[-1], several[-1]]) as reader,
    ):
        assert reader.cpus == several[-1:]
        assert producer.run(1, several[-1]) == 1
        assert reader.read() == 1
        if len(several) > 1:
            assert producer.run(1, several[0]) == 0


def test_a_cpu_that_is_really_taken_away() -> None:
    """Only in a guest of its own: on another machine, somebody may be using it."""
    switch = Path(f"/sys/devices/system/cpu/cpu{cpus()[-1]}/online")
    with perf_map() as events, PerfBuffer(events, codec="Q") as reader:
        if "EBPF_VM" not in os.environ or not switch.exists():
            assert reader.cpus == facts.online_cpus()
            return
        gone = cpus()[-1]
        with PerfProducer(events, 8) as producer:
            assert producer.run(1, gone) == 1
            try:
                switch.write_text("0")
                reader._refresh()
                assert gone not in reader.cpus
                assert reader.read() == 1
            finally:
                switch.write_text("1")
            time.sleep(0.1)
            reader._refresh()
            assert gone in reader.cpus
            assert producer.run(2, gone) == 1
            assert reader.read() == 2
            # And so fast that nobody sees it.
            switch.write_text("0")
            switch.write_text("1")
            wait_until(lambda: reader.poll(0.2) or producer.run(3, gone), "the CPU is read again")
            assert reader.read() == 3


def test_a_call_that_makes_no_reader() -> None:
    """What is collected then was never opened, and says so on standard error."""
    unraisable: list[object] = []
    before, sys.unraisablehook = sys.unraisablehook, unraisable.append
    try:
        for kind in (PerfBuffer, RingBuffer):
            with pytest.raises(TypeError):
                kind()  # type: ignore[call-arg]
            gc.collect()
    finally:
        sys.unraisablehook = before
    assert unraisable == []
