"""Arrays: a fixed number of slots, reached by index."""

from __future__ import annotations

import errno

from ebpf._sys import ffi, lib
from ebpf.maps.base import V
from ebpf.maps.keyed import KeyedMap
from ebpf.types import MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class _Indexed(KeyedMap[int, V]):
    """Slots 0 to max_entries - 1, with keys that are u32."""

    @classmethod
    def _default_formats(cls, type: MapType) -> tuple[str | None, str | None]:
        return "I", None

    def __len__(self) -> int:
        """The number of slots."""
        return self.max_entries

    def keys(self) -> range:
        """The indexes."""
        return range(self.max_entries)

    def _check_index(self, index: int) -> None:
        if not isinstance(index, int) or isinstance(index, bool):
            raise TypeError(f"index of {self!r}: {index!r} is not an int")
        if not 0 <= index < self.max_entries:
            raise IndexError(f"index of {self!r}: {index} is not in 0..{self.max_entries - 1}")


class ArrayMap(_Indexed[V]):
    """An ARRAY or PERCPU_ARRAY: all slots exist from the start, zeroed, and none can be deleted.

    It is indexed like a tuple of fixed length (without negative indexes): ``m[0]``, ``m[0] = v``,
    ``len(m)``; iterating yields the values. ``dict(m)`` works too, through `keys`.
    """

    types = (MapType.ARRAY, MapType.PERCPU_ARRAY)

    def __getitem__(self, index: int) -> V:
        self._check_index(index)
        value = self.lookup(index)
        if value is None:
            raise IndexError(f"{self!r} has no slot {index}")
        return value

    def __setitem__(self, index: int, value: V) -> None:
        self._check_index(index)
        self.put(index, value)

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._entries())

    def __contains__(self, value: object) -> bool:
        return any(value == other for other in self)

    def values(self) -> Iterator[V]:
        """The values, in the order of their indexes."""
        return iter(self)

    def items(self) -> Iterator[tuple[int, V]]:
        """(index, value) of every slot."""
        return self._entries()

    def clear(self) -> None:
        """Zero every slot."""
        zero = bytes(self.value_codec.size)
        for index in self.keys():
            result = lib.ebpf_map_update(self._fd, self.key_codec.pack(index), zero, 0)
            if result < 0:
                self._fail(result, f"zero the slot {index} of")

    def _entries(self) -> Iterator[tuple[int, V]]:
        for index in self.keys():
            yield index, self[index]


class DescriptorArray(_Indexed[Any] if TYPE_CHECKING else _Indexed):
    """An array of kernel objects: programs, perf events, cgroups, sockets, devices, CPUs.

    A slot takes what the type holds, by its descriptor: anything with ``fileno()`` or an int
    (for DEVMAP an interface index, for CPUMAP a queue size). Slots start empty; ``del`` empties
    one. What a lookup returns is the kernel's choice: a program's id for PROG_ARRAY, nothing
    (an error) for most others.
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
    def _default_formats(cls, type: MapType) -> tuple[str | None, str | None]:
        return "I", "I"

    def __getitem__(self, index: int) -> Any:
        self._check_index(index)
        value = self.lookup(index)
        if value is None:
            raise KeyError(index)
        return value

    def __setitem__(self, index: int, value: Any) -> None:
        self._check_index(index)
        self.put(index, value.fileno() if hasattr(value, "fileno") else value)

    def __delitem__(self, index: int) -> None:
        self._check_index(index)
        if not self.delete(index):
            raise KeyError(index)

    def delete(self, index: int) -> bool:
        """Empty the slot; False where it was empty."""
        result = lib.ebpf_map_delete(self._fd, self._pack_key(index))
        if result < 0:
            if result == -errno.ENOENT:
                return False
            self._fail(result, f"empty the slot {index} of")
        return True

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
            value = self.lookup(index)
            if value is not None:
                yield index, value


class StackTraceMap(KeyedMap[int, V]):
    """A STACK_TRACE map: programs store stacks by id (bpf_get_stackid), user space reads them.

    A value is as many u64 addresses (or struct bpf_stack_build_id) as the map's value size
    holds, zero after the last frame.
    """

    types = (MapType.STACK_TRACE,)

    @classmethod
    def _default_formats(cls, type: MapType) -> tuple[str | None, str | None]:
        # PERF_MAX_STACK_DEPTH, the most frames that the kernel collects unless told otherwise.
        return "I", "127Q"

    def __getitem__(self, id: int) -> V:
        value = self.lookup(id)
        if value is None:
            raise KeyError(id)
        return value

    def delete(self, id: int) -> bool:
        """Forget the stack `id`; False where there is none."""
        result = lib.ebpf_map_delete(self._fd, self._pack_key(id))
        if result < 0:
            if result == -errno.ENOENT:
                return False
            self._fail(result, "delete a stack of")
        return True

    def _entries(self) -> Iterator[tuple[int, V]]:
        size = self.key_codec.size
        keys = bytearray(size * self.max_entries)
        count = lib.ebpf_map_keys(
            self._fd, ffi.NULL, size, ffi.from_buffer(keys), self.max_entries
        )
        if count < 0:
            self._fail(count, "iterate")
        for at in range(0, count * size, size):
            id = self.key_codec.unpack(keys[at : at + size])
            value = self.lookup(id)
            if value is not None:
                yield id, value
