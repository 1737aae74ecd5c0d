"""Parsing packets: every packet is taken apart as it was put together, and none that is cut off."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from ebpf import AsmError, Program, ProgramType
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
    Label,
    add,
    exit_,
    ja,
    jeq,
    lsh,
    mov,
    packet,
    return_,
)
from ebpf.asm import or_ as bit_or

MAC = bytes(12)
TCP_PORT, UDP_PORT = 0x1234, 0x5678


def ethernet(protocol: int, *vlans: tuple[int, int]) -> bytes:
    """The header of a frame; `vlans` are (EtherType of the tag, tag)."""
    tags = b"".join(struct.pack("!HH", kind, tag) for kind, tag in vlans)
    return MAC + tags + struct.pack("!H", protocol)


def ipv4(protocol: int, *, options: bytes = b"", fragment: int = 0, first: int = 4) -> bytes:
    words = 5 + len(options) // 4
    head = struct.pack("!BBHHHBBH", first << 4 | words, 0, 0, 1, fragment, 64, protocol, 0)
    return head + bytes([10, 0, 0, 1, 10, 0, 0, 2]) + options


def ipv6(protocol: int, *, first: int = 6) -> bytes:
    return struct.pack("!IHBB", first << 28, 0, protocol, 64) + bytes(range(32))


def extension(following: int, size: int = 8) -> bytes:
    return bytes([following, size // 8 - 1]) + bytes(size - 2)


def fragment(following: int, offset: int = 0) -> bytes:
    return struct.pack("!BBHI", following, 0, offset << 3 | 1, 7)


def tcp(*, options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    return struct.pack("!HHIIBBHHH", 999, TCP_PORT, 1, 2, words << 4, 2, 3, 0, 0) + options


UDP = struct.pack("!HHHH", 999, UDP_PORT, 8, 0)
ICMP = struct.pack("!BBHHH", 8, 3, 0, 1, 1)
Q, AD = (0x8100, 5), (0x88A8, 6)
ROUTING, HOPS, DESTINATION, FRAGMENT = 43, 0, 60, 44

# Every packet in two parts: what has to be there, and what the parser returns for it.
PACKETS = {
    "TCP over IPv4": (ethernet(0x0800) + ipv4(6) + tcp(), (6, TCP_PORT)),
    "with options": (
        ethernet(0x0800) + ipv4(6, options=bytes(40)) + tcp(options=bytes(40)),
        (6, TCP_PORT),
    ),
    "don't fragment": (ethernet(0x0800) + ipv4(17, fragment=0x4000) + UDP, (17, UDP_PORT)),
    "first fragment": (ethernet(0x0800) + ipv4(17, fragment=0x2000) + UDP, (17, UDP_PORT)),
    "UDP in a VLAN": (ethernet(0x0800, Q) + ipv4(17) + UDP, (17, UDP_PORT)),
    "in two VLANs": (ethernet(0x0800, AD, Q) + ipv4(17) + UDP, (17, UDP_PORT)),
    "ICMP": (ethernet(0x0800) + ipv4(1) + ICMP, (1, 8 << 8 | 3)),
    "TCP over IPv6": (ethernet(0x86DD) + ipv6(6) + tcp(), (6, TCP_PORT)),
    "ICMPv6": (ethernet(0x86DD, Q) + ipv6(58) + ICMP, (58, 8 << 8 | 3)),
    "behind extensions": (
        ethernet(0x86DD)
        + ipv6(HOPS) + extension(DESTINATION, 24) + extension(ROUTING)
        + extension(FRAGMENT, 256) + fragment(17) + UDP,
        (17, UDP_PORT),
    ),
    "IPv6's first fragment": (
        ethernet(0x86DD) + ipv6(FRAGMENT) + fragment(17) + UDP, (17, UDP_PORT),
    ),
}  # fmt: skip

REFUSED = {
    "ARP": ethernet(0x0806) + bytes(60),
    "three VLANs": ethernet(0x0800, Q, Q, Q) + ipv4(17) + UDP,
    "another version": ethernet(0x0800) + ipv4(17, first=6) + UDP + bytes(40),
    "another version of IPv6": ethernet(0x86DD) + ipv6(17, first=4) + UDP,
    "a header of IPv4 that is too short": ethernet(0x0800) + b"\x44" + ipv4(17)[1:] + UDP,
    "a header of TCP that is too short": ethernet(0x0800)
    + ipv4(6)
    + tcp()[:12]
    + b"\x40"
    + tcp()[13:],
    "second fragment": ethernet(0x0800) + ipv4(17, fragment=0x2001) + UDP,
    "IPv6's second fragment": ethernet(0x86DD) + ipv6(FRAGMENT) + fragment(17, 1) + UDP,
    "another protocol": ethernet(0x0800) + ipv4(132) + bytes(60),
    "an extension that is not passed over": ethernet(0x86DD) + ipv6(51) + bytes(60),
    "five extensions": ethernet(0x86DD)
    + ipv6(HOPS)
    + extension(DESTINATION) * 4
    + extension(17)
    + UDP,
}


def parser(type: ProgramType) -> list[object]:
    """Returns the protocol << 16 | the port of the destination, or ICMP's type and code; or 0."""
    return [
        packet.start(type, R1, cursor=R6, end=R7),
        packet.ethernet(R2, R6, R7, "no"),
        jeq(R2, packet.IPV4, "ipv4"),
        jeq(R2, packet.IPV6, "ipv6"),
        ja("no"),
        Label("ipv4"),
        packet.ipv4(R2, R6, R7, "no", header=R8),
        ja("transport"),
        Label("ipv6"),
        packet.ipv6(R2, R6, R7, "no", header=R8),
        Label("transport"),
        jeq(R2, packet.TCP, "tcp"),
        jeq(R2, packet.UDP, "udp"),
        jeq(R2, packet.ICMP, "icmp"),
        jeq(R2, packet.ICMPV6, "icmp"),
        ja("no"),
        Label("tcp"),
        packet.tcp(R6, R7, "no", header=R9),
        packet.load(R3, R9, "tcphdr.dest"),
        ja("yes"),
        Label("udp"),
        packet.udp(R6, R7, "no", header=R9),
        packet.load(R3, R9, "udphdr.dest"),
        ja("yes"),
        Label("icmp"),
        packet.icmp(R6, R7, "no", header=R9),
        packet.load(R3, R9, "icmphdr.type"),
        lsh(R3, 8),
        packet.load(R4, R9, "icmp6hdr.icmp6_code"),
        bit_or(R3, R4),
        Label("yes"),
        mov(R0, R2),
        lsh(R0, 16),
        bit_or(R0, R3),
        exit_(),
        Label("no"),
        mov(R0, 0),
        exit_(),
    ]


