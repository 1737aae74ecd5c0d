"""netkit: programs that a pair of virtual interfaces runs for what goes through it (6.7)."""

from __future__ import annotations

import errno

from ebpf.errors import BpfError, BpfPermissionError
from ebpf.links.create import check_type
from ebpf.links.device import InterfaceLink, create_interface_link
from ebpf.links.order import order_fields
from ebpf.links.tcx import REFUSALS, hook_of
from ebpf.net import Interface
from ebpf.types import AttachType, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.links.base import HasFileno, Link
    from ebpf.net.interface import AnyInterface

_HOOKS = {AttachType.NETKIT_PRIMARY: "netkit/primary", AttachType.NETKIT_PEER: "netkit/peer"}


def attach_netkit(
    program: HasFileno,
    interface: AnyInterface,
    attach_type: AttachType | None = None,
    *,
    before: HasFileno | None = None,
    after: HasFileno | None = None,
    first: bool = False,
    expected_revision: int = 0,
) -> Link:
    """Run a SCHED_CLS program for what one end of a netkit pair sends (6.7, CONFIG_NETKIT).

    It returns NETKIT_NEXT (-1), NETKIT_PASS (0), NETKIT_DROP (2) or NETKIT_REDIRECT (7).

    Args:
        interface: the primary interface of the pair: a name or index where the calling thread is,
            or an `Interface`.
        attach_type: NETKIT_PRIMARY, for what the primary interface sends, or NETKIT_PEER, for
            what its peer sends; by default what the program was loaded for.
        before, after, first, expected_revision: as for `attach_tcx`.

    Raises:
        BpfFileNotFoundError: ENODEV, there is no such interface; ENOENT, the anchor is not there.
        BpfFileExistsError: the program is attached there already.
        BpfPermissionError: EACCES, the interface is the peer of the pair.
        BpfError: ENXIO, it is no netkit interface; and those of `attach_tcx`.
        NotSupportedError: a kernel before 6.7.
    """
    hook = hook_of(program, attach_type, _HOOKS)
    found = Interface.of(interface)
    target = f"{_HOOKS[hook]} of {found}"
    check_type(program, target, ProgramType.SCHED_CLS)
    try:
        fd = create_interface_link(
            program,
            found,
            target,
            "netkit",
            refusals=REFUSALS | {errno.ENXIO: f"{found.name} is no netkit interface"},
            needs=(6, 7),
            attach_type=hook,
            **order_fields(before, after, first, expected_revision),
        )
    except BpfError as error:
        if error.errno != errno.EACCES:
            raise
        raise BpfPermissionError(
            errno.EACCES,
            f"attach to {target}: {found.name} is the peer of its pair; attach to the primary"
            f" interface, with {AttachType.NETKIT_PEER.name} for what the peer sends",
        ) from None
    return InterfaceLink(fd, target)
