"""Programs that others wrote and that the tests compare with."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path


@functools.cache
def bpftool() -> str | None:
    """The path of a bpftool that works; None where there is none.

    Debian has it where only root looks. Ubuntu's is a script that finds the tool built with the
    running kernel, and no other; any other does as well.
    """
    found = [shutil.which("bpftool"), "/usr/sbin/bpftool"]
    found += sorted(map(str, Path("/usr/lib").glob("linux-tools*/*/bpftool")), reverse=True)
    for path in filter(None, found):
        if os.access(path, os.X_OK) and _works(path):
            return path
    return None


def _works(path: str) -> bool:
    return subprocess.run([path, "version"], capture_output=True).returncode == 0
