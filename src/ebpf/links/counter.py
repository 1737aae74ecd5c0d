"""Programs at perf events that count: processor cycles, clocks, page faults, context switches."""

from __future__ import annotations

import contextlib
import errno
import os

from ebpf._sys import facts, perf
from ebpf._sys.arguments import check_number
from ebpf._sys.closing import close_all
from ebpf.errors import (
    BpfError,
    BpfFileNotFoundError,
    BpfProcessLookupError,
    NotSupportedError,
    from_errno,
)
from ebpf.links import perf_event
from ebpf.links.create import check_process, check_type
from ebpf.links.group import LinkGroup
from ebpf.types import PerfHardware, PerfSoftware, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from ebpf.links.base import HasFileno, Link

    Event = PerfHardware | PerfSoftware | tuple[int, int]

# Before, an event would count the processes as well that the thread starts.
_INHERIT_SINCE = (5, 13)

_MAX_RATE = "/proc/sys/kernel/perf_event_max_sample_rate"


def attach_perf_event(
    program: HasFileno,
    event: Event,
    *,
    period: int = 0,
    frequency: int = 0,
    pid: int | None = None,
    cpu: int | None = None,
    cookie: int = 0,
) -> LinkGroup:
    """Run a PERF_EVENT program each time a counter has come so far.

    The program's context is ``struct bpf_perf_event_data``: the registers, the period and an
    address.

    Args:
        event: what is counted: a `PerfHardware`, a `PerfSoftware`, or ``type`` and ``config`` of
            ``struct perf_event_attr`` as a tuple.
        period: run after that many events; for clocks in nanoseconds. Or
        frequency: run about that often a second (Hz), for each CPU or for each thread of `pid`.
        pid: count one process only, on every CPU: an event for each of its threads, which since
            5.13 counts those that this one starts later as well. By default all processes. A thread
            that another starts while the events are made, before that one has its own, is missed;
            where a process starts many, count all and have the program compare process ids.
        cpu: count on one CPU only; by default each one that is online now, unless there is `pid`.
            One that goes, also because the machine sleeps, is not counted when it comes back:
            attach anew then.
        cookie: what bpf_get_attach_cookie() returns in the program (5.15). In threads that start
            later it may return 0: the kernel gives them counters without a cookie.

    Raises:
        BpfFileNotFoundError: this machine has no such counter (guests often have no hardware's).
        BpfProcessLookupError: no such process.
        BpfPermissionError: perf_event_paranoid; the message has it.
        BpfError: ENODEV, no such CPU; EINVAL, a frequency above the kernel's limit, or the
            program is of another type; EBUSY, EMFILE, no counter or descriptor is free.
        NotSupportedError: the counter can't interrupt, so no program can run at it, or the cookie
            on a kernel before 5.15.
    """
    type, config = _numbers(event)
    check_number("period", period, 63)
    check_number("frequency", frequency, 63)
    check_number("cookie", cookie, 64)
    if (not period) == (not frequency):
        raise ValueError("attach_perf_event: give either period or frequency, more than 0")
    if pid is not None:
        check_process("pid", pid)
    target = f"perf event {_name(event)}"
    check_type(program, target, ProgramType.PERF_EVENT)

    def attach(place: tuple[int, int]) -> Link:
        thread, cpu = place
        where = target if cpu < 0 else f"{target} on CPU {cpu}"
        fd = perf.event_open(
            type=type,
            config=config,
            period=period,
            frequency=frequency,
            pid=thread,
            cpu=cpu,
            inherit=thread >= 0 and facts.kernel_version() >= _INHERIT_SINCE,
        )
        if fd < 0:
            _failed(-fd, where, cpu, frequency)
        return perf_event.attach(program, fd, where, cookie)

    if pid is None:
        cpus = facts.online_cpus() if cpu is None else [_checked_cpu(cpu)]
        return LinkGroup.make([(-1, cpu) for cpu in cpus], attach, target)
    where = -1 if cpu is None else _checked_cpu(cpu)
    return _attach_threads(pid, lambda thread: attach((thread, where)), target)


def _checked_cpu(cpu: int) -> int:
    check_number("cpu", cpu, 31)
    return cpu


def _attach_threads(pid: int, attach: Callable[[int], Link], target: str) -> LinkGroup:
    """Attach to every thread of a process: the kernel knows events of threads only."""
    made: list[Link] = []
    try:
        for thread in _threads(pid):
            # One that ended meanwhile has nothing to count.
            with contextlib.suppress(ProcessLookupError):
                made.append(attach(thread))
    except BaseException:
        close_all(made)
        raise
    if not made:
        raise BpfProcessLookupError(errno.ESRCH, f"attach to {target}: process {pid} has ended")
    return LinkGroup(made, target)


def _threads(pid: int) -> list[int]:
    facts.need_proc(f"find out which threads process {pid} has")
    try:
        return sorted(map(int, os.listdir(f"/proc/{pid}/task")))
    except OSError as error:
        code = errno.ESRCH if error.errno == errno.ENOENT else error.errno or 0
        raise from_errno(code, f"pid: find out which threads process {pid} has") from None


def _numbers(event: Event) -> tuple[int, int]:
    if isinstance(event, PerfHardware):
        return perf.TYPE_HARDWARE, int(event)
    if isinstance(event, PerfSoftware):
        return perf.TYPE_SOFTWARE, int(event)
    if not isinstance(event, tuple) or len(event) != 2:
        raise TypeError(f"event: {event!r} is no PerfHardware, PerfSoftware or (type, config)")
    check_number("event[0]", event[0], 32)
    check_number("event[1]", event[1], 64)
    return event


def _name(event: Event) -> str:
    if isinstance(event, tuple):
        return f"type {event[0]} config {event[1]:#x}"
    return event.name.lower()


def _failed(code: int, target: str, cpu: int, frequency: int) -> NoReturn:
    action = f"open {target}"
    if code == errno.ENOENT:
        raise BpfFileNotFoundError(
            code, f"{action}: this machine has no such counter; a software event has one anywhere"
        )
    if code == errno.EOPNOTSUPP:
        raise NotSupportedError(f"{action}: this counter raises no interrupts here", None, code)
    if code in (errno.ENODEV, errno.EINVAL) and cpu >= 0 and cpu not in facts.online_cpus():
        raise BpfError(errno.ENODEV, f"{action}: no CPU {cpu} is online")
    if code == errno.EINVAL and frequency:
        with open(_MAX_RATE, encoding="ascii") as file:
            limit = int(file.read())
        if frequency > limit:
            raise BpfError(code, f"{action}: {frequency} Hz, and {_MAX_RATE} allows {limit}")
    if code == errno.EBUSY:
        raise from_errno(code, f"{action}: every counter of the processor is in use")
    perf.fail(code, action)
