"""Keys and values side by side in one buffer: what the batch operations take and give."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import chain

from ebpf._sys import ffi
from ebpf._sys.arguments import check_iterable
from ebpf.codec import PerCpu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ebpf.codec import Codec

# The kernel writes every byte that is handed out, so clearing a buffer first is time lost.
_uncleared = ffi.new_allocator(should_clear_after_alloc=False)

# Formats of buffers that are just bytes, whatever is in them.
_BYTES = ("B", "c")

# What formats say of numbers: the byte order that is not this machine's, which may be negative,
# and which have fractions.
_ORDERS = "@=<>!"
_FOREIGN_ORDERS = (">", "!") if sys.byteorder == "little" else ("<",)
_SIGNED, _UNSIGNED, _FLOATS = frozenset("bhilqn"), frozenset("?BHILQN"), frozenset("efd")


def new_buffer(size: int) -> Any:
    """`size` bytes of memory, as a cffi object, with what happens to be in it."""
    return _uncleared("unsigned char[]", max(size, 1))


def grown(buffer: Any, used: int, size: int) -> Any:
    """A buffer of `size` bytes that begins with the first `used` of `buffer`."""
    larger = new_buffer(size)
    ffi.memmove(larger, buffer, used)
    return larger


def pick(items: Any, size: int, wanted: bytearray) -> int:
    """Move the items of `size` bytes whose byte in `wanted` is not 0 to the beginning; how many
    they are."""
    kept = 0
    for index, one in enumerate(wanted):
        if one and index != kept:
            ffi.memmove(items + kept * size, items + index * size, size)
        kept += bool(one)
    return kept


def as_view(buffer: Any, count: int, codec: Codec[Any]) -> memoryview:
    """The first `count` values in `buffer`, as a view of the values' format where it has one.

    Values per CPU that leave no gaps have two dimensions, value and CPU; what memoryview has no
    format for is bytes.
    """
    view = memoryview(ffi.buffer(buffer, count * codec.size))
    # A view with a zero in its shape can't be cast.
    if not count:
        return view
    if isinstance(codec, PerCpu):
        letter = codec.inner.format or ""
        if len(letter) == 1 and codec.inner.size == codec.stride:
            return view.cast("B").cast(letter, (count, codec.ncpus))  # type: ignore[call-overload,no-any-return]
        return view.cast("B")
    letter = codec.format or ""
    return view.cast("B").cast(letter if len(letter) == 1 else "B")  # type: ignore[call-overload,no-any-return]


def is_buffer(given: object) -> bool:
    """Whether `given` has the buffer protocol."""
    try:
        memoryview(given).release()  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


def readable(name: str, given: Any, codec: Codec[Any]) -> tuple[Any, int]:
    """The memory of the buffer `given` and how many items of the codec's size are in it.

    Raises:
        TypeError: it is no buffer.
        ValueError: it has gaps, no whole number of items, numbers of another kind, or a number
            whose sign the map's numbers can't have.
    """
    view = _checked(name, given, codec)
    _check_signs(name, view, codec)
    return ffi.from_buffer(view), view.nbytes // codec.size


def writable(name: str, given: Any, codec: Codec[Any]) -> tuple[Any, int]:
    """As `readable`, of a buffer that may be written and whose contents mean nothing yet."""
    view = _checked(name, given, codec)
    if view.readonly:
        raise ValueError(f"{name}: the buffer is read-only")
    return ffi.from_buffer(view), view.nbytes // codec.size


def _checked(name: str, given: Any, codec: Codec[Any]) -> memoryview:
    """A view of a buffer with whole items of the codec's size and kind, side by side."""
    try:
        view = memoryview(given)
    except TypeError:
        raise TypeError(
            f"{name}: {type(given).__name__} is no buffer; bytes, bytearray, memoryview, array and"
            " numpy arrays are"
        ) from None
    if not view.c_contiguous:
        raise ValueError(
            f"{name}: the items of the buffer are not side by side; pass a copy of it"
            " (numpy.ascontiguousarray, bytes)"
        )
    _check_items(name, view, codec)
    if view.nbytes % codec.size:
        raise ValueError(
            f"{name}: {view.nbytes} bytes are no whole number of items of {codec.size} bytes"
        )
    return view


def _check_items(name: str, view: memoryview, codec: Codec[Any]) -> None:
    """Refuse an array of other items than the map's: 8-byte or 2-byte integers for 4-byte keys,
    floats or numbers of the other byte order for integers."""
    if view.format in _BYTES:
        return
    one = codec.inner if isinstance(codec, PerCpu) else codec
    given, wanted = _kind(view.format), _kind(one.format or "")
    # A run of smaller items may be one of the map's, four u32 for 16 bytes; but not one number.
    whole = one.size if wanted else codec.size
    parts = view.itemsize and not wanted and whole % view.itemsize == 0
    if view.itemsize != whole and not parts:
        raise ValueError(
            f"{name}: the buffer has items of {view.itemsize} bytes (format {view.format!r}), but"
            f" the map's have {whole}"
        )
    if given and wanted and given != wanted:
        raise ValueError(
            f"{name}: the buffer has {given} (format {view.format!r}), but the map has {wanted}"
            f" ({one.format!r}); convert it (numpy's astype)"
        )


def _kind(format: str) -> str:
    """What numbers a format of one is for, in words; empty for anything else."""
    order = " of the other byte order" if format[:1] in _FOREIGN_ORDERS else ""
    letter = format.lstrip(_ORDERS)
    integer = letter in _SIGNED or letter in _UNSIGNED
    kind = "integers" if integer else "floats" if letter in _FLOATS else ""
    return kind and kind + order


def _check_signs(name: str, view: memoryview, codec: Codec[Any]) -> None:
    """Refuse integers that would become others in the map: negative ones where its integers have
    no sign, and where they have one, those that take its bit."""
    one, step = codec, codec.size
    if isinstance(codec, PerCpu):
        one, step = codec.inner, codec.stride
    format = one.format or ""
    given, wanted = view.format.lstrip(_ORDERS), format.lstrip(_ORDERS)
    negative = given in _SIGNED and wanted in _UNSIGNED
    large = given in _UNSIGNED and wanted in _SIGNED
    if not (negative or large) or view.format in _BYTES or not view.nbytes:
        return
    little = (sys.byteorder == "little") != (format[0] in _FOREIGN_ORDERS)
    # The bytes with the signs: not one of them is looked at in Python.
    tops = bytes(view.cast("B")[one.size - 1 if little else 0 :: step])
    if tops.isascii():
        return
    index = next(index for index, top in enumerate(tops) if top & 0x80)
    which = "negative, but the map has unsigned" if negative else "too large: the map has signed"
    raise ValueError(
        f"{name}: item {index} of the buffer (format {view.format!r}) is {which} integers of"
        f" {one.size} bytes ({format!r})"
    )


def columns(other: Any, named: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """The keys and the values that `dict.update` would take from these arguments."""
    if other.__class__ is dict and not named:
        return list(other), list(other.values())
    pairs = other
    if isinstance(other, Mapping):
        pairs = other.items()
    elif hasattr(other, "keys"):
        pairs = ((key, other[key]) for key in other.keys())  # noqa: SIM118
    check_iterable("other", pairs, or_else="mapping")
    keys: list[Any] = []
    values: list[Any] = []
    for entry in chain(pairs, named.items()):
        try:
            key, value = entry
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            what = f"entry {len(keys)}, {entry!r}, is no pair of a key and a value"
            raise kind(f"other: {what}") from None
        keys.append(key)
        values.append(value)
    return keys, values
