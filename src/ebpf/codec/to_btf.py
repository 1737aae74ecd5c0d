"""BTF for codecs, so that the kernel and bpftool know the fields of a map's keys and values.

What has no counterpart in C (numpy dtypes, ctypes, objects with pack and unpack, another byte
order than this machine's) becomes an array of bytes, and so do floats: kernels before 5.13 have
none in BTF, and bpftool writes broken JSON for them. Imports ebpf.btf: only on use.
"""

from __future__ import annotations

from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.codec.base import Codec
from ebpf.codec.composites import ArrayOf, StructOf, TupleOf
from ebpf.codec.layout import HOST_ORDER, Node, OtherOrder, Padding, Scalar, Text
from ebpf.codec.structs import LayoutCodec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIGNED = t.IntEncoding.SIGNED
_NONE = t.IntEncoding(0)

# Names as the kernel's own BTF has them on x86-64 and arm64.
_INTEGERS = {
    "c": ("char", _SIGNED),
    "b": ("signed char", _SIGNED),
    "B": ("unsigned char", _NONE),
    "?": ("_Bool", t.IntEncoding.BOOL),
    "h": ("short", _SIGNED),
    "H": ("unsigned short", _NONE),
    "i": ("int", _SIGNED),
    "I": ("unsigned int", _NONE),
    "q": ("long long", _SIGNED),
    "Q": ("unsigned long long", _NONE),
}


def btf_of(key: Codec[Any] | None, value: Codec[Any] | None) -> tuple[bytes, int, int]:
    """BTF with the types of `key` and `value`, and their ids (0 for None)."""
    types = _Types()
    key_id = types.codec(key) if key is not None else 0
    value_id = types.codec(value) if value is not None else 0
    return types.builder.to_bytes(), key_id, value_id


def add_codec(builder: BtfBuilder, codec: Codec[Any]) -> int:
    """The id in `builder` of the type of a codec's values."""
    return _Types(builder).codec(codec)


class _Types:
    def __init__(self, builder: BtfBuilder | None = None) -> None:
        self.builder = builder or BtfBuilder()

    def codec(self, codec: Codec[Any]) -> int:
        """The id of the type of a codec's values."""
        if isinstance(codec, LayoutCodec) and codec._order == HOST_ORDER:
            node = codec._node
            if node.size == codec.size:
                return self.node(node)
        return self._bytes("B", codec.size)

    def node(self, node: Node) -> int:
        if isinstance(node, Scalar) and node.code in _INTEGERS:
            return self._scalar(node.code)
        if isinstance(node, OtherOrder) and node._scalar.code in "HIQ":
            inner = self._scalar(node._scalar.code)
            name = f"__{node._prefix}{8 * node.size}"
            return self.builder.add_once(t.Typedef(name=name, type_id=inner))
        if isinstance(node, Text):
            return self._bytes("B" if node.kind == "raw" else "c", node.size)
        if isinstance(node, ArrayOf):
            return self._array(self.node(node.element), node.count)
        if isinstance(node, StructOf):
            return self._struct(node)
        if isinstance(node, TupleOf):
            return self._tuple(node)
        return self._bytes("B", node.size)

    def _scalar(self, code: str) -> int:
        name, encoding = _INTEGERS[code]
        size = Scalar(code).size
        return self.builder.add_once(t.Int(name=name, size=size, bits=8 * size, encoding=encoding))

    def _bytes(self, code: str, size: int) -> int:
        return self._array(self._scalar(code), size)

    def _array(self, element: int, count: int) -> int:
        index = self._scalar("I")
        return self.builder.add_once(t.Array(type_id=element, index_type_id=index, length=count))

    def _struct(self, node: StructOf) -> int:
        members = tuple(
            t.Member(field.name, self.node(field.node), 8 * field.offset)
            for field in node.fields.values()
            if not isinstance(field.node, Padding)
        )
        name = node.cls.__name__
        return self.builder.add_once(t.Struct(name=name, size=node.size, members=members))

    def _tuple(self, node: TupleOf) -> int:
        members = tuple(
            t.Member(f"f{index}", self.node(leaf), 8 * offset)
            for index, (offset, leaf) in enumerate(node.located())
        )
        return self.builder.add_once(t.Struct(name="", size=node.size, members=members))
