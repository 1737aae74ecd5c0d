"""``Btf``: the types of a kernel, a module or an object file, decoded one at a time."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from ebpf.btf import types as t
from ebpf.btf.decode import Decoder
from ebpf.btf.fields import Layout
from ebpf.btf.lookup import NameIndex, Search
from ebpf.btf.raw import (
    ByteOrder,
    Data,
    Header,
    as_data,
    index_types,
    merge_layout,
    parse_header,
    parse_layout,
)
from ebpf.btf.strings import StringTable
from ebpf.errors import BtfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LONG_NAMES = ("long int", "long unsigned int", "long", "unsigned long")
_MAXIMUM_SIZE = 0xFFFFFFFF  # the kernel keeps sizes in 32 bits
_SIZED = (t.Int, t.Struct, t.Union, t.Enum, t.Enum64, t.Float, t.Datasec)

# How many types in a row may lead to another one; the kernel and libbpf have the same limit.
MAX_RESOLVE_DEPTH = 32


class Btf:
    """BTF, as in a kernel's /sys/kernel/btf or the .BTF section of an object file.

    `data` is the whole BTF: bytes and mmap objects are used in place, other buffers are copied.
    `index` is the offset of every type in the type section, in the order of ids, as a memoryview
    of format "I" (what ``ebpf_btf_index`` fills in); without it the types are counted here, which
    is some fifty times slower. `search` is a helper of the same kind, see lookup.Search.

    `base` makes this split BTF, as that of kernel modules: type ids and string offsets continue
    after those of the base, and ids below ``start_id`` are types of the base.

    For what works on the bytes: ``data``, ``header``, ``offsets`` (the index) and ``names``.
    ``notes`` is for what other modules find out about these types, kept as long as they are.

    Construction checks the header, the sections and, without `index`, the extent of every type;
    all else is checked when a type is decoded. Raises BtfError for malformed data.
    """

    def __init__(
        self,
        data: object,
        index: memoryview | None = None,
        base: Btf | None = None,
        *,
        search: Search | None = None,
    ) -> None:
        raw = as_data(data)
        header = parse_header(raw)
        if base is not None and base.byte_order != header.byte_order:
            raise BtfError(
                f"BTF header: {header.byte_order}-endian, but base is {base.byte_order}-endian"
            )
        self.base = base
        self.data: Data = raw
        self.start_id: int = base.end_id if base else 1
        self.strings: StringTable = StringTable(raw, header.strings, base.strings if base else None)
        described = parse_layout(raw, header)
        if base is not None and not described:
            described = base._described
        self._described: dict[int, tuple[int, int]] = described
        layout = merge_layout(described)
        self.offsets: Sequence[int]
        if index is None:
            self.offsets = index_types(raw, header, layout, self.start_id)
        else:
            self.offsets = _checked_index(index)
        self.end_id: int = self.start_id + len(self.offsets)
        self.header: Header = header
        self._decoder = Decoder(raw, header, layout, self.strings, self.end_id)
        self.names: NameIndex = NameIndex(raw, header, self.offsets, search)
        self.notes: dict[str, Any] = {}
        self._cache: dict[int, t.Type] = {}
        self._pointer_size: int | None = None

    def __repr__(self) -> str:
        return f"<Btf: types {self.start_id}..{self.end_id - 1}, {self.byte_order}-endian>"

    def __deepcopy__(self, memo: object) -> Btf:
        """Itself: it never changes, so copies of specs share it."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """By its bytes: what was found out about them is found out again."""
        index = array("I", self.offsets)
        return _restored, (bytes(self.data), index, self.base)

    @property
    def byte_order(self) -> ByteOrder:
        """``"little"`` or ``"big"``."""
        return self.header.byte_order

    @property
    def pointer_size(self) -> int:
        """Bytes: the size of the type long, as libbpf infers it; 8, BPF's own, without one."""
        if self._pointer_size is None:
            self._pointer_size = self._infer_pointer_size()
        return self._pointer_size

    def type(self, type_id: int) -> t.Type:
        """The type `type_id`, decoded at the first request. Raises BtfError."""
        found = self._cache.get(type_id)
        if found is not None:
            return found
        if type_id == 0:
            return t.VOID
        if self.base is not None and 0 < type_id < self.start_id:
            return self.base.type(type_id)
        if not self.start_id <= type_id < self.end_id:
            raise BtfError(f"BTF has no type {type_id}, the last is {self.end_id - 1}")
        found = self._decoder.decode(type_id, self.offsets[type_id - self.start_id])
        self._cache[type_id] = found
        return found

    def types(self) -> Iterator[t.Type]:
        """Every type from ``start_id`` on, not those of the base; none is kept."""
        for type_id, offset in enumerate(self.offsets, self.start_id):
            yield self._cache.get(type_id) or self._decoder.decode(type_id, offset)

    def find(self, name: str, kind: t.Kind | None = None) -> t.Type:
        """The type `name`, of `kind` if given; of several the one with the lowest id.

        Split BTF is searched before its base. Raises BtfError when there is none.
        """
        for type_id in self._ids(name, kind):
            return self.type(type_id)
        if self.base is not None:
            return self.base.find(name, kind)
        raise BtfError(f"BTF has no {kind.name.lower() if kind else 'type'} named {name!r}")

    def find_all(self, name: str, kind: t.Kind | None = None) -> list[t.Type]:
        """Every type `name`, of `kind` if given: split BTF's own first, each by ascending id."""
        own = [self.type(type_id) for type_id in self._ids(name, kind)]
        return own + (self.base.find_all(name, kind) if self.base else [])

    def find_struct(self, name: str) -> Layout:
        """``find_struct("task_struct").offsetof("exit_code")``. Raises BtfError."""
        return self._find_layout(name, t.Kind.STRUCT)

    def find_union(self, name: str) -> Layout:
        """As find_struct, for a union."""
        return self._find_layout(name, t.Kind.UNION)

    def layout(self, type_id: int) -> Layout:
        """The fields of a struct or union, or of a typedef of one. Raises BtfError."""
        target = self.resolve(type_id)
        if not isinstance(target, (t.Struct, t.Union)):
            raise BtfError(f"BTF type {type_id} is {target.kind.name}, no struct or union")
        return Layout(self, target)

    def resolve(self, type_id: int) -> t.Type:
        """The type behind typedefs, const, volatile, restrict and type tags. Raises BtfError."""
        target = self.type(type_id)
        for _ in range(MAX_RESOLVE_DEPTH):
            if not isinstance(target, t.MODIFIERS):
                return target
            target = self.type(target.type_id)
        raise _too_deep(type_id)

    def sizeof(self, type_id: int) -> int:
        """The size of a type in bytes, as in C. Raises BtfError for one that has none."""
        count = 1
        target = self.resolve(type_id)
        for _ in range(MAX_RESOLVE_DEPTH):
            if not isinstance(target, (t.Array, t.Var)):
                break
            if isinstance(target, t.Array):
                count *= target.length
            target = self.resolve(target.type_id)
        size = count * self._own_size(target, type_id)
        if size > _MAXIMUM_SIZE:
            raise BtfError(f"BTF type {type_id} is larger than 4 GiB")
        return size

    def _own_size(self, target: t.Type, type_id: int) -> int:
        if isinstance(target, t.Pointer):
            return self.pointer_size
        if isinstance(target, _SIZED):
            return target.size
        if isinstance(target, (t.Array, t.Var)):
            raise _too_deep(type_id)
        raise BtfError(f"BTF type {type_id} has no size: it is {target.kind.name}")

    def _ids(self, name: str, kind: int | None) -> Iterator[int]:
        if not name:
            raise ValueError("name is empty: anonymous types are found by id")
        for name_offs in (self.strings.entries, self.strings.tails):
            found = False
            for position in self.names.positions(name_offs(name), kind):
                found = True
                yield self.start_id + position
            if found:
                return

    def _find_layout(self, name: str, kind: t.Kind) -> Layout:
        try:
            found = self.find(name, kind)
        except BtfError as error:
            others = {other.kind.name.lower() for other in self.find_all(name)}
            if not others:
                raise
            raise BtfError(f"{error}, but a {' and a '.join(sorted(others))}") from None
        assert isinstance(found, (t.Struct, t.Union))
        return Layout(self, found)

    def _infer_pointer_size(self) -> int:
        if self.base is not None:
            return self.base.pointer_size
        for name in _LONG_NAMES:
            for found in self.find_all(name, t.Kind.INT):
                if isinstance(found, t.Int) and found.size in (4, 8):
                    return found.size
        return 8


def _too_deep(type_id: int) -> BtfError:
    return BtfError(
        f"BTF type {type_id} leads through more than {MAX_RESOLVE_DEPTH} types, or in a circle"
    )


def _restored(data: bytes, index: array[int], base: Btf | None) -> Btf:
    """What was pickled."""
    return Btf(data, memoryview(index), base)


def _checked_index(index: memoryview) -> memoryview:
    if not isinstance(index, memoryview) or index.format != "I" or index.ndim != 1:
        raise TypeError('index is not a one-dimensional memoryview of format "I"')
    return index
