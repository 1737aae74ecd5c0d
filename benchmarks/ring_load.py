"""A ring buffer under load: a program writes as fast as it can on one CPU, a reader is on another.

What counts is how many records a second arrive, and how many the program had no room for. A reader
that takes each record as it comes slows the program down, because both write to the same cache
lines and the program has to wake it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import ebpf
from benchmarks.perf import compile_c
from benchmarks.table import Table, interleave
from ebpf import asm
from ebpf.asm import R0, R1, R2, R3, R4, R6, R7, R10

RING_SIZE = 1 << 24
RECORD_SIZE = 16
RECORDS_PER_RUN = 2048
SECONDS = 1.0
ROUNDS = 7


def producer(ring: ebpf.Map[None, None], drops: ebpf.Map[int, int]) -> list[object]:
    """Writes RECORDS_PER_RUN records, and counts those that the ring has no room for."""
    return [
        asm.mov(R6, RECORDS_PER_RUN),
        asm.mov(R7, 0),
        *(asm.stdw(R10 - offset, offset) for offset in range(8, RECORD_SIZE + 1, 8)),
        asm.Label("next"),
        asm.ld_map_fd(R1, ring),
        asm.mov(R2, R10),
        asm.add(R2, -RECORD_SIZE),
        asm.mov(R3, RECORD_SIZE),
        asm.mov(R4, 0),
        asm.call("ringbuf_output"),
        asm.jeq(R0, 0, "written"),
        asm.add(R7, 1),
        asm.Label("written"),
        asm.sub(R6, 1),
        asm.jne(R6, 0, "next"),
        asm.stw(R10 - RECORD_SIZE - 8, 0),
        asm.ld_map_fd(R1, drops),
        asm.mov(R2, R10),
        asm.add(R2, -RECORD_SIZE - 8),
        asm.call("map_lookup_elem"),
        asm.jeq(R0, 0, "end"),
        asm.atomic_add(R0 + 0, R7),
        asm.Label("end"),
        asm.mov(R0, 0),
        asm.exit_(),
    ]


def produce(fd: int, cpu: int) -> None:
    """What the producing process does: write until standard input ends."""
    os.sched_setaffinity(0, {cpu})
    os.set_blocking(0, False)
    with ebpf.Program.from_fd(fd) as program:
        print("ready", flush=True)
        while True:
            program.test_run()
            try:
                if not os.read(0, 1):
                    return
            except BlockingIOError:
                continue


class Bench:
    """A ring, a program that writes to it, and the share that arrived in each round."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.stack = stack
        self.cpus = sorted(os.sched_getaffinity(0))[:2]
        if len(self.cpus) < 2:
            raise SystemExit("ring_load: it takes two CPUs")
        self.ring = stack.enter_context(
            ebpf.Map.create(ebpf.MapType.RINGBUF, max_entries=RING_SIZE, name="bench")
        )
        self.drops = stack.enter_context(ebpf.ArrayMap.create(value="Q", max_entries=1))
        self.program = stack.enter_context(
            ebpf.Program.load(
                ebpf.ProgramType.RAW_TRACEPOINT, producer(self.ring, self.drops), license="GPL"
            )
        )
        self.arrived: dict[str, list[float]] = {}

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """While the block runs, another process writes on the first CPU."""
        fd = self.program.fileno()
        command = [sys.executable, "-m", "benchmarks.ring_load", str(fd), str(self.cpus[0])]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[fd]
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()
            yield
            process.stdin.close()

    def measure(self, name: str, consume: Callable[[], tuple[int, float]]) -> Callable[[], float]:
        """Nanoseconds per record that arrived."""

        def measure() -> float:
            before = self.drops[0]
            with ebpf.RingBuffer(self.ring) as rest:
                while len(rest.read_buffer()):
                    pass
            count, seconds = consume()
            dropped = self.drops[0] - before
            self.arrived.setdefault(name, []).append(100 * count / (count + dropped))
            return seconds * 1e9 / count

        return measure

    def library(self, coalesce: float) -> tuple[int, float]:
        """This library, in this process."""
        count = 0
        os.sched_setaffinity(0, {self.cpus[1]})
        with ebpf.RingBuffer(self.ring, coalesce=coalesce) as reader, self.writing():
            start = time.monotonic()
            while time.monotonic() < start + SECONDS:
                reader.poll(0.01)
                count += len(reader.read_buffer())
            elapsed = time.monotonic() - start
        os.sched_setaffinity(0, self.cpus)
        return count, elapsed

    def libbpf(self, program: str) -> tuple[int, float]:
        fd = self.ring.fileno()
        command = ["taskset", "-c", str(self.cpus[1]), program, str(fd)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[fd]) as process:
            assert process.stdout is not None
            process.stdout.readline()
            with self.writing():
                start = time.monotonic()
                time.sleep(SECONDS)
                process.terminate()
                count = int(process.stdout.readline())
                elapsed = time.monotonic() - start
        return count, elapsed


def run() -> list[Table]:
    """Records of 16 bytes that arrive from a program that never pauses."""
    with contextlib.ExitStack() as stack:
        bench = Bench(stack)
        ways: dict[str, Callable[[], tuple[int, float]]] = {}
        program = compile_c(stack, "ring_poll_libbpf.c", "-lbpf")
        if program is not None:
            ways["libbpf in C, ring_buffer__poll()"] = lambda: bench.libbpf(program)
        ways["poll() and read_buffer()"] = lambda: bench.library(0.001)
        ways["the same, coalesce=0"] = lambda: bench.library(0)
        measures = {name: bench.measure(name, consume) for name, consume in ways.items()}
        samples = interleave(measures, ROUNDS)
        title = "16-byte records from a program that never pauses"
        # The first round does not count here either.
        arrived = {name: shares[1:] for name, shares in bench.arrived.items()}
        return [
            Table(title, "ns per record that arrives", samples),
            Table("of the records that were written, those that arrived", "%", arrived),
        ]


if __name__ == "__main__":
    produce(int(sys.argv[1]), int(sys.argv[2]))
