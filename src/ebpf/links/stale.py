"""Removing what processes that are gone have left behind."""

from __future__ import annotations

from ebpf.errors import BpfFileNotFoundError, EbpfError
from ebpf.links.cgroup_attachment import remove_stale_cgroup_programs
from ebpf.links.lwt import remove_stale_routes
from ebpf.links.struct_ops import remove_stale_struct_ops
from ebpf.links.tc import remove_stale_filters
from ebpf.links.tracefs_event import remove_stale_events
from ebpf.links.xdp_netlink import remove_stale_xdp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ebpf.net.namespace import Namespace


def cleanup(netns: Namespace | None = None) -> list[str]:
    """Remove what this library attached for processes that are gone; what was removed.

    A process that ends by itself leaves nothing, but for an event in tracefs that a forked child
    still has; one that SIGKILL ended does, or SIGTERM where the program does not handle it.

    BPF links need none of it: the kernel ends them with the process. It is for XDP over netlink,
    clsact filters and routes with programs of one network namespace, for programs of cgroups that
    were attached without a link (``mode=``), for functions that are registered without one
    (``.struct_ops``), and for names in tracefs. What others attached, or processes that are there,
    is left alone, also where it is the same program again; of another pid namespace (a container)
    only the initial one can tell that nobody is there any more.

    Args:
        netns: the network namespace, as for `ebpf.Interface`; by default the calling thread's.

    Raises:
        BpfPermissionError: it takes CAP_NET_ADMIN, and CAP_SYS_ADMIN for XDP over netlink, cgroups,
            functions and another namespace. Of several failures it is the first; what can be
            removed was.
    """
    removed: list[str] = []
    failed: list[EbpfError] = []
    steps: tuple[Callable[[], list[str]], ...] = (
        lambda: remove_stale_xdp(netns),
        lambda: remove_stale_filters(netns),
        lambda: remove_stale_routes(netns),
        remove_stale_cgroup_programs,
        remove_stale_struct_ops,
        _remove_events,
    )
    for step in steps:
        try:
            removed += step()
        except EbpfError as error:
            failed.append(error)
    if failed:
        raise failed[0]
    return removed


def _remove_events() -> list[str]:
    try:
        return [f"event {name}" for name in remove_stale_events()]
    except BpfFileNotFoundError:
        # No tracefs, no events.
        return []
