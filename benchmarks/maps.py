"""Maps: one entry, many entries, and shared memory, beside C, libbpf, bcc and ctypes by hand.

Every way works on the same maps, in turn. The C program and the other libraries run in processes
of their own, which have the maps' descriptors and are told over a pipe what to do. Times are those
of the CPU, not of the clock: nothing here waits, but on a busy machine all have to wait for a CPU.
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
from ebpf import ArrayMap, HashMap, MapFlags
from ebpf._sys import ffi, lib

HERE = Path(__file__).parent
KEYS = 1000
# Of one measurement: few, so that most measurements are over before another process gets its turn.
COUNT = 2000
ENTRIES = 1_000_000
# The slots of one page.
SLOTS = 512

Measurement = Callable[[], float]


class Peer:
    """A process that measures what it is told."""

    def __init__(self, command: list[str], *fds: int, extra: str = "") -> None:
        arguments = [*command, *map(str, fds), *filter(None, [extra])]
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=fds, text=True
        )

    def timed(self, way: str, count: int, divisor: int = 1) -> Measurement:
        def measure() -> float:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            print(way, count, file=self.process.stdin, flush=True)
            return float(self.process.stdout.readline()) / divisor

        return measure

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@contextlib.contextmanager
def compiled() -> Iterator[dict[str, str]]:
    """The C program over the raw system call and, where libbpf-dev is installed, over libbpf."""
    with tempfile.TemporaryDirectory() as directory:
        programs: dict[str, str] = {}
        ways: dict[str, list[str]] = {"C": [], "libbpf in C": ["-DLIBBPF", "-lbpf"]}
        for name, options in ways.items():
            program = f"{directory}/{len(programs)}"
            command = ["cc", "-O2", "-o", program, str(HERE / "maps_c.c"), *options]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode == 0:
                programs[name] = program
            elif not options:
                raise SystemExit(run.stderr)
            else:
                print("left out: libbpf (apt-get install libbpf-dev)", file=sys.stderr)
        yield programs


def python_peers() -> dict[str, list[str]]:
    """ctypes in this interpreter, and bcc, which Debian has for its own."""
    peers = {"ctypes by hand": [sys.executable, str(HERE / "maps_peer.py"), "ctypes"]}
    system = "/usr/bin/python3"
    found = subprocess.run([system, "-c", "import bcc"], capture_output=True)
    if found.returncode == 0:
        peers["bcc"] = [system, str(HERE / "maps_peer.py"), "bcc"]
    else:
        print("left out: bcc (apt-get install python3-bpfcc)", file=sys.stderr)
    return peers


def per_call(do: Callable[[], object], count: int) -> Measurement:
    def measure() -> float:
        start = time.thread_time_ns()
        # Held, because to free a million entries is another matter.
        result = do()
        end = time.thread_time_ns()
        del result
        return (end - start) / count

    return measure


class Bench:
    """The maps, and the processes that measure them too."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.small: HashMap[int, int] = stack.enter_context(
            HashMap.create(key="I", value="Q", max_entries=KEYS, name="small")
        )
        self.large: HashMap[int, int] = stack.enter_context(
            HashMap.create(key="I", value="Q", max_entries=ENTRIES, name="large")
        )
        self.array: ArrayMap[int] = stack.enter_context(
            ArrayMap.create(value="Q", max_entries=SLOTS, flags=MapFlags.MMAPABLE, name="array")
        )
        self.small.update({key: key for key in range(KEYS)})
        self.large.update({key: key for key in range(ENTRIES)})
        self.programs = {
            name: self._peer(stack, [program], self.array, self.large, extra=str(ENTRIES))
            for name, program in stack.enter_context(compiled()).items()
        }
        self.pythons = {
            name: self._peer(stack, command) for name, command in python_peers().items()
        }
        self.keys = [number % KEYS for number in range(COUNT)]

    def _peer(
        self,
        stack: contextlib.ExitStack,
        command: list[str],
        *maps: ebpf.Map[int, int],
        extra: str = "",
    ) -> Peer:
        peer = Peer(command, *(map.fileno() for map in (self.small, *maps)), extra=extra)
        stack.callback(peer.close)
        return peer

    def others(self, way: str, *, python: bool = True) -> dict[str, Measurement]:
        peers = {**self.programs, **(self.pythons if python else {})}
        return {name: peer.timed(way, COUNT) for name, peer in peers.items()}

    def lookups(self) -> Table:
        m, keys = self.small, self.keys

        def index() -> None:
            for key in keys:
                m[key]

        ways = self.others("lookup")
        ways["m[key]"] = per_call(index, COUNT)
        ways["m.lookup_many(keys)"] = per_call(lambda: m.lookup_many(keys), COUNT)
        return Table("look up u32 -> u64 in a hash", "ns each", interleave(ways, 151))

    def updates(self) -> Table:
        m, keys = self.small, self.keys

        def assign() -> None:
            for key in keys:
                m[key] = key

        entries = dict.fromkeys(range(KEYS), 1)

        def update() -> None:
            for _ in range(COUNT // KEYS):
                m.update(entries)

        ways = self.others("update")
        ways["m[key] = value"] = per_call(assign, COUNT)
        ways["m.update(dict)"] = per_call(update, COUNT)
        return Table("update u32 -> u64 in a hash", "ns each", interleave(ways, 151))

    def batches(self) -> Table:
        m = self.large
        keys, values = bytearray(4 * ENTRIES), bytearray(8 * ENTRIES)
        ways = {
            f"{name}, LOOKUP_BATCH": peer.timed("lookup_batch", 1, ENTRIES)
            for name, peer in self.programs.items()
        }
        ways["m.lookup_batch_into(keys, values)"] = per_call(
            lambda: m.lookup_batch_into(keys, values), ENTRIES
        )
        ways["m.lookup_batch()"] = per_call(m.lookup_batch, ENTRIES)
        ways["dict(m.items())"] = per_call(lambda: dict(m.items()), ENTRIES)
        ways["C, GET_NEXT_KEY and LOOKUP"] = self.programs["C"].timed("walk", 1, ENTRIES)
        ways["the same in Python"] = per_call(lambda: walk(m), ENTRIES)
        return Table("read a million entries", "ns per entry", interleave(ways, 7))

    def batch_updates(self) -> Table:
        m = self.large
        ways = {
            f"{name}, UPDATE_BATCH": peer.timed("update_batch", 1, ENTRIES)
            for name, peer in self.programs.items()
        }
        keys, values = m.lookup_batch()
        ways["m.update_batch(keys, values)"] = per_call(
            lambda: m.update_batch(keys, values), ENTRIES
        )
        try:
            arrays = m.to_numpy()
        except ImportError:
            print("left out: numpy", file=sys.stderr)
        else:
            ways["the same, numpy arrays"] = per_call(lambda: m.update_batch(*arrays), ENTRIES)
        return Table("write a million entries", "ns per entry", interleave(ways, 7))

    def memory(self) -> Table:
        slots = self.array.memory
        indexes = [number % SLOTS for number in range(COUNT)]

        def read() -> None:
            for index in indexes:
                slots[index]

        ways = {"C, LOOKUP": self.programs["C"].timed("lookup", COUNT)}
        ways["C, memory"] = self.programs["C"].timed("memory", COUNT)
        ways["slots[i], slots = m.memory"] = per_call(read, COUNT)
        return Table("read an element of an array", "ns each", interleave(ways, 151))


def walk(m: HashMap[int, int]) -> int:
    """All entries by two calls each, as a Python program without batches reads them."""
    fd, count = m.fileno(), 0
    key, following, value = ffi.NULL, ffi.new("uint32_t *"), ffi.new("uint64_t *")
    while lib.ebpf_map_keys(fd, key, 4, following, 1):
        lib.ebpf_map_lookup(fd, following, value, 0)
        key = ffi.new("uint32_t *", following[0])
        count += 1
    return count


def run() -> list[Table]:
    with contextlib.ExitStack() as stack:
        bench = Bench(stack)
        return [
            bench.lookups(),
            bench.updates(),
            bench.batches(),
            bench.batch_updates(),
            bench.memory(),
        ]
