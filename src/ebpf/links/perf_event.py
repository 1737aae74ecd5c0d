"""Attaching a program to a perf event, which is what a tracepoint or a kprobe is made into."""

from __future__ import annotations

import errno
import os

from ebpf._sys import bpf, facts, perf
from ebpf.errors import NotSupportedError, from_errno
from ebpf.links.base import Link, PerfEventAttachment
from ebpf.types import AttachType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.links.base import HasFileno

# BPF_LINK_CREATE takes perf events.
_LINK_SINCE = (5, 15)


def attach(program: HasFileno, perf_fd: int, target: str, cookie: int) -> Link:
    """Attach `program` to the event `perf_fd`, which this function closes or hands to the link."""
    try:
        link_fd = _create_link(program.fileno(), perf_fd, target, cookie)
        if link_fd is not None:
            # The link holds a reference of its own to the event.
            _enable(perf_fd, target, link_fd)
            os.close(perf_fd)
            return Link(link_fd, target)
        if cookie:
            raise NotSupportedError(f"attach to {target} with a cookie", _LINK_SINCE)
        result = perf.set_bpf(perf_fd, program.fileno())
        if result < 0:
            _refused(-result, program, target)
        _enable(perf_fd, target)
    except BaseException:
        os.close(perf_fd)
        raise
    return PerfEventAttachment(perf_fd, target)


def _create_link(prog_fd: int, perf_fd: int, target: str, cookie: int) -> int | None:
    """A link's descriptor, or None where the kernel has no links for perf events."""
    try:
        return bpf.link_create(
            "perf_event" if cookie else "",
            action=f"attach to {target}",
            needs=_LINK_SINCE,
            prog_fd=prog_fd,
            target_fd=perf_fd,
            attach_type=AttachType.PERF_EVENT,
            **({"bpf_cookie": cookie} if cookie else {}),
        )
    except NotSupportedError as error:
        # Only the typed refusal of a kernel that is too old leads to the ioctl.
        if error.minimum_version is None or facts.kernel_version() >= _LINK_SINCE:
            raise
        return None


def _enable(perf_fd: int, target: str, link_fd: int | None = None) -> None:
    result = perf.enable(perf_fd)
    if result < 0:
        if link_fd is not None:
            os.close(link_fd)
        perf.fail(-result, f"enable {target}")


def _refused(code: int, program: HasFileno, target: str) -> None:
    if code == errno.EINVAL:
        raise from_errno(code, f"attach {program!r} to {target}: the program's type does not fit")
    perf.fail(code, f"attach to {target}")
