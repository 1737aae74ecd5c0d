"""Compares every object under the given folders: python -m tests.kernel.conformance FOLDER...

Each object is loaded whole, and then with each of its programs alone, so that one program that the
kernel refuses hides nothing of the others. Every difference is a line; the end are the rows of the
table in docs/conformance.md, one for each folder.
"""

from __future__ import annotations

import argparse
import collections
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.kernel import environment
from tests.kernel.conformance.compare import (
    differences,
    missing,
    programs_of,
    with_ebpf,
    with_libbpf,
)
from tests.kernel.conformance.libbpf import driver


def objects(folder: str) -> list[Path]:
    """Every ELF file for BPF of this byte order below the folder, or the file itself."""
    machine = (247).to_bytes(2, sys.byteorder)
    order = 1 if sys.byteorder == "little" else 2
    found = []
    for path in sorted(Path(folder).rglob("*")) if Path(folder).is_dir() else [Path(folder)]:
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                start = file.read(20)
            if start[:4] == b"\x7fELF" and start[5] == order and start[18:20] == machine:
                found.append(path)
    return found


Counts = dict[str, collections.Counter[str]]
COLUMNS = ("equal", "both refuse", "here only", "different")


def compare(path: Path, programs: Sequence[str], lacking: str, counts: Counts, why: bool) -> None:
    theirs = with_libbpf(path, programs, {}, lacking)
    ours = with_ebpf(path, programs, {}, lacking)
    if not (theirs.error or theirs.known) and programs_of(path):
        # Symbols without a type, as clang before 8 wrote them: it loads the maps, and says nothing.
        theirs.error = "finds no program"
    found = differences(theirs, ours)
    if theirs.error and not ours.error:
        outcome = "here only"
    elif found:
        outcome = "different"
    else:
        outcome = "both refuse" if theirs.error else "equal"
    counts["programs" if programs else "objects"][outcome] += 1
    if why and theirs.error and ours.error:
        last = theirs.log.strip().rpartition("\n")[2]
        found = [f"refused by both: {theirs.error} ({last}); {ours.error}"]
    for line in found:
        print(f"{path} {' '.join(programs)}: {line}", flush=True)


def row(folder: str, counts: Counts) -> str:
    """A row of the table in docs/conformance.md."""
    cells = [Path(folder).name]
    for what in ("objects", "programs"):
        cells += [str(counts[what].total()), *(str(counts[what][name]) for name in COLUMNS)]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--whole", action="store_true", help="no programs alone")
    parser.add_argument("--reasons", action="store_true", help="why both refuse")
    arguments = parser.parse_args()
    environment.private_mounts()
    rows = []
    different = 0
    for folder in arguments.folders:
        counts: Counts = {"objects": collections.Counter(), "programs": collections.Counter()}
        for path in objects(folder):
            lacking = missing(path)
            compare(path, [], lacking, counts, arguments.reasons)
            for name in [] if arguments.whole else programs_of(path):
                compare(path, [name], lacking, counts, arguments.reasons)
        rows.append(row(folder, counts))
        different += sum(one["different"] for one in counts.values())
    machine = os.uname()
    version = subprocess.run([driver(), "version"], check=True, capture_output=True, text=True)
    print(f"\nLinux {machine.release} on {machine.machine}, libbpf {version.stdout.strip()}")
    names = " | ".join(COLUMNS)
    print(f"| | objects | {names} | programs alone | {names} |", "|---" * 11 + "|", *rows, sep="\n")
    return different > 0


if __name__ == "__main__":
    sys.exit(main())
