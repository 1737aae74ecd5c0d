"""Compiles the C core with a driver of its own, under the compiler's sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DRIVER = sorted((ROOT / "tests" / "sanitize").glob("*.c"))
# layout.c has no code, only static assertions.
SOURCES = sorted(set((ROOT / "src" / "core").glob("*.c")) - {ROOT / "src" / "core" / "layout.c"})

MEMORY = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
THREADS = ("-fsanitize=thread",)


def build(directory: Path, flags: tuple[str, ...]) -> Path:
    """The driver's path; `flags` choose the sanitizers."""
    program = directory / "core"
    command = ["cc", "-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", *flags]
    inputs = map(str, [*DRIVER, *SOURCES])
    subprocess.run(
        [*command, f"-I{ROOT / 'include'}", *inputs, "-pthread", "-o", str(program)], check=True
    )
    return program


def run(program: Path, what: str) -> None:
    """Run one part of the driver; its complaint is the failure."""
    done = subprocess.run([program, what], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # ThreadSanitizer reports on standard error; the other two end the program.
    assert done.stderr == ""
