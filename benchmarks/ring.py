"""Draining a full ring buffer: this library, a C program, and libbpf, record by record.

The ring is filled by a BPF program before each measurement, so that only reading is timed. The C
program maps the same ring, and is told over a pipe when to drain it.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import ebpf
from benchmarks.table import Table, interleave
from ebpf import asm
from ebpf.asm import R0, R1, R2, R3, R4, R6, R10

RING_SIZE = 1 << 24
RECORDS_PER_RUN = 2048
ROUNDS = 15


def filler(ring: ebpf.Map[None, None], record_size: int) -> list[object]:
    """A program that writes RECORDS_PER_RUN records, or fewer when the ring is full."""
    return [
        asm.mov(R6, RECORDS_PER_RUN),
        *(asm.stdw(R10 - offset, offset) for offset in range(8, record_size + 1, 8)),
        asm.Label("next"),
        asm.ld_map_fd(R1, ring),
        asm.mov(R2, R10),
        asm.add(R2, -record_size),
        asm.mov(R3, record_size),
        asm.mov(R4, 0),
        asm.call("ringbuf_output"),
        asm.jne(R0, 0, "full"),
        asm.sub(R6, 1),
        asm.jne(R6, 0, "next"),
        asm.Label("full"),
        asm.exit_(),
    ]


class Bench:
    """One ring with its filler, and the C programs that drain it too."""

    def __init__(self, record_size: int) -> None:
        self.record_size = record_size
        self.ring = ebpf.Map.create(ebpf.MapType.RINGBUF, max_entries=RING_SIZE, name="bench")
        self.program = ebpf.Program.load(
            ebpf.ProgramType.RAW_TRACEPOINT,
            filler(self.ring, record_size),
            license="GPL",
            name="fill",
        )
        self.count = RING_SIZE // (8 + record_size)

    def close(self) -> None:
        self.program.close()
        self.ring.close()

    def fill(self) -> None:
        for _ in range(self.count // RECORDS_PER_RUN + 1):
            self.program.test_run()

    def timed(self, drain: Callable[[], int]) -> Callable[[], float]:
        """A measurement: fill, drain, nanoseconds per record."""

        def measure() -> float:
            self.fill()
            start = time.perf_counter_ns()
            count = drain()
            return self._per_record(time.perf_counter_ns() - start, count)

        return measure

    def told(self, process: subprocess.Popen[str]) -> Callable[[], float]:
        """The same, by a C program that answers "NANOSECONDS RECORDS"."""

        def measure() -> float:
            assert process.stdin is not None
            assert process.stdout is not None
            self.fill()
            process.stdin.write("\n")
            process.stdin.flush()
            elapsed, count = map(int, process.stdout.readline().split())
            return self._per_record(elapsed, count)

        return measure

    def _per_record(self, elapsed: int, count: int) -> float:
        if abs(count - self.count) > 1:
            raise SystemExit(f"drained {count} records of {self.count}: the figure means nothing")
        return elapsed / count


@contextlib.contextmanager
def c_program(
    source: str, ring: ebpf.Map[None, None], *libraries: str
) -> Iterator[subprocess.Popen[str] | None]:
    """The compiled C program with the ring's descriptor, or None where a library is missing."""
    path = Path(__file__).parent / source
    with tempfile.TemporaryDirectory() as directory:
        program = f"{directory}/{path.stem}"
        compiled = subprocess.run(
            ["cc", "-O2", "-o", program, str(path), *libraries], capture_output=True, text=True
        )
        if compiled.returncode:
            if not libraries:
                raise SystemExit(compiled.stderr)
            print(f"left out: {source} (apt-get install libbpf-dev)", file=sys.stderr)
            yield None
            return
        with subprocess.Popen(
            [program, str(ring.fileno()), str(RING_SIZE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[ring.fileno()],
            text=True,
        ) as process:
            try:
                yield process
            finally:
                assert process.stdin is not None
                process.stdin.close()


def drain_buffer(reader: ebpf.RingBuffer) -> int:
    total = 0
    while count := len(reader.read_buffer()):
        total += count
    return total


def drain_batch(reader: ebpf.RingBuffer) -> int:
    total = 0
    while batch := reader.read_batch(65536):
        total += len(batch)
    return total


def iterate(reader: ebpf.RingBuffer) -> int:
    total = 0
    while reader.read() is not None:
        total += 1
    return total


def measure(record_size: int) -> dict[str, list[float]]:
    bench = Bench(record_size)
    with contextlib.ExitStack() as stack:
        stack.callback(bench.close)
        plain = stack.enter_context(ebpf.RingBuffer(bench.ring))
        fields = f"{record_size // 8}Q"
        decoded = stack.enter_context(ebpf.RingBuffer(bench.ring, codec=fields))
        ways: dict[str, Callable[[], float]] = {}
        copy = stack.enter_context(c_program("ring_copy.c", bench.ring))
        assert copy is not None
        ways["C, bulk copy into a buffer"] = bench.told(copy)
        peer = stack.enter_context(c_program("ring_libbpf.c", bench.ring, "-lbpf"))
        if peer is not None:
            ways["libbpf in C, empty callback"] = bench.told(peer)
        ways["read_buffer()"] = bench.timed(lambda: drain_buffer(plain))
        ways["read_batch(), bytes"] = bench.timed(lambda: drain_batch(plain))
        ways[f"read_batch(), codec {fields!r}"] = bench.timed(lambda: drain_batch(decoded))
        ways["read(), bytes, one by one"] = bench.timed(lambda: iterate(plain))
        return interleave(ways, ROUNDS)


def run() -> list[Table]:
    """16-byte records, the size that the figures of the documentation are about."""
    return [Table("drain a full ring of 16-byte records", "ns per record", measure(16))]
