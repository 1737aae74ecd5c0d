"""Probes that are created in tracefs, for what perf_event_open() cannot ask for.

Such an event has a name and no owner: it stays when the process that made it is killed. So the
names have the process in them, the events go when their attachment is closed or the process ends
by itself, and `remove_stale_events` removes those of processes that are gone.
"""

from __future__ import annotations

import errno
import os
import re
import weakref
from itertools import count

from ebpf import tracefs
from ebpf._sys import facts, perf
from ebpf._sys.closing import close_all
from ebpf.errors import BpfError, BpfPermissionError, from_errno
from ebpf.links import perf_event
from ebpf.links.at_exit import at_exit
from ebpf.links.base import Link
from ebpf.links.group import LinkGroup
from ebpf.links.owner import MARK, is_gone, mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ebpf.links.base import HasFileno

_FILE = "kprobe_events"

# The group of all events of this library.
GROUP = "ebpf"

_NAME = re.compile(rf"({MARK})_\d+")

# Events of this process, by name; removed when it ends.
_own: dict[str, TracefsEvent] = {}
# One for each event, whatever thread creates it.
_numbers = count(1)


class TracefsEvent:
    """An event ``ebpf/<name>`` of kprobe_events, until it is removed."""

    def __init__(self, file: str, name: str) -> None:
        self.file = file
        self.name = name
        # Without keeping it: a link that nobody holds any more is to be collected.
        self._link: Callable[[], TracefsLink | None] = lambda: None

    def attach(self, program: HasFileno, target: str, cookie: int) -> Link:
        """Attach `program`; the event is removed when that ends."""
        try:
            number = tracefs.tracepoint_id(GROUP, self.name)
            fd = perf.event_open(type=perf.TYPE_TRACEPOINT, config=number)
            if fd < 0:
                perf.fail(-fd, f"open {target}")
            link = TracefsLink(perf_event.attach(program, fd, target, cookie), self, target)
        except BaseException:
            self.remove()
            raise
        self._link = weakref.ref(link)
        return link

    def close(self) -> None:
        """Detach and remove, when the process ends."""
        link = self._link()
        if link is None:
            self.remove()
        else:
            link.close()

    def remove(self) -> None:
        """Remove the event; the second time does nothing.

        One whose link is pinned, or held by a forked child, stays: it is tried again when the
        process ends.
        """
        if _own.pop(self.name, None) is not None and not _remove(self.file, self.name):
            _own[self.name] = self


class TracefsLink(LinkGroup):
    """An attachment to an event of tracefs, which goes with it."""

    def __init__(self, link: Link, event: TracefsEvent, target: str) -> None:
        super().__init__([link], target)
        self._event = event

    def close(self) -> None:
        """Detach, and remove the event. Closing twice does nothing."""
        super().close()
        self._event.remove()


def create(type: str, place: str) -> TracefsEvent:
    """Create the event, a kprobe of the `type` "p", "r" or "r<maxactive>".

    Raises:
        BpfError: what the kernel refused.
        BpfFileNotFoundError, BpfPermissionError: there is no tracefs, or not for this process.
    """
    number = next(_numbers)
    file = os.path.join(tracefs.find(), _FILE)
    name = f"{mark()}_{number}"
    at_exit(_remove_own)
    event = TracefsEvent(file, name)
    _write(file, f"{type}:{GROUP}/{name} {place}", "create a probe")
    _own[name] = event
    return event


def _remove_own() -> None:
    # Those of a parent are not this process's to remove.
    own = f"p{os.getpid()}_"
    close_all(event for name, event in list(_own.items()) if name.startswith(own))


def remove_stale_events() -> list[str]:
    """Remove the events of this library in tracefs whose process is gone; their names.

    Only a kretprobe with `maxactive` makes such events, and only a process that was killed leaves
    them. They cost nothing while nobody attaches to them; one that a pinned link is attached to
    stays.

    Raises:
        BpfFileNotFoundError, BpfPermissionError: there is no tracefs, or not for this process.
    """
    removed: list[str] = []
    file = os.path.join(tracefs.find(), _FILE)
    if not os.path.exists(file):
        return removed
    for line in tracefs.lines(file):
        group, _, name = line.split()[0].partition(":")[2].partition("/")
        match = _NAME.fullmatch(name)
        stale = group == GROUP and match and is_gone(match[1])
        if stale and _remove(file, name):
            removed.append(name)
    return removed


def _remove(file: str, name: str) -> bool:
    """Remove an event, unless a program is attached to it."""
    try:
        _write(file, f"-:{GROUP}/{name}", "remove a probe")
    except BpfError as error:
        # By a pinned link, a forked child, or a process that has another number here (a container).
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


def _write(file: str, line: str, action: str) -> None:
    try:
        # By hand: what open() does for appending, seeking the end, these files refuse.
        fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(fd, f"{line}\n".encode("ascii"))
        finally:
            os.close(fd)
    except PermissionError as error:
        code = error.errno or errno.EACCES
        why = f"this process may not write {file}; run it as root"
        # Not a matter of the file's mode, but of a kernel that is locked down.
        if code == errno.EPERM:
            why = facts.explain_permission()
        raise BpfPermissionError(code, f"{action}: {why}") from None
    except OSError as error:
        raise from_errno(error.errno or 0, f"write {line!r} to {file}") from None
