"""Compares every object under the given folders: python -m tests.kernel.conformance FOLDER...

Each object is loaded whole, and then with each of its programs alone, so that one program that the
kernel refuses hides nothing of the others.
"""

from __future__ import annotations

import argparse
import collections
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.kernel import environment
from tests.kernel.conformance.compare import differences, programs_of, with_ebpf, with_libbpf


def objects(folders: Sequence[str]) -> list[Path]:
    """Every ELF file for BPF of this byte order below the folders."""
    machine = (247).to_bytes(2, sys.byteorder)
    order = 1 if sys.byteorder == "little" else 2
    found = []
    for folder in map(Path, folders):
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    start = file.read(20)
                if start[:4] == b"\x7fELF" and start[5] == order and start[18:20] == machine:
                    found.append(path)
    return found


def compare(
    path: Path, programs: Sequence[str], counts: collections.Counter[str], reasons: bool
) -> None:
    what = "program" if programs else "object"
    theirs = with_libbpf(path, programs, {})
    ours = with_ebpf(path, programs, {})
    found = differences(theirs, ours)
    if theirs.error and not ours.error:
        counts[f"{what}: loads here only"] += 1
    elif found:
        counts[f"{what}: different"] += 1
    else:
        counts[f"{what}: both refuse" if theirs.error else f"{what}: equal"] += 1
    if reasons and theirs.error and ours.error:
        last = theirs.log.strip().rpartition("\n")[2]
        found = [f"refused by both: {theirs.error} ({last}); {ours.error}"]
    for line in found:
        print(f"{path} {' '.join(programs)}: {line}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--whole", action="store_true", help="no programs alone")
    parser.add_argument("--reasons", action="store_true", help="why both refuse")
    arguments = parser.parse_args()
    environment.private_mounts()
    counts: collections.Counter[str] = collections.Counter()
    for path in objects(arguments.folders):
        compare(path, [], counts, arguments.reasons)
        for name in [] if arguments.whole else programs_of(path):
            compare(path, [name], counts, arguments.reasons)
    for label, count in sorted(counts.items()):
        print(f"{count:6} {label}")
    return any("different" in label for label in counts)


if __name__ == "__main__":
    sys.exit(main())
