"""Reading and writing entries by key: what hashes and arrays share."""

from __future__ import annotations

import errno
import sys

from ebpf._sys import ffi, lib
from ebpf.errors import CodecError
from ebpf.maps.base import K, Map, V
from ebpf.types import UpdateFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TextIO

    from ebpf.codec import Codec


class KeyedMap(Map[K, V]):
    """A map whose entries are reached by key."""

    key_codec: Codec[K]
    value_codec: Codec[V]

    def lookup(self, key: K, *, flags: UpdateFlags | int = 0) -> V | None:
        """The value for `key`, or None where the map has no such key.

        `flags`: LOCK takes the value's bpf_spin_lock while copying (5.1).
        """
        value = bytearray(self.value_codec.size)
        result = lib.ebpf_map_lookup(
            self._fd, self._pack_key(key), ffi.from_buffer(value), flags
        )
        if result < 0:
            if result == -errno.ENOENT:
                return None
            self._fail(result, "look up a key in")
        return self.value_codec.unpack(value)

    def put(self, key: K, value: V, flags: UpdateFlags | int = UpdateFlags.ANY) -> None:
        """Write the value for `key`.

        `flags`: ANY creates or replaces, NOEXIST only creates, EXIST only replaces; LOCK takes
        the value's bpf_spin_lock while copying (5.1) and may be combined with the others.

        Raises:
            BpfFileExistsError: NOEXIST, and the key is there.
            BpfFileNotFoundError: EXIST, and the key is not there.
            CodecError: key or value do not fit the codecs.
            BpfError: E2BIG when the map is full, or an array's index is out of range.
        """
        packed = self._pack_key(key)
        result = lib.ebpf_map_update(self._fd, packed, self._pack_value(value), flags)
        if result < 0:
            self._put_failed(result, key)

    def _put_failed(self, result: int, key: K) -> None:
        hints = {
            errno.E2BIG: f" (it is full: max_entries is {self.max_entries})",
            errno.EEXIST: " (NOEXIST, and it is there)",
            errno.ENOENT: " (EXIST, and it is not there)",
        }
        self._fail(result, f"write the key {key!r}{hints.get(-result, '')} to")

    def __contains__(self, key: object) -> bool:
        return self.lookup(key) is not None  # type: ignore[arg-type]

    def _pack_key(self, key: K) -> bytes:
        try:
            return self.key_codec.pack(key)
        except CodecError as error:
            raise CodecError(f"key of {self!r}: {error}") from None

    def _pack_value(self, value: V) -> bytes:
        try:
            return self.value_codec.pack(value)
        except CodecError as error:
            raise CodecError(f"value of {self!r}: {error}") from None

    def _entries(self) -> Iterator[tuple[K, V]]:
        """Keys and values; an entry that vanishes meanwhile is left out."""
        raise NotImplementedError

    def to_dict(self) -> dict[K, V]:
        """All entries as a dict."""
        return dict(self._entries())

    def dump(self, file: TextIO | None = None) -> None:
        """Print the map's definition and its entries, one a line, to `file` or standard output."""
        info = self.info()
        out: Any = file or sys.stdout
        count = 0
        print(
            f"map {info.id} {self.name or '(no name)'}: {info.type.name},"
            f" key {info.key_size} B, value {info.value_size} B, max_entries {info.max_entries}",
            file=out,
        )
        for count, (key, value) in enumerate(self._entries(), 1):
            print(f"  {key!r}: {value!r}", file=out)
        print(f"{count} {'entry' if count == 1 else 'entries'}", file=out)
