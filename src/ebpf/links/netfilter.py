"""Programs among the rules of netfilter."""

from __future__ import annotations

import errno

from ebpf._sys.arguments import check_objects
from ebpf.links.base import Link
from ebpf.links.create import check_type, create_link
from ebpf.net.namespace import describe, run_in
from ebpf.net.nfnetlink import FAMILIES
from ebpf.types import AttachType, NetfilterFlags, NetfilterHook, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.links.base import HasFileno
    from ebpf.net.namespace import Namespace
    from ebpf.net.nfnetlink import Family

# The kernel's own priorities at both ends, and that of reassembling fragments.
_FIRST, _LAST = -(1 << 31), (1 << 31) - 1
_DEFRAG_PRIORITY = -400

# What the kernel means when it refuses to attach (bpf_nf_link_attach).
_REFUSALS = {
    errno.EBUSY: "the hook is taken: another BPF program has the same priority there",
    errno.E2BIG: "as many functions as the kernel takes are at the hook already",
    errno.ENOENT: "the kernel has nothing to reassemble fragments (CONFIG_NF_DEFRAG_IPV4 and IPV6)",
}


def attach_netfilter(
    program: HasFileno,
    hook: NetfilterHook,
    family: Family = "ipv4",
    *,
    priority: int = 0,
    defrag: bool = False,
    netns: Namespace | None = None,
) -> Link:
    """Run a NETFILTER program among netfilter's rules: 1 accepts a packet, 0 drops it (6.4).

    Args:
        hook: PRE_ROUTING, LOCAL_IN, FORWARD, LOCAL_OUT or POST_ROUTING.
        family: whose packets.
        priority: the lowest runs first; those of iptables' and nftables' tables are known numbers
            (filter 0, mangle -150, connection tracking -200, nat -100 or 100).
        defrag: have fragments put together before (6.6); `priority` is above -400 then.
        netns: as for `attach_netns`; by default what the calling thread is in.

    Raises:
        BpfError: EBUSY, a BPF program has this priority there; EINVAL, the program is of another
            type.
        NotSupportedError: a kernel before 6.4, or 6.6 with `defrag`.
        ValueError: a family or priority that no kernel takes.
    """
    check_objects(program=program)
    hook = NetfilterHook(hook)
    _check(hook, family, priority, defrag)
    place = f"netfilter {family} {hook.name}, priority {priority}"
    target = place if netns is None else f"{place}, of the {describe(netns)}"
    check_type(program, target, ProgramType.NETFILTER)

    def attach() -> int:
        return create_link(
            program,
            target,
            "netfilter",
            refusals=_REFUSALS,
            attach_type=AttachType.NETFILTER,
            needs=NetfilterFlags.IP_DEFRAG.since if defrag else AttachType.NETFILTER.since,
            pf=FAMILIES[family],
            hooknum=hook,
            priority=priority,
            netfilter_flags=int(NetfilterFlags.IP_DEFRAG) if defrag else 0,
        )

    return Link(run_in(netns, attach), target)


def _check(hook: NetfilterHook, family: str, priority: int, defrag: bool) -> None:
    if hook.since is None:
        names = ", ".join(known.name for known in NetfilterHook)
        raise ValueError(f"hook: {int(hook)} is none of {names}")
    if family not in FAMILIES:
        raise ValueError(f"family: {family!r} is not 'ipv4' or 'ipv6'")
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise TypeError(f"priority: {priority!r} is not an int")
    lowest = _DEFRAG_PRIORITY if defrag else _FIRST
    if not lowest < priority < _LAST:
        between = f"above {lowest} and below {_LAST}"
        raise ValueError(f"priority: {priority} is not {between}{' with defrag' * defrag}")
