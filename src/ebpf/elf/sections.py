"""What the name of a program's section says: the type of the program, and where it attaches.

The names are those that libbpf 1.8 accepts (``section_defs`` of its libbpf.c); a test compares
them with what its newest release in Debian answers. A pattern that ends in ``+`` takes the name
alone or the name, a slash and a target; any other is the whole name.
"""

from __future__ import annotations

from ebpf.plain import NamedTuple
from ebpf.types import AttachType as A
from ebpf.types import ProgramFlags
from ebpf.types import ProgramType as P

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.errors import Version


class SectionDefinition(NamedTuple):
    """One row of the table.

    ``attach_type`` is None where libbpf has none. ``attach`` names the way to attach:
    ``"kprobe"``, ``"uretprobe_multi"``, ``"cgroup"``. ``btf_target`` says that the kernel must
    know at load which function, hook or program the program is for. ``since`` is the libbpf
    release that introduced the name, and None before 1.0.
    """

    pattern: str
    type: P
    attach_type: A | None
    attach: str
    flags: ProgramFlags = ProgramFlags(0)
    btf_target: bool = False
    since: Version | None = None


class SectionName(NamedTuple):
    """A program's section name, taken apart.

    ``name`` has no leading ``?``, which turns ``autoload`` off; ``target`` is what follows the
    slash after a ``+`` pattern. ``definition`` is None for a name that libbpf does not know.
    """

    name: str
    autoload: bool
    target: str
    definition: SectionDefinition | None


_S = ProgramFlags.SLEEPABLE
_F = ProgramFlags.XDP_HAS_FRAGS


def _row(
    pattern: str,
    type: P,
    attach_type: A | None = None,
    attach: str = "",
    *,
    flags: ProgramFlags = ProgramFlags(0),  # noqa: B008
    btf: bool = False,
    since: Version | None = None,
) -> SectionDefinition:
    attach = attach or pattern.rstrip("+").partition("/")[0]
    return SectionDefinition(pattern, type, attach_type, attach, flags, btf, since)


# Where the sleepable variant is younger than the other.
_SLEEPABLE_SINCE: dict[str, Version] = {
    "usdt+": (1, 3),
    "tp_btf+": (1, 8),
    "tp+": (1, 8),
    "tracepoint+": (1, 8),
    "raw_tp+": (1, 8),
    "raw_tracepoint+": (1, 8),
}


def _sleepable(row: SectionDefinition) -> SectionDefinition:
    """The row of the sleepable variant: ``fentry.s+`` for ``fentry+``."""
    return row._replace(
        pattern=row.pattern[:-1] + ".s+",
        flags=row.flags | _S,
        since=_SLEEPABLE_SINCE.get(row.pattern, row.since),
    )


def _cgroup(name: str, type: P, attach_type: A) -> SectionDefinition:
    since = (1, 3) if name.endswith("_unix") else None
    return _row(f"cgroup/{name}", type, attach_type, "cgroup", since=since)


_UPROBES = [
    _row("uprobe+", P.KPROBE),
    _row("uretprobe+", P.KPROBE),
    _row("usdt+", P.KPROBE),
    _row("uprobe.multi+", P.KPROBE, A.TRACE_UPROBE_MULTI, "uprobe_multi", since=(1, 3)),
    _row("uretprobe.multi+", P.KPROBE, A.TRACE_UPROBE_MULTI, "uretprobe_multi", since=(1, 3)),
    _row("uprobe.session+", P.KPROBE, A.TRACE_UPROBE_SESSION, "uprobe_session", since=(1, 6)),
]

_TRACING = [
    _row("tp_btf+", P.TRACING, A.TRACE_RAW_TP, btf=True),
    _row("fentry+", P.TRACING, A.TRACE_FENTRY, btf=True),
    _row("fmod_ret+", P.TRACING, A.MODIFY_RETURN, btf=True),
    _row("fexit+", P.TRACING, A.TRACE_FEXIT, btf=True),
    _row("fsession+", P.TRACING, A.TRACE_FSESSION, btf=True, since=(1, 7)),
    _row("fentry.multi+", P.TRACING, A.TRACE_FENTRY_MULTI, "fentry_multi", since=(1, 8)),
    _row("fexit.multi+", P.TRACING, A.TRACE_FEXIT_MULTI, "fexit_multi", since=(1, 8)),
    _row("fsession.multi+", P.TRACING, A.TRACE_FSESSION_MULTI, "fsession_multi", since=(1, 8)),
    _row("lsm+", P.LSM, A.LSM_MAC, btf=True),
    _row("iter+", P.TRACING, A.TRACE_ITER, btf=True),
]

