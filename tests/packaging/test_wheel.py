"""The wheel: what is in it, and that the one file works on every CPython that is here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.conftest import CHECKOUT, TEST_TOOLS, Environment, run

Make = Callable[..., Environment]

# What differs between Pythons: classes that are made (`plain`), enums, annotations, argparse, the
# text of generated modules; asyncio, threads, forks beside them, signals, pickles.
WITHOUT_KERNEL = [
    f"tests/unit/{part}"
    for part in (
        "asm",
        "btf/test_btf.py",
        "cli",
        "codec",
        "codegen",
        "collection",
        "maps",
        "test_arguments.py",
        "test_call.py",
        "test_errors.py",
        "test_examples.py",
        "test_hints.py",
        "test_plain.py",
        "test_spec.py",
        "test_types.py",
    )
]
IN_KERNEL = [
    f"tests/kernel/{part}"
    for part in (
        "links/test_attach.py",
        "links/test_forks.py",
        "maps/test_hash.py",
        "perfbuf/test_waiting.py",
        "programs/test_load.py",
        "ringbuf",
        "test_threads.py",
    )
]
# Where several threads use the same objects: without the GIL, nothing but their locks is between.
WITH_THREADS = [
    f"tests/kernel/{part}"
    for part in (
        "test_threads.py",
        "test_closed_objects.py",
        "test_features_asking.py",
        "links/test_iterators.py",
        "maps/test_batch.py",
        "maps/test_hash_model.py",
        "maps/test_iteration.py",
        "maps/test_user_ring.py",
        "perfbuf/test_waiting.py",
        "ringbuf",
    )
]

# The first cffi that pyproject.toml allows; of those that a Python has a build of, for 3.11.
LOWEST_CFFI = {"python3.10": "1.15.0", "python3.11": "1.15.1"}


def interpreters() -> list[str]:
    """One interpreter for each CPython from 3.10 on: on PATH, and where pyenv keeps them."""
    folders = [Path(part) for part in os.environ.get("PATH", "").split(os.pathsep)]
    folders += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    found: dict[str, str] = {}
    for folder in folders:
        for path in sorted(folder.glob("python3.[0-9]*")):
            if not re.fullmatch(r"python3\.\d+t?", path.name) or not os.access(path, os.X_OK):
                continue
            # A shim of a version manager is no interpreter; one without venv cannot be used.
            probe = "import sys, venv, ensurepip; print(sys.implementation.cache_tag, sys.abiflags)"
            answer = subprocess.run([path, "-c", probe], capture_output=True, text=True)
            match = re.match(r"cpython-3(\d+) (\w*)$", answer.stdout.strip() + " ")
            if answer.returncode == 0 and match and int(match[1]) >= 10 and "t" not in match[2]:
                found.setdefault(f"3.{match[1]}", str(path))
    return [found[version] for version in sorted(found, key=lambda v: int(v[2:]))]


def test_there_is_one_wheel_for_all_versions(wheel: Path) -> None:
    """A tag other than cp310-abi3 would need a wheel per Python."""
    assert re.fullmatch(r"ebpf-[\d.]+-cp310-abi3-linux_\w+\.whl", wheel.name)


def test_wheel_has_what_users_need_and_nothing_else(tree: Path, wheel: Path) -> None:
    """Without the headers nobody can embed; without py.typed no type checker looks."""
    names = set(zipfile.ZipFile(wheel).namelist())
    for needed in ("ebpf/py.typed", "ebpf/_ffi.pyi", "ebpf/_ffi.abi3.so", "ebpf/embed.py"):
        assert needed in names
    headers = {f"ebpf/include/ebpf/{path.name}" for path in (tree / "include/ebpf").iterdir()}
    headers |= {str(path.relative_to(tree / "src")) for path in (tree / "src/ebpf").rglob("*.h")}
    assert "ebpf/compile/include/bpf/bpf_helpers.h" in headers
    modules = {str(path.relative_to(tree / "src")) for path in (tree / "src").rglob("*.py")}
    assert headers | modules <= names
    extra = {name for name in names if not re.match(r"ebpf(-[\d.]+\.dist-info)?/", name)}
    assert not extra
    assert not [name for name in names if name.endswith((".c", ".o"))]


def test_sdist_has_what_the_repository_has(copied: tuple[Path, frozenset[str]], dist: Path) -> None:
    """A file that MANIFEST.in forgets is missing for whoever builds or tests from the sdist."""
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert not copied[1] - inside


def test_wheel_uses_only_the_stable_abi(wheel: Path) -> None:
    """abi3audit reads the extension's symbols: one that 3.10 lacks would break there."""
    out = run(sys.executable, "-m", "abi3audit", "--strict", "--verbose", wheel)
    assert "1 extensions scanned; 0 ABI version mismatches and 0 ABI violations" in " ".join(
        out.split()
    )


