"""Reading BPF_MAP_TYPE_RINGBUF (5.8): every record once, in order, without a callback from C.

The core copies whole runs of records out of the ring (`lib.ebpf_ring_drain`) and frees their
space at once. Records that were copied out but not yet handed out wait in this object, and are
served first by whatever reads next.
"""

from __future__ import annotations

import errno
import os
import time
from _thread import allocate_lock
from collections import deque

from ebpf._sys import check, ffi, lib
from ebpf.codec import codec as make_codec
from ebpf.errors import ClosedError
from ebpf.info import Info
from ebpf.types import MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
    from typing import Any

    from ebpf.codec import Codec
    from ebpf.maps import Map

# The most that one call of the core copies: enough that the call costs nothing per record,
# little enough that the producer gets its space back soon.
_CHUNK_BYTES = 1 << 20
_CHUNK_RECORDS = 1 << 16

# Between two looks at a record that the program has reserved but not yet submitted.
_BUSY_PAUSE = 50e-6

# The core writes every byte that is handed out, so clearing the buffer first is time lost.
_uncleared = ffi.new_allocator(should_clear_after_alloc=False)


class RingCounters(Info):
    """What a RingBuffer has copied out of its rings since it was made."""

    records: int
    bytes: int  #: of payload
    discarded: int  #: records that programs reserved and then discarded


class Records:
    """A run of records in one buffer, as `RingBuffer.read_buffer` returns it.

    ``buffer`` holds the payloads one behind the other, without gaps. ``record_size`` is their
    common length, or None when they differ; then ``ends[i]`` is where record i ends. It can be
    iterated and indexed (memoryviews), and stays valid whatever is read later.
    """

    __slots__ = ("buffer", "count", "ends", "record_size")

    def __init__(
        self, buffer: memoryview, count: int, record_size: int | None, ends: memoryview | None
    ) -> None:
        self.buffer = buffer
        self.count = count
        self.record_size = record_size
        self.ends = ends

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> memoryview:
        if index < 0:
            index += self.count
        if not 0 <= index < self.count:
            raise IndexError(f"record {index} of {self.count}")
        if self.ends is None:
            size = self.record_size or 0
            return self.buffer[index * size : (index + 1) * size]
        return self.buffer[self.ends[index - 1] if index else 0 : self.ends[index]]

    def __iter__(self) -> Iterator[memoryview]:
        return (self[index] for index in range(self.count))

    def __repr__(self) -> str:
        size = "" if self.record_size is None else f" of {self.record_size} bytes"
        return f"<ebpf.Records {self.count}{size}>"


