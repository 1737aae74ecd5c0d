#!/usr/bin/env python3
"""execsnoop: every program that this machine executes, live.

    sudo python execsnoop.py                        everything, until Ctrl-C
    sudo python execsnoop.py -- make -j4            one command and all of its descendants
    sudo python execsnoop.py --json | jq .command   one JSON object a line

A line marked + is an execution. A line marked - is the end of a process that executed something:
its exit status, or the signal that killed it. Process ids are those of the whole machine, also
when this runs in a container.

With a command, Ctrl-C is the command's; the trace ends when the last descendant has ended, and
the exit status is the command's. Without one, Ctrl-C and SIGTERM end the trace with status 0.
"""

# The BPF programs are in parts/execsnoop_bpf.py, which also says how they work together;
# parts/execsnoop_events.py makes of their records what is printed.

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from typing import TextIO

import ebpf
from parts.command import Command, Trace, snooper, split_command
from parts.execsnoop_bpf import Kernel
from parts.execsnoop_events import Decoder, End, Execution, JsonLines, Table
from parts.terminal import to_output


def attach(kernel: Kernel) -> None:
    kernel.attach()
    try:
        kernel.attach_system_calls()
    except (FileNotFoundError, PermissionError) as error:
        # tracefs is not mounted, or for others to read than who has the rights to trace.
        print(
            f"execsnoop: {error}\n"
            "execsnoop: going on without: of scripts the interpreter's arguments are shown",
            file=sys.stderr,
        )


def trace(options: argparse.Namespace, out: TextIO) -> int:
    """Trace, and return the exit status."""
    with Kernel(follow=bool(options.command), ring_size=options.ring_size) as kernel:
        attach(kernel)
        show: Callable[[Execution | End], None]
        show = JsonLines(out).show if options.json else Table(out).show
        command = None
        if options.command:
            command = Command("execsnoop", options.command, kernel.follow_current)
        decoder = Decoder()

        def show_record(record: bytes) -> None:
            event = decoder.decode(record)
            if event is not None:
                show(event)

        Trace("execsnoop", kernel.events, command, kernel.all_ended).show(show_record, out)
        lost = kernel.lost_events()
        if lost:
            print(f"execsnoop: lost events: {lost}; try a larger --ring-size", file=sys.stderr)
        return command.wait() if command else 0


def main(argv: list[str]) -> int:
    options = split_command(snooper("execsnoop", __doc__), argv)
    try:
        return to_output(options.output, lambda out: trace(options, out))
    except (ebpf.EbpfError, OSError) as error:
        print(f"execsnoop: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT  # before the trace began


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
