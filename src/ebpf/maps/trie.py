"""The longest-prefix trie."""

from __future__ import annotations

import functools

from ebpf.errors import NotSupportedError
from ebpf.maps.base import K, V
from ebpf.maps.hash import HashMap
from ebpf.maps.keyed import EXISTENCE, check_flags
from ebpf.types import MapType, UpdateFlags


class LpmTrieMap(HashMap[K, V]):
    """An LPM_TRIE: a key is a u32 prefix length in bits, then the data in network byte order.

    ``m[key]``, ``lookup`` and ``in`` find the entry with the longest prefix that matches;
    everything that writes or deletes means exactly the key that it is given.

    Kernels before 6.13 (but for stable releases that have the fix) ignore NOEXIST and EXIST, and
    after a deletion their iteration may leave out entries. On these, `put` with such a flag and
    `setdefault` raise NotSupportedError.
    """

    types = (MapType.LPM_TRIE,)
    default_type = MapType.LPM_TRIE

    def put(self, key: K, value: V, flags: UpdateFlags | int = UpdateFlags.ANY) -> None:
        check_flags(flags)
        if flags & EXISTENCE and not _heeds_existence():
            raise NotSupportedError(
                f"write the key {key!r} to {self!r} with the flags {UpdateFlags(flags)}:"
                " the kernel ignores them for this type",
                (6, 13),
            )
        super().put(key, value, flags)

    def clear(self) -> None:
        """Delete the entries that are there when they are met: all are read before the first is
        deleted, because of the kernels that then leave out some."""
        keys, _ = self.lookup_batch()
        self.delete_batch(keys)


@functools.cache
def _heeds_existence() -> bool:
    """Whether this kernel refuses to replace an entry when it is told NOEXIST."""
    with HashMap.create(MapType.LPM_TRIE, key=5, value=1, max_entries=2) as trie:
        HashMap.put(trie, bytes(5), b"1")
        try:
            HashMap.put(trie, bytes(5), b"2", UpdateFlags.NOEXIST)
        except FileExistsError:
            return True
        return False
