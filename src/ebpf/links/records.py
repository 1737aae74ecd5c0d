"""Who attached what the kernel keeps without an owner, and what has no name to say it with.

A file in a directory of /run says it, by its name. What it is to be removed by comes before the
attachment: a process that is killed in between has left a file too many, never one too few.
"""

from __future__ import annotations

import errno
import os

from ebpf.errors import from_errno

# Whoever may attach (CAP_NET_ADMIN, CAP_BPF) need not be able to write there.
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


def write(directory: str, name: str, what: str) -> str:
    """Write down `what` is attached, as `name`; the file, "" where this process may not."""
    path = f"{directory}/{name}"
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        if error.errno in _NOT_ALLOWED:
            return ""
        raise from_errno(error.errno or 0, f"write down in {directory} {what}") from None
    return path


def forget(path: str) -> None:
    """Remove a file of `write`, which may have made none."""
    if not path:
        return
    try:
        os.unlink(path)
    except FileNotFoundError:
        # Somebody has emptied the directory.
        return


def names(directory: str) -> list[str]:
    """What is written down, of all processes."""
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    except OSError as error:
        what = f"list {directory}, where it is written down what processes attached"
        raise from_errno(error.errno or 0, what) from None
