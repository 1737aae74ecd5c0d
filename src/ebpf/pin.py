"""Names for kernel objects on a BPF file system (bpffs).

A pinned object lives until its name is removed and nobody holds a descriptor, also across
processes. Maps, programs and links have ``pin`` and ``unpin`` methods; `unpin` here removes a
name for which no object is at hand.
"""

from __future__ import annotations

import os
import stat

from ebpf._sys import bpf
from ebpf.errors import BpfError, BpfFileExistsError, BpfFileNotFoundError

# The directory where a bpffs is by custom.
BPFFS = "/sys/fs/bpf"


StrPath = str | os.PathLike[str]


def is_bpffs(path: StrPath) -> bool:
    """Whether the directory `path` is on a BPF file system."""
    directory = os.path.realpath(path)
    best, kind = "", ""
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
        for line in mounts:
            _, mounted, filesystem, *_ = line.split(" ")
            # /proc escapes blanks and the like in octal.
            point = mounted.encode("utf-8", "surrogateescape").decode("unicode_escape")
            inside = directory == point or directory.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best):
                best, kind = point, filesystem
    return kind == "bpf"


def pin(fd: int, path: StrPath, what: str) -> None:
    """Give the object behind `fd` the name `path`; `what` describes it in errors."""
    name = os.path.abspath(os.fspath(path))
    if os.path.lexists(name):
        raise BpfFileExistsError(17, f"pin {what}: {name} exists; unpin it first or open it")
    directory = os.path.dirname(name)
    if not os.path.isdir(directory):
        raise BpfFileNotFoundError(2, f"pin {what}: the directory {directory} does not exist")
    if not is_bpffs(directory):
        raise BpfError(22, f"pin {what}: {directory} is not on a BPF file system; {_remedy()}")
    bpf.obj_pin(fd, os.fsencode(name), action=f"pin {what} at {name}")


def open_pinned(path: StrPath, what: str, flags: int = 0) -> int:
    """A descriptor for the object pinned at `path`; `what` ("a map") is for errors."""
    name = os.path.abspath(os.fspath(path))
    if not os.path.lexists(name):
        hint = "" if is_bpffs(os.path.dirname(name)) else f"; {_remedy()}"
        raise BpfFileNotFoundError(2, f"open {what}: nothing is pinned at {name}{hint}")
    if not is_bpffs(name) or not stat.S_ISREG(os.stat(name).st_mode):
        raise BpfError(22, f"open {what}: {name} is not an object pinned on a BPF file system")
    return bpf.obj_get(os.fsencode(name), flags, action=f"open {what} pinned at {name}")


def unpin(path: StrPath) -> None:
    """Remove the name `path`. The object lives on while anybody holds a descriptor.

    Raises:
        FileNotFoundError: nothing has this name.
        BpfError: the path is not on a BPF file system; nothing is removed.
    """
    name = os.path.abspath(os.fspath(path))
    if not os.path.lexists(name):
        raise BpfFileNotFoundError(2, f"unpin: nothing is pinned at {name}")
    if not is_bpffs(os.path.dirname(name)):
        raise BpfError(22, f"unpin: {name} is not on a BPF file system")
    os.unlink(name)


def _remedy() -> str:
    if is_bpffs(BPFFS):
        return f"choose a path below {BPFFS}"
    return f"mount one with: mount -t bpf bpf {BPFFS}"


def kind_of(fd: int) -> str:
    """What a descriptor is, by its /proc entry: "map", "prog", "link" or something else."""
    target = os.readlink(f"/proc/self/fd/{fd}")
    return target.removeprefix("anon_inode:").strip("[]").removeprefix("bpf-").removeprefix("bpf_")
