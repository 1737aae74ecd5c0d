"""Packets that scapy makes: programs take them apart and change them as scapy itself does."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import (
    ICMP,
    IP,
    TCP,
    UDP,
    IPOption_NOP,
    IPOption_Router_Alert,
    IPOption_RR,
    IPOption_Timestamp,
)
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    IPv6ExtHdrSegmentRouting,
    PadN,
    RouterAlert,
)
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether

from ebpf import Program, ProgramType
from ebpf.asm import (
    R0,
    R1,
    R2,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
    Label,
    add,
    jne,
    jslt,
    lddw,
    ldxdw,
    ldxw,
    mov,
    packet,
    return_,
    stxdw,
    stxh,
    stxw,
    sub,
)
from tests.kernel.asm.test_packet import parser

XDP, CLS = ProgramType.XDP, ProgramType.SCHED_CLS

# Addresses are given: those that are not, scapy asks the machine's routes and neighbours for.
MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
ADDRESSES = {"src": "10.0.0.1", "dst": "10.0.0.2"}
ADDRESSES6 = {"src": "2001:db8::1", "dst": "2001:db8::2"}
NEW_ADDRESS, NEW_ADDRESS6, NEW_PORT = "203.0.113.254", "2001:db8:ffff:abcd::42", 0xF00D

# By what they are over: the layers of scapy, with the field that is the port or the like.
TRANSPORTS = {
    IP: {packet.TCP: (TCP, "dport"), packet.UDP: (UDP, "dport"), packet.ICMP: (ICMP, "id")},
    IPv6: {
        packet.TCP: (TCP, "dport"),
        packet.UDP: (UDP, "dport"),
        packet.ICMPV6: (ICMPv6EchoRequest, "id"),
    },
}

# The extension headers of IPv6 that are passed over, but for the one of fragments.
EXTENSIONS: list[Callable[[], Any]] = [
    lambda: IPv6ExtHdrHopByHop(options=[RouterAlert()]),
    lambda: IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(100))]),
    lambda: IPv6ExtHdrRouting(addresses=["2001:db8::7"]),
    lambda: IPv6ExtHdrSegmentRouting(addresses=["2001:db8::2", "2001:db8::9"]),
]
MOST_EXTENSIONS = 4

numbers = st.integers(0, 0xFFFF)
tags = st.lists(st.builds(lambda kind, vlan: kind(vlan=vlan), st.sampled_from([Dot1Q, Dot1AD]),
                          st.integers(0, 0xFFF)), max_size=2)  # fmt: skip
options = st.lists(
    st.sampled_from(
        [
            IPOption_NOP(),
            IPOption_Router_Alert(),
            IPOption_RR(routers=["10.0.0.7"]),
            IPOption_Timestamp(),
        ]
    ),
    max_size=3,
)
tcp_options = st.lists(
    st.sampled_from([("MSS", 1460), ("WScale", 7), ("SAckOK", b""), ("Timestamp", (1, 2))]),
    max_size=3,
)


@st.composite
def packets_of_ip(draw: st.DrawFn, late: bool) -> tuple[Any, Any]:
    """The header of IPv4 or IPv6 with what follows it, and which of them it is."""
    offset = draw(st.sampled_from([0, 0, 0, 3])) if late else 0
    if draw(st.booleans()):
        flags = draw(st.sampled_from(["", "DF", "MF"]))
        chosen = {"options": draw(options), "ttl": draw(st.integers(1, 255)), "frag": offset}
        return IP(**ADDRESSES, flags=flags, **chosen), IP
    head = IPv6(**ADDRESSES6, fl=draw(st.integers(0, 0xFFFFF)))
    for extension in draw(st.lists(st.sampled_from(EXTENSIONS), max_size=3)):
        head /= extension()
    if draw(st.booleans()):
        head /= IPv6ExtHdrFragment(offset=offset, m=1)
    if late and draw(st.booleans()):
        head /= EXTENSIONS[1]()
    return head, IPv6


@st.composite
def frames(draw: st.DrawFn, *, late: bool) -> tuple[bytes, type, int]:
    """A frame, whether it is IP or IPv6, and the number of the transport.

    With `late` also fragments behind the first and more extension headers than are passed over.
    """
    head, network = draw(packets_of_ip(late))
    protocol = draw(st.sampled_from(list(TRANSPORTS[network])))
    layer, port = TRANSPORTS[network][protocol]
    transport = layer(**{port: draw(numbers)})
    if layer is TCP:
        transport.options = draw(tcp_options)
    frame = Ether(**MACS)
    for tag in draw(tags):
        frame /= tag
    return bytes(frame / head / transport / draw(st.binary(max_size=64))), network, protocol


def seen_by_scapy(frame: bytes) -> int:
    """What `parser` is to return."""
    seen = Ether(frame)
    extensions = sum(layer.__name__.startswith("IPv6ExtHdr") for layer in seen.layers())
    if extensions > MOST_EXTENSIONS:
        return 0
    for number, (layer, _) in (TRANSPORTS[IP] | TRANSPORTS[IPv6]).items():
        if layer in seen:
            head = seen[layer]
            echo = number in (packet.ICMP, packet.ICMPV6)
            return number << 16 | (head.type << 8 | head.code if echo else head.dport)
    return 0


@pytest.fixture(scope="module", params=[XDP, CLS], ids=lambda type: type.name)
def type(request: pytest.FixtureRequest) -> ProgramType:
    return ProgramType(request.param)


@pytest.fixture(scope="module")
def parsing(type: ProgramType) -> Iterator[Program]:
    with Program.load(type, parser(type), name="parser") as made:
        yield made


@given(made=frames(late=True))
def test_a_packet_is_taken_apart_as_scapy_does_it(parsing: Program, made: Any) -> None:
    """A reading of the standards that our own packets share would be wrong."""
    frame, _, _ = made
    assert parsing.test_run(frame).return_value == seen_by_scapy(frame)


# Where the transports have what is changed, and their checksum.
PLACES = {
    packet.TCP: ("tcphdr.dest", "tcphdr.check"),
    packet.UDP: ("udphdr.dest", "udphdr.check"),
    packet.ICMP: ("icmphdr.id", "icmphdr.checksum"),
    packet.ICMPV6: ("icmp6hdr.icmp6_identifier", "icmp6hdr.icmp6_cksum"),
}


def raw(data: bytes) -> int:
    """What a load from the packet has in a register."""
    return int.from_bytes(data, sys.byteorder)


class Change:
    """A program that gives packets of a kind another source address and port: 0 once it has.

    In it R8 is the header of IP and R9 that of the transport; the new address is on the stack.
    """

    ADDRESS, DIFF, PORT = R10 - 16, R10 - 24, R10 - 26

    def __init__(self, network: Any, protocol: int) -> None:
        self.is_ipv4, self.protocol = network is IP, protocol
        self.source = packet.FIELDS["iphdr.saddr" if self.is_ipv4 else "ipv6hdr.saddr"]
        self.port, self.check = (packet.FIELDS[name].offset for name in PLACES[protocol])
        self.udp = protocol == packet.UDP
        # All but ICMP have the addresses in their checksum.
        self.with_addresses = protocol != packet.ICMP

    def code(self, type: ProgramType) -> list[object]:
        change = self.at_the_driver() if type is XDP else self.at_tc()
        return [self.parsed(type), change, return_(0), Label("no"), return_(1)]

    def parsed(self, type: ProgramType) -> list[object]:
        ip, protocol = (packet.ipv4, packet.IPV4) if self.is_ipv4 else (packet.ipv6, packet.IPV6)
        transport = {packet.TCP: packet.tcp, packet.UDP: packet.udp}.get(self.protocol, packet.icmp)
        new = socket.inet_aton(NEW_ADDRESS) + bytes(4)
        if not self.is_ipv4:
            new = socket.inet_pton(socket.AF_INET6, NEW_ADDRESS6)
        return [
            packet.start(type, R1, cursor=R6, end=R7),
            packet.ethernet(R2, R6, R7, "no"), jne(R2, protocol, "no"),
            ip(R2, R6, R7, "no", header=R8), jne(R2, self.protocol, "no"),
            transport(R6, R7, "no", header=R9),
            [[lddw(R2, raw(new[at:at + 8])), stxdw(self.ADDRESS + at, R2)]
             for at in range(0, len(new), 8)],
            mov(R2, socket.htons(NEW_PORT)), stxh(self.PORT, R2),
        ]  # fmt: skip

    def at_the_driver(self) -> list[object]:
        summed = packet.update_checksum_by(R9 + self.check, R6, udp=self.udp)
        words = range(0, self.source.size, 4)
        return [
            packet.load(R4, R9, PLACES[self.protocol][0], network_order=True),
            mov(R5, socket.htons(NEW_PORT)), stxh(R9 + self.port, R5),
            packet.update_checksum(R9 + self.check, R4, R5, udp=self.udp),
            packet.checksum_diff(R6, R8 + self.source.offset, self.ADDRESS, self.source.size),
            summed if self.with_addresses else [],
            packet.update_checksum_by(R8 + 10, R6) if self.is_ipv4 else [],
            [[ldxw(R2, self.ADDRESS + at), stxw(R8 + self.source.offset + at, R2)]
             for at in words],
        ]  # fmt: skip

    def at_tc(self) -> list[object]:
        """By offsets from the start of the packet, to which the headers' addresses are made."""

        def at(header: Any, offset: int) -> list[object]:
            return [mov(R2, header), add(R2, offset)]

        failed = jslt(R0, 0, "no")
        diff: list[object] = [ldxdw(R4, self.DIFF)]
        replace, source = packet.replace_l4_checksum, self.source
        whole = replace(R6, R2, 0, R4, 0, pseudo=True, udp=self.udp)
        return [
            mov(R6, R1),
            packet.checksum_diff(R7, R8 + source.offset, self.ADDRESS, source.size),
            stxdw(self.DIFF, R7),
            packet.load(R7, R9, PLACES[self.protocol][0], network_order=True),
            ldxw(R2, R6 + 76), sub(R8, R2), sub(R9, R2),
            at(R9, self.check), replace(R6, R2, R7, socket.htons(NEW_PORT), udp=self.udp), failed,
            [at(R9, self.check), diff, whole, failed] if self.with_addresses else [],
            [at(R8, 10), diff, packet.replace_l3_checksum(R6, R2, 0, R4, 0), failed]
            if self.is_ipv4 else [],
            at(R9, self.port), packet.store_bytes(R6, R2, self.PORT, 2), failed,
            at(R8, source.offset), packet.store_bytes(R6, R2, self.ADDRESS, source.size), failed,
        ]  # fmt: skip


