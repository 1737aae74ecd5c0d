"""What a just-in-time compiler says of its code: ``/tmp/perf-PID.map``."""

from __future__ import annotations

import os
import stat
from bisect import bisect_right

from ebpf._sys import facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

# Whoever owns the process can put any file there: of what it says, no more than this is believed.
_LARGEST = 1 << 28
_MOST_FUNCTIONS = 1 << 20
# Bytes that are read at a time, and that tell a file which has grown from another one.
_PIECE = 1 << 23
_TAIL = 256

# (start, number of the line, end, name)
Function = tuple[int, int, int, str]


class PerfMap:
    """The functions of a process by address: lines of start, size and name.

    A later line is of later code, in the place of what was thrown away. What is appended is read
    when it is there; a file that belongs neither to the process's user nor to root is not.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        #: Where the process has the file.
        self.path = ""
        self._forget()

    def _forget(self) -> None:
        self._starts: list[int] = []
        self._functions: list[Function] = []
        # Inode, size and time of the last change, when it was read; the lines and bytes that were.
        self._state = (0, 0, 0)
        self._lines = 0
        self._size = 0
        self._tail = b""

    def refresh(self) -> None:
        """Read what was written since."""
        number, owners = _status(self._pid)
        self.path = f"/tmp/perf-{number}.map"
        try:
            # Not a link or a pipe, which its owner may have put there.
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
            fd = os.open(f"/proc/{self._pid}/root{self.path}", flags)
        except OSError:
            return
        with open(fd, "rb", buffering=0) as file:
            status = os.fstat(fd)
            state = (status.st_ino, status.st_size, status.st_mtime_ns)
            if stat.S_ISREG(status.st_mode) and status.st_uid in owners and state != self._state:
                if not self._has_grown(file, *state[:2]):
                    self._forget()
                self._state = state
                self._read(file, min(status.st_size, _LARGEST))

    def _has_grown(self, file: BinaryIO, inode: int, size: int) -> bool:
        """Whether it is the file that was read, with more behind what it had."""
        if inode != self._state[0] or size <= self._state[1]:
            return False
        file.seek(self._size - len(self._tail))
        return file.read(len(self._tail)) == self._tail

    def _read(self, file: BinaryIO, end: int) -> None:
        file.seek(self._size)
        while self._size < end and len(self._functions) < _MOST_FUNCTIONS:
            # A line without its end is being written; one that fills a piece is none.
            lines, newline, _ = file.read(min(_PIECE, end - self._size)).rpartition(b"\n")
            if not newline:
                return
            self._size += len(lines) + 1
            self._tail = (lines + newline)[-_TAIL:]
            self._add(self._parsed(lines))
            file.seek(self._size)

    def _parsed(self, lines: bytes) -> list[Function]:
        found = []
        for line in lines.split(b"\n"):
            parts = line.split(None, 2)
            self._lines += 1
            try:
                start, size = int(parts[0], 16), int(parts[1], 16)
                name = parts[2].strip().decode("utf-8", "replace")
            except (ValueError, IndexError):
                # Anybody's text.
                continue
            if start >= 0 and size > 0:
                found.append((start, self._lines, start + size, name))
        return found

    def _add(self, functions: list[Function]) -> None:
        """Take `functions` up, and drop those that they lie over."""
        kept: list[Function] = []
        for function in sorted(self._functions + functions):
            start, line, _, _ = function
            while kept and start < kept[-1][2] and kept[-1][1] < line:
                kept.pop()
            if not kept or start >= kept[-1][2]:
                kept.append(function)
        self._functions = kept
        self._starts = [function[0] for function in kept]

    def find(self, address: int) -> tuple[str, int] | None:
        """The function at `address`, and how far behind its beginning that is."""
        at = bisect_right(self._starts, address) - 1
        if at < 0:
            return None
        start, _, end, name = self._functions[at]
        return (name, address - start) if address < end else None


def _status(pid: int) -> tuple[int, set[int]]:
    """The id that the process has in its own namespace, and whose files it may believe: those of
    its own users, and root's."""
    try:
        fields = facts.process_status(pid)
    except OSError:
        # It is gone, and what is known stays.
        return pid, {0}
    numbers = fields.get("NSpid", str(pid)).split()
    return int(numbers[-1]), {0, *map(int, fields["Uid"].split())}
