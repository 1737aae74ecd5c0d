#!/usr/bin/env python3
"""tcpconnect: which program connects to where by TCP, live.

    sudo python tcpconnect.py                until Ctrl-C
    sudo python tcpconnect.py --port 443 --pid 4711

Seen is every attempt to connect, at the moment when it is made; whether somebody answers is not.
Process ids are those of the whole machine, also when this runs in a container.
The program in the kernel is called when the function tcp_connect() is entered (fentry), and reads
the socket by the types of the running kernel.
"""

from __future__ import annotations

import argparse
import socket
import sys
from dataclasses import dataclass
from typing import Annotated

import ebpf
from ebpf import asm
from ebpf.asm import (
    R0,
    R1,
    R2,
    R6,
    R7,
    R10,
    Label,
    Memory,
    add,
    call,
    exit_,
    jne,
    mov,
    rsh,
    snippets,
    stxdw,
    stxh,
    stxw,
)
from ebpf.codec import Char, Raw, codec, u16, u32, u64
from ebpf.kernel_btf import kernel_btf
from parts.command import Trace
from parts.terminal import Lines, escape_output, printable


@dataclass
class Connect:
    time: u64
    process: u32
    family: u16
    port: u16  # of the other side, in network byte order
    name: Annotated[str, Char(16)]
    source: Annotated[bytes, Raw(16)]
    target: Annotated[bytes, Raw(16)]


def program(events: ebpf.Map[object, object], pid: int, port: int) -> list[object]:
    """Writes a Connect; R6 is the socket."""
    record = codec(Connect)
    start = R10 - record.size
    arguments = asm.arguments("tcp_connect", kernel_btf)
    sock = arguments.struct("sk")

    def at(field: str) -> Memory:
        return start + record.offsetof(field)

    return [
        arguments.load(R6, R1, "sk"),
        call("get_current_pid_tgid"),
        rsh(R0, 32),
        [jne(R0, pid, "end")] if pid else [],
        stxw(at("process"), R0),
        sock.load(R7, R6, "__sk_common.skc_dport"),
        [jne(R7, socket.htons(port), "end")] if port else [],
        stxh(at("port"), R7),
        call("ktime_get_ns"),
        stxdw(at("time"), R0),
        mov(R1, R10),
        add(R1, at("name").offset),
        mov(R2, 16),
        call("get_current_comm"),
        # IPv6's first: these overwrite what belongs to the others.
        sock.copy(at("source"), R6, "__sk_common.skc_v6_rcv_saddr"),
        sock.copy(at("target"), R6, "__sk_common.skc_v6_daddr"),
        sock.load(R7, R6, "__sk_common.skc_family"),
        stxh(at("family"), R7),
        jne(R7, socket.AF_INET, "output"),
        sock.copy(at("source"), R6, "__sk_common.skc_rcv_saddr"),
        sock.copy(at("target"), R6, "__sk_common.skc_daddr"),
        Label("output"),
        snippets.ring_output(events, start, record.size),
        Label("end"),
        mov(R0, 0),
        exit_(),
    ]


def address(family: int, raw: bytes) -> str:
    return socket.inet_ntop(family, raw if family == socket.AF_INET6 else raw[:4])


def trace(pid: int, port: int) -> None:
    """Attach, and print until Ctrl-C or SIGTERM."""
    with (
        ebpf.Map.create(ebpf.MapType.RINGBUF, max_entries=1 << 18, name="events") as events,
        ebpf.Program.load(
            ebpf.ProgramType.TRACING,
            program(events, pid, port),
            license="GPL",
            attach_type=ebpf.AttachType.TRACE_FENTRY,
            attach_to="tcp_connect",
            name="tcpconnect",
        ) as connecting,
    ):
        connecting.attach_tracing()
        escape_output()
        titles = ("PID", "NAME", "FROM", "TO", "PORT")
        lines = Lines(sys.stdout, "{:>7} {:16} {:39} {:39} {}", titles)
        record = codec(Connect)
        tracing = Trace("tcpconnect", events, None, lambda: False)
        tracing.show(lambda data: show(record.unpack(data), lines), sys.stdout)


def show(event: Connect, lines: Lines) -> None:
    lines.write(
        event.time,
        event.process,
        printable(event.name),
        address(event.family, event.source),
        address(event.family, event.target),
        socket.ntohs(event.port),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pid", type=int, default=0, help="one process only")
    parser.add_argument("--port", type=int, default=0, help="connections to this port only")
    options = parser.parse_args()
    try:
        trace(options.pid, options.port)
    except ebpf.EbpfError as error:
        # No permission, or a kernel without trampolines.
        raise SystemExit(f"tcpconnect: {error}") from None


if __name__ == "__main__":
    main()
