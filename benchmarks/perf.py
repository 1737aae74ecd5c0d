"""Draining a full perf buffer: this library, a C program, and libbpf, record by record.

As benchmarks/ring.py, but for the map: a perf event belongs to one reader, so each has a map, and a
program that fills it, of its own. All records are written on one CPU.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import ebpf
from benchmarks.table import Table, interleave
from ebpf import asm
from ebpf.asm import R0, R1, R2, R3, R4, R5, R6, R7, R10

RING_SIZE = 1 << 24
RECORDS_PER_RUN = 2048
ROUNDS = 15
CPU = 0
RECORD_SIZE = 16
# What a record of 16 bytes takes of the ring: header, length, data and padding.
STRIDE = 32
RUNS = RING_SIZE // STRIDE // RECORDS_PER_RUN - 1


def filler(events: ebpf.Map[int, int]) -> list[object]:
    """A program that writes RECORDS_PER_RUN records."""
    return [
        asm.mov(R6, R1),
        asm.mov(R7, RECORDS_PER_RUN),
        *(asm.stdw(R10 - offset, offset) for offset in range(8, RECORD_SIZE + 1, 8)),
        asm.Label("next"),
        asm.mov(R1, R6),
        asm.ld_map_fd(R2, events),
        asm.mov32(R3, -1),  # BPF_F_CURRENT_CPU
        asm.mov(R4, R10),
        asm.add(R4, -RECORD_SIZE),
        asm.mov(R5, RECORD_SIZE),
        asm.call("perf_event_output"),
        asm.jne(R0, 0, "full"),
        asm.sub(R7, 1),
        asm.jne(R7, 0, "next"),
        asm.Label("full"),
        asm.mov(R0, R7),
        asm.exit_(),
    ]


class Bench:
    """A perf event array with its filler."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.stack = stack
        self.events = stack.enter_context(
            ebpf.Map.create(ebpf.MapType.PERF_EVENT_ARRAY, name="bench")
        )
        self.program = stack.enter_context(
            ebpf.Program.load(
                ebpf.ProgramType.RAW_TRACEPOINT, filler(self.events), license="GPL", name="fill"
            )
        )

    def fill(self) -> None:
        for _ in range(RUNS):
            run = self.program.test_run(cpu=CPU, flags=ebpf.TestRunFlags.RUN_ON_CPU)
            if run.return_value:
                raise SystemExit(f"{run.return_value} records of a run had no room")

    def read(
        self, drain: Callable[[ebpf.PerfBuffer], int], codec: object = None
    ) -> Callable[[], float]:
        """A measurement: fill, drain, nanoseconds per record."""
        reader = self.stack.enter_context(
            ebpf.PerfBuffer(self.events, codec, size=RING_SIZE, record_size=RECORD_SIZE)
        )

        def measure() -> float:
            self.fill()
            start = time.perf_counter_ns()
            count = drain(reader)
            return per_record(time.perf_counter_ns() - start, count)

        return measure

    def told(self, source: str, *libraries: str) -> Callable[[], float] | None:
        """The same, by a C program that answers "NANOSECONDS RECORDS"."""
        program = compile_c(self.stack, source, *libraries)
        if program is None:
            return None
        process = self.stack.enter_context(
            subprocess.Popen(
                [program, str(self.events.fileno()), str(CPU), str(RING_SIZE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[self.events.fileno()],
                text=True,
            )
        )
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout
        self.stack.callback(stdin.close)
        if stdout.readline() != "ready\n":
            raise SystemExit(f"{source} did not start")

        def measure() -> float:
            self.fill()
            stdin.write("\n")
            stdin.flush()
            elapsed, count = map(int, stdout.readline().split())
            return per_record(elapsed, count)

        return measure


def compile_c(stack: contextlib.ExitStack, source: str, *libraries: str) -> str | None:
    """The compiled program, or None where a library is missing."""
    path = Path(__file__).parent / source
    program = f"{stack.enter_context(tempfile.TemporaryDirectory())}/{path.stem}"
    compiled = subprocess.run(
        ["cc", "-O2", "-o", program, str(path), *libraries], capture_output=True, text=True
    )
    if compiled.returncode == 0:
        return program
    if not libraries:
        raise SystemExit(compiled.stderr)
    print(f"left out: {source} (apt-get install libbpf-dev)", file=sys.stderr)
    return None


def per_record(elapsed: int, count: int) -> float:
    if count != RUNS * RECORDS_PER_RUN:
        raise SystemExit(f"drained {count} records of {RUNS * RECORDS_PER_RUN}: no figure")
    return elapsed / count


def drain_buffer(reader: ebpf.PerfBuffer) -> int:
    total = 0
    while count := len(reader.read_buffer()):
        total += count
    return total


def drain_batch(reader: ebpf.PerfBuffer) -> int:
    total = 0
    while batch := reader.read_batch(65536):
        total += len(batch)
    return total


def iterate(reader: ebpf.PerfBuffer) -> int:
    total = 0
    while reader.read() is not None:
        total += 1
    return total


def measure() -> dict[str, list[float]]:
    with contextlib.ExitStack() as stack:
        ways: dict[str, Callable[[], float] | None] = {
            "C, bulk copy into a buffer": Bench(stack).told("perf_copy.c"),
            "libbpf in C, callback that counts": Bench(stack).told("perf_libbpf.c", "-lbpf"),
            "read_buffer()": Bench(stack).read(drain_buffer),
            "read_batch(), bytes": Bench(stack).read(drain_batch),
            "read_batch(), codec '2Q'": Bench(stack).read(drain_batch, "2Q"),
            "read(), bytes, one by one": Bench(stack).read(iterate),
        }
        return interleave({name: way for name, way in ways.items() if way is not None}, ROUNDS)


def run() -> list[Table]:
    """16-byte records, the size that the figures of the documentation are about."""
    return [Table("drain a full perf buffer of 16-byte records", "ns per record", measure())]
