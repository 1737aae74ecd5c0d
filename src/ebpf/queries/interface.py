"""All hooks of an interface."""

from __future__ import annotations

import errno
import os

from ebpf.errors import BpfError, BpfFileNotFoundError, NotSupportedError
from ebpf.net import Interface
from ebpf.net.namespace import NAMED
from ebpf.net.netlink import Netlink
from ebpf.net.rtnetlink import CLSACT, bpf_filters, other_filters, xdp_attached
from ebpf.queries.attached import AttachedHook, AttachedProgram
from ebpf.queries.hooks import query_hook
from ebpf.types import AttachType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.net.interface import AnyInterface

_ORDERED = {
    "tcx/ingress": AttachType.TCX_INGRESS,
    "tcx/egress": AttachType.TCX_EGRESS,
    "netkit/primary": AttachType.NETKIT_PRIMARY,
    "netkit/peer": AttachType.NETKIT_PEER,
}

# Kernels that do not know the hook say EINVAL; ENXIO, EACCES: this is no netkit interface, or not
# the primary one of its pair.
_NO_SUCH_HOOK = (errno.EINVAL, errno.ENXIO, errno.EACCES)


def query_interface(interface: AnyInterface) -> dict[str, AttachedHook]:
    """What is attached to `interface`, by hook."""
    found = _named(interface)
    try:
        return _over_netlink(found) | found.inside(lambda: _ordered(found))
    except BpfError as error:
        if error.errno != errno.ENODEV:
            raise
        raise found.missing() from None


def _named(interface: AnyInterface) -> Interface:
    try:
        return Interface.of(interface)
    except BpfFileNotFoundError as error:
        place = f"{NAMED}/{interface}"
        if not isinstance(interface, str) or not os.path.exists(place):
            raise
        hint = f"{error.strerror}; what the network namespace of this name has is query({place!r})"
        raise BpfFileNotFoundError(errno.ENODEV, hint) from None


def _over_netlink(interface: Interface) -> dict[str, AttachedHook]:
    with Netlink(interface) as netlink:
        xdp = [
            AttachedProgram(attached.program_id, mode=attached.mode)
            for attached in xdp_attached(netlink, interface.index, interface.name)
        ]
        hooks = {"xdp": AttachedHook(xdp)}
        for at in CLSACT:
            hooks[f"clsact/{at}"] = AttachedHook([])
        filters = bpf_filters(netlink, interface.index, interface.name)
        filters += other_filters(netlink, interface.index, interface.name)
        for row in filters:
            name = row.qdisc if row.qdisc == "ingress" else f"{row.qdisc}/{row.parent}"
            details = row._asdict()
            program = AttachedProgram(details.pop("program_id"), **details)
            hooks.setdefault(name, AttachedHook([])).programs.append(program)
    return hooks


def _ordered(interface: Interface) -> dict[str, AttachedHook]:
    hooks = {}
    for name, attach_type in _ORDERED.items():
        action = f"ask what {name} of {interface} has"
        try:
            hooks[name] = query_hook(interface.index, attach_type, action)
        except NotSupportedError:
            continue
        except BpfError as error:
            if error.errno not in _NO_SUCH_HOOK:
                raise
    return hooks
