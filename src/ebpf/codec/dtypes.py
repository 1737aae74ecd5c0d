"""numpy's view of codecs. Imports numpy: only on use.

    integers, floats, bool     the numpy type of the same size and byte order
    char arrays                "S": bytes, without NULs at the end
    raw bytes                  "V": numpy.void
    arrays                     a subarray
    dataclasses, structs       a structured dtype with the fields' names and offsets
    unions                     the same, with fields that share their bytes
    several values ("QI")      a structured dtype with the fields f0, f1, ...
    enums                      their integer

Bitfields, which numpy cannot express, are left out of a structured dtype.
"""

from __future__ import annotations

from typing import Any

from ebpf.codec.base import Codec
from ebpf.codec.composites import ArrayOf, StructOf, TupleOf
from ebpf.codec.foreign import CtypesCodec, NumpyCodec
from ebpf.codec.layout import Node, OtherOrder, Padding, Scalar, Text
from ebpf.codec.percpu import PerCpu
from ebpf.codec.structs import LayoutCodec

try:
    import numpy
except ImportError as error:
    raise ImportError("to_numpy() and dtype_of() need numpy: pip install 'ebpf[numpy]'") from error


def dtype_of(codec: Codec[Any]) -> Any:
    """The dtype for the values of `codec`; of values per CPU for that of one CPU."""
    if isinstance(codec, PerCpu):
        return dtype_of(codec.inner)
    if isinstance(codec, LayoutCodec):
        return _of_node(codec._node, codec._order)
    if isinstance(codec, NumpyCodec):
        return numpy.dtype(codec._dtype)
    if isinstance(codec, CtypesCodec):
        return numpy.dtype(codec._cls)
    if len(codec.format or "") == 1:
        return numpy.dtype(codec.format)
    return numpy.dtype(f"V{codec.size}")


def array_of(codec: Codec[Any], buffer: Any, stride: int | None = None) -> Any:
    """The values in `buffer`, which it shares, `stride` bytes apart (else side by side).

    Values per CPU become an array with two dimensions, value and CPU.
    """
    cpus = codec.ncpus if isinstance(codec, PerCpu) else None
    if stride is None:
        stride = codec.stride if isinstance(codec, PerCpu) else codec.size
    view = memoryview(buffer)
    spaced = _structured([("value", dtype_of(codec), 0)], stride)
    # Of no bytes numpy can't tell how many values they are.
    run = numpy.frombuffer(view, spaced) if view.nbytes else numpy.zeros(0, spaced)
    values = run["value"]
    return values.reshape(-1, cpus, *values.shape[1:]) if cpus else values


def _structured(fields: list[tuple[str, Any, int]], size: int) -> numpy.dtype[Any]:
    """A dtype of (name, dtype, offset)."""
    names, formats, offsets = zip(*fields, strict=True) if fields else ((), (), ())
    return numpy.dtype(
        {
            "names": list(names),
            "formats": list(formats),
            "offsets": list(offsets),
            "itemsize": size,
        }
    )


def _of_node(node: Node, order: str) -> numpy.dtype[Any]:
    if isinstance(node, Scalar):
        return numpy.dtype("S1" if node.code == "c" else order + node.code)
    if isinstance(node, OtherOrder):
        return numpy.dtype((">" if node._prefix == "be" else "<") + node._scalar.code)
    if isinstance(node, Text):
        return numpy.dtype(f"{'V' if node.kind == 'raw' else 'S'}{node.size}")
    if isinstance(node, ArrayOf):
        return numpy.dtype((_of_node(node.element, order), (node.count,)))
    if isinstance(node, StructOf):
        fields = [
            (field.name, _of_node(field.node, order), field.offset)
            for field in node.fields.values()
            if not isinstance(field.node, Padding)
        ]
        return _structured(fields, node.size)
    if isinstance(node, TupleOf):
        located = enumerate(node.located())
        return _structured(
            [(f"f{i}", _of_node(one, order), offset) for i, (offset, one) in located], node.size
        )
    return _of_btf(node, order)


def _of_btf(node: Node, order: str) -> numpy.dtype[Any]:
    """The layouts that only BTF has."""
    # Imported here: who has no codec from BTF does not need it.
    from ebpf.codec.btf_nodes import EnumNode, RecordNode

    if isinstance(node, EnumNode):
        return _of_node(node._scalar, order)
    if isinstance(node, RecordNode):
        members = [one for one in node.members.values() if not one.bits and one.codec.size]
        return _structured([(m.name, dtype_of(m.codec), m.offset) for m in members], node.size)
    return numpy.dtype(f"V{node.size}")
