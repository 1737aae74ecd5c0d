#!/usr/bin/env python3
"""tc_nat: addresses that are others on the outside of an interface than on its inside.

    sudo python tc_nat.py eth0 192.0.2.10=10.0.0.5
    sudo python tc_nat.py eth0 192.0.2.10=10.0.0.5 192.0.2.11=10.0.0.6 2001:db8::10=fd00::5

What comes by eth0 for 192.0.2.10 goes on to 10.0.0.5, an address of the machine or of one that it
forwards to, and what 10.0.0.5 sends by eth0 is from 192.0.2.10: one address for one, so that there
are no connections to remember. For the outside address the machine has to answer, as it does for
those that it has: sudo ip address add 192.0.2.10/32 dev eth0.

Two programs in the kernel change the addresses, and the checksums that cover them. Those inside of
ICMP's errors stay as they are. They are attached by tcx, and on kernels before 6.6 as filters of
the clsact qdisc, which takes pyroute2 (pip install 'ebpf[tc]'). Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import ipaddress
from contextlib import ExitStack
from typing import TYPE_CHECKING

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
    Label,
    add,
    if_,
    ja,
    jeq,
    jne,
    mov,
    packet,
    return_,
    snippets,
    sub,
    when,
)
from parts.counting import wait
from parts.tc import HOOKS, IN, NEXT, OUT, attach

if TYPE_CHECKING:
    Address = ipaddress.IPv4Address | ipaddress.IPv6Address
    Addresses = ebpf.HashMap[Address, Address]

SCHED_CLS = ebpf.ProgramType.SCHED_CLS
# Where the header of IP is, in a frame whose VLAN tag the kernel keeps beside it; its name and
# size, and the function that goes to what is behind it.
IP = 14
HEADERS = {4: ("iphdr", 20, packet.ipv4), 6: ("ipv6hdr", 40, packet.ipv6)}
# The address that changes: the target of what comes, the sender of what goes.
FIELDS = {IN: "daddr", OUT: "saddr"}
# The checksums that cover the addresses too. That of ICMP for IPv4 does not.
CHECKSUMS = {
    4: {packet.TCP: "tcphdr.check", packet.UDP: "udphdr.check"},
    6: {
        packet.TCP: "tcphdr.check",
        packet.UDP: "udphdr.check",
        packet.ICMPV6: "icmp6hdr.icmp6_cksum",
    },
}


def translate(version: int, direction: int, addresses: Addresses) -> list[object]:
    """Changes a packet of one version of IP; R6 is the packet, R7 its header, R8 its end."""
    header, length, behind = HEADERS[version]
    field = f"{header}.{FIELDS[direction]}"
    offset, size = packet.FIELDS[field]
    check = IP + packet.FIELDS["iphdr.check"].offset
    return [
        packet.need(R7, R8, length, "next"),
        packet.address(R2, R7, field),
        snippets.lookup(addresses, R2, "next"),
        mov(R9, R0),
        # R8 = what the checksums have to learn when the address in the packet becomes that at R9.
        packet.address(R1, R7, field),
        packet.checksum_diff(R8, R1, R9, size),
        packet.replace_l3_checksum(R6, check, 0, R8, 0) if version == 4 else [],
        # For the sum of a network card the kernel takes it that IPv4's checksum has made up for
        # the address. IPv6 has none.
        packet.store_bytes(R6, IP + offset, R9, size, recompute=version == 6, invalidate_hash=True),
        packet.start(SCHED_CLS, R6, cursor=R7, end=R9),
        add(R7, IP),
        # The second fragment of a packet has no other checksum.
        behind(R2, R7, R9, "done"),
        packet.start(SCHED_CLS, R6, cursor=R1, end=R3),
        sub(R7, R1),
        [replace(protocol, checksum) for protocol, checksum in CHECKSUMS[version].items()],
        ja("done"),
    ]


def replace(protocol: int, checksum: str) -> object:
    """Changes the checksum of one protocol, R2 is the packet's; R7: where the header is."""
    udp = protocol == packet.UDP
    return if_(
        when(R2, "==", protocol),
        [
            add(R7, packet.FIELDS[checksum].offset),
            packet.replace_l4_checksum(R6, R7, 0, R8, 0, pseudo=True, udp=udp),
            ja("done"),
        ],
    )


def program(
    direction: int, addresses: dict[int, Addresses], counts: ebpf.ArrayMap[tuple[int, int]]
) -> list[object]:
    return [
        mov(R6, R1),
        # A shorter packet is in one piece.
        packet.pull(R6, IP + 40),
        packet.start(SCHED_CLS, R6, cursor=R7, end=R8),
        packet.ethernet(R2, R7, R8, "next", vlans=0),
        jeq(R2, packet.IPV4, "ipv4"),
        jne(R2, packet.IPV6, "next"),
        translate(6, direction, addresses[6]),
        Label("ipv4"),
        translate(4, direction, addresses[4]),
        Label("done"),
        snippets.add_to(counts, 8 * direction),
        Label("next"),
        return_(NEXT),
    ]


def translated(direction: int, pairs: list[tuple[Address, Address]]) -> dict[int, Addresses]:
    """The maps of one direction, by the version of IP: which address becomes which."""
    maps: dict[int, Addresses] = {
        version: ebpf.HashMap.create(key=cls, value=cls, max_entries=len(pairs), name="addresses")
        for version, cls in ((4, ipaddress.IPv4Address), (6, ipaddress.IPv6Address))
    }
    for outside, inside in pairs:
        old, new = (outside, inside) if direction == IN else (inside, outside)
        maps[old.version][old] = new
    return maps


def run(options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        counts = stack.enter_context(ebpf.ArrayMap.create(value="QQ", max_entries=1, name="counts"))
        for direction in (IN, OUT):
            addresses = translated(direction, options.addresses)
            for map in addresses.values():
                stack.enter_context(map)
            translating = ebpf.Program.load(
                SCHED_CLS,
                program(direction, addresses, counts),
                license="GPL",
                name=f"nat_{HOOKS[direction][1]}",
            )
            attach(stack.enter_context(translating), options.interface, direction)
        wait("tc_nat", options.seconds)
        came, went = counts[0]
        print(f"{came} packets came, {went} went")


def pair(text: str) -> tuple[Address, Address]:
    outside, inside = map(ipaddress.ip_address, text.split("="))
    if outside.version != inside.version:
        raise argparse.ArgumentTypeError(f"{text!r} has an address of IPv4 and one of IPv6")
    return outside, inside


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("interface")
    parser.add_argument("addresses", metavar="OUTSIDE=INSIDE", type=pair, nargs="+")
    parser.add_argument("--seconds", type=float, help="how long (until Ctrl-C)")
    try:
        run(parser.parse_args())
    except ebpf.EbpfError as error:
        raise SystemExit(f"tc_nat: {error}") from None


if __name__ == "__main__":
    main()
