"""Types by name: one pass over the name_off of every type, in C where a helper is handed over."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from ebpf.btf.raw import Data, Header, info_kind
from ebpf.plain import dataclass

# (name_off, kind or None, first position) -> the first position in the index, from `first` on,
# whose type has that name_off and kind; -1 where there is none.
Search = Callable[[int, int | None, int], int]

# Each offset of a name costs a pass; hostile data may hold a name any number of times.
MAXIMUM_PASSES = 4


@dataclass(frozen=True)
class NameIndex:
    """Finds positions in `offsets`, the index of the types, by name offset."""

    data: Data
    header: Header
    offsets: Sequence[int]
    search: Search | None = None

    def positions(self, name_offs: list[int], kind: int | None) -> Iterator[int]:
        """Every position, ascending, whose type has one of `name_offs` and `kind`."""
        if len(name_offs) == 1:
            return self._one(name_offs[0], kind)
        if len(name_offs) <= MAXIMUM_PASSES:
            return iter(sorted(p for off in name_offs for p in self._one(off, kind)))
        return self._any(set(name_offs), kind)

    def _one(self, name_off: int, kind: int | None) -> Iterator[int]:
        search = self.search or self._search
        position = search(name_off, kind, 0)
        while position >= 0:
            yield position
            position = search(name_off, kind, position + 1)

    def _search(self, name_off: int, kind: int | None, first: int) -> int:
        """The pure `search`: the four bytes of name_off, where they begin a type."""
        if first >= len(self.offsets):
            return -1
        start, end = self.header.types.start, self.header.types.end
        needle = name_off.to_bytes(4, self.header.byte_order)
        found = self.data.find(needle, start + self.offsets[first], end)
        while found >= 0:
            offset = found - start
            if offset % 4 == 0:
                position = bisect_left(self.offsets, offset)
                known = position < len(self.offsets) and self.offsets[position] == offset
                if known and (kind is None or kind == self._kind(offset)):
                    return position
            found = self.data.find(needle, start + (offset + 4) // 4 * 4, end)
        return -1

    def _any(self, name_offs: set[int], kind: int | None) -> Iterator[int]:
        unpack = struct.Struct(self.header.order + "I").unpack_from
        start = self.header.types.start
        for position, offset in enumerate(self.offsets):
            named = unpack(self.data, start + offset)[0] in name_offs
            if named and (kind is None or kind == self._kind(offset)):
                yield position

    def _kind(self, offset: int) -> int:
        word = self.header.types.start + offset + 4
        info = int.from_bytes(self.data[word : word + 4], self.header.byte_order)
        return info_kind(info)
