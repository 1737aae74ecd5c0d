"""Reading BPF_MAP_TYPE_RINGBUF (5.8): every record once, in order, without a callback from C."""

from __future__ import annotations

import os
import time
import warnings
from _thread import RLock

from ebpf._sys import check, lib
from ebpf.codec import codec as make_codec
from ebpf.errors import ClosedError
from ebpf.info import Info
from ebpf.maps.ring import Records, Ring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
    from typing import Any, NoReturn, SupportsIndex

    from ebpf.maps import Map

__all__ = ["Records", "RingBuffer", "RingCounters"]

# Between two looks at a record that the program has reserved but not yet submitted.
_BUSY_PAUSE = 50e-6

# Records that `async for` hands out before it lets other tasks run, when they come without pause.
_TURN = 256

# Seconds of one wait.
_LONGEST = 1e6

# What no record is.
_NOTHING = object()


class RingCounters(Info):
    """What a RingBuffer has copied out of its rings since it was made."""

    records: int
    bytes: int  #: of payload
    discarded: int  #: records that programs reserved and then discarded


class _Waiter:
    """Waits for the rings, or for `wake`. It closes itself when nobody refers to it any more, so
    a thread that waits while another closes the RingBuffer is woken, not left with a closed
    descriptor."""

    # What `__del__` finds where `__init__` did not get that far.
    selector: Any = None
    _event = -1

    def __init__(self, rings: list[Ring]) -> None:
        import selectors

        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self._event, selectors.EVENT_READ)
        for ring in rings:
            self.selector.register(ring.fd, selectors.EVENT_READ)

    def fileno(self) -> int:
        return int(self.selector.fileno())

    def wait(self, timeout: float | None) -> bool:
        # epoll counts milliseconds in 32 bits: a longer wait is made of several.
        return bool(self.selector.select(timeout if timeout is None else min(timeout, _LONGEST)))

    def wake(self) -> None:
        os.eventfd_write(self._event, 1)

    def __del__(self) -> None:
        if self.selector is not None:
            self.selector.close()
        if self._event >= 0:
            os.close(self._event)


