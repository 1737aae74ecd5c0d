"""Keys and values that are one unsigned integer each: reading and writing them without a buffer.

The core has a function for each pair of sizes, which takes and returns integers. That leaves out
the packing, and the buffers that threads must not share.
"""

from __future__ import annotations

from ebpf._sys import lib
from ebpf.codec.structs import NumberCodec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ebpf.codec import Codec

    # The descriptor, then what cffi takes for integers.
    Get = Callable[[int, Any], Any]
    Set = Callable[[int, Any, Any], int]

#: What is below this is a value, see include/ebpf/map.h.
ABSENT_SCALAR = lib.EBPF_MAP_ABSENT

_SIZES = {"I": "u32", "Q": "u64"}


def scalar_functions(key: Codec[Any], value: Codec[Any]) -> tuple[Get | None, Set | None]:
    """The functions that get and set an entry of a map with these codecs, where there are any."""
    pair = []
    for one in (key, value):
        # Other kinds of codec may have the format too, and do more than pack.
        if type(one) is not NumberCodec or one.format not in _SIZES:
            return None, None
        pair.append(_SIZES[one.format])
    sizes = "_".join(pair)
    return getattr(lib, f"ebpf_map_get_{sizes}"), getattr(lib, f"ebpf_map_set_{sizes}")
