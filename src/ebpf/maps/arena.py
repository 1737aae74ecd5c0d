"""Arenas: memory that programs and user space share, at one address for both."""

from __future__ import annotations

import errno
import mmap
from _weakref import ref  # without the weak dictionaries of `weakref`

from ebpf._sys import bpf, ffi, lib
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

    # The mapping, which views of it keep alive.
    _mapped: ref[Any] | None = None

    @property
    def memory(self) -> memoryview:
        """All of it as writable bytes, without a system call for each access.

        A view stays valid when the map is closed, and keeps the memory until it is dropped. The
        kernel gives an arena one place in a process, so there is one mapping of it at a time.

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
            wanted = int(bpf.obj_get_info_by_fd(fd, "map")["map_extra"])
            address = int(lib.ebpf_map_memory(fd, size, wanted))
            if address < 0:
                self._refuse_mapping(-address, wanted)
            unmap = lib.ebpf_unmap_memory
            mapped = ffi.gc(ffi.cast("char *", address), lambda _: unmap(address, size))
            self._mapped = ref(mapped)
        return mapped

    def _refuse_mapping(self, code: int, wanted: int) -> None:
        action = f"map the memory of {self!r}"
        if code in (errno.EEXIST, errno.EBUSY) or (code == errno.EINVAL and not wanted):
            place = f"something at its address {wanted:#x}" if wanted else "this arena"
            raise BpfError(code, f"{action}: {place} is mapped already")
        fail(code, action)
