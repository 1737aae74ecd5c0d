"""Names for kernel objects on a BPF file system (bpffs).

A pinned object lives until its name is removed and nobody holds a descriptor, also across
processes. Maps, programs and links have ``pin`` and ``unpin`` methods; `unpin` here removes a
name for which no object is at hand.
"""

from __future__ import annotations

import errno
import os
import stat

from ebpf._sys import bpf
from ebpf.errors import BpfError, BpfFileExistsError, BpfFileNotFoundError

# The directory where a bpffs is by custom.
BPFFS = "/sys/fs/bpf"

StrPath = str | os.PathLike[str]


def is_bpffs(path: StrPath) -> bool:
    """Whether `path`, or where it does not exist the directory it would be in, is on a bpffs."""
    device = os.stat(_existing(os.path.abspath(path))).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        for line in mounts:
            # proc(5): the third field is the device; behind " - " comes the type.
            if line.split(" ", 3)[2] == number:
                return line.partition(" - ")[2].startswith("bpf ")
    return False


def _existing(path: str) -> str:
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def pin(fd: int, path: StrPath, what: str) -> None:
    """Give the object behind `fd` the name `path`; `what` describes it in errors."""
    name = os.path.abspath(path)
    directory, base = os.path.split(name)
    if os.path.lexists(name):
        raise BpfFileExistsError(
            errno.EEXIST, f"pin {what}: {name} exists; unpin it first or open it"
        )
    if not os.path.isdir(directory):
        hint = "" if is_bpffs(directory) else f", and is on no BPF file system; {_remedy()}"
        raise BpfFileNotFoundError(
            errno.ENOENT, f"pin {what}: the directory {directory} does not exist{hint}"
        )
    if not is_bpffs(directory):
        raise BpfError(
            errno.EINVAL, f"pin {what}: {directory} is not on a BPF file system; {_remedy()}"
        )
    if "." in base:
        # bpf_lookup() in kernel/bpf/inode.c answers EPERM, which says something else.
        raise BpfError(errno.EINVAL, f"pin {what}: a name on a BPF file system has no '.': {base}")
    bpf.obj_pin(fd, os.fsencode(name), action=f"pin {what} at {name}")


def open_pinned(path: StrPath, what: str, flags: int = 0) -> int:
    """A descriptor for the object pinned at `path`; `what` ("map") is for errors."""
    name = os.path.abspath(path)
    if not os.path.lexists(name):
        hint = "" if is_bpffs(name) else f"; it is on no BPF file system: {_remedy()}"
        raise BpfFileNotFoundError(errno.ENOENT, f"open {what}: nothing is pinned at {name}{hint}")
    if not is_bpffs(name) or not stat.S_ISREG(os.stat(name).st_mode):
        raise BpfError(
            errno.EINVAL, f"open {what}: {name} is not an object pinned on a BPF file system"
        )
    return bpf.obj_get(os.fsencode(name), flags, action=f"open {what} pinned at {name}")


def unpin(path: StrPath) -> None:
    """Remove the name `path`. The object lives on while anybody holds a descriptor.

    Raises:
        FileNotFoundError: nothing has this name.
        BpfError: the path is a directory or not on a BPF file system; nothing is removed.
    """
    name = os.path.abspath(path)
    if not os.path.lexists(name):
        raise BpfFileNotFoundError(errno.ENOENT, f"unpin: nothing is pinned at {name}")
    if not is_bpffs(os.path.dirname(name)):
        raise BpfError(errno.EINVAL, f"unpin: {name} is not on a BPF file system")
    if os.path.isdir(name) and not os.path.islink(name):
        raise BpfError(errno.EISDIR, f"unpin: {name} is a directory")
    os.unlink(name)


def _remedy() -> str:
    if is_bpffs(BPFFS):
        return f"choose a path below {BPFFS}"
    return f"mount one with: mount -t bpf bpf {BPFFS}"


def kind_of(fd: int) -> str:
    """What a descriptor is, by its /proc entry: "map", "prog", "link" or something else."""
    target = os.readlink(f"/proc/self/fd/{fd}")
    return target.removeprefix("anon_inode:").strip("[]").removeprefix("bpf-").removeprefix("bpf_")
