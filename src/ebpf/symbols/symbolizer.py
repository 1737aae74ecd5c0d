"""Many stacks at once, of the kernel and of many processes."""

from __future__ import annotations

import functools
import os
import weakref

from ebpf._sys.arguments import check_iterable, check_number
from ebpf.elf.debug import DEBUG_DIRECTORY
from ebpf.symbols import demangle as demangling
from ebpf.symbols.files import FileSymbols
from ebpf.symbols.frame import Frame
from ebpf.symbols.kernel import KernelSymbols
from ebpf.symbols.process import ProcessSymbols

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ebpf.symbols.process import FileCache

# ``struct bpf_stack_build_id``: what the kernel knew of the frame.
_BUILD_ID_VALID = 1
_BUILD_ID_IP = 2

# Processes whose mappings are remembered: on a busy machine new ones never cease to come.
_PROCESSES = 1024

# Names that are remembered as they are written in the source.
_NAMES = 1 << 16


class Symbolizer:
    """Resolves addresses, and remembers files, processes and answers.

    ::

        symbolizer = Symbolizer()
        for frame in symbolizer.process(pid, stacks[user_id]):
            print(frame)
        for frame in symbolizer.kernel(stacks[kernel_id]):
            print(frame)

    Zero addresses, with which the values of a STACK_TRACE map end, are left out. All frames of a
    stack but the first are callers, known by where a call returns to: their function is that of
    the call, which is in front of it. (Behind the call of a function that does not return, abort()
    or panic(), the next function may begin.) The offset remains that of the address. `stack=False`
    is for addresses that are no stack, functions for one: each is looked up as it is.

    The mappings of
    the last 1024 processes are remembered, and the kernel's functions as they were at the first
    look: see `refresh`.
    """

    def __init__(
        self,
        *,
        demangle: Callable[[str], str] | bool = True,
        debug_directory: str | None = DEBUG_DIRECTORY,
    ) -> None:
        """
        Args:
            demangle: makes of a name what the source has; True takes the libraries that are
                installed (`ebpf.symbols.demangle`), False leaves names as they are.
            debug_directory: where debug files are; None to use none.
        """
        chosen = demangling.installed() if demangle is True else demangle or None
        self._demangle = None if chosen is None else functools.lru_cache(_NAMES)(chosen)
        self._debug_directory = debug_directory
        self._kernel: KernelSymbols | None = None
        # Those that no remembered process has mapped go: on a busy machine new ones never cease to
        # come, too.
        self._files: FileCache = weakref.WeakValueDictionary()
        self._kept: list[FileSymbols] = []
        # Those that were looked at last are at the end.
        self._processes: dict[int, tuple[tuple[str, ...], ProcessSymbols]] = {}
        self._by_build_id: dict[bytes, tuple[FileSymbols, str]] = {}

    def refresh(self) -> None:
        """Look anew at the kernel's functions and at what processes have mapped, as they are now.

        After modules or BPF programs were loaded: their functions have the places, and without
        this would have the names, of others that are gone. What a process maps where nothing was
        mapped is noticed without.
        """
        self._kernel = None
        # Files remain for processes that still have them mapped, until the next time.
        self._kept.clear()
        self._kept.extend(self._files.values())
        self._processes.clear()

    def kernel(self, addresses: Iterable[int], *, stack: bool = True) -> list[Frame]:
        """The frames of a kernel stack.

        Raises:
            BpfPermissionError: the kernel hides its addresses from this process.
        """
        wanted = _places(addresses)
        return _returns(wanted, self._resolved(None, _calls(wanted, stack)))

    def process(self, pid: int, addresses: Iterable[int], *, stack: bool = True) -> list[Frame]:
        """The frames of a stack of the process `pid`.

        Resolve them while the process runs: of one that is gone, only what was looked at before
        is known, and the frames are bare addresses otherwise.

        Raises:
            PermissionError: this process may not look at the other.
        """
        wanted = _places(addresses)
        return _returns(wanted, self._resolved(pid, _calls(wanted, stack)))

    def _resolved(self, pid: int | None, places: Iterable[int]) -> list[Frame]:
        """The frame of each of `places`: of the kernel, or of a process."""
        if pid is None:
            if self._kernel is None:
                self._kernel = KernelSymbols()
            return self._kernel.resolve(places)
        check_number("pid", pid, 31)
        symbols = self._process(pid)
        if symbols is None:
            return [Frame(place) for place in places]
        return [self._demangled(frame) for frame in symbols.resolve(places)]

    def stacks(self, stacks: Iterable[tuple[int | None, Sequence[int]]]) -> list[list[Frame]]:
        """The frames of many stacks: of each its process (None for the kernel) and addresses.

        Each address of a process is resolved once, however many stacks have it.
        """
        wanted = [(pid, _places(addresses)) for pid, addresses in stacks]
        of_pid: dict[int | None, set[int]] = {}
        for pid, addresses in wanted:
            of_pid.setdefault(pid, set()).update(_calls(addresses))
        known = {
            pid: {frame.address: frame for frame in self._resolved(pid, unique)}
            for pid, unique in of_pid.items()
        }
        return [
            _returns(addresses, [known[pid][place] for place in _calls(addresses)])
            for pid, addresses in wanted
        ]

    def add_file(self, path: str | os.PathLike[str]) -> FileSymbols:
        """Have stacks with build ids look into the file at `path`.

        Raises:
            OSError: it cannot be opened.
            ElfError: it is no ELF file.
        """
        symbols = FileSymbols.open(path, self._debug_directory)
        if symbols.build_id is not None:
            self._by_build_id[symbols.build_id] = (symbols, os.fspath(path))
        return symbols

    def build_ids(
        self, entries: Iterable[tuple[int, bytes, int]], *, stack: bool = True
    ) -> list[Frame]:
        """The frames of a stack that was taken with build ids (STACK_BUILD_ID).

        Args:
            entries: of ``struct bpf_stack_build_id`` the status, the build id and the offset in
                the file (or the address). Entries of status 0 are empty, and left out.

        Files are known by `add_file`; the frame of an unknown one has the build id as its module.
        """
        wanted = [entry for entry in entries if entry[0] in (_BUILD_ID_VALID, _BUILD_ID_IP)]
        offsets = [offset for _, _, offset in wanted]
        pairs = zip(wanted, _calls(offsets, stack), strict=True)
        return _returns(
            offsets, [self._build_id_frame(status, id, place) for (status, id, _), place in pairs]
        )

    def _build_id_frame(self, status: int, build_id: bytes, offset: int) -> Frame:
        if status == _BUILD_ID_IP:
            return Frame(offset)
        # The kernel fills shorter ones up with zeros.
        known = self._by_build_id.get(build_id) or next(
            (
                found
                for own, found in self._by_build_id.items()
                if len(own) < len(build_id) and build_id == own.ljust(len(build_id), b"\0")
            ),
            None,
        )
        if known is None:
            return Frame(offset, None, 0, f"[{build_id.hex()}]")
        symbols, path = known
        place = symbols.find(offset)
        frame = Frame(offset, None, 0, path) if place is None else Frame(offset, *place, path)
        return self._demangled(frame)

    def _process(self, pid: int) -> ProcessSymbols | None:
        running = _running(pid)
        known = self._processes.pop(pid, None)
        # The same id may be another process by now, or the process run another program. Of one
        # that is gone, what was looked at before is still right.
        if known is None or running not in (known[0], None):
            if running is None:
                return None
            try:
                known = running, ProcessSymbols(pid, self._debug_directory, self._files)
            except ProcessLookupError:
                return None
        self._processes[pid] = known
        while len(self._processes) > _PROCESSES:
            del self._processes[next(iter(self._processes))]
        return known[1]

    def _demangled(self, frame: Frame) -> Frame:
        if self._demangle is None or frame.name is None:
            return frame
        return frame._replace(name=self._demangle(frame.name))


