"""How much processor time, work and memory one input may take, whatever it is.

The fuzzers measure time, and room in the address space, which costs nothing. Tests count lines of
Python and bytes of objects, which come out the same on every machine.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

# Seconds of this process's processor time, for inputs up to mutate.MAXIMUM_SIZE. Sound inputs of
# that size take a fifth.
SECONDS = 1.0
# Lines of Python that run in about that time.
LINES = 12_000_000
# Bytes: Python takes some hundred for each small object, of which a word of the input makes one.
MEMORY_BASE = 8 << 20
MEMORY_PER_BYTE = 256


class TooSlow(BaseException):
    """The time is over. Not an Exception, so that nothing on the way can take it for its own."""


class TooLarge(AssertionError):
    """An input took more memory than its size allows."""


@contextlib.contextmanager
def processor_time(seconds: float) -> Iterator[None]:
    """Raises TooSlow where the block takes longer. Only in the main thread."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TooSlow(f"more than {seconds:g} s of processor time")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def lines_of(action: Callable[[], None]) -> int:
    """How many lines of Python `action` runs. Raises TooSlow after LINES of them."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            if count > LINES:
                raise TooSlow(f"more than {LINES} lines of Python")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


def memory_for(size: int) -> int:
    """How many bytes an input of `size` bytes may take."""
    return MEMORY_BASE + MEMORY_PER_BYTE * size


@contextlib.contextmanager
def address_space(room: int) -> Iterator[None]:
    """Lets the process grow by `room` bytes; what wants more gets a MemoryError. Costs nothing."""
    with open("/proc/self/statm", "rb") as file:
        pages = int(file.read().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def peak_memory(action: Callable[[], None]) -> int:
    """The bytes that Python's objects took at most during `action`, which takes twice as long."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
