"""Arrays: a fixed number of slots, reached by index."""

from __future__ import annotations

import errno
import operator

from ebpf._sys import ffi
from ebpf.errors import BpfError
from ebpf.maps.base import Made, V
from ebpf.maps.batch import CHUNK, BatchMap
from ebpf.maps.buffers import columns
from ebpf.maps.keyed import ABSENT, KeyedMap
from ebpf.maps.memory import SharedMemory, slot_size
from ebpf.maps.scalars import ABSENT_SCALAR
from ebpf.types import MapFlags, MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from typing_extensions import Self

    from ebpf.maps.base import Formats

# Bytes that `clear` writes at a time.
_ZEROS = 1 << 20


class _Indexed(KeyedMap[int, V]):
    """Slots 0 to max_entries - 1, with keys that are u32."""

    @classmethod
    def _default_formats(cls, flags: MapFlags, value_size: int | None) -> Formats:
        return "I", None

    def __len__(self) -> int:
        """The number of slots."""
        self.fileno()
        return self.max_entries

    def keys(self) -> range:
        """The indexes."""
        return range(len(self))

    def _check_index(self, index: int) -> None:
        if type(index) is not int:
            index = self._as_index(index)
        if not 0 <= index < self.max_entries:
            raise IndexError(f"index of {self!r}: {self._too_big()}, but {index}")

    def _as_index(self, given: Any) -> int:
        """The int that `given` stands for: one of numpy's, say, but no bool."""
        try:
            number = operator.index(given)
        except TypeError:
            number = None
        if number is None or isinstance(given, bool):
            raise TypeError(f"index of {self!r}: {given!r} is not an int")
        return number

    def _too_big(self) -> str:
        return f"the index must be 0 to {self.max_entries - 1}"


