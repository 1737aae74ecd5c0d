"""Compiles and loads BPF programs in C that others wrote: makes the table of docs/compile.md.

    python -m tests.kernel.compile.others [--compiler NAME ...] [--mypy] FOLDER ...

The folders are of checkouts, which are read and never kept here: `libbpf-tools` of
github.com/iovisor/bcc, `examples` of github.com/libbpf/libbpf-bootstrap, or any other with
`*.bpf.c` in it. Each source is compiled unchanged, with the package's headers and the vmlinux.h of
the running kernel, by each compiler; the object is loaded, and a module made of it.

Where an object does not load as a whole, each of its programs is loaded alone, and then those
together that the kernel has taken; of the others it is printed why. The exit status is 1 when a
source does not compile, or mypy finds a mistake in a module.
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path

from ebpf import CollectionSpec, MapType
from ebpf.codegen import generate
from ebpf.compile import CompileWarning, compile_object, find_compiler
from ebpf.errors import CompileError, EbpfError
from ebpf.maps.limits import STORAGES

SRC = Path(__file__).resolve().parents[3] / "src"

COMPILE = "compile"
WHOLE = "load as a whole"
PART = "load, less programs that this kernel does not take"
NONE = "do not load"
ROWS = (COMPILE, WHOLE, PART, NONE)

# What the tools set before they load: bcc's have 10240 of most, and stacks of 127 addresses.
ENTRIES, STACK = 10240, 127 * 8


def set_sizes(spec: CollectionSpec) -> None:
    """Set the sizes of maps that the source leaves open to the tool."""
    for one in spec.maps.values():
        given = one.data or one.struct_ops or one.type in STORAGES
        if not (one.max_entries or given or one.type == MapType.PERF_EVENT_ARRAY):
            one.max_entries = ENTRIES
        if one.type == MapType.STACK_TRACE and one.value_size <= 8:
            one.value_size = STACK


def refused(spec: CollectionSpec, *names: str) -> str:
    """Why these programs of `spec` do not load; "" when they do."""
    spec.select(*names)
    try:
        spec.load().close()
    except EbpfError as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return ""


def loaded(data: bytes) -> tuple[str, dict[str, str]]:
    """How an object loads, and why programs are left out."""
    spec = CollectionSpec.from_bytes(data, name="other")
    set_sizes(spec)
    whole = refused(spec, *spec.programs)
    if not whole:
        return WHOLE, {}
    reasons = {name: reason for name in spec.programs if (reason := refused(spec, name))}
    kept = [name for name in spec.programs if name not in reasons]
    together = refused(spec, *kept) if kept and reasons else whole
    if not kept or together:
        return NONE, reasons or {"*": together}
    return PART, reasons


def run_all(sources: Iterable[Path], compiler: str) -> tuple[dict[str, int], list[bytes]]:
    """Compile and load, telling what does not; the numbers for each row, and the objects."""
    counts: collections.Counter[str] = collections.Counter()
    objects = []
    for path in sources:
        try:
            # vmlinux.h is kept all the same.
            data = compile_object(path, compiler=compiler, cache=False)
        except CompileError as error:
            print(error)
            continue
        counts[COMPILE] += 1
        objects.append(data)
        outcome, reasons = loaded(data)
        counts[outcome] += 1
        for name, reason in reasons.items():
            print(f"{path}: {name}: {reason}")
    return counts, objects


def mistakes(objects: list[bytes], check: bool) -> int:
    """Make a module of each object; of how many mypy finds mistakes in them, when asked to."""
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(objects):
            text = generate(data, name="other", file="other.bpf.o")
            Path(folder, f"made_{number}.py").write_text(text, encoding="utf-8")
        print(f"{len(objects)} modules made")
        if not check:
            return 0
        options = ["--strict", "--config-file=", "--no-error-summary", "--no-incremental"]
        # The library is checked elsewhere; here it only gives its types.
        options += ["--follow-imports", "silent"]
        done = subprocess.run(
            [sys.executable, "-m", "mypy", *options, "."],
            cwd=folder,
            env={**os.environ, "MYPYPATH": str(SRC)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    found = set(re.findall(r"^(made_\d+)\.py:\d+: error", done.stdout, re.MULTILINE))
    print(f"{done.stdout}mypy --strict finds mistakes in {len(found)} of them")
    # One that does not run finds none.
    return len(found) or done.returncode


def table(columns: dict[str, dict[str, int]], total: int) -> str:
    """The table, as docs/compile.md has it."""
    lines = [f"| of {total} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row in ROWS:
        numbers = [str(counts.get(row, 0)) for counts in columns.values()]
        lines.append(f"| {row} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--compiler", action="append", help="such as clang-14 or zig; repeatable")
    parser.add_argument("--mypy", action="store_true", help="check the modules, too")
    options = parser.parse_args(arguments)
    sources = [path for folder in options.folders for path in sorted(folder.rglob("*.bpf.c"))]
    # What a source is warned of is its own.
    warnings.simplefilter("ignore", CompileWarning)
    columns: dict[str, dict[str, int]] = {}
    wrong = 0
    for name in options.compiler or [None]:
        found = find_compiler(name, cache=True)
        title = f"{found.kind} {'.'.join(map(str, found.version))}"
        compiler = found.command[0] if found.kind == "clang" else found.kind
        columns[title], objects = run_all(sources, compiler)
        wrong += len(sources) - len(objects) + mistakes(objects, options.mypy)
    print(f"\nOn Linux {os.uname().release}:\n\n{table(columns, len(sources))}")
    return 1 if wrong or not sources else 0


if __name__ == "__main__":
    sys.exit(main())
