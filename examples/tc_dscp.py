#!/usr/bin/env python3
"""tc_dscp: marks what goes over an interface, so that routers and WLANs let it pass first, or last.

    sudo python tc_dscp.py eth0 46 --port 5060          telephony: expedited forwarding
    sudo python tc_dscp.py eth0 8                       everything: background

A program in the kernel writes the number, a DSCP of 0 to 63, into the header of each IPv4 and IPv6
packet that leaves by the interface, to or from the port where one is given. It is attached by tcx,
and on kernels before 6.6 as a filter of the clsact qdisc, which takes pyroute2 (pip install
'ebpf[tc]'). Ctrl-C ends it, and says how many packets were marked.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable

import ebpf
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
    and_,
    be16,
    ja,
    jeq,
    jne,
    jslt,
    ldxb,
    ldxh,
    mov,
    or_,
    packet,
    return_,
    snippets,
    stxb,
    stxh,
)
from parts.tc import NEXT, OUT, attach

SCHED_CLS = ebpf.ProgramType.SCHED_CLS
# Where the header of IP is, in a frame whose VLAN tag the kernel keeps beside it.
IP = 14
IPV4_CHECK = IP + packet.FIELDS["iphdr.check"].offset
# The first two bytes of the header, before and after.
PLACE = R10 - 2


def ports(port: int | None) -> list[object]:
    """Goes to "next" unless TCP or UDP is behind the cursor R7, with this port at one end."""
    if port is None:
        return []
    return [
        jeq(R2, packet.TCP, "ports"),
        jne(R2, packet.UDP, "next"),
        # Both have the two ports first.
        Label("ports"),
        packet.need(R7, R8, 4, "next"),
        packet.load(R2, R7, "udphdr.source"),
        jeq(R2, port, "mark"),
        packet.load(R2, R7, "udphdr.dest"),
        jne(R2, port, "next"),
        Label("mark"),
    ]


def program(dscp: int, port: int | None, marked: ebpf.ArrayMap[int]) -> list[object]:
    """R6 is the packet, R9 its header of IP, R3 what kind that is."""
    return [
        mov(R6, R1),
        packet.start(SCHED_CLS, R6, cursor=R7, end=R8),
        packet.ethernet(R3, R7, R8, "next", vlans=0),
        jeq(R3, packet.IPV6, "ipv6"),
        jne(R3, packet.IPV4, "next"),
        packet.ipv4(R2, R7, R8, "next", header=R9),
        ja("ip"),
        Label("ipv6"),
        packet.ipv6(R2, R7, R8, "next", header=R9),
        Label("ip"),
        ports(port),
        ldxh(R8, R9 + 0),
        jeq(R3, packet.IPV6, "class"),
        stxh(PLACE, R8),
        # Two bits are for congestion, and not ours.
        ldxb(R2, PLACE + 1), and_(R2, 0b11), or_(R2, dscp << 2), stxb(PLACE + 1, R2),
        ldxh(R7, PLACE),
        packet.replace_l3_checksum(R6, IPV4_CHECK, R8, R7),
        jslt(R0, 0, "next"),
        packet.store_bytes(R6, IP, PLACE, 2),
        ja("stored"),
        Label("class"),
        # In the middle of these 16 bits, and no checksum covers them.
        be16(R8), and_(R8, 0xF03F), or_(R8, dscp << 6), be16(R8), stxh(PLACE, R8),
        packet.store_bytes(R6, IP, PLACE, 2, recompute=True),
        Label("stored"),
        jslt(R0, 0, "next"),
        snippets.add_to(marked),
        Label("next"),
        return_(NEXT),
    ]  # fmt: skip


def mark(options: argparse.Namespace) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        ebpf.ArrayMap.create(value="Q", max_entries=1, name="marked") as marked,
        ebpf.Program.load(
            SCHED_CLS, program(options.dscp, options.port, marked), license="GPL", name="dscp"
        ) as marking,
    ):
        attach(marking, options.interface, OUT)
        try:
            print("tc_dscp: marking; Ctrl-C ends it", file=sys.stderr, flush=True)
            signal.pause()
        except KeyboardInterrupt:
            print(file=sys.stderr)
        print(f"{marked[0]} packets were marked")


def number(most: int) -> Callable[[str], int]:
    """What argparse makes a number up to `most` with."""

    def parse(text: str) -> int:
        value = int(text)
        if not 0 <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not between 0 and {most}")
        return value

    return parse


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("interface")
    parser.add_argument("dscp", type=number(63), help="0 to 63: 46 first, 8 last, 0 none")
    parser.add_argument("--port", type=number(65535), help="only packets to or from this port")
    try:
        mark(parser.parse_args())
    except ebpf.EbpfError as error:
        raise SystemExit(f"tc_dscp: {error}") from None


if __name__ == "__main__":
    main()
