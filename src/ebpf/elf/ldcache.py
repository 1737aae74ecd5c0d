"""``/etc/ld.so.cache``: where the dynamic loader of the GNU C library finds libraries.

The format is that of glibc's ``struct cache_file_new`` (sysdeps/generic/dl-cache.h).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from operator import itemgetter

from ebpf.errors import FormatError

_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER_SIZE = 48
_ENTRY_SIZE = 24

# ``struct cache_extension`` (glibc 2.33), and its section with the names of folders.
_EXTENSION_AT = 32
_EXTENSION_MAGIC = 0xEAA42174
_TAG_HWCAPS = 1

# An entry's hwcap: of any processor, or with the number of a folder of glibc-hwcaps; any other is
# of folders that the loader has given up.
_ANY_PROCESSOR = 0
_OF_FOLDER = 1 << 62


def cached_libraries(data: bytes, name: str, hwcaps: Sequence[str] = ()) -> list[str]:
    """The paths that the cache has for the library `name`, the loader's favourite first.

    Libraries of all architectures of the machine are in it.

    Args:
        hwcaps: the folders of glibc-hwcaps that have libraries for this processor, the loader's
            favourite first; those of other folders are left out.

    Raises:
        FormatError: `data` is no such cache.
    """
    ranks = {"": len(hwcaps), **{folder: rank for rank, folder in enumerate(hwcaps)}}
    found = [
        (ranks[folder], path)
        for library, path, folder in _entries(data)
        if library == name and folder in ranks
    ]
    return [path for _, path in sorted(found, key=itemgetter(0))]


def cached_for_processors(data: bytes, name: str) -> list[str]:
    """The paths of the library `name` that are for some processors only. Raises as
    `cached_libraries`."""
    return [path for library, path, folder in _entries(data) if library == name and folder]


def cached_versions(data: bytes, name: str) -> list[str]:
    """The names in the cache that are `name` with a version behind it: ``libc.so.6`` for
    ``libc.so``. Raises as `cached_libraries`."""
    return sorted({found for found, _, _ in _entries(data) if found.startswith(f"{name}.")})


def _entries(data: bytes) -> Iterator[tuple[str, str, str]]:
    """(name, path, folder of glibc-hwcaps or "") of every library."""
    # Behind a cache of the format before it, which starts with the same entries.
    start = data.find(_MAGIC)
    if start < 0 or len(data) < start + _HEADER_SIZE:
        raise FormatError(f"ld.so.cache: no {_MAGIC.decode()} in its {len(data)} bytes")
    (count,) = struct.unpack_from("=I", data, start + len(_MAGIC))
    end = start + _HEADER_SIZE + count * _ENTRY_SIZE
    if end > len(data):
        raise FormatError(f"ld.so.cache: {count} libraries do not fit its {len(data)} bytes")
    folders = _folders(data, start)
    for at in range(start + _HEADER_SIZE, end, _ENTRY_SIZE):
        _, key, value, _, hwcap = struct.unpack_from("=iIIIQ", data, at)
        # The number of the folder is in the lower half.
        number = hwcap - _OF_FOLDER
        if hwcap == _ANY_PROCESSOR or 0 <= number < len(folders):
            folder = "" if hwcap == _ANY_PROCESSOR else folders[number]
            yield _text(data, start + key), _text(data, start + value), folder


def _folders(data: bytes, start: int) -> list[str]:
    """The folders of glibc-hwcaps by their numbers; none in a cache of a loader without them."""
    # From the beginning of the file, unlike all texts.
    (at,) = struct.unpack_from("=I", data, start + _EXTENSION_AT)
    if not at:
        return []
    try:
        magic, count = struct.unpack_from("=II", data, at)
        if magic != _EXTENSION_MAGIC:
            raise FormatError(f"ld.so.cache: at {at:#x} is no extension")
        for number in range(count):
            tag, _, offset, size = struct.unpack_from("=IIII", data, at + 8 + 16 * number)
            if tag == _TAG_HWCAPS:
                names = struct.unpack_from(f"={size // 4}I", data, offset)
                return [_text(data, start + name) for name in names]
    except struct.error:
        raise FormatError(
            f"ld.so.cache: its extension at {at:#x} is not in its {len(data)} bytes"
        ) from None
    return []


def _text(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset)
    if end < 0:
        raise FormatError(f"ld.so.cache: no text at {offset:#x} of its {len(data)} bytes")
    return data[offset:end].decode("utf-8", "surrogateescape")