@pytest.fixture(params=[ProgramType.XDP, ProgramType.SCHED_CLS], ids=lambda type: type.name)
def program(request: pytest.FixtureRequest) -> Iterator[Program]:
    with Program.load(request.param, parser(request.param), name="parser") as made:
        yield made


@pytest.mark.parametrize("name", PACKETS)
def test_a_packet_is_taken_apart(program: Program, name: str) -> None:
    """A header would be looked for in the wrong place."""
    whole, (protocol, port) = PACKETS[name]
    for behind in (b"", bytes(100)):
        assert program.test_run(whole + behind).return_value == protocol << 16 | port


@pytest.mark.parametrize("fifth", [HOPS, ROUTING, DESTINATION, FRAGMENT])
def test_more_extensions_than_are_passed_over(fifth: int) -> None:
    """An extension is told as what the packet carries: TCP is not dropped behind it."""
    code = [
        packet.start(ProgramType.XDP, R1, cursor=R6, end=R7),
        packet.ethernet(R2, R6, R7, "no"),
        packet.ipv6(R2, R6, R7, "no"),
        return_(R2),
        Label("no"),
        return_(256),
    ]
    before = ethernet(0x86DD) + ipv6(DESTINATION) + extension(DESTINATION) * 3
    with Program.load(ProgramType.XDP, code) as made:
        for protocol, behind in ((fifth, 256), (6, 6)):
            frame = before + extension(protocol) + extension(6) + tcp()
            assert made.test_run(frame).return_value == behind


@pytest.mark.parametrize("name", PACKETS)
def test_a_packet_that_is_cut_off_is_none(program: Program, name: str) -> None:
    """What is behind the end would be taken for a part of it."""
    whole, _ = PACKETS[name]
    # Test runs take no skb that is shorter than the headers of Ethernet and IPv6.
    start = 14 if program.type is ProgramType.XDP else 54
    for size in range(start, len(whole)):
        assert program.test_run(whole[:size]).return_value == 0, size


@pytest.mark.parametrize("name", REFUSED)
def test_other_packets(program: Program, name: str) -> None:
    """A packet of another kind would be taken for one of these."""
    assert program.test_run(REFUSED[name]).return_value == 0


# The header of https://en.wikipedia.org/wiki/Internet_checksum, its checksum taken out.
HEADER = bytes.fromhex("45000073000040004011 0000 c0a80001c0a800c7".replace(" ", ""))
CHECKSUM = 0xB861


