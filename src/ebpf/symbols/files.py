"""The functions of an executable or library: its own symbols and those of its debug file."""

from __future__ import annotations

import os

from ebpf.elf.debug import DEBUG_DIRECTORY, embedded_debug_data, open_debug_file
from ebpf.elf.image import ElfImage
from ebpf.elf.symbols import FunctionIndex, symbol_tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self


class FileSymbols:
    """Functions by their place in the file, which is what mappings and build-id stacks give."""

    def __init__(
        self,
        image: ElfImage,
        path: str = "",
        root: str = "",
        debug_directory: str | None = DEBUG_DIRECTORY,
    ) -> None:
        """Read the symbols of `image`; it is not needed, and may be closed, afterwards.

        Args:
            image: the file.
            path: where it is, as seen from `root`: beside it its debug file may be.
            root: the root directory of the process that has it mapped.
            debug_directory: where debug files are; None to use the file alone.

        Raises:
            ElfError: the file is malformed.
        """
        self.build_id = image.build_id
        # Later lookups take its segments, which are read here.
        self._image = image
        image.segments  # noqa: B018
        more = self._more(image, path, root, debug_directory)
        tables = symbol_tables(image) if more is None else symbol_tables(more)
        self._index = FunctionIndex(tables)
        for table in tables:
            table.names  # noqa: B018
        if more is not None:
            more.close()

    def _more(
        self, image: ElfImage, path: str, root: str, debug_directory: str | None
    ) -> ElfImage | None:
        """The file with all symbols, where the symbols were taken out of `image`."""
        if debug_directory is None or any(t.name == ".symtab" for t in symbol_tables(image)):
            return None
        found = open_debug_file(image, path, root, debug_directory)
        if found is None and root:
            # A container has no debug files, but the machine around it may.
            found = open_debug_file(image, path, "", debug_directory)
        return found or embedded_debug_data(image)

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], debug_directory: str | None = DEBUG_DIRECTORY
    ) -> Self:
        """The symbols of the file at `path`.

        Raises:
            OSError: it cannot be opened.
            ElfError: it is no ELF file, or a malformed one.
        """
        name = os.fspath(path)
        with ElfImage.open(name) as image:
            return cls(image, os.path.realpath(name), "", debug_directory)

    def __len__(self) -> int:
        """The number of functions."""
        return len(self._index)

    def find(self, offset: int) -> tuple[str, int] | None:
        """The function that the byte at file offset `offset` is in, and how far behind its
        beginning that is; None where no symbol covers it."""
        address = self._image.address(offset)
        found = None if address is None else self._index.find(address)
        if found is None or address is None:
            return None
        return found[0], address - found[1]
