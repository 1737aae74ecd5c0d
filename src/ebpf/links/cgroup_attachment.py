"""Programs of cgroups that were attached without a link, and who attached them.

Such an attachment has no owner. So the cgroup gets an extended attribute for it, whose name says
what is attached by which process, and which goes with the attachment; `ebpf.links.cleanup` detaches
what processes that are gone have left. In the modes "single" and "override" a program may be
attached again that is attached: then there are several, and the last to close detaches.
"""

from __future__ import annotations

import errno
import os
import re
import weakref
from itertools import count

from ebpf._sys import Descriptor, bpf
from ebpf._sys.closing import close_all
from ebpf._sys.descriptor import duplicate
from ebpf._sys.mounts import mounted
from ebpf.errors import BpfError, BpfFileNotFoundError, NotSupportedError, from_errno
from ebpf.links.at_exit import at_exit
from ebpf.links.base import Link
from ebpf.links.lock import alone
from ebpf.links.owner import MARK, is_gone, mark
from ebpf.queries.hooks import query_hook
from ebpf.types import AttachType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ebpf.info import LinkInfo
    from ebpf.links.base import HasFileno

# The attribute of an attachment: the hook, the program's id, the process, a number. Of the trusted
# ones (CAP_SYS_ADMIN), as a cgroup may be delegated to a user who could set those of users.
_ATTRIBUTE = re.compile(rf"trusted\.ebpf\.(\d+)\.(\d+)\.({MARK})_\d+")
_numbers = count(1)

# The attributes of a cgroup and what is attached, change together.
LOCK = "cgroup"

# What a cgroup answers that was removed, or a hook that has no such program any more.
_GONE = (errno.ENOENT, errno.ENODEV)

# Those of this process that are open.
_open: weakref.WeakSet[CgroupAttachment] = weakref.WeakSet()


