"""From an object file to running programs: this library, libbpf in C, and bcc where it is there.

Whatever is about starting up runs in a process of its own each time, since what counts there is
what a tool pays that was not running before. The rest repeats in one process, as libbpf's does.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import ebpf
from benchmarks.table import Table, interleave
from ebpf import kernel_btf
from ebpf.btf.core import Relocator
from ebpf.btf.ext import INSTRUCTION_SIZE
from tests.objects import compiled

HERE = Path(__file__).parent
SYSTEM_PYTHON = "/usr/bin/python3"
ROUNDS = 15
# What find() is timed with: a struct of 250 members in the middle of the kernel's types.
TYPE = "task_struct"

# Time, and what resident memory grew by.
BTF_SCRIPT = """
import time
from ebpf.kernel_btf import kernel_btf

def memory():
    with open("/proc/self/status") as status:
        return int(next(line.split()[1] for line in status if line.startswith("VmRSS")))

before, start = memory(), time.perf_counter_ns()
kernel_btf().find_struct("{type}").offsetof("pid")
print(time.perf_counter_ns() - start, memory() - before)
"""
IMPORT_SCRIPT = """
{statement}
with open("/proc/self/status") as status:
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
import time
print(time.monotonic_ns(), peak)
"""

# Milliseconds from start to end, milliseconds of CPU time, MiB.
Measurement = tuple[float, float, float]


def run() -> list[Table]:
    """The tables of docs/performance.md."""
    with tempfile.TemporaryDirectory() as folder:
        peer = _compile_peer(Path(folder))
        return [*_starting(peer), *_kernel_types(peer), *_importing(), *_many_programs(peer)]


def _compile_peer(folder: Path) -> str:
    program = str(folder / "loader_libbpf")
    command = ["cc", "-O2", "-o", program, str(HERE / "loader_libbpf.c"), "-lbpf", "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{done.stderr}\napt-get install libbpf-dev")
    return program


def _starting(peer: str) -> list[Table]:
    """From the start of a process to its first event."""
    path = str(compiled("loader", folder=HERE))
    ways = {
        "libbpf in C": _process([peer, "event", path]),
        "this library": _process([sys.executable, "-I", str(HERE / "loader_event.py"), path]),
    }
    if _has_bcc():
        ways["bcc"] = _process([SYSTEM_PYTHON, str(HERE / "loader_bcc.py")])
    return _tables("start of a process to its first event, one CO-RE program", ways)


def _kernel_types(peer: str) -> list[Table]:
    """Opening the kernel's BTF and finding one type, in a new process."""
    script = BTF_SCRIPT.format(type=TYPE)
    ways = {
        "libbpf in C": _part([peer, "btf", TYPE]),
        "this library": _part([sys.executable, "-I", "-c", script]),
    }
    return _tables(f"open the kernel's BTF, find {TYPE}", ways)


def _importing() -> list[Table]:
    """An interpreter that imports something, beside one that does not."""
    statements = {"python": "", "import ebpf": "import ebpf", "import numpy": "import numpy"}
    if not _runs([sys.executable, "-I", "-c", "import numpy"]):
        del statements["import numpy"]
    ways = {
        way: _process([sys.executable, "-I", "-c", IMPORT_SCRIPT.format(statement=statement)])
        for way, statement in statements.items()
    }
    return _tables("start of an interpreter", ways)


