"""AF_XDP sockets: frames of an interface to and from Python, past the network stack."""

from __future__ import annotations

import errno
import os
import select
import time
from _thread import RLock

from ebpf._sys import Descriptor, ffi, lib
from ebpf._sys.arguments import check_number, check_numbers, check_seconds, poll_time
from ebpf._sys.call import fail
from ebpf._sys.descriptor import off_streams
from ebpf._sys.facts import memlock
from ebpf.errors import BpfError, ClosedError, EbpfError, NotSupportedError
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

# Seconds after which a wait asks whether the interface is still there: of its end, nothing wakes.
_SLICE = 1.0

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
    for (select, poll, asyncio). Threads may share a socket; one that waits ends when another one
    closes it. A forked child cannot use it: the memory is the process's.

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
            EBUSY, another socket has the queue, also a second later; ENOBUFS, the frames take more
            locked memory (2 * `frames` * `frame_size` bytes) than RLIMIT_MEMLOCK, which processes
            without CAP_IPC_LOCK have.
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
        self._pid = os.getpid()
        self._lock = RLock()
        # Threads that wait, and what wakes them when the socket is closed.
        self._waiting = 0
        self._asked = -_SLICE
        self._closing = -1
        self._left = -1
        self._xsk: Any = ffi.new("struct ebpf_xsk *")
        # As long as the struct: the core keeps its free frames here.
        self._idle = ffi.new("uint64_t[]", frames)
        super().__init__(_socket(self.interface))
        try:
            self._closing = off_streams(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
            self._open(frames, zero_copy)
        except BaseException:
            self.close()
            raise

    def _open(self, frames: int, zero_copy: bool | None) -> None:
        fd = self.fileno()
        made = lib.ebpf_xsk_open(fd, frames, self.frame_size, self._idle, self._xsk)
        if made == -errno.ENOBUFS:
            self._no_memory(frames)
        if made < 0:
            fail(-made, f"make room for {frames} frames of {self.frame_size} bytes for {self!r}")
        flags = 0 if zero_copy is None else _ZEROCOPY if zero_copy else _COPY
        end = time.monotonic() + _RELEASE
        while bound := int(lib.ebpf_xsk_bind(fd, self.interface.index, self.queue, flags)):
            if bound != -errno.EBUSY or time.monotonic() >= end:
                self._not_bound(-bound, zero_copy)
            time.sleep(_PAUSE)

    def _no_memory(self, frames: int) -> NoReturn:
        needed, limit = 2 * frames * self.frame_size >> 10, memlock()[0]
        allowed = "" if limit is None else f", and RLIMIT_MEMLOCK is {limit >> 10} KiB"
        raise BpfError(
            errno.ENOBUFS,
            f"make room for {frames} frames of {self.frame_size} bytes for {self!r}: it takes"
            f" {needed} KiB of locked memory{allowed}; raise that (systemd: LimitMEMLOCK=), give"
            " CAP_IPC_LOCK, or take fewer frames",
        )

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

        Raises:
            BpfFileNotFoundError: ENODEV, the interface is gone; it is noticed within seconds.
            ClosedError: the socket was closed, also while this waits.
        """
        self._check_process()
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
            if not self._wait(left) and (left is not None and left <= _SLICE):
                return []

    def _room(self, max_frames: int) -> tuple[Any, Any]:
        count = min(max_frames, len(self._idle))
        return ffi.new("char[]", count * self.frame_size), ffi.new("uint32_t[]", max_frames)

    def send(self, frames: bytes | Iterable[bytes], *, timeout: float | None = None) -> int:
        """Send a frame, or several in their order; how many went into the ring.

        It returns when the kernel has taken them, which is not when they are on the wire. After
        `timeout` some of those that it counts may still be in the ring; they go out with the next
        call.

        Args:
            timeout: seconds that this may take, None for as long as it takes.

        Raises:
            ValueError: a frame is empty, or longer than `frame_size`; nothing is sent.
            BpfFileNotFoundError: ENODEV, the interface is gone.
            BpfError: ENETDOWN, the interface is down. Where it was so from the start nothing is
                sent; if it went down meanwhile, the message says how many frames are in the ring,
                which go out when it is up again.
        """
        self._check_process()
        timeout = check_seconds("timeout", timeout)
        one = isinstance(frames, (bytes, bytearray, memoryview))
        given: Iterable[Any] = [frames] if one else frames
        # Copies, of which nobody changes the length meanwhile.
        waiting = [bytes(memoryview(frame)) for frame in given]
        for frame in waiting:
            if not 0 < len(frame) <= self.frame_size:
                raise ValueError(
                    f"frames: one has {len(frame)} bytes; it may have 1 to {self.frame_size}"
                )
        end = None if timeout is None else time.monotonic() + timeout
        sent = 0
        while sent < len(waiting):
            taken = self._put(waiting[sent : sent + len(self._idle)])
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
            xsk = self._opened()
            # What is in the ring cannot be taken back, so the kernel is asked before.
            self._check_ready(int(lib.ebpf_xsk_wake(self.fileno())))
            count = int(lib.ebpf_xsk_send(xsk, data, ends, len(frames)))
        if count < 0:
            fail(-count, f"send over {self!r}")
        return count

    def _check_ready(self, result: int, unsent: int = 0) -> None:
        """Raise what asking the kernel to send has shown, unless it is only busy."""
        if result >= 0 or -result in _BUSY:
            return
        if result == -errno.ENXIO:
            raise self.interface.missing()
        left = f" ({unsent} frames are in the ring, and go out with the next)" if unsent else ""
        fail(-result, f"send over {self!r}{left}")

    def _wake(self, end: float | None) -> None:
        """Have the kernel take everything that is in the ring."""
        before = None
        while True:
            with self._lock:
                xsk = self._opened()
                result = int(lib.ebpf_xsk_wake(self.fileno()))
                unsent = int(lib.ebpf_xsk_unsent(xsk))
            if unsent < 0:
                fail(-unsent, f"send over {self!r}")
            if unsent == 0 or (end is not None and time.monotonic() >= end):
                return
            self._check_ready(result, unsent)
            if before is not None and unsent >= before:
                time.sleep(_PAUSE)
            before = unsent

    def statistics(self) -> XskStatistics:
        """What went missing. Kernels before 5.9 count the first three only; the others are 0."""
        counters = ffi.new("uint64_t[]", 6)
        result = lib.ebpf_xsk_statistics(self.fileno(), counters, 6)
        if result < 0:
            fail(-result, f"ask for the statistics of {self!r}")
        return XskStatistics(*counters)

    def close(self) -> None:
        """Give the queue and the memory back. Closing twice does nothing."""
        if self._pid != os.getpid():
            # The lock may be a thread's that the child does not have.
            self._give_back()
            return
        with self._lock:
            if self._fd < 0:
                return
            if self._waiting:
                # The last of those who wait for the descriptor gives it back.
                lib.ebpf_xsk_close(self._xsk)
                self._left = self.__dict__.pop("_fd")
                os.eventfd_write(self._closing, 1)
            else:
                self._give_back()

    def _give_back(self) -> None:
        lib.ebpf_xsk_close(self._xsk)
        left, self._left = self._left, -1
        closing, self._closing = self._closing, -1
        for fd in (left, closing):
            if fd >= 0:
                os.close(fd)
        super().close()

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise EbpfError(f"{self!r} is of process {self._pid}; open a socket in this one")

    def _opened(self) -> Any:
        if self._fd < 0:
            raise ClosedError(f"{self!r} is closed")
        return self._xsk

    def _wait(self, seconds: float | None) -> bool:
        """Whether the socket came to be ready in that time, or in the first second of it."""
        with self._lock:
            self._opened()
            fd = self.fileno()
            self._waiting += 1
        try:
            ready = seconds is None or seconds > 0
            ready = ready and self._poll(fd, _SLICE if seconds is None else min(seconds, _SLICE))
            with self._lock:
                self._opened()
                if not ready:
                    self._check_interface(fd)
        finally:
            with self._lock:
                self._waiting -= 1
                if self._left >= 0 and not self._waiting:
                    self._give_back()
        return ready

    def _check_interface(self, fd: int) -> None:
        """Ask the kernel whether it is still bound, which it tells by no event; once in a while."""
        now = time.monotonic()
        if now - self._asked >= _SLICE:
            self._asked = now
            if int(lib.ebpf_xsk_wake(fd)) == -errno.ENXIO:
                raise self.interface.missing()

    def _poll(self, fd: int, seconds: float) -> bool:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.register(self._closing, select.POLLIN)
        return bool(poll.poll(poll_time(seconds)))

    def __repr__(self) -> str:
        state = "closed" if self._fd < 0 else f"fd={self._fd}"
        return f"<ebpf.XskSocket at queue {self.queue} of {self.interface} {state}>"


def _socket(interface: Interface) -> int:
    fd = interface.inside(lambda: int(lib.ebpf_xsk_socket()), _close)
    if fd == -errno.EAFNOSUPPORT:
        raise NotSupportedError("make an AF_XDP socket: not built (CONFIG_XDP_SOCKETS)")
    if fd < 0:
        fail(-fd, "make an AF_XDP socket", "CAP_NET_RAW")
    return fd


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


def _cut(buffer: Any, ends: Any, count: int) -> list[bytes]:
    whole = bytes(ffi.buffer(buffer, ends[count - 1] if count else 0))
    positions = ends[0:count]
    return [whole[at:end] for at, end in zip([0, *positions], positions, strict=False)]
