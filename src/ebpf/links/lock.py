"""One at a time: what takes several requests to the kernel, which somebody else must not mix with.

Best effort: where /run cannot be written, or locks nothing, there is no lock, and whoever needs one
tries again.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY = "/run/ebpf"

# Seconds to wait for others: one that was stopped, or whom a signal handler interrupted here, must
# not stop everybody.
_PATIENCE = 2.0
_PAUSE = 0.002


@contextmanager
def alone(name: str) -> Iterator[None]:
    """No other thread or process of this library is in a block of this name meanwhile."""
    try:
        os.makedirs(DIRECTORY, mode=0o700, exist_ok=True)
        fd = os.open(f"{DIRECTORY}/{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield
        return
    locked = False
    try:
        locked = _wait(fd)
        yield
    finally:
        if locked:
            # A child that was forked meanwhile has the descriptor, too.
            fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)


def _wait(fd: int) -> bool:
    """Whether it is locked now."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        except OSError:
            # ENOLCK, ENOSYS: what /run is there.
            return False
        else:
            return True
    return False
