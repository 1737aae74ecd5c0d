"""Arenas: memory that programs and user space share, at one address for both."""

from __future__ import annotations

import errno
import mmap
import os

from ebpf._sys import bpf, ffi, forks, lib
from ebpf._sys.call import fail
from ebpf.errors import BpfError
from ebpf.maps.base import Made, Map
from ebpf.types import MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self


class ArenaMap(Made["ArenaMap"], Map[None, None]):  # type: ignore[misc]
    """An ARENA (6.9) of `max_entries` pages; ``map_extra`` is its address, 0 for any.

    The programs' pointers into it are addresses of this process, see `address`. A page that
    nobody has allocated yet appears, zeroed, when user space touches it (without the flag
    SEGV_ON_FAULT).
    """

    types = (MapType.ARENA,)
    default_type = MapType.ARENA

    def _prepare(self) -> None:
        super()._prepare()
        self._mapping = _Mapping()
        forks.watch(self)

    @property
    def memory(self) -> memoryview:
        """All of it as writable bytes, without a system call for each access.

        The kernel gives an arena one place, when it is first mapped, and no other later: from then
        on it stays mapped until `close`, of this object and its duplicates. A view stays valid
        when the map is closed, and keeps the memory until it is dropped. A forked child has it as
        well, if the map was open then.

        Raises:
            ClosedError: the map was closed.
            BpfError: the arena, or something else, is mapped there already; or it was mapped by
                another process, or object (one by `from_id`, say, not one by `duplicate`), and has
                no ``map_extra`` that says where.
        """
        # One for each who asks: to release it, as `with` does, releases nobody else's.
        return memoryview(self._mapped())

    @property
    def address(self) -> int:
        """Where `memory` begins: what a program's pointer to the first byte looks like."""
        return int(ffi.cast("uintptr_t", ffi.from_buffer(self._mapped())))

    def duplicate(self) -> Self:
        """Another object for the same map, with a descriptor of its own; `memory` is mapped once
        for both."""
        copy = super().duplicate()
        copy._mapping = self._mapping
        return copy

    def close(self) -> None:
        """Give the descriptor back, and the memory unless a duplicate is open or somebody has a
        view of it. Closing twice does nothing."""
        super().close()
        self._mapping = self._mapping.__class__()

    def _mapped(self) -> memoryview:
        mapping = self._mapping
        view = mapping.view
        if view is None:
            fd = self.fileno()
            size = self.max_entries * mmap.PAGESIZE
            wanted = mapping.place or int(bpf.obj_get_info_by_fd(fd, "map")["map_extra"])
            address = int(lib.ebpf_map_memory(fd, size, wanted))
            if address < 0:
                self._refuse_mapping(-address, wanted)
            view = mapping.hold(address, size)
        return view

    def _forked(self) -> None:
        # Newer kernels leave the mapping out of a child, where a view of it would end in a signal.
        # Now, nothing else can be in its place.
        mapping = self._mapping
        if mapping.view is None or self.closed:
            return
        mapped = lib.ebpf_map_memory(self.fileno(), len(mapping.view), mapping.place)
        # Older ones have handed it down, and a duplicate may have been here before.
        if mapped == mapping.place or mapped == -errno.EEXIST:
            mapping.owner[0] = os.getpid()
        else:
            # To ask for it says why it is not there.
            mapping.view = None

    def _refuse_mapping(self, code: int, wanted: int) -> None:
        action = f"map the memory of {self!r}"
        if wanted and code in (errno.EEXIST, errno.EBUSY):
            raise BpfError(
                code, f"{action}: something at its address {wanted:#x} is mapped already"
            )
        if code == errno.EINVAL and not wanted:
            raise BpfError(
                code,
                f"{action}: it has its place since it was first mapped, which the kernel does not"
                " tell; use duplicate() of the map that has it mapped, or create it with"
                " map_extra=ADDRESS for other processes",
            )
        fail(code, action)


class _Mapping:
    """Where an arena is in this process, for all objects that duplicate one another.

    It goes with the last of them: whatever else were mapped there meanwhile would keep the arena
    out for good, and be what the programs' pointers lead to.
    """

    def __init__(self) -> None:
        #: All of it, as bytes; None where it is not mapped.
        self.view: memoryview | None = None
        self.place = 0
        #: The process that has the mapping.
        self.owner = [0]

    def hold(self, place: int, size: int) -> memoryview:
        self.owner = [os.getpid()]
        self.place = place
        view = memoryview(ffi.buffer(_held(place, size, self.owner), size))
        self.view = view
        return view


def _held(address: int, size: int, owner: list[int]) -> Any:
    """A pointer to a mapping of process `owner[0]`, which ends with it."""
    # It may be the end of the interpreter by then, and the modules may be empty.
    getpid, unmap = os.getpid, lib.ebpf_unmap_memory

    def release(_: object) -> None:
        # In another process, something else may be there.
        if owner[0] == getpid():
            unmap(address, size)

    return ffi.gc(ffi.cast("char *", address), release)
