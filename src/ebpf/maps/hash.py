"""Maps that behave like a dict: the hashes and the longest-prefix trie."""

from __future__ import annotations

import errno
from collections.abc import ItemsView, MutableMapping, ValuesView

from ebpf._sys import facts, lib
from ebpf.errors import ENOTSUPP, NotSupportedError
from ebpf.maps.base import K, V
from ebpf.maps.keyed import ABSENT, KeyedMap
from ebpf.types import MapFlags, MapType, UpdateFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn, TypeVar

    from ebpf.maps.base import Formats

    D = TypeVar("D")

# What LOOKUP_AND_DELETE is to these since 5.14; before, it was for queues only.
_TAKE_SINCE = (5, 14)
_TAKING = frozenset(
    {MapType.HASH, MapType.LRU_HASH, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH, MapType.RHASH}
)


class HashMap(KeyedMap[K, V], MutableMapping[K, V]):
    """A hash of any kind, or an LPM_TRIE, as a `collections.abc.MutableMapping`.

    ``m.setdefault`` is atomic (NOEXIST), ``m.pop`` is LOOKUP_AND_DELETE where the kernel has it
    for the type. Iterating a map that changes meanwhile ends in any case, visits no key twice,
    and visits every key that was there from the beginning to the end (of an RHASH that grows
    meanwhile the kernel may skip some).

    In an LPM_TRIE ``m[key]``, ``lookup`` and ``in`` find the entry with the longest prefix that
    matches; everything that writes or deletes means exactly the key that it is given.

    The values of HASH_OF_MAPS and SOCKHASH are written as anything with ``fileno()`` (or a
    descriptor) and read as the map's id, or the socket's cookie.
    """

    types = (
        MapType.HASH,
        MapType.LRU_HASH,
        MapType.PERCPU_HASH,
        MapType.LRU_PERCPU_HASH,
        MapType.LPM_TRIE,
        MapType.HASH_OF_MAPS,
        MapType.DEVMAP_HASH,
        MapType.SOCKHASH,
        MapType.RHASH,
    )
    default_type = MapType.HASH

    def __getitem__(self, key: K) -> V:
        value = self._get(key)
        if value is ABSENT:
            raise KeyError(key)
        return value

    def __setitem__(self, key: K, value: V) -> None:
        self.put(key, value)

    def __delitem__(self, key: K) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def delete(self, key: K) -> bool:
        """Delete `key`; False where the map has no such key."""
        return self._delete(self._pack_key(key))

    def lookup_and_delete(self, key: K, *, flags: UpdateFlags | int = 0) -> V | None:
        """Delete `key` and return the value it had, in one step; None where it is not there.

        Raises:
            NotSupportedError: the kernel can't do this for the type (hashes: 5.14).
        """
        return self._take(self._pack_key(key), None, flags)

    def _take(self, key: bytes, absent: D, flags: int = 0) -> V | D:
        action = "look up and delete a key of"
        return self._read(lib.ebpf_map_lookup_and_delete, key, absent, action, flags)

    def _fail(self, result: int, action: str, flags: UpdateFlags | int = 0) -> NoReturn:
        # An old kernel says EINVAL to flags before it looks at the type.
        old = self.type in _TAKING and facts.kernel_version() < _TAKE_SINCE
        refused = result == -ENOTSUPP or (old and result == -errno.EINVAL)
        if refused and action.startswith("look up and delete") and not self.closed:
            raise NotSupportedError(f"{action} {self!r}", _TAKE_SINCE if old else None, -result)
        super()._fail(result, action, flags)
