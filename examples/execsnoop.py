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

# Five small BPF programs do the work; the ring buffer `events` brings their records here:
#
#   sys_enter_execve(at)   copies the arguments while the caller's memory still has them, to the
#   sys_exit_execve(at)    map `arguments`, under the thread's id; forgets them if it failed
#   sched_process_fork     with a command only: a child of a process in `processes` joins them
#   sched_process_exec     the new program runs: sends the record with the arguments
#   sched_process_exit     sends the exit status when the last thread of a process ends
#
# The caller's memory may be paged out, and a BPF program that is not allowed to sleep cannot bring
# it back: the copy then fails. The kernel has just written the arguments into the new program's
# memory, though, so sched_process_exec reads them there. That is also how the arguments of 32-bit
# processes are had (their calls do not pass these tracepoints), and all of them where tracefs is
# not mounted. The difference: of a script with a #! line one sees the interpreter's arguments.

from __future__ import annotations

import argparse
import errno
import functools
import itertools
import json
import os
import select
import shlex
import shutil
import signal
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from types import FrameType
from typing import Annotated, Any, TextIO

import ebpf
from ebpf import UpdateFlags
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R7,
    R8,
    R9,
    R10,
    Label,
    Memory,
    Register,
    add,
    atomic_add,
    call,
    exit_,
    ja,
    jeq,
    jge,
    jle,
    jne,
    jset,
    jsle,
    ld_map_fd,
    ld_map_value,
    ldxdw,
    ldxw,
    mov,
    rsh,
    stdw,
    stw,
    stxdw,
    stxw,
    sub,
)
from ebpf.codec import Char, codec, s32, u32, u64
from ebpf.kernel_btf import kernel_btf

Code = list[Any]  # instructions, labels, and lists of them

EXEC, EXIT = 1, 2

# Room for the arguments of one execution; what goes beyond it is cut off, and marked so.
ARGUMENTS_SIZE = 16384
# sys_enter copies so many strings, each to an offset below STRING_SIZE and at most STRING_SIZE
# long: the verifier then sees that the sum of both stays in the room. Longer lists of arguments
# are read by sched_process_exec, which needs only one copy for all of them.
MAX_STRINGS = 128
STRING_SIZE = ARGUMENTS_SIZE // 2


@dataclass
class Header:
    """The start of each record. One definition for the BPF programs and for Python."""

    time: u64  # nanoseconds of CLOCK_MONOTONIC
    command: Annotated[str, Char(16)]
    kind: u32  # EXEC or EXIT
    pid: u32
    parent_pid: u32
    uid: u32
    status: s32  # EXIT: as wait() gives it
    complete: u32  # EXEC: 1 if the arguments are whole
    length: u32  # EXEC: bytes of arguments that follow the header, each ended by a NUL


HEADER = codec(Header)

# ---------------------------------------------------------------------------------------------
# The BPF programs. R1 to R5 are lost in each call, so what is kept is in R6 to R9 or on the stack.

TID = R10 - 4  # thread id
TGID = R10 - 8  # thread group id, what user space calls pid
VALUE = R10 - 16  # 8 bytes to read something into
SAVED = R10 - 24
EXIT_RECORD = R10 - 24 - HEADER.size


NUMBERS = itertools.count()


@functools.cache
def struct(name: str) -> Any:
    """The layout of a struct in the running kernel: it differs between kernels."""
    return kernel_btf().find_struct(name)


def address(register: Register, memory: Memory) -> Code:
    """register = &memory."""
    return [mov(register, memory.base), add(register, memory.offset)]


def get_field(result: Register, pointer: Register, name: str, path: str) -> Code:
    """result = ((struct name *) pointer)->path, or 0 where that cannot be read."""
    layout = struct(name)
    size = layout.sizeof(path)
    load = {4: ldxw, 8: ldxdw}[size]
    return [
        mov(R3, pointer),
        add(R3, layout.offsetof(path)),
        address(R1, VALUE),
        mov(R2, size),
        call("probe_read_kernel"),
        load(result, VALUE),
    ]


def get_thread() -> Code:
    """Put the ids of the current thread into TID and TGID."""
    return [
        call("get_current_pid_tgid"),
        stxw(TID, R0),
        rsh(R0, 32),
        stxw(TGID, R0),
    ]


def lookup(map: Any, key: Memory) -> Code:
    """R0 = the address of the value, 0 where the map has no such key."""
    return [address(R2, key), ld_map_fd(R1, map), call("map_lookup_elem")]


