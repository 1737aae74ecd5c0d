#!/usr/bin/env python3
"""cpuprofile: where the processors spend their time, as folded stacks and as a flame graph.

    sudo python cpuprofile.py                            the machine, for five seconds
    sudo python cpuprofile.py --pid 1234 --seconds 10    one process, with its threads
    sudo python cpuprofile.py --svg profile.svg          the flame graph; look at it in a browser

A program runs a hundred times a second on each processor and counts the stacks of user space and
kernel that it finds there. What is printed has a line for each stack, the outermost function first,
and how often it was seen: the form that other tools for flame graphs take as well.

The kernel follows frame pointers. Programs that were compiled without them have stacks that end
early, or that miss their callers. In a container --pid takes the container's ids, and functions of
processes outside of it have no names.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections import Counter

import ebpf
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R10,
    Label,
    Memory,
    add,
    atomic_add,
    call,
    exit_,
    ja,
    jeq,
    jne,
    ld_map_fd,
    mov,
    rsh,
    stdw,
    stxw,
)
from ebpf.types import PerfSoftware
from parts.flamegraph import flame_graph
from parts.processes import Namespace, innermost_id
from parts.terminal import escape_output, printable

USER_STACK = 1 << 8  # BPF_F_USER_STACK
# pid, id of the user stack, id of the kernel stack (negative: there is none), name of the process
KEY = "Iii16s"
KEY_SIZE = 32
# Seconds between two looks: a process has to be there when the names of its functions are read.
LOOK = 0.2

Stacks = ebpf.StackTraceMap[tuple[int, ...]]
Counts = ebpf.HashMap[tuple[int, int, int, bytes], int]


def sampler(stacks: Stacks, counts: Counts, pid: int | None) -> list[object]:
    """Counts the stacks that it interrupts; R6 is its context."""
    key = R10 - KEY_SIZE
    return [
        mov(R6, R1),
        *(stdw(R10 - at, 0) for at in range(8, KEY_SIZE + 1, 8)),
        *process(pid, key),
        stxw(key, R0),
        *stack(stacks, USER_STACK, 4),
        *stack(stacks, 0, 8),
        mov(R1, R10),
        add(R1, 12 - KEY_SIZE),
        mov(R2, 16),
        call("get_current_comm"),
        ld_map_fd(R1, counts),
        mov(R2, R10),
        add(R2, -KEY_SIZE),
        call("map_lookup_elem"),
        jeq(R0, 0, "first"),
        mov(R1, 1),
        atomic_add(R0 + 0, R1),
        ja("end"),
        Label("first"),
        stdw(R10 - KEY_SIZE - 8, 1),
        ld_map_fd(R1, counts),
        mov(R2, R10),
        add(R2, -KEY_SIZE),
        mov(R3, R10),
        add(R3, -KEY_SIZE - 8),
        mov(R4, 0),
        call("map_update_elem"),
        Label("end"),
        mov(R0, 0),
        exit_(),
    ]


def process(pid: int | None, buffer: Memory) -> list[object]:
    """R0 = id of the process; goes to "end" where it is not to be counted."""
    if pid is not None:
        # By the id that it has where it is, which a process of a container has outside as well.
        own = Namespace.of(pid).current(buffer)
        return [*own, jne(R0, innermost_id(pid), "end"), mov(R0, pid)]
    # Process 0 runs when nobody wants to.
    idle = [call("get_current_pid_tgid"), rsh(R0, 32), jeq(R0, 0, "end")]
    return [*idle, *Namespace.of("self").current(buffer)]


def stack(stacks: Stacks, flags: int, place: int) -> list[object]:
    """Keeps the stack, and writes its id to the key."""
    return [
        mov(R1, R6),
        ld_map_fd(R2, stacks),
        mov(R3, flags),
        call("get_stackid"),
        stxw(R10 - KEY_SIZE + place, R0),
    ]


class Profile:
    """Folded stacks, resolved as they come."""

    def __init__(self, stacks: Stacks, counts: Counts) -> None:
        self.stacks = stacks
        self.counts = counts
        self.symbolizer = ebpf.Symbolizer()
        self.names: dict[tuple[int, int, int, bytes], tuple[str, ...]] = {}

    def look(self) -> None:
        """Resolve the stacks that are new, while their processes are there."""
        for key in list(self.counts.keys()):
            if key not in self.names:
                self.names[key] = self._fold(*key)

    def _fold(self, pid: int, user: int, kernel: int, name: bytes) -> tuple[str, ...]:
        process = name.partition(b"\0")[0]
        outer = [frame.label for frame in self.symbolizer.process(pid, self._addresses(user))]
        inner = self.symbolizer.kernel(self._addresses(kernel))
        kernel_names = [f"{frame.label}_[k]" for frame in inner]
        # The kernel has the innermost function first.
        # Processes, files and what a JIT makes may be named with anything.
        names = [*reversed(outer), *reversed(kernel_names)]
        return (printable(process), *map(printable, names))

    def _addresses(self, id: int) -> tuple[int, ...]:
        # Negative is why there is none: a thread of the kernel has no user stack.
        return self.stacks[id] if id >= 0 else ()

    def folded(self) -> Counter[tuple[str, ...]]:
        """How often each stack was seen."""
        self.look()
        found: Counter[tuple[str, ...]] = Counter()
        for key, count in self.counts.items():
            if key in self.names:
                found[self.names[key]] += count
        return found


def profile(pid: int | None, seconds: float, frequency: int) -> Counter[tuple[str, ...]]:
    with contextlib.ExitStack() as opened:
        stacks = opened.enter_context(ebpf.StackTraceMap.create(max_entries=1 << 14))
        counts = opened.enter_context(
            ebpf.HashMap.create(key=KEY, value="Q", max_entries=1 << 14, name="counts")
        )
        program = opened.enter_context(
            ebpf.Program.load(
                ebpf.ProgramType.PERF_EVENT,
                sampler(stacks, counts, pid),
                license="GPL",
                name="sample",
            )
        )
        result = Profile(stacks, counts)
        program.attach_perf_event(PerfSoftware.CPU_CLOCK, frequency=frequency)
        print(f"sampling {frequency} times a second", file=sys.stderr, flush=True)
        end = time.monotonic() + seconds
        with contextlib.suppress(KeyboardInterrupt):
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(left, LOOK))
                result.look()
        return result.folded()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pid", type=int, help="one process")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long (5)")
    parser.add_argument("--frequency", type=int, default=99, metavar="HZ", help="samples (99)")
    parser.add_argument("--svg", metavar="FILE", help="write a flame graph")
    options = parser.parse_args()
    if options.pid is not None and not os.path.exists(f"/proc/{options.pid}"):
        raise SystemExit(f"cpuprofile: there is no process {options.pid}")
    escape_output()
    try:
        stacks = profile(options.pid, options.seconds, options.frequency)
    except (ebpf.EbpfError, OSError, ValueError) as error:
        raise SystemExit(f"cpuprofile: {error}") from None
    if not stacks:
        print("cpuprofile: no samples: nothing of it has run meanwhile", file=sys.stderr)
    for names, count in sorted(stacks.items()):
        print(f"{';'.join(name.replace(';', ':') for name in names)} {count}")
    if options.svg:
        title = f"{sum(stacks.values())} samples in {options.seconds:g} s"
        with open(options.svg, "w", encoding="utf-8") as file:
            file.write(flame_graph(stacks, title))


if __name__ == "__main__":
    main()
