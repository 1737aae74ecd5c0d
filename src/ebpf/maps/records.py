"""Records on their way from a ring to the reader, whatever kind of ring it is.

The core copies whole runs of records out of a ring and frees their space at once. Records that were
copied out but not yet handed out wait in `RecordQueue.pending`, and are served first by whatever
reads next.
"""

from __future__ import annotations

import errno
import os
from _thread import RLock
from collections import deque

from ebpf._sys import check, ffi, forks, lib
from ebpf.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ebpf.codec import Codec
    from ebpf.maps import Map

# The most that one call of the core copies: enough that the call costs nothing per record,
# little enough that the producer gets its space back soon.
CHUNK_BYTES = 1 << 20
CHUNK_RECORDS = 1 << 16

# The core writes every byte that is handed out, so clearing the buffer first is time lost.
_uncleared = ffi.new_allocator(should_clear_after_alloc=False)


class Records:
    """A run of records in one buffer, as `read_buffer` of a RingBuffer or PerfBuffer returns it.

    ``buffer`` holds the payloads one behind the other, without gaps. ``record_size`` is their
    common length, or None when they differ; then ``ends[i]`` is where record i ends. It can be
    iterated and indexed (memoryviews), and stays valid whatever is read later. ``codec`` is the
    reader's.
    """

    __slots__ = ("buffer", "codec", "count", "ends", "record_size")

    def __init__(
        self,
        buffer: memoryview,
        count: int,
        record_size: int | None,
        ends: memoryview | None,
        codec: Codec[Any] | None = None,
    ) -> None:
        self.codec = codec
        self.buffer = buffer
        self.count = count
        self.record_size = record_size
        self.ends = ends

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> memoryview:
        if isinstance(index, slice):
            raise TypeError("Records takes no slices; list(records)[...] does")
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

    def to_numpy(self, codec: object = None) -> Any:
        """The records as a numpy array that shares their buffer, structured for codecs with fields.

        Args:
            codec: what a record is, as the `codec` of a reader; by default the reader's.

        Raises:
            CodecError: there is no codec, or it takes another size than the records have.
            ImportError: numpy is not installed.
        """
        from ebpf.codec import codec as make_codec
        from ebpf.codec.dtypes import array_of

        if codec is None and self.codec is None:
            raise CodecError("to_numpy: the reader has no codec; give one, or a numpy dtype")
        made = make_codec(self.codec if codec is None else codec)
        if self.count and self.record_size != made.size:
            sizes = "several sizes" if self.record_size is None else f"{self.record_size} bytes"
            raise CodecError(f"to_numpy: records of {sizes}, but {made!r} takes {made.size}")
        return array_of(made, self.buffer)

    def __repr__(self) -> str:
        size = "" if self.record_size is None else f" of {self.record_size} bytes"
        return f"<ebpf.Records {self.count}{size}>"


