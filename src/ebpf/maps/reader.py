"""Reading a map in chunks: by the kernel's batches where it has them, else entry by entry.

The kernel leaves a cursor where a chunk ends: the number of a bucket for hashes, a key for other
types. A chunk of a hash has whole buckets: where the next bucket has more entries than there is
room for, and none was read yet, the kernel says ENOSPC. A type without batches is answered by
ENOTSUPP.
"""

from __future__ import annotations

import errno
from itertools import islice

from ebpf._sys import ffi, lib
from ebpf.errors import ENOTSUPP, EbpfError
from ebpf.maps.buffers import new_buffer, pick
from ebpf.types import Command, MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ebpf.maps.batch import BatchMap

# What a cursor may take beyond a key: a u32 where keys are shorter, and what future types want.
_CURSOR_ROOM = 64

# Where the cursor is the number of a bucket, the kernel reads each bucket once. Where it is a key
# that is gone meanwhile, the kernel starts again from the beginning, or (RHASH) asks us to. The
# keys of arrays stay.
_READ_ONCE = frozenset(
    {
        MapType.HASH,
        MapType.LRU_HASH,
        MapType.PERCPU_HASH,
        MapType.LRU_PERCPU_HASH,
        MapType.HASH_OF_MAPS,
        MapType.ARRAY,
        MapType.PERCPU_ARRAY,
    }
)

# Chunks without an entry, one after the other: kernels before 6.15 say EINTR where they found a
# key whose value was gone three times in a row.
_MAXIMUM_RETRIES = 1000

LOOKUP = Command.MAP_LOOKUP_BATCH
TAKE = Command.MAP_LOOKUP_AND_DELETE_BATCH

# Errors after which the chunk counts: the end, interrupted, no room for the next bucket; an RHASH
# whose cursor, a key, is gone; and the kernel's word for having no batches.
_PROGRESS = (errno.ENOENT, errno.EINTR, errno.ENOSPC, errno.EAGAIN, ENOTSUPP)

_ACTIONS = {LOOKUP: "read a batch of", TAKE: "read and delete a batch of"}


class NoRoomError(Exception):
    """The next bucket has more entries than there is room for; nothing was read."""


class BatchReader:
    """The entries of a map from the first to the last, in chunks."""

    def __init__(
        self, map: BatchMap[Any, Any], command: Command = LOOKUP, keys_only: bool = False
    ) -> None:
        size = map.key_codec.size + _CURSOR_ROOM
        self._map = map
        self._command = command
        self._keys_only = keys_only
        self._at = ffi.NULL
        self._next = new_buffer(size)
        self._spare = new_buffer(size)
        self._count = ffi.new("uint32_t *")
        again = command == LOOKUP and map.type not in _READ_ONCE
        self._seen: set[bytes] | None = set() if again else None
        self._met = 0
        self._walk: Iterator[bytes] | None = None
        self.done = False
        if command in map._unbatched:
            self._go_without_batches()

    def read(self, keys: Any, values: Any, room: int) -> int:
        """Copy up to `room` entries to where `keys` and `values` point; how many there were.

        After the last entry `done` is true. A chunk may be empty before that.
        """
        if self._walk is not None:
            return self._read_each(keys, values, room)
        for _ in range(_MAXIMUM_RETRIES):
            result = self._call(keys, values, room)
            if result == -ENOTSUPP:
                self._go_without_batches()
                return self._read_each(keys, values, room)
            found = int(self._count[0])
            if result == -errno.ENOSPC and not found:
                raise NoRoomError
            self.done = result == -errno.ENOENT
            if found:
                self._at, self._next = self._next, self._at or self._spare
                return self._new(keys, values, found)
            if result == -errno.EAGAIN:
                self._at = ffi.NULL
            elif result != -errno.EINTR:
                return 0
        raise EbpfError(f"iterate {self._map!r}: others delete so fast that no entry can be read")

    def _call(self, keys: Any, values: Any, room: int) -> int:
        """0 or one of the errors that say how it went on; `_count` is how many were read."""
        self._count[0] = room
        result = lib.ebpf_map_batch(
            self._command, self._map._fd, self._at, self._next, keys, values, self._count, 0
        )
        if result < 0 and -result not in _PROGRESS:
            self._map._fail(result, _ACTIONS[self._command])
        return int(result)

    def _new(self, keys: Any, values: Any, found: int) -> int:
        """Move what of a chunk was not met before to its beginning; how much that is."""
        self._met += found
        limit = 16 * self._map.max_entries + _MAXIMUM_RETRIES
        if self._met > limit:
            raise EbpfError(
                f"iterate {self._map!r}: others insert and delete so fast that the walk met"
                f" {self._met} keys without an end"
            )
        if self._seen is None:
            return found
        fresh = bytearray(found)
        for index, key in enumerate(_split(keys, found, self._map.key_codec.size)):
            if key not in self._seen:
                self._seen.add(key)
                fresh[index] = 1
        return self._pick(keys, values, fresh)

    def _pick(self, keys: Any, values: Any, wanted: bytearray) -> int:
        pick(values, self._map.value_codec.size, wanted)
        return pick(keys, self._map.key_codec.size, wanted)

    def _go_without_batches(self) -> None:
        map = self._map
        map._unbatched |= {self._command}
        if self._command != LOOKUP:
            map._fail(-ENOTSUPP, _ACTIONS[self._command])
        self._walk = map._raw_keys()

    def _read_each(self, keys: Any, values: Any, room: int) -> int:
        """A chunk of a type that has no batches."""
        assert self._walk is not None
        map = self._map
        raw = list(islice(self._walk, room))
        self.done = len(raw) < room
        if not raw:
            return 0
        packed = b"".join(raw)
        ffi.memmove(keys, packed, len(packed))
        if self._keys_only:
            return len(raw)
        return self._pick(keys, values, map._look_up_each(keys, values, len(raw)))


def _split(memory: Any, count: int, size: int) -> list[bytes]:
    """`count` items of `size` bytes each, one by one."""
    data = bytes(ffi.buffer(memory, count * size))
    return [data[at : at + size] for at in range(0, len(data), size)]
