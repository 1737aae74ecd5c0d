"""Packets of every kind between two namespaces: a program knows its own, and the receiver tells."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ebpf import (
    ArrayMap,
    AttachType,
    Interface,
    Link,
    NotSupportedError,
    Program,
    ProgramType,
    XdpAction,
    query,
)
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
    Label,
    and_,
    be16,
    jeq,
    jne,
    jslt,
    ldxh,
    ldxw,
    mov,
    packet,
    return_,
    snippets,
    stxh,
)
from tests.kernel.net.traffic import KINDS, OTHER_PORT, PORT, VLAN, VLAN_OPTION, Kind, Traffic

XDP, CLS = ProgramType.XDP, ProgramType.SCHED_CLS
PASS = {XDP: XdpAction.PASS, CLS: 0}
DROP = {XDP: XdpAction.DROP, CLS: 2}
# struct __sk_buff of uapi linux/bpf.h.
VLAN_PRESENT, VLAN_TCI = 20, 24
TAG = 0x8100

of_each_kind = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.needs_config(VLAN_OPTION)] * kind.tagged)
        for name, kind in KINDS.items()
    ],
)
at_each_hook = pytest.mark.parametrize("type", [XDP, CLS], ids=["xdp", "tc"])


@pytest.fixture(scope="module")
def traffic() -> Iterator[Traffic]:
    with Traffic() as made:
        yield made


def frame(type: ProgramType, kind: Kind) -> list[object]:
    """R2 = the protocol in a frame with the tag of `kind`, or without one; others go to "pass"."""
    if type is CLS:
        # The kernel has taken the tag out of the frame.
        tag = [ldxw(R2, R8 + VLAN_PRESENT), (jeq if kind.tagged else jne)(R2, 0, "pass")]
        number = [ldxw(R2, R8 + VLAN_TCI), and_(R2, 0xFFF), jne(R2, VLAN, "pass")]
        checks = [*tag, *number] if kind.tagged else tag
        return [checks, packet.ethernet(R2, R6, R7, "pass", vlans=0)]
    if not kind.tagged:
        return [packet.ethernet(R2, R6, R7, "pass", vlans=0)]
    return [
        packet.ethernet(R2, R6, R7, "pass", header=R3),
        packet.load(R4, R3, "ethhdr.h_proto"),
        jne(R4, TAG, "pass"),
        packet.need(R3, R7, 16, "pass"),
        ldxh(R4, R3 + 14),
        be16(R4),
        and_(R4, 0xFFF),
        jne(R4, VLAN, "pass"),
    ]


def only(type: ProgramType, kind: Kind) -> list[object]:
    """R9 = the header of a packet of this kind to PORT; all others go to "pass". R8 = the context.

    Of ICMP the identifier counts as the port.
    """
    ip = packet.ipv4 if kind.network == packet.IPV4 else packet.ipv6
    transport, field = {
        packet.TCP: (packet.tcp, "tcphdr.dest"),
        packet.UDP: (packet.udp, "udphdr.dest"),
        packet.ICMP: (packet.icmp, "icmphdr.id"),
        packet.ICMPV6: (packet.icmp, "icmp6hdr.icmp6_identifier"),
    }[kind.transport]
    return [
        mov(R8, R1),
        packet.start(type, R1, cursor=R6, end=R7),
        frame(type, kind),
        jne(R2, kind.network, "pass"),
        ip(R2, R6, R7, "pass"),
        jne(R2, kind.transport, "pass"),
        transport(R6, R7, "pass", header=R9),
        packet.load(R2, R9, field),
        jne(R2, PORT, "pass"),
    ]


def attach(program: Program, traffic: Traffic) -> Link:
    """To what `far` receives; by tcx where the kernel has it."""
    far = Interface("far0", netns=traffic.far)
    if program.type is XDP:
        return program.attach_xdp(far)
    try:
        return program.attach_tcx(far, AttachType.TCX_INGRESS)
    except NotSupportedError:
        return program.attach_tc(far, "ingress")


def attached(traffic: Traffic) -> list[int]:
    """The programs at the interface."""
    hooks = query(Interface("far0", netns=traffic.far)).values()
    return [id for hook in hooks for id in hook.program_ids]


@at_each_hook
@of_each_kind
def test_packets_of_one_kind_are_dropped(traffic: Traffic, name: str, type: ProgramType) -> None:
    """Others are dropped too, or those are received, or are not when the program is gone."""
    kind = KINDS[name]
    assert traffic.reached(kind) == [PORT]
    with ArrayMap.create(value="Q", max_entries=1) as count:
        code = [
            only(type, kind), snippets.add_to(count), return_(DROP[type]),
            Label("pass"), return_(PASS[type]),
        ]  # fmt: skip
        with Program.load(type, code, license="GPL") as program, attach(program, traffic):
            others = {other: [PORT] for other in traffic.kinds if other != name}
            assert traffic.all_reached() == {**others, name: []}
            # What opens a connection is sent again after a second, which may be over here.
            assert count[0] == 1 or (count[0] > 1 and kind.transport == packet.TCP)
    assert attached(traffic) == []
    assert traffic.reached(kind) == [PORT]


def redirecting(type: ProgramType, kind: Kind) -> list[object]:
    """Has a datagram to PORT received at OTHER_PORT, with its checksum put right."""
    new = socket.htons(OTHER_PORT)
    if type is XDP:
        change = [
            packet.load(R4, R9, "udphdr.dest", network_order=True),
            mov(R5, new),
            stxh(R9 + 2, R5),
            packet.update_checksum(R9 + 6, R4, R5, udp=True),
        ]
    else:
        start = 14 + (20 if kind.network == packet.IPV4 else 40)
        old = socket.htons(PORT)
        change = [
            packet.replace_l4_checksum(R8, start + 6, old, new, udp=True),
            jslt(R0, 0, "pass"),
            mov(R2, new),
            stxh(R10 - 2, R2),
            packet.store_bytes(R8, start + 2, R10 - 2, 2, invalidate_hash=True),
        ]
    return [only(type, kind), change, Label("pass"), return_(PASS[type])]


@at_each_hook
@pytest.mark.parametrize(
    "name", ["udp4", "udp6", pytest.param("vlan", marks=pytest.mark.needs_config(VLAN_OPTION))]
)
def test_packets_of_one_kind_get_another_port(
    traffic: Traffic, name: str, type: ProgramType
) -> None:
    """Others are changed, or those arrive where they were sent to, or with a wrong checksum."""
    kind = KINDS[name]
    with Program.load(type, redirecting(type, kind), license="GPL") as program:
        with attach(program, traffic):
            others = {other: [PORT] for other in traffic.kinds if other != name}
            assert traffic.all_reached() == {**others, name: [OTHER_PORT]}
        assert traffic.reached(kind) == [PORT]
