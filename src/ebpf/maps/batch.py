"""Many entries by one system call: MAP_LOOKUP_BATCH and its like, Linux 5.6."""

from __future__ import annotations

import errno
from itertools import chain

from ebpf._sys import ffi, lib
from ebpf._sys.arguments import check_iterable
from ebpf.errors import ENOTSUPP, CodecError
from ebpf.maps.base import K, V
from ebpf.maps.buffers import as_view, grown, is_buffer, new_buffer, pick, readable, writable
from ebpf.maps.keyed import KeyedMap, check_flags
from ebpf.maps.reader import LOOKUP, TAKE, BatchReader, NoRoomError
from ebpf.types import Command, UpdateFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, NoReturn

    # Cffi buffers with keys and values, and how many there are.
    Chunk = tuple[Any, Any, int]

# Entries of a chunk: few at first, for who wants just one; then as many as the caches hold well.
FIRST_CHUNK = 64
CHUNK = 16384
_CHUNK_BYTES = 1 << 20
# Entries of one system call where the buffers are there anyway: signal handlers run between two.
_STEP = 1 << 15
# Memory that is set aside for a whole map before it is known how much of it is in use.
_WHOLE_BYTES = 1 << 26


UPDATE, DELETE = Command.MAP_UPDATE_BATCH, Command.MAP_DELETE_BATCH


