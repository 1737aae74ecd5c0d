"""What programs print: by bpf_trace_printk() into tracefs, and into streams of their own."""

from __future__ import annotations

import codecs
import os
import select
import time
import warnings

from ebpf import tracefs
from ebpf._sys import bpf
from ebpf._sys.arguments import check_seconds, poll_time
from ebpf._sys.descriptor import off_streams
from ebpf.errors import BpfFileNotFoundError, ClosedError
from ebpf.plain import NamedTuple
from ebpf.types import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

    from typing_extensions import Self

    from ebpf.links.base import HasFileno

# Bytes of one read.
_PIECE = 1 << 16
# Bytes that the kernel keeps of a program's stream (BPF_STREAM_MAX_CAPACITY of <linux/bpf.h>).
_KEPT = 100_000

# "            bash-1234    [001] d..31  5678.123456: bpf_trace_printk: text"; behind the thread may
# be its process. The name takes 16 bytes. It may have anything in it, as the text may, so only its
# width tells where it ends.
_LINE = (
    rb"(?P<task>.{16,}?)-(?P<pid>\d+)\s+(?:\(\s*[-\d]+\)\s+)?\[(?P<cpu>\d+)\]\s+(?P<flags>\S+)"
    rb"\s+(?P<time>[\d.]+): (?P<event>\w+): (?P<message>.*)"
)
_LOST = rb"CPU:(\d+) \[LOST (\d+) EVENTS\]"

_patterns: list[re.Pattern[bytes]] = []


class TraceLine(NamedTuple):
    """One line of the trace.

    A message with a line break in it is several lines, of which only the first has more than its
    `message`, unless another looks like a line of the trace: who can have a program print line
    breaks can make one up. `task` is "<...>" where the trace does not know the name, `time` is in
    seconds, of the trace's clock, and `flags` are the trace's own letters.
    """

    message: str
    task: str | None = None
    pid: int | None = None
    cpu: int | None = None
    flags: str = ""
    time: float | None = None
    event: str = ""


class TracePipe:
    """What programs print with bpf_trace_printk() (``bpf_printk`` in C), line by line::

        with ebpf.TracePipe() as pipe:
            for line in pipe:
                print(line.task, line.message)

    There is one trace for the whole machine: it has the lines of all programs and other enabled
    events, and each line goes to one reader. An instance of tracefs has a trace of its own.
    """

    _fd = -1

    def __init__(self, instance: str | None = None) -> None:
        """Open the pipe.

        Args:
            instance: the name of a directory in tracefs's ``instances``, made before with mkdir;
                for the lines of programs, ``events/bpf_trace/bpf_trace_printk/enable`` in it has
                to be 1 (5.9).

        Raises:
            BpfFileNotFoundError: tracefs is not mounted, or has no such instance.
            BpfPermissionError: this process may not read it; the message has the command.
            BpfError: EBUSY, somebody else reads it: newer kernels let one at a time.
        """
        folder = tracefs.find()
        if instance is not None:
            if not instance or "/" in instance or instance.startswith("."):
                raise ValueError(f"instance: {instance!r} is no name of a directory")
            folder = os.path.join(folder, "instances", instance)
            if not os.path.isdir(folder):
                raise BpfFileNotFoundError(
                    2, f"open the trace pipe: there is no {folder}; make it with mkdir"
                )
        self._path = os.path.join(folder, "trace_pipe")
        opened = tracefs.open_to_read(self._path, "open the trace pipe", os.O_NONBLOCK)
        self._fd = off_streams(opened)
        self._rest = b""
        #: Lines that the kernel had no room for, as far as it has said so.
        self.lost = 0

    def fileno(self) -> int:
        """The descriptor, which is readable while there are lines."""
        if self._fd < 0:
            raise ClosedError("the trace pipe is closed")
        return self._fd

    def read(self) -> list[TraceLine]:
        """The lines that are there; may be empty. Does not wait."""
        try:
            data = os.read(self.fileno(), _PIECE)
        except BlockingIOError:
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [parsed for line in lines if (parsed := self._parse(line)) is not None]

    def poll(self, timeout: float | None = None) -> bool:
        """Wait until there are lines: True, or False after `timeout` seconds."""
        longest = poll_time(check_seconds("timeout", timeout))
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(longest))

    def __iter__(self) -> Iterator[TraceLine]:
        """Lines as they come, without end."""
        while True:
            yield from self.read()
            self.poll()

    def _parse(self, line: bytes) -> TraceLine | None:
        if not _patterns:
            # Compiled at the first use.
            import re

            _patterns.extend((re.compile(_LINE), re.compile(_LOST)))
        found = _patterns[0].fullmatch(line)
        if found is not None:
            return TraceLine(
                _text(found["message"]),
                _text(found["task"].lstrip(b" ")),
                int(found["pid"]),
                int(found["cpu"]),
                _text(found["flags"]),
                float(found["time"]),
                _text(found["event"]),
            )
        lost = _patterns[1].fullmatch(line)
        if lost is None:
            return TraceLine(_text(line))
        self.lost += int(lost[2])
        return None

    def close(self) -> None:
        """Close the pipe. Closing twice does nothing."""
        fd, self._fd = self._fd, -1
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

    def __repr__(self) -> str:
        return f"<ebpf.TracePipe {self._path}{' closed' if self._fd < 0 else ''}>"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


class ProgramStream:
    """What one program writes to its standard output or error (6.17): bpf_stream_vprintk().

    The kernel writes to the latter too, when it has ended a program that ran for too long or used
    memory of an arena that is not there. It keeps 100,000 bytes, and what is read is gone.
    """

    def __init__(self, program: HasFileno, stream: Stream = Stream.STDOUT) -> None:
        """
        Args:
            program: the program; it has to stay open.
            stream: `ebpf.types.Stream.STDOUT` or STDERR.
        """
        if not isinstance(stream, Stream):
            raise TypeError(f"stream: {stream!r} is not an ebpf.types.Stream")
        self._program = program
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self) -> str:
        """Everything that was written and not read yet. Does not wait: the kernel has no way to.

        A character of which only the first bytes are there comes with the next call.

        Raises:
            NotSupportedError: the kernel has no streams of programs.
        """
        data = b""
        # No more than there can be: a program that goes on writing must not keep this going.
        while len(data) < _KEPT:
            part = bpf.prog_stream_read_by_fd(self._program.fileno(), self._stream, _PIECE)
            if not part:
                break
            data += part
        return self._decoder.decode(data)

    def follow(self, interval: float = 0.1) -> Iterator[str]:
        """What is written, as it comes, without end; looks every `interval` seconds."""
        while True:
            text = self.read()
            if text:
                yield text
            time.sleep(interval)

    def __repr__(self) -> str:
        return f"<ebpf.ProgramStream {self._stream.name} of {self._program!r}>"
