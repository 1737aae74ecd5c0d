"""Which process a program runs in, by the id that this machine or this container has for it."""

from __future__ import annotations

import os
from typing import NamedTuple

from ebpf.asm import R0, R1, R2, R3, R4, Memory, add, call, lddw, ldxw, mov, rsh

Code = list[object]

# The number of the machine's own pid namespace (PROC_PID_INIT_INO of include/linux/proc_ns.h).
INITIAL = 0xEFFFFFFC


class Namespace(NamedTuple):
    """A pid namespace. A container has one: its processes have ids there that are its own."""

    device: int
    number: int

    @classmethod
    def of(cls, process: int | str) -> Namespace:
        if not os.path.exists("/proc/self/ns/pid"):
            # A kernel that was built without them.
            return cls(0, INITIAL)
        found = os.stat(f"/proc/{process}/ns/pid")
        # As the kernel keeps the numbers of devices.
        device = os.major(found.st_dev) << 20 | os.minor(found.st_dev)
        return cls(device, found.st_ino)

    def current(self, buffer: Memory) -> Code:
        """R0 = id of the process that runs, 0 where it is in another namespace.

        `buffer` is 8 bytes on the stack. The machine's own namespace has an id for every process.
        """
        if self.number == INITIAL:
            return [call("get_current_pid_tgid"), rsh(R0, 32)]
        return [
            lddw(R1, self.device),
            lddw(R2, self.number),
            mov(R3, buffer.base),
            add(R3, buffer.offset),
            mov(R4, 8),
            # struct bpf_pidns_info: the ids of the thread and of its process.
            call("get_ns_current_pid_tgid"),
            ldxw(R0, buffer + 4),
        ]


def innermost_id(pid: int) -> int:
    """The id that the process `pid` has in its own namespace."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        # The second has its ids in each namespace that it is in, where there are any.
        lines = [line for line in file if line.startswith(("Tgid:", "NStgid:"))]
    return int(lines[-1].split()[-1])
