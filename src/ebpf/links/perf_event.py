"""Attaching a program to a perf event, which is what a tracepoint or a kprobe is made into."""

from __future__ import annotations

import errno

from ebpf._sys import bpf, facts, perf
from ebpf.errors import BpfError, NotSupportedError, from_errno
from ebpf.links.base import Link, PerfEventAttachment
from ebpf.types import AttachType, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.links.base import HasFileno

# BPF_LINK_CREATE takes perf events.
_LINK_SINCE = (5, 15)

# What the kernel means when it refuses a program for an event (perf_event_set_bpf_prog).
_REFUSALS = {
    errno.EACCES: "the program reads beyond the event's record",
    errno.EEXIST: "the program is attached to it already",
    errno.E2BIG: "as many programs as the kernel takes are attached to it already",
}

# EINVAL of a KPROBE program: that the probe is for its type is known before.
_OF_PROBES = (
    "only a uprobe takes a program that is sleepable or writes to its context, and only a kprobe at"
    " the start of a function in /sys/kernel/debug/error_injection/list one that calls"
    " bpf_override_return()"
)


def attach(program: HasFileno, perf_fd: int, target: str, cookie: int) -> Link:
    """Attach `program` to the event `perf_fd`, which is closed or becomes the attachment.

    The event counts from when it was opened, so there is nothing to enable.
    """
    event = PerfEventAttachment(perf_fd, target)
    try:
        link = _create_link(program, event, cookie)
        if link is None:
            _set_bpf(program, event, cookie)
            return event
    except BaseException:
        event.close()
        raise
    # The link holds a reference of its own to the event.
    event.close()
    return link


def _create_link(program: HasFileno, event: PerfEventAttachment, cookie: int) -> Link | None:
    """A link, or None where the kernel has no links for perf events."""
    try:
        fd = bpf.link_create(
            "perf_event" if cookie else "",
            action=f"attach to {event.target}",
            needs=_LINK_SINCE,
            prog_fd=program.fileno(),
            target_fd=event.fileno(),
            attach_type=AttachType.PERF_EVENT,
            **({"bpf_cookie": cookie} if cookie else {}),
        )
    except NotSupportedError:
        # Only a kernel that is too old leads to the ioctl.
        if facts.kernel_version() >= _LINK_SINCE:
            raise
        return None
    except BpfError as error:
        _explain(error.errno or 0, program, event)
        raise
    return Link(fd, event.target)


def _set_bpf(program: HasFileno, event: PerfEventAttachment, cookie: int) -> None:
    if cookie:
        raise NotSupportedError(f"attach to {event.target} with a cookie", _LINK_SINCE)
    result = perf.set_bpf(event.fileno(), program.fileno())
    if result < 0:
        _explain(-result, program, event)
        perf.fail(-result, f"attach to {event.target}")


def _explain(code: int, program: HasFileno, event: PerfEventAttachment) -> None:
    """Raise the refusal `code` with its meaning, where it has a single one."""
    meaning = _REFUSALS.get(code)
    if code == errno.EINVAL and bpf.prog_type(program.fileno()) == ProgramType.KPROBE:
        meaning = _OF_PROBES
    if meaning is not None:
        action = f"attach {program!r} to {event.target}: {meaning}"
        raise from_errno(code, action) from None
