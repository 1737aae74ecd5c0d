"""Attaching programs. Every function takes anything with ``fileno()`` and returns a `Link`.

base           Link; PerfEventAttachment for kernels before 5.15
group          LinkGroup: links that were made together
create         what creating any link has in common
arrays         arrays of places and cookies
perf_event     a program on a perf event
tracepoint     attach_tracepoint, attach_raw_tracepoint
kprobe         attach_kprobe, attach_kretprobe, attach_ksyscall, attach_kretsyscall
kprobe_multi   attach_kprobe_multi, attach_kretprobe_multi, attach_kprobe_session
tracefs_event  what takes an event in tracefs; remove_stale_events
uprobe         attach_uprobe, attach_uretprobe
uprobe_multi   attach_uprobe_multi, attach_uretprobe_multi, attach_uprobe_session
usdt           attach_usdt
counter        attach_perf_event
tracing        attach_tracing, attach_lsm, attach_lsm_cgroup, attach_freplace
tracing_multi  attach_tracing_multi
iterator       attach_iter
section        attach_by_section: by the name of an object file's section
functions      functions of the kernel and of programs, by name and pattern
binaries       executables and libraries, and places in them
cgroup         attach_cgroup; naming a cgroup
cgroup_attachment      programs of cgroups without a link
cgroup_hooks   the hooks of a cgroup
netns          attach_netns
lwt            attach_lwt
netfilter      attach_netfilter
sockmap        attach_sockmap
socket         attach_socket_filter, attach_reuseport
order          before and after other programs of a hook
xdp            attach_xdp
xdp_netlink    attach_xdp_netlink
tc             attach_tc
struct_ops     functions that are registered without a link
stale          cleanup: removing what processes that are gone have left
records        files that say who attached what
unlinked       attachments that the kernel keeps without a link
tcx            attach_tcx
netkit         attach_netkit
device         what attachments to interfaces have in common
task_fd        query_task_fd
"""

from __future__ import annotations

from ebpf.links.base import Link, PerfEventAttachment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.links.cgroup import attach_cgroup
    from ebpf.links.cgroup_attachment import CgroupAttachment
    from ebpf.links.counter import attach_perf_event
    from ebpf.links.group import LinkGroup
    from ebpf.links.iterator import IteratorLink, attach_iter
    from ebpf.links.kprobe import (
        attach_kprobe,
        attach_kretprobe,
        attach_kretsyscall,
        attach_ksyscall,
    )
    from ebpf.links.kprobe_multi import (
        attach_kprobe_multi,
        attach_kprobe_session,
        attach_kretprobe_multi,
    )
    from ebpf.links.lwt import LwtRoute, attach_lwt
    from ebpf.links.netfilter import attach_netfilter
    from ebpf.links.netkit import attach_netkit
    from ebpf.links.netns import attach_netns
    from ebpf.links.section import attach_by_section
    from ebpf.links.socket import SocketAttachment, attach_reuseport, attach_socket_filter
    from ebpf.links.sockmap import SockmapAttachment, attach_sockmap
    from ebpf.links.stale import cleanup
    from ebpf.links.task_fd import TaskFd, query_task_fd
    from ebpf.links.tc import TcFilter, attach_tc
    from ebpf.links.tcx import attach_tcx
    from ebpf.links.tracefs_event import remove_stale_events
    from ebpf.links.tracepoint import attach_raw_tracepoint, attach_tracepoint
    from ebpf.links.tracing import attach_freplace, attach_lsm, attach_lsm_cgroup, attach_tracing
    from ebpf.links.tracing_multi import attach_tracing_multi
    from ebpf.links.uprobe import attach_uprobe, attach_uretprobe
    from ebpf.links.uprobe_multi import (
        attach_uprobe_multi,
        attach_uprobe_session,
        attach_uretprobe_multi,
    )
    from ebpf.links.usdt import UsdtSpecs, attach_usdt
    from ebpf.links.xdp import attach_xdp
    from ebpf.links.xdp_netlink import attach_xdp_netlink

__all__ = [
    "CgroupAttachment",
    "IteratorLink",
    "Link",
    "LinkGroup",
    "LwtRoute",
    "PerfEventAttachment",
    "SocketAttachment",
    "SockmapAttachment",
    "TaskFd",
    "TcFilter",
    "UsdtSpecs",
    "attach_by_section",
    "attach_cgroup",
    "attach_freplace",
    "attach_iter",
    "attach_kprobe",
    "attach_kprobe_multi",
    "attach_kprobe_session",
    "attach_kretprobe",
    "attach_kretprobe_multi",
    "attach_kretsyscall",
    "attach_ksyscall",
    "attach_lsm",
    "attach_lsm_cgroup",
    "attach_lwt",
    "attach_netfilter",
    "attach_netkit",
    "attach_netns",
    "attach_perf_event",
    "attach_raw_tracepoint",
    "attach_reuseport",
    "attach_socket_filter",
    "attach_sockmap",
    "attach_tc",
    "attach_tcx",
    "attach_tracepoint",
    "attach_tracing",
    "attach_tracing_multi",
    "attach_uprobe",
    "attach_uprobe_multi",
    "attach_uprobe_session",
    "attach_uretprobe",
    "attach_uretprobe_multi",
    "attach_usdt",
    "attach_xdp",
    "attach_xdp_netlink",
    "cleanup",
    "query_task_fd",
    "remove_stale_events",
]

# Imported by the first program that is attached in this way.
_LAZY = {
    "CgroupAttachment": "cgroup_attachment",
    "IteratorLink": "iterator",
    "LinkGroup": "group",
    "LwtRoute": "lwt",
    "SocketAttachment": "socket",
    "SockmapAttachment": "sockmap",
    "TaskFd": "task_fd",
    "TcFilter": "tc",
    "UsdtSpecs": "usdt",
    "attach_by_section": "section",
    "attach_cgroup": "cgroup",
    "attach_freplace": "tracing",
    "attach_iter": "iterator",
    "attach_kprobe": "kprobe",
    "attach_kprobe_multi": "kprobe_multi",
    "attach_kprobe_session": "kprobe_multi",
    "attach_kretprobe": "kprobe",
    "attach_kretprobe_multi": "kprobe_multi",
    "attach_kretsyscall": "kprobe",
    "attach_ksyscall": "kprobe",
    "attach_lsm": "tracing",
    "attach_lsm_cgroup": "tracing",
    "attach_lwt": "lwt",
    "attach_netfilter": "netfilter",
    "attach_netkit": "netkit",
    "attach_netns": "netns",
    "attach_perf_event": "counter",
    "attach_raw_tracepoint": "tracepoint",
    "attach_reuseport": "socket",
    "attach_socket_filter": "socket",
    "attach_sockmap": "sockmap",
    "attach_tc": "tc",
    "attach_tcx": "tcx",
    "attach_tracepoint": "tracepoint",
    "attach_tracing": "tracing",
    "attach_tracing_multi": "tracing_multi",
    "attach_uprobe": "uprobe",
    "attach_uprobe_multi": "uprobe_multi",
    "attach_uprobe_session": "uprobe_multi",
    "attach_uretprobe": "uprobe",
    "attach_uretprobe_multi": "uprobe_multi",
    "attach_usdt": "usdt",
    "attach_xdp": "xdp",
    "attach_xdp_netlink": "xdp_netlink",
    "cleanup": "stale",
    "query_task_fd": "task_fd",
    "remove_stale_events": "tracefs_event",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    found = getattr(importlib.import_module(f"ebpf.links.{_LAZY[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
