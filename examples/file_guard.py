#!/usr/bin/env python3
"""file_guard: files that some programs cannot open, and who has tried.

    sudo python file_guard.py --file /etc/shadow --program cat --program less
    sudo python file_guard.py --file ~/.ssh/id_ed25519 --program /usr/bin/python3

Until Ctrl-C, each of the programs gets EPERM ("Operation not permitted") for each of the files,
root's too. Files are known by their inode: another name, a link or a mount makes no difference, but
a new file with the old name is another one. So are programs: a script's is its interpreter. What a
program had open before stays open.

The program in the kernel is called for every file that is opened (LSM hook file_open); marks on the
inodes tell it which files and programs are meant. It takes Linux 5.11, with the BPF LSM among the
active ones.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import ebpf
from ebpf import asm
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R7,
    R10,
    Label,
    Memory,
    Register,
    add,
    call,
    exit_,
    jeq,
    ld_map_fd,
    ldxw,
    mov,
    rsh,
    snippets,
    stxdw,
    stxw,
)
from ebpf.codec import Char, codec, u32, u64
from ebpf.kernel_btf import kernel_btf
from parts.command import Trace
from parts.terminal import Lines, escape_output, printable

Marks = ebpf.StorageMap[int]

EPERM = 1


@dataclass
class Denial:
    time: u64
    process: u32
    user: u32
    file: u32  # which of those that were given
    name: Annotated[str, Char(16)]


def mark(marks: Marks, inode: Register) -> list[object]:
    """R0 points to the mark of an inode; it goes on at "allow" where there is none."""
    return [
        jeq(inode, 0, "allow"),
        ld_map_fd(R1, marks),
        mov(R2, inode),
        mov(R3, 0),
        mov(R4, 0),
        call("inode_storage_get"),
        jeq(R0, 0, "allow"),
    ]


def program(files: Marks, programs: Marks, events: ebpf.Map[object, object]) -> list[object]:
    """Returns 0 for a file that may be opened, and writes a Denial for any other."""
    record = codec(Denial)
    start = R10 - record.size
    arguments = asm.arguments("bpf_lsm_file_open", kernel_btf)
    task = asm.Struct("task_struct", kernel_btf)

    def at(field: str) -> Memory:
        return start + record.offsetof(field)

    return [
        arguments.load(R6, R1, "file"),
        arguments.struct("file").load(R6, R6, "f_inode"),
        mark(files, R6),
        ldxw(R6, R0 + 0),
        call("get_current_task_btf"),
        # What the process executes; a thread of the kernel executes nothing.
        task.load(R7, R0, "mm.exe_file.f_inode"),
        mark(programs, R7),
        stxw(at("file"), R6),
        call("ktime_get_ns"),
        stxdw(at("time"), R0),
        call("get_current_pid_tgid"),
        rsh(R0, 32),
        stxw(at("process"), R0),
        call("get_current_uid_gid"),
        stxw(at("user"), R0),
        mov(R1, R10),
        add(R1, at("name").offset),
        mov(R2, 16),
        call("get_current_comm"),
        snippets.ring_output(events, start, record.size),
        mov(R0, -EPERM),
        exit_(),
        Label("allow"),
        mov(R0, 0),
        exit_(),
    ]


@contextlib.contextmanager
def marked(paths: list[str], name: str) -> Iterator[Marks]:
    """A map in which the inode of each path has its number.

    They are kept open: the kernel drops an inode that nobody uses, and its mark with it.
    """
    with (
        ebpf.StorageMap.create(ebpf.MapType.INODE_STORAGE, value="I", name=name) as marks,
        contextlib.ExitStack() as stack,
    ):
        for number, path in enumerate(paths):
            opened = os.open(path, os.O_PATH)
            stack.callback(os.close, opened)
            marks[opened] = number
        yield marks


def guard(paths: list[str], executables: list[str]) -> None:
    """Deny, and print until Ctrl-C or SIGTERM."""
    with (
        marked(paths, "files") as files,
        marked(executables, "programs") as programs,
        ebpf.Map.create(ebpf.MapType.RINGBUF, max_entries=1 << 18, name="events") as events,
        ebpf.Program.load(
            ebpf.ProgramType.LSM,
            program(files, programs, events),
            license="GPL",
            attach_type=ebpf.AttachType.LSM_MAC,
            attach_to="file_open",
            name="file_guard",
        ) as denying,
    ):
        denying.attach_lsm()
        escape_output()
        lines = Lines(sys.stdout, "{:>7} {:>5} {:16} {}", ("PID", "UID", "NAME", "DENIED"))
        record = codec(Denial)

        def show(data: bytes) -> None:
            denial = record.unpack(data)
            name, path = printable(denial.name), printable(paths[denial.file])
            lines.write(denial.time, denial.process, denial.user, name, path)

        Trace("file_guard", events, None, lambda: False).show(show, sys.stdout)


def executable(name: str) -> str:
    """The file of a program, looked for as a shell does."""
    path = shutil.which(name)
    if path is None:
        raise argparse.ArgumentTypeError(f"there is no program {name!r}")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option, type in (("file", str), ("program", executable)):
        parser.add_argument(
            f"--{option}", type=type, action="append", required=True, help="may be given again"
        )
    options = parser.parse_args()
    try:
        guard(options.file, options.program)
    except (ebpf.EbpfError, OSError) as error:
        # No such file, no permission, or a kernel whose LSMs do not include BPF.
        raise SystemExit(f"file_guard: {error}") from None


if __name__ == "__main__":
    main()
