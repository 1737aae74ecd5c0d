"""Compiles the BPF programs in tests/bpf and examples, once per content and compiler.

The objects are kept in the tests' cache, outside the checkout, so that a guest, where compiling
takes half a minute, finds what the host has compiled before: `python -m tests.objects`.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.vm.host import cache_dir

SOURCES = Path(__file__).parent / "bpf"
EXAMPLES = Path(__file__).parents[1] / "examples"
FLAGS = ("-O2", "-g", "-mcpu=v3", "-Wall", "-Wno-unused-function")


class NoCompiler(Exception):
    """There is no clang that compiles for BPF on this machine."""


@functools.cache
def clangs() -> tuple[str, ...]:
    """Every clang on PATH, the newest first: clang-19, ..., clang."""
    found: dict[str, tuple[int, str]] = {}
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        for path in Path(folder).glob("clang*") if folder else ():
            match = re.fullmatch(r"clang(?:-(\d+))?", path.name)
            if match and os.access(path, os.X_OK):
                found.setdefault(path.name, (int(match[1] or 0), str(path)))
    return tuple(path for _, path in sorted(found.values(), reverse=True))


def compiled(
    name: str, *, clang: str | None = None, target: str = "bpfel", folder: Path = SOURCES
) -> Path:
    """The object of tests/bpf/NAME.bpf.c, from the cache or compiled into it."""
    source = folder / f"{name}.bpf.c"
    headers = sorted(folder.glob("*.h"))
    content = b"\0".join(path.read_bytes() for path in (source, *headers))
    compiler = Path(clang).name if clang else "any"
    key = hashlib.sha256(content + repr((compiler, target, FLAGS)).encode()).hexdigest()[:20]
    made = cache_dir() / "objects" / f"{name}-{key}.o"
    if not made.exists():
        _compile(source, made, clang, target)
    return made


def _compile(source: Path, made: Path, clang: str | None, target: str) -> None:
    chosen = clang or next(iter(clangs()), None) or shutil.which("clang")
    if chosen is None:
        raise NoCompiler("no clang: apt-get install clang-19")
    made.parent.mkdir(parents=True, exist_ok=True)
    partial = made.with_suffix(f".{os.getpid()}")
    command = [chosen, "-target", target, *FLAGS, "-c", str(source), "-o", str(partial)]
    subprocess.run(command, check=True)
    partial.rename(made)


def main() -> int:
    for folder in (SOURCES, EXAMPLES):
        for source in sorted(folder.glob("*.bpf.c")):
            print(compiled(source.name.removesuffix(".bpf.c"), folder=folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
