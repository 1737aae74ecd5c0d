#!/usr/bin/env python3
"""xdp_drop: counts the packets that an interface receives, and drops those of some senders.

    sudo python xdp_drop.py eth0 --drop 192.0.2.0/24 --drop 2001:db8::1
    echo 'drop 198.51.100.7' | sudo python xdp_drop.py eth0 --seconds 60

While it runs, it takes a line at a time:

    drop NETWORK      from now on
    pass NETWORK      not any more
    show              what was counted so far
    quit              the same as Ctrl-C

The program in the kernel is asked for each frame (XDP) before anything else sees it. Of the
networks that were given, the one with the longest prefix that has the sender counts the packet and
drops it.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

import ebpf
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R9,
    R10,
    Label,
    atomic_add,
    exit_,
    ja,
    jeq,
    jne,
    ldxw,
    mov,
    packet,
    snippets,
    stw,
    stxw,
)

if TYPE_CHECKING:
    Network = ipaddress.IPv4Network | ipaddress.IPv6Network
    Trie = ebpf.HashMap[Network, int]

# The totals: two numbers in an array's one value.
PASSED, DROPPED = 0, 1
# The key of an LPM trie on the stack: how many bits count, then the address.
KEY = R10 - 24
# How long the headers are, and where they have the address of the sender.
HEADER = {4: 20, 6: 40}
SENDER = {4: 12, 6: 8}


def judge(version: int, networks: Trie) -> list[object]:
    """Looks up the sender of a packet of one version of IP.

    Whatever the packet carries: packet.ipv4 and packet.ipv6 would not take one that is a fragment.
    """
    size = 16 if version == 6 else 4
    return [
        packet.need(R6, R7, HEADER[version], "pass"),
        stw(KEY, size * 8),
        [[ldxw(R3, R6 + SENDER[version] + at), stxw(KEY + 4 + at, R3)] for at in range(0, size, 4)],
        snippets.lookup(networks, KEY, "pass"),
        ja("drop"),
    ]


def program(networks: dict[int, Trie], totals: ebpf.ArrayMap[tuple[int, int]]) -> list[object]:
    """R6: how far the frame has been read, R7: its end."""
    return [
        packet.start(ebpf.ProgramType.XDP, R1, cursor=R6, end=R7),
        packet.ethernet(R2, R6, R7, "pass"),
        jeq(R2, packet.IPV4, "ipv4"),
        jne(R2, packet.IPV6, "pass"),
        judge(6, networks[6]),
        Label("ipv4"),
        judge(4, networks[4]),
        Label("drop"),
        mov(R1, 1),
        atomic_add(R0 + 0, R1),
        snippets.add_to(totals, 8 * DROPPED),
        mov(R9, int(ebpf.XdpAction.DROP)),
        ja("end"),
        Label("pass"),
        snippets.add_to(totals, 8 * PASSED),
        mov(R9, int(ebpf.XdpAction.PASS)),
        Label("end"),
        mov(R0, R9),
        exit_(),
    ]


class DropList:
    """The networks whose packets are dropped, and the counts, as the kernel has them."""

    def __init__(self) -> None:
        self.networks: dict[int, Trie] = {
            version: ebpf.LpmTrieMap.create(key=cls, value="Q", max_entries=4096, name="networks")
            for version, cls in ((4, ipaddress.IPv4Network), (6, ipaddress.IPv6Network))
        }
        # `in` of a trie means any network around one, and not all kernels heed NOEXIST there.
        self.dropped: set[Network] = set()
        self.totals = ebpf.ArrayMap.create(value="QQ", max_entries=1, name="totals")

    def obey(self, line: str) -> str:
        """Do what a line says; what to answer."""
        word, _, rest = line.strip().partition(" ")
        if word == "show" and not rest:
            return self.shown()
        if word not in ("drop", "pass"):
            return f"{line.strip()!r}: it is drop NETWORK, pass NETWORK, show or quit"
        try:
            network = ipaddress.ip_network(rest, strict=False)
            if word == "drop":
                self.drop(network)
            elif not self.forget(network):
                return f"{network} was not dropped"
        except (ValueError, ebpf.BpfError) as error:
            # Such as that the list is full: what is in it is dropped all the same.
            return str(error)
        return f"{word} {network}"

    def drop(self, network: Network) -> None:
        if network not in self.dropped:
            self.networks[network.version][network] = 0
            self.dropped.add(network)

    def forget(self, network: Network) -> bool:
        """Drop its packets no more; whether they were dropped."""
        if network not in self.dropped:
            return False
        del self.networks[network.version][network]
        self.dropped.discard(network)
        return True

    def shown(self) -> str:
        passed, dropped = self.totals[0]
        rows = [f"passed {passed}, dropped {dropped}"]
        for trie in self.networks.values():
            rows += [f"  {network}: {count}" for network, count in trie.items()]
        return "\n".join(rows)

    def close(self) -> None:
        for trie in self.networks.values():
            trie.close()
        self.totals.close()


def run(options: argparse.Namespace) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    drops = DropList()
    try:
        for network in options.drop:
            drops.drop(network)
        code = program(drops.networks, drops.totals)
        with ebpf.Program.load(ebpf.ProgramType.XDP, code, name="xdp_drop") as judging:
            judging.attach_xdp(options.interface)
            try:
                print("xdp_drop: counting; Ctrl-C ends it", file=sys.stderr, flush=True)
                follow(drops, options.seconds)
            except KeyboardInterrupt:
                print(file=sys.stderr)
        print(drops.shown())
    finally:
        drops.close()


def follow(drops: DropList, seconds: float | None) -> None:
    """Obey what is typed, until "quit" or that many seconds are over."""
    end = None if seconds is None else time.monotonic() + seconds
    # Without input it goes on: started in the background, it has none.
    sources = [sys.stdin.fileno()]
    typed = b""
    while end is None or time.monotonic() < end:
        left = None if end is None else max(end - time.monotonic(), 0)
        if not select.select(sources, [], [], left)[0]:
            continue
        # Not by readline(), which keeps lines back that select() knows nothing of.
        data = os.read(sources[0], 4096)
        if not data:
            sources = []
        *lines, typed = (typed + (data or b"\n")).split(b"\n")
        for line in (line.decode(errors="replace") for line in lines):
            if line.strip() == "quit":
                return
            if line.strip():
                print(drops.obey(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("interface")
    parser.add_argument(
        "--drop",
        metavar="NETWORK",
        type=lambda text: ipaddress.ip_network(text, strict=False),
        action="append",
        default=[],
        help="drop packets of this network or address",
    )
    parser.add_argument("--seconds", type=float, help="how long (until Ctrl-C)")
    try:
        run(parser.parse_args())
    except ebpf.EbpfError as error:
        raise SystemExit(f"xdp_drop: {error}") from None


if __name__ == "__main__":
    main()
