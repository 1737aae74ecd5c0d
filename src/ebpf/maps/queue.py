"""Maps without keys: queue and stack, and the bloom filter."""

from __future__ import annotations

import errno

from ebpf._sys import ffi, lib
from ebpf.errors import CodecError
from ebpf.maps.base import Map, V
from ebpf.types import MapType, UpdateFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ebpf.codec import Codec


class _Keyless(Map[None, V] if TYPE_CHECKING else Map):
    value_codec: Codec[V]

    def _pack_value(self, value: V) -> bytes:
        try:
            return self.value_codec.pack(value)
        except CodecError as error:
            raise CodecError(f"value of {self!r}: {error}") from None


class QueueMap(_Keyless[V]):
    """A QUEUE (first in, first out) or a STACK (last in, first out)."""

    types = (MapType.QUEUE, MapType.STACK)

    def push(self, value: V, *, overwrite: bool = False) -> None:
        """Add `value`; with `overwrite` a full map drops its oldest value for it.

        Raises:
            BpfError: E2BIG, the map is full.
        """
        flags = UpdateFlags.EXIST if overwrite else UpdateFlags.ANY
        result = lib.ebpf_map_update(self._fd, ffi.NULL, self._pack_value(value), flags)
        if result < 0:
            full = f" (it is full: max_entries is {self.max_entries})"
            self._fail(result, f"push a value{full if result == -errno.E2BIG else ''} to")

    def pop(self) -> V | None:
        """Remove the next value and return it; None where the map is empty."""
        return self._next(lib.ebpf_map_lookup_and_delete, "pop a value of")

    def peek(self) -> V | None:
        """The next value, which stays; None where the map is empty."""
        return self._next(lib.ebpf_map_lookup, "peek at a value of")

    def clear(self) -> None:
        """Remove the values, at most as many as the map can hold."""
        for _ in range(self.max_entries):
            if self.pop() is None:
                return

    def _next(self, function: Any, action: str) -> V | None:
        value = bytearray(self.value_codec.size)
        result = function(self._fd, ffi.NULL, ffi.from_buffer(value), 0)
        if result < 0:
            if result == -errno.ENOENT:
                return None
            self._fail(result, action)
        return self.value_codec.unpack(value)


class BloomFilterMap(_Keyless[V]):
    """A BLOOM_FILTER (5.16): ``in`` may say yes to a value that was never added, never no to one
    that was. Values cannot be removed."""

    types = (MapType.BLOOM_FILTER,)

    def add(self, value: V) -> None:
        """Add `value` to the filter."""
        result = lib.ebpf_map_update(self._fd, ffi.NULL, self._pack_value(value), 0)
        if result < 0:
            self._fail(result, "add a value to")

    def __contains__(self, value: V) -> bool:
        # The kernel reads the value from the buffer that a lookup otherwise writes.
        packed = bytearray(self._pack_value(value))
        result = lib.ebpf_map_lookup(self._fd, ffi.NULL, ffi.from_buffer(packed), 0)
        if result < 0 and result != -errno.ENOENT:
            self._fail(result, "look for a value in")
        return bool(result == 0)
