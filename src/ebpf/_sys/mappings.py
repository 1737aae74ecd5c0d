"""The code that a process has mapped, as /proc/PID/maps lists it, and the files that it is from."""

from __future__ import annotations

import errno
import mmap
import os
import stat

from ebpf._ffi import ffi
from ebpf._sys import facts
from ebpf.errors import from_errno
from ebpf.plain import NamedTuple

_DELETED = " (deleted)"


class Mapping(NamedTuple):
    """One executable mapping; `offset` is that of its beginning in the file.

    `path` is the name that the file had, from this process's root directory where it can be
    reached from there, else from that of the process; or ``[vdso]`` and the like. Behind that of a
    file that has no name any more is `` (deleted)``.
    """

    start: int
    end: int
    offset: int
    device: int
    inode: int
    path: str

    @property
    def name(self) -> str:
        """The name that the file had, deleted or not."""
        return self.path.removesuffix(_DELETED)

    def exact(self, pid: int) -> str:
        """The kernel's own way to what is mapped, whatever has its name by now.

        It takes CAP_SYS_ADMIN, or CAP_CHECKPOINT_RESTORE (5.9).
        """
        return f"/proc/{pid}/map_files/{self.start:x}-{self.end:x}"

    def find(self, pid: int) -> str | None:
        """A path of the file that is mapped; None where this process has no way to it."""
        ways = (f"/proc/{pid}/root{self.name}", self.name, self.exact(pid))
        return next((way for way in ways if self.is_file(way)), None)

    def is_file(self, path: str) -> bool:
        """Whether the file at `path` is the one that is mapped."""
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode) or not status.st_size:
                return False
            own = self.device, self.inode
            return own == (status.st_dev, status.st_ino) or own == _listed(path)
        except OSError:
            # There is none, or it is out of reach.
            return False


def executable_mappings(pid: int) -> list[Mapping]:
    """What a process has mapped to run it, by address.

    Raises:
        BpfProcessLookupError: there is no such process.
        BpfPermissionError: this process may not look at it.
        BpfFileNotFoundError: /proc is not mounted.
    """
    facts.need_proc(f"find out what process {pid} has mapped")
    try:
        return [mapping for rights, mapping in _mappings(pid) if b"x" in rights]
    except OSError as error:
        code = errno.ESRCH if error.errno == errno.ENOENT else error.errno or 0
        raise from_errno(code, f"pid: read the mappings of process {pid}") from None


def _mappings(pid: int | str) -> list[tuple[bytes, Mapping]]:
    """(rights, mapping) of every one."""
    # Bytes: of what a file's name may have, the kernel writes only the newline in another way.
    with open(f"/proc/{pid}/maps", "rb") as file:
        lines = file.read().split(b"\n")[:-1]
    found = []
    for line in lines:
        place, rights, offset, device, inode, *path = line.split(None, 5)
        start, _, end = place.partition(b"-")
        major, _, minor = device.partition(b":")
        name = os.fsdecode(path[0].replace(b"\\012", b"\n")) if path else ""
        number = os.makedev(int(major, 16), int(minor, 16))
        numbers = int(start, 16), int(end, 16), int(offset, 16), number, int(inode)
        found.append((rights, Mapping(*numbers, name)))
    return found


def _listed(path: str) -> tuple[int, int] | None:
    """Device and inode of the file at `path` as mappings of it are listed: on btrfs and overlayfs
    stat() has others."""
    # Not to wait for the writer of a pipe that somebody has put there meanwhile.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        # Never read, so that it does not matter when the file becomes shorter.
        with mmap.mmap(fd, 1, access=mmap.ACCESS_READ) as mapped, ffi.from_buffer(mapped) as bytes_:
            address = int(ffi.cast("uintptr_t", bytes_))
            own = (mapping for _, mapping in _mappings("self"))
            return next((m.device, m.inode) for m in own if m.start <= address < m.end)
    finally:
        os.close(fd)
