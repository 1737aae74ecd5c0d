"""uprobes and uretprobes, through the uprobe PMU (4.17)."""

from __future__ import annotations

import errno

from ebpf._sys import perf
from ebpf._sys.arguments import c_string, check_number
from ebpf.errors import ENOTSUPP, NotSupportedError, from_errno
from ebpf.links import perf_event
from ebpf.links.base import Link
from ebpf.links.binaries import find_binary, function_offset, place_of
from ebpf.links.create import check_process, check_type
from ebpf.types import ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ebpf.links.base import HasFileno
    from ebpf.links.binaries import StrPath

# The bits of ``config`` that hold the place of a reference counter (uprobe PMU, 4.20).
_REF_CTR_SHIFT = 32

# What the kernel means when it refuses (uprobe_register, arch_uprobe_analyze_insn).
_REFUSALS = {
    errno.EINVAL: "the offset is beyond the end of the file, or the file is on a file system"
    " without a page cache",
    errno.EIO: "the file has no instruction there",
    errno.EOPNOTSUPP: "the instruction there cannot be probed",
    ENOTSUPP: "the instruction there cannot be probed",
    errno.EILSEQ: "the instruction there is not the start of one, or not known",
}

# What EINVAL may mean as well where there is a reference counter.
OTHER_COUNTER = ", or a probe that is there already has another reference counter"


def attach_uprobe(
    program: HasFileno,
    path: StrPath,
    symbol: str | None = None,
    *,
    offset: int = 0,
    pid: int | None = None,
    ref_ctr_offset: int = 0,
    cookie: int = 0,
) -> Link:
    """Run a KPROBE program when processes come to an instruction of a file: a function, mostly.

    The program's context is ``struct pt_regs``.

    Args:
        path: the executable or library: a path, a library's name (``libc.so.6``, or ``libc.so``
            or ``libc`` where it has one version), looked for as the dynamic loader does, a
            program's name, looked for in PATH, or ``ARCHIVE!/NAME`` for a library that an archive
            (zip, APK) has stored.
        symbol: a function, ``name`` or ``name@VERSION``, with `offset` bytes into it; without
            one `offset` counts from the start of the executable or library.
        pid: one process only; by default every one, those to come included.
        ref_ctr_offset: where in it a 16-bit number is that counts who is watching. It counts only
            in memory that the program may write to.
        cookie: what bpf_get_attach_cookie() returns in the program (5.15).

    Raises:
        BpfFileNotFoundError: no such file or function; the message has the nearest names.
        BpfProcessLookupError: no such process.
        NotSupportedError: a kernel without CONFIG_UPROBES, or a cookie before 5.15.
        BpfError: EADDRNOTAVAIL, several functions have the name; EINVAL, the offset is beyond the
            file, or the program is of another type; EOPNOTSUPP, an instruction that can't be
            probed.
        ElfError: a `symbol` of a file that is no ELF file.
    """
    place = resolve(path, symbol, offset, pid)
    return open_probe(program, "uprobe", place, pid, ref_ctr_offset, cookie)


def attach_uretprobe(
    program: HasFileno,
    path: StrPath,
    symbol: str | None = None,
    *,
    offset: int = 0,
    pid: int | None = None,
    ref_ctr_offset: int = 0,
    cookie: int = 0,
) -> Link:
    """Run a KPROBE program when a function of a file returns to its caller.

    Arguments and errors are those of `attach_uprobe`; without `symbol`, `offset` is where the
    function begins. The context holds the return value.
    """
    place = resolve(path, symbol, offset, pid)
    return open_probe(program, "uretprobe", place, pid, ref_ctr_offset, cookie)


class Place:
    """An instruction of a file, and how errors call it."""

    def __init__(self, path: str, offset: int, described: str, start: int = 0) -> None:
        self.path = path
        self.offset = offset
        self.described = described
        #: Where in the file the executable or library begins.
        self.start = start


def resolve(path: StrPath, symbol: str | None, offset: int, pid: int | None) -> Place:
    """Where the probe goes."""
    check_number("offset", offset, 63)
    if symbol == "":
        raise ValueError("symbol: '' is no function name")
    if pid is not None:
        check_process("pid", pid)
    found = find_binary(path, pid)
    file, start = place_of(found)
    if symbol is None:
        return Place(file, start + offset, f"{found}:{offset:#x}", start)
    described = f"{found}:{symbol}" + (f"+{offset:#x}" if offset else "")
    return Place(file, function_offset(found, symbol) + offset, described, start)


def open_probe(
    program: HasFileno,
    kind: str,
    place: Place,
    pid: int | None,
    ref_ctr_offset: int,
    cookie: int,
) -> Link:
    """Attach `program` by a perf event of the uprobe PMU."""
    check_number("ref_ctr_offset", ref_ctr_offset, 32)
    check_number("cookie", cookie, 64)
    counter = ref_ctr_offset and place.start + ref_ctr_offset
    check_number("ref_ctr_offset", counter, 32)
    check_counter("ref_ctr_offset", counter)
    target = f"{kind} {place.described}"
    check_type(program, target, ProgramType.KPROBE)
    pmu = perf.pmu_type("uprobe")
    if pmu is None:
        raise NotSupportedError(
            f"attach to {target}: this kernel has no uprobes (CONFIG_UPROBES, CONFIG_UPROBE_EVENTS)"
        )
    name = perf.text(c_string("path", place.path))
    returns = perf.pmu_flag("uprobe", "retprobe") if kind == "uretprobe" else 0
    fd = perf.event_open(
        type=pmu,
        config=returns | counter << _REF_CTR_SHIFT,
        config1=perf.address(name),
        config2=place.offset,
        pid=-1 if pid is None else pid,
        # A process is followed wherever it runs; without one, one CPU stands for all of them.
        cpu=None if pid is None else -1,
    )
    if fd < 0:
        _failed(-fd, target, counter)
    return perf_event.attach(program, fd, target, cookie)


def check_counter(name: str, offset: int) -> None:
    """Refuse a reference counter where the kernel takes none; `offset` is of the file."""
    if offset % 2:
        raise ValueError(
            f"{name}: {offset:#x} in the file is odd; a 16-bit number is at an even one"
        )


def _failed(code: int, target: str, counter: int) -> NoReturn:
    if code in _REFUSALS:
        other = OTHER_COUNTER if code == errno.EINVAL and counter else ""
        raise from_errno(code, f"open {target}: {_REFUSALS[code]}{other}")
    perf.fail(code, f"open {target}")
