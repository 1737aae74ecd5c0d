"""C layouts as a tree of nodes, flattened into one :class:`struct.Struct`.

A leaf (an integer, a character array) becomes one item of the Struct; an array or a struct
becomes several, ``width`` of them. ``encode`` takes a value to its item (leaf) or to its items
(otherwise), ``decode`` goes back; None stands for "as it is". They are the fast path, so they
raise whatever is at hand when a value does not fit; `problem` then finds the words.

Sizes and alignments are those of the BPF target, which every 64-bit Linux shares: long and
pointers have 8 bytes, and a scalar is aligned to its size.
"""

from __future__ import annotations

import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

HOST_ORDER = "<" if sys.byteorder == "little" else ">"

# struct format character -> (C name, size in a BPF program, size in a format with a prefix
# (0: not allowed there), the character for the same type whose size never changes)
SCALARS: dict[str, tuple[str, int, int, str]] = {
    "c": ("char", 1, 1, "c"),
    "b": ("s8", 1, 1, "b"),
    "B": ("u8", 1, 1, "B"),
    "?": ("bool", 1, 1, "?"),
    "h": ("s16", 2, 2, "h"),
    "H": ("u16", 2, 2, "H"),
    "i": ("s32", 4, 4, "i"),
    "I": ("u32", 4, 4, "I"),
    "l": ("s64", 8, 4, "q"),
    "L": ("u64", 8, 4, "Q"),
    "q": ("s64", 8, 8, "q"),
    "Q": ("u64", 8, 8, "Q"),
    "n": ("s64", 8, 0, "q"),
    "N": ("u64", 8, 0, "Q"),
    "P": ("u64", 8, 0, "Q"),
    "e": ("f16", 2, 2, "e"),
    "f": ("f32", 4, 4, "f"),
    "d": ("f64", 8, 8, "d"),
}

PACK_ERRORS = (struct.error, TypeError, ValueError, OverflowError, AttributeError)


