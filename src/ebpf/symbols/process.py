"""Addresses of a process to names, by what it has mapped."""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_right

from ebpf._sys.arguments import check_number
from ebpf._sys.mappings import executable_mappings
from ebpf.elf.debug import DEBUG_DIRECTORY
from ebpf.elf.image import ElfImage
from ebpf.errors import ElfError
from ebpf.symbols.files import FileSymbols
from ebpf.symbols.frame import Frame
from ebpf.symbols.perf_map import PerfMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from ebpf._sys.mappings import Mapping

    # (device, inode, size, time of the last change) -> symbols
    FileCache = MutableMapping[tuple[int, int, int, int], FileSymbols]


class ProcessSymbols:
    """The executable mappings of a process, and the symbols of what is mapped.

    Files are opened as the process sees them, also in another mount namespace, and also when they
    were deleted since. Code that a just-in-time compiler made is looked up in the process's perf
    map (``/tmp/perf-PID.map``), where it writes one: a file of the process's user, or of root.
    """

    def __init__(
        self,
        pid: int,
        debug_directory: str | None = DEBUG_DIRECTORY,
        cache: FileCache | None = None,
    ) -> None:
        """Read the mappings.

        Args:
            pid: the process, by its id in this process's namespace.
            debug_directory: where debug files are, in the root directory of the process and in
                that of this one; None to use none.
            cache: symbols of files, to share with other processes.

        Raises:
            BpfProcessLookupError: there is no such process.
            PermissionError: this process may not look at it.
        """
        check_number("pid", pid, 31)
        self.pid = pid
        self._debug_directory = debug_directory
        self._cache: FileCache = {} if cache is None else cache
        self._symbols: dict[Mapping, FileSymbols | None] = {}
        self._perf_map = PerfMap(pid)
        self._mappings: list[Mapping] = []
        self.refresh()

    def refresh(self) -> None:
        """Read the mappings again: the process may have loaded a library since."""
        # Those of a process that has ended, and that nobody has waited for, are empty.
        self._mappings = executable_mappings(self.pid) or self._mappings
        self._starts = [mapping.start for mapping in self._mappings]
        self._symbols = {m: self._symbols[m] for m in self._mappings if m in self._symbols}

    def resolve(self, addresses: Iterable[int]) -> list[Frame]:
        """A Frame for each address, in their order."""
        wanted = list(addresses)
        if any(self._mapping(address) is None for address in wanted):
            # Of a process that is gone, what was read while it ran is still right.
            with contextlib.suppress(ProcessLookupError):
                self.refresh()
        frames = [self._in_file(address) for address in wanted]
        if None in frames:
            self._perf_map.refresh()
        pairs = zip(wanted, frames, strict=True)
        return [frame or self._made_at_run_time(address) for address, frame in pairs]

    def _mapping(self, address: int) -> Mapping | None:
        at = bisect_right(self._starts, address) - 1
        if at < 0 or address >= self._mappings[at].end:
            return None
        return self._mappings[at]

    def _in_file(self, address: int) -> Frame | None:
        """The frame of an address in a file that has symbols."""
        mapping = self._mapping(address)
        symbols = None if mapping is None else self._file_symbols(mapping)
        if mapping is None or symbols is None:
            return None
        place = symbols.find(address - mapping.start + mapping.offset)
        name, offset = place or (None, 0)
        return Frame(address, name, offset, mapping.path)

    def _made_at_run_time(self, address: int) -> Frame:
        found = self._perf_map.find(address)
        if found is not None:
            return Frame(address, *found, self._perf_map.path)
        mapping = self._mapping(address)
        return Frame(address, None, 0, "" if mapping is None else mapping.path)

    def _file_symbols(self, mapping: Mapping) -> FileSymbols | None:
        if mapping not in self._symbols:
            self._symbols[mapping] = self._open(mapping)
        return self._symbols[mapping]

    def _open(self, mapping: Mapping) -> FileSymbols | None:
        """The symbols of what is mapped, None where that has none."""
        try:
            if mapping.path == "[vdso]":
                return FileSymbols(ElfImage(self._memory(mapping)), debug_directory=None)
            if not mapping.path.startswith("/"):
                return None
            return self._open_file(mapping)
        except (OSError, ElfError):
            # Gone with the process, out of reach, or no ELF file: the address stays a number, and
            # the frame says in which file.
            return None

    def _open_file(self, mapping: Mapping) -> FileSymbols | None:
        # The kernel's own way is open to few; behind a name may be another file by now.
        name = mapping.exact(self.pid)
        try:
            status = os.stat(name)
        except OSError:
            found = mapping.find(self.pid)
            if found is None:
                return None
            status, name = os.stat(found), found
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        symbols = self._cache.get(key)
        if symbols is None:
            with ElfImage.open(name) as image:
                root = f"/proc/{self.pid}/root"
                symbols = FileSymbols(image, mapping.name, root, self._debug_directory)
            self._cache[key] = symbols
        return symbols

    def _memory(self, mapping: Mapping) -> bytes:
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(mapping.start)
            return memory.read(mapping.end - mapping.start)
