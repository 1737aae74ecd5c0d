"""The hooks of network interfaces, as tests/kernel/links/hooks.py has those of tracing."""

from __future__ import annotations

import os
from typing import Any

import pytest

from ebpf import (
    AttachType,
    HashMap,
    Interface,
    Link,
    Program,
    ProgramFlags,
    ProgramType,
    XdpAction,
    XdpMode,
)
from ebpf.asm import (
    R0,
    R1,
    R2,
    R10,
    Label,
    add,
    atomic_add,
    call,
    exit_,
    jeq,
    ld_map_fd,
    mov,
    stw,
)
from tests.kernel import environment
from tests.kernel.links.hooks import Hook
from tests.kernel.net.network import NetkitNetwork, Network

# Older kernels say what they lack by themselves.
NETKIT = (
    (pytest.mark.needs_config("CONFIG_NETKIT"),) if environment.kernel_version() >= (6, 7) else ()
)

_networks: dict[type[Network], Network] = {}


def network(kind: type[Network] = Network) -> Network:
    """The network of this process; `forget_networks` ends it."""
    if kind not in _networks:
        _networks[kind] = kind()
    return _networks[kind]


def forget_networks() -> None:
    """Remove what `network` has made."""
    while _networks:
        _networks.popitem()[1].close()


def near(kind: type[Network] = Network) -> Interface:
    return Interface("near0", netns=network(kind).near)


def far() -> Interface:
    return Interface("far0", netns=network().far)


def netkit() -> Interface:
    """The primary interface of the pair; the library's word where this kernel has no netkit."""
    if environment.kernel_version() < (6, 7):
        with load_counting(ProgramType.SCHED_CLS, 0) as program:
            program.attach_netkit("lo", AttachType.NETKIT_PRIMARY)
    return near(NetkitNetwork)


def packet(link: Link | None) -> None:
    """A datagram that arrives, so that every program on its way has run."""
    network().deliver()


def netkit_packet(link: Link | None) -> None:
    if NetkitNetwork in _networks:
        network(NetkitNetwork).deliver()


def load_counting(
    type: ProgramType, returns: int, counts: HashMap[int, int] | None = None, **options: Any
) -> Program:
    """A program that returns a number, and counts its runs for the process that loads it.

    Which process a packet is from, such programs cannot know.
    """
    counting: list[Any] = []
    if counts is not None:
        counts[os.getpid()] = counts.lookup(os.getpid()) or 0
        counting = [
            stw(R10 - 4, os.getpid()),
            ld_map_fd(R1, counts),
            mov(R2, R10),
            add(R2, -4),
            call("map_lookup_elem"),
            jeq(R0, 0, "end"),
            mov(R1, 1),
            atomic_add(R0 + 0, R1),
        ]
    insns = [*counting, Label("end"), mov(R0, returns), exit_()]
    return Program.load(type, insns, license="GPL", name="counts", **options)


def counting(type: ProgramType, returns: int, **options: Any) -> Any:
    return lambda counts: load_counting(type, returns, counts, **options)


def xdp(mode: XdpMode, **options: Any) -> Hook:
    return Hook(
        counting(ProgramType.XDP, XdpAction.PASS, **options),
        lambda p: p.attach_xdp(far(), mode=mode),
        packet,
        cleanup=forget_networks,
    )


def xdp_netlink() -> Hook:
    return Hook(
        counting(ProgramType.XDP, XdpAction.PASS),
        lambda p: p.attach_xdp_netlink(far(), mode=XdpMode.DRIVER),
        packet,
        cleanup=forget_networks,
        stale=lambda: network().far,
    )


def tcx(hook: AttachType) -> Hook:
    interface = far if hook == AttachType.TCX_INGRESS else near
    return Hook(
        counting(ProgramType.SCHED_CLS, -1),
        lambda p: p.attach_tcx(interface(), hook),
        packet,
        cleanup=forget_networks,
    )


def at_netkit(hook: AttachType) -> Hook:
    return Hook(
        counting(ProgramType.SCHED_CLS, -1),
        lambda p: p.attach_netkit(netkit(), hook),
        netkit_packet if hook == AttachType.NETKIT_PRIMARY else netkit_answer,
        marks=NETKIT,
        cleanup=forget_networks,
    )


def netkit_answer(link: Link | None) -> None:
    """A datagram in the other direction."""
    if NetkitNetwork in _networks:
        network(NetkitNetwork).deliver_back()


def clsact(direction: str) -> Hook:
    interface = far if direction == "ingress" else near
    return Hook(
        counting(ProgramType.SCHED_CLS, -1),
        lambda p: p.attach_tc(interface(), direction),
        packet,
        cleanup=forget_networks,
        stale=lambda: network().far if direction == "ingress" else network().near,
    )


NETWORK_HOOKS: dict[str, Hook] = {
    "xdp": xdp(XdpMode.DRIVER),
    "xdp, generic": xdp(XdpMode.GENERIC),
    "xdp.frags": xdp(XdpMode.DRIVER, flags=ProgramFlags.XDP_HAS_FRAGS),
    "xdp, netlink": xdp_netlink(),
    "clsact/ingress": clsact("ingress"),
    "clsact/egress": clsact("egress"),
    "tcx/ingress": tcx(AttachType.TCX_INGRESS),
    "tcx/egress": tcx(AttachType.TCX_EGRESS),
    "netkit/primary": at_netkit(AttachType.NETKIT_PRIMARY),
    "netkit/peer": at_netkit(AttachType.NETKIT_PEER),
}