class ArrayMap(Made["ArrayMap[Any]"], _Indexed[V], BatchMap[int, V]):  # type: ignore[misc]
    """An ARRAY or PERCPU_ARRAY: all slots exist from the start, zeroed, and none can be deleted.

    It is indexed like a tuple of fixed length (without negative indexes): ``m[0]``, ``m[0] = v``,
    ``len(m)``; iterating yields the values, and ``in`` looks for a value. ``dict(m)`` works too,
    through `keys`.
    """

    types = (MapType.ARRAY, MapType.PERCPU_ARRAY, MapType.INSN_ARRAY)
    default_type = MapType.ARRAY

    def _prepare(self) -> None:
        super()._prepare()
        self._mapping = SharedMemory()

    @property
    def memory(self) -> memoryview:
        """The slots, in memory that the kernel's programs and this process share (5.5).

        For an ARRAY that was created with the flag MMAPABLE. Where a value is one number,
        ``m.memory[3]`` is that of slot 3; else it is bytes, of which a slot takes the value's size
        rounded up to 8. Reading and writing take no system call, but for the first use, which maps
        the memory; ``slots = m.memory`` spares a loop the attribute. numpy takes it without a copy,
        see also `memory_to_numpy`. It is read-only where the map is frozen or has the flag
        RDONLY_PROG.

        The memory stays mapped until `close` or `freeze`. A view stays valid when the map is
        closed, and keeps the memory until it is dropped. A map can't be frozen while a writable
        view is left, here or in a forked child, or another object has it mapped (one by `from_id`,
        say, not one by `duplicate`).

        Raises:
            ClosedError: the map was closed.
            BpfError: it is no ARRAY with the flag MMAPABLE, or was opened read-only, which the
                kernel does not map.
        """
        mapping = self._mapping
        slots = mapping.slots
        if slots is None:
            self.fileno()
            slots = mapping.map(self)
        # One for each who asks: to release it, as `with` does, releases nobody else's.
        return memoryview(slots)

    def memory_to_numpy(self) -> Any:
        """`memory` as a numpy array of the values, a structured one for codecs with fields."""
        from ebpf.codec.dtypes import array_of

        self.fileno()
        return array_of(self.value_codec, self._mapping.bytes(self), slot_size(self))

    def duplicate(self) -> Self:
        """Another object for the same map, with a descriptor of its own; `memory` is mapped once
        for both."""
        copy = super().duplicate()
        copy._mapping = self._mapping
        return copy

    def freeze(self) -> None:
        """Forbid writes from user space, for good (BPF_MAP_FREEZE); `memory` is then read-only.

        Raises:
            BpfError: it is frozen already, or mapped for writing (EBUSY): somebody has a view of
                `memory`.
        """
        self._mapping.drop()
        super().freeze()

    def close(self) -> None:
        """Give the descriptor back, and the memory unless somebody has a view of it. Closing twice
        does nothing."""
        super().close()
        # Not emptied: it is that of duplicates too, and of a thread that is just about to map it.
        self._mapping = self._mapping.__class__()

    def __getitem__(self, index: int) -> V:
        # As in HashMap.__getitem__: what is done most, without the call of `_get`.
        read = self._get_scalar
        if read is not None and type(index) is int:
            try:
                value = read(self._fd, index)
                if value < ABSENT_SCALAR:
                    return value  # type: ignore[no-any-return]
            except OverflowError:
                pass
        self._check_index(index)
        return self._get(index)

    def __setitem__(self, index: int, value: V) -> None:
        write = self._set_scalar
        if write is not None and type(index) is type(value) is int:
            try:
                if not write(self._fd, index, value):
                    return
            except OverflowError:
                pass
        self._check_index(index)
        self.put(index, value)

    def __iter__(self) -> Iterator[V]:
        return self._iter_values()

    def __contains__(self, value: object) -> bool:
        return any(value == other for other in self)

    def values(self) -> Iterator[V]:
        """The values, in the order of their indexes."""
        return iter(self)

    def items(self) -> Iterator[tuple[int, V]]:
        """(index, value) of every slot, read in batches."""
        return self._entries()

    def update(self, other: Mapping[int, V] | Iterable[tuple[int, V]], /) -> None:
        """Write the slots of a mapping or of (index, value) pairs, in batches.

        Raises:
            IndexError: there is no such slot; nothing is written.
            CodecError: a value does not fit; nothing is written.
        """
        keys, values = columns(other, {})
        for index in keys:
            self._check_index(index)
        self.update_batch(keys, values)

    def clear(self) -> None:
        """Zero every slot."""
        size = self.value_codec.size
        step = min(max(_ZEROS // size, 1), CHUNK, self.max_entries)
        zeros = bytes(step * size)
        for start in range(0, self.max_entries, step):
            indexes = range(start, min(start + step, self.max_entries))
            keys, count = self._packed_keys(indexes)
            self._write(keys, ffi.from_buffer(zeros), count)


class DescriptorArray(Made["DescriptorArray"], _Indexed["Any"]):  # type: ignore[misc]
    """An array of kernel objects: programs, maps, perf events, cgroups, sockets, devices, CPUs.

    A slot takes what the type holds, as anything with ``fileno()`` or a descriptor's number; for
    DEVMAP it is an interface index (or that and a program's descriptor: value "II"), for CPUMAP
    a queue size (or the same pair). Slots start empty; ``del`` empties one.

    What a lookup returns is the kernel's choice: the id of a program or map, the cookie of a
    socket, what was written to a DEVMAP or CPUMAP. Perf events, cgroups and AF_XDP sockets can't
    be looked up, nor sockets in a SOCKMAP that has values of 4 bytes (an object's, often).
    """

    types = (
        MapType.PROG_ARRAY,
        MapType.PERF_EVENT_ARRAY,
        MapType.CGROUP_ARRAY,
        MapType.ARRAY_OF_MAPS,
        MapType.DEVMAP,
        MapType.CPUMAP,
        MapType.XSKMAP,
        MapType.SOCKMAP,
        MapType.REUSEPORT_SOCKARRAY,
    )

    @classmethod
    def _default_formats(cls, flags: MapFlags, value_size: int | None) -> Formats:
        return "I", "I"

    def __getitem__(self, index: int) -> Any:
        self._check_index(index)
        value = self._get(index)
        if value is ABSENT:
            raise KeyError(index)
        return value

    def __setitem__(self, index: int, value: Any) -> None:
        self._check_index(index)
        self.put(index, value)

    def __delitem__(self, index: int) -> None:
        self._check_index(index)
        if not self.delete(index):
            raise KeyError(index)

    def delete(self, index: int) -> bool:
        """Empty the slot; False where it was empty (DEVMAP, CPUMAP and XSKMAP don't tell)."""
        packed = self._pack_key(index)
        if self.type is not MapType.SOCKMAP:
            return self._delete(packed)
        try:
            return self._delete(packed)
        except BpfError as error:
            # Its word for an empty slot too (__sock_map_delete).
            if error.errno == errno.EINVAL and index < self.max_entries:
                return False
            raise

    def __iter__(self) -> Iterator[int]:
        """The indexes of the slots that are in use."""
        return (index for index, _ in self._entries())

    def items(self) -> Iterator[tuple[int, Any]]:
        """(index, value) of the slots in use."""
        return self._entries()

    def clear(self) -> None:
        """Empty every slot."""
        for index in self.keys():
            self.delete(index)

    def _entries(self) -> Iterator[tuple[int, Any]]:
        for index in self.keys():
            value = self._get(index)
            if value is not ABSENT:
                yield index, value
