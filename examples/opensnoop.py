#!/usr/bin/env python3
"""opensnoop: which process opens which files, live.

    sudo python opensnoop.py                        everything, until Ctrl-C
    sudo python opensnoop.py --name nginx --failed  what nginx wanted to open and could not
    sudo python opensnoop.py -- make -j4            one command and all of its descendants
    sudo python opensnoop.py --json | jq .path      one JSON object a line

RESULT is the file descriptor, or the error. Paths are shown as the process gave them: a relative
one begins in its working directory, or in the directory that it named. Process ids are those of
the whole machine, also when this runs in a container. Not seen are the opens of 32-bit processes
on 64-bit kernels, and those through io_uring.

The program in the kernel is opensnoop.bpf.c. It is compiled at the first start, by clang or by the
compiler of `pip install 'ebpf[compile]'`, and found in the cache from then on.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

import ebpf
from ebpf import tracefs
from ebpf.codec import from_btf
from parts.command import Command, Trace, skipped_runs, snooper, split_command
from parts.terminal import Lines, printable, to_output, wall_clock

SOURCE = Path(__file__).with_suffix(".bpf.c")


def prepare(spec: ebpf.CollectionSpec, options: argparse.Namespace) -> None:
    """Set the filters, and leave out the programs that are of no use here."""
    spec.variables["only_pid"].value = options.pid
    # The kernel's names of processes have up to 15 bytes.
    spec.variables["only_name"].value = os.fsencode(options.name)[:15]
    spec.variables["only_failed"].value = options.failed
    spec.variables["only_followed"].value = options.command is not None
    spec.maps["events"].max_entries = options.ring_size
    spec.programs["on_fork"].autoload = options.command is not None
    # Every kernel has openat(2): where tracefs is missing, or this in it, the error says so.
    tracefs.tracepoint_id("syscalls", "sys_enter_openat")
    events = os.path.join(tracefs.find(), "events")
    for program in spec.programs.values():
        if program.attach == "tracepoint":
            # Newer architectures have neither open(2) nor creat(2).
            program.autoload = os.path.exists(os.path.join(events, program.target))


# By the two bits of O_ACCMODE; 3 is for descriptors on which only ioctl() is to be called.
ACCESS = {
    os.O_RDONLY: ("O_RDONLY", "r"),
    os.O_WRONLY: ("O_WRONLY", "w"),
    os.O_RDWR: ("O_RDWR", "rw"),
    os.O_ACCMODE: ("O_ACCMODE", "-"),
}
ALIASES = ("O_FSYNC", "O_NDELAY", "O_RSYNC")
# Those of several bits first: O_SYNC contains O_DSYNC, and O_TMPFILE O_DIRECTORY.
FLAGS = sorted(
    (
        (value, name)
        for name, value in vars(os).items()
        if name.startswith("O_") and value & ~os.O_ACCMODE and name not in ALIASES
    ),
    key=lambda flag: (-flag[0].bit_count(), flag),
)


def flag_names(flags: int) -> list[str]:
    """The names of open(2)'s flags; bits that have none as a number."""
    found, rest = [ACCESS[flags & os.O_ACCMODE][0]], flags & ~os.O_ACCMODE
    for value, name in FLAGS:
        if rest & value == value:
            found.append(name)
            rest &= ~value
    return [*found, hex(rest)] if rest else found


def error_name(result: int) -> str:
    return errno.errorcode.get(-result, str(-result))


class Table:
    """One line for each open, for people."""

    def __init__(self, out: TextIO) -> None:
        titles = "PID", "PPID", "UID", "COMMAND", "RESULT", "FOR", "PATH"
        self.lines = Lines(out, "{:>7} {:>7} {:>5} {:<15} {:<7} {:<3} {}", titles)

    def show(self, event: Any, path: bytes | None) -> None:
        result = event.result if event.result >= 0 else error_name(event.result)
        who = event.pid, event.parent_pid, event.uid, printable(event.name)
        name = "(at an invalid address)" if path is None else printable(path)
        self.lines.write(event.time, *who, result, ACCESS[event.flags & os.O_ACCMODE][1], name)


class JsonLines:
    """One JSON object for each open, for programs.

    Bytes that are not UTF-8 are lone surrogates, as os.fsdecode() makes them and os.fsencode()
    takes them back.
    """

    def __init__(self, out: TextIO) -> None:
        self.out = out

    def show(self, event: Any, path: bytes | None) -> None:
        fields = {
            "time": wall_clock(event.time),
            "pid": event.pid,
            "parent_pid": event.parent_pid,
            "uid": event.uid,
            "command": os.fsdecode(event.name),
            "path": None if path is None else os.fsdecode(path),
            "flags": flag_names(event.flags),
            "fd": event.result if event.result >= 0 else None,
            "error": error_name(event.result) if event.result < 0 else None,
        }
        print(json.dumps(fields), file=self.out, flush=True)


class Opens:
    """The loaded programs, and what they report."""

    def __init__(self, spec: ebpf.CollectionSpec, objects: ebpf.Collection) -> None:
        self.objects = objects
        processes = objects.maps["processes"]
        assert isinstance(processes, ebpf.HashMap)
        self.processes = processes
        # The C is where the record is declared; its layout is in the object.
        assert spec.btf is not None
        self.header = from_btf(spec.btf, spec.btf.find("event", ebpf.btf.Kind.STRUCT).id)

    def attach(self) -> None:
        """Start tracing."""
        for name, program in self.objects.programs.items():
            if name != "follow_current":
                program.attach()

    def follow_current(self) -> None:
        """Trace the calling process, by a program that is run in it."""
        self.objects.programs["follow_current"].test_run()

    def all_ended(self) -> bool:
        """Whether no process that was followed is left, so that no more records will come."""
        # A process whose end was skipped stays in the map: then there is no waiting for it.
        return not any(True for _ in self.processes) or self._skipped() > 0

    def lost_events(self) -> int:
        return int(self.objects.variables["lost"].value) + self._skipped()

    def _skipped(self) -> int:
        return skipped_runs(list(self.objects.programs.values()))

    def decode(self, record: bytes) -> tuple[Any, bytes | None]:
        """The ``struct event`` and the path, None where there was none at its address."""
        path = record[self.header.size :].removesuffix(b"\0")
        event = self.header.unpack(record[: self.header.size])
        return event, path if len(record) > self.header.size else None


def trace(options: argparse.Namespace, out: TextIO) -> int:
    """Trace, and return the exit status."""
    spec = ebpf.compile_c(SOURCE)
    prepare(spec, options)
    with spec.load() as objects:
        opens = Opens(spec, objects)
        opens.attach()
        show = JsonLines(out).show if options.json else Table(out).show
        command = None
        if options.command:
            command = Command("opensnoop", options.command, opens.follow_current)
        tracing = Trace("opensnoop", objects.maps["events"], command, opens.all_ended)
        tracing.show(lambda record: show(*opens.decode(record)), out)
        lost = opens.lost_events()
        if lost:
            print(f"opensnoop: lost events: {lost}; try a larger --ring-size", file=sys.stderr)
        return command.wait() if command else 0


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = snooper("opensnoop", __doc__)
    parser.add_argument("--pid", type=int, default=0, help="only this process")
    parser.add_argument("--name", default="", help="only processes of this name")
    parser.add_argument("--failed", action="store_true", help="only opens that failed")
    return split_command(parser, argv)


def main(argv: list[str]) -> int:
    options = parse_arguments(argv)
    try:
        return to_output(options.output, lambda out: trace(options, out))
    except (ebpf.EbpfError, OSError) as error:
        print(f"opensnoop: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT  # before the trace began


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
