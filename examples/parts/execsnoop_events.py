"""The records of execsnoop's BPF programs, and how they are shown."""

from __future__ import annotations

import json
import os
import shlex
import signal
from dataclasses import dataclass
from typing import TextIO

from parts.execsnoop_bpf import EXIT, HEADER, Header
from parts.terminal import Lines, printable, wall_clock


@dataclass
class Execution:
    """A program that was executed."""

    header: Header
    arguments: list[bytes]


@dataclass
class End:
    """The end of the process that ran `execution` last."""

    header: Header
    execution: Execution


def split_arguments(data: bytes) -> list[bytes]:
    """The strings of a record: each is ended by a NUL, unless it was cut off."""
    return data.removesuffix(b"\0").split(b"\0") if data else []


class Decoder:
    """Records to executions and ends."""

    def __init__(self) -> None:
        self._running: dict[int, Execution] = {}

    def decode(self, record: bytes) -> Execution | End | None:
        """None for an end that belongs to no execution: a followed process executed nothing, the
        record of it was lost, or two threads ended at the same moment, and each reported that it
        was the last."""
        header = HEADER.unpack(record[: HEADER.size])
        if header.kind == EXIT:
            execution = self._running.pop(header.pid, None)
            return None if execution is None else End(header, execution)
        execution = Execution(header, split_arguments(record[HEADER.size :]))
        self._running[header.pid] = execution
        return execution


def describe_status(status: int) -> str:
    """An exit status, or the name of the signal that killed the process."""
    if not os.WIFSIGNALED(status):
        return str(os.WEXITSTATUS(status))
    number = os.WTERMSIG(status)
    # Most real-time signals have no name.
    return signal.Signals(number).name if number in set(signal.Signals) else f"SIG{number}"


def describe_duration(nanoseconds: int) -> str:
    seconds = nanoseconds / 1e9
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


class Table:
    """One line for each event, for people."""

    def __init__(self, out: TextIO) -> None:
        titles = " ", "PID", "PPID", "UID", "COMMAND", "STATUS", "ARGUMENTS"
        self.lines = Lines(out, "{} {:>7} {:>7} {:>5} {:<15} {:<7} {}", titles)

    def show(self, event: Execution | End) -> None:
        # The end of a process is shown as whose it was, not as what it had become meanwhile.
        header = (event.execution if isinstance(event, End) else event).header
        who = header.pid, header.parent_pid, header.uid, printable(header.command)
        time = event.header.time
        if isinstance(event, Execution):
            arguments = shlex.join(map(printable, event.arguments))
            cut = "" if header.complete else " (incomplete)"
            self.lines.write(time, "+", *who, "", arguments + cut)
        else:
            status = event.header.status
            duration = describe_duration(time - header.time)
            dumped = ", core dumped" if os.WCOREDUMP(status) else ""
            self.lines.write(time, "-", *who, describe_status(status), f"after {duration}{dumped}")


class JsonLines:
    """One JSON object for each event, for programs.

    Bytes that are not UTF-8 are lone surrogates, as os.fsdecode() makes them and os.fsencode()
    takes them back.
    """

    def __init__(self, out: TextIO) -> None:
        self.out = out

    def show(self, event: Execution | End) -> None:
        execution = event.execution if isinstance(event, End) else event
        header = execution.header
        fields: dict[str, object] = {
            "event": "exit" if isinstance(event, End) else "exec",
            "time": wall_clock(event.header.time),
            "pid": header.pid,
            "parent_pid": header.parent_pid,
            "uid": header.uid,
            "command": header.command,
            "arguments": [os.fsdecode(argument) for argument in execution.arguments],
            "arguments_complete": bool(header.complete),
        }
        if isinstance(event, End):
            status = event.header.status
            killed = os.WIFSIGNALED(status)
            fields["exit_status"] = None if killed else os.WEXITSTATUS(status)
            fields["signal"] = describe_status(status) if killed else None
            fields["core_dumped"] = os.WCOREDUMP(status)
            fields["duration"] = (event.header.time - header.time) / 1e9
        print(json.dumps(fields), file=self.out, flush=True)
