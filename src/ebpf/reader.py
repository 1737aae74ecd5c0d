"""What RingBuffer and PerfBuffer have in common: handing out records, and waiting for them."""

from __future__ import annotations

import os
import select
import time
import warnings
from _thread import RLock

from ebpf._sys import check, forks, lib
from ebpf._sys.arguments import check_seconds
from ebpf._sys.closing import close_all
from ebpf._sys.descriptor import duplicate, off_streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any

    from typing_extensions import Self

    from ebpf.maps.records import RecordQueue, Records

# Records that `async for` hands out before it lets other tasks run, when they come without pause.
_TURN = 256

# Of the readers' `coalesce` and `fill_level`, unless they are told otherwise.
COALESCE = 0.001
FILL_LEVEL = 0.25

# Seconds of one wait.
_LONGEST = 1e6

# What no record is.
_NOTHING = object()


def _epoll() -> select.epoll:
    """One that is none of the standard streams."""
    made = select.epoll()
    if made.fileno() > 2:
        return made
    with made:
        return select.epoll.fromfd(duplicate(made.fileno()))


class _Waiter:
    """Waits for descriptors, or for `wake`. It closes itself when nobody refers to it any more, so
    a thread that waits while another closes the RingBuffer is woken, not left with a closed
    descriptor."""

    # What `__del__` finds where `__init__` did not get that far.
    _epoll: Any = None
    _event = -1

    def __init__(self, descriptors: list[int]) -> None:
        self._event = off_streams(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        self._epoll = _epoll()
        self._epoll.register(self._event, select.EPOLLIN)
        self._followed: set[int] = set()
        self.follow(descriptors)

    def follow(self, descriptors: list[int]) -> None:
        """Wait for these from now on, also where somebody waits already.

        Those that are left out are closed by now, and so not waited for any more.
        """
        self._followed &= set(descriptors)
        for descriptor in set(descriptors) - self._followed:
            self._epoll.register(descriptor, select.EPOLLIN)
            self._followed.add(descriptor)

    def fileno(self) -> int:
        return int(self._epoll.fileno())

    def wait(self, timeout: float | None) -> bool:
        if timeout is not None:
            # epoll counts milliseconds in 32 bits: a longer wait is made of several. What is
            # below 0 would have no end.
            timeout = min(max(timeout, 0), _LONGEST)
        return bool(self._epoll.poll(timeout))

    def wake(self) -> None:
        os.eventfd_write(self._event, 1)

    def __del__(self) -> None:
        if self._epoll is not None:
            self._epoll.close()
        if self._event >= 0:
            os.close(self._event)


class RecordReader:
    """Reads records from one queue, or from several in turn.

    A subclass fills `_rings`, and leaves `_single` True where records come without their map.
    """

    #: Seconds between two looks at whether what is read has changed (`_refresh`), also in the midst
    #: of a wait; None where nothing changes.
    _slice: float | None = None

    # Until there is something to close.
    _closed = True

    def __init__(self, coalesce: float, fill_level: float) -> None:
        self._owner = os.getpid()
        self._lock = RLock()
        self._rings: list[RecordQueue] = []
        self._waiter: _Waiter | None = None
        self._single = True
        self._coalesce = _checked_number("coalesce", coalesce, 0.0, _LONGEST)
        self._fill_level = _checked_number("fill_level", fill_level, 0.0, 1.0)
        # When `poll` last said that there are records.
        self._polled = 0.0
        # When to look for changes again.
        self._due = 0.0
        forks.watch(self)

    def read(self) -> Any:
        """The next record, or None when none is ready. Does not wait."""
        record = self._next()
        return None if record is _NOTHING else record

    def read_batch(self, max_records: int | None = None) -> list[Any]:
        """All records that are ready, at most `max_records`; may be empty. Does not wait.

        When a record can't be decoded, those before it are returned; the next read raises for
        it, and the reads after that go on behind it. An exception that comes from outside, as of
        a signal handler, may take the batch with it; iterating loses nothing then.
        """
        limit = _limit(max_records)
        if self._single:
            return self._rings[0].take(limit)
        batch: list[Any] = []
        for ring in self._in_turn():
            records = ring.take(limit - len(batch), defer=bool(batch))
            batch += [(ring.map, record) for record in records]
        return batch

    def read_buffer(self, max_records: int | None = None) -> Records:
        """The next run of records in one buffer: the fastest form, for `struct`, numpy and files.

        At most 65536 records or about 1 MiB a call; empty when none is ready. Does not wait, does
        not decode.

        Raises:
            TypeError: this reader reads several maps.
        """
        if not self._single:
            raise TypeError("read_buffer: this reader reads several maps; make one per map")
        return self._rings[0].take_buffer(_limit(max_records))

    def poll(self, timeout: float | None = None) -> bool:
        """Wait until a record can be read: True, or False after `timeout` seconds.

        None waits for ever, 0 only looks. Signal handlers run meanwhile, and may raise.

        When records come faster than one per `coalesce` seconds, it waits until so much time has
        passed since it last returned, or until the ring is filled to `fill_level`: a reader that
        takes each record as it comes slows the program down several times.
        """
        timeout = check_seconds("timeout", timeout)
        if timeout is not None and timeout <= 0:
            return self._ready() == 0.0
        deadline = None if timeout is None else time.monotonic() + timeout
        self._sleep(self._rest(), deadline)
        while True:
            # Before looking: a perf event tells a descriptor that it is waited on only once.
            waiter = self._wait_on()
            pause = self._ready()
            if pause == 0.0:
                self._polled = time.monotonic()
                return True
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if left == 0.0:
                return False
            if pause is not None:
                self._sleep(pause, deadline)
            elif waiter.wait(_least(left, self._slice)):
                self._sleep(self._rest(), deadline)

    def _sleep(self, seconds: float, deadline: float | None) -> None:
        if deadline is not None:
            seconds = min(seconds, deadline - time.monotonic())
        if seconds > 0:
            time.sleep(seconds)

    def _rest(self) -> float:
        """How many seconds not to look, so that records gather."""
        elapsed = time.monotonic() - self._polled
        left = self._coalesce - elapsed
        if left <= 0:
            return 0.0
        filled = self._filled()
        if filled >= self._fill_level:
            return 0.0
        # At the speed of the records that came meanwhile, it is full enough before that.
        return min(left, elapsed * (self._fill_level - filled) / filled) if filled else left

    def _filled(self) -> float:
        self._check_open()
        return max(ring.filled() for ring in self._rings)

    def _ready(self) -> float | None:
        """0.0 when a record can be read, None when there is none, else when to look again."""
        self._check_open()
        if self._slice is not None and time.monotonic() >= self._due:
            self._due = time.monotonic() + self._slice
            self._refresh()
        pauses = [pause for ring in self._rings if (pause := ring.ready()) is not None]
        return min(pauses, default=None)

    def _refresh(self) -> None:
        """Look whether what is read has changed."""

    def consume(
        self,
        callback: Callable[[Any], object],
        max_records: int | None = None,
        timeout: float | None = None,
    ) -> int:
        """Call `callback(record)` for each record; return how many there were.

        Ends after `max_records` records or `timeout` seconds, whichever is first, however fast
        records come; without both it never ends. A timeout of 0 takes what is ready at the call.
        An exception in the callback ends it and propagates: the record that it was called with
        counts as seen, those behind it are served by the next read.
        """
        limit = _limit(max_records)
        timeout = check_seconds("timeout", timeout)
        if timeout is not None and timeout <= 0:
            return self._consume_ready(callback, limit)
        deadline = None if timeout is None else time.monotonic() + timeout
        seen = 0
        while seen < limit:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            record = self._next()
            if record is _NOTHING:
                self.poll(left)
                continue
            callback(record)
            seen += 1
        return seen

    def _consume_ready(self, callback: Callable[[Any], object], limit: int) -> int:
        seen = 0
        for _ in range(sum(ring.rounds() for ring in self._rings)):
            for _ in range(min(self._fill(), limit - seen)):
                record = self._next()
                # Another thread may have been faster.
                if record is _NOTHING:
                    return seen
                callback(record)
                seen += 1
        return seen

    def fileno(self) -> int:
        """A descriptor that becomes readable when records come, for epoll and selectors.

        Records that wait in this object don't make it readable: read until there are none before
        waiting on it, or use `poll`, which knows them.
        """
        return self._wait_on().fileno()

    def __iter__(self) -> Iterator[Any]:
        while True:
            record = self._next()
            if record is _NOTHING:
                self.poll()
            else:
                yield record

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Records as they come; the event loop runs other tasks meanwhile."""
        import asyncio

        served = 0
        while True:
            if served == _TURN:
                await asyncio.sleep(0)
                served = 0
            record = self._next()
            if record is _NOTHING:
                await self._poll_async()
                continue
            served += 1
            yield record

    async def _poll_async(self) -> None:
        """`poll` without a timeout, for an event loop."""
        import asyncio

        await asyncio.sleep(self._rest())
        while (pause := self._ready()) != 0.0:
            if pause is None:
                await self._readable()
                pause = self._rest()
            await asyncio.sleep(pause)
        self._polled = time.monotonic()

    async def _readable(self) -> None:
        import asyncio

        waiter = self._wait_on()
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        # A descriptor of its own: an event loop has one reader per descriptor, and several tasks
        # may wait for the same ring.
        descriptor = check(lib.ebpf_dup(waiter.fileno()), f"wait for {self!r}")
        loop.add_reader(descriptor, readable.set)
        try:
            # Once more: adding a descriptor may take its only notice of a record.
            while self._ready() is None and not readable.is_set():
                try:
                    await asyncio.wait_for(readable.wait(), self._slice)
                except asyncio.TimeoutError:
                    break
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    def _next(self) -> Any:
        """The next record, decoded; _NOTHING when none is ready."""
        if self._single:
            ring = self._rings[0]
            raw = ring.next()
            if raw is None:
                return _NOTHING
            return raw if ring.codec is None else ring.codec.unpack(raw)
        for ring in self._in_turn():
            raw = ring.next()
            if raw is not None:
                return ring.map, raw if ring.codec is None else ring.codec.unpack(raw)
        return _NOTHING

    def _fill(self) -> int:
        return sum(ring.fill() for ring in self._rings)

    def _in_turn(self) -> list[RecordQueue]:
        """The rings, each call starting with another one: a busy ring must not starve the rest."""
        self._rings = self._rings[1:] + self._rings[:1]
        return self._rings

    def _wait_on(self) -> _Waiter:
        with self._lock:
            self._check_open()
            if self._waiter is None:
                self._waiter = _Waiter([fd for ring in self._rings for fd in ring.descriptors()])
            return self._waiter

    def _follow(self) -> None:
        """Have what waits now do so for the descriptors that there are by now."""
        with self._lock:
            if self._waiter is not None:
                self._waiter.follow([fd for ring in self._rings for fd in ring.descriptors()])

    def _check_open(self) -> None:
        if self._closed:
            raise forks.closed(repr(self), self._owner)

    def close(self) -> None:
        """Unmap the rings. The maps stay open; records not yet handed out are gone."""
        with self._lock:
            self._closed = True
            waiter, self._waiter = self._waiter, None
        try:
            close_all(self._rings)
        finally:
            if waiter is not None:
                waiter.wake()

    def _forked(self) -> None:
        """In a child: the records, and whoever waits for them, are its parent's."""
        # A thread that the child does not have may hold the other one.
        self._lock = RLock()
        self._closed = True
        # Without waking anybody: the parent waits by the same eventfd.
        self._waiter = None
        for ring in self._rings:
            ring.forked()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._closed:
            try:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            finally:
                # The warning may have been made an error.
                self.close()


def _least(one: float | None, other: float | None) -> float | None:
    return min((number for number in (one, other) if number is not None), default=None)


def _checked_number(name: str, value: float, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: {value!r} is not a number")
    if not least <= value <= most:
        raise ValueError(f"{name}: {value} is not between {least:g} and {most:g}")
    return float(value)


def _limit(max_records: int | None) -> int:
    if max_records is None:
        return 1 << 62
    if isinstance(max_records, bool) or not isinstance(max_records, int):
        raise TypeError(f"max_records: {max_records!r} is not an int")
    if max_records < 0:
        raise ValueError(f"max_records: {max_records} is negative")
    return max_records
