"""Objects that own a file descriptor."""

from __future__ import annotations

import os
import warnings
from _thread import allocate_lock
from typing import TypeVar

from ebpf.errors import ClosedError

Self = TypeVar("Self", bound="Descriptor")

# Two threads that close the same object must not close the same number twice: the second one
# may belong to somebody else by then. Closing is rare, so one lock serves all objects.
_closing = allocate_lock()


class Descriptor:
    """Owns one descriptor: a context manager that closes once and warns when it was forgotten."""

    # -1 once closed, so that a use after close reaches the kernel as EBADF, never as the number
    # of a file that was opened since.
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
        with _closing:
            fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self: Self) -> Self:
        self.fileno()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._fd >= 0:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.close()

    def __repr__(self) -> str:
        state = "closed" if self._fd < 0 else f"fd={self._fd}"
        return f"<ebpf.{type(self).__name__} {state}>"
