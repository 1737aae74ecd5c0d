"""Waiting for records: timeouts, signals, threads, event loops."""

from __future__ import annotations

import asyncio
import os
import resource
import select
import selectors
import threading
import time
from typing import Any

import pytest

from ebpf import ClosedError, RingBuffer
from tests.kernel.samples import Flood, Producer, python, ring_map, wait_until

# ---- consume --------------------------------------------------------------------------------


def test_consume_ends_in_time_while_records_flood_in() -> None:
    """A tool that prints every second must print every second, however busy the machine is."""
    with ring_map() as ring, Producer(ring, 8, batch=500) as producer, RingBuffer(ring) as reader:
        seen: list[bytes] = []
        with Flood(producer) as flood:
            for timeout in (0.2, 0):
                start = time.monotonic()
                reader.consume(seen.append, timeout=timeout)
                # An emulated machine may be late, but not for ever.
                assert timeout <= time.monotonic() - start < timeout + 30
            assert reader.read_batch() is not None
            while len(seen) < 2000:
                reader.consume(seen.append, timeout=0.1)
        reader.consume(seen.append, timeout=0)
        assert len(seen) <= flood.accepted
        assert seen[0] == producer.record(0)


def test_nothing_that_the_ring_accepted_is_lost_or_doubled() -> None:
    """In every form in turn, while the producer goes on."""
    with (
        ring_map(8192) as ring,
        Producer(ring, 8, batch=100) as producer,
        RingBuffer(ring) as reader,
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
        reader.consume(seen.append, timeout=0)
        assert seen == producer.records(0, flood.accepted)
        assert reader.counters.records == flood.accepted


def test_an_exception_in_the_callback_loses_nothing_but_its_record() -> None:
    """The records behind it were copied out of the ring already; all reads serve them first."""
    with ring_map() as ring, Producer(ring, batch=10) as producer, RingBuffer(ring) as reader:
        producer.run()
        seen: list[bytes] = []

        def fails_at_third(record: bytes) -> None:
            seen.append(record)
            if len(seen) == 3:
                raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            reader.consume(fails_at_third, timeout=10)
        # The kernel has nothing left to signal, but poll knows.
        assert not select.select([reader], [], [], 0)[0]
        assert reader.poll(0)
        assert reader.consume(seen.append, timeout=0) == 7
        assert seen == producer.records(0, 10)


def test_consume_waits_for_as_many_as_were_asked_for() -> None:
    with ring_map() as ring, Producer(ring, batch=2) as producer, RingBuffer(ring) as reader:
        seen: list[bytes] = []
        with Flood(producer):
            assert reader.consume(seen.append, max_records=1001) == 1001
        assert seen == producer.records(0, 1001)
        assert reader.consume(seen.append, max_records=0) == 0


# ---- signals --------------------------------------------------------------------------------


def test_a_signal_handler_runs_while_poll_waits_and_may_raise() -> None:
    """Ctrl-C must end a tool that waits, and a handler that returns must not."""
    told = python(
        """
import signal
from tests.kernel.samples import *
from ebpf import RingBuffer
fired = 0
def handler(number, frame):
    global fired
    fired += 1
    if fired == 3:
        producer.run(7)
    if fired == 6:
        raise KeyboardInterrupt
signal.signal(signal.SIGALRM, handler)
with ring_map() as ring, Producer(ring) as producer, RingBuffer(ring) as reader:
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    print(reader.poll(), fired >= 3, reader.read() == producer.record(7))
    try:
        for record in reader:
            print("?")
    except KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, 0)
        print("interrupted")
"""
    )
    assert told == "True True True\ninterrupted\n"


def test_a_handler_that_raises_loses_no_record() -> None:
    """It may raise at any moment: also right after the core has emptied the ring."""
    told = python(
        """
import signal
from tests.kernel.samples import *
from ebpf import RingBuffer
class Alarm(Exception):
    pass
armed = False
def handler(number, frame):
    global armed
    if armed:
        armed = False
        raise Alarm
signal.signal(signal.SIGALRM, handler)
with ring_map(1 << 20) as ring, Producer(ring, 8, batch=4000) as producer:
    with RingBuffer(ring) as reader:
        signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
        raised, written, seen = 0, 0, []
        while raised < 30:
            written += producer.run(written)
            try:
                armed = True
                # Copies 4000 records in one call of the core.
                reader.poll(0)
                armed = False
            except Alarm:
                raised += 1
            seen += reader.read_batch()
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(seen == producer.records(0, written), written > 0)
"""
    )
    assert told == "True True\n"


def test_a_handler_may_close_what_it_interrupts() -> None:
    """A lock that the interrupted call holds would block it for ever."""
    told = python(
        """
import signal
from tests.kernel.samples import *
from ebpf import ClosedError, RingBuffer
ends = 0
def handler(number, frame):
    if reader is not None:
        reader.close()
signal.signal(signal.SIGALRM, handler)
with ring_map() as ring, Producer(ring, batch=50) as producer:
    while ends < 30:
        reader = None
        reader = RingBuffer(ring)
        signal.setitimer(signal.ITIMER_REAL, 0.002)
        try:
            while True:
                producer.run()
                reader.read_batch(7)
                reader.poll(0)
        except ClosedError:
            ends += 1
print(ends)
"""
    )
    assert told == "30\n"


def test_a_handler_that_reads_gets_records_or_is_refused() -> None:
    """In the midst of a read nothing is in order; as with files, it must not look."""
    told = python(
        """
import signal
from tests.kernel.samples import *
from ebpf import RingBuffer
seen, fired, refused = [], 0, 0
def handler(number, frame):
    global fired, refused
    fired += 1
    try:
        seen.extend(reader.read_batch(3))
        record = reader.read()
        seen.extend([] if record is None else [record])
    except RuntimeError:
        refused += 1
signal.signal(signal.SIGALRM, handler)
with ring_map(1 << 20) as ring, Producer(ring, batch=2000) as producer:
    with RingBuffer(ring) as reader:
        written = 0
        signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
        while refused < 5 or fired - refused < 5:
            written += producer.run(written)
            for read in (reader.read_batch, lambda: map(bytes, reader.read_buffer())):
                seen.extend(read())
            reader.poll(0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        seen.extend(reader.read_batch())
        print(sorted(seen) == sorted(producer.records(0, written)))
"""
    )
    assert told == "True\n"


# ---- threads --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["read", "batch", "consume", "iterate"])
def test_threads_that_share_a_reader_get_each_record_once(form: str) -> None:
    with ring_map() as ring, Producer(ring, batch=100) as producer:
        reader = RingBuffer(ring)
        parts: list[list[bytes]] = [[] for _ in range(3)]

        def work(part: list[bytes]) -> None:
            try:
                while True:
                    if form == "read":
                        if (record := reader.read()) is not None:
                            part.append(record)
                        else:
                            reader.poll(0.05)
                    elif form == "batch":
                        part += reader.read_batch(10)
                        reader.poll(0.05)
                    elif form == "consume":
                        reader.consume(part.append, max_records=10, timeout=0.05)
                    else:
                        part.extend(reader)
            except ClosedError:
                pass

        threads = [threading.Thread(target=work, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        with Flood(producer) as flood:
            wait_until(lambda: flood.accepted > 3000, "enough is written")
        wait_until(lambda: sum(map(len, parts)) >= flood.accepted, "all is read")
        reader.close()
        for thread in threads:
            thread.join()
        everything = [record for part in parts for record in part]
        assert sorted(everything) == sorted(producer.records(0, flood.accepted))
        if form != "batch":
            # What one thread got is in order.
            for part in parts:
                assert part == sorted(part, key=lambda record: int.from_bytes(record, "little"))


@pytest.mark.parametrize("maps", [1, 2])
@pytest.mark.parametrize("wait", ["poll", "iterate", "consume"])
def test_close_wakes_the_threads_that_wait(maps: int, wait: str) -> None:
    """They would otherwise wait for ever, on a descriptor that may soon be somebody else's."""
    rings = [ring_map() for _ in range(maps)]
    reader = RingBuffer(rings[0] if maps == 1 else rings)
    ended: list[BaseException] = []

    def work() -> None:
        try:
            if wait == "poll":
                reader.poll()
            elif wait == "iterate":
                next(iter(reader))
            else:
                reader.consume(print)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
            ended.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: reader._waiter is not None, "somebody waits")
    reader.close()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert [type(error) for error in ended] == [ClosedError] * 4
    for ring in rings:
        ring.close()


# ---- descriptors and event loops ------------------------------------------------------------


@pytest.mark.parametrize("maps", [1, 2])
@pytest.mark.parametrize("how", ["select", "poll", "epoll", "selectors"])
def test_the_descriptor_is_readable_while_the_kernel_has_records(maps: int, how: str) -> None:
    rings = [ring_map() for _ in range(maps)]
    with (
        Producer(rings[-1], batch=2) as producer,
        RingBuffer(rings[0] if maps == 1 else rings) as reader,
    ):
        assert not readable(reader, how)
        producer.run()
        assert readable(reader, how)
        # Until there is none left.
        reader.read_batch(1)
        assert readable(reader, how)
        reader.read_batch()
        assert not readable(reader, how)
    for ring in rings:
        ring.close()


def readable(reader: RingBuffer, how: str) -> bool:
    if how == "select":
        return bool(select.select([reader], [], [], 0)[0])
    if how == "poll":
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        return bool(poll.poll(0))
    if how == "epoll":
        with select.epoll() as epoll:
            epoll.register(reader.fileno(), select.EPOLLIN)
            return bool(epoll.poll(0))
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        return bool(selector.select(0))


def test_async_for_hands_out_records_and_lets_other_tasks_run() -> None:
    """Also when records come without pause: the loop belongs to everybody."""
    with (
        ring_map(1 << 20) as ring,
        Producer(ring, 8, batch=2000) as producer,
        RingBuffer(ring) as reader,
    ):
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async def main() -> list[bytes]:
            task = asyncio.create_task(other())
            # All of it is there already, so nothing here has to wait.
            for _ in range(5):
                producer.run(0)
            seen = []
            async for record in reader:
                seen.append(record)
                if len(seen) == 10_000:
                    break
            task.cancel()
            return seen

        seen = asyncio.run(main())
        assert seen == producer.records(0, 2000) * 5
        assert turns >= 10


def test_async_for_wakes_when_a_record_comes() -> None:
    with ring_map() as ring, Producer(ring) as producer, RingBuffer(ring, codec="Q") as reader:

        async def main() -> list[int]:
            seen = []
            asyncio.get_running_loop().call_later(0.01, producer.run, 0)
            async for number in reader:
                seen.append(number)
                if number == 3:
                    return seen
                # The reader waits by the time this is written.
                asyncio.get_running_loop().call_later(0.01, producer.run, number + 1)
            raise AssertionError

        assert asyncio.run(main()) == [0, 1, 2, 3]


def test_tasks_that_share_a_reader_get_each_record_once() -> None:
    with ring_map() as ring, Producer(ring, batch=10) as producer, RingBuffer(ring) as reader:
        parts: list[list[bytes]] = [[] for _ in range(3)]

        async def work(part: list[bytes]) -> None:
            async for record in reader:
                part.append(record)
                await asyncio.sleep(0)

        async def main() -> None:
            tasks = [asyncio.create_task(work(part)) for part in parts]
            for first in range(0, 300, 10):
                producer.run(first)
                await asyncio.sleep(0.001)
            while sum(map(len, parts)) < 300:
                await asyncio.sleep(0.001)
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(result, asyncio.CancelledError) for result in results)

        asyncio.run(main())
        assert sorted(record for part in parts for record in part) == sorted(
            producer.records(0, 300)
        )


def test_a_cancelled_wait_leaves_the_reader_as_it_was() -> None:
    """No descriptor stays open (the check around each test sees it), no record goes missing."""
    with ring_map() as ring, Producer(ring, batch=3) as producer, RingBuffer(ring) as reader:

        async def first() -> Any:
            async for record in reader:
                return record
            raise AssertionError("the iterator ended")

        async def main() -> list[Any]:
            for _ in range(5):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(first(), 0.01)
            producer.run()
            return [await asyncio.wait_for(first(), 30) for _ in range(3)]

        assert asyncio.run(main()) == producer.records(0, 3)


def test_close_wakes_a_task_that_waits() -> None:
    with ring_map() as ring:
        reader = RingBuffer(ring)

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


def test_a_forgotten_reader_warns_and_unmaps() -> None:
    """Mapped memory and three descriptors would stay until the process ends."""
    with ring_map(name="forgotten") as ring:
        reader = RingBuffer(ring)
        reader.poll(0)
        assert maps_of_rings() == 2
        with pytest.warns(ResourceWarning, match="unclosed <ebpf.RingBuffer of forgotten>"):
            del reader
        assert maps_of_rings() == 0


def maps_of_rings() -> int:
    with open("/proc/self/maps") as maps:
        return sum("bpf-map" in line for line in maps)


def test_failing_to_open_leaves_nothing_open() -> None:
    """Each step may fail: the descriptors of those before it are given back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ring_map() as one, ring_map() as two:
        used = max(map(int, os.listdir("/proc/self/fd")))
        failures = 0
        for limit in range(one.fileno() + 1, used + 8):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            try:
                reader = RingBuffer([one, two])
                try:
                    reader.poll(0)
                finally:
                    reader.close()
            except OSError:
                failures += 1
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert failures > 1
        assert maps_of_rings() == 0


@pytest.mark.parametrize("rings", [1, 2])
def test_consume_without_waiting_takes_also_what_waited_in_the_reader(rings: int) -> None:
    """Records that were copied out before count as ready, and so do those behind them."""
    with (
        ring_map() as one,
        ring_map() as two,
        Producer(one, batch=5) as first,
        Producer(two, batch=5) as second,
        RingBuffer([one, two][:rings]) as reader,
    ):
        first.run(0)
        assert reader.read() == (one, first.record(0))
        first.run(5)
        second.run(0)
        seen: list[Any] = []
        assert reader.consume(seen.append, timeout=0) == len(seen)
        assert [record for ring, record in seen if ring is one] == first.records(1, 9)
        expected = second.records(0, 5) if rings == 2 else []
        assert [record for ring, record in seen if ring is two] == expected


@pytest.mark.parametrize("timeout", [1e12, float("inf")])
def test_a_timeout_beyond_what_epoll_counts(timeout: float) -> None:
    """Milliseconds in 32 bits are 24 days: more is an OverflowError, or no wait at all."""
    with ring_map() as ring, Producer(ring) as producer, RingBuffer(ring) as reader:
        timer = threading.Timer(0.2, producer.run)
        timer.start()
        try:
            assert reader.poll(timeout)
            assert reader.consume(lambda record: None, max_records=1, timeout=timeout) == 1
        finally:
            timer.join()
