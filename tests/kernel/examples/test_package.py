"""The example of a package: its wheel is built, installed and run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from ebpf.compile import find_compiler
from ebpf.errors import CompileError
from tests.kernel.examples.support import TIMEOUT
from tests.objects import EXAMPLES, NoCompiler
from tests.vm.host import cache_dir

# What a front end such as pip or build executes, in an environment that has this library.
BUILD = "import sys; from setuptools import build_meta as b; b.build_{}(sys.argv[1])"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, which a build may write into."""
    try:
        find_compiler()
    except CompileError as error:
        raise NoCompiler("any") from error
    folder = tmp_path_factory.mktemp("package") / "exitwatch"
    shutil.copytree(
        EXAMPLES / "package", folder, ignore=shutil.ignore_patterns("__pycache__", "*_bpf.py")
    )
    return folder


def build(folder: Path, kind: str) -> Path:
    """The one file that a build leaves in ``dist``."""
    out = folder / kind
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache_dir() / "compile")}
    done = subprocess.run(
        [sys.executable, "-c", BUILD.format(kind), str(out)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def installed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel is unpacked, which is all that installing it does."""
    place = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(build(folder, "wheel")) as wheel:
        wheel.extractall(place)
    return place


def test_the_wheel_runs_without_a_compiler(installed: Path) -> None:
    """The program would be missing in the wheel, or be compiled where it is used."""
    environment = {"PYTHONPATH": str(installed), "PATH": "/nonexistent", "HOME": "/nonexistent"}
    command = [sys.executable, "-W", "error", "-m", "exitwatch", "--lowest", "7"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            assert line == "watching\n", line + process.stderr.read()
            shell = "/bin/sh"
            ended = [subprocess.Popen([shell, "-c", f"exit {n}"]) for n in (6, 7)]
            assert [one.wait() for one in ended] == [6, 7]
            seen = next(line for line in process.stdout if line.startswith(f"{ended[1].pid} "))
            assert seen == f"{ended[1].pid} sh ended with 7\n"
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
            assert process.wait(TIMEOUT) == 0
            assert f"{ended[0].pid} " not in seen + rest
            assert process.stderr.read() == ""
        finally:
            process.kill()


def test_the_source_distribution_has_the_source(folder: Path) -> None:
    """A wheel could not be built from it."""
    with tarfile.open(build(folder, "sdist")) as archive:
        names = archive.getnames()
    assert any(name.endswith("/src/exitwatch/exits.bpf.c") for name in names), names