_TRACEPOINTS = [
    _row("tracepoint+", P.TRACEPOINT),
    _row("tp+", P.TRACEPOINT, attach="tracepoint"),
]

_RAW_TRACEPOINTS = [
    _row("raw_tracepoint+", P.RAW_TRACEPOINT),
    _row("raw_tp+", P.RAW_TRACEPOINT, attach="raw_tracepoint"),
]

_ADDRESS_HOOKS: list[tuple[str, A]] = [
    ("bind4", A.CGROUP_INET4_BIND),
    ("bind6", A.CGROUP_INET6_BIND),
    ("connect4", A.CGROUP_INET4_CONNECT),
    ("connect6", A.CGROUP_INET6_CONNECT),
    ("connect_unix", A.CGROUP_UNIX_CONNECT),
    ("sendmsg4", A.CGROUP_UDP4_SENDMSG),
    ("sendmsg6", A.CGROUP_UDP6_SENDMSG),
    ("sendmsg_unix", A.CGROUP_UNIX_SENDMSG),
    ("recvmsg4", A.CGROUP_UDP4_RECVMSG),
    ("recvmsg6", A.CGROUP_UDP6_RECVMSG),
    ("recvmsg_unix", A.CGROUP_UNIX_RECVMSG),
    ("getpeername4", A.CGROUP_INET4_GETPEERNAME),
    ("getpeername6", A.CGROUP_INET6_GETPEERNAME),
    ("getpeername_unix", A.CGROUP_UNIX_GETPEERNAME),
    ("getsockname4", A.CGROUP_INET4_GETSOCKNAME),
    ("getsockname6", A.CGROUP_INET6_GETSOCKNAME),
    ("getsockname_unix", A.CGROUP_UNIX_GETSOCKNAME),
]

