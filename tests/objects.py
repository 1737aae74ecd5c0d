"""Compiles the BPF programs in tests/bpf, once per content and compiler.

The objects are kept in the tests' cache, outside the checkout, so that a guest, where compiling
takes half a minute, finds what the host has compiled before: `python -m tests.objects`.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.vm.host import cache_dir

SOURCES = Path(__file__).parent / "bpf"
EXAMPLES = Path(__file__).parents[1] / "examples"
FLAGS = ("-O2", "-g", "-mcpu=v3", "-Wall", "-Wno-unused-function")


# TYPE_MATCHES begins with clang 15 (14 crashes), address spaces of BPF programs with 19.
NEEDED_CLANG = {"core_kernel": 15, "core_local": 15, "core_moved": 15}
NEEDED_CLANG |= {"arena": 19, "arena_load": 19, "arena_peek": 19}


class NoCompiler(Exception):
    """There is no clang on this machine that compiles this source for BPF."""

    def __init__(self, name: str) -> None:
        self.needed = NEEDED_CLANG.get(name, 14)
        super().__init__(f"tests/bpf/{name}.bpf.c needs clang {self.needed} or newer")


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


def newest_clang() -> str:
    """The newest clang on PATH. Raises NoCompiler."""
    if not clangs():
        raise NoCompiler("any")
    return clangs()[0]


@functools.cache
def release(clang: str) -> int:
    text = subprocess.run([clang, "--version"], check=True, capture_output=True, text=True).stdout
    match = re.search(r"version (\d+)", text)
    assert match is not None
    return int(match[1])


def compiled(
    name: str, *, clang: str | None = None, target: str = "bpfel", folder: Path = SOURCES
) -> Path:
    """The object of tests/bpf/NAME.bpf.c, from the cache or compiled into it.

    A name with a dot is that of the file.
    """
    source = folder / (name if "." in name else f"{name}.bpf.c")
    headers = sorted(folder.glob("*.h"))
    content = b"\0".join(path.read_bytes() for path in (source, *headers))
    compiler = Path(clang).name if clang else "any"
    key = hashlib.sha256(content + repr((compiler, target, FLAGS)).encode()).hexdigest()[:20]
    made = cache_dir() / "objects" / f"{name}-{key}.o"
    if not made.exists():
        _compile(source, made, clang, target)
    return made


def _compile(source: Path, made: Path, clang: str | None, target: str) -> None:
    name = source.name.removesuffix(".bpf.c")
    chosen = clang or next(iter(clangs()), None)
    if chosen is None or release(chosen) < NEEDED_CLANG.get(name, 0):
        raise NoCompiler(name)
    made.parent.mkdir(parents=True, exist_ok=True)
    partial = made.with_suffix(f".{os.getpid()}")
    command = [chosen, "-target", target, *FLAGS, "-c", str(source), "-o", str(partial)]
    subprocess.run(command, check=True)
    partial.rename(made)


def main() -> int:
    for source in sorted(SOURCES.glob("*.bpf.c")):
        print(compiled(source.name.removesuffix(".bpf.c")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
