"""An empty cache for each test, and compilers that only pretend."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ebpf.compile.compilers import find_compiler
from ebpf.errors import CompileError

Fake = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where objects are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ebpf"


@pytest.fixture
def clang() -> str:
    """The clang of this machine."""
    try:
        return find_compiler().command[0]
    except CompileError as error:
        pytest.skip(str(error))


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Makes a compiler that answers questions, and nothing else is on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"/nonexistent{os.pathsep}{folder}")

    def make(name: str, version: str = "19.1.7", targets: str = "bpfel", then: str = "") -> Path:
        path = folder / name
        path.write_text(
            "#!/bin/sh\n"
            f'case "$1" in --version) echo "Some clang version {version} (x)";;\n'
            f'-print-targets) echo "  {targets} - BPF";;\n*) {then or "exit 1"};; esac\n'
        )
        path.chmod(0o755)
        return path

    return make
