#!/usr/bin/env python3
"""tc_bandwidth: how much goes over an interface, to whom and from whom.

    sudo python tc_bandwidth.py eth0                    a table each second, until Ctrl-C
    sudo python tc_bandwidth.py eth0 --interval 10 --top 3

Two programs in the kernel count the bytes of each packet, headers included, by the address at the
other end: one for what comes, one for what goes. They are attached by tcx, and on kernels before
6.6 as filters of the clsact qdisc, which takes pyroute2 (pip install 'ebpf[tc]').
"""

from __future__ import annotations

import argparse
import ipaddress
import signal
import socket
import struct
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import ebpf
from ebpf.asm import (
    R0,
    R1,
    R2,
    R6,
    R7,
    R10,
    Label,
    call,
    if_,
    invoke,
    jne,
    ldxw,
    mov,
    return_,
    snippets,
    stdw,
    sth,
    stw,
    when,
)
from parts.tc import HOOKS, IN, NEXT, OUT, attach

if TYPE_CHECKING:
    Counts = ebpf.HashMap[tuple[bytes, int], int]

# The key: an address, of IPv4 as it is within IPv6 (::ffff:192.0.2.1), and the direction.
KEY = struct.Struct("=16sI")
PLACE, BUFFER = R10 - 24, R10 - 32
# Where struct __sk_buff has the length and the protocol, and headers the two addresses.
LENGTH, PROTOCOL = 0, 16
ADDRESSES = {4: (12, 16), 6: (8, 24)}
# BPF_HDR_START_NET: offsets count from the header of IP.
FROM_NETWORK_HEADER = 1


def copy_address(version: int, direction: int) -> list[object]:
    """Copies the address of the other end into the key, R6 is the packet; R0 is 0 if it has one."""
    size = 16 if version == 6 else 4
    at = ADDRESSES[version][direction]
    load = call("skb_load_bytes_relative")
    return [invoke(load, R6, at, PLACE + (16 - size), size, FROM_NETWORK_HEADER)]


def program(direction: int, counts: Counts) -> list[object]:
    """Adds the length of a packet to the count of its address."""
    return [
        mov(R6, R1),
        [stdw(PLACE + at, 0) for at in (0, 8)],
        stw(PLACE + 16, direction),
        ldxw(R2, R6 + PROTOCOL),
        if_(
            when(R2, "==", socket.htons(0x0800)),
            [sth(PLACE + 10, -1), copy_address(4, direction)],
            [jne(R2, socket.htons(0x86DD), "next"), copy_address(6, direction)],
        ),
        jne(R0, 0, "next"),
        ldxw(R7, R6 + LENGTH),
        snippets.count(counts, PLACE, buffer=BUFFER, by=R7),
        Label("next"),
        return_(NEXT),
    ]


def measure(options: argparse.Namespace) -> None:
    """Print a table after each interval, until Ctrl-C or as often as was asked for."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        counts: Counts = stack.enter_context(
            ebpf.HashMap.create(
                ebpf.MapType.LRU_HASH, key=KEY.format, value="Q", max_entries=16384, name="bytes"
            )
        )
        for direction in (IN, OUT):
            counting = stack.enter_context(
                ebpf.Program.load(
                    ebpf.ProgramType.SCHED_CLS,
                    program(direction, counts),
                    license="GPL",
                    name=f"bytes_{HOOKS[direction][1]}",
                )
            )
            attach(counting, options.interface, direction)
        try:
            print("tc_bandwidth: counting; Ctrl-C ends it", file=sys.stderr, flush=True)
            tables(counts, options)
        except KeyboardInterrupt:
            print(file=sys.stderr)


def tables(counts: Counts, options: argparse.Namespace) -> None:
    before: dict[tuple[bytes, int], int] = {}
    started = time.monotonic()
    number = 0
    while options.count is None or number < options.count:
        number += 1
        time.sleep(options.interval)
        now = counts.to_dict()
        seconds, started = time.monotonic() - started, time.monotonic()
        print(table(now, before, seconds, options.top), flush=True)
        before = now


def table(
    now: dict[tuple[bytes, int], int],
    before: dict[tuple[bytes, int], int],
    seconds: float,
    top: int,
) -> str:
    """Bytes in a second each way, of those that had most."""
    rates: dict[bytes, list[float]] = {}
    for (address, direction), count in now.items():
        # The kernel forgets addresses that were not seen for long, and begins anew.
        since = max(count - before.get((address, direction), 0), 0)
        rates.setdefault(address, [0.0, 0.0])[direction] = since / seconds
    lines = [f"{'ADDRESS':<40} {'IN B/s':>12} {'OUT B/s':>12}"]
    for address, (came, went) in sorted(rates.items(), key=lambda row: -sum(row[1]))[:top]:
        if came or went:
            lines.append(f"{shown(address):<40} {came:>12.0f} {went:>12.0f}")
    return "\n".join(lines)


def shown(address: bytes) -> str:
    full = ipaddress.IPv6Address(address)
    return str(full.ipv4_mapped or full)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("interface")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between tables (1)")
    parser.add_argument("--count", type=int, help="how many tables (until Ctrl-C)")
    parser.add_argument("--top", type=int, default=20, help="how many addresses (20)")
    try:
        measure(parser.parse_args())
    except ebpf.EbpfError as error:
        raise SystemExit(f"tc_bandwidth: {error}") from None


if __name__ == "__main__":
    main()
