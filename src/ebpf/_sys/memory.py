"""Memory of a map where Python's own mmap cannot have it: at an address that the map dictates."""

from __future__ import annotations

from ebpf._ffi import ffi, lib
from ebpf._sys.call import check
from ebpf.errors import ClosedError


class MapMemory:
    """The first `size` bytes of the map `fd`, mapped for reading and writing.

    At `address`, or anywhere for 0. What is mapped there already is never replaced: that is
    EEXIST. Offsets are checked; memory that is closed raises ClosedError.
    """

    def __init__(self, fd: int, size: int, address: int, action: str) -> None:
        self._size = size
        self._address = check(int(lib.ebpf_map_memory(fd, size, address)), action)

    def read(self, offset: int, size: int) -> bytes:
        return bytes(ffi.buffer(self._at(offset, size), size))

    def write(self, offset: int, data: bytes) -> None:
        ffi.memmove(self._at(offset, len(data)), data, len(data))

    def _at(self, offset: int, size: int) -> object:
        if not self._address:
            raise ClosedError("the memory of this map is closed")
        if not 0 <= offset <= offset + size <= self._size:
            raise ValueError(f"bytes {offset}..{offset + size} are outside of {self._size}")
        return ffi.cast("char *", self._address + offset)

    def close(self) -> None:
        """Unmap. Closing twice does nothing."""
        address, self._address = self._address, 0
        if address:
            check(int(lib.ebpf_unmap_memory(address, self._size)), "unmap the memory of a map")
