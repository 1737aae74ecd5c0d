"""Kernel headers (linux-libc-dev) of each suite, for compiling against all of them.

    python -m tests.vm.headers SUITE|KERNEL|all

prints a line for each: suite, kernel, include directory, include directory of the architecture.
They hold the kernel's headers only and go in front of the system's, with -isystem.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .guest import EXIT_HARNESS
from .host import HarnessError, cache_dir, locked, run, say, scratch
from .kernels import KERNELS
from .packages import Suite, newest

SUITES = {spec.suite: spec.name for spec in KERNELS.values()}
PACKAGE = "linux-libc-dev"
TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}


@dataclass(frozen=True)
class Headers:
    """Unpacked headers: the suite, the kernel's name, and the two include directories."""

    suite: str
    kernel: str
    include: Path
    arch_include: Path


def prepare(suite: str) -> Headers:
    """The headers of a suite for this machine's architecture, downloaded unless cached."""
    arch = run(["dpkg", "--print-architecture"]).strip()
    if arch not in TRIPLETS:
        raise HarnessError(f"no kernel headers are known for {arch}, only for {list(TRIPLETS)}")
    folder = cache_dir() / "headers" / arch / suite
    tree = folder / "root"
    with locked(folder):
        if not tree.exists():
            _download(suite, arch, folder, tree)
    include = tree / "usr" / "include"
    return Headers(suite, SUITES[suite], include, include / TRIPLETS[arch])


def _download(suite: str, arch: str, folder: Path, tree: Path) -> None:
    source = Suite(suite, arch)
    with locked(source.folder):
        say(f"asking suite {suite} for its kernel headers")
        source.update()
        package = newest(source.packages(PACKAGE), re.escape(PACKAGE))
        if package is None:
            raise HarnessError(f"suite {suite} has no package {PACKAGE}")
        say(f"downloading {package.name} {package.version}")
        with scratch(folder) as partial:
            source.unpack([package], partial)
            for file in ("linux/bpf.h", f"{TRIPLETS[arch]}/asm/types.h"):
                if not (partial / "usr" / "include" / file).exists():
                    raise HarnessError(f"{package.name} {package.version} holds no {file}")
            partial.rename(tree)


def main(argv: Sequence[str]) -> int:
    """Print where the headers are; the exit status."""
    names = {**{suite: suite for suite in SUITES}, **{SUITES[suite]: suite for suite in SUITES}}
    if len(argv) != 1 or argv[0] not in {*names, "all"}:
        print(f"usage: python -m tests.vm.headers {'|'.join(names)}|all", file=sys.stderr)
        return 2
    try:
        for suite in SUITES if argv[0] == "all" else (names[argv[0]],):
            found = prepare(suite)
            print(found.suite, found.kernel, found.include, found.arch_include, flush=True)
    except HarnessError as error:
        say(str(error))
        return EXIT_HARNESS
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
