"""A cgroup for one command, which is gone when the command is."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def own_cgroup(name: str) -> Iterator[Path]:
    """A new cgroup (v2); removed at the end, when no process is in it any more."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    roots = [mount[1] for mount in mounts if mount[2] == "cgroup2"]
    if not roots:
        raise SystemExit(f"{name}: no cgroup v2 is mounted; mount -t cgroup2 none /sys/fs/cgroup")
    path = Path(roots[0], f"{name}-{os.getpid()}")
    path.mkdir()
    try:
        yield path
    finally:
        remove(path)


def remove(path: Path) -> None:
    """What the command has left running keeps the cgroup; it is told, and stays."""
    for _ in range(100):
        try:
            path.rmdir()
            return
        except OSError:
            # The last process is on its way out.
            time.sleep(0.05)
    print(f"{path} has processes and stays, without programs")


def run_in(path: Path, command: list[str]) -> int:
    """Run `command` in the cgroup; its exit status."""
    enter = 'echo $$ > "$0"/cgroup.procs && exec "$@"'
    status = subprocess.run(["sh", "-c", enter, str(path), *command], check=False).returncode
    return 128 - status if status < 0 else status
