"""Probes of how the kernel was built and set up."""

from __future__ import annotations

import errno
import os

from ebpf._sys import bpf, facts
from ebpf._sys.cache import cached
from ebpf.errors import BpfFileNotFoundError, BpfPermissionError
from ebpf.features.programs import RETURN_0, helper
from ebpf.types import ProgramType

_VMLINUX = "/sys/kernel/btf/vmlinux"


@cached
def kernel_btf() -> bool:
    """Whether the kernel carries its own type information (CONFIG_DEBUG_INFO_BTF, 5.4).

    Raises:
        BpfFileNotFoundError: sysfs is not mounted at /sys.
    """
    if os.path.exists(_VMLINUX):
        return True
    if not os.path.isdir("/sys/kernel"):
        raise BpfFileNotFoundError(
            errno.ENOENT, f"look for {_VMLINUX}: no sysfs at /sys; mount -t sysfs sysfs /sys"
        )
    return False


def memcg_accounting() -> bool:
    """Whether BPF memory is charged to the memory cgroup and not to RLIMIT_MEMLOCK (5.11).

    The kernel shows it nowhere; asked is for bpf_ktime_get_coarse_ns, which the same release
    introduced.
    """
    return helper("ktime_get_coarse_ns", ProgramType.SOCKET_FILTER)


@cached
def jit() -> bool:
    """Whether programs are compiled to machine code (net.core.bpf_jit_enable).

    Found out by loading one, because the setting can be read by root only, and only outside of
    network namespaces.

    Raises:
        BpfPermissionError: the kernel does not show this process the code of programs.
    """
    loaded = bpf.prog_load(prog_type=ProgramType.SOCKET_FILTER, insns=RETURN_0, license=b"GPL\0")
    fd = loaded.checked("load a SOCKET_FILTER program")
    try:
        info = bpf.prog_info(fd)
    finally:
        os.close(fd)
    if not info["xlated_prog_len"]:
        raise BpfPermissionError(
            errno.EPERM, f"probe the JIT: program sizes are hidden: {facts.explain_permission()}"
        )
    return bool(info["jited_prog_len"])
