"""From C to loaded programs: compile_c with and without its cache, the compiler alone, and bcc.

Each measurement is a process of its own; the time is that between the call and the loaded programs,
without the start of the interpreter and its imports. CPU time is that of the whole process and of
the compiler that it executes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.loader import (
    SYSTEM_PYTHON,
    Measurement,
    _has_bcc,
    _numbers,
    _tables,
)
from benchmarks.table import Table
from ebpf.compile import compile_object, find_compiler, get_include
from ebpf.compile.headers import system_includes
from ebpf.compile.vmlinux import vmlinux_text

HERE = Path(__file__).parent
SOURCE = HERE / "compile.bpf.c"
# A macro that is another one in each process: another source, for the cache.
NEW = "$NEW"
# Prints as compile_bcc.py does.
SCRIPT = """
import time
import ebpf.compile, ebpf.collection
start = time.perf_counter_ns()
objects = ebpf.compile_c({source!r}, defines={defines}, cache={cache}).load()
elapsed = time.perf_counter_ns() - start
objects.close()
with open("/proc/self/status", encoding="ascii") as status:
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
print(elapsed, peak)
"""


def run() -> list[Table]:
    """The tables of docs/performance.md."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        lines = len(SOURCE.read_text(encoding="utf-8").splitlines())
        return _tables(f"from a program of {lines} lines in C to loaded", _ways())


def _ways() -> dict[str, Callable[[], Measurement]]:
    ways = {"clang alone": _compiler()}
    for headers, macro in (("linux/bpf.h", "UAPI"), ("vmlinux.h", "VMLINUX")):
        defines: dict[str, int | str | None] = {macro: 1}
        if macro == "VMLINUX":
            # Made once for a kernel, which is no part of this.
            vmlinux_text()
        compile_object(SOURCE, defines=defines)
        ways[f"compile_c, nothing cached, {headers}"] = _library(defines, cache=False)
        ways[f"compile_c, a new source, {headers}"] = _library({**defines, "NEW": NEW}, cache=True)
        ways[f"compile_c, from its cache, {headers}"] = _library(defines, cache=True)
    if _has_bcc():
        ways["bcc"] = _part([SYSTEM_PYTHON, str(HERE / "compile_bcc.py")])
    return ways


def _library(defines: dict[str, int | str | None], *, cache: bool) -> Callable[[], Measurement]:
    given = repr(defines).replace(repr(NEW), "time.time_ns()")
    script = SCRIPT.format(source=str(SOURCE), defines=given, cache=cache)
    return _part([sys.executable, "-I", "-c", script])


def _part(command: list[str]) -> Callable[[], Measurement]:
    """What `command` has measured of itself, and its CPU time."""

    def measure() -> Measurement:
        elapsed, memory, cpu = _numbers(command)
        return elapsed / 1e6, cpu, memory / 1024

    return measure


def _compiler() -> Callable[[], Measurement]:
    """The compiler with the options that compile_c gives it, and linux/bpf.h."""
    compiler = find_compiler()
    includes = [f"-I{get_include()}", *(f"-idirafter{one}" for one in system_includes())]
    command = [*compiler.command, *compiler.target(sys.byteorder), "-O2", "-g", "-mcpu=v3"]
    command += [*includes, "-c", str(SOURCE), "-o", os.devnull]

    def measure() -> Measurement:
        start = time.perf_counter_ns()
        with subprocess.Popen(command) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed")
        cpu = 1000 * (usage.ru_utime + usage.ru_stime)
        return (time.perf_counter_ns() - start) / 1e6, cpu, usage.ru_maxrss / 1024

    return measure
