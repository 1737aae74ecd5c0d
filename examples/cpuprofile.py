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
import errno
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

import ebpf
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R6,
    R10,
    Label,
    Memory,
    add,
    call,
    exit_,
    jeq,
    jne,
    ld_map_fd,
    mov,
    rsh,
    snippets,
    stdw,
    stxw,
)
from ebpf.symbols import Frame
from ebpf.types import PerfSoftware
from parts.flamegraph import flame_graph
from parts.processes import Namespace, innermost_id
from parts.terminal import escape_output, printable

USER_STACK = 1 << 8  # BPF_F_USER_STACK
# pid, id of the user stack, id of the kernel stack (or a negative errno), name of the process
KEY = "Iii16s"
KEY_SIZE = 32
# Seconds between two looks: a process has to be there when the names of its functions are read.
LOOK = 0.2

Stacks = ebpf.StackTraceMap[tuple[int, ...]]
Key = tuple[int, int, int, bytes]
Counts = ebpf.HashMap[Key, int]
Taken = ebpf.ArrayMap[int]


def sampler(stacks: Stacks, counts: Counts, taken: Taken, pid: int | None) -> list[object]:
    """Counts the stacks that it interrupts, and all samples in `taken`; R6 is its context."""
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
        snippets.add_to(taken, 0),
        snippets.count(counts, key, buffer=key - 8),
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
        self.names: dict[Key, tuple[str, ...]] = {}

    def look(self) -> None:
        """Resolve the stacks that are new, while their processes are there."""
        for key in list(self.counts.keys()):
            if key not in self.names:
                self.names[key] = self._fold(*key)

    def _fold(self, pid: int, user: int, kernel: int, name: bytes) -> tuple[str, ...]:
        process = name.partition(b"\0")[0]
        outer = self._labels(user, lambda found: self.symbolizer.process(pid, found))
        inner = self._labels(kernel, self.symbolizer.kernel)
        names = [*outer, *(f"{label}_[k]" for label in inner)]
        # Processes, files and what a JIT makes may be named with anything.
        return (printable(process), *map(printable, names))

    def _labels(self, id: int, resolve: Callable[[Sequence[int]], list[Frame]]) -> list[str]:
        """The functions of a stack, the outermost first."""
        if is_lost(id):
            return ["[lost]"]
        frames = resolve(self.stacks[id]) if id >= 0 else []
        # The kernel has the innermost one first.
        return [frame.label for frame in reversed(frames)]

    def folded(self) -> Counter[tuple[str, ...]]:
        """How often each stack was seen."""
        self.look()
        found: Counter[tuple[str, ...]] = Counter()
        for key, count in self.counts.items():
            found[self.names[key]] += count
        return found

    def complain(self, taken: int) -> None:
        """Say what there was no room for, of the samples that were taken."""
        counts = self.counts.to_dict()
        missed = taken - sum(counts.values())
        lost = sum(n for (_, *ids, _), n in counts.items() if any(map(is_lost, ids)))
        if missed or lost:
            print(
                f"cpuprofile: {missed} samples were not counted, and of {lost} a stack is [lost]:"
                " there was no room for them; make it with --stacks",
                file=sys.stderr,
            )


def is_lost(id: int) -> bool:
    """Whether this in the place of a stack's id means that it could not be kept."""
    # A thread of the kernel has no user stack, and one that runs its own code no kernel stack.
    return id < 0 and id != -errno.EFAULT


def profile(pid: int | None, seconds: float, frequency: int, room: int) -> Counter[tuple[str, ...]]:
    with contextlib.ExitStack() as opened:
        stacks = opened.enter_context(ebpf.StackTraceMap.create(max_entries=room))
        # Twice as many, because several processes may have the same stack.
        counts = opened.enter_context(
            ebpf.HashMap.create(key=KEY, value="Q", max_entries=2 * room, name="counts")
        )
        taken = opened.enter_context(ebpf.ArrayMap.create(value="Q", max_entries=1, name="taken"))
        program = opened.enter_context(
            ebpf.Program.load(
                ebpf.ProgramType.PERF_EVENT,
                sampler(stacks, counts, taken, pid),
                license="GPL",
                name="sample",
            )
        )
        result = Profile(stacks, counts)
        link = program.attach_perf_event(PerfSoftware.CPU_CLOCK, frequency=frequency)
        print(f"sampling {frequency} times a second", file=sys.stderr, flush=True)
        end = time.monotonic() + seconds
        with contextlib.suppress(KeyboardInterrupt):
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(left, LOOK))
                result.look()
        # From here on the numbers stand still.
        link.close()
        result.complain(taken[0])
        return result.folded()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pid", type=int, help="one process")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long (5)")
    parser.add_argument("--frequency", type=int, default=99, metavar="HZ", help="samples (99)")
    parser.add_argument(
        "--stacks", type=int, default=1 << 14, metavar="N", help="room for different ones (16384)"
    )
    parser.add_argument("--svg", metavar="FILE", help="write a flame graph")
    options = parser.parse_args()
    if options.pid is not None and not os.path.exists(f"/proc/{options.pid}"):
        raise SystemExit(f"cpuprofile: there is no process {options.pid}")
    escape_output()
    try:
        stacks = profile(options.pid, options.seconds, options.frequency, options.stacks)
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