def delete(map: Any, key: Memory) -> Code:
    return [address(R2, key), ld_map_fd(R1, map), call("map_delete_elem")]


def header(record: Memory, field: str) -> Memory:
    return record + HEADER.offsetof(field)


def leave() -> Code:
    return [Label("out"), mov(R0, 0), exit_()]


class Kernel(ExitStack):
    """The maps, and the programs that fill them. All of them are closed with this."""

    def __init__(self, *, follow: bool, ring_size: int) -> None:
        """`follow`: trace only processes that are in the map `processes`, and their children."""
        super().__init__()
        self.follow = follow
        self.programs: list[ebpf.Program] = []
        record_size = HEADER.size + ARGUMENTS_SIZE
        self.events = self.create(ebpf.MapType.RINGBUF, max_entries=ring_size, name="events")
        # Thread id -> record, between the entry into execve() and its success or failure.
        self.arguments = self.create(
            ebpf.MapType.HASH, key="I", value=record_size, max_entries=128, name="arguments"
        )
        # A record under construction is too large for a BPF stack (512 bytes): slot 0 is for
        # sys_enter, slot 1 for sched_process_exec.
        self.scratch = self.create(
            ebpf.MapType.PERCPU_ARRAY, value=record_size, max_entries=2, name="scratch"
        )
        # The ids of processes that have executed something, or are followed. The value is unused.
        self.processes = self.create(
            ebpf.MapType.HASH, key="I", value="I", max_entries=65536, name="processes"
        )
        self.lost = self.create(ebpf.MapType.ARRAY, value="Q", max_entries=1, name="lost")

    def create(self, type: ebpf.MapType, **definition: Any) -> Any:
        return self.enter_context(ebpf.Map.create(type, **definition))

    def load(self, type: ebpf.ProgramType, name: str, code: Code) -> ebpf.Program:
        # The helpers that read memory are for GPL-compatible programs only.
        program = ebpf.Program.load(type, code, license="Dual MIT/GPL", name=name)
        self.programs.append(program)
        self.enter_context(program)
        return program

    def attach(self) -> None:
        """Start tracing."""
        raw = ebpf.ProgramType.RAW_TRACEPOINT
        self.load(raw, "on_exit", self.on_exit()).attach_raw_tracepoint("sched_process_exit")
        if self.follow:
            self.whoami = self.load(
                raw, "whoami", [call("get_current_pid_tgid"), rsh(R0, 32), exit_()]
            )
            self.load(raw, "on_fork", self.on_fork()).attach_raw_tracepoint("sched_process_fork")
        self.load(raw, "on_exec", self.on_exec()).attach_raw_tracepoint("sched_process_exec")

    def attach_system_calls(self) -> None:
        """Copy the arguments from the caller's memory. Needs tracefs."""
        kind = ebpf.ProgramType.TRACEPOINT
        # The number of the argument that is argv, in execve(2) and execveat(2).
        for system_call, argv in (("execve", 1), ("execveat", 2)):
            leaving = self.load(kind, "on_sys_exit", self.on_sys_exit())
            leaving.attach_tracepoint("syscalls", f"sys_exit_{system_call}")
            entering = self.load(kind, "on_sys_enter", self.on_sys_enter(argv))
            entering.attach_tracepoint("syscalls", f"sys_enter_{system_call}")

    def follow_current(self) -> None:
        """Trace the calling process."""
        # Its id in the initial PID namespace, which os.getpid() need not be: a program that is
        # run by hand runs in the process that asks for it.
        self.processes[self.whoami.test_run().return_value] = 0

    def followed_are_gone(self) -> bool:
        """Whether no process that was traced is left, so that no more records will come."""
        return not any(True for _ in self.processes)

    def skipped_runs(self) -> int:
        """How often the kernel did not run a program because it ran on that CPU already.

        That takes a kernel where BPF programs are preempted (PREEMPT_RT); counted since 5.12.
        """
        return sum(program.info().recursion_misses for program in self.programs)

    def get_scratch(self, slot: int) -> Code:
        return [stw(VALUE, slot), lookup(self.scratch, VALUE), jeq(R0, 0, "out")]

    def only_followed(self) -> Code:
        """Leave the program if TGID is not to be traced."""
        return [lookup(self.processes, TGID), jeq(R0, 0, "out")] if self.follow else []

    def put_process(self, key: Memory) -> Code:
        return [
            stw(VALUE, 0),
            address(R2, key),
            address(R3, VALUE),
            ld_map_fd(R1, self.processes),
            mov(R4, int(UpdateFlags.ANY)),
            call("map_update_elem"),
            self.count_failure(),
        ]

    def send(self, record: Code, size: Code) -> Code:
        """Put a record into the ring; `record` sets R2 to its address and `size` R3."""
        return [
            record,
            size,
            ld_map_fd(R1, self.events),
            mov(R4, 0),
            call("ringbuf_output"),
            self.count_failure(),
        ]

    def count_failure(self) -> Code:
        """If the call before this failed, count a lost event."""
        succeeded = f"succeeded {next(NUMBERS)}"  # a label is unique in its program
        return [
            jeq(R0, 0, succeeded),
            mov(R1, 1),
            ld_map_value(R2, self.lost),
            atomic_add(R2, R1),
            Label(succeeded),
        ]

    def on_sys_enter(self, argv: int) -> Code:
        """Copy the strings of the argument `argv` of the system call."""
        return [
            mov(R6, R1),
            get_thread(),
            self.only_followed(),
            self.get_scratch(0),
            mov(R8, R0),  # the record
            # The tracepoint's record has the system call's arguments as u64, from byte 16 on.
            ldxdw(R6, R6 + (16 + 8 * argv)),
            mov(R7, 0),  # bytes so far
            mov(R9, 0),  # strings so far
            stw(header(R8 + 0, "complete"), 0),
            Label("next"),
            jge(R9, MAX_STRINGS, "done"),
            address(R1, VALUE),
            mov(R2, 8),
            mov(R3, R6),
            call("probe_read_user"),
            jne(R0, 0, "done"),  # -EFAULT: argv is paged out
            ldxdw(R3, VALUE),
            jeq(R3, 0, "all"),
            jge(R7, STRING_SIZE, "done"),
            address(R1, R8 + HEADER.size),
            add(R1, R7),
            mov(R2, STRING_SIZE),
            call("probe_read_user_str"),
            jsle(R0, 0, "done"),  # -EFAULT: the string is paged out
            jge(R0, STRING_SIZE, "done"),  # cut off
            add(R7, R0),
            add(R6, 8),
            add(R9, 1),
            ja("next"),
            Label("all"),
            stw(header(R8 + 0, "complete"), 1),
            Label("done"),
            stxw(header(R8 + 0, "length"), R7),
            address(R2, TID),
            mov(R3, R8),
            ld_map_fd(R1, self.arguments),
            mov(R4, int(UpdateFlags.ANY)),
            # When the map is full on_exec does without.
            call("map_update_elem"),
            leave(),
        ]

    def on_sys_exit(self) -> Code:
        """execve() failed, which is how PATH is searched: that was no execution."""
        return [get_thread(), delete(self.arguments, TID), leave()]

    def on_exec(self) -> Code:
        """sched_process_exec(task, old_pid, bprm): a new program is about to run."""
        return [
            ldxdw(R6, R1 + 0),
            ldxdw(R7, R1 + 8),
            get_thread(),
            # A thread that executes something becomes its process's only one, and takes over the
            # first one's id: execve() was entered under this one.
            stxw(TID, R7),
            self.only_followed(),
            self.put_process(TGID),
            lookup(self.arguments, TID),
            mov(R8, R0),
            jeq(R8, 0, "read image"),
            ldxw(R1, header(R8 + 0, "complete")),
            jne(R1, 0, "send"),
            Label("read image"),
            self.read_image(),
            Label("send"),
            self.fill_header(R8 + 0, EXEC),
            address(R1, header(R8 + 0, "command")),
            mov(R2, 16),
            call("get_current_comm"),
            ldxw(R7, header(R8 + 0, "length")),
            jle(R7, ARGUMENTS_SIZE, "fits"),  # it always does, but the verifier cannot know
            mov(R7, 0),
            Label("fits"),
            self.send([mov(R2, R8)], [mov(R3, R7), add(R3, HEADER.size)]),
            delete(self.arguments, TID),
            leave(),
        ]

    def read_image(self) -> Code:
        """Read the arguments from the memory of the new program.

        R8: the record with what sys_enter could copy, or 0. Afterwards the record with the most.
        """
        return [
            self.get_scratch(1),
            mov(R9, R0),
            stw(header(R9 + 0, "complete"), 0),
            stw(header(R9 + 0, "length"), 0),
            get_field(R7, R6, "task_struct", "mm"),
            get_field(R0, R7, "mm_struct", "arg_end"),
            stxdw(SAVED, R0),
            get_field(R7, R7, "mm_struct", "arg_start"),
            ldxdw(R2, SAVED),
            sub(R2, R7),
            jle(R2, ARGUMENTS_SIZE, "whole"),
            mov(R2, ARGUMENTS_SIZE),
            ja("read"),
            Label("whole"),
            stw(header(R9 + 0, "complete"), 1),
            Label("read"),
            stxw(header(R9 + 0, "length"), R2),
            address(R1, R9 + HEADER.size),
            mov(R3, R7),
            call("probe_read_user"),
            jeq(R0, 0, "image"),
            # Not even that is in memory: say so, with what there is.
            stw(header(R9 + 0, "complete"), 0),
            stw(header(R9 + 0, "length"), 0),
            jne(R8, 0, "send"),
            Label("image"),
            mov(R8, R9),
        ]

    def fill_header(self, record: Memory, kind: int) -> Code:
        """R6: the current task."""
        return [
            stw(header(record, "kind"), kind),
            ldxw(R1, TGID),
            stxw(header(record, "pid"), R1),
            call("ktime_get_ns"),
            stxdw(header(record, "time"), R0),
            call("get_current_uid_gid"),
            stxw(header(record, "uid"), R0),
            get_field(R7, R6, "task_struct", "real_parent"),
            get_field(R0, R7, "task_struct", "tgid"),
            stxw(header(record, "parent_pid"), R0),
        ]

    def on_fork(self) -> Code:
        """sched_process_fork(parent, child): called before the child runs for the first time."""
        return [
            ldxdw(R6, R1 + 8),
            get_thread(),
            self.only_followed(),
            get_field(R7, R6, "task_struct", "tgid"),
            ldxw(R1, TGID),
            jeq(R7, R1, "out"),  # not a process, a thread
            stxw(TID, R7),
            self.put_process(TID),
            leave(),
        ]

    def on_exit(self) -> Code:
        """sched_process_exit(task): a thread ends."""
        signal_group_exit = 4  # include/linux/sched/signal.h
        return [
            ldxdw(R6, R1 + 0),
            get_thread(),
            delete(self.arguments, TID),  # it may be killed in the middle of execve()
            lookup(self.processes, TGID),
            jeq(R0, 0, "out"),
            get_field(R8, R6, "task_struct", "signal"),
            get_field(R0, R8, "signal_struct", "live.counter"),
            jne(R0, 0, "out"),  # not the last thread
            # As wait() does: the status of the process if it ended as a whole, else that of its
            # first thread.
            get_field(R9, R8, "signal_struct", "group_exit_code"),
            get_field(R0, R8, "signal_struct", "flags"),
            jset(R0, signal_group_exit, "status"),
            get_field(R7, R6, "task_struct", "group_leader"),
            get_field(R9, R7, "task_struct", "exit_code"),
            Label("status"),
            [stdw(EXIT_RECORD + at, 0) for at in range(0, HEADER.size, 8)],
            self.fill_header(EXIT_RECORD, EXIT),
            stxw(header(EXIT_RECORD, "status"), R9),
            self.send(address(R2, EXIT_RECORD), [mov(R3, HEADER.size)]),
            # Behind the record: whoever finds `processes` empty finds every record in the ring.
            delete(self.processes, TGID),
            leave(),
        ]


