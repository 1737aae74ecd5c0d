"""Builds the distribution once, from a copy of the checkout, and installs it where tests ask."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

# What a build or a virtual environment leaves in a checkout: anywhere, and in its root.
_LEFTOVERS = shutil.ignore_patterns(
    ".git",
    ".hypothesis",
    ".venv*",
    "*.egg-info",
    "*.so",
    "_ffi.c",
    "__pycache__",
    ".*_cache",
)
_IN_ROOT = {"build", "dist"}

# What the tests import beside the library, in the release that each interpreter can have, and what
# the example package is built with.
TEST_TOOLS = ("pytest", "hypothesis", "numpy", "pyroute2", "scapy", "setuptools>=77")


def _leftovers(folder: str, names: list[str]) -> set[str]:
    return _LEFTOVERS(folder, names) | (_IN_ROOT if Path(folder) == CHECKOUT else set())


def run(*command: object, **options: object) -> str:
    """The output of a command that has to succeed; all of it is shown when it doesn't."""
    arguments = [str(part) for part in command]
    result = subprocess.run(  # type: ignore[call-overload]
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    assert result.returncode == 0, f"{' '.join(arguments)}\n{result.stdout}"
    return str(result.stdout)


class Environment:
    """A virtual environment of some interpreter."""

    def __init__(self, directory: Path, interpreter: str) -> None:
        run(interpreter, "-m", "venv", directory)
        self.python = directory / "bin" / "python"

    def install(self, *what: object) -> None:
        run(self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what)

    def __call__(self, *arguments: object, **options: object) -> str:
        options.setdefault("cwd", "/")  # where no folder of the checkout can be imported
        # What these environments lack on purpose, numpy for one, is no mistake of the machine.
        lenient = {name: value for name, value in os.environ.items() if name != "EBPF_NO_SKIPS"}
        options.setdefault("env", lenient)
        return run(self.python, *arguments, **options)


@pytest.fixture(scope="session")
def copied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, frozenset[str]]:
    """A clean copy of the checkout, and the files in it before anything is built there."""
    copy = tmp_path_factory.mktemp("tree") / "ebpf"
    shutil.copytree(CHECKOUT, copy, ignore=_leftovers)
    files = (path for path in copy.rglob("*") if path.is_file())
    return copy, frozenset(str(path.relative_to(copy)) for path in files)


@pytest.fixture(scope="session")
def tree(copied: tuple[Path, frozenset[str]]) -> Path:
    """A clean copy of the checkout."""
    return copied[0]


@pytest.fixture(scope="session")
def dist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from that sdist."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", out, tree)
    return out


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture
def environment(tmp_path: Path) -> Callable[..., Environment]:
    """Makes a virtual environment: ``environment()`` or ``environment("/usr/bin/python3.12")``."""

    def make(interpreter: str = sys.executable) -> Environment:
        return Environment(tmp_path / f"venv-{len(os.listdir(tmp_path))}", interpreter)

    return make
