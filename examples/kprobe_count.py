#!/usr/bin/env python3
"""kprobe_count: which programs call a function of the kernel, and how often.

    sudo python kprobe_count.py                         vfs_read, until Ctrl-C
    sudo python kprobe_count.py do_unlinkat --seconds 5

The kernel counts; this only reads the counts when it is done.
"""

from __future__ import annotations

from typing import Annotated

import ebpf
from ebpf.asm import R0, R1, R2, R10, add, call, exit_, mov, snippets, stdw
from ebpf.codec import Char
from parts.counting import counter, wait
from parts.terminal import escape_output, printable

NAME_SIZE = 16  # of a program's name in the kernel, TASK_COMM_LEN


def program(counts: ebpf.HashMap[str, int]) -> list[object]:
    """counts[name of the current program] += 1"""
    name = R10 - NAME_SIZE
    return [
        # Some kernels (6.1) leave alone what is behind the end of the name, and it is in the key.
        stdw(name, 0),
        stdw(name + 8, 0),
        mov(R1, R10),
        add(R1, name.offset),
        mov(R2, NAME_SIZE),
        call("get_current_comm"),
        # Atomically, because programs on several CPUs may add to the same value.
        snippets.count(counts, name, buffer=name - 8),
        mov(R0, 0),
        exit_(),
    ]


def report(counts: dict[str, int], function: str) -> None:
    print(f"{'PROGRAM':<{NAME_SIZE}} CALLS OF {function}")
    for name, count in sorted(counts.items(), key=lambda item: item[1], reverse=True):
        # Programs name themselves as they like.
        print(f"{printable(name):<{NAME_SIZE}} {count}")


def main() -> None:
    parser = counter(__doc__)
    parser.add_argument("function", nargs="?", default="vfs_read", help="(vfs_read)")
    options = parser.parse_args()
    escape_output()
    try:
        with ebpf.HashMap.create(
            ebpf.MapType.HASH,
            key=Annotated[str, Char(NAME_SIZE)],
            value="Q",
            max_entries=4096,
            name="counts",
        ) as counts:
            with ebpf.Program.load(
                ebpf.ProgramType.KPROBE, program(counts), license="GPL", name="count"
            ) as counting:
                counting.attach_kprobe(options.function)
                wait("kprobe_count", options.seconds)
            # The program is closed, and with it detached: the counts stand still.
            report(counts.to_dict(), options.function)
    except ebpf.BpfError as error:
        # No such function (with the nearest names), no permission, or a kernel without kprobes.
        raise SystemExit(f"kprobe_count: {error}") from None


if __name__ == "__main__":
    main()
