"""The hooks of network interfaces, as tests/kernel/links/hooks.py has those of tracing."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

import pytest

from ebpf import (
    AttachType,
    DescriptorArray,
    HashMap,
    Interface,
    Link,
    Map,
    MapType,
    Program,
    ProgramFlags,
    ProgramType,
    XdpAction,
    XdpMode,
    XskSocket,
)
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
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
from tests.kernel.links.hooks import Counts, Hook
from tests.kernel.net.network import PATIENCE, NetkitNetwork, Network

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
    type: ProgramType,
    returns: int | list[Any],
    counts: HashMap[int, int] | None = None,
    **options: Any,
) -> Program:
    """A program that returns a number, and counts its runs for the process that loads it.

    Which process a packet is from, such programs cannot know. Instead of the number there may be
    instructions that leave it in R0.
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
    answer = [mov(R0, returns)] if isinstance(returns, int) else returns
    insns = [*counting, Label("end"), *answer, exit_()]
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


def redirecting(to: Map[Any, Any]) -> list[Any]:
    """bpf_redirect_map(&to, 0, XDP_PASS): what has no place there goes on."""
    return [ld_map_fd(R1, to), mov(R2, 0), mov(R3, XdpAction.PASS), call("redirect_map")]


def attach_redirecting(stack: ExitStack, to: Map[Any, Any]) -> None:
    """Have "far0" redirect to a map; `stack` ends it."""
    redirects = load_counting(ProgramType.XDP, redirecting(to))
    stack.enter_context(redirects).attach_xdp(far(), mode=XdpMode.DRIVER)


def back_by_devmap(program: Program) -> ExitStack:
    """What comes to "far0" leaves there again, by a map whose value has the program."""
    with ExitStack() as stack:
        devices: Map[Any, Any] = Map.create(MapType.DEVMAP, value="2I", max_entries=1)
        stack.enter_context(devices)
        value = (far().index, program.fileno())
        far().inside(lambda: devices.put(0, value))
        # The other end takes redirected frames only when it has a program, too.
        passes = stack.enter_context(load_counting(ProgramType.XDP, XdpAction.PASS))
        passes.attach_xdp(near(), mode=XdpMode.DRIVER)
        attach_redirecting(stack, devices)
        return stack.pop_all()


def packet_back(attached: ExitStack | None) -> None:
    """A datagram that arrives, or comes back while something is attached."""
    if attached is None:
        network().deliver()
        return
    with network().watching() as watching:
        network().send(b"comes back")
        network().first_back(watching, lambda frame: frame.endswith(b"comes back"))


def on_by_cpumap(program: Program) -> ExitStack:
    """What comes to "far0" is taken on by CPU 0, by a map whose value has the program."""
    with ExitStack() as stack:
        processors: Map[Any, Any] = Map.create(MapType.CPUMAP, value="2I", max_entries=1)
        stack.enter_context(processors).put(0, (192, program.fileno()))
        attach_redirecting(stack, processors)
        return stack.pop_all()


# The maps of sockets that the programs here redirect to, that of the last one last.
_sockets: list[DescriptorArray] = []


def load_to_socket(counts: Counts) -> Program:
    """A program that redirects to the socket in the last of `_sockets`."""
    _sockets.append(DescriptorArray.create(type=MapType.XSKMAP, max_entries=1))
    return load_counting(ProgramType.XDP, redirecting(_sockets[-1]), counts)


class ToSocket(ExitStack):
    """A program at "far0", and the socket in this process that it redirects to."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        with ExitStack() as stack:
            self.socket = stack.enter_context(XskSocket(far(), frames=64, zero_copy=False))
            _sockets[-1].put(0, self.socket)
            stack.enter_context(program.attach_xdp(far(), mode=XdpMode.DRIVER))
            self.push(stack.pop_all())


def packet_to_socket(attached: ToSocket | None) -> None:
    """A datagram that arrives, or the frame in Python while something is attached."""
    if attached is None:
        network().deliver()
        return
    network().send(b"to Python")
    (frame,) = attached.socket.receive(1, timeout=PATIENCE)
    assert frame.endswith(b"to Python")


def forget_sockets() -> None:
    forget_networks()
    while _sockets:
        _sockets.pop().close()


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
    "xdp/devmap": Hook(
        counting(ProgramType.XDP, XdpAction.PASS, attach_type=AttachType.XDP_DEVMAP),
        back_by_devmap,
        packet_back,
        cleanup=forget_networks,
    ),
    "xdp/cpumap": Hook(
        counting(ProgramType.XDP, XdpAction.PASS, attach_type=AttachType.XDP_CPUMAP),
        on_by_cpumap,
        packet,
        cleanup=forget_networks,
    ),
    "xdp, XSKMAP": Hook(load_to_socket, ToSocket, packet_to_socket, cleanup=forget_sockets),
    "clsact/ingress": clsact("ingress"),
    "clsact/egress": clsact("egress"),
    "tcx/ingress": tcx(AttachType.TCX_INGRESS),
    "tcx/egress": tcx(AttachType.TCX_EGRESS),
    "netkit/primary": at_netkit(AttachType.NETKIT_PRIMARY),
    "netkit/peer": at_netkit(AttachType.NETKIT_PEER),
}