# ---------------------------------------------------------------------------------------------
# What is made of the records.


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


# How far the wall clock is ahead of the kernel's monotonic one, in nanoseconds.
WALL_CLOCK = time.time_ns() - time.monotonic_ns()


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


class Table:
    """One line for each event, for people."""

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.terminal = out.isatty()
        self.write("TIME", " ", "PID", "PPID", "UID", "COMMAND", "STATUS", "ARGUMENTS")

    def show(self, event: Execution | End) -> None:
        # The end of a process is shown as whose it was, not as what it had become meanwhile.
        header = (event.execution if isinstance(event, End) else event).header
        who = header.pid, header.parent_pid, header.uid, printable(header.command)
        moment = datetime.fromtimestamp((event.header.time + WALL_CLOCK) / 1e9)
        clock = moment.strftime("%H:%M:%S.%f")[:-3]
        if isinstance(event, Execution):
            arguments = shlex.join(map(printable, event.arguments))
            cut = "" if header.complete else " (incomplete)"
            self.write(clock, "+", *who, "", arguments + cut)
        else:
            status = event.header.status
            duration = describe_duration(event.header.time - header.time)
            dumped = ", core dumped" if os.WCOREDUMP(status) else ""
            self.write(clock, "-", *who, describe_status(status), f"after {duration}{dumped}")

    def write(self, moment: str, mark: str, *columns: object) -> None:
        width = shutil.get_terminal_size().columns if self.terminal else sys.maxsize
        if width < 100:
            moment = moment[:8]  # leave the room to the arguments
        line = "{} {:>7} {:>7} {:>5} {:<15} {:<7} {}".format(mark, *columns)
        time_width = 8 if width < 100 else 12
        print(fit(f"{moment:<{time_width}} {line}", width), file=self.out, flush=True)


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
            "time": (event.header.time + WALL_CLOCK) / 1e9,
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


