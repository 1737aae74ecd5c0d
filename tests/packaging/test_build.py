"""Building where something is missing or old: compilers, headers, other architectures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.conftest import CHECKOUT, TEST_TOOLS, Environment, run
from tests.vm import headers

Make = Callable[..., Environment]

CORE = sorted((CHECKOUT / "src/core").glob("*.c"))
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
PACKAGES = ["apt-get install gcc", "dnf install gcc", "apk add gcc", "linux-libc-dev"]


def build(tree: Path, target: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Build the extension of `tree` with these environment variables."""
    return subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--build-lib", target, "--build-temp", target],
        cwd=tree,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(
    ("what", "variables"),
    [
        ("compiler", {"CC": "/nonexistent/cc"}),
        ("headers", {"CFLAGS": "-nostdinc"}),
    ],
)
def test_what_is_missing_is_named(
    what: str, variables: dict[str, str], tree: Path, tmp_path: Path
) -> None:
    """Without the message a user sees a compiler's error and searches the web."""
    result = build(tree, tmp_path, **variables)
    assert result.returncode != 0
    for package in PACKAGES:
        assert package in result.stdout
    assert "Traceback" not in result.stdout


@pytest.mark.parametrize("suite", headers.SUITES)
def test_builds_against_the_headers_of(suite: str, tree: Path, tmp_path: Path) -> None:
    """Every header set in use: a struct that is laid out otherwise there stops the build."""
    found = headers.prepare(suite)
    flags = f"-isystem {found.include} -isystem {found.arch_include} -Werror"
    result = build(tree, tmp_path / "build", CFLAGS=flags)
    assert result.returncode == 0, result.stdout
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path / "build")!r})
import importlib.util, glob
spec = importlib.util.spec_from_file_location("_ffi", glob.glob(sys.path[0] + "/**/*.so",
                                              recursive=True)[0])
module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
version = module.lib.ebpf_uapi_version()
print(f"{{version >> 16}}.{{version >> 8 & 255}}")
"""
    version = run(sys.executable, "-c", code).strip()
    assert version.split(".")[0] == found.kernel.split(".")[0]
    assert found.kernel.endswith("x") or version == found.kernel
    run(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("tests/unit/test_layout.py", "tests/unit/test_types.py"),
        cwd=CHECKOUT,
        env={**os.environ, "EBPF_UAPI_INCLUDE": str(found.include)},
    )


def test_built_on_the_oldest_drives_this_kernel(
    tree: Path, tmp_path: Path, environment: Make
) -> None:
    """A wheel that was built on Debian 11 must know the commands and fields of today's kernel."""
    found = headers.prepare("bullseye")
    flags = f"-isystem {found.include} -isystem {found.arch_include}"
    made = environment()
    made(
        *("-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, tree),
        env={**os.environ, "CFLAGS": flags},
    )
    (wheel,) = tmp_path.glob("*.whl")
    made.install(wheel, *TEST_TOOLS)
    assert made("-c", "import ebpf._ffi as f; print(f.lib.ebpf_uapi_version() >> 8)") == "1290\n"
    if os.geteuid() == 0:
        made("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/kernel", cwd=CHECKOUT)


@pytest.mark.parametrize("target", ["aarch64", "riscv64", "s390x"])
def test_core_compiles_for(target: str, tmp_path: Path) -> None:
    """The static assertions hold there too: other alignment, other byte order."""
    compiler = f"{target}-linux-gnu-gcc"
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} (gcc-{target}-linux-gnu)")
    for source in CORE:
        run(
            *(compiler, "-std=gnu11", "-O2", *WARNINGS, f"-I{CHECKOUT / 'include'}"),
            *("-c", source, "-o", tmp_path / "core.o"),
        )


def test_core_has_no_warnings(tmp_path: Path) -> None:
    """-Werror is for here only: a newer compiler at a user's must not fail on a new warning."""
    for source in CORE:
        run(
            *("cc", "-std=gnu11", "-O2", *WARNINGS, f"-I{CHECKOUT / 'include'}"),
            *("-c", source, "-o", tmp_path / "core.o"),
        )
