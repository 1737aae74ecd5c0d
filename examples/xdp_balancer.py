#!/usr/bin/env python3
"""xdp_balancer: spreads the TCP and UDP flows to one address over several servers.

    sudo python xdp_balancer.py eth0 192.0.2.10 \\
        --backend veth1=02:00:00:00:00:0b --backend veth2=02:00:00:00:00:0c

For each frame that eth0 receives for 192.0.2.10, which may be an address of IPv6 as well, the
program in the kernel chooses a backend by the sender's address and port, so that a connection stays
with one. It puts the backend's hardware address into the frame and sends it out by that interface
(XDP redirect). The packet itself stays as it is: every backend has 192.0.2.10 as an address of its
own, and answers the sender directly.

The frames go by the way that each interface has (--mode generic) or by its driver (--mode driver),
which is faster; veth takes the latter only where its other end has an XDP program or GRO.
"""

from __future__ import annotations

import argparse
import ipaddress
import struct
import sys
from typing import NamedTuple

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
    add,
    atomic_add,
    call,
    exit_,
    invoke,
    jeq,
    jne,
    ldxh,
    ldxw,
    mod32,
    mov,
    mov32,
    mul32,
    packet,
    rsh32,
    snippets,
    stxh,
    stxw,
    xor32,
)
from parts.counting import wait

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What the program knows of a backend: its hardware address, and how many frames it was given.
BACKEND = struct.Struct("=6s2xQ")
COUNT = 8
KEY = R10 - 8
# Spreads neighbouring numbers over 32 bits: 2^32 divided by the golden ratio.
SPREAD = 0x9E3779B1
# What a frame says that carries it, the name of its header, and how one comes to what is behind it.
IP = {4: (packet.IPV4, "iphdr", packet.ipv4), 6: (packet.IPV6, "ipv6hdr", packet.ipv6)}


class Backend(NamedTuple):
    interface: str
    hardware: bytes


def program(
    address: Address,
    number: int,
    backends: ebpf.Map[int, tuple[bytes, int]],
    devices: ebpf.Map[int, int],
) -> list[object]:
    """R6: how far the frame has been read, R7: its end, R8: the header of IP, R9: the frame."""
    protocol, header, behind = IP[address.version]
    source, size = packet.FIELDS[f"{header}.saddr"]
    target = packet.FIELDS[f"{header}.daddr"].offset
    return [
        packet.start(ebpf.ProgramType.XDP, R1, cursor=R6, end=R7),
        mov(R9, R6),
        packet.ethernet(R2, R6, R7, "pass"),
        jne(R2, protocol, "pass"),
        behind(R2, R6, R7, "pass", header=R8),
        [
            [
                ldxw(R3, R8 + (target + at)),
                mov32(R0, int.from_bytes(address.packed[at : at + 4], sys.byteorder)),
                jne(R3, R0, "pass"),
            ]
            for at in range(0, size, 4)
        ],
        jeq(R2, packet.TCP, "ports"),
        jne(R2, packet.UDP, "pass"),
        Label("ports"),
        # Both begin with the ports: that of the sender comes first.
        packet.need(R6, R7, 4, "pass"),
        # The address as a sum of 16 bits, as checksums make it.
        mov(R3, 0),
        [[ldxw(R0, R8 + (source + at)), add(R3, R0)] for at in range(0, size, 4)],
        packet.fold(R3, R0),
        ldxh(R2, R6 + 0),
        xor32(R3, R2),
        mov32(R2, SPREAD),
        mul32(R3, R2),
        rsh32(R3, 16),
        mod32(R3, number),
        stxw(KEY, R3),
        snippets.lookup(backends, KEY, "pass"),
        [[ldxh(R2, R0 + at), stxh(R9 + at, R2)] for at in (0, 2, 4)],
        mov(R1, 1),
        atomic_add(R0 + COUNT, R1),
        ldxw(R2, KEY),
        invoke(call("redirect_map"), devices, R2, 0),
        exit_(),
        Label("pass"),
        mov(R0, int(ebpf.XdpAction.PASS)),
        exit_(),
    ]


def balance(options: argparse.Namespace) -> None:
    count = len(options.backend)
    with (
        ebpf.ArrayMap.create(value=BACKEND.format, max_entries=count, name="backends") as backends,
        ebpf.DescriptorArray.create(
            ebpf.MapType.DEVMAP, value="I", max_entries=count, name="devices"
        ) as devices,
    ):
        for index, backend in enumerate(options.backend):
            backends[index] = (backend.hardware, 0)
            devices[index] = ebpf.Interface(backend.interface).index
        code = program(options.address, count, backends, devices)
        with ebpf.Program.load(ebpf.ProgramType.XDP, code, name="balancer") as balancing:
            balancing.attach_xdp(options.interface, mode=options.mode)
            wait("xdp_balancer", options.seconds)
        print(f"{'BACKEND':<16} {'FRAMES':>12}")
        for index, backend in enumerate(options.backend):
            print(f"{backend.interface:<16} {backends[index][1]:>12}")


def backend(text: str) -> Backend:
    interface, _, hardware = text.partition("=")
    try:
        address = bytes.fromhex(hardware.replace(":", ""))
    except ValueError:
        address = b""
    if not interface or len(address) != 6:
        raise argparse.ArgumentTypeError(f"{text!r} is not INTERFACE=02:00:00:00:00:01")
    return Backend(interface, address)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("interface")
    parser.add_argument("address", type=ipaddress.ip_address, help="what the servers have")
    parser.add_argument(
        "--backend",
        metavar="INTERFACE=ADDRESS",
        type=backend,
        action="append",
        required=True,
        help="an interface, and the hardware address of the server behind it",
    )
    modes = {mode.name.lower(): mode for mode in (ebpf.XdpMode.GENERIC, ebpf.XdpMode.DRIVER)}
    parser.add_argument("--mode", choices=modes, default="generic")
    parser.add_argument("--seconds", type=float, help="how long (until Ctrl-C)")
    options = parser.parse_args()
    options.mode = modes[options.mode]
    try:
        balance(options)
    except ebpf.EbpfError as error:
        raise SystemExit(f"xdp_balancer: {error}") from None


if __name__ == "__main__":
    main()