SECTION_DEFINITIONS: tuple[SectionDefinition, ...] = (
    _row("socket", P.SOCKET_FILTER),
    _row("sk_reuseport/migrate", P.SK_REUSEPORT, A.SK_REUSEPORT_SELECT_OR_MIGRATE),
    _row("sk_reuseport", P.SK_REUSEPORT, A.SK_REUSEPORT_SELECT),
    _row("kprobe+", P.KPROBE),
    _row("kretprobe+", P.KPROBE),
    _row("kprobe.multi+", P.KPROBE, A.TRACE_KPROBE_MULTI, "kprobe_multi"),
    _row("kretprobe.multi+", P.KPROBE, A.TRACE_KPROBE_MULTI, "kretprobe_multi"),
    _row("kprobe.session+", P.KPROBE, A.TRACE_KPROBE_SESSION, "kprobe_session", since=(1, 5)),
    _row("ksyscall+", P.KPROBE),
    _row("kretsyscall+", P.KPROBE),
    *_UPROBES,
    *map(_sleepable, _UPROBES),
    _row("tc/ingress", P.SCHED_CLS, A.TCX_INGRESS, "tcx", since=(1, 3)),
    _row("tc/egress", P.SCHED_CLS, A.TCX_EGRESS, "tcx", since=(1, 3)),
    _row("tcx/ingress", P.SCHED_CLS, A.TCX_INGRESS, since=(1, 3)),
    _row("tcx/egress", P.SCHED_CLS, A.TCX_EGRESS, since=(1, 3)),
    _row("tc", P.SCHED_CLS),
    _row("classifier", P.SCHED_CLS, attach="tc"),
    _row("action", P.SCHED_ACT, attach="tc_action"),
    _row("netkit/primary", P.SCHED_CLS, A.NETKIT_PRIMARY, since=(1, 3)),
    _row("netkit/peer", P.SCHED_CLS, A.NETKIT_PEER, since=(1, 3)),
    *_TRACEPOINTS,
    *map(_sleepable, _TRACEPOINTS),
    *_RAW_TRACEPOINTS,
    *map(_sleepable, _RAW_TRACEPOINTS),
    _row("raw_tracepoint.w+", P.RAW_TRACEPOINT_WRITABLE, attach="raw_tracepoint"),
    _row("raw_tp.w+", P.RAW_TRACEPOINT_WRITABLE, attach="raw_tracepoint"),
    *_TRACING,
    *map(_sleepable, _TRACING),
    _row("freplace+", P.EXT, btf=True),
    _row("lsm_cgroup+", P.LSM, A.LSM_CGROUP, btf=True),
    _row("syscall", P.SYSCALL, flags=_S),
    _row("xdp.frags/devmap", P.XDP, A.XDP_DEVMAP, "xdp_devmap", flags=_F),
    _row("xdp/devmap", P.XDP, A.XDP_DEVMAP, "xdp_devmap"),
    _row("xdp.frags/cpumap", P.XDP, A.XDP_CPUMAP, "xdp_cpumap", flags=_F),
    _row("xdp/cpumap", P.XDP, A.XDP_CPUMAP, "xdp_cpumap"),
    _row("xdp.frags", P.XDP, A.XDP, "xdp", flags=_F),
    _row("xdp", P.XDP, A.XDP),
    _row("perf_event", P.PERF_EVENT),
    _row("lwt_in", P.LWT_IN, attach="lwt"),
    _row("lwt_out", P.LWT_OUT, attach="lwt"),
    _row("lwt_xmit", P.LWT_XMIT, attach="lwt"),
    _row("lwt_seg6local", P.LWT_SEG6LOCAL, attach="lwt"),
    _row("sockops", P.SOCK_OPS, A.CGROUP_SOCK_OPS, "cgroup"),
    _row("sk_skb/stream_parser", P.SK_SKB, A.SK_SKB_STREAM_PARSER),
    _row("sk_skb/stream_verdict", P.SK_SKB, A.SK_SKB_STREAM_VERDICT),
    _row("sk_skb/verdict", P.SK_SKB, A.SK_SKB_VERDICT, since=(1, 4)),
    _row("sk_skb", P.SK_SKB),
    _row("sk_msg", P.SK_MSG, A.SK_MSG_VERDICT),
    _row("lirc_mode2", P.LIRC_MODE2, A.LIRC_MODE2),
    _row("flow_dissector", P.FLOW_DISSECTOR, A.FLOW_DISSECTOR),
    _row("cgroup_skb/ingress", P.CGROUP_SKB, A.CGROUP_INET_INGRESS, "cgroup"),
    _row("cgroup_skb/egress", P.CGROUP_SKB, A.CGROUP_INET_EGRESS, "cgroup"),
    _row("cgroup/skb", P.CGROUP_SKB),
    _cgroup("sock_create", P.CGROUP_SOCK, A.CGROUP_INET_SOCK_CREATE),
    _cgroup("sock_release", P.CGROUP_SOCK, A.CGROUP_INET_SOCK_RELEASE),
    _cgroup("sock", P.CGROUP_SOCK, A.CGROUP_INET_SOCK_CREATE),
    _cgroup("post_bind4", P.CGROUP_SOCK, A.CGROUP_INET4_POST_BIND),
    _cgroup("post_bind6", P.CGROUP_SOCK, A.CGROUP_INET6_POST_BIND),
    *(_cgroup(name, P.CGROUP_SOCK_ADDR, hook) for name, hook in _ADDRESS_HOOKS),
    _cgroup("sysctl", P.CGROUP_SYSCTL, A.CGROUP_SYSCTL),
    _cgroup("getsockopt", P.CGROUP_SOCKOPT, A.CGROUP_GETSOCKOPT),
    _cgroup("setsockopt", P.CGROUP_SOCKOPT, A.CGROUP_SETSOCKOPT),
    _cgroup("dev", P.CGROUP_DEVICE, A.CGROUP_DEVICE),
    _row("struct_ops+", P.STRUCT_OPS),
    _row("struct_ops.s+", P.STRUCT_OPS, attach="struct_ops", flags=_S, since=(1, 2)),
    _row("sk_lookup", P.SK_LOOKUP, A.SK_LOOKUP),
    _row("netfilter", P.NETFILTER, A.NETFILTER, since=(1, 3)),
)

_BY_PATTERN = {row.pattern: row for row in SECTION_DEFINITIONS}


def parse_section_name(section: str) -> SectionName:
    """Takes the name of a program's section apart; any name is accepted."""
    autoload = not section.startswith("?")
    name = section if autoload else section[1:]
    head, _, extra = name.partition("/")
    definition = _BY_PATTERN.get(head + "+")
    if definition is not None:
        return SectionName(name, autoload, extra, definition)
    # A pattern with its + as a section name is nothing that libbpf knows.
    definition = None if name.endswith("+") else _BY_PATTERN.get(name)
    return SectionName(name, autoload, "", definition)
