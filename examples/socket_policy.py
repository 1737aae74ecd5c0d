#!/usr/bin/env python3
"""socket_policy: a command that may connect to some ports only, and listen at some.

    sudo python socket_policy.py --connect 443 --connect 53 -- curl https://www.kernel.org/
    sudo python socket_policy.py --bind 8000-8100 -- python -m http.server 8000

The command runs in a cgroup of its own, whose sockets are judged when they are bound and when they
connect: a port that is not allowed is EPERM ("Operation not permitted"). Without --connect, or
without --bind, all ports are allowed for that. Port 0, the kernel's choice, may always be bound.
"""

from __future__ import annotations

import argparse
import sys

import ebpf
from ebpf.asm import (
    R0,
    R1,
    R2,
    R10,
    Label,
    add,
    atomic_add,
    be16,
    call,
    exit_,
    jeq,
    ld_map_fd,
    ldxw,
    mov,
    stxw,
)
from parts.cgroups import own_cgroup, run_in

HOOKS = {
    "connect": (
        ebpf.AttachType.CGROUP_INET4_CONNECT,
        ebpf.AttachType.CGROUP_INET6_CONNECT,
        ebpf.AttachType.CGROUP_UDP4_SENDMSG,
        ebpf.AttachType.CGROUP_UDP6_SENDMSG,
    ),
    "bind": (ebpf.AttachType.CGROUP_INET4_BIND, ebpf.AttachType.CGROUP_INET6_BIND),
}

# Where struct bpf_sock_addr has the port, in network byte order.
USER_PORT = 24


def program(ports: ebpf.HashMap[int, int]) -> list[object]:
    """Returns 1 for a port that is in the map, and counts it."""
    return [
        ldxw(R1, R1 + USER_PORT),
        be16(R1),
        stxw(R10 - 4, R1),
        ld_map_fd(R1, ports),
        mov(R2, R10),
        add(R2, -4),
        call("map_lookup_elem"),
        jeq(R0, 0, "deny"),
        mov(R1, 1),
        atomic_add(R0 + 0, R1),
        mov(R0, 1),
        Label("deny"),
        exit_(),
    ]


def ports(text: str) -> range:
    """``"80"`` or ``"8000-8100"``."""
    first, _, last = text.partition("-")
    try:
        found = range(int(first), int(last or first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not PORT or FIRST-LAST") from None
    if not found or found[0] < 0 or found[-1] > 0xFFFF:
        raise argparse.ArgumentTypeError(f"{text!r} is no range of ports, 0 to 65535")
    return found


def run(allowed: dict[str, list[range]], command: list[str]) -> int:
    """Run `command`; its exit status."""
    with (
        ebpf.HashMap.create(key="I", value="Q", max_entries=1 << 16, name="connect") as connect,
        ebpf.HashMap.create(key="I", value="Q", max_entries=1 << 16, name="bind") as bind,
        own_cgroup("socket_policy") as cgroup,
    ):
        bind[0] = 0
        loaded: list[ebpf.Program] = []
        try:
            for what, counts in (("connect", connect), ("bind", bind)):
                if not allowed[what]:
                    continue
                counts.update({port: 0 for some in allowed[what] for port in some})
                for hook in HOOKS[what]:
                    loaded.append(load(hook, counts))
                    loaded[-1].attach_cgroup(cgroup)
            status = run_in(cgroup, command)
        finally:
            for program in loaded:
                program.close()
        for what, counts in (("connect", connect), ("bind", bind)):
            for port, count in sorted(counts.items()):
                if port and count:
                    print(f"{what} to port {port}: {count} times", file=sys.stderr)
        return status


def load(hook: ebpf.AttachType, counts: ebpf.HashMap[int, int]) -> ebpf.Program:
    type = ebpf.ProgramType.CGROUP_SOCK_ADDR
    return ebpf.Program.load(type, program(counts), attach_type=hook, name="socket_policy")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for what in HOOKS:
        parser.add_argument(
            f"--{what}",
            metavar="PORTS",
            type=ports,
            action="append",
            default=[],
            help=f"a port, or FIRST-LAST, to {what} to",
        )
    parser.add_argument("command", nargs="+", help="after --")
    options = parser.parse_args()
    try:
        raise SystemExit(run({"connect": options.connect, "bind": options.bind}, options.command))
    except ebpf.EbpfError as error:
        raise SystemExit(f"socket_policy: {error}") from None


if __name__ == "__main__":
    main()
