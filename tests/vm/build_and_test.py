#!/usr/bin/env python3
"""Runs in a guest: copies the checkout, builds the extension there, and runs pytest on it.

    python3 tests/vm/build_and_test.py [PYTEST ARGUMENT]...

The checkout is read-only in the guest and may hold the host's extension, so the copy leaves out
everything that was built. The exit status is that of the step that failed, or pytest's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
COPY = Path("/run/ebpf-checkout")  # in memory
NOT_COPIED = shutil.ignore_patterns(".*", "*.so", "__pycache__", "*.egg-info", "_ffi.c")
NOT_COPIED_FROM_ROOT = {"build", "dist"}


def not_copied(folder: str, names: list[str]) -> set[str]:
    """What a build leaves in a checkout; there is a package `build` too."""
    return NOT_COPIED(folder, names) | (NOT_COPIED_FROM_ROOT if Path(folder) == CHECKOUT else set())


def main(arguments: list[str]) -> int:
    """Copy, build, test; the exit status."""
    shutil.copytree(CHECKOUT, COPY, ignore=not_copied)
    env = {**os.environ, "PYTHONPATH": str(COPY / "src")}
    steps = [
        ["setup.py", "build_ext", "--inplace"],
        ["-m", "pytest", "-p", "no:cacheprovider", *arguments],
    ]
    for step in steps:
        print("+ python3", *step, flush=True)
        done = subprocess.run([sys.executable, *step], cwd=COPY, env=env, check=False)
        if done.returncode != 0:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
