"""The objects that the CO-RE tests share, and libbpf to judge by."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ..conftest import tool
from .support import SOURCES, Compiled, Oracle, compile_c

HERE = Path(__file__).parent
# Another libbpf than the installed one: EBPF_TEST_LIBBPF=/path/libbpf.a
LIBRARIES = [os.environ.get("EBPF_TEST_LIBBPF", "-l:libbpf.a"), "-lelf", "-lz"]


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("core")


@pytest.fixture(scope="session")
def local(clang: str, directory: Path) -> Compiled:
    """core_local.bpf.c: every kind of relocation."""
    return compile_c(clang, SOURCES / "core_local.bpf.c", directory / "local.o")


@pytest.fixture(scope="session")
def target(clang: str, directory: Path) -> Compiled:
    """core_target.c: the same types, altered."""
    return compile_c(clang, SOURCES / "core_target.c", directory / "target.o")


@pytest.fixture(scope="session")
def kernel_user(clang: str, directory: Path) -> Compiled:
    """core_kernel.bpf.c: relocations to types of any kernel."""
    return compile_c(clang, SOURCES / "core_kernel.bpf.c", directory / "kernel.o")


@pytest.fixture(scope="session")
def oracle(directory: Path) -> Oracle:
    compiler = tool("cc", "gcc", "clang")
    probe = directory / "probe.c"
    probe.write_text("#include <bpf/btf.h>\nint main(void) { return !btf__new_empty(); }\n")
    found = subprocess.run(
        [compiler, probe, "-o", directory / "probe", *LIBRARIES],
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        pytest.skip(f"no static libbpf to compare with (libbpf-dev): {found.stderr[-300:]}")
    program = directory / "libbpf_core"
    command = [compiler, "-O1", "-Wall", str(HERE / "libbpf_core.c"), "-o", str(program)]
    subprocess.run([*command, *LIBRARIES], check=True)
    empty = directory / "empty.btf"
    empty.write_bytes(bytes.fromhex("9feb0100180000000000000000000000000000000100000000"))
    first = subprocess.run(
        [program, empty, empty], input="", capture_output=True, text=True, check=True
    )
    _, major, minor = first.stdout.split()
    return Oracle(program, directory, (int(major), int(minor)))
