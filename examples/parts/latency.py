"""Measuring how long something takes: programs for its start and its end, and a histogram.

Both programs find the same thing under the same key, which each leaves in R6: a thread that calls a
function, a task that waits for a processor. The histogram has a slot for each power of two.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ebpf
from ebpf.asm import R0, R6, R7, R10, Label, call, exit_, ldxdw, mov, snippets, stxdw, stxw, sub

SLOTS = 64

# The thread that runs.
THREAD: list[Any] = [call("get_current_pid_tgid"), mov(R6, R0)]

Starts = ebpf.HashMap[int, int]
Histogram = ebpf.ArrayMap[int]

RETURN: list[Any] = [mov(R0, 0), exit_()]


@contextmanager
def maps() -> Iterator[tuple[Starts, Histogram]]:
    """When each thing that is under way began, and the histogram; both in nanoseconds."""
    with (
        ebpf.HashMap.create(key="Q", value="Q", max_entries=16384, name="starts") as starts,
        ebpf.ArrayMap.create(value="Q", max_entries=SLOTS, name="histogram") as histogram,
    ):
        yield starts, histogram


def start(starts: Starts) -> list[Any]:
    """starts[R6] = now"""
    return [
        stxdw(R10 - 8, R6),
        call("ktime_get_ns"),
        stxdw(R10 - 16, R0),
        snippets.update(starts, R10 - 8, R10 - 16),
    ]


def end(starts: Starts, histogram: Histogram) -> list[Any]:
    """histogram[power of two of the time since starts[R6]] += 1; what has no start is left out."""
    return [
        stxdw(R10 - 8, R6),
        snippets.lookup(starts, R10 - 8, "ended"),
        ldxdw(R7, R0 + 0),
        snippets.delete(starts, R10 - 8),
        call("ktime_get_ns"),
        sub(R0, R7),
        mov(R6, R0),
        snippets.log2(R7, R6),
        stxw(R10 - 12, R7),
        # A slot is a key as any other.
        snippets.count(histogram, R10 - 12, buffer=R10 - 24),
        Label("ended"),
    ]


def load(type: ebpf.ProgramType, insns: list[Any], name: str) -> ebpf.Program:
    return ebpf.Program.load(type, insns, license="GPL", name=name)


def duration(nanoseconds: int) -> str:
    """A power of two in three digits: 1.05ms."""
    value, units = float(nanoseconds), ["ns", "us", "ms", "s"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.3g}{units[0]}"


def report(title: str, histogram: Histogram) -> None:
    """Print the slots from the first to the last that counted something."""
    counts = list(histogram)
    used = [slot for slot, count in enumerate(counts) if count]
    print(f"{title}: {sum(counts)} times")
    if not used:
        return
    for slot in range(used[0], used[-1] + 1):
        bar = "#" * round(counts[slot] * 40 / max(counts))
        print(f"{duration(1 << slot):>7} .. {duration(2 << slot):<7} | {counts[slot]:>8} | {bar}")
