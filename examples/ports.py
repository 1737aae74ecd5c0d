#!/usr/bin/env python3
"""ports: which ports the packets go to that an interface receives.

    sudo python ports.py eth0                    a table, after Ctrl-C
    sudo python ports.py eth0 --live             who sends where as well, at most once a second each

The program in the kernel is asked for each frame (XDP) before anything else sees it, and lets all
of them pass. It knows Ethernet with VLAN tags, IPv4 and IPv6, TCP and UDP, and is loaded as a
whole from functions: the one that fills in the address is called by the other.
"""

from __future__ import annotations

import argparse
import ipaddress
import struct
import sys

import ebpf
from ebpf import MapType, asm
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R8,
    R9,
    R10,
    Label,
    exit_,
    ja,
    jeq,
    jne,
    ldxw,
    lsh,
    mov,
    or_,
    packet,
    snippets,
    stdw,
    stw,
    stxw,
)
from parts.command import Trace
from parts.counting import wait

PROTOCOLS = {packet.TCP: "tcp", packet.UDP: "udp"}
SECOND = 10**9

# The key of a port: the protocol in the upper half, the port in the lower. A sample for --live is
# the key, 4 or 6 for the version of IP, and the address of the sender.
SAMPLE = struct.Struct("=II16s")
KEY, WINDOW, RECORD = R10 - 8, R10 - 24, R10 - 24 - SAMPLE.size

MAPS = [
    asm.TypedMap("counts", MapType.LRU_HASH, key="I", value="Q", max_entries=10240),
    asm.TypedMap("windows", MapType.LRU_HASH, key="I", value="QQ", max_entries=10240),
    asm.TypedMap("samples", MapType.RINGBUF, max_entries=1 << 18),
]


def program(live: bool) -> list[object]:
    """Counts a frame. R6: how far it has been read, R7: its end, R8 and R9: headers."""
    return [
        packet.start(ebpf.ProgramType.XDP, R1, cursor=R6, end=R7),
        packet.ethernet(R2, R6, R7, "pass"),
        [stdw(RECORD + at, 0) for at in range(0, SAMPLE.size, 8)],
        jeq(R2, packet.IPV4, "ipv4"),
        jne(R2, packet.IPV6, "pass"),
        packet.ipv6(R2, R6, R7, "pass", header=R8),
        stw(RECORD + 4, 6),
        # The sender's address, as it is in the packet.
        [[ldxw(R0, R8 + 8 + at), stxw(RECORD + 8 + at, R0)] for at in range(0, 16, 4)],
        ja("transport"),
        Label("ipv4"),
        packet.ipv4(R2, R6, R7, "pass", header=R8),
        stw(RECORD + 4, 4),
        packet.load(R0, R8, "iphdr.saddr", network_order=True),
        stxw(RECORD + 8, R0),
        Label("transport"),
        mov(R8, R2),
        jeq(R2, packet.UDP, "udp"),
        jne(R2, packet.TCP, "pass"),
        packet.tcp(R6, R7, "pass", header=R9),
        packet.load(R3, R9, "tcphdr.dest"),
        ja("count"),
        Label("udp"),
        packet.udp(R6, R7, "pass", header=R9),
        packet.load(R3, R9, "udphdr.dest"),
        Label("count"),
        lsh(R8, 16),
        or_(R8, R3),
        stxw(KEY, R8),
        stxw(RECORD, R8),
        snippets.count("counts", KEY, buffer=WINDOW),
        sample() if live else [],
        Label("pass"),
        mov(R0, int(ebpf.XdpAction.PASS)),
        exit_(),
    ]


def sample() -> list[object]:
    """Shows the packet, unless one of the same port was shown less than a second ago."""
    return [
        snippets.rate_limit(
            "windows", KEY, events=1, nanoseconds=SECOND, over="pass", buffer=WINDOW
        ),
        snippets.ring_output("samples", RECORD, SAMPLE.size),
    ]


def name(key: int) -> str:
    return f"{key & 0xFFFF}/{PROTOCOLS[key >> 16]}"


def show(record: bytes) -> None:
    key, version, raw = SAMPLE.unpack(record)
    sender = ipaddress.ip_address(raw[:4] if version == 4 else raw)
    print(f"{sender} -> {name(key)}", flush=True)


def run(options: argparse.Namespace) -> dict[int, int]:
    """Attach, wait, and return {key: packets}."""
    spec = asm.collection(asm.Function("ports", program(options.live), "xdp"), maps=MAPS)
    with spec.load() as objects:
        objects.programs["ports"].attach_xdp(options.interface)
        if not options.live:
            wait("ports", options.seconds)
        else:
            Trace("ports", objects.maps["samples"], None, lambda: False).show(show, sys.stdout)
        counts: dict[int, int] = objects.maps["counts"].to_dict()  # type: ignore[attr-defined]
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("interface")
    parser.add_argument("--seconds", type=float, help="how long to count (until Ctrl-C)")
    parser.add_argument("--live", action="store_true", help="print who sends where")
    try:
        counts = run(parser.parse_args())
    except ebpf.EbpfError as error:
        raise SystemExit(f"ports: {error}") from None
    print(f"{'PORT':>10} {'PACKETS':>12}")
    for key, count in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"{name(key):>10} {count:>12}")


if __name__ == "__main__":
    main()
