"""`ebpf.query`: what is attached to an interface, a cgroup or a network namespace.

attached   AttachedHook, AttachedProgram: what the answers are made of
hooks      asking one hook by PROG_QUERY
interface  all hooks of an interface
cgroup     all hooks of a cgroup
netns      all hooks of a network namespace
"""

from __future__ import annotations

import os
import stat

from ebpf.queries.attached import AttachedHook, AttachedProgram

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.links.base import HasFileno
    from ebpf.net.interface import AnyInterface

__all__ = ["AttachedHook", "AttachedProgram", "query"]


def query(
    target: AnyInterface | os.PathLike[str] | HasFileno, *, effective: bool = False
) -> dict[str, AttachedHook]:
    """What is attached to `target`, by the names that section names give the hooks.

    Args:
        target: one of

            - an interface, by name or index where the calling thread is, or an `Interface`. Its
              hooks: "xdp", "clsact/ingress", "clsact/egress" (and "ingress", of the older qdisc),
              "tcx/ingress", "tcx/egress" (6.6), "netkit/primary", "netkit/peer" (6.7, on the
              primary interface of a pair); "htb/1:", "htb/1:10" and the like, other qdiscs and
              their classes that have filters;
            - a cgroup, by its directory: "cgroup_skb/egress", "cgroup/connect4", "sockops", ...;
            - a network namespace, by its file: "sk_lookup", "flow_dissector", and "netfilter" where
              the kernel tells its functions (CONFIG_NETFILTER_NETLINK_HOOK, programs since 6.4).

            A text with a slash is a path; an object with a descriptor stands for what it is of.
        effective: of a cgroup, all programs that run for what its processes do, also those of the
            cgroups above it; nothing but their ids is known.

    Returns:
        A hook that the kernel has and that has no programs is there, with an empty list; one that
        the kernel does not know, or that the target cannot have, is not.

    Raises:
        BpfFileNotFoundError: ENODEV, there is no such interface; ENOENT, no such file.
        BpfPermissionError: asking takes CAP_NET_ADMIN, and CAP_SYS_ADMIN in a network namespace
            that is not the calling thread's.
        BpfError: EBADF, the directory is no cgroup v2; EINVAL, the file is no network namespace.
    """
    if isinstance(target, os.PathLike) or (isinstance(target, str) and "/" in target):
        return _query_file(target, os.path.isdir(target), effective)
    if isinstance(target, (str, int)) or not hasattr(target, "fileno"):
        from ebpf.queries.interface import query_interface

        _check_effective(effective, False)
        return query_interface(target)
    directory = stat.S_ISDIR(os.fstat(target.fileno()).st_mode)
    return _query_file(target, directory, effective)


def _query_file(
    target: str | os.PathLike[str] | HasFileno, directory: bool, effective: bool
) -> dict[str, AttachedHook]:
    _check_effective(effective, directory)
    if directory:
        from ebpf.queries.cgroup import query_cgroup

        return query_cgroup(target, effective)
    from ebpf.queries.netns import query_netns

    return query_netns(target)


def _check_effective(effective: bool, cgroup: bool) -> None:
    if effective and not cgroup:
        raise TypeError("effective: only a cgroup has programs of others")
