#!/usr/bin/env python3
"""egress_firewall: a command whose packets do not reach certain networks.

    sudo python egress_firewall.py --deny 10.0.0.0/8 --deny fc00::/7 -- curl http://10.1.2.3/
    sudo python egress_firewall.py --deny 0.0.0.0/0 --allow 127.0.0.0/8 -- make test

The command runs in a cgroup of its own. A program in the kernel judges each packet that its sockets
send: of the networks that were given, the one with the longest prefix decides; a packet to another
network passes. The sender of a packet that is dropped gets EPERM ("Operation not permitted").
"""

from __future__ import annotations

import argparse
import ipaddress
import socket
import sys
from typing import TYPE_CHECKING

import ebpf
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R10,
    Label,
    add,
    atomic_add,
    call,
    exit_,
    ja,
    jeq,
    jne,
    ld_map_fd,
    ldxdw,
    ldxw,
    mov,
    stw,
)
from parts.cgroups import own_cgroup, run_in

if TYPE_CHECKING:
    Network = ipaddress.IPv4Network | ipaddress.IPv6Network
    Trie = ebpf.HashMap[Network, tuple[int, int]]

ETHERTYPES = {4: 0x0800, 6: 0x86DD}
# Where struct __sk_buff has the protocol; where the headers have the address that a packet goes to.
PROTOCOL = 16
DESTINATION = {4: 16, 6: 24}

# What a network is for, and how many packets went there.
VALUE = "QQ"
ALLOW, DENY = 0, 1


def judge(version: int, networks: Trie, otherwise: str) -> list[object]:
    """Looks up where a packet of one version of IP goes; R6 is the packet."""
    size = ipaddress.ip_address("::" if version == 6 else "0.0.0.0").max_prefixlen // 8
    key = R10 - 24
    return [
        # The key of an LPM trie: how many bits count, then the address.
        stw(key, size * 8),
        mov(R1, R6),
        mov(R2, DESTINATION[version]),
        mov(R3, R10),
        add(R3, key.offset + 4),
        mov(R4, size),
        call("skb_load_bytes"),
        jne(R0, 0, otherwise),
        ld_map_fd(R1, networks),
        mov(R2, R10),
        add(R2, key.offset),
        call("map_lookup_elem"),
        jeq(R0, 0, otherwise),
        ja("found"),
    ]


def program(networks: dict[int, Trie]) -> list[object]:
    """Returns 1 for a packet that passes."""
    return [
        mov(R6, R1),
        ldxw(R2, R6 + PROTOCOL),
        jeq(R2, socket.htons(ETHERTYPES[4]), "ipv4"),
        jne(R2, socket.htons(ETHERTYPES[6]), "pass"),
        judge(6, networks[6], "pass"),
        Label("ipv4"),
        judge(4, networks[4], "pass"),
        Label("found"),
        mov(R1, 1),
        atomic_add(R0 + 8, R1),
        ldxdw(R1, R0 + 0),
        jeq(R1, ALLOW, "pass"),
        mov(R0, 0),
        exit_(),
        Label("pass"),
        mov(R0, 1),
        exit_(),
    ]


def trie(cls: type) -> Trie:
    return ebpf.LpmTrieMap.create(key=cls, value=VALUE, max_entries=1024, name="networks")


def guard(rules: dict[Network, int], command: list[str]) -> int:
    """Run `command`; its exit status."""
    with (
        trie(ipaddress.IPv4Network) as four,
        trie(ipaddress.IPv6Network) as six,
        own_cgroup("egress_firewall") as cgroup,
    ):
        networks = {4: four, 6: six}
        for network, verdict in rules.items():
            networks[network.version][network] = (verdict, 0)
        with ebpf.Program.load(
            ebpf.ProgramType.CGROUP_SKB,
            program(networks),
            attach_type=ebpf.AttachType.CGROUP_INET_EGRESS,
            name="egress",
        ) as judging:
            judging.attach_cgroup(cgroup)
            status = run_in(cgroup, command)
        for network, verdict in rules.items():
            packets = networks[network.version][network][1]
            word = "dropped" if verdict == DENY else "passed"
            print(f"{network}: {packets} packets {word}", file=sys.stderr)
        return status


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option in ("deny", "allow"):
        parser.add_argument(
            f"--{option}",
            metavar="NETWORK",
            type=ipaddress.ip_network,
            action="append",
            default=[],
            help=f"{option} packets to it",
        )
    parser.add_argument("command", nargs="+", help="after --")
    options = parser.parse_args()
    rules = dict.fromkeys(options.allow, ALLOW) | dict.fromkeys(options.deny, DENY)
    try:
        raise SystemExit(guard(rules, options.command))
    except ebpf.EbpfError as error:
        raise SystemExit(f"egress_firewall: {error}") from None


if __name__ == "__main__":
    main()
