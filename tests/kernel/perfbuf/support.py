"""A program that writes to a perf buffer, on a CPU of one's choice."""

from __future__ import annotations

import os
import sys
from typing import Any

from ebpf import Map, MapType, ProgramType, TestRunFlags
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R10,
    Label,
    add,
    call,
    exit_,
    jlt,
    jne,
    ld_map_fd,
    ldxdw,
    mov,
    mov32,
    stdw,
    stxdw,
)
from tests.kernel.samples import Producer, load


def cpus() -> list[int]:
    """The CPUs that this process may run on."""
    return sorted(os.sched_getaffinity(0))


def perf_map(name: str = "events", **options: Any) -> Map[Any, Any]:
    made: Map[Any, Any] = Map.create(MapType.PERF_EVENT_ARRAY, name=name, **options)
    return made


def padded(size: int) -> int:
    """The length that the kernel gives a record of `size` bytes."""
    return (size + 4 + 7) // 8 * 8 - 4


class PerfProducer(Producer):
    """As a Producer, by bpf_perf_event_output()."""

    def __init__(self, events: Map[Any, Any], size: int = 8, batch: int = 1) -> None:
        room = max((size + 7) // 8 * 8, 8)
        self.size = size
        self.batch = batch
        self.program = load(
            ProgramType.RAW_TRACEPOINT,
            [
                mov(R6, R1),
                ldxdw(R7, R1 + 0),
                mov(R8, 0),
                [stdw(R10 - at, 0) for at in range(8, room, 8)],
                Label("next"),
                stxdw(R10 - room, R7),
                mov(R1, R6),
                ld_map_fd(R2, events),
                # BPF_F_CURRENT_CPU
                mov32(R3, -1),
                mov(R4, R10),
                add(R4, -room),
                mov(R5, size),
                call("perf_event_output"),
                jne(R0, 0, "full"),
                add(R7, 1),
                add(R8, 1),
                jlt(R8, batch, "next"),
                Label("full"),
                mov(R0, R8),
                exit_(),
            ],
            "producer",
        )

    def run(self, first: int = 0, cpu: int | None = None) -> int:
        """Write `batch` records that count from `first`; how many there was room for."""
        run = self.program.test_run(
            ctx=first.to_bytes(8, sys.byteorder),
            flags=0 if cpu is None else TestRunFlags.RUN_ON_CPU,
            cpu=cpu or 0,
        )
        return run.return_value

    def __enter__(self) -> PerfProducer:
        return self
