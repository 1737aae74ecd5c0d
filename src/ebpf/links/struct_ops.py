"""Structs of functions that are registered without a link, and who registered them.

The kernel keeps them, with the map that they are in, until the map's value is deleted. A file in
/run/ebpf/struct_ops, whose name says everything, tells what was registered by whom.
"""

from __future__ import annotations

import errno
import os
import re
import weakref
from itertools import count

from ebpf._sys import Descriptor, bpf, check, lib
from ebpf._sys.closing import close_all
from ebpf.errors import BpfError, BpfFileNotFoundError
from ebpf.links import records
from ebpf.links.at_exit import at_exit
from ebpf.links.base import Link
from ebpf.links.owner import MARK, is_gone, mark
from ebpf.types import MapType

RECORDS = "/run/ebpf/struct_ops"

# Process, id of the map, a number.
_RECORD = re.compile(rf"({MARK})_(\d+)_\d+")
_numbers = count(1)

_KEY = bytes(4)

# Those of this process that are open.
_open: weakref.WeakSet[StructOpsAttachment] = weakref.WeakSet()


def register_struct_ops(map_fd: int, value: bytes, target: str) -> StructOpsAttachment:
    """Register the functions in `value`, which the STRUCT_OPS map gets.

    Raises:
        BpfError: EEXIST, EBUSY, EINVAL: as the kernel refuses it.
    """
    # What can fail comes before the registration, which nobody would end.
    attachment = StructOpsAttachment(map_fd, target)
    try:
        bpf.map_update_elem(map_fd, _KEY, value)
    except BpfError:
        attachment._forget()
        raise
    except BaseException:
        # Ctrl-C: the kernel may have registered them.
        attachment.close()
        raise
    return attachment


class StructOpsAttachment(Link):
    """A struct of functions that is registered without a link; closing it unregisters.

    The process closes it when it ends by itself. After SIGKILL or SIGTERM the functions stay, until
    `ebpf.links.cleanup` is called. In a child of the process that has attached it, closing only
    closes.
    """

    def __init__(self, map_fd: int, target: str) -> None:
        id = bpf.obj_get_info_by_fd(map_fd, "map")["id"]
        copy = check(int(lib.ebpf_dup(map_fd)), "duplicate the map's descriptor")
        super().__init__(copy, target)
        self._owner = os.getpid()
        try:
            # A map may be attached twice, and the second time be refused.
            name = f"{mark()}_{id}_{next(_numbers)}"
            self._record = records.write(RECORDS, name, f"that {target} is registered")
        except BaseException:
            os.close(self.__dict__.pop("_fd"))
            raise
        at_exit(_close_own)
        _open.add(self)

    def close(self) -> None:
        """Unregister. Closing twice does nothing."""
        fd = self.__dict__.pop("_fd", -1)
        if fd < 0:
            return
        try:
            if self._owner == os.getpid():
                _unregister(fd)
                records.forget(self._record)
        finally:
            os.close(fd)

    def _forget(self) -> None:
        """Give the descriptor back, whatever is registered."""
        super().close()
        records.forget(self._record)


def _close_own() -> None:
    close_all(list(_open))


def _unregister(fd: int) -> bool:
    """Unregister the functions in a map; False where they are not registered."""
    try:
        bpf.map_delete_elem(fd, _KEY)
    except BpfError as error:
        # EINPROGRESS: somebody else has unregistered them; ENOENT: they never were registered.
        if error.errno not in (errno.EINPROGRESS, errno.ENOENT):
            raise
        return False
    return True


def remove_stale_struct_ops() -> list[str]:
    """Unregister the functions that processes which are gone have left; the names of their maps."""
    removed: list[str] = []
    for name in records.names(RECORDS):
        match = _RECORD.fullmatch(name)
        if match is None or not is_gone(match[1]):
            continue
        try:
            fd = bpf.map_get_fd_by_id(int(match[2]), action=f"open the map with id {match[2]}")
        except BpfFileNotFoundError:
            # The kernel would keep it if it were registered.
            pass
        else:
            with Descriptor(fd):
                removed += _unregistered(fd)
        records.forget(f"{RECORDS}/{name}")
    return removed


def _unregistered(fd: int) -> list[str]:
    """Unregister what is in the map, if that is one of functions; its name if that was done."""
    info = bpf.obj_get_info_by_fd(fd, "map")
    if info["type"] != MapType.STRUCT_OPS or not _unregister(fd):
        return []
    return [f"struct_ops {os.fsdecode(info['name'])}"]