class RecordQueue:
    """The records of one reader; subclasses say how the core copies them.

    `ring` is the core's struct of what it reads: its fields ``used``, ``shortest`` and ``longest``
    tell of the last copy, ``records`` and ``bytes`` of all of them.
    """

    #: Bytes of a ring that a record takes at least.
    header_size: int
    #: Seconds until a record that can't be handed out yet may be.
    retry: float
    #: Bytes of a ring.
    size: int

    def __init__(self, map: Map[Any, Any], codec: Codec[Any] | None, ring: Any) -> None:
        # Here and not where it is used: a signal handler that reads must not find it half imported.
        from _pickle import loads  # not pickle, which imports re: two milliseconds

        self.map = map
        self.codec = codec
        self.ring = ring
        self._owner = os.getpid()
        self.pending: deque[bytes] = deque()
        # The buffer that the core filled last, until its records are pending or taken. The core
        # wrote that pickle itself: there is nothing in it but bytes.
        self._copied: bytearray | None = None
        self._loads = loads
        # Held while draining and while records go into or out of `pending` in bulk, so that
        # threads which share the ring keep the records in order. Reentrant, because a signal
        # handler may close what it interrupts; reading it is refused, as files refuse it.
        self.lock = RLock()
        self._reading = False

    # ---- what a subclass has ----------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """What to wait on for records."""
        raise NotImplementedError

    def _close(self) -> list[int]:
        """Unmap; returns the descriptors to close."""
        raise NotImplementedError

    def _disown(self) -> None:
        """Forget what a child does not have, or must leave to its parent."""

    def _look(self) -> int:
        """1 when there is a record, 2 when there is one that can't be handed out yet, or 0."""
        raise NotImplementedError

    def _unread(self) -> int:
        """Bytes that were not copied yet."""
        raise NotImplementedError

    def _room(self, unread: int) -> int:
        """Bytes that hold whichever record comes next, where so many were unread."""
        return unread

    def _drain(self, buffer: Any, room: int, ends: Any, limit: int) -> int:
        raise NotImplementedError

    def _drain_pickle(self, buffer: Any, room: int, limit: int) -> int:
        raise NotImplementedError

    # ---- what all have in common ------------------------------------------------------------

    def close(self) -> None:
        """Unmap the ring; what reads it from now on raises ClosedError."""
        with self.lock:
            descriptors = self._close()
            self.pending.clear()
            self._copied = None
        for descriptor in descriptors:
            os.close(descriptor)

    def forked(self) -> None:
        """Close it in a child of the process that reads it, whatever that one's threads did."""
        # One of those that the child does not have may hold the other lock.
        self.lock = RLock()
        self._reading = False
        self._disown()
        self.close()

    def filled(self) -> float:
        """How much of the ring is unread, 0.0 to 1.0 (of several rings the sum)."""
        with self.lock:
            return self._unread() / self.size

    def ready(self) -> float | None:
        """0.0 when a record can be handed out, None when there is none, and otherwise in how many
        seconds to look again."""
        with self.lock:
            if self._reading:
                raise self._reentered()
            self._reading = True
            try:
                self._settle()
                if self.pending:
                    return 0.0
                found = self._look()
            finally:
                self._reading = False
        return None if not found else 0.0 if found == 1 else self.retry

    def next(self) -> bytes | None:
        """The next record, None when none is ready."""
        while True:
            try:
                return self.pending.popleft()
            except IndexError:
                if not self.fill():
                    return None

    def fill(self) -> int:
        """How many records wait, after copying some out of the ring if none did."""
        with self.lock:
            if self._reading:
                raise self._reentered()
            self._reading = True
            try:
                self._settle()
                if not self.pending:
                    self._copy(CHUNK_RECORDS)
                    self._settle()
                return len(self.pending)
            finally:
                self._reading = False

    def rounds(self) -> int:
        """How many `fill` at most it takes to get at everything that is unread now.

        Bounds the loops that read until nothing is left: a fast producer must not keep them going.
        """
        with self.lock:
            # What waits already takes a round of its own.
            waiting = bool(self.pending) or self._copied is not None
            return self._unread() // (CHUNK_RECORDS * self.header_size) + 1 + waiting

    def take(self, limit: int, defer: bool = False) -> list[Any]:
        """Up to `limit` decoded records of those that are ready now.

        At the first that can't be decoded it stops. When nothing was taken before that one it
        raises, and the record is done with; with `defer` the record is left to the next call.
        """
        taken: list[Any] = []
        with self.lock:
            if self._reading:
                raise self._reentered()
            self._reading = True
            try:
                self._settle()
                self._decode(self._pop(limit), taken, defer)
                self._take_unread(limit, taken, defer)
            finally:
                self._reading = False
        return taken

    def take_buffer(self, limit: int) -> Records:
        """Up to `limit` records in one buffer."""
        with self.lock:
            if self._reading:
                raise self._reentered()
            self._reading = True
            try:
                self._settle()
                waiting = self._pop(limit)
                return joined(waiting, self.codec) if waiting else self._drain_buffer(limit)
            finally:
                self._reading = False

    def _reentered(self) -> RuntimeError:
        return RuntimeError(f"a signal handler reads {self.map!r}, a read of which it interrupted")

    def _pop(self, limit: int) -> list[bytes]:
        """Up to `limit` of the records that wait."""
        popped: list[bytes] = []
        try:
            while len(popped) < limit:
                popped.append(self.pending.popleft())
        except IndexError:
            # None is left: `next` takes them without the lock, so counting them first is no use.
            pass
        return popped

    def _take_unread(self, limit: int, taken: list[Any], defer: bool) -> None:
        for _ in range(self.rounds()):
            before = len(taken)
            # What is pending now could not be decoded, or is beyond the limit.
            if self.pending or before >= limit:
                break
            self._take_chunk(limit - before, taken, defer)
            if len(taken) == before:
                break

    def _take_chunk(self, limit: int, taken: list[Any], defer: bool) -> None:
        if self.codec is None:
            self._copy(limit)
            buffer, used, self._copied = self._copied, self.ring.used, None
            if buffer is not None:
                taken += self._loads(memoryview(buffer)[:used])
            return
        records = self._drain_buffer(limit)
        if records.record_size == self.codec.size:
            try:
                taken += list(self.codec.iter_unpack(records.buffer))
                return
            except Exception:  # noqa: BLE001, S110
                # Some record can't be decoded: go through them one by one to say it of that one
                # and to hand out the others.
                pass
            except BaseException:
                self.pending.extendleft(bytes(record) for record in reversed(records))
                raise
        self._decode([bytes(record) for record in records], taken, defer)

    def _decode(self, raws: list[bytes], taken: list[Any], defer: bool) -> None:
        """Append what `raws` decode to; those that are not reached become pending again."""
        if self.codec is None:
            taken += raws
            return
        first = len(taken)
        try:
            for raw in raws:
                taken.append(self.codec.unpack(raw))
        except BaseException as error:
            reached = len(taken) - first
            deferred = isinstance(error, Exception) and (defer or bool(taken))
            reported = isinstance(error, Exception) and not deferred
            self.pending.extendleft(reversed(raws[reached + reported :]))
            if not deferred:
                raise

    def _checked(self, result: int) -> int:
        if result == -errno.EBADF:
            raise forks.closed(f"the reader of {self.map!r}", self._owner)
        return check(result, f"read the ring of {self.map!r}")

    def _copy(self, limit: int) -> None:
        """Copy up to `limit` records into `_copied`, as a pickled list."""
        unread = self._unread()
        if not unread:
            return
        limit = min(limit, CHUNK_RECORDS)
        for room in (min(unread, CHUNK_BYTES), self._room(unread)):
            buffer = bytearray(room + lib.EBPF_RING_PICKLE_OVERHEAD)
            # From the copy on, the records are only in this buffer. It is kept before, because a
            # signal handler that raises as soon as the call returns must not lose them.
            self.ring.used = 0
            self._copied = buffer
            result = self._drain_pickle(ffi.from_buffer(buffer), len(buffer), limit)
            # A record that is larger than a chunk takes a buffer for all that is unread.
            if result != -errno.ENOSPC:
                break
        self._checked(result)

    def _settle(self) -> None:
        """Make pending what was copied."""
        buffer, used = self._copied, self.ring.used
        if buffer is None:
            return
        records = self._loads(memoryview(buffer)[:used]) if used else []
        # Python looks for signals at calls and at jumps back, so not between these two.
        self.pending += records
        self._copied = None

    def _drain_buffer(self, limit: int) -> Records:
        unread = self._unread()
        limit = min(limit, unread // self.header_size, CHUNK_RECORDS)
        if not limit:
            return Records(memoryview(b""), 0, None, None, self.codec)
        ends = _uncleared("uint32_t[]", limit)
        for room in (min(unread, CHUNK_BYTES), self._room(unread)):
            buffer = _uncleared("char[]", room)
            count = self._drain(buffer, room, ends, limit)
            if count != -errno.ENOSPC:
                break
        self._checked(count)
        view = memoryview(ffi.buffer(buffer, self.ring.used))
        if self.ring.shortest == self.ring.longest:
            return Records(view, count, int(self.ring.longest), None, self.codec)
        ends_view = memoryview(ffi.buffer(ends, 4 * count)).cast("I")
        return Records(view, count, None, ends_view, self.codec)


def joined(raws: list[bytes], codec: Codec[Any] | None) -> Records:
    """Records that were copied out singly, as one buffer."""
    from array import array
    from itertools import accumulate

    if not raws:
        return Records(memoryview(b""), 0, None, None, codec)
    buffer = memoryview(b"".join(raws))
    lengths = {len(raw) for raw in raws}
    if len(lengths) == 1:
        return Records(buffer, len(raws), lengths.pop(), None, codec)
    ends = memoryview(array("I", accumulate(map(len, raws))))
    return Records(buffer, len(raws), None, ends, codec)
