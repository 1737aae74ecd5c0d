"""The symbols that were taken out of a file, and where they went.

A stripped file may name a debug file (``.gnu_debuglink``), be known by its build id, or carry a
compressed symbol table with it (``.gnu_debugdata``, MiniDebugInfo).
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator

from ebpf.elf.image import ElfImage
from ebpf.errors import ElfError

#: Where distributions put debug files.
DEBUG_DIRECTORY = "/usr/lib/debug"

# A small table of names unpacks to megabytes; a file that was made to fill the memory to more.
_LARGEST_UNPACKED = 1 << 28
_PIECE = 1 << 20


def debug_files(
    image: ElfImage, path: str, root: str = "", directory: str = DEBUG_DIRECTORY
) -> Iterator[str]:
    """The paths, below `root`, at which the debug file of `image` may be, the surest first.

    `path` is where the file itself is, as seen from `root`. That a path is given does not say that
    there is a file; `open_debug_file` looks.
    """
    build_id = image.build_id
    if build_id is not None and len(build_id) > 1:
        name = build_id.hex()
        yield f"{root}{directory}/.build-id/{name[:2]}/{name[2:]}.debug"
    link = image.debug_link
    # A name, not a way to somewhere else.
    if link is not None and "/" not in link[0]:
        folder = os.path.dirname(path).rstrip("/")
        yield f"{root}{folder}/{link[0]}"
        yield f"{root}{folder}/.debug/{link[0]}"
        yield f"{root}{directory}{folder}/{link[0]}"


def open_debug_file(
    image: ElfImage, path: str, root: str = "", directory: str = DEBUG_DIRECTORY
) -> ElfImage | None:
    """The debug file that belongs to `image`, or None where there is none.

    It belongs to it when both have the same build id, or, where they have none, when its checksum
    is the one that the file names.
    """
    for candidate in debug_files(image, path, root, directory):
        try:
            found = ElfImage.open(candidate)
        except (OSError, ElfError):
            continue
        if _belongs(found, image):
            return found
        found.close()
    return None


def _belongs(found: ElfImage, image: ElfImage) -> bool:
    try:
        if image.build_id is not None:
            return found.build_id == image.build_id
        return image.debug_link is not None and _checksum(found) == image.debug_link[1]
    except ElfError:
        return False


def _checksum(image: ElfImage) -> int:
    checksum = 0
    for at in range(0, image.size, _PIECE):
        piece = image.read(at, min(_PIECE, image.size - at), "checksum")
        checksum = zlib.crc32(piece, checksum)
    return checksum


def embedded_debug_data(image: ElfImage) -> ElfImage | None:
    """The file with more symbols that `image` carries inside of it, None where it has none.

    Raises:
        ElfError: what it carries is damaged, or unpacks to more than 256 MiB.
    """
    section = image.section(".gnu_debugdata")
    if section is None:
        return None
    # Imported here: few files have it, and some interpreters are built without it.
    import lzma

    unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    try:
        data = unpacker.decompress(image.data(section), _LARGEST_UNPACKED)
    except (lzma.LZMAError, EOFError) as error:
        raise section.error(f"does not unpack: {error}") from None
    if not unpacker.eof:
        raise section.error(f"is cut, or unpacks to more than {_LARGEST_UNPACKED} bytes")
    return ElfImage(data)
