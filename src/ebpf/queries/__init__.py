"""`ebpf.query`: what is attached to an interface.

attached   AttachedHook, AttachedProgram: what the answers are made of
hooks      asking one hook by PROG_QUERY
interface  all hooks of an interface
"""

from __future__ import annotations

from ebpf.queries.attached import AttachedHook, AttachedProgram

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.net.interface import AnyInterface

__all__ = ["AttachedHook", "AttachedProgram", "query"]


def query(target: AnyInterface) -> dict[str, AttachedHook]:
    """What is attached to `target`, by the names that section names give the hooks.

    Args:
        target: an interface, by name or index where the calling thread is, or an `Interface`. Its
            hooks: "xdp", "clsact/ingress", "clsact/egress" (and "ingress", of the older qdisc),
            "tcx/ingress", "tcx/egress" (6.6), "netkit/primary", "netkit/peer" (6.7, on the
            primary interface of a pair).

    Returns:
        A hook that the kernel has and that has no programs is there, with an empty list; one that
        the kernel does not know, or that the target cannot have, is not.

    Raises:
        BpfFileNotFoundError: ENODEV, there is no such interface.
        BpfPermissionError: asking takes CAP_NET_ADMIN.
    """
    from ebpf.queries.interface import query_interface

    return query_interface(target)
