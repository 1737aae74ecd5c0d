#!/usr/bin/env python3
"""port_range: one server, one socket, a thousand ports.

    sudo python port_range.py 7000-7999             answers at each of these ports, until Ctrl-C

The server listens at a port of the kernel's choice. When a packet comes that no connection is there
for, a program is asked which socket gets it (SK_LOOKUP), and names the server's for the range. Each
client is told which port it came to.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import sys

import ebpf
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R10,
    Label,
    add,
    call,
    exit_,
    jeq,
    jgt,
    jlt,
    jne,
    ld_map_fd,
    ldxw,
    mov,
    stw,
)

# Where struct bpf_sk_lookup has the protocol and the port, which is in the machine's byte order.
PROTOCOL, LOCAL_PORT = 12, 60


def program(servers: ebpf.DescriptorArray, first: int, last: int) -> list[object]:
    """Gives the connection to the socket in the map; R6 is what is looked up, R7 the socket."""
    return [
        mov(R6, R1),
        ldxw(R2, R6 + PROTOCOL),
        jne(R2, socket.IPPROTO_TCP, "pass"),
        ldxw(R2, R6 + LOCAL_PORT),
        jlt(R2, first, "pass"),
        jgt(R2, last, "pass"),
        stw(R10 - 4, 0),
        ld_map_fd(R1, servers),
        mov(R2, R10),
        add(R2, -4),
        call("map_lookup_elem"),
        jeq(R0, 0, "pass"),
        mov(R7, R0),
        mov(R1, R6),
        mov(R2, R7),
        mov(R3, 0),
        call("sk_assign"),
        mov(R1, R7),
        call("sk_release"),
        Label("pass"),
        mov(R0, 1),
        exit_(),
    ]


def serve(server: socket.socket, first: int, last: int) -> None:
    """Attach, and answer until Ctrl-C."""
    with (
        ebpf.Map.create(ebpf.MapType.SOCKMAP, max_entries=1, name="servers") as servers,
        ebpf.Program.load(
            ebpf.ProgramType.SK_LOOKUP,
            program(servers, first, last),
            attach_type=ebpf.AttachType.SK_LOOKUP,
            name="port_range",
        ) as looking_up,
    ):
        servers[0] = server
        looking_up.attach_netns()
        try:
            tell = f"port_range: serving {first} to {last}; Ctrl-C ends it"
            print(tell, file=sys.stderr, flush=True)
            while True:
                answer(server)
        except KeyboardInterrupt:
            pass


def answer(server: socket.socket) -> None:
    client, address = server.accept()
    with client:
        port = client.getsockname()[1]
        # One that has hung up is told nothing.
        with contextlib.suppress(ConnectionError):
            client.sendall(f"this is port {port}\n".encode())
        print(f"{address[0]} came to port {port}", flush=True)


def ports(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    try:
        found = int(first), int(last or first)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST-LAST") from None
    if not 0 < found[0] <= found[1] < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is no range of ports, 1 to 65535")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ports", type=ports, help="FIRST-LAST")
    parser.add_argument("--address", default="127.0.0.1", help="where to listen (127.0.0.1)")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with socket.create_server((options.address, 0)) as server:
            serve(server, *options.ports)
    except (ebpf.EbpfError, OSError) as error:
        raise SystemExit(f"port_range: {error}") from None


if __name__ == "__main__":
    main()
