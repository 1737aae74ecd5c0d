"""AF_XDP sockets: frames of an interface to and from Python, past the network stack."""

from __future__ import annotations

import errno
import select
import time
from _thread import RLock

from ebpf._sys import Descriptor, ffi, lib
from ebpf._sys.arguments import check_number, check_numbers, check_seconds, poll_time
from ebpf._sys.call import fail
from ebpf.errors import BpfError, ClosedError, NotSupportedError
from ebpf.net.interface import Interface
from ebpf.plain import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, NoReturn

    from ebpf.net.interface import AnyInterface

# Flags of bind().
_COPY, _ZEROCOPY = 1 << 1, 1 << 2

# What sending says while the kernel is busy with what it was given, or has no memory for more.
_BUSY = (errno.EAGAIN, errno.EBUSY, errno.ENOBUFS)

# Seconds until the kernel is asked again.
_PAUSE = 0.0005

# Seconds that a queue may stay taken after its socket was closed: the kernel frees it later.
_RELEASE = 1.0

# Frames that are read at once where the caller does not say how many.
_FRAMES = 64


class XskStatistics(NamedTuple):
    """``struct xdp_statistics``: frames that went missing, since the socket was made."""

    rx_dropped: int
    rx_invalid_descs: int
    tx_invalid_descs: int
    rx_ring_full: int  #: received faster than they were read
    rx_fill_ring_empty_descs: int
    tx_ring_empty_descs: int


