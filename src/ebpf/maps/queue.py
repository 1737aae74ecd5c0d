"""Maps without keys: queue and stack, and the bloom filter."""

from __future__ import annotations

import errno

from ebpf._sys import ffi, lib
from ebpf.maps.base import Made, V
from ebpf.maps.values import ValueMap
from ebpf.types import MapType, UpdateFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any  # noqa: F401  for the class statement


_POP = "pop a value of"


class QueueMap(Made["QueueMap[Any]"], ValueMap[None, V]):  # type: ignore[misc]
    """A QUEUE (first in, first out) or a STACK (last in, first out)."""

    types = (MapType.QUEUE, MapType.STACK)
    default_type = MapType.QUEUE

    def push(self, value: V, *, overwrite: bool = False) -> None:
        """Add `value`; with `overwrite` a full map drops its oldest value for it.

        Raises:
            BpfError: E2BIG, the map is full.
        """
        flags = UpdateFlags.EXIST if overwrite else UpdateFlags.ANY
        result = lib.ebpf_map_update(self._fd, ffi.NULL, self._pack_value(value), flags)
        if result < 0:
            full = f" (the map is full: max_entries is {self.max_entries})"
            self._fail(result, f"push a value{full if result == -errno.E2BIG else ''} to")

    def pop(self) -> V | None:
        """Remove the next value and return it; None where the map is empty.

        Raises:
            CodecError: what was removed can't be decoded; ``raw`` has its bytes.
        """
        return self._read(lib.ebpf_map_lookup_and_delete, ffi.NULL, None, _POP)

    def peek(self) -> V | None:
        """The next value, which stays; None where the map is empty."""
        return self._read(lib.ebpf_map_lookup, ffi.NULL, None, "peek at a value of")

    def clear(self) -> None:
        """Remove the values, at most as many as the map can hold."""
        for _ in range(self.max_entries):
            if not self._finds(lib.ebpf_map_lookup_and_delete, ffi.NULL, _POP):
                return


class BloomFilterMap(Made["BloomFilterMap[Any]"], ValueMap[None, V]):  # type: ignore[misc]
    """A BLOOM_FILTER (5.16): ``in`` may say yes to a value that was never added, never no to one
    that was. Values cannot be removed."""

    types = (MapType.BLOOM_FILTER,)
    default_type = MapType.BLOOM_FILTER

    def add(self, value: V) -> None:
        """Add `value` to the filter."""
        result = lib.ebpf_map_update(self._fd, ffi.NULL, self._pack_value(value), UpdateFlags.ANY)
        if result < 0:
            self._fail(result, "add a value to")

    def __contains__(self, value: V) -> bool:
        # The kernel reads the value from the buffer that a lookup otherwise writes.
        packed = ffi.new("unsigned char[]", self._pack_value(value))
        result = lib.ebpf_map_lookup(self._fd, ffi.NULL, packed, 0)
        if result < 0 and result != -errno.ENOENT:
            self._fail(result, "look for a value in")
        return bool(result == 0)
