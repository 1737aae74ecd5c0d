"""Local storage: a value that lives with a socket, inode, task or cgroup."""

from __future__ import annotations

import errno
import os

from ebpf.errors import BpfProcessLookupError, from_errno
from ebpf.maps.base import Made, V
from ebpf.maps.keyed import ABSENT, KeyedMap
from ebpf.types import MapFlags, MapType, UpdateFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from ebpf.maps.base import Formats

_BY_PATH = (MapType.INODE_STORAGE, MapType.CGRP_STORAGE)

# What the keys of a type are descriptors of, and what the kernel says to another.
_KEYS = {
    MapType.SK_STORAGE: "socket",
    MapType.INODE_STORAGE: "open file",
    MapType.TASK_STORAGE: "pidfd (os.pidfd_open)",
    MapType.CGRP_STORAGE: "directory of a cgroup",
}
_OTHER_KEYS = (errno.EBADF, errno.ENOTSOCK)


class StorageMap(Made["StorageMap[Any]"], KeyedMap["Any", V]):  # type: ignore[misc]
    """SK_STORAGE, INODE_STORAGE, TASK_STORAGE (5.11) or CGRP_STORAGE (6.2).

    Keys are the objects themselves, as anything with ``fileno()`` or a descriptor's number: a
    socket, an open file, a pidfd, a cgroup's directory. An inode or a cgroup may be given by its
    path, a task by anything with a ``pid`` (a `subprocess.Popen`). A value goes away with its
    object. The kernel can't list the objects that have one, so there is no iteration.
    """

    types = (
        MapType.SK_STORAGE,
        MapType.INODE_STORAGE,
        MapType.TASK_STORAGE,
        MapType.CGRP_STORAGE,
    )

    # Without this Python would iterate by m[0], m[1], ..., which are descriptors here.
    __iter__ = None

    @classmethod
    def _default_formats(cls, flags: MapFlags, value_size: int | None) -> Formats:
        return "i", None

    def __getitem__(self, key: Any) -> V:
        value = self._get(key)
        if value is ABSENT:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Any, value: V) -> None:
        self.put(key, value)

    def __delitem__(self, key: Any) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def delete(self, key: Any) -> bool:
        """Take the value from the object `key`; False where it has none."""
        return self._delete(self._pack_key(key))

    def _pack_key(self, key: Any) -> bytes:
        if self.type == MapType.TASK_STORAGE and isinstance(getattr(key, "pid", None), int):
            return _Opened(super()._pack_key, self._open_task(key))
        if self.type in _BY_PATH and isinstance(key, (str, os.PathLike)):
            return _Opened(super()._pack_key, self._open_path(key))
        return super()._pack_key(key)

    def _open_task(self, key: Any) -> int:
        # What a Popen has waited for is gone, and another process may have its number by now.
        if getattr(key, "returncode", None) is not None:
            raise BpfProcessLookupError(
                errno.ESRCH, f"key of {self!r}: the process of {key!r} has ended"
            )
        try:
            return os.pidfd_open(key.pid)
        except OSError as error:
            raise self._bad_key(error, f"the process {key.pid}") from None

    def _open_path(self, key: str | os.PathLike[str]) -> int:
        try:
            return os.open(key, os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            raise self._bad_key(error, os.fspath(key)) from None

    def _bad_key(self, error: OSError, what: str) -> OSError:
        return from_errno(error.errno or 0, f"key of {self!r}: {what}")

    def _fail(self, result: int, action: str, flags: UpdateFlags | int = 0) -> NoReturn:
        if -result in _OTHER_KEYS and not self.closed:
            raise from_errno(-result, f"{action} {self!r}: the key is no {_KEYS[self.type]}")
        super()._fail(result, action, flags)


class _Opened(bytes):
    """A packed key whose descriptor is this library's: it is open for as long as the key is."""

    _fd = -1

    def __new__(cls, pack: Callable[[int], bytes], fd: int) -> _Opened:
        try:
            made = super().__new__(cls, pack(fd))
        except BaseException:
            os.close(fd)
            raise
        made._fd = fd
        return made

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
