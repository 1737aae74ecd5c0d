"""Text that is safe to print, and fits."""

from __future__ import annotations

import os
import shutil
import sys
import time
import unicodedata
from collections.abc import Callable
from datetime import datetime
from typing import TextIO

# How far the wall clock is ahead of the kernel's monotonic one, in nanoseconds.
WALL_CLOCK = time.time_ns() - time.monotonic_ns()


def wall_clock(nanoseconds: int) -> float:
    """What time.time() was when the kernel's monotonic clock showed this."""
    return (nanoseconds + WALL_CLOCK) / 1e9


def printable(text: bytes | str) -> str:
    """`text` without anything that a terminal would obey: ``\\x1b`` for an escape character.

    Bytes that are not UTF-8 are shown as ``\\xff``, too.
    """
    if isinstance(text, str):
        text = os.fsencode(text)
    decoded = text.decode("utf-8", "backslashreplace")
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in decoded
    )


def cells(character: str) -> int:
    """How many columns of a terminal a character takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, width: int) -> str:
    """`text`, its end replaced by an ellipsis where it takes more than `width` columns."""
    if sum(map(cells, text)) <= width:
        return text
    taken, kept = 0, ""
    for character in text:
        taken += cells(character)
        if taken > width - 1:
            break
        kept += character
    return kept + "…"


class Lines:
    """Lines with a time in front, cut off where the terminal ends."""

    def __init__(self, out: TextIO, format: str, titles: tuple[str, ...]) -> None:
        """`format` lays out the columns behind the time, of which `titles` are the first."""
        self.out = out
        self.format = format
        self.terminal = out.isatty()
        self._write("TIME", titles)

    def write(self, nanoseconds: int, *columns: object) -> None:
        """A line of the moment when the kernel's monotonic clock showed `nanoseconds`."""
        moment = datetime.fromtimestamp(wall_clock(nanoseconds))
        self._write(moment.strftime("%H:%M:%S.%f")[:-3], columns)

    def _write(self, clock: str, columns: tuple[object, ...]) -> None:
        width = shutil.get_terminal_size().columns if self.terminal else sys.maxsize
        digits = 8 if width < 100 else 12  # leave the room to the other columns
        line = f"{clock[:digits]:<{digits}} {self.format.format(*columns)}"
        print(fit(line, width), file=self.out, flush=True)


def escape_output() -> None:
    """Have standard output escape what its encoding lacks, where that would end the program."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def to_output(path: str | None, use: Callable[[TextIO], int]) -> int:
    """`use` the file `path`, or standard output; what either cannot write is escaped."""
    if path is None:
        escape_output()
        return use(sys.stdout)
    with open(path, "w", encoding="utf-8", errors="backslashreplace") as out:
        return use(out)
