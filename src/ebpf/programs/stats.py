"""Counting the runs of programs."""

from __future__ import annotations

from ebpf._sys import Descriptor, bpf
from ebpf.types import StatsType


class RunTimeStats(Descriptor):
    """While open, the kernel counts runs and run time of every program (BPF_ENABLE_STATS, 5.8).

    ``ProgramInfo.run_time`` and ``run_count`` then grow, ``average_run_time`` is what a run costs;
    counting costs each run some nanoseconds. Use it as a context manager.
    """

    def __init__(self) -> None:
        super().__init__(bpf.enable_stats(StatsType.RUN_TIME))
