"""``/etc/ld.so.cache``: where the dynamic loader of the GNU C library finds libraries.

The format is that of glibc's ``struct cache_file_new`` (sysdeps/generic/dl-cache.h).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ebpf.errors import FormatError

_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER_SIZE = 48
_ENTRY_SIZE = 24

# Bits of an entry's hwcap that say that it is for some processors only.
_ANY_PROCESSOR = 0


def cached_libraries(data: bytes, name: str) -> Iterator[str]:
    """The paths that the cache has for the library `name`, the loader's favourite first.

    Libraries of all architectures of the machine are in it; those that only some processors of
    one take (glibc-hwcaps) are left out.

    Raises:
        FormatError: `data` is no such cache.
    """
    return (path for found, path in _entries(data) if found == name)


def cached_versions(data: bytes, name: str) -> list[str]:
    """The names in the cache that are `name` with a version behind it: ``libc.so.6`` for
    ``libc.so``. Raises as `cached_libraries`."""
    return sorted({found for found, _ in _entries(data) if found.startswith(f"{name}.")})


def _entries(data: bytes) -> Iterator[tuple[str, str]]:
    """(name, path) of every library that any processor takes."""
    # Behind a cache of the format before it, which starts with the same entries.
    start = data.find(_MAGIC)
    if start < 0 or len(data) < start + _HEADER_SIZE:
        raise FormatError(f"ld.so.cache: no {_MAGIC.decode()} in its {len(data)} bytes")
    (count,) = struct.unpack_from("=I", data, start + len(_MAGIC))
    end = start + _HEADER_SIZE + count * _ENTRY_SIZE
    if end > len(data):
        raise FormatError(f"ld.so.cache: {count} libraries do not fit its {len(data)} bytes")
    for at in range(start + _HEADER_SIZE, end, _ENTRY_SIZE):
        _, key, value, _, hwcap = struct.unpack_from("=iIIIQ", data, at)
        if hwcap == _ANY_PROCESSOR:
            yield _text(data, start + key), _text(data, start + value)


def _text(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset)
    if end < 0:
        raise FormatError(f"ld.so.cache: no text at {offset:#x} of its {len(data)} bytes")
    return data[offset:end].decode("utf-8", "surrogateescape")