class XskSocket(Descriptor):
    """A socket that takes frames of one queue of an interface, and sends frames there.

    Frames come from an XDP program, which redirects them to the socket's place in a map::

        sockets = ebpf.Map.create(ebpf.MapType.XSKMAP, max_entries=64)
        with ebpf.XskSocket("eth0", queue=0) as socket:
            sockets[0] = socket
            program.attach_xdp("eth0")         # returns bpf_redirect_map(&sockets, queue, XDP_PASS)
            for frame in socket.receive(timeout=1.0):
                ...
            socket.send(frame)

    A frame is all of a packet, from the hardware addresses on. The memory that the kernel writes
    to is the socket's own; frames are copied out of it, and into it. ``fileno()`` can be waited
    for (select, poll, asyncio). Threads may share a socket.

    Args:
        interface: a name or index where the calling thread is, or an `Interface`.
        queue: the number of the receive queue, from 0.
        frames: how many there is room for in each direction, a power of two.
        frame_size: bytes of a frame, 2048 or a page; longer ones never arrive.
        zero_copy: True, the card writes into the memory itself, where its driver can; False, the
            kernel copies, which works everywhere; None, whichever there is.

    Raises:
        BpfFileNotFoundError: ENODEV, there is no such interface.
        BpfError: EINVAL, it has no such queue, or `frame_size` is not one that the kernel takes;
            EBUSY, another socket has the queue.
        NotSupportedError: the driver has no zero copy; the kernel has no AF_XDP.
        BpfPermissionError: it takes CAP_NET_RAW.
    """

    def __init__(
        self,
        interface: AnyInterface,
        queue: int = 0,
        *,
        frames: int = 2048,
        frame_size: int = 4096,
        zero_copy: bool | None = None,
    ) -> None:
        check_numbers(32, queue=queue, frame_size=frame_size)
        check_number("frames", frames, 24)
        if frames < 1 or frames & (frames - 1):
            raise ValueError(f"frames: {frames} is not a power of two")
        if frame_size < 1 or frame_size & (frame_size - 1):
            raise ValueError(f"frame_size: {frame_size} is not a power of two")
        self.interface = Interface.of(interface)
        self.queue = queue
        self.frame_size = frame_size
        self._lock = RLock()
        self._xsk: Any = ffi.new("struct ebpf_xsk *")
        # As long as the struct: the core keeps its free frames here.
        self._idle = ffi.new("uint64_t[]", frames)
        super().__init__(_socket(self.interface))
        try:
            self._open(frames, zero_copy)
        except BaseException:
            self.close()
            raise

    def _open(self, frames: int, zero_copy: bool | None) -> None:
        fd = self.fileno()
        made = lib.ebpf_xsk_open(fd, frames, self.frame_size, self._idle, self._xsk)
        if made < 0:
            fail(-made, f"make room for {frames} frames of {self.frame_size} bytes for {self!r}")
        flags = 0 if zero_copy is None else _ZEROCOPY if zero_copy else _COPY
        end = time.monotonic() + _RELEASE
        while bound := int(lib.ebpf_xsk_bind(fd, self.interface.index, self.queue, flags)):
            if bound != -errno.EBUSY or time.monotonic() >= end:
                self._not_bound(-bound, zero_copy)
            time.sleep(_PAUSE)

    def _not_bound(self, code: int, zero_copy: bool | None) -> NoReturn:
        action = f"bind {self!r}"
        if code == errno.ENODEV or not self.interface.exists():
            raise self.interface.missing()
        if code == errno.EOPNOTSUPP and zero_copy:
            raise NotSupportedError(
                f"{action}: the driver of {self.interface.name} has no zero copy; zero_copy=False"
                " works with every driver"
            )
        if code == errno.EBUSY:
            raise BpfError(code, f"{action}: another socket has this queue")
        if code == errno.EINVAL:
            raise BpfError(code, f"{action}: {self.interface.name} has no queue {self.queue}")
        fail(code, action)

    def receive(self, max_frames: int = _FRAMES, *, timeout: float | None = 0.0) -> list[bytes]:
        """The next frames, at most `max_frames`.

        Args:
            timeout: seconds to wait for the first, None for as long as it takes.

        Returns:
            Nothing where none came in time.
        """
        check_number("max_frames", max_frames, 24)
        timeout = check_seconds("timeout", timeout)
        buffer, ends = self._room(max_frames)
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                xsk = self._opened()
                count = lib.ebpf_xsk_receive(xsk, buffer, len(buffer), ends, max_frames)
            if count < 0:
                fail(-count, f"receive from {self!r}")
            if count or max_frames == 0:
                return _cut(buffer, ends, count)
            left = None if end is None else end - time.monotonic()
            if not self._wait(select.POLLIN, left):
                return []

    def _room(self, max_frames: int) -> tuple[Any, Any]:
        count = min(max_frames, len(self._idle))
        return ffi.new("char[]", count * self.frame_size), ffi.new("uint32_t[]", max_frames)

    def send(self, frames: bytes | Iterable[bytes], *, timeout: float | None = None) -> int:
        """Send a frame, or several in their order; how many the kernel took.

        It returns when the kernel has taken them, which is not when they are on the wire.

        Args:
            timeout: seconds that this may take, None for as long as it takes.

        Raises:
            ValueError: a frame is empty, or longer than `frame_size`; nothing is sent.
            BpfError: ENETDOWN, the interface is down; ENXIO, it is gone.
        """
        timeout = check_seconds("timeout", timeout)
        waiting: list[Any] = (
            [frames] if isinstance(frames, (bytes, bytearray, memoryview)) else [*frames]
        )
        for frame in waiting:
            if not 0 < len(frame) <= self.frame_size:
                raise ValueError(
                    f"frames: one has {len(frame)} bytes; it may have 1 to {self.frame_size}"
                )
        end = None if timeout is None else time.monotonic() + timeout
        sent = 0
        while sent < len(waiting):
            taken = self._put(waiting[sent:])
            sent += taken
            self._wake(end)
            if end is not None and time.monotonic() >= end:
                break
            if not taken:
                # Nothing tells when a frame has gone out, and its memory is free again.
                time.sleep(_PAUSE)
        return sent

    def _put(self, frames: Sequence[bytes]) -> int:
        data = b"".join(frames)
        ends = ffi.new("uint32_t[]", len(frames))
        at = 0
        for n, frame in enumerate(frames):
            at += len(frame)
            ends[n] = at
        with self._lock:
            count = int(lib.ebpf_xsk_send(self._opened(), data, ends, len(frames)))
        if count < 0:
            fail(-count, f"send over {self!r}")
        return count

    def _wake(self, end: float | None) -> None:
        """Have the kernel take everything that is in the ring."""
        while True:
            with self._lock:
                xsk = self._opened()
                result = int(lib.ebpf_xsk_wake(self.fileno()))
                unsent = int(lib.ebpf_xsk_unsent(xsk))
            if unsent < 0:
                fail(-unsent, f"send over {self!r}")
            if unsent == 0 or (end is not None and time.monotonic() >= end):
                return
            if result < 0 and -result not in _BUSY:
                fail(-result, f"send over {self!r}")
            if result in (-errno.ENOBUFS, -errno.EBUSY):
                time.sleep(_PAUSE)

    def statistics(self) -> XskStatistics:
        """What went missing. Kernels before 5.9 count the first three only; the others are 0."""
        counters = ffi.new("uint64_t[]", 6)
        result = lib.ebpf_xsk_statistics(self.fileno(), counters, 6)
        if result < 0:
            fail(-result, f"ask for the statistics of {self!r}")
        return XskStatistics(*counters)

    def close(self) -> None:
        """Give the queue and the memory back. Closing twice does nothing."""
        with self._lock:
            super().close()
            lib.ebpf_xsk_close(self._xsk)

    def _opened(self) -> Any:
        if self._fd < 0:
            raise ClosedError(f"{self!r} is closed")
        return self._xsk

    def _wait(self, event: int, seconds: float | None) -> bool:
        """Whether the socket came to be ready in that time."""
        if seconds is not None and seconds <= 0:
            return False
        poll = select.poll()
        poll.register(self.fileno(), event)
        return bool(poll.poll(poll_time(seconds)))

    def __repr__(self) -> str:
        state = "closed" if self._fd < 0 else f"fd={self._fd}"
        return f"<ebpf.XskSocket at queue {self.queue} of {self.interface} {state}>"


def _socket(interface: Interface) -> int:
    fd = interface.inside(lambda: int(lib.ebpf_xsk_socket()))
    if fd == -errno.EAFNOSUPPORT:
        raise NotSupportedError("make an AF_XDP socket: not built (CONFIG_XDP_SOCKETS)")
    if fd < 0:
        fail(-fd, "make an AF_XDP socket", "CAP_NET_RAW")
    return fd


def _cut(buffer: Any, ends: Any, count: int) -> list[bytes]:
    whole = bytes(ffi.buffer(buffer, ends[count - 1] if count else 0))
    positions = ends[0:count]
    return [whole[at:end] for at, end in zip([0, *positions], positions, strict=False)]
