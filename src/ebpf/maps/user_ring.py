"""Ring buffers that user space writes and programs read (USER_RINGBUF, Linux 6.1)."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import select
import time
import warnings
from _thread import RLock

from ebpf._sys import Descriptor, check, ffi, forks, lib
from ebpf._sys.arguments import check_seconds
from ebpf._sys.call import fail
from ebpf.codec import codec as make_codec
from ebpf.errors import BpfError, ClosedError, CodecError
from ebpf.maps.ring import check_width
from ebpf.types import MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ebpf.maps.base import Map

_HEADER_SIZE = 8

# Seconds of one wait for a program that drains the ring: its wake-up may come between an attempt
# and the wait. And of one between two looks, where no wake-up would come.
_LONGEST = 0.1
_PAUSE = 0.001


class UserRingBuffer(Descriptor):
    """The writing end of a USER_RINGBUF map; a program drains it with bpf_user_ringbuf_drain.

    ::

        with ebpf.UserRingBuffer(commands, codec="IQ") as ring:
            ring.write((1, 2))
            with ring.reserve(100) as buffer:     # 100 bytes of the ring itself
                buffer[:5] = b"hello"

    With `codec`, records are what it packs; else they are bytes. Threads may share one; two
    objects, or two processes, must not write the same ring at a time.

    Raises:
        TypeError: `map` is not a USER_RINGBUF.
        NotSupportedError: this process has 32 bits and the kernel 64.
    """

    def __init__(self, map: Map[Any, Any], codec: object = None) -> None:
        if getattr(map, "type", None) != MapType.USER_RINGBUF:
            raise TypeError(f"{map!r} is not a USER_RINGBUF map")
        self.map = map
        self.codec = None if codec is None else make_codec(codec)
        self._size = map.max_entries
        self._lock = RLock()
        check_width(map)
        self._memory: _Memory | None = _Memory(map)
        # Of its own, so that the map can be closed.
        super().__init__(check(lib.ebpf_dup(map.fileno()), f"duplicate the descriptor of {map!r}"))
        forks.watch(self)

    def _forked(self) -> None:
        # A thread that the child does not have may hold the other one.
        self._lock = RLock()

    def write(self, record: Any, *, timeout: float | None = 0.0) -> None:
        """Write one record.

        Args:
            record: what the codec packs, or bytes.
            timeout: seconds to wait for room, None for as long as it takes. The kernel says when
                a program has drained the ring, unless that asked for no wake-up.

        Raises:
            CodecError: the record does not fit the codec.
            BpfError: ENOSPC, no room within the timeout; E2BIG, larger than the ring, or than the
                16 MiB - 1 that a program can read.
        """
        packed = self._packed(record)
        action = f"write a record of {len(packed)} bytes to"
        self._retried(
            lambda ring: lib.ebpf_user_ring_write(ring, packed, len(packed), 1), action, timeout
        )

    def write_many(self, records: Any) -> int:
        """Write records of one size as long as there is room; how many were written.

        Raises:
            CodecError: a record does not fit the codec, or the sizes differ; none is written.
        """
        packed = [self._packed(record) for record in records]
        if len({len(one) for one in packed}) > 1:
            raise CodecError("write_many takes records of one size; write takes them one by one")
        size = len(packed[0]) if packed else 0
        joined = b"".join(packed)
        with self._lock:
            written = lib.ebpf_user_ring_write(self._open().ring, joined, size, len(packed))
        if written == -errno.ENOSPC:
            return 0
        if written < 0:
            self._refuse(-written, f"write records of {size} bytes to")
        return int(written)

    def reserve(self, size: int, *, timeout: float | None = 0.0) -> Reservation:
        """Room for a record of `size` bytes, to be filled in place: a context manager that gives a
        writable memoryview, and at its end hands the record over or, after an exception, discards
        it.

        Programs read no record behind one that is reserved; a reservation that is forgotten is
        discarded, with a ResourceWarning. Raises as `write`.
        """
        longest = int(lib.EBPF_USER_RING_LONGEST)
        if not isinstance(size, int) or not 0 < size <= longest:
            raise ValueError(f"size: {size!r}, but a record has 1 byte to {longest} (16 MiB - 1)")
        memory = self._open()
        position = self._retried(
            lambda ring: lib.ebpf_user_ring_reserve(ring, size), f"reserve {size} bytes of", timeout
        )
        return Reservation(self, memory, position, size)

    def close(self) -> None:
        """Let go of the memory; reservations that are left keep it. The map stays open."""
        self._memory = None
        super().close()

    def __repr__(self) -> str:
        return f"<ebpf.UserRingBuffer of {self.map!r}>"

    def _packed(self, record: Any) -> bytes:
        if self.codec is not None:
            return self.codec.pack(record)
        if not isinstance(record, (bytes, bytearray, memoryview)):
            raise CodecError(f"record: {record!r} is not bytes, and there is no codec to pack it")
        if not len(record):
            raise CodecError("record: a record has 1 byte or more")
        return bytes(record)

    def _open(self) -> _Memory:
        memory = self._memory
        if memory is None:
            raise ClosedError(f"{self!r} is closed")
        return memory

    def _retried(self, attempt: Callable[[Any], int], action: str, timeout: float | None) -> int:
        """What `attempt` answers once there is room."""
        timeout = check_seconds("timeout", timeout)
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                result = int(attempt(self._open().ring))
            if result >= 0:
                return result
            left = None if end is None else end - time.monotonic()
            if result != -errno.ENOSPC or (left is not None and left <= 0):
                self._refuse(-result, action)
            self._wait(_LONGEST if left is None else min(_LONGEST, left))

    def _wait(self, seconds: float) -> None:
        """Wait until a program drains the ring, or `seconds` are over."""
        poller = select.poll()
        poller.register(self.fileno(), select.POLLOUT)
        if poller.poll(0):
            # There is some room, too little for the record: of more the kernel does not tell.
            time.sleep(min(_PAUSE, seconds))
        else:
            poller.poll(1000 * seconds)

    def _refuse(self, code: int, action: str) -> None:
        reasons = {
            errno.ENOSPC: "there is no room until a program drains it",
            errno.E2BIG: f"the ring has {self._size} bytes, {_HEADER_SIZE} of them for each header,"
            f" and a program reads at most {lib.EBPF_USER_RING_LONGEST} of a record",
            errno.EPROTO: "the positions in it are not those of a ring",
        }
        raise BpfError(code, f"{action} {self.map!r}: {reasons.get(code, 'refused')}")


class _Memory:
    """The mappings of a ring, and the struct that tells the core of them."""

    def __init__(self, map: Map[Any, Any]) -> None:
        page, size = mmap.PAGESIZE, map.max_entries
        try:
            self.consumer = mmap.mmap(map.fileno(), page, mmap.MAP_SHARED, mmap.PROT_READ)
            # The kernel maps the data twice in a row, so a record that wraps is one piece.
            self.producer = mmap.mmap(map.fileno(), page + 2 * size, offset=page)
        except OSError as error:
            map._refuse_access("map the memory of")
            fail(error.errno or 0, f"map the memory of {map!r}")
        # What makes the addresses also keeps the mappings.
        self._kept = ffi.from_buffer(self.consumer), ffi.from_buffer(self.producer)
        addresses = [int(ffi.cast("uintptr_t", one)) for one in self._kept]
        self.ring: Any = ffi.new("struct ebpf_user_ring *", [*addresses, size, page])


class Reservation:
    """A record on its way into a ring, see `UserRingBuffer.reserve`.

    ``buffer`` is its memory. Leaving the with block calls `commit`, or `discard` after an
    exception; either ends the reservation, once. What was made of the buffer (a numpy array) must
    not be used any more then.
    """

    def __init__(self, ring: UserRingBuffer, memory: _Memory, position: int, size: int) -> None:
        self._ring = ring
        self._memory = memory
        start = mmap.PAGESIZE + position % ring._size + _HEADER_SIZE
        self.buffer = memoryview(memory.producer)[start : start + size]
        # A child of this process has the ring too, and must not end what the parent fills.
        self._owner = os.getpid()
        self._position: int | None = position

    def commit(self) -> None:
        """Hand the record to the programs. `buffer` can't be used any more."""
        self._finish(0)

    def discard(self) -> None:
        """Give the room back: programs pass the record over."""
        self._finish(1)

    def __enter__(self) -> memoryview:
        return self.buffer

    def __exit__(self, kind: object, *exception: object) -> None:
        if self._position is not None and self._owner == os.getpid():
            self._finish(0 if kind is None else 1)

    def _finish(self, discard: int) -> None:
        position, self._position = self._position, None
        if position is None:
            raise ValueError("the reservation was committed or discarded already")
        lib.ebpf_user_ring_finish(self._memory.ring, position, discard)
        # After that the kernel may read it, and somebody else may write there. An array over it
        # keeps it: that cannot be taken back.
        with contextlib.suppress(BufferError):
            self.buffer.release()

    def __del__(self) -> None:
        if self._position is not None and self._owner == os.getpid():
            try:
                warnings.warn(
                    f"a reservation of {self._ring.map!r} was neither committed nor discarded",
                    ResourceWarning,
                    stacklevel=2,
                    source=self,
                )
            finally:
                # Programs would read nothing behind it, for ever.
                self.discard()
