"""Where the oracles of the BTF tests come from."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import tools

HERE = Path(__file__).parent
VMLINUX = Path("/sys/kernel/btf/vmlinux")


def tool(*names: str) -> str:
    """The first of these commands that is installed; skips the test where none is."""
    for name in names:
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        if path:
            return path
    pytest.skip(f"none of these is installed: {', '.join(names)}")


@pytest.fixture(scope="session")
def clang() -> str:
    return tool("clang", *(f"clang-{version}" for version in range(22, 14, -1)))


@pytest.fixture(scope="session")
def bpftool() -> str:
    path = tools.bpftool()
    if path is None:
        pytest.skip("bpftool is not installed")
    return path


@pytest.fixture(scope="session")
def vmlinux() -> bytes:
    """The BTF of the running kernel; what is there must be readable."""
    if not VMLINUX.exists():
        pytest.skip(f"this kernel has no {VMLINUX}")
    return VMLINUX.read_bytes()


@pytest.fixture(scope="session")
def compile_bpf(clang: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compiles every_kind.c for a target, "bpfel" or "bpfeb"; the object's path."""

    def compile_for(target: str) -> Path:
        output = tmp_path_factory.mktemp(target) / "every_kind.o"
        source = HERE / "every_kind.c"
        command = [clang, "-target", target, "-O2", "-g", "-c", str(source), "-o", str(output)]
        subprocess.run(command, check=True)
        return output

    return compile_for
