"""Stack traces, which programs store and user space reads by id."""

from __future__ import annotations

from ebpf.maps.base import Made, V
from ebpf.maps.keyed import ABSENT, KeyedMap
from ebpf.types import MapFlags, MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any  # noqa: F401  for the class statement

    from ebpf.maps.base import Formats

# PERF_MAX_STACK_DEPTH, the most frames that the kernel collects unless told otherwise.
_MAX_DEPTH = 127


class StackTraceMap(Made["StackTraceMap[Any]"], KeyedMap[int, V]):  # type: ignore[misc]
    """A STACK_TRACE map: programs store stacks by id (bpf_get_stackid), user space reads them.

    A value is as many u64 addresses (with the flag STACK_BUILD_ID ``struct
    bpf_stack_build_id``) as the map's value size holds, zero after the last frame. User space
    can't add stacks. `ebpf.Symbolizer` knows the functions of the addresses.
    """

    types = (MapType.STACK_TRACE,)
    default_type = MapType.STACK_TRACE

    @classmethod
    def _default_formats(cls, flags: MapFlags, value_size: int | None) -> Formats:
        if flags & MapFlags.STACK_BUILD_ID:
            return "I", None
        return "I", f"{_MAX_DEPTH if value_size is None else value_size // 8}Q"

    def __getitem__(self, id: int) -> V:
        value = self._get(id)
        if value is ABSENT:
            raise KeyError(id)
        return value

    def __delitem__(self, id: int) -> None:
        if not self.delete(id):
            raise KeyError(id)

    def delete(self, id: int) -> bool:
        """Forget the stack `id`; False where there is none."""
        return self._delete(self._pack_key(id))

    def __iter__(self) -> Iterator[int]:
        """The ids of the stacks."""
        unpack = self.key_codec.unpack
        return (unpack(key) for key in self._raw_keys())

    def items(self) -> Iterator[tuple[int, V]]:
        """(id, stack) of every stack."""
        return self._entries()

    def clear(self) -> None:
        """Forget the stacks."""
        for key in self._raw_keys():
            self._delete(key)
