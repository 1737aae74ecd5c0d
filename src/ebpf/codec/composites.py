"""Arrays, structs and tuples of the leaves in layout.py."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain

from ebpf.codec.layout import HOST_ORDER, Node, Padding, Scalar, align_up, located, pad_codes, shown
from ebpf.patterns import Pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_PART = Pattern(r"\d*\D")


class ArrayOf(Node):
    """`count` elements side by side; a list in Python, or a tuple."""

    leaf = False

    def __init__(self, element: Node, count: int, as_tuple: bool) -> None:
        self.element = element
        self.count = count
        self.size = element.size * count
        self.align = element.align
        self.width = element.width * count
        self._container: Callable[[Any], Any] = tuple if as_tuple else list
        self.encode = self._encode
        self.decode = self._decoder()

    def codes(self) -> str:
        if isinstance(self.element, Scalar):
            return f"{self.count}{self.element.code}"
        return self.element.codes() * self.count

    def name(self) -> str:
        kind = "tuple" if self._container is tuple else "list"
        return f"{kind}({self.element.name()}[{self.count}])"

    def problem(self, value: Any, path: str) -> str | None:
        if not _is_sequence(value):
            return located(path, f"{shown(value)} is not a sequence of {self.count} values")
        if len(value) != self.count:
            return located(path, f"got {len(value)} values, but it takes {self.count}")
        problems = (self.element.problem(item, f"{path}[{i}]") for i, item in enumerate(value))
        return next(filter(None, problems), None)

    def _encode(self, value: Any) -> Any:
        if not _is_sequence(value) or len(value) != self.count:
            raise ValueError("count")
        encode = self.element.encode
        if encode is None:
            return value
        if self.element.leaf:
            return [encode(item) for item in value]
        return list(chain.from_iterable(map(encode, value)))

    def _decoder(self) -> Callable[[Any], Any]:
        container, decode, width = self._container, self.element.decode, self.element.width
        if decode is None:
            return container
        if self.element.leaf:
            return lambda items: container(map(decode, items))
        starts = range(0, self.width, width)
        return lambda items: container(decode(items[at : at + width]) for at in starts)


class Field:
    """A member of a struct: where it is, and how the constructor takes it."""

    __slots__ = ("keyword", "name", "node", "offset", "omitted")

    def __init__(self, name: str, node: Node, *, keyword: bool, omitted: bool) -> None:
        self.name = name
        self.node = node
        self.keyword = keyword  # the constructor takes it by name only
        self.omitted = omitted  # padding with a default: not given to the constructor
        self.offset = 0


class StructOf(Node):
    """Fields one after the other, laid out as a C compiler does (or without any padding)."""

    leaf = False

    def __init__(self, cls: type, fields: list[Field], *, packed: bool) -> None:
        self.cls = cls
        self.packed = packed
        self.fields = {field.name: field for field in fields}
        self.align = 1 if packed else max(field.node.align for field in fields)
        offset = 0
        for field in fields:
            field.offset = offset if packed else align_up(offset, field.node.align)
            offset = field.offset + field.node.size
        self.size = align_up(offset, self.align)
        self.width = sum(field.node.width for field in fields)
        self.encode = compile_encode(cls, fields)
        self.decode = compile_decode(cls, fields)

    def codes(self) -> str:
        parts, end = [], 0
        for field in self.fields.values():
            parts.append(pad_codes(field.offset - end) + field.node.codes())
            end = field.offset + field.node.size
        return "".join(parts) + pad_codes(self.size - end)

    def name(self) -> str:
        # Two classes may share a name; the id keeps them apart, and the node keeps the class.
        return f"{self.cls.__qualname__}@{id(self.cls)}{' packed' if self.packed else ''}"

    def problem(self, value: Any, path: str) -> str | None:
        if not isinstance(value, self.cls):
            return located(path, f"{shown(value)} is not a {self.cls.__name__}")
        for field in self.fields.values():
            inner = f"{path}.{field.name}" if path else field.name
            if not hasattr(value, field.name):
                return f"{inner}: the {self.cls.__name__} has no such attribute"
            found = field.node.problem(getattr(value, field.name), inner)
            if found is not None:
                return found
        return None


class TupleOf(Node):
    """The items of a format string: leaves at given offsets, a tuple in Python."""

    leaf = False
    align = 1

    def __init__(self, nodes: list[Node], codes: str) -> None:
        self._nodes = nodes
        self._codes = codes
        self.size = struct.calcsize(HOST_ORDER + codes)
        self.width = len(nodes)
        self.encode = self._encode_each if any(node.encode for node in nodes) else self._checked

    def located(self) -> Iterator[tuple[int, Node]]:
        """Each leaf, after its offset."""
        offset, leaves = 0, iter(self._nodes)
        for part in _PART.findall(self._codes):
            if not part.endswith("x"):
                yield offset, next(leaves)
            offset += struct.calcsize("=" + part)

    def codes(self) -> str:
        return self._codes

    def name(self) -> str:
        return "tuple"

    def problem(self, value: Any, path: str) -> str | None:
        if not isinstance(value, (tuple, list)):
            return located(path, f"{shown(value)} is not a tuple of {self.width} values")
        if len(value) != self.width:
            return located(path, f"got {len(value)} values, but it takes {self.width}")
        pairs = enumerate(zip(self._nodes, value, strict=True))
        problems = (node.problem(item, f"{path}[{i}]") for i, (node, item) in pairs)
        return next(filter(None, problems), None)

    def _checked(self, value: Any) -> Any:
        if value.__class__ is not tuple and not isinstance(value, (tuple, list)):
            raise TypeError("not a tuple")
        return value

    def _encode_each(self, value: Any) -> list[Any]:
        pairs = zip(self._nodes, self._checked(value), strict=True)
        return [item if node.encode is None else node.encode(item) for node, item in pairs]


# The two functions below write one expression per class, as dataclasses itself does: a record
# then costs its own attribute loads and one constructor call, and no loop over descriptions.


def compile_encode(cls: type, fields: list[Field]) -> Callable[[Any], tuple[Any, ...]]:
    """A function from an instance to the items of its Struct."""
    env: dict[str, Any] = {"cls": cls, "wrong": _wrong_class}
    parts = []
    for i, field in enumerate(fields):
        part = f"v.{field.name}"
        if field.node.encode is not None:
            env[f"e{i}"] = field.node.encode
            part = f"e{i}({part})"
        parts.append(part if field.node.leaf else "*" + part)
    source = f"lambda v: ({', '.join(parts)},) if isinstance(v, cls) else wrong(v)"
    function: Callable[[Any], tuple[Any, ...]] = eval(source, env)
    return function


def compile_decode(cls: type, fields: list[Field]) -> Callable[[tuple[Any, ...]], Any]:
    """A function from the items of the Struct to an instance."""
    env: dict[str, Any] = {"cls": cls}
    arguments: list[str] = []
    at, by_name = 0, False
    for i, field in enumerate(fields):
        end = at + field.node.width
        part = f"t[{at}]" if field.node.leaf else f"t[{at}:{end}]"
        if isinstance(field.node, Padding):
            part = f"bytes({field.node.size})"
        elif field.node.decode is not None:
            env[f"d{i}"] = field.node.decode
            part = f"d{i}({part})"
        at = end
        by_name = by_name or field.keyword or field.omitted
        if not field.omitted:
            arguments.append(f"{field.name}={part}" if by_name else part)
    function: Callable[[tuple[Any, ...]], Any] = eval(f"lambda t: cls({', '.join(arguments)})", env)
    return function


def _wrong_class(value: object) -> tuple[Any, ...]:
    raise TypeError("not an instance")


def _is_sequence(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return True
    return isinstance(value, Sequence) and not isinstance(value, str)
