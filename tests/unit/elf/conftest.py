"""Objects compiled from tests/bpf, and the oracles that read them too."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.libbpf import built
from tests.vm.host import NoArchive

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "bpf"
TARGETS = ("bpfel", "bpfeb")

# What libbpf opens, and what it refuses since 1.0.
OPENED = (
    "functions.bpf.c",
    "maps.bpf.c",
    "data.bpf.c",
    "externs.bpf.c",
    "struct_ops.bpf.c",
    "arena.bpf.c",
)
OBJECTS = (*OPENED, "legacy_maps.bpf.c", "iproute2_maps.bpf.c")

Compile = Callable[..., Path]


def tool(*names: str) -> str:
    """The first of these commands that is installed; skips the test where none is."""
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    pytest.skip(f"none of these is installed: {', '.join(names)}")


def compilers() -> list[str]:
    """Every clang on this machine."""
    names = ["clang", *(f"clang-{version}" for version in range(12, 30))]
    return [name for name in names if shutil.which(name)] or ["clang"]


@pytest.fixture(scope="session", params=compilers())
def clang(request: pytest.FixtureRequest) -> str:
    """Each compiler in turn; arenas need clang 19."""
    return tool(request.param)


@functools.cache
def release(clang: str) -> int:
    text = subprocess.run([clang, "--version"], check=True, capture_output=True, text=True).stdout
    match = re.search(r"version (\d+)", text)
    assert match is not None
    return int(match[1])


@pytest.fixture(scope="session")
def compile_bpf(clang: str, tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Compiles a file of tests/bpf, or the text of a source, for a target; the object's path."""

    def compile_for(source: str, target: str = "bpfel", *options: str) -> Path:
        directory = tmp_path_factory.mktemp("objects")
        path = SOURCES / source
        if "\n" in source:
            path = directory / "source.bpf.c"
            path.write_text(source)
        elif source == "arena.bpf.c" and release(clang) < 19:
            pytest.skip("address spaces of BPF programs begin with clang 19")
        output = directory / path.name.removesuffix(".c").removesuffix(".s").replace("bpf", "bpf.o")
        command = [clang, "-target", target, "-O2", "-g", "-mcpu=v3", f"-I{SOURCES}", *options]
        subprocess.run([*command, "-c", str(path), "-o", str(output)], check=True)
        return output

    return functools.cache(compile_for)


@pytest.fixture(scope="session")
def readelf() -> Callable[[Path], dict[str, Any]]:
    """What llvm-readelf finds: sections, symbols, relocations."""
    # The JSON of releases before 19 is none.
    command = tool(*(f"llvm-readelf-{version}" for version in range(30, 18, -1)))

    def read(path: Path) -> dict[str, Any]:
        options = ["--elf-output-style=JSON", "--sections", "--symbols", "--relocations"]
        done = subprocess.run([command, *options, str(path)], check=True, capture_output=True)
        found: dict[str, Any] = json.loads(done.stdout)[0]
        return found

    return read


class Libbpf:
    """libbpf_says.c, built with the libbpf of tests/libbpf.py."""

    def __init__(self, program: Path) -> None:
        self._program = program
        major, _, minor = self.run("version").strip().partition(".")
        self.version = (int(major), int(minor))

    def run(self, *arguments: str, text: str = "") -> str:
        command = [str(self._program), *arguments]
        return subprocess.run(
            command, input=text, check=True, capture_output=True, text=True
        ).stdout

    def open(self, path: Path) -> list[list[str]]:
        """The lines of ``libbpf_says open``, split into their columns."""
        return [line.split("\t") for line in self.run("open", str(path)).splitlines()]

    def link(self, output: Path, *paths: Path) -> bool:
        """Links objects; whether libbpf did."""
        return not self.run("link", str(output), *map(str, paths)).strip()


@pytest.fixture(scope="session")
def libbpf() -> Libbpf:
    try:
        return Libbpf(built(HERE / "libbpf_says.c"))
    except NoArchive as error:
        pytest.skip(f"nothing to compare with: {error}")


@pytest.fixture(scope="session", params=TARGETS)
def link_paths(compile_bpf: Compile, request: pytest.FixtureRequest) -> tuple[Path, ...]:
    """Two objects that are written to be linked, in both byte orders."""
    names = ("link_main.bpf.c", "link_parts.bpf.c")
    return tuple(compile_bpf(name, request.param) for name in names)