def _places(addresses: Iterable[int]) -> list[int]:
    """The addresses of a stack, without the zeros that fill it up."""
    check_iterable("addresses", addresses)
    places = [address for address in addresses if address]
    for place in places:
        # numpy's integers are no int.
        if not hasattr(place, "__index__"):
            raise TypeError(f"addresses: {place!r} is not an int")
    return places


def _calls(addresses: Iterable[int], stack: bool = True) -> list[int]:
    """Where the functions of the frames of a stack are looked up: of all but the first, in the
    instruction before."""
    return [address - (stack and at > 0) for at, address in enumerate(addresses)]


def _returns(addresses: Iterable[int], frames: Iterable[Frame]) -> list[Frame]:
    """The `frames` of `_calls`, at the addresses that were asked for."""
    return [
        frame
        if frame.address == address
        else frame._replace(address=address, offset=0 if frame.name is None else frame.offset + 1)
        for address, frame in zip(addresses, frames, strict=True)
    ]


def _running(pid: int) -> tuple[str, ...] | None:
    """What no other process has that has or had this id, nor this one after another exec: when it
    began, and where its code and its stack begin. None where it is gone, or about to be."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name, in parentheses, may have any character in it.
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Where there is no memory any more, there is no code.
    return None if fields[23] == "0" else (fields[19], fields[23], fields[25])
