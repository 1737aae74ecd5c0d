"""Which compiler there is: clang, or the one in the PyPI package ziglang."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import subprocess
import sys

from ebpf.compile.cache import cache_folder, digest, unusable, write_atomically
from ebpf.errors import CompileError
from ebpf.plain import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REMEDIES = (
    "install clang (apt-get install clang, dnf install clang, apk add clang), "
    "or the compiler that pip has: pip install 'ebpf[compile]'"
)
# The oldest whose BTF has what the headers use: type tags. Enums of 64 bits came a release later.
OLDEST_CLANG = 14
_CLANG = re.compile(r"clang(?:-(\d+))?")


class Compiler(NamedTuple):
    """A compiler that makes BPF objects.

    ``command`` is what to execute, ``version`` its release as (major, minor, patch), and
    ``identity`` changes whenever another build of it is installed.
    """

    kind: str  # "clang" or "zig"
    command: tuple[str, ...]
    version: tuple[int, ...]
    identity: str

    def target(self, byte_order: str) -> list[str]:
        """The options for BPF of this byte order."""
        name = "bpfel" if byte_order == "little" else "bpfeb"
        return ["-target", f"{name}-freestanding" if self.kind == "zig" else name]


def find_compiler(name: str | os.PathLike[str] | None = None, *, cache: bool = False) -> Compiler:
    """The compiler that `compile_c` uses: the newest clang on PATH that knows BPF, else ziglang.

    `name` asks for one: the name or path of a clang, or ``"zig"``. With `cache` the user's cache
    folder remembers what compilers say of themselves, by the size and time of their files, so that
    none is executed to find it again. Raises CompileError where there is none, with what would
    help.
    """
    path = os.environ.get("PATH", os.defpath)
    if name is None:
        return _newest(path, _marks(path), cache)
    if os.fspath(name) == "zig":
        found = _zig(cache)
        if found is None:
            raise CompileError("ziglang is not installed: pip install 'ebpf[compile]'")
        return found
    import shutil

    executable = shutil.which(os.fspath(name), path=path)
    if executable is None:
        raise CompileError(f"compiler is {os.fspath(name)!r}, and there is no such program on PATH")
    clang, why = _clang(executable, _mark(executable), cache)
    if clang is None:
        raise CompileError(f"compiler {executable} cannot be used: {why}")
    return clang


def _marks(path: str) -> tuple[tuple[str, str], ...]:
    return tuple((candidate, _mark(candidate)) for candidate in _candidates(path))


@functools.lru_cache(maxsize=8)
def _newest(path: str, marks: tuple[tuple[str, str], ...], cache: bool) -> Compiler:
    """`marks` are part of the question so that a compiler installed meanwhile is seen."""
    usable, refused = [], []
    for candidate, mark in marks:
        clang, why = _clang(candidate, mark, cache)
        if clang is not None:
            usable.append(clang)
        else:
            refused.append(f"{candidate}: {why}")
    if usable:
        return max(usable, key=lambda one: one.version)
    if zig := _zig(cache):
        return zig
    found = "; ".join(refused) or "there is no clang on PATH, and the package ziglang is missing"
    raise CompileError(f"no compiler for BPF programs in C ({found}): {REMEDIES}")


def _candidates(path: str) -> Iterator[str]:
    """Everything on PATH that is called clang or clang-N; of two with one name, the first."""
    seen = set()
    for folder in path.split(os.pathsep):
        for name in _names(folder):
            if not name.startswith("clang") or name in seen or not _CLANG.fullmatch(name):
                continue
            found = os.path.join(folder, name)
            if _executable(found):
                seen.add(name)
                yield found


def _names(folder: str) -> list[str]:
    """What is in a folder of PATH; of those that are missing or closed to this user, nothing."""
    try:
        return sorted(os.listdir(folder)) if folder else []
    except OSError:
        return []


def _executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _mark(path: str) -> str:
    """What changes when another file is put in this place."""
    real = os.path.realpath(path)
    status = os.stat(real)
    return f"{real} {status.st_size} {status.st_mtime_ns}"


@functools.lru_cache(maxsize=64)
def _clang(path: str, mark: str, cache: bool) -> tuple[Compiler | None, str]:
    """The clang at `path`, or None and why it is of no use."""
    try:
        text = _answer([path, "--version"], mark, cache)
        match = re.search(r"clang version (\d+)\.(\d+)\.(\d+)", text)
        if match is None:
            return None, "its --version is not clang's"
        version = tuple(int(part) for part in match.groups())
        if version[0] < OLDEST_CLANG:
            return None, f"clang {version[0]} is too old, it takes {OLDEST_CLANG}"
        targets = _answer([path, "-print-targets"], mark, cache)
        if not re.search(r"^\s*bpfel\b", targets, re.MULTILINE):
            return None, "it was built without the target bpfel"
    except (OSError, subprocess.CalledProcessError) as error:
        return None, str(error)
    return Compiler("clang", (path,), version, f"{text.splitlines()[0]} {mark}"), ""


def _zig(cache: bool) -> Compiler | None:
    spec = importlib.util.find_spec("ziglang")
    if spec is None or not spec.submodule_search_locations:
        return None
    command = (sys.executable, "-m", "ziglang")
    folder = spec.submodule_search_locations[0]
    binary = os.path.join(folder, "zig")
    return _probe_zig(command, folder, _mark(binary if os.path.exists(binary) else folder), cache)


@functools.lru_cache(maxsize=8)
def _probe_zig(command: tuple[str, ...], folder: str, mark: str, cache: bool) -> Compiler:
    try:
        text = _answer([*command, "version"], mark, cache).strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise CompileError(f"the package ziglang in {folder} does not work: {error}") from error
    version = tuple(int(part) for part in re.findall(r"\d+", text)[:3])
    return Compiler("zig", (*command, "cc"), version, f"zig {text} {folder}")


def _answer(command: list[str], mark: str, cache: bool) -> str:
    """What a compiler with this mark says, executed only if the cache does not know."""
    if not cache or unusable():
        return _output(command)
    path = cache_folder() / "compilers" / digest(mark, *command)
    known = _kept(path)
    if known is not None:
        return known
    text = _output(command)
    # A folder that cannot be written may be right: what was compiled is read from it all the same.
    with contextlib.suppress(OSError):
        write_atomically(path, f"{digest(text)}\n{text}".encode())
    return text


def _kept(path: Path) -> str | None:
    """An answer, behind the digest of it; None if it is gone, closed or damaged."""
    try:
        known, _, text = path.read_bytes().decode("utf-8", "replace").partition("\n")
    except OSError:
        return None
    return text if digest(text) == known else None


def _output(command: list[str]) -> str:
    done = subprocess.run(
        command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    return done.stdout