def _many_programs(peer: str) -> list[Table]:
    path = compiled("loader_many", folder=HERE)
    with contextlib.ExitStack() as stack:
        parser = stack.enter_context(_server([peer, "parse", str(path)]))
        loader = stack.enter_context(_server([peer, "load", str(path)]))
        parsing = {
            "libbpf in C": lambda: _ask(parser)[0] / 1e6,
            "this library": lambda: _timed(lambda: ebpf.CollectionSpec.from_file(path)),
        }
        spec = ebpf.CollectionSpec.from_file(path)
        loading = {
            "libbpf in C": lambda: _ask(loader)[0] / 1e6,
            "libbpf in C, less the time of bpf()": lambda: _less(_ask(loader)),
            "this library": lambda: _load(spec, release=True),
            "this library, a second collection": lambda: _load(spec, release=False),
            "this library, only the relocations": lambda: _relocate(spec),
        }
        count = sum(len(function.core_relocations) for function in spec.functions.values())
        return [
            Table(
                f"parse an object of {len(spec.programs)} programs",
                "ms",
                interleave(parsing, ROUNDS),
            ),
            Table(
                f"load {len(spec.programs)} programs with {count} CO-RE relocations",
                "ms",
                interleave(loading, ROUNDS),
            ),
        ]


def _load(spec: ebpf.CollectionSpec, *, release: bool) -> float:
    """Milliseconds; with `release` as the first collection of a process, which opens the BTF."""
    if release:
        kernel_btf.release()
    start = time.perf_counter_ns()
    objects = spec.load()
    elapsed = time.perf_counter_ns() - start
    objects.close()
    return elapsed / 1e6


def _relocate(spec: ebpf.CollectionSpec) -> float:
    """Milliseconds of all relocations, the opening of the kernel's BTF included."""
    kernel_btf.release()
    assert spec.btf is not None
    start = time.perf_counter_ns()
    relocator = Relocator(spec.btf, [kernel_btf.kernel_btf()])
    for function in spec.functions.values():
        code = bytearray(function.code)
        for relocation in function.core_relocations:
            relocator.apply(code, relocation, relocation.insn_offset // INSTRUCTION_SIZE)
    return (time.perf_counter_ns() - start) / 1e6


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter_ns()
    action()
    return (time.perf_counter_ns() - start) / 1e6


def _less(numbers: list[int]) -> float:
    return (numbers[0] - numbers[1]) / 1e6


def _process(command: list[str]) -> Callable[[], Measurement]:
    """From the start of `command` to the time that it prints; CPU time to its end."""

    def measure() -> Measurement:
        start = time.monotonic_ns()
        end, memory, cpu = _numbers(command)
        return (end - start) / 1e6, cpu, memory / 1024

    return measure


def _part(command: list[str]) -> Callable[[], Measurement]:
    """What `command` has measured of itself, ns and KiB."""

    def measure() -> Measurement:
        elapsed, memory, _ = _numbers(command)
        return elapsed / 1e6, 0.0, memory / 1024

    return measure


def _numbers(command: list[str]) -> tuple[int, int, float]:
    """The two numbers that `command` prints, and milliseconds of CPU time."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    first, second = map(int, output.split())
    return first, second, 1000 * (usage.ru_utime + usage.ru_stime)


def _tables(title: str, ways: dict[str, Callable[[], Measurement]]) -> list[Table]:
    """The times, the CPU times where there are any, and the memory."""
    samples = interleave(ways, ROUNDS)

    def column(number: int) -> dict[str, list[float]]:
        return {way: [row[number] for row in rows] for way, rows in samples.items()}

    tables = [Table(title, "ms", column(0)), Table(f"{title}: memory", "MiB", column(2))]
    if all(all(times) for times in column(1).values()):
        tables.insert(1, Table(f"{title}: CPU time", "ms", column(1)))
    return tables


def _runs(command: list[str]) -> bool:
    return not subprocess.run(command, capture_output=True).returncode


def _has_bcc() -> bool:
    command = [SYSTEM_PYTHON, str(HERE / "loader_bcc.py")]
    if os.path.exists(SYSTEM_PYTHON) and _runs(command):
        return True
    print(
        "left out: bcc (apt-get install python3-bpfcc, and the headers of the running kernel)",
        file=sys.stderr,
    )
    return False


@contextlib.contextmanager
def _server(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """`command`, which measures once for each line that it reads."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()


def _ask(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return [int(number) for number in process.stdout.readline().split()]
