"""The memory of an array map, mapped into this process (MMAPABLE, Linux 5.5)."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os

from ebpf._sys import bpf, facts, forks
from ebpf.codec.layout import align_up
from ebpf.errors import BpfError
from ebpf.types import MapFlags, MapType, one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ebpf.maps.array import ArrayMap


class SharedMemory:
    """Where an array's memory is: in one mapping, from its first use on.

    To map it takes a dozen system calls, so it is kept: until the objects for the map are closed,
    or the map is to be frozen, which the kernel refuses while it is mapped for writing. Views keep
    it beyond that.
    """

    def __init__(self) -> None:
        #: The slots in the value's format; None where nothing is mapped.
        self.slots: memoryview | None = None
        self._bytes: memoryview | None = None

    def map(self, map: ArrayMap[Any]) -> memoryview:
        """The slots of `map`, in the value's format where that is one letter."""
        slots = _typed(self.bytes(map), map)
        self.slots = slots
        return slots

    def bytes(self, map: ArrayMap[Any]) -> memoryview:
        """The slots of `map`, as bytes."""
        mapped = self._bytes
        if mapped is None:
            mapped = memoryview(_map(map))[: map.max_entries * slot_size(map)]
            self._bytes = mapped
            forks.watch(self)
        return mapped

    def drop(self) -> None:
        """Leave the memory to the views that others have of it."""
        self.slots = self._bytes = None

    # What a child inherits and does not use would keep its parent from freezing the map.
    _forked = drop


def _typed(view: memoryview, map: ArrayMap[Any]) -> memoryview:
    letter = map.value_codec.format or ""
    if len(letter) != 1:
        return view
    step = slot_size(map) // map.value_codec.size
    return view.cast(letter)[::step]  # type: ignore[call-overload,no-any-return]


def slot_size(map: ArrayMap[Any]) -> int:
    """Bytes from one slot to the next: kernel/bpf/arraymap.c rounds up to 8."""
    return align_up(map.value_codec.size, 8)


def _map(map: ArrayMap[Any]) -> mmap.mmap:
    fd = map.fileno()
    if map.type is not MapType.ARRAY:
        raise BpfError(
            errno.EINVAL,
            f"map the memory of {map!r}: the kernel maps that of an ARRAY, not of {one(map.type)}",
        )
    flags = MapFlags(bpf.obj_get_info_by_fd(fd, "map")["map_flags"])
    if not flags & MapFlags.MMAPABLE:
        raise BpfError(
            errno.EINVAL,
            f"map the memory of {map!r}: it was created without flags=MapFlags.MMAPABLE",
        )
    if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        # To mmap a file that can't be written is no shared one, and BPF wants shared ones.
        raise BpfError(
            errno.EINVAL,
            f"map the memory of {map!r}: the kernel maps no map that was opened read-only",
        )
    size = align_up(map.max_entries * slot_size(map), mmap.PAGESIZE)
    # What programs take for constants may not be changed, frozen or not yet.
    constant = flags & MapFlags.RDONLY_PROG or facts.is_frozen(fd)
    protection = mmap.PROT_READ if constant else mmap.PROT_READ | mmap.PROT_WRITE
    try:
        return mmap.mmap(fd, size, mmap.MAP_SHARED, protection)
    except PermissionError:
        # EACCES too, for a descriptor that may not read.
        map._fail(-errno.EPERM, "map the memory of")
    except OSError as error:
        map._fail(-(error.errno or 0), "map the memory of")