@pytest.fixture(scope="module")
def changing(type: ProgramType) -> Iterator[dict[tuple[Any, int], Program]]:
    made = {
        (network, protocol): Program.load(type, Change(network, protocol).code(type))
        for network, protocols in TRANSPORTS.items()
        for protocol in protocols
    }
    yield made
    for program in made.values():
        program.close()


def changed_by_scapy(frame: bytes, network: Any, protocol: int) -> bytes:
    """The frame with the new address and port, and with all checksums made anew."""
    layer, port = TRANSPORTS[network][protocol]
    made = Ether(frame)
    made[network].src = NEW_ADDRESS if network is IP else NEW_ADDRESS6
    setattr(made[layer], port, NEW_PORT)
    if network is IP:
        del made[IP].chksum
    delattr(made[layer], "cksum" if layer is ICMPv6EchoRequest else "chksum")
    return bytes(made)


@given(made=frames(late=False))
def test_a_packet_is_changed_as_scapy_does_it(
    changing: dict[tuple[Any, int], Program], made: Any
) -> None:
    """Whoever gets the packet drops it, for a checksum that another hand finds wrong."""
    frame, network, protocol = made
    run = changing[network, protocol].test_run(frame)
    assert run.return_value == 0
    assert run.data == changed_by_scapy(frame, network, protocol)
