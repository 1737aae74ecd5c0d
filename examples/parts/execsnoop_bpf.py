"""The BPF programs of execsnoop, written with `ebpf.asm`."""

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

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any

import ebpf
from ebpf import asm
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R8,
    R9,
    R10,
    Label,
    Memory,
    Register,
    add,
    call,
    exit_,
    ja,
    jeq,
    jge,
    jle,
    jne,
    jset,
    ldxdw,
    ldxw,
    mov,
    rsh,
    snippets,
    stdw,
    stw,
    stxdw,
    stxw,
    sub,
)
from ebpf.asm.fresh import fresh
from ebpf.codec import Char, codec, s32, u32, u64
from ebpf.kernel_btf import kernel_btf
from parts.command import skipped_runs

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

# R1 to R5 are lost in each call, so what is kept is in R6 to R9 or on the stack.

TID = R10 - 4  # thread id
TGID = R10 - 8  # thread group id, what user space calls pid
VALUE = R10 - 16  # 8 bytes to read something into
SAVED = R10 - 24
EXIT_RECORD = R10 - 24 - HEADER.size


# What differs between kernels.
TASK = asm.Struct("task_struct", kernel_btf)


def get(result: Register, path: str) -> Code:
    """result = a field of the task in R6, or of what that leads to; 0 where it cannot be read."""
    return TASK.read(result, R6, path, buffer=VALUE)


def read_user(target: Memory, size: int | Register, source: Register) -> Code:
    """Copy memory of the caller; R0 is 0 where all of it is there. `size` may be R2."""
    return [
        [mov(R2, size)] if size != R2 else [],
        mov(R3, source),
        mov(R1, target.base),
        add(R1, target.offset),
        call("probe_read_user"),
    ]


def get_thread() -> Code:
    """Put the ids of the current thread into TID and TGID."""
    return [
        call("get_current_pid_tgid"),
        stxw(TID, R0),
        rsh(R0, 32),
        stxw(TGID, R0),
    ]


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

    def all_ended(self) -> bool:
        """Whether no process that was followed is left, so that no more records will come."""
        # A process whose end was skipped stays in the map: then there is no waiting for it.
        return not any(True for _ in self.processes) or skipped_runs(self.programs) > 0

    def lost_events(self) -> int:
        return int(self.lost[0]) + skipped_runs(self.programs)

    def get_scratch(self, slot: int) -> Code:
        return [stw(VALUE, slot), snippets.lookup(self.scratch, VALUE, "out")]

    def only_followed(self) -> Code:
        """Leave the program if TGID is not to be traced."""
        return [snippets.lookup(self.processes, TGID, "out")] if self.follow else []

    def put_process(self, key: Memory) -> Code:
        return [
            stw(VALUE, 0),
            snippets.update(self.processes, key, VALUE),
            self.count_failure(),
        ]

    def count_failure(self) -> Code:
        """If the call before this failed, count a lost event."""
        succeeded = fresh("succeeded")
        return [jeq(R0, 0, succeeded), snippets.add_to(self.lost), Label(succeeded)]

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
            self.copy_strings(),
            stxw(header(R8 + 0, "length"), R7),
            # When the map is full on_exec does without.
            snippets.update(self.arguments, TID, R8),
            leave(),
        ]

    def copy_strings(self) -> Code:
        """Copy the strings whose addresses are at R6 to the record R8; R7: how many bytes."""
        return [
            mov(R7, 0),  # bytes so far
            mov(R9, 0),  # strings so far
            stw(header(R8 + 0, "complete"), 0),
            Label("next"),
            jge(R9, MAX_STRINGS, "done"),
            read_user(VALUE, 8, R6),
            jne(R0, 0, "done"),  # -EFAULT: argv is paged out
            ldxdw(R3, VALUE),
            jeq(R3, 0, "all"),
            jge(R7, STRING_SIZE, "done"),
            mov(R1, R8),
            add(R1, R7),
            # -EFAULT: the string is paged out
            snippets.read_str(R1 + HEADER.size, STRING_SIZE, R3, "done", user=True),
            jge(R0, STRING_SIZE, "done"),  # cut off
            add(R7, R0),
            add(R6, 8),
            add(R9, 1),
            ja("next"),
            Label("all"),
            stw(header(R8 + 0, "complete"), 1),
            Label("done"),
        ]

    def on_sys_exit(self) -> Code:
        """execve() failed, which is how PATH is searched: that was no execution."""
        return [get_thread(), snippets.delete(self.arguments, TID), leave()]

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
            snippets.lookup(self.arguments, TID),
            mov(R8, R0),
            jeq(R8, 0, "read_image"),
            ldxw(R1, header(R8 + 0, "complete")),
            jne(R1, 0, "send"),
            Label("read_image"),
            self.read_image(),
            Label("send"),
            self.fill_header(R8 + 0, EXEC),
            mov(R1, R8),
            add(R1, HEADER.offsetof("command")),
            mov(R2, 16),
            call("get_current_comm"),
            ldxw(R7, header(R8 + 0, "length")),
            jle(R7, ARGUMENTS_SIZE, "fits"),  # it always does, but the verifier cannot know
            mov(R7, 0),
            Label("fits"),
            add(R7, HEADER.size),
            snippets.ring_output(self.events, R8, R7),
            self.count_failure(),
            snippets.delete(self.arguments, TID),
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
            get(R0, "mm.arg_end"),
            stxdw(SAVED, R0),
            get(R7, "mm.arg_start"),
            ldxdw(R2, SAVED),
            sub(R2, R7),
            jle(R2, ARGUMENTS_SIZE, "whole"),
            mov(R2, ARGUMENTS_SIZE),
            ja("read"),
            Label("whole"),
            stw(header(R9 + 0, "complete"), 1),
            Label("read"),
            stxw(header(R9 + 0, "length"), R2),
            read_user(R9 + HEADER.size, R2, R7),
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
            get(R0, "real_parent.tgid"),
            stxw(header(record, "parent_pid"), R0),
        ]

    def on_fork(self) -> Code:
        """sched_process_fork(parent, child): called before the child runs for the first time."""
        return [
            ldxdw(R6, R1 + 8),
            get_thread(),
            self.only_followed(),
            get(R7, "tgid"),
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
            snippets.delete(self.arguments, TID),  # it may be killed in the middle of execve()
            snippets.lookup(self.processes, TGID, "out"),
            get(R0, "signal.live.counter"),
            jne(R0, 0, "out"),  # not the last thread
            # As wait() does: the status of the process if it ended as a whole, else that of its
            # first thread.
            get(R9, "signal.group_exit_code"),
            get(R0, "signal.flags"),
            jset(R0, signal_group_exit, "status"),
            get(R9, "group_leader.exit_code"),
            Label("status"),
            [stdw(EXIT_RECORD + at, 0) for at in range(0, HEADER.size, 8)],
            self.fill_header(EXIT_RECORD, EXIT),
            stxw(header(EXIT_RECORD, "status"), R9),
            snippets.ring_output(self.events, EXIT_RECORD, HEADER.size),
            self.count_failure(),
            # Behind the record: whoever finds `processes` empty finds every record in the ring.
            snippets.delete(self.processes, TGID),
            leave(),
        ]
