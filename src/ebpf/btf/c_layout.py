"""How a C compiler lays out structs, and what must be written so that it arrives at BTF's offsets.

The rules are those that gcc and clang follow on Linux: a field goes to the next multiple of its
alignment, a bitfield to the next bit unless it would cross a boundary of its type, unnamed
bitfields take their place and align nothing; in a packed struct there are no gaps.
"""

from __future__ import annotations

from collections.abc import Iterator

from ebpf.btf import types as t
from ebpf.btf.btf import MAX_RESOLVE_DEPTH, Btf
from ebpf.errors import BtfError
from ebpf.plain import NamedTuple

# Structs in structs, deeper than any compiler is asked to go.
MAXIMUM_NESTING = 64
# From here on padding is one array instead of many bitfields.
_LARGE_GAP = 8 * 4096
_PADS = (("char", 8), ("short", 16), ("int", 32), ("long", 64))
_SCALARS = (t.Int, t.Enum, t.Enum64, t.Float)


class Shape(NamedTuple):
    """How a struct or union must be declared: its ``align`` in bytes, and whether packed."""

    align: int
    packed: bool


class Place(NamedTuple):
    """Where a member lies: bits from the start, and the width in bits of a bitfield, else 0."""

    bit_offset: int
    width: int


class CLayout:
    """Sizes, alignments and gaps of the types of one BTF, as a C compiler would have them."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self._sizes: dict[int, int] = {}
        self._aligns: dict[int, int] = {}
        self._shapes: dict[int, Shape] = {}
        self._paddings = 0  # their names stay different in anonymous structs of one struct

    def size(self, type_id: int) -> int:
        """Bytes."""
        size = self._sizes.get(type_id)
        if size is None:
            size = self._sizes[type_id] = self.btf.sizeof(type_id)
        return size

    def shape(self, composite: t.Struct | t.Union, depth: int = 0) -> Shape:
        """How `composite`, a type of this BTF, must be declared. Raises BtfError."""
        shape = self._shapes.get(composite.id)
        if shape is None:
            if depth > MAXIMUM_NESTING:
                raise BtfError(
                    f"BTF type {composite.id} is nested deeper than {MAXIMUM_NESTING}, or in itself"
                )
            shape = self._shapes[composite.id] = self._find_shape(composite, depth)
        return shape

    def place(self, member: t.Member) -> Place:
        """Where `member` is; a bitfield is one also if only its type says so."""
        if member.bitfield_size:
            return Place(member.bit_offset, member.bitfield_size)
        target = self.btf.resolve(member.type_id)
        if isinstance(target, t.Int) and (target.bits != 8 * target.size or target.bit_offset):
            return Place(member.bit_offset + target.bit_offset, target.bits)
        return Place(member.bit_offset, 0)

    def lines(self, composite: t.Struct | t.Union) -> Iterator[t.Member | str]:
        """The members of `composite` in order, between them the padding as C. Raises BtfError.

        Every member comes to lie where BTF says, and the whole is as large as BTF says.
        """
        if isinstance(composite, t.Union):
            yield from self._union_lines(composite)
            return
        shape = self.shape(composite)
        end = 0
        for member in composite.members:
            place = self.place(member)
            if place.bit_offset < end:
                raise BtfError(
                    f"BTF type {composite.id}, struct {composite.name!r}: member {member.name!r} "
                    f"at bit {place.bit_offset} overlaps what goes before: C has no such struct"
                )
            if self._natural(end, member, place, shape.packed) != place.bit_offset:
                yield from self._padding(end, place.bit_offset)
            yield member
            end = place.bit_offset + (place.width or 8 * self.size(member.type_id))
        total = 8 * composite.size
        self._check_end(composite, end, total)
        if _round_up(end, 8 * shape.align) != total:
            yield from self._padding(end, total)

    def _union_lines(self, union: t.Union) -> Iterator[t.Member | str]:
        end = 0
        for member in union.members:
            place = self.place(member)
            if place.bit_offset:
                raise BtfError(
                    f"BTF type {union.id}, union {union.name!r}: member {member.name!r} does not "
                    "start at 0: C has no such union"
                )
            yield member
            end = max(end, place.width or 8 * self.size(member.type_id))
        total = 8 * union.size
        self._check_end(union, end, total)
        if _round_up(end, 8 * self.shape(union).align) != total:
            pads = " ".join(self._padding(0, total))
            yield f"struct {{ {pads} }};"

    def _check_end(self, composite: t.Composite, end: int, total: int) -> None:
        if end > total:
            raise BtfError(
                f"BTF type {composite.id}, {composite.name!r}: its members end at bit {end}, "
                f"but its size is {composite.size} bytes: C has no such type"
            )

    def _find_shape(self, composite: t.Struct | t.Union, depth: int) -> Shape:
        align = 1
        packed = False
        for member in composite.members:
            place = self.place(member)
            own = self._align(member.type_id, depth + 1)
            if place.width:
                packed |= _crosses(place, 8 * self.size(member.type_id))
                own = own if member.name else 1
            else:
                packed |= place.bit_offset % (8 * own) != 0
            align = max(align, own)
        packed |= composite.size % align != 0
        return Shape(1, True) if packed else Shape(align, False)

    def _natural(self, end: int, member: t.Member, place: Place, packed: bool) -> int:
        """Where a compiler puts `member` after `end` bits."""
        if not place.width:
            return _round_up(end, 8 if packed else 8 * self._align(member.type_id, 0))
        unit = 8 * self.size(member.type_id)
        if not packed and _crosses(Place(end, place.width), unit):
            return _round_up(end, unit)
        return end

    def _align(self, type_id: int, depth: int) -> int:
        align = self._aligns.get(type_id)
        if align is None:
            align = self._aligns[type_id] = self._find_align(type_id, depth)
        return align

    def _find_align(self, type_id: int, depth: int) -> int:
        target = self.btf.resolve(type_id)
        for _ in range(MAX_RESOLVE_DEPTH):
            if not isinstance(target, t.Array):
                break
            target = self.btf.resolve(target.type_id)
        if isinstance(target, (t.Struct, t.Union)):
            return self.shape(target, depth).align
        if isinstance(target, t.Pointer):
            return self.btf.pointer_size
        if isinstance(target, _SCALARS) and target.size:
            # The largest power of two in the size: 4 for a long double of 12 bytes.
            largest = 16 if self.btf.pointer_size == 8 else self.btf.pointer_size
            return min(target.size & -target.size, largest)
        return 1

    def _padding(self, start: int, end: int) -> Iterator[str]:
        """Unnamed fields from bit `start` to bit `end`."""
        largest = 8 * self.btf.pointer_size
        if end - start >= _LARGE_GAP:
            first = _round_up(start, 8)
            yield from self._padding(start, first)
            self._paddings += 1
            yield f"unsigned char __padding_{self._paddings}[{(end - first) // 8}];"
            start = end - (end - first) % 8
        while start < end:
            stop = min(end, _round_up(start + 1, largest))
            word = next(name for name, bits in _PADS if start // bits == (stop - 1) // bits)
            yield f"{word}: {stop - start};"
            start = stop


def _crosses(place: Place, unit: int) -> bool:
    """Whether a bitfield is in two units of its type at once."""
    last = place.bit_offset + place.width - 1
    return not unit or place.bit_offset // unit != last // unit


def _round_up(value: int, multiple: int) -> int:
    return (value + multiple - 1) // multiple * multiple