# ---------------------------------------------------------------------------------------------
# The command line.


class Command:
    """The command to trace, as a child process."""

    def __init__(self, arguments: list[str], kernel: Kernel) -> None:
        """Start it. Tracing has to be attached before: nothing is missed then."""
        self.status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            self._become(arguments, kernel)

    def _become(self, arguments: list[str], kernel: Kernel) -> None:
        """Execute it, in the child."""
        status = 126
        try:
            kernel.follow_current()
            # Python ignores this one, and what is ignored stays so in a new program.
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.execvp(arguments[0], arguments)
        except OSError as error:
            status = 127 if error.errno == errno.ENOENT else 126
            print(f"execsnoop: {arguments[0]}: {error.strerror}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)

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


class Trace:
    """Reading records until the trace is over."""

    # In seconds: how soon a signal or the end of the command is noticed.
    TICK = 0.1

    def __init__(self, kernel: Kernel, command: Command | None) -> None:
        self.kernel = kernel
        self.command = command
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
        if not self.command.ended():
            return False
        # A process whose end was skipped stays in the map: then there is no waiting for it.
        return self.kernel.followed_are_gone() or self.kernel.skipped_runs() > 0

    def records(self) -> Iterator[bytes]:
        with ebpf.RingBuffer(self.kernel.events) as ring:
            while True:
                # First this, then the records: those that were there before the end are shown.
                over = self.over()
                yield from ring.read_batch()
                if over:
                    return
                select.select([ring], [], [], self.TICK)


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    options, command = argv, None
    if "--" in argv:
        cut = argv.index("--")
        options, command = argv[:cut], argv[cut + 1 :]
    parser = argparse.ArgumentParser(
        prog="execsnoop",
        usage="execsnoop.py [options] [-- COMMAND ARGUMENTS...]",
        description=(__doc__ or "").partition(": ")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("-o", "--output", metavar="FILE", help="write there, not to stdout")
    parser.add_argument(
        "--ring-size",
        type=int,
        default=1 << 22,
        metavar="BYTES",
        help="of the ring buffer: more if events are lost; a power of two (4194304)",
    )
    arguments = parser.parse_args(options)
    if command == []:
        parser.error("there is no command after --")
    size, page = arguments.ring_size, os.sysconf("SC_PAGE_SIZE")
    if not page <= size < 1 << 32 or size & (size - 1):
        parser.error(f"--ring-size: {size} is not a power of two, {page} or more, below 4 GiB")
    arguments.command = command
    return arguments


def attach(kernel: Kernel) -> None:
    kernel.attach()
    try:
        kernel.attach_system_calls()
    except FileNotFoundError as error:
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
        command = Command(options.command, kernel) if options.command else None
        tracing = Trace(kernel, command)
        if command is None:
            print("execsnoop: tracing; Ctrl-C ends it", file=sys.stderr, flush=True)
        decoder = Decoder()
        try:
            for record in tracing.records():
                event = decoder.decode(record)
                if event is not None:
                    show(event)
        except BrokenPipeError:
            # `| head` has what it wanted. What Python has not yet written must not go there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        lost = kernel.lost[0] + kernel.skipped_runs()
        if lost:
            print(f"execsnoop: lost events: {lost}; try a larger --ring-size", file=sys.stderr)
        return command.wait() if command else 0


def main(argv: list[str]) -> int:
    options = parse_arguments(argv)
    try:
        if options.output is None:
            sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
            return trace(options, sys.stdout)
        with open(options.output, "w", encoding="utf-8", errors="backslashreplace") as out:
            return trace(options, out)
    except (ebpf.EbpfError, OSError) as error:
        print(f"execsnoop: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT  # before the trace began


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
