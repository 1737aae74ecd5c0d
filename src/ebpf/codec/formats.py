"""Struct format strings, read as C declarations: ``"I"``, ``"16s"``, ``"QI"``, ``"<IH"``."""

from __future__ import annotations

import struct

from ebpf.codec.composites import TupleOf
from ebpf.codec.layout import (
    HOST_ORDER,
    SCALARS,
    Node,
    Scalar,
    Text,
    align_up,
    pad_codes,
)
from ebpf.codec.structs import over
from ebpf.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ebpf.codec.structs import ItemsCodec, ScalarCodec

_ORDERS = {"@": HOST_ORDER, "=": HOST_ORDER, "<": "<", ">": ">", "!": ">"}


def from_format(text: str, *, trailing: bool = True) -> ScalarCodec | ItemsCodec:
    """The codec for a format; see :func:`ebpf.codec.codec` for what it means.

    `trailing` False leaves the end unpadded, as struct.Struct does.
    """
    prefix = text[:1] if text[:1] in _ORDERS else ""
    native = prefix in ("", "@")
    nodes, codes = _lay_out(text, text[len(prefix) :], native, trailing)
    order = _ORDERS.get(prefix, HOST_ORDER)
    if not nodes:
        raise CodecError(f"format {text!r} has no value in it")
    hint = _padding_hint(text[len(prefix) :], codes) if native else ""
    if len(nodes) == 1 and codes == nodes[0].codes():
        return over(nodes[0], repr(text), order=order, hint=hint)
    if len(nodes) == 1:
        return over(_Padded(nodes[0], codes), repr(text), order=order, hint=hint)
    return over(TupleOf(nodes, codes), repr(text), order=order, hint=hint)


class _Padded(Node):
    """One value with padding around it (``"I4x"``): still given and taken as a scalar."""

    def __init__(self, node: Node, codes: str) -> None:
        self._node = node
        self._codes = codes
        self.size = struct.calcsize(HOST_ORDER + codes)
        self.align = node.align
        self.encode, self.decode = node.encode, node.decode
        self.problem = node.problem  # type: ignore[method-assign]

    def codes(self) -> str:
        return self._codes

    def name(self) -> str:
        return f"{self._node.name()} in {self._codes}"


def _lay_out(whole: str, body: str, native: bool, trailing: bool) -> tuple[list[Node], str]:
    """The nodes of a format, and the struct codes with all padding spelled out."""
    nodes: list[Node] = []
    codes: list[str] = []
    offset, widest = 0, 1
    for count, code in _items(whole, body):
        node = _node(whole, code, count, native)
        if native and code not in "sx":
            widest = max(widest, SCALARS[code][1])
            aligned = align_up(offset, SCALARS[code][1])
            codes.append(pad_codes(aligned - offset))
            offset = aligned
        if node is None:
            codes.append(pad_codes(count))
            offset += count
            continue
        repeat = 1 if code == "s" else count
        nodes += [node] * repeat
        codes += [node.codes()] * repeat
        offset += node.size * repeat
    if native and trailing:
        codes.append(pad_codes(align_up(offset, widest) - offset))
    return nodes, "".join(codes)


def _items(whole: str, body: str) -> Iterator[tuple[int, str]]:
    """``(count, character)`` of each part of a format."""
    digits = ""
    for char in body:
        if char.isascii() and char.isdigit():
            digits += char
            continue
        if not char.isspace():
            yield (int(digits) if digits else 1), char
        elif not digits:
            continue
        else:
            raise CodecError(f"format {whole!r}: the count {digits} has no type behind it")
        digits = ""
    if digits:
        raise CodecError(f"format {whole!r}: the count {digits} has no type behind it")


def _node(whole: str, code: str, count: int, native: bool) -> Node | None:
    """The node of one format character; None for padding."""
    if code == "x":
        return None
    if code == "s":
        if count < 1:
            raise CodecError(f"format {whole!r}: '0s' has no bytes")
        return Text(count, "s")
    if code not in SCALARS:
        known = "".join(SCALARS) + "sx"
        raise CodecError(f"format {whole!r}: {code!r} is none of the types {known}")
    if native:
        return Scalar(code)
    size = SCALARS[code][2]
    if not size:
        raise CodecError(f"format {whole!r}: {code!r} has no size with a byte order prefix")
    if size != SCALARS[code][1]:
        return Scalar("i" if code.islower() else "I")
    return Scalar(code)


def _padding_hint(body: str, codes: str) -> str:
    """Where C's alignment has added bytes, say so and how to be without them."""
    if set(body) & set("lLnNP"):
        # With a prefix these have other sizes, or none.
        return " (with C's padding, long and pointers of 8 bytes as in BPF programs)"
    size, without = struct.calcsize(HOST_ORDER + codes), struct.calcsize("=" + body)
    return f" (with C's padding; {'=' + body!r} takes {without})" if size != without else ""
