"""Arenas: memory that programs and user space share.

The verifier wants to know where an arena is in user space, so it is mapped before any program is
loaded, and stays mapped as long as its collection is open.
"""

from __future__ import annotations

import mmap
import os
import struct

from ebpf import opcodes as op
from ebpf._sys import bpf, check
from ebpf._sys.cache import cached
from ebpf.errors import BpfPermissionError, ClosedError, RelocationError
from ebpf.maps import ArenaMap
from ebpf.types import MapType, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ebpf.maps import Map
    from ebpf.spec import MapSpec

_LDIMM64 = 0x18
_FAR = 1 << 30


def arena_size(spec: MapSpec) -> int:
    """Bytes of the whole arena; its max_entries are pages."""
    return spec.max_entries * mmap.PAGESIZE


def data_offset(spec: MapSpec) -> int:
    """Where the object's variables are in its arena: at the end, where the kernel allows that.

    libbpf does so since 1.7, to leave the start of the arena to what a program allocates.
    """
    size = -(-len(spec.contents or b"") // mmap.PAGESIZE) * mmap.PAGESIZE
    if size > arena_size(spec):
        raise RelocationError(
            f"map {spec.name!r}: an arena of {spec.max_entries} pages is too small for variables of"
            f" {len(spec.contents or b'')} bytes; raise its max_entries"
        )
    try:
        far = far_offsets()
    except BpfPermissionError:
        far = False  # what every kernel takes, and a process that may not ask can have too
    return arena_size(spec) - size if far else 0


@cached
def far_offsets() -> bool:
    """Whether an instruction may refer to more than 512 MiB into a map (7.0).

    Asked with a map that has one byte: older kernels refuse the offset before they look at the map.
    Raises BpfError where the verifier is not asked at all, as without a descriptor left.
    """
    map_fd = bpf.map_create(map_type=MapType.ARRAY, key_size=4, value_size=1, max_entries=1)
    try:
        code = struct.pack("=BBhi", _LDIMM64, _registers(op.PSEUDO_MAP_VALUE), 0, map_fd)
        code += struct.pack("=BBhi", 0, 0, 0, _FAR) + struct.pack("=BBhi", 0x95, 0, 0, 0)
        loaded = bpf.prog_load(
            4096, prog_type=ProgramType.SOCKET_FILTER, insns=code, license=b"GPL\0"
        )
    finally:
        os.close(map_fd)
    if loaded.result >= 0:
        os.close(loaded.result)
        return True
    if not loaded.log:
        check(loaded.result, "probe offsets into arenas")
    return f"direct value offset of {_FAR} is not allowed".encode() not in loaded.log


def _registers(source: int) -> int:
    import sys

    return source << 4 if sys.byteorder == "little" else source


class ArenaMemory:
    """The variables in an arena, in the map's own mapping; offsets count from the first of them.

    An arena with map_extra has to be there; unlike libbpf this does not replace what is.
    """

    writable = True

    def __init__(self, map: Map[Any, Any], spec: MapSpec) -> None:
        assert isinstance(map, ArenaMap)
        self._start = data_offset(spec)
        # The kernel gives an arena one place in a process: who asks for the map's memory has this.
        self._memory: memoryview | None = map.memory
        self.write(0, bytes(spec.contents or b""))

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._part(offset, size))

    def write(self, offset: int, data: bytes) -> None:
        self._part(offset, len(data))[:] = data

    def _part(self, offset: int, size: int) -> memoryview:
        memory, start = self._memory, self._start + offset
        if memory is None:
            raise ClosedError("the memory of this arena is closed")
        if offset < 0 or start + size > len(memory):
            raise ValueError(f"bytes {start}..{start + size} are outside of {len(memory)}")
        return memory[start : start + size]

    def close(self) -> None:
        """Leave the memory to the map, and to who has a view of it. Closing twice does nothing."""
        self._memory = None
