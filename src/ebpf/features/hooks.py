"""Probes of the ways to attach a program."""

from __future__ import annotations

import errno
import os

from ebpf._sys import bpf, perf
from ebpf._sys.cache import cached
from ebpf.errors import BpfError, BpfFileNotFoundError
from ebpf.features.programs import LOG_SIZE, RETURN_0, TARGET_MISSING, program_type, refusal
from ebpf.types import AttachType, ProgramType

# No process has this descriptor: what the kernel finds wrong before it looks the descriptor up
# is not EBADF.
_NO_FD = 0xFFFFFFFF


@cached
def perf_event_link() -> bool:
    """Whether a program is attached to a perf event by a link (BPF_LINK_CREATE, 5.15).

    Without it kprobes, uprobes and tracepoints are attached by ioctl, and cannot be pinned.
    """
    return _perf_event_link_create(0)


@cached
def perf_event_cookie() -> bool:
    """Whether links to perf events take a ``bpf_cookie`` (5.15)."""
    return _perf_event_link_create(1)


def _perf_event_link_create(cookie: int) -> bool:
    loaded = bpf.prog_load(prog_type=ProgramType.TRACEPOINT, insns=RETURN_0, license=b"GPL\0")
    prog_fd = loaded.checked("load a TRACEPOINT program")
    try:
        bpf.link_create(
            "perf_event",
            "probe links to perf events",
            prog_fd=prog_fd,
            target_fd=_NO_FD,
            attach_type=AttachType.PERF_EVENT,
            bpf_cookie=cookie,
        )
    except BpfError as error:
        return _looked_up(error)
    finally:
        os.close(prog_fd)
    raise BpfError(errno.EIO, "probe links to perf events: a link to no event was created")


@cached
def raw_tracepoint_cookie() -> bool:
    """Whether BPF_RAW_TRACEPOINT_OPEN takes a ``cookie`` (6.10)."""
    action = "probe cookies of raw tracepoints"
    try:
        bpf.raw_tracepoint_open(b"sys_enter", _NO_FD, 1, action)
    except BpfError as error:
        return _looked_up(error)
    raise BpfError(errno.EIO, f"{action}: a program that is none was attached")


def _looked_up(error: BpfError) -> bool:
    """Whether the kernel came as far as looking up the descriptor that is none."""
    if error.errno == errno.EBADF:
        return True
    # EOPNOTSUPP: without CONFIG_PERF_EVENTS there is nothing to link to.
    if error.errno in (errno.EINVAL, errno.E2BIG, errno.EOPNOTSUPP):
        return False
    raise error


@cached
def fentry() -> bool:
    """Whether fentry programs are verified (TRACING for TRACE_FENTRY; fexit and fmod_ret alike).

    False as well where the kernel refuses them to a process that may load tp_btf programs. Which
    functions take one is another matter, and loading for a function answers it.
    """
    return _verified(ProgramType.TRACING, AttachType.TRACE_FENTRY)


@cached
def lsm() -> bool:
    """Whether LSM programs are verified (LSM for LSM_MAC, CONFIG_BPF_LSM).

    False as well where the kernel refuses them to a process that may load tp_btf programs. They
    are run only where "bpf" is among the active security modules, too.
    """
    return _verified(ProgramType.LSM, AttachType.LSM_MAC)


def _verified(type: ProgramType, attach_type: AttachType) -> bool:
    """Whether the verifier comes as far as missing what the program attaches to."""
    loaded = bpf.prog_load(
        LOG_SIZE,
        prog_type=type,
        insns=RETURN_0,
        license=b"GPL\0",
        expected_attach_type=attach_type,
    )
    code, text = TARGET_MISSING[type]
    log = loaded.log.decode("utf-8", "replace")
    if loaded.result == -code:
        if text in log:
            return True
        if not log:
            return False  # the type is unknown, or not built
    # tp_btf programs take the same capabilities: who may load those is refused for the hook.
    if loaded.result == -errno.EPERM and not log and program_type(ProgramType.TRACING):
        return False
    raise refusal(loaded, log, f"probe {type.name} programs for {attach_type.name}")


@cached
def kprobe_pmu() -> bool:
    """Whether kprobes can be opened as perf events (CONFIG_KPROBE_EVENTS, 4.17).

    Read from /sys/bus/event_source.

    Raises:
        BpfFileNotFoundError: sysfs is not mounted at /sys.
    """
    if perf.pmu_type("kprobe") is not None:
        return True
    if not os.path.isdir("/sys/kernel"):
        raise BpfFileNotFoundError(
            errno.ENOENT, "probe the kprobe PMU: no sysfs at /sys; mount -t sysfs sysfs /sys"
        )
    return False
