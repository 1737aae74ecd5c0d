"""Names for kernel objects on a BPF file system (bpffs).

A pinned object lives until its name is removed and nobody holds a descriptor, also across
processes. Maps, programs and links have ``pin`` and ``unpin`` methods; `unpin` here removes a
name for which no object is at hand.
"""

from __future__ import annotations

import errno
import os
import stat

from ebpf._sys import bpf, check, facts, lib
from ebpf._sys.arguments import check_text
from ebpf.errors import (
    BpfError,
    BpfFileExistsError,
    BpfFileNotFoundError,
    BpfPermissionError,
)

# The directory where a bpffs is by custom.
BPFFS = "/sys/fs/bpf"

# BPF_FS_MAGIC, <linux/magic.h>.
_MAGIC = 0xCAFE4A11

StrPath = str | os.PathLike[str]


def is_bpffs(path: StrPath) -> bool:
    """Whether `path`, or where it does not exist the directory it would be in, is on a bpffs.

    Raises:
        BpfPermissionError: a directory on the way there may not be searched.
    """
    name = os.path.abspath(path)
    action = f"look for {path!s}"
    while _stat(name, action) is None:
        name = os.path.dirname(name)
    # Not by the mounts that this process sees: /proc/PID/root leads to those of others, too.
    return check(lib.ebpf_file_system(os.fsencode(name)), action) == _MAGIC


def _stat(name: str, action: str, *, follow: bool = True) -> os.stat_result | None:
    """What is at `name`; None where nothing is, by name or behind the symbolic link."""
    try:
        return os.stat(name, follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        if error.errno == errno.EPERM:
            # What a bpffs answers to a name with a dot, which nothing on it can have.
            return None
        raise _unsearchable(name, action) from None


def _unsearchable(name: str, action: str) -> BpfPermissionError:
    """The error that names the directory on the way to `name` that may not be searched."""
    parts = os.path.realpath(name).split("/")
    directory = "/"
    for depth in range(2, len(parts) + 1):
        try:
            os.lstat("/".join(parts[:depth]))
        except OSError:
            break
        directory = "/".join(parts[:depth])
    found = os.stat(directory)
    return BpfPermissionError(
        errno.EACCES,
        f"{action}: this process may not search the directory {directory}"
        f" (mode {stat.S_IMODE(found.st_mode):04o}, owner {found.st_uid}:{found.st_gid});"
        " run it as root, or give it search permission there (chmod +x)",
    )


def _absolute(path: StrPath) -> str:
    text = os.fspath(path)
    check_text("path", text)
    return os.path.abspath(text)


def pin(fd: int, path: StrPath, what: str) -> None:
    """Give the object behind `fd` the name `path`; `what` describes it in errors."""
    name = _absolute(path)
    directory, base = os.path.split(name)
    action = f"pin {what}"
    if _stat(name, action, follow=False) is not None:
        raise BpfFileExistsError(
            errno.EEXIST, f"pin {what}: {name} exists; unpin it first or open it"
        )
    parent = _stat(directory, action)
    if parent is None or not stat.S_ISDIR(parent.st_mode):
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
    """A descriptor for the object pinned at `path`; `what` ("map") is for errors.

    Raises:
        BpfFileNotFoundError: nothing is pinned there.
        BpfPermissionError: a directory on the way there may not be searched, or the pin's mode
            does not let this user open it; the message has both.
        BpfError: the path is on no bpffs.
    """
    name = _absolute(path)
    action = f"open {what}"
    if _stat(name, action, follow=False) is None:
        hint = "" if is_bpffs(name) else f"; it is on no BPF file system: {_remedy()}"
        raise BpfFileNotFoundError(errno.ENOENT, f"open {what}: nothing is pinned at {name}{hint}")
    found = _stat(name, action)
    if found is None or not is_bpffs(name) or not stat.S_ISREG(found.st_mode):
        raise BpfError(
            errno.EINVAL, f"open {what}: {name} is not an object pinned on a BPF file system"
        )
    try:
        return bpf.obj_get(os.fsencode(name), flags, action=f"open {what} pinned at {name}")
    except BpfPermissionError as error:
        if error.errno != errno.EACCES:
            raise
        mode = stat.S_IMODE(found.st_mode)
        raise BpfPermissionError(
            errno.EACCES,
            f"open {what} pinned at {name}: the pin is mode {mode:04o}, owner"
            f" {found.st_uid}:{found.st_gid}; open it as that user, or let this one (chown, chmod)",
        ) from None


def unpin(path: StrPath) -> None:
    """Remove the name `path`. The object lives on while anybody holds a descriptor.

    Raises:
        FileNotFoundError: nothing has this name.
        BpfPermissionError: a directory on the way there may not be searched or written.
        BpfError: the path is a directory or not on a BPF file system; nothing is removed.
    """
    name = _absolute(path)
    found = _stat(name, "unpin", follow=False)
    if found is None:
        raise BpfFileNotFoundError(errno.ENOENT, f"unpin: nothing is pinned at {name}")
    if not is_bpffs(os.path.dirname(name)):
        raise BpfError(errno.EINVAL, f"unpin: {name} is not on a BPF file system")
    if stat.S_ISDIR(found.st_mode):
        raise BpfError(errno.EISDIR, f"unpin: {name} is a directory")
    try:
        os.unlink(name)
    except PermissionError as error:
        directory = os.path.dirname(name)
        raise BpfPermissionError(
            error.errno or errno.EACCES,
            f"unpin: this process may not remove {name}: it takes write permission for {directory}",
        ) from None


def _remedy() -> str:
    if is_bpffs(BPFFS):
        return f"choose a path below {BPFFS}"
    return f"mount one with: mount -t bpf bpf {BPFFS}"


def kind_of(fd: int) -> str:
    """What a descriptor is, by its /proc entry: "map", "prog", "link" or something else."""
    facts.need_proc(f"find out what the descriptor {fd} is")
    target = os.readlink(f"/proc/self/fd/{fd}")
    return target.removeprefix("anon_inode:").strip("[]").removeprefix("bpf-").removeprefix("bpf_")
