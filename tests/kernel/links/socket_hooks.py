"""Every hook of sockets and cgroups, as hooks.py has those of tracing programs.

What is attached to here belongs to the test alone, so a program counts whoever passes: in
the map's entry of the process that loaded it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

import pytest

from ebpf import (
    AttachType,
    DescriptorArray,
    Interface,
    Link,
    LinkGroup,
    MapType,
    NetfilterHook,
    Program,
    ProgramType,
)
from ebpf.asm import R0, R1, R2, R3, R4, R6, call, exit_, ld_map_fd, ldxw, mov
from ebpf.links.cgroup_hooks import CGROUP_HOOKS
from tests.kernel import environment
from tests.kernel.links.hooks import (
    Counts,
    Hook,
    Load,
    anywhere,
    cgroup,
    inside_cgroup,
    remove_cgroups,
)
from tests.kernel.net.forwarding import BEYOND, Forwarding
from tests.kernel.net.network import Namespace, Network
from tests.kernel.net.segments import SEGMENT, Segments
from tests.kernel.samples import PASS, count

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}

_A = AttachType


def counting(type: ProgramType, attach_type: AttachType | None = None, returns: int = 1) -> Load:
    """Loads a program that counts its runs for this process, and returns a number."""

    def load(counts: Counts) -> Program:
        body = count(counts)[2 : -len(PASS)]
        insns = [mov(R0, os.getpid()), *body, mov(R0, returns), exit_()]
        return Program.load(type, insns, license="GPL", attach_type=attach_type)

    return load


@contextmanager
def bound(family: int, type: int = socket.SOCK_DGRAM) -> Iterator[socket.socket]:
    """A socket on the loopback interface, or with an address that is no file's."""
    with socket.socket(family, type) as made:
        made.settimeout(60)
        if family == socket.AF_UNIX:
            made.bind(f"\0ebpf-test-{os.getpid()}-{made.fileno()}")
        else:
            made.bind((LOOPBACK[socket.AddressFamily(family)], 0))
        yield made


def sends(family: int) -> Callable[[], object]:
    def call() -> None:
        with bound(family) as receiver, bound(family) as sender:
            sender.sendto(b"1", receiver.getsockname())
            assert receiver.recvfrom(2)[0] == b"1"

    return call


def connects(family: int) -> Callable[[], object]:
    def call() -> None:
        type = socket.SOCK_STREAM if family == socket.AF_UNIX else socket.SOCK_DGRAM
        with bound(family, type) as server, socket.socket(family, type) as client:
            if type == socket.SOCK_STREAM:
                server.listen()
            client.connect(server.getsockname())
            client.getpeername()

    return call


