"""Iterators: programs that the kernel runs for each of its objects while somebody reads."""

from __future__ import annotations

import errno
import io
import os
import warnings

from ebpf._sys import Descriptor, bpf, ffi, perf
from ebpf._sys.arguments import check_number, check_objects
from ebpf.errors import BpfError, CodecError, NotSupportedError, from_errno
from ebpf.links.base import Link
from ebpf.links.cgroup import open_cgroup
from ebpf.links.create import check_process, check_type, create_link
from ebpf.links.tracing import hook_of
from ebpf.types import AttachType, CgroupIterOrder, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ebpf.links.base import HasFileno
    from ebpf.links.cgroup import Cgroup

    Buffer = bytearray | memoryview

# The iterators that take parameters, by the kind of these; others would ignore them.
_TAKES = {
    "map": ("bpf_map_elem", "bpf_sk_storage_map", "sockmap"),
    "cgroup": ("cgroup",),
    "task": ("task", "task_file", "task_vma"),
}
_PARAMETERS_SINCE = {"map": (5, 9), "cgroup": (6, 1), "task": (6, 1)}

# What the kernel means when it refuses (bpf_iter_link_attach and the targets' own checks).
_REFUSALS = {
    errno.EINVAL: "it was loaded for no iterator (TRACE_ITER), or the parameters do not fit it, or"
    " this iterator takes no program that sleeps",
    errno.EBADF: "this iterator takes a map",
    errno.EACCES: "the program reads or writes more than the map's keys and values have",
    errno.ESRCH: "no such process",
    errno.ENOENT: "no such iterator or process",
}

# The kernel gathers output in 8 pages.
_BUFFER_SIZE = 1 << 15


class IteratorLink(Link):
    """An iterator: each reading walks over all objects anew, at that time."""

    def walk(self) -> io.BufferedReader:
        """A file object of one walk's output (BPF_ITER_CREATE); the program runs while it is read.

        Raises:
            BpfError: while reading, what the walk failed with: E2BIG, one object's output is
                larger than the kernel's buffer (8 pages).
        """
        fd = bpf.iter_create(self.fileno(), action=f"walk over {self.target}")
        return io.BufferedReader(_Walk(fd, self.target), _BUFFER_SIZE)

    def read(self) -> bytes:
        """The whole output of one walk."""
        with self.walk() as file:
            return file.read()

    def records(self, codec: object) -> Iterator[Any]:
        """The records of one walk, of a program that writes records of one size.

        Args:
            codec: how a record's bytes become a value, as for maps and rings: "IQ", a dataclass.

        Raises:
            CodecError: the output is no whole number of records.
        """
        from ebpf.codec import codec as make_codec

        made = make_codec(codec)
        with self.walk() as file:
            while record := file.read(made.size):
                if len(record) < made.size:
                    raise CodecError(
                        f"{self.target}: {len(record)} bytes are left at the end, where a record"
                        f" has {made.size}"
                    )
                yield made.unpack(record)


class _Walk(io.RawIOBase):
    """What io.BufferedReader reads a walk through."""

    def __init__(self, fd: int, name: str) -> None:
        self._descriptor = Descriptor(fd)
        self.name = name

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor.fileno()

    def readinto(self, buffer: Buffer) -> int:  # type: ignore[override]
        while True:
            try:
                return os.readv(self._descriptor.fileno(), [buffer])
            except BlockingIOError:
                # The kernel has passed a million objects without output; the next call goes on.
                continue
            except OSError as error:
                raise from_errno(error.errno or 0, f"walk over {self.name}") from None

    def close(self) -> None:
        self._descriptor.close()
        super().close()

    def _dealloc_warn(self, source: object) -> None:
        # io.BufferedReader asks for the warning where it is collected open.
        warnings.warn(f"unclosed {source!r}", ResourceWarning, stacklevel=2, source=source)


