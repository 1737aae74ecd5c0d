"""Maps that behave like a dict."""

from __future__ import annotations

import errno
from collections.abc import ItemsView, MutableMapping, ValuesView
from itertools import chain

from ebpf._sys import facts, ffi, lib
from ebpf.errors import ENOTSUPP, BpfError, EbpfError, NotSupportedError
from ebpf.generic import overload
from ebpf.maps.base import K, Made, V
from ebpf.maps.batch import BatchMap
from ebpf.maps.buffers import columns
from ebpf.maps.keyed import ABSENT, check_flags
from ebpf.maps.reader import TAKE
from ebpf.maps.scalars import ABSENT_SCALAR
from ebpf.types import MapType, UpdateFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, ClassVar, TypeVar

    D = TypeVar("D")

# The hashes have LOOKUP_AND_DELETE since this release; before, only queues and stacks had it.
_TAKE_SINCE = (5, 14)
_TAKING = frozenset(
    {MapType.HASH, MapType.LRU_HASH, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH, MapType.RHASH}
)

# So often `clear` walks through an RHASH that others fill meanwhile.
_MAXIMUM_WALKS = 1000


class HashMap(Made["HashMap[Any, Any]"], BatchMap[K, V], MutableMapping[K, V]):  # type: ignore[misc]
    """A hash of any kind as a `collections.abc.MutableMapping`; an LPM_TRIE is an `LpmTrieMap`.

    ``m.setdefault`` is atomic (NOEXIST), ``m.pop`` is LOOKUP_AND_DELETE where the kernel has it
    for the type. Iterating a map that changes meanwhile ends in any case, visits no key twice,
    and visits every key that was there from the beginning to the end. Of an RHASH the kernel may
    skip some while it grows or shrinks, which it does in the background, for a moment after the
    insertion or deletion that asked for it; `clear` comes again for those.

    The values of HASH_OF_MAPS and SOCKHASH are written as anything with ``fileno()`` (or a
    descriptor) and read as the map's id, or the socket's cookie. Of a SOCKHASH that has values of
    4 bytes (an object's, often) only the keys can be read.
    """

    types: ClassVar[tuple[MapType, ...]] = (
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
        # The first lines of `_get`, without the call: this is what is done most.
        read = self._get_scalar
        if read is not None and type(key) is int:
            try:
                value = read(self._fd, key)
            except OverflowError:
                pass
            else:
                if value < ABSENT_SCALAR:
                    return value  # type: ignore[no-any-return]
                if value == ABSENT_SCALAR:
                    raise KeyError(key)
        found = self._get(key)
        if found is ABSENT:
            raise KeyError(key)
        return found

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, /, default: V | D) -> V | D: ...
    def get(self, key: K, /, default: Any = None) -> Any:
        """The value for `key`, or `default` where the map has no such key."""
        value = self._get(key)
        return default if value is ABSENT else value

    def __setitem__(self, key: K, value: V) -> None:
        write = self._set_scalar
        if write is not None and type(key) is type(value) is int:
            try:
                if not write(self._fd, key, value):
                    return
            except OverflowError:
                pass
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
            CodecError: the value was deleted, but can't be decoded; ``raw`` has its bytes.
        """
        check_flags(flags)
        return self._take(self._pack_key(key), None, flags)

    def _take(self, key: bytes, absent: D, flags: int = 0) -> V | D:
        action = "look up and delete a key of"
        try:
            return self._read(lib.ebpf_map_lookup_and_delete, key, absent, action, flags)
        except BpfError as error:
            # An old kernel says EINVAL to flags before it looks at the type.
            old = self.type in _TAKING and facts.kernel_version() < _TAKE_SINCE
            if old and error.errno in (ENOTSUPP, errno.EINVAL):
                raise NotSupportedError(f"{action} {self!r}", _TAKE_SINCE, error.errno) from None
            raise

    def pop(self, key: K, default: D = ABSENT) -> V | D:
        """Remove `key` and return its value, or `default`; KeyError where there is neither.

        Raises:
            CodecError: the value was removed, but can't be decoded; ``raw`` has its bytes.
        """
        value = self._remove(self._pack_key(key))
        if value is not ABSENT:
            return value
        if default is ABSENT:
            raise KeyError(key)
        return default

    def _remove(self, key: bytes) -> V:
        """Delete the packed `key` and return its value, or ABSENT."""
        try:
            return self._take(key, ABSENT)
        except NotSupportedError:
            # Two steps, as for any mapping without an atomic pop: of two callers that pop the
            # same key one gets the value, because only one of the deletions finds it.
            value = self._read(lib.ebpf_map_lookup, key, ABSENT, "look up a key in")
            return value if value is not ABSENT and self._delete(key) else ABSENT

    def popitem(self) -> tuple[K, V]:
        """Remove some entry and return it, as `pop`; KeyError where the map is empty."""
        for raw in self._raw_keys():
            # Before its value is gone.
            key = self.key_codec.unpack(raw)
            value = self._remove(raw)
            if value is not ABSENT:
                return key, value
        raise KeyError("popitem(): the map is empty")

    def setdefault(self, key: K, default: V = ABSENT) -> V:
        """The value for `key`, which becomes `default` where it was not there.

        The default must fit the map also where it isn't needed: it is written first, with
        NOEXIST, which is what makes this atomic.
        """
        if default is ABSENT:
            raise TypeError("setdefault: default: give one, a map does not hold None by itself")
        while True:
            try:
                self.put(key, default, UpdateFlags.NOEXIST)
                return default
            except FileExistsError:
                value = self._get(key)
                # Absent: somebody deleted it between the two calls.
                if value is not ABSENT:
                    return value

    def update(self, other: Any = (), /, **named: Any) -> None:
        """Write the entries of a mapping or of an iterable of pairs, as `dict.update`, in batches.

        All of them are packed before the first is written: where a key or value does not fit,
        nothing is.

        Raises:
            CodecError: a key or value does not fit.
            BpfError: E2BIG when the map is full; the message says at which entry, the ones before
                it are written.
        """
        keys, values = columns(other, named)
        self.update_batch(keys, values)

    def delete_batch(self, keys: Iterable[K] | Any) -> int:
        """Delete these keys (MAP_DELETE_BATCH, 5.6); how many the map had.

        `keys` may be a buffer of packed keys (bytes, memoryview, array, numpy). A key that is not
        there, or not any more, is passed over.
        """
        self.fileno()
        return self._erase(*self._packed_keys(keys))

    def clear(self) -> None:
        """Delete the entries that are there when they are met."""
        deleted = self._clear_once()
        if self.type is not MapType.RHASH:
            return
        # A walk may have skipped some; it meets all when nothing is moved any more.
        for _ in range(_MAXIMUM_WALKS):
            if not deleted:
                return
            deleted = self._clear_once()
        raise EbpfError(f"clear {self!r}: others insert as fast as entries are deleted")

    def _clear_once(self) -> int:
        """Delete what one walk meets; how many entries that were."""
        if TAKE not in self._unbatched:
            try:
                return sum(count for _, _, count in self._own_chunks(TAKE))
            except NotSupportedError:
                # The type can't take entries in batches; `_unbatched` has it now.
                if TAKE not in self._unbatched:
                    raise
        met = 0
        for keys, _, count in self._own_chunks(keys_only=True):
            self._erase(keys, count)
            met += count
        return met

    def __iter__(self) -> Iterator[K]:
        unpack, size = self.key_codec.iter_unpack, self.key_codec.size
        return chain.from_iterable(
            unpack(ffi.buffer(keys, count * size))
            for keys, _, count in self._own_chunks(keys_only=True)
        )

    def __len__(self) -> int:
        """The number of entries, counted by reading them: the kernel keeps no count."""
        return sum(count for _, _, count in self._own_chunks(keys_only=True))

    def items(self) -> ItemsView[K, V]:
        """A view of the entries, which are read in batches when it is iterated.

        What is iterated is what was there when its batch was read, some thousands of entries
        before it is met. ``dict(m)`` calls the kernel for each key, and raises KeyError for a key
        that is gone meanwhile: use `to_dict`.
        """
        return _Items(self)

    def values(self) -> ValuesView[V]:
        """A view of the values, as `items`."""
        return _Values(self)


class _Items(ItemsView[K, V]):
    # The inherited method looks each key up with [], which raises for a key that is gone.
    _mapping: HashMap[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._mapping._entries()


class _Values(ValuesView[V]):
    _mapping: HashMap[Any, V]

    def __iter__(self) -> Iterator[V]:
        return self._mapping._iter_values()