def opens_tcp() -> None:
    with bound(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.listen()
        with socket.create_connection(server.getsockname(), 60):
            server.accept()[0].close()


def sets_option() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        made.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def opens(path: str) -> Callable[[], object]:
    def call() -> None:
        with open(path, "rb") as file:
            file.read(1)

    return call


V4, V6, UNIX = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX
CALLS: dict[AttachType, Callable[[], object]] = {
    **dict.fromkeys((_A.CGROUP_INET_INGRESS, _A.CGROUP_INET_EGRESS), sends(V4)),
    **dict.fromkeys((_A.CGROUP_INET_SOCK_CREATE, _A.CGROUP_INET_SOCK_RELEASE), sends(V4)),
    **dict.fromkeys((_A.CGROUP_INET4_POST_BIND, _A.CGROUP_INET4_BIND), sends(V4)),
    **dict.fromkeys((_A.CGROUP_INET6_POST_BIND, _A.CGROUP_INET6_BIND), sends(V6)),
    **dict.fromkeys((_A.CGROUP_UDP4_SENDMSG, _A.CGROUP_UDP4_RECVMSG), sends(V4)),
    **dict.fromkeys((_A.CGROUP_UDP6_SENDMSG, _A.CGROUP_UDP6_RECVMSG), sends(V6)),
    **dict.fromkeys((_A.CGROUP_UNIX_SENDMSG, _A.CGROUP_UNIX_RECVMSG), sends(UNIX)),
    **dict.fromkeys((_A.CGROUP_INET4_CONNECT, _A.CGROUP_INET4_GETPEERNAME), connects(V4)),
    **dict.fromkeys((_A.CGROUP_INET6_CONNECT, _A.CGROUP_INET6_GETPEERNAME), connects(V6)),
    **dict.fromkeys((_A.CGROUP_UNIX_CONNECT, _A.CGROUP_UNIX_GETPEERNAME), connects(UNIX)),
    _A.CGROUP_INET4_GETSOCKNAME: connects(V4),
    _A.CGROUP_INET6_GETSOCKNAME: connects(V6),
    _A.CGROUP_UNIX_GETSOCKNAME: connects(UNIX),
    _A.CGROUP_SOCK_OPS: opens_tcp,
    _A.CGROUP_DEVICE: opens("/dev/null"),
    _A.CGROUP_SYSCTL: opens("/proc/sys/kernel/ostype"),
    **dict.fromkeys((_A.CGROUP_GETSOCKOPT, _A.CGROUP_SETSOCKOPT), sets_option),
}


def in_the_cgroup(call: Callable[[], object]) -> Callable[[Link | None], object]:
    def trigger(link: Link | None) -> None:
        with inside_cgroup():
            call()

    return trigger


def _of_cgroup(hook: AttachType, type: ProgramType) -> Hook:
    return Hook(
        counting(type, hook),
        lambda program: program.attach_cgroup(cgroup()),
        in_the_cgroup(CALLS[hook]),
        cleanup=remove_cgroups,
    )


def _name(hook: AttachType) -> str:
    """ "cgroup inet4_bind"."""
    return f"cgroup {hook.name.lower().removeprefix('cgroup_')}"


def _in_a_mode(mode: Literal["single", "override", "multi"]) -> Hook:
    """Without a link, as older programs do it."""
    hook = _A.CGROUP_INET_EGRESS
    return Hook(
        counting(ProgramType.CGROUP_SKB, hook),
        lambda program: program.attach_cgroup(cgroup(), mode=mode),
        in_the_cgroup(CALLS[hook]),
        cleanup=remove_cgroups,
        stale=anywhere,
    )


SOCKET_HOOKS: dict[str, Hook] = {
    _name(hook): _of_cgroup(hook, type) for hook, type in CGROUP_HOOKS.items()
}
SOCKET_HOOKS |= {
    "cgroup inet_egress, single": _in_a_mode("single"),
    "cgroup inet_egress, override": _in_a_mode("override"),
    "cgroup inet_egress, multi": _in_a_mode("multi"),
}


# ---- sockets, their maps, network namespaces

# Older kernels say what they lack by themselves.
NETFILTER = (
    (pytest.mark.needs_config("CONFIG_NETFILTER_BPF_LINK"),)
    if environment.kernel_version() >= (6, 4)
    else ()
)

_SOL_PACKET, _PACKET_FANOUT, _PACKET_FANOUT_HASH = 263, 18, 0

_made: dict[str, Any] = {}


def made(name: str, make: Callable[[], Any]) -> Any:
    """What `make` makes, once in this process; `forget` ends it."""
    if name not in _made:
        _made[name] = make()
    return _made[name]


def forget() -> None:
    """Close what `made` has made, the last first."""
    while _made:
        _made.popitem()[1].close()


def namespace() -> Namespace:
    return cast("Namespace", made("namespace", Namespace))


def grouped() -> socket.socket:
    """A UDP socket that is in a group, alone."""

    def make() -> socket.socket:
        one = namespace().socket(V4, socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("127.0.0.1", 0))
        return one

    return cast("socket.socket", made("grouped", make))


def datagram(link: Link | None) -> None:
    """A datagram that arrives at `grouped`."""
    with namespace().socket(V4, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"1", grouped().getsockname())
    assert grouped().recv(2) == b"1"


def fanned_out(link: Link | None) -> None:
    """A datagram of which a packet socket gets a copy by its flow: the kernel dissects it."""
    every = socket.htons(3)
    with namespace().socket(socket.AF_PACKET, socket.SOCK_RAW, every) as watching:
        watching.bind(("lo", 3))
        group = os.getpid() & 0xFFFF | _PACKET_FANOUT_HASH << 16
        watching.setsockopt(_SOL_PACKET, _PACKET_FANOUT, group)
        datagram(link)
        watching.recv(1)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection.

    Not in a namespace of the test's: 5.10 never frees some sockets that were in a map, and with
    one of them a namespace never ends, for which the making of all others waits.
    """
    with bound(V4, socket.SOCK_STREAM) as server:
        server.listen()
        client = socket.create_connection(server.getsockname(), 60)
        accepted = server.accept()[0]
        accepted.settimeout(60)
        return client, accepted


def sockets() -> DescriptorArray:
    def make() -> DescriptorArray:
        return DescriptorArray.create(type=MapType.SOCKMAP, max_entries=4, name="sockets")

    return cast("DescriptorArray", made("sockets", make))


def talks(sender: int) -> Callable[[Link | None], object]:
    """A message between two sockets, of which number `sender` (0 or 1) is in the map."""

    def trigger(link: Link | None) -> None:
        ends = tcp_pair()
        with ends[0] as client, ends[1] as server:
            if link is not None:
                sockets().put(0, ends[sender])
            client.sendall(b"1")
            assert server.recv(2) == b"1"

    return trigger


def echoed(link: Link | None) -> None:
    """A message to a socket that sends it back while something is attached."""
    ends = tcp_pair()
    with ends[0] as client, ends[1] as server:
        if link is not None:
            sockets().put(0, server)
        client.sendall(b"1")
        assert (server if link is None else client).recv(2) == b"1"


def counting_length(counts: Counts) -> Program:
    """A parser: the message is as long as what is there."""
    body = count(counts)[2 : -len(PASS)]
    insns = [mov(R6, R1), mov(R0, os.getpid()), *body, ldxw(R0, R6 + 0), exit_()]
    hook = _A.SK_SKB_STREAM_PARSER
    return Program.load(ProgramType.SK_SKB, insns, license="GPL", attach_type=hook)


def attach_parser(program: Program) -> Link:
    """A parser is asked where there is a verdict program, too.

    That one sends the message back: where it lets it pass to the socket itself, 5.10 locks up, as
    sk_psock_skb_ingress_enqueue waits for the sk_callback_lock of sk_psock_strp_data_ready.
    """

    def make() -> Program:
        hook = _A.SK_SKB_STREAM_VERDICT
        # bpf_sk_redirect_map(skb, sockets, 0, 0)
        redirect = [ld_map_fd(R2, sockets()), mov(R3, 0), mov(R4, 0), call("sk_redirect_map")]
        insns = [redirect, exit_()]
        return Program.load(ProgramType.SK_SKB, insns, license="GPL", attach_type=hook)

    both = [one.attach_sockmap(sockets()) for one in (program, made("verdict", make))]
    return LinkGroup(both, "parser and verdict")


SOCKET_HOOKS |= {
    "socket filter": Hook(
        counting(ProgramType.SOCKET_FILTER, returns=1 << 16),
        lambda program: program.attach_socket_filter(grouped()),
        datagram,
        cleanup=forget,
        disown=forget,
    ),
    "sk_reuseport": Hook(
        counting(ProgramType.SK_REUSEPORT),
        lambda program: program.attach_reuseport(grouped()),
        datagram,
        cleanup=forget,
        disown=forget,
    ),
    "sk_reuseport, socket filter": Hook(
        counting(ProgramType.SOCKET_FILTER, returns=0),
        lambda program: program.attach_reuseport(grouped()),
        datagram,
        cleanup=forget,
        disown=forget,
    ),
    "sk_lookup": Hook(
        counting(ProgramType.SK_LOOKUP, _A.SK_LOOKUP),
        lambda program: program.attach_netns(namespace()),
        datagram,
        cleanup=forget,
    ),
    "flow_dissector": Hook(
        counting(ProgramType.FLOW_DISSECTOR, returns=0),
        lambda program: program.attach_netns(namespace()),
        fanned_out,
        cleanup=forget,
    ),
    "sk_msg": Hook(
        counting(ProgramType.SK_MSG, _A.SK_MSG_VERDICT),
        lambda program: program.attach_sockmap(sockets()),
        talks(0),
        cleanup=forget,
        disown=forget,
    ),
    "sk_skb stream_parser": Hook(
        counting_length, attach_parser, echoed, cleanup=forget, disown=forget
    ),
    "sk_skb stream_verdict": Hook(
        counting(ProgramType.SK_SKB, _A.SK_SKB_STREAM_VERDICT),
        lambda program: program.attach_sockmap(sockets()),
        talks(1),
        cleanup=forget,
        disown=forget,
    ),
    "sk_skb verdict": Hook(
        counting(ProgramType.SK_SKB, _A.SK_SKB_VERDICT),
        lambda program: program.attach_sockmap(sockets()),
        talks(1),
        cleanup=forget,
        disown=forget,
    ),
}


def forwarding() -> Forwarding:
    return cast("Forwarding", made("forwarding", Forwarding))


def forwarded(link: Link | None) -> None:
    """A datagram that is sent on to others."""
    forwarding().send_on()


def _of_netfilter(hook: NetfilterHook, **options: Any) -> Hook:
    forwards = hook == NetfilterHook.FORWARD

    def attach(program: Program) -> Link:
        netns = forwarding().far if forwards else namespace()
        return program.attach_netfilter(hook, netns=netns, **options)

    return Hook(
        counting(ProgramType.NETFILTER, _A.NETFILTER),
        attach,
        forwarded if forwards else datagram,
        marks=NETFILTER,
        cleanup=forget,
    )


SOCKET_HOOKS |= {
    **{f"netfilter {hook.name.lower()}": _of_netfilter(hook) for hook in NetfilterHook},
    "netfilter pre_routing, defrag": _of_netfilter(NetfilterHook.PRE_ROUTING, defrag=True),
}


LWTUNNEL = (pytest.mark.needs_config("CONFIG_LWTUNNEL_BPF"),)


def networks() -> Network:
    return cast("Network", made("networks", Network))


def sent_by_route(link: Link | None) -> None:
    networks().deliver()


def _of_route(type: ProgramType) -> Hook:
    return Hook(
        counting(type, returns=0),
        lambda program: program.attach_lwt(
            f"{networks().far_address}/32", Interface("near0", netns=networks().near)
        ),
        sent_by_route,
        marks=LWTUNNEL,
        cleanup=forget,
        stale=lambda: networks().near,
    )


def segments() -> Segments:
    return cast("Segments", made("segments", Segments))


def sent_by_segment(link: Link | None) -> None:
    if link is None:
        segments().send_by_segment(b"1")
        return
    with segments().watching() as watching:
        segments().send_by_segment(b"1")
        segments().first_back(watching, segments().from_segment)


SOCKET_HOOKS |= {
    "lwt_in": Hook(
        counting(ProgramType.LWT_IN, returns=0),
        lambda program: program.attach_lwt(
            f"{BEYOND}/32", forwarding().interface, gateway=forwarding().near_address
        ),
        forwarded,
        marks=LWTUNNEL,
        cleanup=forget,
        stale=lambda: forwarding().far,
    ),
    "lwt_out": _of_route(ProgramType.LWT_OUT),
    "lwt_xmit": _of_route(ProgramType.LWT_XMIT),
    "lwt_seg6local": Hook(
        counting(ProgramType.LWT_SEG6LOCAL, returns=0),
        lambda program: program.attach_lwt(SEGMENT, segments().interface),
        sent_by_segment,
        marks=(pytest.mark.needs_config("CONFIG_IPV6_SEG6_BPF"),),
        cleanup=forget,
        stale=lambda: segments().far,
    ),
}
