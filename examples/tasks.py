#!/usr/bin/env python3
"""tasks: the threads of this machine, as the kernel itself lists them.

    sudo python tasks.py                    every thread
    sudo python tasks.py --pid 1            those of one process (Linux 6.1)
    sudo python tasks.py --name systemd

An iterator is a program that the kernel runs for each of its objects while somebody reads. What the
program writes is what is read: here a record of fixed size for each thread. Kernel threads have
their names in brackets. In a container its threads are listed, with the ids that they have outside
of it; --pid takes the container's.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import ebpf
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R10,
    Label,
    add,
    call,
    exit_,
    jeq,
    ldxdw,
    ldxw,
    mov,
    stxw,
)
from ebpf.codec import Char, codec, u32
from ebpf.kernel_btf import kernel_btf
from parts.terminal import escape_output, printable

KERNEL_THREAD = 0x00200000  # PF_KTHREAD of include/linux/sched.h


@dataclass
class Task:
    thread: u32
    process: u32
    parent: u32
    flags: u32
    name: Annotated[str, Char(16)]


def program() -> list[object]:
    """Writes a Task for each thread; R6 is the context, R7 the thread's struct task_struct."""
    record = codec(Task)
    task = kernel_btf().find_struct("task_struct")
    start = R10 - record.size

    def copy(field: str, source: str) -> list[object]:
        """A number of the struct into a field of the record."""
        at = start.offset + record.offsetof(field)
        return [ldxw(R1, R7 + task.offsetof(source)), stxw(R10 + at, R1)]

    return [
        mov(R6, R1),
        # struct bpf_iter__task: what belongs to the walk, then the thread; none after the last one.
        ldxdw(R7, R6 + 8),
        jeq(R7, 0, "end"),
        copy("thread", "pid"),
        copy("process", "tgid"),
        copy("flags", "flags"),
        ldxdw(R1, R7 + task.offsetof("real_parent")),
        ldxw(R1, R1 + task.offsetof("tgid")),
        stxw(R10 + (start.offset + record.offsetof("parent")), R1),
        mov(R1, R10),
        add(R1, start.offset + record.offsetof("name")),
        mov(R2, 16),
        mov(R3, R7),
        add(R3, task.offsetof("comm")),
        call("probe_read_kernel"),
        # struct bpf_iter_meta begins with the file that is read.
        ldxdw(R1, R6 + 0),
        ldxdw(R1, R1 + 0),
        mov(R2, R10),
        add(R2, start.offset),
        mov(R3, record.size),
        call("seq_write"),
        Label("end"),
        mov(R0, 0),
        exit_(),
    ]


def tasks(pid: int | None) -> Iterator[Task]:
    """Every thread, or those of one process."""
    with ebpf.Program.load(
        ebpf.ProgramType.TRACING,
        program(),
        license="GPL",
        attach_type=ebpf.AttachType.TRACE_ITER,
        attach_to="task",
        name="tasks",
    ) as iterator:
        yield from iterator.attach_iter(pid=pid).records(Task)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pid", type=int, help="the threads of this process only")
    parser.add_argument("--name", help="threads with this name only")
    options = parser.parse_args()
    # `| head` has what it wanted: end, as other programs do.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    escape_output()
    print(f"{'PROCESS':>7} {'THREAD':>7} {'PARENT':>7} NAME")
    try:
        for task in tasks(options.pid):
            # Threads name themselves as they like, and the kernel cuts characters in half.
            name = printable(task.name)
            shown = f"[{name}]" if task.flags & KERNEL_THREAD else name
            if options.name in (None, task.name):
                print(f"{task.process:7} {task.thread:7} {task.parent:7} {shown}")
    except ebpf.EbpfError as error:
        # No such process, no permission, or a kernel without what this takes.
        raise SystemExit(f"tasks: {error}") from None


if __name__ == "__main__":
    main()