class _Ring:
    """One mapped ring and the records of it that wait to be handed out."""

    def __init__(self, map: Map[Any, Any], codec: Codec[Any] | None) -> None:
        if getattr(map, "type", None) != MapType.RINGBUF:
            raise TypeError(f"{map!r} is not a RINGBUF map")
        self.map = map
        self.codec = codec
        self.pending: deque[bytes] = deque()
        # Held while draining and while records go into or out of `pending` in bulk, so that
        # threads which share the ring keep the records in order.
        self.lock = allocate_lock()
        self.ring = ffi.new("struct ebpf_ring *")
        self.fd = check(lib.ebpf_dup(map.fileno()), f"duplicate the descriptor of {map!r}")
        result = lib.ebpf_ring_open(self.fd, map.max_entries, self.ring)
        if result < 0:
            self.close()
            check(result, f"map the ring of {map!r}")

    def close(self) -> None:
        with self.lock:
            lib.ebpf_ring_close(self.ring)
            self.pending.clear()
            fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def next(self) -> bytes:
        """The next record; IndexError when none is ready."""
        while True:
            try:
                return self.pending.popleft()
            except IndexError:
                if not self.fill():
                    raise

    def fill(self) -> int:
        """How many records wait, after copying some out of the ring if none did."""
        with self.lock:
            if not self.pending:
                self.pending.extend(self._drain_list(_CHUNK_RECORDS))
            return len(self.pending)

    def take(self, limit: int) -> list[Any]:
        """Up to `limit` decoded records of those that are ready now."""
        with self.lock:
            if self.pending:
                count = min(limit, len(self.pending))
                return self._decode_all([self.pending.popleft() for _ in range(count)])
            taken: list[Any] = []
            # What is unread now bounds the loop: a fast producer must not keep it going.
            for _ in range(self._unread() // _CHUNK_BYTES + 1):
                part = self._drain_decoded(limit - len(taken))
                taken += part
                if not part or len(taken) >= limit or self.pending:
                    break
            return taken

    def take_buffer(self, limit: int) -> Records:
        """Up to `limit` records in one buffer."""
        with self.lock:
            if self.pending:
                count = min(limit, len(self.pending))
                return _joined([self.pending.popleft() for _ in range(count)])
            return self._drain_buffer(limit)

    def _unread(self) -> int:
        unread = lib.ebpf_ring_unread(self.ring)
        if unread < 0:
            raise ClosedError(f"the RingBuffer of {self.map!r} is closed")
        return int(unread)

    def _drain_decoded(self, limit: int) -> list[Any]:
        if self.codec is None:
            return self._drain_list(limit)
        records = self._drain_buffer(limit)
        if records.record_size == self.codec.size:
            try:
                return list(self.codec.iter_unpack(records.buffer))
            except Exception:  # noqa: BLE001
                # Some record cannot be decoded: go through them one by one to say it of that one
                # and to hand out the others.
                pass
        return self._decode_all([bytes(record) for record in records])

    def _decode_all(self, raws: list[bytes]) -> list[Any]:
        """Decoded records, up to the first that can't be; it and those behind it wait on."""
        if self.codec is None:
            return raws
        decoded: list[Any] = []
        try:
            for raw in raws:
                decoded.append(self.codec.unpack(raw))
        except BaseException:
            # With nothing before it the failing record is reported, and so it is done with.
            first = len(decoded) if decoded else 1
            self.pending.extendleft(reversed(raws[first:]))
            if not decoded:
                raise
        return decoded

    def _drain_list(self, limit: int) -> list[bytes]:
        unread = self._unread()
        if not unread:
            return []

        def drain(room: int) -> tuple[bytearray, int]:
            buffer = bytearray(room + lib.EBPF_RING_PICKLE_OVERHEAD)
            count = lib.ebpf_ring_drain_pickle(
                self.ring, ffi.from_buffer(buffer), len(buffer), min(limit, _CHUNK_RECORDS)
            )
            return buffer, count

        buffer, count = drain(min(unread, _CHUNK_BYTES))
        if count == -errno.ENOSPC:
            buffer, count = drain(unread)
        check(count, f"read the ring of {self.map!r}")
        # The core wrote this pickle a moment ago; there is nothing in it but bytes.
        import pickle

        records: list[bytes] = pickle.loads(memoryview(buffer)[: self.ring.used])
        return records

    def _drain_buffer(self, limit: int) -> Records:
        unread = self._unread()
        limit = min(limit, unread // 8, _CHUNK_RECORDS)
        if not limit:
            return Records(memoryview(b""), 0, None, None)
        ends = _uncleared("uint32_t[]", limit)
        room = min(unread, _CHUNK_BYTES)
        buffer = _uncleared("char[]", room)
        count = lib.ebpf_ring_drain(self.ring, buffer, room, ends, limit)
        if count == -errno.ENOSPC:
            buffer = _uncleared("char[]", unread)
            count = lib.ebpf_ring_drain(self.ring, buffer, unread, ends, limit)
        check(count, f"read the ring of {self.map!r}")
        view = memoryview(ffi.buffer(buffer, self.ring.used))
        if self.ring.shortest == self.ring.longest:
            return Records(view, count, int(self.ring.longest), None)
        return Records(view, count, None, memoryview(ffi.buffer(ends, 4 * count)).cast("I"))


class _Waiter:
    """Waits for the rings, or for `wake`. It closes itself when nobody refers to it any more, so
    a thread that waits while another closes the RingBuffer is woken, not left with a closed
    descriptor."""

    def __init__(self, rings: list[_Ring]) -> None:
        import selectors

        self.selector = selectors.DefaultSelector()
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.selector.register(self._event, selectors.EVENT_READ)
        for ring in rings:
            self.selector.register(ring.fd, selectors.EVENT_READ)

    def fileno(self) -> int:
        descriptor: Any = self.selector
        return int(descriptor.fileno())

    def wait(self, timeout: float | None) -> bool:
        return bool(self.selector.select(timeout))

    def wake(self) -> None:
        os.eventfd_write(self._event, 1)

    def __del__(self) -> None:
        self.selector.close()
        os.close(self._event)


class RingBuffer:
    """The consumer of one or several RINGBUF maps.

    Iterating waits for records and never ends::

        with ebpf.RingBuffer(events, codec="QII16s") as ring:
            for time, pid, parent, name in ring:
                ...

    A ring has one consumer at a time: a second RingBuffer, or another process that reads the
    same map, takes records away from this one. Several threads may share one RingBuffer; each
    record goes to one of them. Closing it ends the waits of the others with ClosedError.
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
        """
        self._closed = False
        self._rings: list[_Ring] = []
        self._waiter: _Waiter | None = None
        self._single = hasattr(maps, "fileno")
        try:
            for map, given in _with_codecs(maps, codec):
                self._rings.append(_Ring(map, None if given is None else make_codec(given)))
            if not self._rings:
                raise ValueError("maps: at least one RINGBUF map is needed")
        except BaseException:
            self.close()
            raise

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
        try:
            return self._next()
        except IndexError:
            return None

    def read_batch(self, max_records: int | None = None) -> list[Any]:
        """All records that are ready, at most `max_records`; may be empty. Does not wait.

        When a record can't be decoded, those before it are returned; the next read raises for
        it, and the reads after that go on behind it.
        """
        limit = _limit(max_records)
        if self._single:
            return self._rings[0].take(limit)
        batch: list[Any] = []
        for ring in self._in_turn():
            batch += [(ring.map, record) for record in ring.take(limit - len(batch))]
            if len(batch) >= limit:
                break
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
            if left == 0.0 or not readable:
                return False
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
            limit, timeout = min(limit, self._fill()), None
        deadline = None if timeout is None else time.monotonic() + timeout
        seen = 0
        while seen < limit:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            try:
                record = self._next()
            except IndexError:
                self.poll(left)
                continue
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
            try:
                record = self._next()
            except IndexError:
                self.poll()
                continue
            yield record

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Records as they come; the event loop runs other tasks meanwhile."""
        import asyncio

        while True:
            try:
                record = self._next()
            except IndexError:
                await self._wait_async()
                await asyncio.sleep(0 if self._fill() else _BUSY_PAUSE)
                continue
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
        """The next record, decoded; IndexError when none is ready."""
        if self._single:
            ring = self._rings[0]
            raw = ring.next()
            return raw if ring.codec is None else ring.codec.unpack(raw)
        for ring in self._in_turn():
            try:
                raw = ring.next()
            except IndexError:
                continue
            return ring.map, raw if ring.codec is None else ring.codec.unpack(raw)
        raise IndexError

    def _fill(self) -> int:
        return sum(ring.fill() for ring in self._rings)

    def _in_turn(self) -> list[_Ring]:
        """The rings, each call starting with another one: a busy ring must not starve the rest."""
        self._rings = self._rings[1:] + self._rings[:1]
        return self._rings

    def _wait_on(self) -> _Waiter:
        self._check_open()
        if self._waiter is None:
            self._waiter = _Waiter(self._rings)
        return self._waiter

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"{self!r} is closed")

    def close(self) -> None:
        """Unmap the rings. The maps stay open; records not yet handed out are gone."""
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
            import warnings

            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.close()

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


def _joined(raws: list[bytes]) -> Records:
    """Records that were copied out singly, as one buffer."""
    from array import array
    from itertools import accumulate

    buffer = memoryview(b"".join(raws))
    lengths = {len(raw) for raw in raws}
    if len(lengths) == 1:
        return Records(buffer, len(raws), lengths.pop(), None)
    return Records(buffer, len(raws), None, memoryview(array("I", accumulate(map(len, raws)))))
