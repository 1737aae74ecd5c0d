"""Maps that behave like a dict: the hashes and the longest-prefix trie."""

from __future__ import annotations

import errno
from collections.abc import ItemsView, MutableMapping, ValuesView

from ebpf._sys import ffi, lib
from ebpf.errors import ENOTSUPP, EbpfError, NotSupportedError
from ebpf.maps.base import K, V
from ebpf.maps.keyed import KeyedMap
from ebpf.types import MapType, UpdateFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeVar

    D = TypeVar("D")

# Keys fetched by one call of the core.
_CHUNK = 4096

_MISSING: Any = object()


class HashMap(KeyedMap[K, V], MutableMapping[K, V]):
    """A hash of any kind, or an LPM_TRIE, as a `collections.abc.MutableMapping`.

    ``m.setdefault`` is atomic (NOEXIST), ``m.pop`` is LOOKUP_AND_DELETE where the kernel has it
    for the type. Iterating a map that changes meanwhile ends in any case, visits no key twice,
    and visits every key that was there from the beginning to the end.
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
    )

    def __getitem__(self, key: K) -> V:
        value = self.lookup(key)
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: K, value: V) -> None:
        self.put(key, value)

    def __delitem__(self, key: K) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def delete(self, key: K) -> bool:
        """Delete `key`; False where the map has no such key."""
        result = lib.ebpf_map_delete(self._fd, self._pack_key(key))
        if result < 0:
            if result == -errno.ENOENT:
                return False
            self._fail(result, "delete a key of")
        return True

    def lookup_and_delete(self, key: K, *, flags: UpdateFlags | int = 0) -> V | None:
        """Delete `key` and return the value it had, in one step; None where it is not there.

        Raises:
            NotSupportedError: the kernel can't do this for the type (hashes: 5.14).
        """
        value = bytearray(self.value_codec.size)
        result = lib.ebpf_map_lookup_and_delete(
            self._fd, self._pack_key(key), ffi.from_buffer(value), flags
        )
        if result < 0:
            if result == -errno.ENOENT:
                return None
            self._take_failed(result)
        return self.value_codec.unpack(value)

    def _take_failed(self, result: int) -> None:
        if -result in (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP) and not self.closed:
            hashes = HashMap.types[:4]
            raise NotSupportedError(
                f"look up and delete a key of {self!r}",
                (5, 14) if self.type in hashes else None,
                -result,
            )
        self._fail(result, "look up and delete a key of")

    def pop(self, key: K, default: D = _MISSING) -> V | D:
        """Remove `key` and return its value, or `default`; KeyError where there is neither."""
        value = self._take(key)
        if value is not None:
            return value
        if default is _MISSING:
            raise KeyError(key)
        return default

    def _take(self, key: K) -> V | None:
        try:
            return self.lookup_and_delete(key)
        except NotSupportedError:
            # Two steps, as for any mapping without an atomic pop: of two callers that pop the
            # same key one gets the value, because only one of the deletions finds it.
            value = self.lookup(key)
            return value if value is not None and self.delete(key) else None

    def popitem(self) -> tuple[K, V]:
        """Remove some entry and return it; KeyError where the map is empty."""
        for key in self:
            value = self._take(key)
            if value is not None:
                return key, value
        raise KeyError("popitem(): the map is empty")

    def setdefault(self, key: K, default: V = None) -> V:  # type: ignore[assignment]
        """The value for `key`, which becomes `default` where it was not there."""
        while True:
            try:
                self.put(key, default, UpdateFlags.NOEXIST)
                return default
            except FileExistsError:
                value = self.lookup(key)
                # None: somebody deleted it between the two calls.
                if value is not None:
                    return value

    def clear(self) -> None:
        """Delete the keys that are there when they are met."""
        for key in self._raw_keys():
            result = lib.ebpf_map_delete(self._fd, key)
            if result < 0 and result != -errno.ENOENT:
                self._fail(result, "delete a key of")

    def __iter__(self) -> Iterator[K]:
        unpack = self.key_codec.unpack
        for key in self._raw_keys():
            yield unpack(key)

    def __len__(self) -> int:
        """The number of entries, counted by a walk over the keys: the kernel keeps no count."""
        return sum(1 for _ in self._raw_keys())

    def _entries(self) -> Iterator[tuple[K, V]]:
        value = bytearray(self.value_codec.size)
        buffer = ffi.from_buffer(value)
        for key in self._raw_keys():
            result = lib.ebpf_map_lookup(self._fd, key, buffer, 0)
            if result == 0:
                yield self.key_codec.unpack(key), self.value_codec.unpack(value)
            elif result != -errno.ENOENT:
                self._fail(result, "look up a key in")

    def _raw_keys(self) -> Iterator[bytes]:
        """Each key once.

        After a key that is gone the kernel starts again with the first one, so keys can come
        twice and, while others insert and delete, for ever: what was seen is left out, and a
        walk that takes many times as many steps as the map can have entries is given up.
        """
        size = self.key_codec.size
        chunk = min(_CHUNK, self.max_entries + 1)
        seen: set[bytes] = set()
        last: bytes | None = None
        steps = 0
        while steps <= 16 * self.max_entries + _CHUNK:
            keys = bytearray(size * chunk)
            count = lib.ebpf_map_keys(
                self._fd, last if last is not None else ffi.NULL, size, ffi.from_buffer(keys), chunk
            )
            if count < 0:
                self._fail(count, "iterate")
            for at in range(0, count * size, size):
                last = bytes(keys[at : at + size])
                if last not in seen:
                    seen.add(last)
                    yield last
            if count < chunk:
                return
            steps += count
        raise EbpfError(
            f"iterate {self!r}: others insert and delete so fast that the walk met {steps} keys"
            f" without an end; {len(seen)} different ones"
        )

    def items(self) -> ItemsView[K, V]:
        """A view of the entries; iterating it leaves out those that vanish meanwhile."""
        return _Items(self)

    def values(self) -> ValuesView[V]:
        """A view of the values; iterating it leaves out those that vanish meanwhile."""
        return _Values(self)


class _Items(ItemsView[K, V]):
    # The inherited method looks each key up with [], which raises for a key that is gone.
    _mapping: HashMap[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._mapping._entries()


class _Values(ValuesView[V]):
    _mapping: HashMap[Any, V]

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._mapping._entries())
