"""Packing values, and reading them into buffers that are used again: for maps with elements."""

from __future__ import annotations

import errno

from ebpf._sys import ffi, lib
from ebpf.errors import CodecError
from ebpf.maps.base import K, Map, V

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ebpf.codec import Codec

    D = TypeVar("D")
    # lib.ebpf_map_lookup or lib.ebpf_map_lookup_and_delete
    Read = Callable[[int, Any, Any, int], int]


class ValueMap(Map[K, V]):
    """A map whose elements user space reads and writes by copying them."""

    value_codec: Codec[V]

    def _prepare(self) -> None:
        super()._prepare()
        # Buffers for one value, with the view of each: making one takes a third of the time of a
        # lookup. A reader takes one out, so there are as many as ever read at the same time.
        self._buffers: list[tuple[Any, Any]] = []

    def _read(self, read: Read, key: bytes | Any, absent: D, action: str, flags: int = 0) -> V | D:
        """The value that `read` finds for the packed `key`, or `absent` where it says ENOENT.

        One that was taken and can't be decoded goes with the error: nobody else has it.
        """
        try:
            pair = self._buffers.pop()
        except IndexError:
            memory = ffi.new("unsigned char[]", self.value_codec.size)
            pair = memory, ffi.buffer(memory)
        buffer, view = pair
        result = read(self._fd, key, buffer, flags)
        if result >= 0:
            try:
                found: V | D = self.value_codec.unpack(view)
            except Exception as error:
                if read is lib.ebpf_map_lookup:
                    raise
                raise self._undecoded(bytes(view), action, error) from error
        elif result == -errno.ENOENT:
            found = absent
        else:
            self._fail(result, action, flags)
        self._buffers.append(pair)
        return found

    def _undecoded(self, raw: bytes, action: str, cause: Exception) -> CodecError:
        error = CodecError(
            f"{action} {self!r}: it is out of the map, but can't be decoded ({cause}); its bytes"
            " are the error's `raw`"
        )
        error.raw = raw
        return error

    def _finds(self, read: Read, key: bytes | Any, action: str) -> bool:
        """Whether `read` finds a value for the packed `key`; it is not decoded."""
        memory = ffi.new("unsigned char[]", self.value_codec.size)
        result = read(self._fd, key, memory, 0)
        if result < 0 and result != -errno.ENOENT:
            self._fail(result, action)
        return bool(result >= 0)

    def _pack_value(self, value: V) -> bytes:
        try:
            return self.value_codec.pack(value)
        except CodecError as error:
            raise CodecError(f"value of {self!r}: {error}") from None