@pytest.mark.parametrize("interpreter", interpreters())
def test_the_same_file_works_on(interpreter: str, wheel: Path, environment: Make) -> None:
    """The stable ABI is there, but Python's own classes, asyncio or signals are not as on 3.11.

    From the installed wheel, with src/ out of sight; the kernel tests as root.
    """
    made = environment(interpreter)
    made.install(wheel, *TEST_TOOLS)
    where = made("-c", "import ebpf, ebpf._ffi; print(ebpf._ffi.__file__)")
    assert "site-packages/ebpf/_ffi.abi3.so" in where
    chosen = [*WITHOUT_KERNEL, *(IN_KERNEL if os.geteuid() == 0 else [])]
    made("-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen, cwd=CHECKOUT)


@pytest.mark.parametrize("built_with", ["newest", "lowest"])
def test_the_lowest_cffi_suffices(
    built_with: str, dist: Path, environment: Make, tmp_path: Path
) -> None:
    """pip takes the newest where it may choose: nobody else would notice what it lacks."""
    found = [path for path in interpreters() if Path(path).name in LOWEST_CFFI]
    if not found:
        pytest.skip("no interpreter that the lowest cffi is built for (3.10 or 3.11)")
    made, lowest = environment(found[0]), LOWEST_CFFI[Path(found[0]).name]
    made.install(f"cffi=={lowest}", *TEST_TOOLS)
    folder = dist
    if built_with == "lowest":
        (sdist,), folder = dist.glob("*.tar.gz"), tmp_path / "built"
        alone = ("--quiet", "--no-deps", "--no-build-isolation")
        made("-m", "pip", "wheel", *alone, "--wheel-dir", folder, sdist)
    made.install(*folder.glob("*-cp310-abi3-*.whl"))
    assert made("-c", "import cffi; print(cffi.__version__)").strip() == lowest
    chosen = ["tests/unit/codec", "tests/unit/test_call.py", "tests/unit/test_ffi_stub.py"]
    if os.geteuid() == 0:
        chosen += [
            f"tests/kernel/{part}" for part in ("maps/test_hash.py", "ringbuf", "test_sys.py")
        ]
    made("-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen, cwd=CHECKOUT)


def test_free_threaded_interpreter_gets_its_own_wheel(
    tree: Path, environment: Make, tmp_path: Path
) -> None:
    """The limited API does not exist there, so a wheel tagged abi3 could not be loaded; and what
    the GIL does for threads elsewhere is nobody's there. The kernel tests as root."""
    interpreter = os.environ.get("EBPF_FREE_THREADED_PYTHON") or shutil.which("python3.14t")
    if interpreter is None:
        pytest.skip("no free-threaded interpreter (python3.14t, EBPF_FREE_THREADED_PYTHON)")
    made = environment(interpreter)
    made("-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, tree)
    (built,) = tmp_path.glob("*.whl")
    assert re.fullmatch(r"ebpf-[\d.]+-cp3\d+-cp3\d+t-linux_\w+\.whl", built.name)
    made.install(built, *TEST_TOOLS)
    gil = made("-c", "import ebpf, sys; print(sys._is_gil_enabled())")
    assert gil.strip() == "False"
    made("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit", cwd=CHECKOUT)
    if os.geteuid() == 0:
        # Also where one of the tests' tools would turn the GIL on again.
        without_gil = ("-X", "gil=0", "-m", "pytest", "-q", "-p", "no:cacheprovider")
        made(*without_gil, *WITH_THREADS, cwd=CHECKOUT)
