"""What the host machine contributes: a cache folder, locks, and the programs that are needed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

# Programs of the system administrator are often missing from the PATH of ordinary users.
SEARCH_PATH = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
)

# program -> Debian package that brings it
APT_PACKAGES = {
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "depmod": "kmod",
    "modprobe": "kmod",
    "udevadm": "udev",
    "ip": "iproute2",
    "busybox": "busybox-static",
    "mmdebstrap": "mmdebstrap",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-system-aarch64": "qemu-system-arm",
}


class HarnessError(Exception):
    """The harness could not do its work: this says nothing about the command under test."""


class NoArchive(HarnessError):
    """Nothing on this machine says where Debian's packages are."""


def cache_dir() -> Path:
    """The folder for downloads: ``$EBPF_CACHE``, ``$XDG_CACHE_HOME/ebpf-tests``, or
    ``~/.cache/ebpf-tests``."""
    if own := os.environ.get("EBPF_CACHE"):
        return Path(own).absolute()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).absolute() / "ebpf-tests"
    return Path.home() / ".cache" / "ebpf-tests"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a cache folder, waiting for any other process that holds it.

    The lock file lies next to the folder, and the kernel drops the lock with its holder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f".{folder.name}.lock", "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that prepares {folder}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A new folder inside ``folder`` for unfinished work, gone afterwards unless renamed.

    Call it with the lock held: what a killed process left behind is removed first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(".partial-*"):
        shutil.rmtree(stale)
    # mkdtemp makes it private, but guests without root on the host have to read the result.
    path = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    path.chmod(0o755)
    try:
        yield path
    finally:
        if path.exists():
            shutil.rmtree(path)


def find_program(name: str) -> str | None:
    """The path of a program; ``vng`` is looked for next to the running interpreter first."""
    if name == "vng":
        beside = Path(sys.executable).parent / "vng"
        if beside.is_file():
            return str(beside)
    return shutil.which(name, path=SEARCH_PATH)


def missing_message(missing: Iterable[str]) -> str:
    """One message that names every missing program and how to get it."""
    names = sorted(set(missing))
    lines = [f"missing programs: {', '.join(names)}"]
    packages = sorted({APT_PACKAGES[name] for name in names if name != "vng"})
    if packages:
        lines.append(f"  apt-get install {' '.join(packages)}")
    if "vng" in names:
        lines.append("  pip install virtme-ng")
    return "\n".join(lines)


def require(programs: Iterable[str]) -> None:
    """Raise a HarnessError that names all programs which are not there."""
    missing = [name for name in programs if find_program(name) is None]
    if missing:
        raise HarnessError(missing_message(missing))


def check_path(path: Path, what: str) -> None:
    """Refuse a path that ``vng`` would break: it pastes paths unquoted into a shell command."""
    if not re.fullmatch(r"[\w@%+./~-]+", str(path), flags=re.ASCII):
        raise HarnessError(
            f"{what} {str(path)!r} has a character that vng does not quote; "
            "use a path of letters, digits and @%+./~-_"
        )


def run(command: Sequence[str], *, cwd: Path | None = None) -> str:
    """Run a program and return its standard output; failure becomes a HarnessError."""
    program = find_program(command[0])
    if program is None:
        raise HarnessError(missing_message([command[0]]))
    done = subprocess.run(
        [program, *command[1:]],
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": SEARCH_PATH},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise HarnessError(
            f"{' '.join(command)}\nended with status {done.returncode}:\n{done.stderr.strip()}"
        )
    return done.stdout


def say(text: str) -> None:
    """Print a line about the harness itself; standard output belongs to the command."""
    print(f"vm: {text}", file=sys.stderr, flush=True)