class RingBuffer:
    """The consumer of one or several RINGBUF maps.

    Iterating waits for records and never ends::

        with ebpf.RingBuffer(events, codec="QII16s") as ring:
            for time, pid, parent, name in ring:
                ...

    A ring has one consumer at a time: a second RingBuffer, or another process that reads the
    same map, takes records away from this one. Several threads may share one RingBuffer; each
    record goes to one of them. Closing it ends the waits of the others with ClosedError. A signal
    handler may close it; reading in a handler that interrupted a read is a RuntimeError.
    """

    def __init__(
        self,
        maps: Map[Any, Any] | Iterable[Map[Any, Any]] | Mapping[Map[Any, Any], object],
        codec: object = None,
    ) -> None:
        """Map the ring or rings.

        Args:
            maps: one map; several (records then come as ``(map, record)``); or a dict that gives
                each map a codec of its own.
            codec: how a record's bytes become a value; without one a record is bytes. A record
                that the codec can't decode raises once; reading goes on behind it.

        Raises:
            TypeError: a map is not a RINGBUF.
            ValueError: a map is there twice, or in overwrite mode.
            NotSupportedError: this process has 32 bits and the kernel 64.
        """
        self._closed = False
        self._lock = RLock()
        self._rings: list[Ring] = []
        self._waiter: _Waiter | None = None
        self._single = hasattr(maps, "fileno")
        try:
            for map, given in _with_codecs(maps, codec):
                self._add(Ring(map, None if given is None else make_codec(given)))
            if not self._rings:
                raise ValueError("maps: at least one RINGBUF map is needed")
        except BaseException:
            self.close()
            raise

    def _add(self, ring: Ring) -> None:
        # Before the check, so that a ring which fails it is closed with the others.
        self._rings.append(ring)
        if any(other.map_id == ring.map_id for other in self._rings[:-1]):
            raise ValueError(f"maps: {ring.map!r} is there twice; a ring has one reader")

    @property
    def counters(self) -> RingCounters:
        """Records, bytes and discarded records that were copied out so far."""
        return RingCounters(
            records=sum(int(ring.ring.records) for ring in self._rings),
            bytes=sum(int(ring.ring.bytes) for ring in self._rings),
            discarded=sum(int(ring.ring.discarded) for ring in self._rings),
        )

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
            TypeError: this RingBuffer reads several maps.
        """
        if not self._single:
            raise TypeError("read_buffer: this RingBuffer reads several maps; make one per map")
        return self._rings[0].take_buffer(_limit(max_records))

    def poll(self, timeout: float | None = None) -> bool:
        """Wait until a record can be read: True, or False after `timeout` seconds.

        None waits for ever, 0 only looks. Signal handlers run meanwhile, and may raise.
        """
        if self._fill():
            return True
        waiter = self._wait_on()
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            readable = waiter.wait(left)
            if self._fill():
                return True
            if left == 0.0:
                return False
            if readable:
                time.sleep(_BUSY_PAUSE)

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
        """A descriptor that is readable while the kernel has records, for epoll and selectors.

        Records that wait in this object don't make it readable: read until there are none before
        waiting on it, or use `poll`, which knows them.
        """
        self._check_open()
        return self._rings[0].fd if self._single else self._wait_on().fileno()

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
                await self._wait_async()
                await asyncio.sleep(0 if self._fill() else _BUSY_PAUSE)
                continue
            served += 1
            yield record

    async def _wait_async(self) -> None:
        import asyncio

        waiter = self._wait_on()
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        # A descriptor of its own: an event loop has one reader per descriptor, and several tasks
        # may wait for the same ring.
        descriptor = check(lib.ebpf_dup(waiter.fileno()), f"wait for {self!r}")
        loop.add_reader(descriptor, readable.set)
        try:
            await readable.wait()
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

    def _in_turn(self) -> list[Ring]:
        """The rings, each call starting with another one: a busy ring must not starve the rest."""
        self._rings = self._rings[1:] + self._rings[:1]
        return self._rings

    def _wait_on(self) -> _Waiter:
        with self._lock:
            self._check_open()
            if self._waiter is None:
                self._waiter = _Waiter(self._rings)
            return self._waiter

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"{self!r} is closed")

    def close(self) -> None:
        """Unmap the rings. The maps stay open; records not yet handed out are gone."""
        with self._lock:
            self._closed = True
            waiter, self._waiter = self._waiter, None
        for ring in self._rings:
            ring.close()
        if waiter is not None:
            waiter.wake()

    def __enter__(self) -> RingBuffer:
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

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        # A copy would unmap the rings that this object still reads.
        raise TypeError(
            f"{self!r} holds descriptors and can't be copied or pickled; make another RingBuffer of"
            " its maps (pin them for another process)"
        )

    def __repr__(self) -> str:
        maps = ", ".join(ring.map.name or "(no name)" for ring in self._rings)
        return f"<ebpf.RingBuffer of {maps}{' closed' if self._closed else ''}>"


def _with_codecs(maps: Any, codec: object) -> list[tuple[Map[Any, Any], object]]:
    if hasattr(maps, "fileno"):
        return [(maps, codec)]
    if hasattr(maps, "keys"):
        if codec is not None:
            raise TypeError("codec: with a dict of maps each map has its codec there")
        return list(maps.items())
    return [(map, codec) for map in maps]


def _limit(max_records: int | None) -> int:
    if max_records is None:
        return 1 << 62
    if isinstance(max_records, bool) or not isinstance(max_records, int):
        raise TypeError(f"max_records: {max_records!r} is not an int")
    if max_records < 0:
        raise ValueError(f"max_records: {max_records} is negative")
    return max_records
