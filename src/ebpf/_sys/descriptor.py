"""Objects that own a file descriptor."""

from __future__ import annotations

import os
import warnings

from ebpf._ffi import lib
from ebpf._sys.call import check
from ebpf.errors import ClosedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, SupportsIndex

    from typing_extensions import Self


def duplicate(fd: int) -> int:
    """Another descriptor for what `fd` is: close-on-exec and none of the standard streams."""
    return check(int(lib.ebpf_dup(fd)), f"duplicate descriptor {fd}")


def off_streams(fd: int) -> int:
    """`fd`, or where that is 0, 1 or 2 its duplicate in its place.

    Of a process without standard streams, which may open them again: they would take the place of
    what an object keeps, and until then be its descriptors.
    """
    if fd > 2:
        return fd
    try:
        return duplicate(fd)
    finally:
        os.close(fd)


class Descriptor:
    """Owns one descriptor: a context manager that closes once and warns when it was forgotten."""

    # What an object without a descriptor, or that was closed, shows: a use then reaches the kernel
    # as EBADF, never as the number of a file that was opened since.
    _fd: int = -1

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """The descriptor's number, for as long as the object is open.

        Raises:
            ClosedError: the object was closed.
        """
        fd = self._fd
        if fd < 0:
            raise ClosedError(f"{self!r} is closed")
        return fd

    @property
    def closed(self) -> bool:
        """True once `close` was called."""
        return self._fd < 0

    def close(self) -> None:
        """Give the descriptor back. Closing twice does nothing."""
        # Taking the number out is one step, so that of two threads, or of a close and the signal
        # handler that interrupts it, one gets it: a number that is closed twice may belong to
        # somebody else by the second time. Without a lock, a handler cannot block on it.
        fd = self.__dict__.pop("_fd", -1)
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        self.fileno()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._fd >= 0:
            try:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            finally:
                # The warning may have been made an error.
                self.close()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        # A copy would close the number that this object still uses, by which time it may belong to
        # somebody else; in another process it means nothing.
        way = "duplicate()" if hasattr(self, "duplicate") else "from_fd()"
        remedy = f"; pin it, or use {way}" if hasattr(self, "from_fd") else ""
        raise TypeError(f"{self!r} holds a descriptor and can't be copied or pickled{remedy}")

    def __repr__(self) -> str:
        state = "closed" if self._fd < 0 else f"fd={self._fd}"
        return f"<ebpf.{type(self).__name__} {state}>"