def test_checksum() -> None:
    """Packets would be dropped by whoever gets them."""
    code = [
        packet.start(ProgramType.XDP, R1, cursor=R6, end=R7),
        packet.need(R6, R7, 20, "no"),
        # Of the bytes at `R9 + 4`, which are the packet's first.
        mov(R9, R6),
        add(R9, -4),
        packet.checksum(R8, R9 + 4, 20),
        mov(R0, R8),
        packet.fold(R0, R1),
        Label("no"),
        exit_(),
    ]
    with Program.load(ProgramType.XDP, code) as program:
        found = program.test_run(HEADER).return_value
        right = HEADER[:10] + found.to_bytes(2, "little") + HEADER[12:]
        assert right[10:12] == CHECKSUM.to_bytes(2, "big")
        assert program.test_run(right).return_value == 0
        assert program.test_run(bytes(20)).return_value == 0xFFFF
    for size in (0, 3, 513):
        with pytest.raises(AsmError, match="size"):
            packet.checksum(R0, R6, size)
    with pytest.raises(AsmError, match="data must be memory"):
        packet.checksum(R0, 5, 20)  # type: ignore[arg-type]


@pytest.mark.parametrize("ttl", [0x40, 1, 0xFF])
def test_update_checksum(ttl: int) -> None:
    """A packet whose TTL is changed on the way would have a wrong checksum."""
    code = [
        packet.start(ProgramType.XDP, R1, cursor=R6, end=R7),
        packet.need(R6, R7, 20, "no"),
        packet.load(R4, R6, "iphdr.frag_off", network_order=True),
        packet.address(R3, R6, "iphdr.frag_off"),
        packet.load(R5, R6, "iphdr.id", network_order=True),
        # What was 0x4000 becomes the number of the packet, by the checksum only.
        packet.update_checksum(R6 + 10, R4, R5),
        mov(R0, 1),
        exit_(),
        Label("no"),
        mov(R0, 0),
        exit_(),
    ]
    packet_id = 0x4000 | ttl
    before = HEADER[:4] + packet_id.to_bytes(2, "big") + HEADER[6:10]
    after = before[:6] + before[4:6] + before[8:]
    rest = HEADER[12:]
    with Program.load(ProgramType.XDP, code) as program:
        run = program.test_run(before + internet(before + rest) + rest)
        assert run.return_value == 1
        assert run.data is not None
        assert bytes(run.data)[10:12] == internet(after + rest)


def test_update_checksum_of_udp() -> None:
    """A packet without a checksum would get a wrong one, or one with a checksum lose it."""
    code = [
        packet.start(ProgramType.XDP, R1, cursor=R6, end=R7),
        packet.need(R6, R7, 14, "no"),
        packet.load(R4, R6, "udphdr.source", network_order=True),
        packet.load(R5, R6, "udphdr.dest", network_order=True),
        packet.update_checksum(R6 + 6, R4, R5, udp=True),
        packet.load(R0, R6, "udphdr.check", network_order=True),
        Label("no"),
        exit_(),
    ]
    with Program.load(ProgramType.XDP, code) as program:
        for old, new, check, expected in ((1, 2, 0, 0), (2, 3, 1, 0xFFFF), (2, 3, 5, 4)):
            words = struct.pack("=HHHH", old, new, 8, check)
            assert program.test_run(words + bytes(8)).return_value == expected


def internet(data: bytes) -> bytes:
    """RFC 1071, as its section 4.1 has it."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


def test_mistakes_are_told_where_they_are_made() -> None:
    """The verifier would speak of a register that nobody named."""
    with pytest.raises(AsmError, match=r"did you mean.*tcphdr\.dest"):
        packet.load(R0, R1, "tcphdr.dst")
    with pytest.raises(AsmError, match="16 bytes"):
        packet.load(R0, R1, "ipv6hdr.saddr")
    with pytest.raises(AsmError, match="different registers"):
        packet.udp(R6, R7, "no", header=R6)
    with pytest.raises(AsmError, match="no packet"):
        packet.start(ProgramType.KPROBE, R1, cursor=R6, end=R7)
    with pytest.raises(AsmError, match="register of context"):
        packet.start(ProgramType.XDP, R1, cursor=R1, end=R7)


def test_pull_gets_a_packet_into_one_piece() -> None:
    """The end would stay where it was, and nothing behind it could be read."""
    code = [
        mov(R6, R1),
        packet.pull(R6, 60),
        packet.start(ProgramType.SCHED_CLS, R6, cursor=R8, end=R7),
        mov(R0, 0),
        packet.need(R8, R7, 60, "no", scratch=R2),
        packet.load(R0, R8, "ethhdr.h_proto"),
        add(R0, 0),
        Label("no"),
        exit_(),
    ]
    with Program.load(ProgramType.SCHED_CLS, code) as program:
        assert program.test_run(ethernet(0x0800) + bytes(46)).return_value == 0x0800
        assert program.test_run(ethernet(0x0800) + bytes(45)).return_value == 0
