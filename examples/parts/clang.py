"""Compiling a BPF program in C, for those who have not done so by hand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from ebpf import CollectionSpec, CompileError

FLAGS = ("-target", "bpf", "-g", "-O2")


def load_or_compile(source: Path) -> CollectionSpec:
    """What is in the object file beside `source`, or in what clang makes of it now.

    Raises CompileError where there is neither an object nor a clang, or clang finds a mistake.
    """
    made = source.with_suffix(".o")
    if made.exists():
        return CollectionSpec.from_file(made)
    with tempfile.TemporaryDirectory() as directory:
        temporary = Path(directory) / made.name
        _compile(source, temporary)
        return CollectionSpec.from_file(temporary)


def _compile(source: Path, made: Path) -> None:
    clang = _find_clang()
    if clang is None:
        # The object is the same for every kernel and every little-endian machine.
        raise CompileError(
            f"there is no clang to compile {source.name} with; install it (apt-get install clang),"
            f" or put beside it what one made elsewhere:\n"
            f"    clang {' '.join(FLAGS)} -c {source.name} -o {source.stem}.o"
        )
    command = [clang, *FLAGS, "-c", str(source), "-o", str(made)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise CompileError(f"{' '.join(command)}: failed\n{done.stderr.rstrip()}")


def _find_clang() -> str | None:
    """clang, or the newest of those that Debian calls clang-19 and the like."""
    if found := shutil.which("clang"):
        return found
    versions: dict[int, str] = {}
    for directory in os.get_exec_path():
        for name in _names(directory):
            path = os.path.join(directory, name)
            if (match := re.fullmatch(r"clang-(\d+)", name)) and os.access(path, os.X_OK):
                versions.setdefault(int(match[1]), path)
    return versions[max(versions)] if versions else None


def _names(directory: str) -> list[str]:
    """What is in a directory of PATH: nothing in one that is closed to this user."""
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
