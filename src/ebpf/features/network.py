"""Probes of links to interfaces, cgroups, sockets and network namespaces.

Each asks for a link to something that is not there: a kernel that looks for it has such links.
"""

from __future__ import annotations

import errno
import os

from ebpf._sys import bpf
from ebpf._sys.cache import cached
from ebpf.errors import BpfError
from ebpf.features.programs import RETURN_0, program_type
from ebpf.types import AttachFlags, AttachType, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


# No interface has this index, no file this descriptor.
_NONE = 0x7FFFFFFF
# The loopback interface of every network namespace.
_LOOPBACK = 1
# XDP_FLAGS_DRV_MODE of <linux/if_link.h>.
_DRIVER_MODE = 1 << 2
# NFPROTO_*: of no protocol.
_NO_FAMILY = 99


@cached
def xdp_link() -> bool:
    """Whether XDP programs are attached by a link (5.9), and not over netlink only."""
    # For an interface that is not there the kernel has EINVAL, as for all that it does not know.
    # The loopback interface is there, and its driver takes no programs.
    known = (errno.EOPNOTSUPP, errno.EEXIST, errno.EBUSY)
    return _links(
        *("XDP", ProgramType.XDP, AttachType.XDP, known),
        target_fd=_LOOPBACK,
        flags=_DRIVER_MODE,
    )


@cached
def tcx() -> bool:
    """Whether there is tcx (6.6), which orders its programs; without it clsact filters do."""
    hook = AttachType.TCX_INGRESS
    return _links("tcx", ProgramType.SCHED_CLS, hook, (errno.ENODEV,), "tcx", target_fd=_NONE)


@cached
def netkit() -> bool:
    """Whether there are programs of netkit interfaces (6.7, CONFIG_NETKIT)."""
    hook = AttachType.NETKIT_PRIMARY
    known = (errno.ENODEV,)
    return _links("netkit", ProgramType.SCHED_CLS, hook, known, "netkit", target_fd=_NONE)


@cached
def netfilter_link() -> bool:
    """Whether there are netfilter programs (6.4, CONFIG_NETFILTER_BPF_LINK)."""
    hook = AttachType.NETFILTER
    known = (errno.EAFNOSUPPORT,)
    return _links("netfilter", ProgramType.NETFILTER, hook, known, "netfilter", pf=_NO_FAMILY)


@cached
def cgroup_link() -> bool:
    """Whether programs of cgroups are attached by links (5.7, CONFIG_CGROUP_BPF)."""
    return _cgroup_link(0)


@cached
def cgroup_order() -> bool:
    """Whether links to cgroups take an order, ``before`` or ``after`` others (6.17)."""
    return _cgroup_link(int(AttachFlags.BEFORE))


def _cgroup_link(flags: int) -> bool:
    hook = AttachType.CGROUP_INET_EGRESS
    known = (errno.EBADF,)
    return _links("cgroups", ProgramType.CGROUP_SKB, hook, known, target_fd=_NONE, flags=flags)


@cached
def netns_link() -> bool:
    """Whether links attach socket lookup to network namespaces (SK_LOOKUP, 5.9)."""
    hook = AttachType.SK_LOOKUP
    known = (errno.EBADF,)
    return _links("network namespaces", ProgramType.SK_LOOKUP, hook, known, target_fd=_NONE)


@cached
def sockmap_link() -> bool:
    """Whether links attach programs to maps of sockets (6.10), and not PROG_ATTACH only."""
    hook = AttachType.SK_MSG_VERDICT
    return _links("maps of sockets", ProgramType.SK_MSG, hook, (errno.EBADF,), target_fd=_NONE)


# Of types that are loaded for a hook.
_LOADED_FOR = (ProgramType.SK_LOOKUP, ProgramType.NETFILTER, ProgramType.CGROUP_SKB)


def _links(
    what: str,
    type: ProgramType,
    hook: AttachType,
    known: tuple[int, ...],
    variant: str = "",
    **fields: Any,
) -> bool:
    """Whether the kernel comes as far as one of the errors `known`."""
    if not program_type(type):
        return False
    action = f"probe links of {what}"
    loaded = bpf.prog_load(
        prog_type=type,
        insns=RETURN_0,
        license=b"GPL\0",
        expected_attach_type=hook if type in _LOADED_FOR else 0,
    )
    prog_fd = loaded.checked(action)
    try:
        fd = bpf.link_create(variant, action, prog_fd=prog_fd, attach_type=hook, **fields)
    except BpfError as error:
        if error.errno in known:
            return True
        if error.errno in (errno.EINVAL, errno.E2BIG, errno.EOPNOTSUPP):
            return False
        raise
    finally:
        os.close(prog_fd)
    os.close(fd)
    raise BpfError(errno.EIO, f"{action}: a link to nothing was created")
