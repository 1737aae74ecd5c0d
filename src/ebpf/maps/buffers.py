"""Keys and values side by side in one buffer: what the batch operations take and give."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import chain

from ebpf._sys import ffi
from ebpf.codec import PerCpu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ebpf.codec import Codec

# The kernel writes every byte that is handed out, so clearing a buffer first is time lost.
_uncleared = ffi.new_allocator(should_clear_after_alloc=False)

# Formats of buffers that are just bytes, whatever is in them.
_BYTES = ("B", "b", "c")

# What formats say of numbers: the byte order that is not this machine's, and which have fractions.
_FOREIGN_ORDERS = ">!" if sys.byteorder == "little" else "<"
_INTEGERS, _FLOATS = frozenset("?hHiIlLqQnN"), frozenset("efd")


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
        ValueError: it has gaps, no whole number of items, or numbers of another kind.
    """
    size = codec.size
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
    if view.nbytes % size:
        raise ValueError(
            f"{name}: {view.nbytes} bytes are no whole number of items of {size} bytes"
        )
    return ffi.from_buffer(view), view.nbytes // size


def writable(name: str, given: Any, codec: Codec[Any]) -> tuple[Any, int]:
    """As `readable`, of a buffer that may be written."""
    memory, count = readable(name, given, codec)
    if memoryview(given).readonly:
        raise ValueError(f"{name}: the buffer is read-only")
    return memory, count


def _check_items(name: str, view: memoryview, codec: Codec[Any]) -> None:
    """Refuse an array of other items than the map's: 8-byte integers for 4-byte keys, floats or
    numbers of the other byte order for integers."""
    if view.format in _BYTES:
        return
    # A run of smaller items may be one of the map's: four u32 for 16 bytes.
    if codec.size % view.itemsize:
        raise ValueError(
            f"{name}: the buffer has items of {view.itemsize} bytes (format {view.format!r}), but"
            f" the map's have {codec.size}"
        )
    one = codec.inner if isinstance(codec, PerCpu) else codec
    given, wanted = _kind(view.format), _kind(one.format or "")
    if view.itemsize == one.size and given and wanted and given != wanted:
        raise ValueError(
            f"{name}: the buffer has {given} (format {view.format!r}), but the map has {wanted}"
            f" ({one.format!r}); convert it (numpy's astype)"
        )


def _kind(format: str) -> str:
    """What numbers a format of one is for, in words; empty for anything else."""
    order = " of the other byte order" if format[:1] in tuple(_FOREIGN_ORDERS) else ""
    letter = format.lstrip("@=<>!")
    kind = "integers" if letter in _INTEGERS else "floats" if letter in _FLOATS else ""
    return kind and kind + order


def columns(other: Any, named: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """The keys and the values that `dict.update` would take from these arguments."""
    if other.__class__ is dict and not named:
        return list(other), list(other.values())
    pairs = other
    if isinstance(other, Mapping):
        pairs = other.items()
    elif hasattr(other, "keys"):
        pairs = ((key, other[key]) for key in other.keys())  # noqa: SIM118
    keys: list[Any] = []
    values: list[Any] = []
    for key, value in chain(pairs, named.items()):
        keys.append(key)
        values.append(value)
    return keys, values