class BatchMap(KeyedMap[K, V]):
    """A map that is read and written in batches where the kernel can."""

    # The commands that the kernel was found not to have for this type.
    _unbatched: frozenset[Command] = frozenset()

    def lookup_batch(self) -> tuple[memoryview, memoryview]:
        """All keys and all values, each in one buffer (MAP_LOOKUP_BATCH, 5.6).

        The views have the codecs' formats where these are one letter ("I": ``keys[3]`` is an
        int), per-CPU values two dimensions (entry, CPU), and are bytes otherwise; key i and value
        i belong together. numpy takes them without a copy, see also `to_numpy`. Entries that come
        or go meanwhile may be missing; none is there twice.
        """
        return self._whole(LOOKUP)

    def lookup_and_delete_batch(self) -> tuple[memoryview, memoryview]:
        """Delete all entries and return what they were, as `lookup_batch` does.

        Raises:
            NotSupportedError: the kernel can't do this for the type.
        """
        return self._whole(TAKE)

    def batches(
        self, count: int = CHUNK, *, delete: bool = False
    ) -> Iterator[tuple[memoryview, memoryview]]:
        """The entries in buffers of up to `count`, as `lookup_batch` gives them all in one.

        However large a hash or an array is, this takes the memory of a few chunks. Of a type that
        the kernel walks by its keys (LPM_TRIE, RHASH, DEVMAP_HASH, SOCKHASH, and any for which it
        has no batches) it takes some dozens of bytes for each entry besides: the keys that were
        met, so that none comes twice. With `delete`, what was returned is deleted. A single bucket
        of a hash that has more than `count` entries is returned as one chunk.
        """
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"count: {count!r}, but a chunk has 1 entry or more")
        self.fileno()
        return (
            (as_view(keys, found, self.key_codec), as_view(values, found, self.value_codec))
            for keys, values, found in self._chunks(count, count, TAKE if delete else LOOKUP)
        )

    def lookup_batch_into(self, keys: Any, values: Any) -> int:
        """Read all entries into two writable buffers of yours; how many there are.

        Raises:
            ValueError: a buffer is read-only, has gaps, no whole number of items, or numbers of
                another size or kind.
            BpfError: ENOSPC, the map has more entries than the smaller buffer holds; what is in
                the buffers then is undefined.
        """
        key_memory, room = writable("keys", keys, self.key_codec)
        value_memory, value_room = writable("values", values, self.value_codec)
        room = min(room, value_room)
        reader = BatchReader(self)
        total = self._fill(reader, key_memory, value_memory, 0, room)
        # Where the last entry took the last room, the end has yet to be met.
        if not reader.done and not (total == room and next(self._rest(reader), None) is None):
            self._fail(-errno.ENOSPC, f"read into buffers for {room} entries all of")
        return total

    def update_batch(
        self, keys: Any, values: Any, *, flags: UpdateFlags | int = UpdateFlags.ANY
    ) -> None:
        """Write entries that lie side by side in two buffers, or in two lists (5.6).

        Args:
            keys, values: buffers (bytes, memoryview, array, numpy) with as many keys as values,
                taken as they are; other iterables are packed by the codecs. Where the map has one
                number, an array's are of the same size; bytes ("B") are whatever they pack.
            flags: LOCK. NOEXIST and EXIST the kernel takes for single entries only, see `put`.

        Raises:
            ValueError: a buffer has gaps, no whole number of items, another number of them, or
                numbers that the map does not have: of another size or kind (floats for integers,
                the other byte order), negative ones where it has unsigned ones.
            CodecError: a key or value does not fit; nothing is written.
            BpfError: E2BIG when the map is full; the message says at which entry, the ones before
                it are written.
        """
        self.fileno()
        check_flags(flags)
        if flags & (UpdateFlags.NOEXIST | UpdateFlags.EXIST):
            raise ValueError("flags: the kernel takes NOEXIST and EXIST for single entries: put()")
        key_memory, count = self._packed_keys(keys)
        value_memory, value_count = self._packed_values(values)
        if count != value_count:
            raise ValueError(f"keys, values: {count} keys, but {value_count} values")
        self._write(key_memory, value_memory, count, flags)

    def lookup_many(self, keys: Iterable[K] | Any) -> list[V | None]:
        """The value of each of `keys`, in their order; None where the map has no such key.

        One call of the core looks up thousands of them; `keys` may be a buffer of packed keys
        (bytes, memoryview, array, numpy).
        """
        self.fileno()
        memory, count = self._packed_keys(keys)
        size, value_size = self.key_codec.size, self.value_codec.size
        result: list[V | None] = []
        for start in range(0, count, _STEP):
            step = min(_STEP, count - start)
            values = new_buffer(step * value_size)
            found = self._look_up_each(memory + start * size, values, step)
            present = step if 0 not in found else pick(values, value_size, found)
            decoded = self.value_codec.iter_unpack(ffi.buffer(values, present * value_size))
            if present == step:
                result += decoded
            else:
                following = iter(decoded)
                result += [next(following) if there else None for there in found]
        return result

    def to_dict(self) -> dict[K, V]:
        """All entries as a dict."""
        return dict(self._entries())

    def to_numpy(self) -> tuple[Any, Any]:
        """All keys and all values as numpy arrays: structured ones for codecs with fields.

        Nothing is copied after the system calls. Values per CPU have two dimensions, entry and
        CPU. See `ebpf.codec.dtypes.dtype_of` for what the fields are.
        """
        from ebpf.codec.dtypes import array_of

        keys, values = self.lookup_batch()
        return array_of(self.key_codec, keys), array_of(self.value_codec, values)

    def _whole(self, command: Command) -> tuple[memoryview, memoryview]:
        key_size, value_size = self.key_codec.size, self.value_codec.size
        # One more than there can be, so that the end is met before the room is used up.
        room = max(min(self.max_entries + 1, _WHOLE_BYTES // (key_size + value_size)), FIRST_CHUNK)
        keys, values = new_buffer(room * key_size), new_buffer(room * value_size)
        reader = BatchReader(self, command)
        total = self._fill(reader, keys, values, 0, room)
        while not reader.done:
            keys = grown(keys, total * key_size, 2 * room * key_size)
            values = grown(values, total * value_size, 2 * room * value_size)
            room *= 2
            total = self._fill(reader, keys, values, total, room)
        return as_view(keys, total, self.key_codec), as_view(values, total, self.value_codec)

    def _fill(self, reader: BatchReader, keys: Any, values: Any, total: int, room: int) -> int:
        """Read behind the first `total` entries until there are no more, or there is no more room
        for what comes next; how many there are now."""
        key_size, value_size = self.key_codec.size, self.value_codec.size
        step = _STEP
        while total < room and not reader.done:
            at_key, at_value = keys + total * key_size, values + total * value_size
            try:
                total += reader.read(at_key, at_value, min(step, room - total))
            except NoRoomError:
                if step >= room - total:
                    break
                step *= 2
        return total

    def _chunks(self, first: int, most: int, command: Command = LOOKUP) -> Iterator[Chunk]:
        """The entries in buffers of their own, none of them empty: of `first`, then more entries,
        up to `most`."""
        return self._rest(BatchReader(self, command), first, most)

    def _rest(
        self, reader: BatchReader, room: int = FIRST_CHUNK, most: int = CHUNK
    ) -> Iterator[Chunk]:
        """What `reader` has not read yet."""
        key_size, value_size = self.key_codec.size, self.value_codec.size
        while not reader.done:
            keys, values = new_buffer(room * key_size), new_buffer(room * value_size)
            try:
                found = reader.read(keys, values, room)
            except NoRoomError:
                room *= 2
                continue
            if found:
                yield keys, values, found
            room = max(room, min(8 * room, most))

    def _own_chunks(self, command: Command = LOOKUP, *, keys_only: bool = False) -> Iterator[Chunk]:
        """`_chunks` of the size that suits this map; with `keys_only` the values may be anything.

        Where the kernel has no batches that spares the lookups, which not every map answers.
        """
        most = _CHUNK_BYTES // (self.key_codec.size + self.value_codec.size)
        most = max(min(most, CHUNK), 1)
        return self._rest(BatchReader(self, command, keys_only), min(FIRST_CHUNK, most), most)

    def _entries(self) -> Iterator[tuple[K, V]]:
        keys_of, values_of = self.key_codec.iter_unpack, self.value_codec.iter_unpack
        key_size, value_size = self.key_codec.size, self.value_codec.size
        # A generator that resumes for each chunk only: the entries come from C.
        return chain.from_iterable(
            zip(
                keys_of(ffi.buffer(keys, count * key_size)),
                values_of(ffi.buffer(values, count * value_size)),
                strict=True,
            )
            for keys, values, count in self._own_chunks()
        )

    def _iter_values(self) -> Iterator[V]:
        values_of, size = self.value_codec.iter_unpack, self.value_codec.size
        return chain.from_iterable(
            values_of(ffi.buffer(values, count * size)) for _, values, count in self._own_chunks()
        )

    def _look_up_each(self, keys: Any, values: Any, count: int) -> bytearray:
        """Look up packed keys one after the other; which of them there are, as bytes 0 and 1."""
        found = bytearray(count)
        result = lib.ebpf_map_lookup_many(
            *(self._fd, keys, self.key_codec.size, values, self.value_codec.size),
            *(ffi.from_buffer(found), count, 0, ffi.new("uint64_t *")),
        )
        if result < 0:
            self._fail(result, "look up keys in")
        return found

    def _packed_keys(self, given: Any) -> tuple[Any, int]:
        """Packed keys, as memory, and how many: a buffer as it is, an iterable by the codec."""
        if is_buffer(given):
            return readable("keys", given, self.key_codec)
        check_iterable("keys", given, or_else="buffer")
        try:
            packed = self.key_codec.pack_many(given)
        except CodecError as error:
            raise CodecError(f"key of {self!r}: {error}") from None
        return ffi.from_buffer(packed), len(packed) // self.key_codec.size

    def _packed_values(self, given: Any) -> tuple[Any, int]:
        if is_buffer(given):
            return readable("values", given, self.value_codec)
        check_iterable("values", given, or_else="buffer")
        try:
            packed = self.value_codec.pack_many(given)
        except CodecError as error:
            raise CodecError(f"value of {self!r}: {error}") from None
        return ffi.from_buffer(packed), len(packed) // self.value_codec.size

    def _write(self, keys: Any, values: Any, count: int, flags: UpdateFlags | int = 0) -> None:
        """Write packed entries, thousands by one system call, or by one call of the core where
        the kernel has no batches."""
        key_size, value_size = self.key_codec.size, self.value_codec.size
        for start in range(0, count, _STEP):
            at_key, at_value = keys + start * key_size, values + start * value_size
            step = min(_STEP, count - start)
            result, written = self._write_some(at_key, at_value, step, flags)
            if result < 0:
                self._refuse_entry(
                    result, at_key + written * key_size, start + written, count, flags
                )

    def _write_some(self, keys: Any, values: Any, count: int, flags: int) -> tuple[int, int]:
        """(0 or -errno, entries written)."""
        if UPDATE not in self._unbatched:
            done = ffi.new("uint32_t *", count)
            result = lib.ebpf_map_batch(
                UPDATE, self._fd, ffi.NULL, ffi.NULL, keys, values, done, flags
            )
            if result != -ENOTSUPP:
                # Refused before the first entry, the count is still what it was.
                refused = result < 0 and done[0] == count
                return int(result), 0 if refused else int(done[0])
            self._unbatched |= {UPDATE}
        each = ffi.new("uint64_t *")
        key_size, value_size = self.key_codec.size, self.value_codec.size
        result = lib.ebpf_map_update_many(
            self._fd, keys, key_size, values, value_size, count, flags, each
        )
        return int(result), int(each[0])

    def _refuse_entry(self, result: int, key: Any, index: int, count: int, flags: int) -> NoReturn:
        named = self.key_codec.unpack(ffi.buffer(key, self.key_codec.size))
        hint = self._put_hint(-result, flags)
        self._fail(result, f"write entry {index} of {count}, the key {named!r}{hint}, to", flags)

    def _erase(self, keys: Any, count: int) -> int:
        """Delete packed keys; how many there were."""
        size = self.key_codec.size
        deleted, done = ffi.new("uint64_t *"), ffi.new("uint64_t *")
        total = 0
        for start in range(0, count, _STEP):
            arguments = (keys + start * size, size, min(_STEP, count - start), deleted, done)
            result = -ENOTSUPP
            if DELETE not in self._unbatched:
                result = lib.ebpf_map_delete_batch(self._fd, *arguments)
            if result == -ENOTSUPP:
                self._unbatched |= {DELETE}
                result = lib.ebpf_map_delete_many(self._fd, *arguments)
            if result < 0:
                self._fail(result, "delete keys of")
            total += int(deleted[0])
        return total