def attach_iter(
    program: HasFileno,
    *,
    map: HasFileno | None = None,
    cgroup: Cgroup | None = None,
    order: CgroupIterOrder | None = None,
    pid: int | None = None,
    tid: int | None = None,
) -> IteratorLink:
    """Make an iterator of a TRACING program that was loaded for one (TRACE_ITER, 5.8).

    Read it with `IteratorLink.walk`, `read` or `records`.

    Args:
        map: what bpf_map_elem, bpf_sk_storage_map and sockmap iterators walk over.
        cgroup: where a cgroup iterator begins (6.1): a directory of the cgroup v2 file system, or
            an object with its descriptor; without one the root.
        order: which cgroups it visits, by default all below, parents first (DESCENDANTS_PRE).
        pid: one process, for task, task_file and task_vma iterators (6.1); or
        tid: one thread.

    Raises:
        BpfError: EINVAL, the program is of another type or for no iterator; EBADF, the iterator
            takes a map; EACCES, the program does not fit the map's keys and values.
        BpfProcessLookupError: no such process.
        NotSupportedError: a cgroup or a process on a kernel before 6.1, which would ignore it.
        TypeError: parameters that this iterator does not have.
    """
    target = hook_of(program, "iterator")
    check_type(program, target, ProgramType.TRACING)
    iterator = getattr(program, "attach_to", "")
    # This one takes an order in any case.
    kind = _kind(map, cgroup, order, pid, tid) or ("cgroup" if iterator == "cgroup" else "")
    _check_kind(kind, iterator, target)
    if kind == "cgroup" and cgroup is not None:
        with open_cgroup(cgroup) as opened:
            return _create(program, target, kind, order=_order(order), cgroup_fd=opened.fileno())
    fields = {}
    if kind == "cgroup":
        fields = {"order": _order(order)}
    elif kind == "task":
        fields = {"pid": pid or 0, "tid": tid or 0}
    elif map is not None:
        fields = {"map_fd": map.fileno()}
    try:
        return _create(program, target, kind, **fields)
    except BpfError as error:
        if kind or iterator or error.errno != errno.EINVAL:
            raise
    # It was opened by id or pin, and may be for cgroups.
    return _create(program, target, "cgroup", order=_order(order))


def _order(order: CgroupIterOrder | None) -> int:
    return int(CgroupIterOrder.DESCENDANTS_PRE if order is None else order)


def _kind(
    map: HasFileno | None,
    cgroup: object,
    order: CgroupIterOrder | None,
    pid: int | None,
    tid: int | None,
) -> str:
    """The kind of the parameters that were given: "map", "cgroup", "task" or ""."""
    check_objects(map=map)
    if order is not None:
        check_number("order", order, 32)
    given = {
        "map": map is not None,
        "cgroup": cgroup is not None or order is not None,
        "task": pid is not None or tid is not None,
    }
    kinds = [kind for kind, is_given in given.items() if is_given]
    if len(kinds) > 1 or None not in (pid, tid):
        raise TypeError("attach_iter: map, cgroup with order, pid and tid exclude each other")
    for name, number in (("pid", pid), ("tid", tid)):
        if number is not None:
            check_process(name, number)
    return kinds[0] if kinds else ""


def _check_kind(kind: str, iterator: str, target: str) -> None:
    """Refuse parameters that the kernel would ignore."""
    if kind and iterator and iterator not in _TAKES[kind]:
        takes = next((kind for kind, names in _TAKES.items() if iterator in names), "no parameters")
        raise TypeError(f"attach_iter: {target} takes {takes}, no {kind}")


def _create(program: HasFileno, target: str, kind: str, **fields: int) -> IteratorLink:
    info = bpf.iter_info(kind, **fields) if kind else b""
    buffer = ffi.from_buffer(info)
    fd = create_link(
        program,
        target,
        "iter",
        refusals=_REFUSALS,
        needs=_PARAMETERS_SINCE.get(kind),
        attach_type=AttachType.TRACE_ITER,
        iter_info=perf.address(buffer) if info else 0,
        iter_info_len=len(info),
    )
    link = IteratorLink(fd, target)
    try:
        _check_taken(link, kind, **fields)
    except BaseException:
        link.close()
        raise
    return link


def _check_taken(link: IteratorLink, kind: str, **fields: int) -> None:
    """Refuse what the kernel has ignored, by its own word."""
    info = link.info().details
    # Of a program that was opened by its id or pin, only the link knows what it is for.
    _check_kind(kind, info["target_name"], link.target)
    if kind == "task" and any(info[name] != number for name, number in fields.items()):
        raise NotSupportedError(f"attach {link.target} to a {kind}", _PARAMETERS_SINCE[kind])
