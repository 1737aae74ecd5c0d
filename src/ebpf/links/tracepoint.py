"""Tracepoints and raw tracepoints."""

from __future__ import annotations

import errno

from ebpf import tracefs
from ebpf._sys import bpf, perf
from ebpf._sys.arguments import c_string, check_number, check_text
from ebpf.errors import BpfError, BpfFileNotFoundError, NotSupportedError, from_errno
from ebpf.links import perf_event
from ebpf.links.base import Link
from ebpf.links.create import check_type
from ebpf.types import ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.links.base import HasFileno

_RAW_TYPES = (ProgramType.RAW_TRACEPOINT, ProgramType.RAW_TRACEPOINT_WRITABLE)

# What the kernel means when it refuses a program for a raw tracepoint.
_REFUSALS = {
    errno.EINVAL: "the program reads more arguments than there are",
    errno.EEXIST: "the program is attached to it already (since 6.10 it may be several times)",
}


def attach_tracepoint(program: HasFileno, category: str, name: str, *, cookie: int = 0) -> Link:
    """Run a TRACEPOINT program each time the tracepoint `category`:`name` is passed.

    The program's context is the tracepoint's record, whose fields
    ``/sys/kernel/tracing/events/<category>/<name>/format`` lists.

    Args:
        cookie: what bpf_get_attach_cookie() returns in the program (5.15).

    Raises:
        BpfFileNotFoundError: no such tracepoint (the message has the nearest names), or tracefs
            is not mounted (it has the command).
        BpfPermissionError: this process may not read tracefs (it has the command), or not open
            perf events.
        NotSupportedError: a cookie on a kernel before 5.15.
        BpfFileExistsError: the program is attached to this tracepoint already.
        BpfError: EINVAL, the program is of another type; EACCES, it reads beyond the record.
    """
    check_number("cookie", cookie, 64)
    check_text("category", category)
    check_text("name", name)
    target = f"tracepoint {category}:{name}"
    check_type(program, target, ProgramType.TRACEPOINT)
    fd = perf.event_open(type=perf.TYPE_TRACEPOINT, config=tracefs.tracepoint_id(category, name))
    if fd < 0:
        perf.fail(-fd, f"open {target}")
    return perf_event.attach(program, fd, target, cookie)


def attach_raw_tracepoint(program: HasFileno, name: str, *, cookie: int = 0) -> Link:
    """Run a RAW_TRACEPOINT program each time the tracepoint `name` is passed.

    The program's context is the array of the tracepoint's arguments, as u64 each. Needs no
    tracefs.

    Args:
        cookie: what bpf_get_attach_cookie() returns in the program (6.10).

    Raises:
        BpfFileNotFoundError: no such tracepoint; the message has the nearest names, where
            tracefs or the kernel's BTF is there to list them.
        NotSupportedError: a cookie on a kernel before 6.10.
        BpfFileExistsError: before 6.10, the program is attached to this tracepoint already.
        BpfError: EINVAL, the program is of another type or reads more arguments than there are.
    """
    raw_name = c_string("name", name)
    check_number("cookie", cookie, 64)
    target = f"raw tracepoint {name}"
    try:
        fd = bpf.raw_tracepoint_open(
            raw_name, program.fileno(), cookie, action=f"attach to {target}"
        )
    except BpfFileNotFoundError as error:
        raise BpfFileNotFoundError(errno.ENOENT, f"no {target}{_nearest(name)}") from error
    except BpfError as error:
        code = error.errno or 0
        if code not in _REFUSALS or isinstance(error, NotSupportedError):
            raise
        if code == errno.EINVAL:
            check_type(program, target, *_RAW_TYPES)
        raise from_errno(code, f"attach {program!r} to {target}: {_REFUSALS[code]}") from None
    return Link(fd, target)


def _nearest(name: str) -> str:
    """What resembles `name`: by tracefs, which knows those of modules too, or else by BTF."""
    try:
        names = tracefs.tracepoint_names()
    except BpfError as error:
        return _nearest_by_btf(name, error)
    import difflib

    near = difflib.get_close_matches(name, names, n=5)
    return f"; nearest: {', '.join(near)}" if near else ""


def _nearest_by_btf(name: str, without: BpfError) -> str:
    from ebpf.btf import Kind
    from ebpf.kernel_btf import kernel_btf
    from ebpf.links.functions import nearest_type

    try:
        near = nearest_type(kernel_btf(), "btf_trace_", Kind.TYPEDEF, name)
    except BpfError:
        near = []
    # Names are a courtesy; where there are none, what keeps the others away is said.
    if near:
        return f"; nearest: {', '.join(near)}"
    return f" (to see which there are: {without.strerror})"
