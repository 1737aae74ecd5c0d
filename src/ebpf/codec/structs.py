"""Codecs over a layout: one :class:`struct.Struct` each."""

from __future__ import annotations

import struct
from itertools import chain

from ebpf.codec.base import Codec, no_such_field
from ebpf.codec.composites import ArrayOf, StructOf
from ebpf.codec.layout import HOST_ORDER, PACK_ERRORS, Node, OtherOrder, Scalar, pad_codes
from ebpf.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from ebpf.codec.base import Buffer

# What memoryview.cast takes and reads as this library does.
_CASTABLE = "?cbBhHiIqQfd"
_ORDERED = "hHiIqQefd"


class LayoutCodec(Codec["Any"]):
    """What the codecs of this module share.

    `stride`, where given, is the size with padding behind the value; `label` is what stands
    between the brackets of ``codec(...)``; `hint` is added where a size is wrong.
    """

    def __init__(
        self, node: Node, label: str, *, order: str = HOST_ORDER, hint: str = "", stride: int = 0
    ) -> None:
        self._node = node
        self._label = label
        codes = node.codes() + pad_codes(max(stride - node.size, 0))
        # Byte order means nothing to bytes: "<4s" is ">4s".
        self._order = order if set(codes) & set(_ORDERED) else HOST_ORDER
        self._hint = hint
        self._struct = struct.Struct(self._order + codes)
        self._pack = self._struct.pack
        self._unpack = self._struct.unpack
        self.size = self._struct.size
        self.format = self._struct.format

    def padded(self, stride: int) -> LayoutCodec:
        """The same codec with zeroes behind each value, up to `stride` bytes."""
        return type(self)(
            self._node, self._label, order=self._order, hint=self._hint, stride=stride
        )

    def _explained(self, value: Any, error: Exception) -> Exception:
        problem = self._node.problem(value, "")
        return error if problem is None else CodecError(problem)

    def _takes(self) -> str:
        return super()._takes() + self._hint

    def _meaning(self) -> tuple[object, ...]:
        return (LayoutCodec, self._node.name(), self._struct.format)

    def __repr__(self) -> str:
        return f"codec({self._label})"


class ScalarCodec(LayoutCodec):
    """One integer, float, bool or char array."""

    def __init__(
        self, node: Node, label: str, *, order: str = HOST_ORDER, hint: str = "", stride: int = 0
    ) -> None:
        super().__init__(node, label, order=order, hint=hint, stride=stride)
        self._encode = node.encode or _as_it_is
        self._decode = node.decode
        self._cast: Any = None
        plain = self._order == HOST_ORDER and self.size == node.size
        if isinstance(node, Scalar) and plain and node.code in _CASTABLE:
            self._cast = self.format = node.code
        if isinstance(node, OtherOrder) and self.size == node.size:
            self.format = node.format

    def pack(self, value: Any) -> bytes:
        try:
            return self._pack(self._encode(value))
        except PACK_ERRORS as error:
            raise self._explained(value, error) from None

    def unpack(self, buffer: Buffer) -> Any:
        try:
            (item,) = self._unpack(buffer)
        except struct.error:
            raise self._wrong_size(buffer) from None
        return item if self._decode is None else self._decode(item)

    def iter_unpack(self, buffer: Buffer) -> Iterable[Any]:
        if self._cast is not None:
            values: memoryview[Any] = self._records(buffer).cast(self._cast)
            return values
        try:
            items = chain.from_iterable(self._struct.iter_unpack(buffer))
        except struct.error:
            raise self._wrong_run(buffer) from None
        return items if self._decode is None else map(self._decode, items)


class NumberCodec(ScalarCodec):
    """A scalar that struct takes and gives as it is: the shortest way for the commonest keys."""

    def pack(self, value: Any) -> bytes:
        try:
            if value.__class__ is bool:
                raise TypeError("bool")
            return self._pack(value)
        except PACK_ERRORS as error:
            raise self._explained(value, error) from None

    def pack_many(self, values: Iterable[Any]) -> bytes:
        items = values if isinstance(values, (list, tuple)) else list(values)
        if self._cast is not None and bool not in set(map(type, items)):
            try:
                return struct.pack(f"{len(items)}{self._cast}", *items)
            except PACK_ERRORS:
                # Packing them one by one finds the one that does not fit, and the words for it.
                pass
        return super().pack_many(items)

    def unpack(self, buffer: Buffer) -> Any:
        try:
            return self._unpack(buffer)[0]
        except struct.error:
            raise self._wrong_size(buffer) from None


class ItemsCodec(LayoutCodec):
    """Several items: the tuple of a format string, an array, a dataclass."""

    def __init__(
        self, node: Node, label: str, *, order: str = HOST_ORDER, hint: str = "", stride: int = 0
    ) -> None:
        super().__init__(node, label, order=order, hint=hint, stride=stride)
        assert node.encode is not None
        self._flatten = node.encode
        self._build = node.decode

    def pack(self, value: Any) -> bytes:
        try:
            items = self._flatten(value)
            # struct takes True for 1; where a bool belongs, encode has made it an int.
            for item in items:
                if item.__class__ is bool:
                    raise TypeError("bool")
            return self._pack(*items)
        except PACK_ERRORS as error:
            raise self._explained(value, error) from None

    def unpack(self, buffer: Buffer) -> Any:
        try:
            items = self._unpack(buffer)
        except struct.error:
            raise self._wrong_size(buffer) from None
        return items if self._build is None else self._build(items)

    def iter_unpack(self, buffer: Buffer) -> Iterable[Any]:
        try:
            records = self._struct.iter_unpack(buffer)
        except struct.error:
            raise self._wrong_run(buffer) from None
        return records if self._build is None else map(self._build, records)

    @property
    def offsets(self) -> Mapping[str, int]:
        if not isinstance(self._node, StructOf):
            return {}
        return {name: field.offset for name, field in self._node.fields.items()}

    def offsetof(self, path: str) -> int:
        node, offset = self._node, 0
        for part in path.split("."):
            name, *indexes = part.split("[")
            if not isinstance(node, StructOf) or name not in node.fields:
                names = node.fields if isinstance(node, StructOf) else ()
                raise no_such_field(self._owner(node), name, names)
            field = node.fields[name]
            node, offset = field.node, offset + field.offset
            for index in indexes:
                node, offset = _element(node, index, offset, path)
        return offset

    def _owner(self, node: Node) -> str:
        return node.cls.__name__ if isinstance(node, StructOf) else repr(self)


def _as_it_is(value: Any) -> Any:
    return value


def _element(node: Node, index: str, offset: int, path: str) -> tuple[Node, int]:
    """The element ``index]`` of an array at `offset`."""
    number = index[:-1]
    if not isinstance(node, ArrayOf) or index[-1:] != "]" or not number.isdecimal():
        raise CodecError(f"{path!r}: [{index} does not index an array")
    if int(number) >= node.count:
        raise CodecError(f"{path!r}: [{index} is outside of an array of {node.count}")
    return node.element, offset + int(number) * node.element.size


def is_record(codec: Codec[Any] | None) -> bool:
    """Whether it is the codec of a dataclass."""
    return isinstance(codec, ItemsCodec) and isinstance(codec._node, StructOf)


def over(
    node: Node, label: str, *, order: str = HOST_ORDER, hint: str = ""
) -> ScalarCodec | ItemsCodec:
    """The codec for a layout."""
    kind: type[ScalarCodec | ItemsCodec] = ItemsCodec
    if node.leaf:
        kind = ScalarCodec if node.encode or node.decode else NumberCodec
    return kind(node, label, order=order, hint=hint)
