"""Local storage: a value that lives with a socket, inode, task or cgroup."""

from __future__ import annotations

from ebpf.maps.base import Made, V
from ebpf.maps.keyed import ABSENT, KeyedMap
from ebpf.types import MapFlags, MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ebpf.maps.base import Formats


class StorageMap(Made["StorageMap[Any]"], KeyedMap["Any", V]):  # type: ignore[misc]
    """SK_STORAGE, INODE_STORAGE, TASK_STORAGE (5.11) or CGRP_STORAGE (6.2).

    Keys are the objects themselves, as anything with ``fileno()`` or a descriptor's number: a
    socket, an open file, a pidfd, a cgroup's directory. A value goes away with its object. The
    kernel can't list the objects that have one, so there is no iteration. Creating one takes BTF
    for key and value.
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