class CgroupAttachment(Link):
    """A program that was attached to a cgroup without a link; closing it detaches.

    The process closes it when it ends by itself. After SIGKILL or SIGTERM it stays until the cgroup
    is removed, or `ebpf.links.cleanup` is called; that does not find what a process without
    CAP_SYS_ADMIN attached, which cannot leave a mark.
    """

    _attribute = ""

    def __init__(
        self, cgroup_fd: int, program: HasFileno, attach_type: AttachType, target: str
    ) -> None:
        self._id = bpf.prog_info(program.fileno())["id"]
        super().__init__(duplicate(cgroup_fd), target)
        try:
            self._program = Descriptor(duplicate(program.fileno()))
        except BaseException:
            os.close(self.__dict__.pop("_fd"))
            raise
        self.attach_type = attach_type
        self._pid = os.getpid()
        self._attribute = _set_attribute(self._fd, attach_type, self._id)
        at_exit(_close_own)
        _open.add(self)

    def info(self) -> LinkInfo:
        """Not to be had: the kernel keeps no link. `ebpf.query` tells what is attached."""
        raise self._not_a_link("describe")

    def update(self, program: HasFileno, *, expected: HasFileno | None = None) -> None:
        """Not to be had: attach with ``replace=``."""
        raise self._not_a_link("update")

    def _anchor(self) -> tuple[int, bool]:
        return self._program.fileno(), False

    def detach(self) -> None:
        """Detach by closing."""
        self.close()

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Not to be had: the kernel keeps no link."""
        raise self._not_a_link("pin")

    def close(self) -> None:
        """Detach, if the program is still the one that is attached, and nobody else has attached
        the same. Closing twice does nothing."""
        if self._fd >= 0:
            with alone(LOCK):
                self._end()

    def _end(self) -> None:
        """Detach, alone already."""
        fd, hook = self._fd, self.attach_type
        try:
            # What a parent attached is not a forked child's to detach.
            if self._pid == os.getpid() and not _is_held(fd, hook, self._id, self._attribute):
                _detach(fd, hook, self._id, self._program.fileno(), self.target)
        finally:
            self._forget()

    def _forget(self) -> None:
        """Give the descriptors back, whatever is attached."""
        if self._fd >= 0 and self._attribute and self._pid == os.getpid():
            _remove_attribute(self._fd, self._attribute)
        super().close()
        self._program.close()

    def _not_a_link(self, action: str) -> NotSupportedError:
        return NotSupportedError(f"{action} {self!r}: it was attached without a link (mode=)")


def _close_own() -> None:
    close_all(list(_open))


def _detach(cgroup_fd: int, attach_type: AttachType, id: int, program_fd: int, target: str) -> bool:
    """Whether the program was there to be detached."""
    # In the modes "single" and "override" the kernel detaches whatever is attached.
    try:
        if id not in query_hook(cgroup_fd, attach_type, f"query {target}").program_ids:
            return False
        bpf.prog_detach(
            f"detach from {target}",
            target_fd=cgroup_fd,
            attach_bpf_fd=program_fd,
            attach_type=attach_type,
        )
    except BpfError as error:
        # Detached by somebody else, or the cgroup was removed.
        if error.errno not in _GONE:
            raise
        return False
    return True


def _set_attribute(cgroup_fd: int, attach_type: AttachType, id: int) -> str:
    """Say that this process attaches the program; the attribute, "" where it may set none."""
    name = f"trusted.ebpf.{int(attach_type)}.{id}.{mark()}_{next(_numbers)}"
    try:
        os.setxattr(cgroup_fd, name, b"1")
    except OSError:
        # To attach takes fewer rights (CAP_BPF, CAP_NET_ADMIN); what has no attributes is refused
        # when the program is attached.
        return ""
    return name


def _is_held(cgroup_fd: int, attach_type: AttachType, id: int, besides: str = "") -> bool:
    """Whether somebody who is there has attached the program, other than by one attribute."""
    for attribute in _listed(cgroup_fd):
        match = _ATTRIBUTE.fullmatch(attribute)
        if match is None or attribute == besides or is_gone(match[3]):
            continue
        if (int(match[1]), int(match[2])) == (int(attach_type), id):
            return True
    return False


def _remove_attribute(cgroup_fd: int, name: str) -> None:
    try:
        os.removexattr(cgroup_fd, name)
    except OSError:
        # It was not set, or the cgroup was removed.
        return


def remove_stale_cgroup_programs() -> list[str]:
    """Detach what processes that are gone have attached to cgroups without a link."""
    removed = []
    for path in _cgroups():
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise from_errno(error.errno or 0, f"open the cgroup {path}") from None
        with Descriptor(fd), alone(LOCK):
            removed += _remove_stale(fd, path)
    return removed


def _cgroups() -> Iterator[str]:
    """The directories of all cgroups (v2) that can be seen."""
    try:
        root = next((point for point, kind, _ in mounted() if kind == "cgroup2"), None)
    except FileNotFoundError:
        return
    if root is not None:
        for path, _, _ in os.walk(root):
            yield path


def _remove_stale(fd: int, path: str) -> list[str]:
    removed = []
    for attribute in _listed(fd):
        match = _ATTRIBUTE.fullmatch(attribute)
        if match is None or not is_gone(match[3]):
            continue
        hook, id = AttachType(int(match[1])), int(match[2])
        # Otherwise somebody who is there has attached the same program since.
        if not _is_held(fd, hook, id):
            try:
                with Descriptor(bpf.prog_get_fd_by_id(id)) as program:
                    if _detach(fd, hook, id, program.fileno(), path):
                        removed.append(f"{hook.name} of {path}")
            except BpfFileNotFoundError:
                # The program is gone, so it is not attached.
                pass
        _remove_attribute(fd, attribute)
    return removed


def _listed(fd: int) -> list[str]:
    try:
        return os.listxattr(fd)
    except OSError:
        # Removed meanwhile, or without attributes.
        return []