def align_up(offset: int, align: int) -> int:
    return -(-offset // align) * align


def located(path: str, text: str) -> str:
    return f"{path}: {text}" if path else text


def shown(value: object) -> str:
    """The value for a message, cut where it is long."""
    if isinstance(value, int) and value.bit_length() > 200:
        return f"an integer of {value.bit_length()} bits"  # repr refuses the very long ones
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Node:
    """One part of a layout."""

    size: int
    align: int
    width = 1
    leaf = True
    encode: Callable[[Any], Any] | None = None
    decode: Callable[[Any], Any] | None = None

    def codes(self) -> str:
        """Struct format of the part, all padding inside it spelled out."""
        raise NotImplementedError

    def name(self) -> str:
        """The C type, for messages and comparison."""
        raise NotImplementedError

    def problem(self, value: Any, path: str) -> str | None:
        """Why `value` does not fit, after `path`; None if it does."""
        raise NotImplementedError


class Scalar(Node):
    """An integer, a float, a bool or a char in the byte order of the whole codec."""

    def __init__(self, code: str) -> None:
        self.ctype, self.size, _, self.code = SCALARS[code]
        self.align = self.size
        self._struct = struct.Struct(HOST_ORDER + self.code)
        if self.code == "?":
            self.encode = _flag

    def codes(self) -> str:
        return self.code

    def name(self) -> str:
        return self.ctype

    def problem(self, value: Any, path: str) -> str | None:
        if self.code == "?":
            return None if _is_flag(value) else located(path, f"{shown(value)} is not a bool")
        if not isinstance(value, bool):
            try:
                self._struct.pack(value)
                return None
            except PACK_ERRORS:
                pass
        return located(path, self._misfit(value))

    def _misfit(self, value: object) -> str:
        if self.code == "c":
            return f"{shown(value)} is not a bytes of length 1"
        if self.code in "efd":
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return f"{shown(value)} does not fit {self.ctype}"
            return f"{shown(value)} is not a number; {self.ctype} takes int or float"
        low, high = integer_range(self.code, self.size)
        if hasattr(value, "__index__") and not isinstance(value, bool):
            return f"{shown(value)} does not fit {self.ctype} ({low}..{high})"
        return f"{shown(value)} is not an integer; {self.ctype} takes {low}..{high}"


class OtherOrder(Node):
    """An integer or float whose byte order is not the host's: one ``__be32`` in a struct."""

    def __init__(self, order: str, code: str) -> None:
        scalar = Scalar(code)
        packer = struct.Struct(order + scalar.code)
        self.size = self.align = scalar.size
        self.format = packer.format
        self._scalar = scalar
        self._prefix = "be" if order == ">" else "le"

        def encode(value: Any) -> bytes:
            if isinstance(value, bool):
                raise TypeError("bool")
            return packer.pack(value)

        def decode(item: bytes) -> Any:
            return packer.unpack(item)[0]

        self.encode, self.decode = encode, decode

    def codes(self) -> str:
        return f"{self.size}s"

    def name(self) -> str:
        return f"{self._prefix} {self._scalar.name()}"

    def problem(self, value: Any, path: str) -> str | None:
        return self._scalar.problem(value, path)


class Text(Node):
    """A char array; how full it must be and what it is in Python depends on the `kind`.

    ``"s"``     as in the struct module: up to `size` bytes, given back whole
    ``"char"``  bytes up to the first NUL
    ``"str"``   the same, decoded as UTF-8 (surrogateescape)
    ``"raw"``   exactly `size` bytes
    """

    align = 1

    def __init__(self, size: int, kind: str) -> None:
        self.size = size
        self.kind = kind
        self.encode = self._encode
        self.decode = {"char": _until_nul, "str": _str_until_nul}.get(kind)

    def codes(self) -> str:
        return f"{self.size}s"

    def name(self) -> str:
        return f"{self.kind}[{self.size}]"

    def problem(self, value: Any, path: str) -> str | None:
        wanted = "a str" if self.kind == "str" else "bytes"
        if not isinstance(value, str if self.kind == "str" else (bytes, bytearray, memoryview)):
            return located(path, f"{shown(value)} is not {wanted}; char[{self.size}] takes that")
        data = self._bytes(value)
        if self.kind == "raw" and len(data) != self.size:
            return located(path, f"got {len(data)} bytes, but it takes exactly {self.size}")
        if len(data) > self.size:
            return located(path, f"got {len(data)} bytes, but char[{self.size}] has {self.size}")
        if self._cut_short(data):
            return located(path, f"{shown(value)} goes on after a NUL, where reading it stops")
        return None

    def _bytes(self, value: Any) -> bytes:
        if self.kind == "str":
            return bytes(value.encode("utf-8", "surrogateescape"))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value)
        raise TypeError("not bytes")

    def _encode(self, value: Any) -> bytes:
        data = value if value.__class__ is bytes and self.kind != "str" else self._bytes(value)
        full = len(data) == self.size if self.kind == "raw" else len(data) <= self.size
        if not full or self._cut_short(data):
            raise ValueError("length")
        return data

    def _cut_short(self, data: bytes) -> bool:
        return self.decode is not None and b"\0" in data and b"\0" in data.rstrip(b"\0")


class Padding(Node):
    """Explicit padding: no item, always zero."""

    align = 1
    width = 0
    leaf = False

    def __init__(self, size: int) -> None:
        self.size = size
        self.encode = self._encode

    def codes(self) -> str:
        return f"{self.size}x"

    def name(self) -> str:
        return f"pad[{self.size}]"

    def problem(self, value: Any, path: str) -> str | None:
        if isinstance(value, bytes) and len(value) <= self.size and not any(value):
            return None
        text = f"{shown(value)} in padding, which takes up to {self.size} zero bytes"
        return located(path, text)

    def _encode(self, value: Any) -> tuple[()]:
        if value.__class__ is not bytes or len(value) > self.size or any(value):
            raise ValueError("padding")
        return ()


def pad_codes(count: int) -> str:
    return f"{count}x" if count else ""


def integer_range(code: str, size: int) -> tuple[int, int]:
    bits = 8 * size
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if code.islower() else (0, (1 << bits) - 1)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool) or (value.__class__ is int and value in (0, 1))


def _flag(value: Any) -> int:
    # An int, so that a bool among the flattened items always is a mistake.
    if not _is_flag(value):
        raise TypeError("not a bool")
    return int(value)


def _until_nul(item: bytes) -> bytes:
    return item.partition(b"\0")[0]


def _str_until_nul(item: bytes) -> str:
    return item.partition(b"\0")[0].decode("utf-8", "surrogateescape")
