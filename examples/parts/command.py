"""Running a command to trace it and its descendants, and reading until they have ended."""

from __future__ import annotations

import argparse
import errno
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TextIO

import ebpf


class Command:
    """The command to trace, as a child process."""

    def __init__(self, name: str, arguments: list[str], follow: Callable[[], object]) -> None:
        """Start it. Tracing has to be attached before: nothing is missed then.

        `name` is the tracing program's, for messages. `follow` is called in the child, and has
        the kernel trace the process that calls it.
        """
        self.status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _become(name, arguments, follow)

    def ended(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None

    def wait(self) -> int:
        """Its exit status as a shell has it: 128 + n after signal n."""
        if self.status is None:
            _, self.status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(self.status)
        return code if code >= 0 else 128 - code


def _become(name: str, arguments: list[str], follow: Callable[[], object]) -> None:
    """Execute the command, in the child."""
    status = 126
    try:
        follow()
        # Python ignores this one, and what is ignored stays so in a new program.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execvp(arguments[0], arguments)
    except OSError as error:
        status = 127 if error.errno == errno.ENOENT else 126
        print(f"{name}: {arguments[0]}: {error.strerror}", file=sys.stderr, flush=True)
    finally:
        os._exit(status)


class Trace:
    """Reading records until the trace is over.

    With a command, Ctrl-C is the command's; the trace ends when the last descendant has ended.
    Without one, Ctrl-C and SIGTERM end it.
    """

    # In seconds: how soon a signal or the end of the command is noticed.
    TICK = 0.1

    def __init__(
        self,
        name: str,
        events: ebpf.Map[Any, Any],
        command: Command | None,
        all_ended: Callable[[], bool],
    ) -> None:
        """`name` is the program's; `all_ended`: whether no process that is followed is left."""
        self.name = name
        self.events = events
        self.command = command
        self.all_ended = all_ended
        self.stopped = False
        signal.signal(signal.SIGINT, self.on_signal)
        signal.signal(signal.SIGTERM, self.on_signal)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.command is None or self.command.status is not None:
            self.stopped = True
        elif number == signal.SIGTERM:
            os.kill(self.command.pid, number)
        # Ctrl-C has reached the command by itself, and it is the command's to obey.

    def over(self) -> bool:
        if self.command is None or self.stopped:
            return self.stopped
        return self.command.ended() and self.all_ended()

    def records(self) -> Iterator[bytes]:
        with ebpf.RingBuffer(self.events) as ring:
            while True:
                # First this, then the records: those that were there before the end are shown.
                over = self.over()
                yield from ring.read_batch()
                if over:
                    return
                select.select([ring], [], [], self.TICK)

    def show(self, show: Callable[[bytes], None], out: TextIO) -> None:
        """Hand every record to `show`, which prints to `out`, until the trace is over."""
        if self.command is None:
            print(f"{self.name}: tracing; Ctrl-C ends it", file=sys.stderr, flush=True)
        try:
            for record in self.records():
                show(record)
        except BrokenPipeError:
            # `| head` has what it wanted. What Python has not yet written must not go there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


def skipped_runs(programs: list[ebpf.Program]) -> int:
    """How often the kernel did not run a program because it ran on that CPU already.

    That takes a kernel where BPF programs are preempted (PREEMPT_RT); counted since 5.12.
    """
    return sum(program.info().recursion_misses for program in programs)


def split_command(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """What `parser` makes of `argv` up to ``--``; what follows it is ``command``, None without.

    The command's own options are not for the parser.
    """
    options, command = argv, None
    if "--" in argv:
        cut = argv.index("--")
        options, command = argv[:cut], argv[cut + 1 :]
    arguments = parser.parse_args(options)
    if command == []:
        parser.error("there is no command after --")
    arguments.command = command
    return arguments


def snooper(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every program has which prints what happens."""
    parser = argparse.ArgumentParser(
        prog=name,
        usage=f"{name}.py [options] [-- COMMAND ARGUMENTS...]",
        description=(description or "").partition(": ")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("-o", "--output", metavar="FILE", help="write there, not to stdout")
    parser.add_argument(
        "--ring-size",
        type=_ring_size,
        default=1 << 22,
        metavar="BYTES",
        help="of the ring buffer: more if events are lost; a power of two (4194304)",
    )
    return parser


def _ring_size(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    size, page = int(text), os.sysconf("SC_PAGE_SIZE")
    if not page <= size < 1 << 32 or size & (size - 1):
        raise argparse.ArgumentTypeError(
            f"{size} is not a power of two, {page} or more, below 4 GiB"
        )
    return size
