"""One mapped ring of a BPF_MAP_TYPE_RINGBUF, and the records of it on their way to the reader.

The core copies whole runs of records out of the ring (`lib.ebpf_ring_drain`) and frees their
space at once. Records that were copied out but not yet handed out wait in `Ring.pending`, and are
served first by whatever reads next.
"""

from __future__ import annotations

import errno
import os
from _thread import RLock
from collections import deque

from ebpf._sys import bpf, check, ffi, lib
from ebpf.errors import ClosedError, NotSupportedError
from ebpf.types import MapFlags, MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ebpf.codec import Codec
    from ebpf.maps import Map

# The most that one call of the core copies: enough that the call costs nothing per record,
# little enough that the producer gets its space back soon.
_CHUNK_BYTES = 1 << 20
_CHUNK_RECORDS = 1 << 16

# A record's header, which is what a record takes of the ring at least.
_HEADER_SIZE = 8

# The core writes every byte that is handed out, so clearing the buffer first is time lost.
_uncleared = ffi.new_allocator(should_clear_after_alloc=False)


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

    def __repr__(self) -> str:
        size = "" if self.record_size is None else f" of {self.record_size} bytes"
        return f"<ebpf.Records {self.count}{size}>"


class Ring:
    """One mapped ring and the records of it that wait to be handed out."""

    def __init__(self, map: Map[Any, Any], codec: Codec[Any] | None) -> None:
        # Here and not where it is used: a signal handler that reads must not find it half imported.
        import pickle

        if getattr(map, "type", None) != MapType.RINGBUF:
            raise TypeError(f"{map!r} is not a RINGBUF map")
        # Not map.info(), which takes /proc as well.
        info = bpf.obj_get_info_by_fd(map.fileno(), "map")
        if info["map_flags"] & MapFlags.RB_OVERWRITE:
            raise ValueError(
                f"{map!r} is in overwrite mode (RB_OVERWRITE): the kernel replaces records while"
                " they are read"
            )
        self.map = map
        self.map_id = int(info["id"])
        self.codec = codec
        self.pending: deque[bytes] = deque()
        # The buffer that the core filled last, until its records are pending or taken. The core
        # wrote that pickle itself: there is nothing in it but bytes.
        self._copied: bytearray | None = None
        self._loads = pickle.loads
        # Held while draining and while records go into or out of `pending` in bulk, so that
        # threads which share the ring keep the records in order. Reentrant, because a signal
        # handler may close what it interrupts; reading it is refused, as files refuse it.
        self.lock = RLock()
        self._reading = False
        self.ring = ffi.new("struct ebpf_ring *")
        self.fd = check(lib.ebpf_dup(map.fileno()), f"duplicate the descriptor of {map!r}")
        result = lib.ebpf_ring_open(self.fd, map.max_entries, self.ring)
        if result < 0:
            self.close()
            if result == -errno.EOPNOTSUPP:
                raise NotSupportedError(
                    f"map the ring of {map!r}: a 32-bit process on a 64-bit kernel, whose ring"
                    " positions have 64 bits; use a 64-bit Python"
                )
            check(result, f"map the ring of {map!r}")

    def close(self) -> None:
        """Unmap the ring; what reads it from now on raises ClosedError."""
        with self.lock:
            lib.ebpf_ring_close(self.ring)
            self.pending.clear()
            self._copied = None
            fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

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
                    self._copy(_CHUNK_RECORDS)
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
            return self._unread() // (_CHUNK_RECORDS * _HEADER_SIZE) + 1 + waiting

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
                return _joined(waiting) if waiting else self._drain_buffer(limit)
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
            raise ClosedError(f"the RingBuffer of {self.map!r} is closed")
        return check(result, f"read the ring of {self.map!r}")

    def _unread(self) -> int:
        return self._checked(lib.ebpf_ring_unread(self.ring))

    def _copy(self, limit: int) -> None:
        """Copy up to `limit` records into `_copied`, as a pickled list."""
        unread = self._unread()
        if not unread:
            return
        limit = min(limit, _CHUNK_RECORDS)
        for room in (min(unread, _CHUNK_BYTES), unread):
            buffer = bytearray(room + lib.EBPF_RING_PICKLE_OVERHEAD)
            # From the copy on, the records are only in this buffer. It is kept before, because a
            # signal handler that raises as soon as the call returns must not lose them.
            self.ring.used = 0
            self._copied = buffer
            result = lib.ebpf_ring_drain_pickle(
                self.ring, ffi.from_buffer(buffer), len(buffer), limit
            )
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
        limit = min(limit, unread // _HEADER_SIZE, _CHUNK_RECORDS)
        if not limit:
            return Records(memoryview(b""), 0, None, None)
        ends = _uncleared("uint32_t[]", limit)
        for room in (min(unread, _CHUNK_BYTES), unread):
            buffer = _uncleared("char[]", room)
            count = lib.ebpf_ring_drain(self.ring, buffer, room, ends, limit)
            if count != -errno.ENOSPC:
                break
        self._checked(count)
        view = memoryview(ffi.buffer(buffer, self.ring.used))
        if self.ring.shortest == self.ring.longest:
            return Records(view, count, int(self.ring.longest), None)
        return Records(view, count, None, memoryview(ffi.buffer(ends, 4 * count)).cast("I"))


def _joined(raws: list[bytes]) -> Records:
    """Records that were copied out singly, as one buffer."""
    from array import array
    from itertools import accumulate

    buffer = memoryview(b"".join(raws))
    lengths = {len(raw) for raw in raws}
    if len(lengths) == 1:
        return Records(buffer, len(raws), lengths.pop(), None)
    return Records(buffer, len(raws), None, memoryview(array("I", accumulate(map(len, raws)))))
