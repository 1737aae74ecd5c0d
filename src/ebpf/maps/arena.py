"""Arenas: memory that programs and user space share, at one address for both."""

from __future__ import annotations

import errno
import mmap
import os
from _weakref import ref  # without the weak dictionaries of `weakref`

from ebpf._sys import bpf, ffi, forks, lib
from ebpf._sys.call import fail
from ebpf.errors import BpfError
from ebpf.maps.base import Made, Map
from ebpf.types import MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ArenaMap(Made["ArenaMap"], Map[None, None]):  # type: ignore[misc]
    """An ARENA (6.9) of `max_entries` pages; ``map_extra`` is its address, 0 for any.

    The programs' pointers into it are addresses of this process, see `address`. A page that
    nobody has allocated yet appears, zeroed, when user space touches it (without the flag
    SEGV_ON_FAULT).
    """

    types = (MapType.ARENA,)
    default_type = MapType.ARENA

    # The mapping, which views of it keep alive; and where it is, as the kernel gives an arena no
    # other place later.
    _mapped: ref[Any] | None = None
    _place = 0

    @property
    def memory(self) -> memoryview:
        """All of it as writable bytes, without a system call for each access.

        A view stays valid when the map is closed, and keeps the memory until it is dropped. The
        kernel gives an arena one place in a process, so there is one mapping of it at a time. A
        forked child has it as well, if the map was open then.

        Raises:
            ClosedError: the map was closed.
            BpfError: the arena, or something else, is mapped there already.
        """
        memory = self._memory()
        return memoryview(ffi.buffer(memory, self.max_entries * mmap.PAGESIZE))

    @property
    def address(self) -> int:
        """Where `memory` begins: what a program's pointer to the first byte looks like."""
        return int(ffi.cast("uintptr_t", self._memory()))

    def _memory(self) -> Any:
        fd = self.fileno()
        mapped = self._mapped() if self._mapped is not None else None
        if mapped is None:
            size = self.max_entries * mmap.PAGESIZE
            wanted = self._place or int(bpf.obj_get_info_by_fd(fd, "map")["map_extra"])
            address = int(lib.ebpf_map_memory(fd, size, wanted))
            if address < 0:
                self._refuse_mapping(-address, wanted)
            # The process that has the mapping.
            self._owner = [os.getpid()]
            mapped = _held(address, size, self._owner)
            self._place, self._mapped = address, ref(mapped)
            forks.watch(self)
        return mapped

    def _forked(self) -> None:
        # Newer kernels leave the mapping out of a child, where a view of it would end in a signal.
        # Now, nothing else can be in its place.
        if self._mapped is None or self._mapped() is None or self.closed:
            return
        size = self.max_entries * mmap.PAGESIZE
        mapped = lib.ebpf_map_memory(self.fileno(), size, self._place)
        # Older ones have handed it down.
        if mapped == self._place or mapped == -errno.EEXIST:
            self._owner[0] = os.getpid()

    def _refuse_mapping(self, code: int, wanted: int) -> None:
        action = f"map the memory of {self!r}"
        if code in (errno.EEXIST, errno.EBUSY) or (code == errno.EINVAL and not wanted):
            place = f"something at its address {wanted:#x}" if wanted else "this arena"
            raise BpfError(code, f"{action}: {place} is mapped already")
        fail(code, action)


def _held(address: int, size: int, owner: list[int]) -> Any:
    """A pointer to a mapping of process `owner[0]`, which ends with it."""
    # It may be the end of the interpreter by then, and the modules may be empty.
    getpid, unmap = os.getpid, lib.ebpf_unmap_memory

    def release(_: object) -> None:
        # In another process, something else may be there.
        if owner[0] == getpid():
            unmap(address, size)

    return ffi.gc(ffi.cast("char *", address), release)
