#!/usr/bin/env python3
"""pong: answers pings before the kernel sees them, and shows who sent them.

    sudo python pong.py eth0
    sudo python pong.py eth0 --generic       for drivers that cannot send frames back by themselves

The program in the kernel makes the answer of the request: it exchanges the addresses, changes the
type, lets it live as long as a new packet, brings the checksums up to date, and sends the frame
back from where it came (XDP_TX). What has options of IP, is one of several fragments, or has a
damaged header is left to the kernel.
"""

from __future__ import annotations

import argparse
import ipaddress
import socket
import struct
import sys

import ebpf
from ebpf import MapType, asm
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R7,
    R8,
    R9,
    Label,
    Memory,
    Register,
    exit_,
    jne,
    jset,
    ldxb,
    ldxh,
    ldxw,
    mov,
    packet,
    snippets,
    stb,
    stxh,
    stxw,
)
from parts.command import Trace

ECHO_REQUEST, ECHO_REPLY = 8, 0
# What the checksum has to learn: the type is in the upper half of the words that it sums up.
CHANGE = socket.htons(0xFFFF - (ECHO_REQUEST << 8) + (ECHO_REPLY << 8))

# Where the IPv4 header of a frame without VLAN tags begins, its first byte without options, and the
# bit that all fragments but the last have.
IPV4 = 14
NO_OPTIONS = 0x45
MORE_FRAGMENTS = socket.htons(0x2000)
# How many routers the answer may pass: of a request few may be left.
TTL = 64

# Who has sent a ping, in network byte order, and the number of the ping.
PING = struct.Struct("=4sI")


def exchange(header: Register, one: int, other: int, size: int) -> list[object]:
    """The `size` bytes at the offset `one`, and those at the offset `other`: 4 and 2 at a time."""
    code: list[object] = []
    for at in range(0, size, 4):
        load, store = (ldxw, stxw) if size - at >= 4 else (ldxh, stxh)
        first, second = Memory(header, one + at), Memory(header, other + at)
        code += [load(R2, first), load(R3, second), store(first, R3), store(second, R2)]
    return code


def program() -> list[object]:
    """R6: how far the frame has been read, R7: its end, R8: its start, R9: the ICMP header."""
    source, target, ttl, check, fragment = (
        IPV4 + packet.FIELDS[f"iphdr.{name}"].offset
        for name in ("saddr", "daddr", "ttl", "check", "frag_off")
    )
    return [
        packet.start(ebpf.ProgramType.XDP, R1, cursor=R6, end=R7),
        packet.ethernet(R2, R6, R7, "pass", header=R8, vlans=0),
        jne(R2, packet.IPV4, "pass"),
        packet.ipv4(R2, R6, R7, "pass"),
        jne(R2, packet.ICMP, "pass"),
        packet.icmp(R6, R7, "pass", header=R9),
        packet.load(R2, R9, "icmphdr.type"),
        jne(R2, ECHO_REQUEST, "pass"),
        ldxb(R2, R8 + IPV4),
        jne(R2, NO_OPTIONS, "pass"),
        ldxh(R2, R8 + fragment),
        jset(R2, MORE_FRAGMENTS, "pass"),
        packet.checksum(R2, R8 + IPV4, 20),
        jne(R2, 0, "pass"),
        stb(R9 + 0, ECHO_REPLY),
        mov(R3, CHANGE),
        packet.update_checksum_by(R9 + 2, R3),
        # The checksum is of words of 16 bits: of this and the protocol together.
        ldxh(R3, R8 + ttl),
        stb(R8 + ttl, TTL),
        ldxh(R4, R8 + ttl),
        packet.update_checksum(R8 + check, R3, R4),
        exchange(R8, 0, 6, 6),
        # The sum of a header stays the same when two words of it change places.
        exchange(R8, source, target, 4),
        snippets.ring_reserve("pings", PING.size, "send"),
        ldxw(R1, R8 + target),
        stxw(R0 + 0, R1),
        packet.load(R1, R9, "icmphdr.sequence"),
        stxw(R0 + 4, R1),
        snippets.ring_submit(R0),
        Label("send"),
        mov(R0, int(ebpf.XdpAction.TX)),
        exit_(),
        Label("pass"),
        mov(R0, int(ebpf.XdpAction.PASS)),
        exit_(),
    ]


def spec() -> ebpf.CollectionSpec:
    pings = asm.TypedMap("pings", MapType.RINGBUF, max_entries=1 << 16)
    return asm.collection(asm.Function("pong", program(), "xdp"), maps=[pings])


def show(record: bytes) -> None:
    sender, number = PING.unpack(record)
    print(f"{ipaddress.ip_address(sender)} #{number}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("interface")
    parser.add_argument("--generic", action="store_true", help="not in the driver")
    options = parser.parse_args()
    mode = ebpf.XdpMode.GENERIC if options.generic else None
    try:
        with spec().load() as objects:
            objects.programs["pong"].attach_xdp(options.interface, mode=mode)
            Trace("pong", objects.maps["pings"], None, lambda: False).show(show, sys.stdout)
    except ebpf.EbpfError as error:
        raise SystemExit(f"pong: {error}") from None


if __name__ == "__main__":
    main()
