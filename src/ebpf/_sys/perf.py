"""perf_event_open(2), as far as BPF programs are attached through it."""

from __future__ import annotations

import errno
import os
import sys

from ebpf._ffi import ffi, lib
from ebpf._sys import facts
from ebpf.errors import BpfFileNotFoundError, BpfPermissionError, from_errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

# enum perf_type_id, include/uapi/linux/perf_event.h
TYPE_HARDWARE = 0
TYPE_SOFTWARE = 1
TYPE_TRACEPOINT = 2

_PMU = "/sys/bus/event_source/devices"


def pmu_type(name: str) -> int | None:
    """The perf event type of the PMU `name` ("kprobe", "uprobe"), None where there is none.

    Raises:
        BpfFileNotFoundError: sysfs, which would list it, is not mounted.
    """
    try:
        with open(f"{_PMU}/{name}/type", encoding="ascii") as file:
            return int(file.read())
    except FileNotFoundError:
        if not os.path.isdir(_PMU):
            raise BpfFileNotFoundError(
                errno.ENOENT,
                f"find the {name} PMU: {_PMU} does not exist; mount -t sysfs sysfs /sys",
            ) from None
        return None


def pmu_flag(name: str, field: str) -> int:
    """The ``config`` value that sets the one-bit `field` ("retprobe") of the PMU `name`."""
    with open(f"{_PMU}/{name}/format/{field}", encoding="ascii") as file:
        register, _, bit = file.read().strip().partition(":")
    if register != "config":
        raise ValueError(f"{name} PMU: {field} is in {register}, not in config")
    return 1 << int(bit)


def address(buffer: Any) -> int:
    """The address of a cffi buffer."""
    return int(ffi.cast("uintptr_t", buffer))


def text(value: bytes) -> Any:
    """A NUL-terminated buffer for a config field; the caller keeps it alive."""
    return ffi.new("char[]", value)


def _flag(name: str) -> int:
    """The bit field `name` of ``struct perf_event_attr``, in its place in ``flags``."""
    number = int(getattr(lib, f"EBPF_PERF_BIT_{name}"))
    return 1 << (number if sys.byteorder == "little" else 63 - number)


def event_open(
    *,
    type: int,
    config: int = 0,
    config1: int = 0,
    config2: int = 0,
    period: int = 0,
    frequency: int = 0,
    pid: int = -1,
    cpu: int | None = None,
    inherit: bool = False,
) -> int:
    """A perf event's descriptor or -errno. It counts from now on: it is not opened disabled.

    Without `cpu` it is on one that is online: probes and tracepoints are seen on every CPU, on
    whichever one the event is. With `period` it fires each time that many events have happened,
    with `frequency` (Hz) that often in a second. With `inherit` it counts the threads too that the
    thread `pid` starts from now on (5.13).
    """
    attribute = ffi.new("struct ebpf_perf_event_attr *")
    attribute.type = type
    attribute.size = ffi.sizeof("struct ebpf_perf_event_attr")
    attribute.config = config
    attribute.config1 = config1
    attribute.config2 = config2
    attribute.sample_period = frequency or period
    attribute.flags = _flag("FREQ") if frequency else 0
    if inherit:
        attribute.flags |= _flag("INHERIT") | _flag("INHERIT_THREAD")
    # Kernels that know fewer fields take the longer struct, because the rest is zero.
    fd = _open(attribute, pid, cpu or 0)
    if fd == -errno.ENODEV and cpu is None:
        fd = _open(attribute, pid, facts.online_cpus()[0])
    return fd


def _open(attribute: Any, pid: int, cpu: int) -> int:
    """The call, again when a signal interrupted it: a descriptor or -errno.

    That happens while the process `pid` executes a program. The kernel waits until that is over,
    before the event counts: beginning anew loses nothing, however often a signal comes.
    """
    while True:
        # In Python and not in C: signal handlers run between two calls, and may raise.
        fd = int(lib.ebpf_perf_event_open(attribute, pid, cpu, -1, 0))
        if fd != -errno.EINTR:
            return fd


def set_bpf(perf_fd: int, prog_fd: int) -> int:
    """PERF_EVENT_IOC_SET_BPF: 0 or -errno."""
    return int(lib.ebpf_perf_set_bpf(perf_fd, prog_fd))


def fail(code: int, action: str) -> NoReturn:
    """Raise what perf_event_open() or its ioctls refused."""
    if code in (errno.EACCES, errno.EPERM):
        raise BpfPermissionError(
            code,
            f"{action}: {facts.explain_permission()};"
            f" perf_event_paranoid: {facts.perf_event_paranoid()}",
        )
    raise from_errno(code, action)


# ---- perf buffers -------------------------------------------------------------------------------

_COUNT_SW_BPF_OUTPUT = 10
_SAMPLE_TIME, _SAMPLE_RAW = 1 << 2, 1 << 10
_FORMAT_TOTAL_TIME_ENABLED = 1 << 0
_CLOCK_MONOTONIC = 1


def output_open(
    cpu: int, *, timed: bool, backward: bool, wakeup_events: int, wakeup_bytes: int
) -> int:
    """The event that bpf_perf_event_output() writes to on `cpu`: a descriptor or -errno.

    `timed` records have the time of CLOCK_MONOTONIC, which bpf_ktime_get_ns() has too. A reader is
    woken after `wakeup_events` records, or where that is 0 after `wakeup_bytes`.
    """
    attribute = ffi.new("struct ebpf_perf_event_attr *")
    attribute.type = TYPE_SOFTWARE
    attribute.size = ffi.sizeof("struct ebpf_perf_event_attr")
    attribute.config = _COUNT_SW_BPF_OUTPUT
    attribute.sample_period = 1
    attribute.sample_type = _SAMPLE_RAW
    attribute.read_format = _FORMAT_TOTAL_TIME_ENABLED
    attribute.wakeup_events = wakeup_events or wakeup_bytes
    if timed:
        attribute.sample_type |= _SAMPLE_TIME
        attribute.flags |= _flag("USE_CLOCKID")
        attribute.clockid = _CLOCK_MONOTONIC
    if backward:
        attribute.flags |= _flag("WRITE_BACKWARD")
    if not wakeup_events:
        attribute.flags |= _flag("WATERMARK")
    return _open(attribute, -1, cpu)


def output_time(fd: int) -> int:
    """For how many nanoseconds an event of output_open() has been on.

    It stands still from when its CPU was taken away: when the CPU comes back, the event does not.
    """
    # The count, which is of no use, and the time; kernels may refuse it of such an event (ENODEV).
    try:
        data = os.read(fd, 16)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        data = b""
    return int.from_bytes(data[8:], sys.byteorder)
