"""Every hook of sockets and cgroups, as hooks.py has those of tracing programs.

What is attached to here belongs to the test alone, so a program counts whoever passes: in
the map's entry of the process that loaded it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ebpf import AttachType, Link, Program, ProgramType
from ebpf.asm import R0, exit_, mov
from ebpf.links.cgroup_hooks import CGROUP_HOOKS
from tests.kernel.links.hooks import Counts, Hook, Load, cgroup, inside_cgroup, remove_cgroups
from tests.kernel.samples import PASS, count

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}

_A = AttachType


def counting(type: ProgramType, attach_type: AttachType | None = None, returns: int = 1) -> Load:
    """Loads a program that counts its runs for this process, and returns a number."""

    def load(counts: Counts) -> Program:
        body = count(counts)[2 : -len(PASS)]
        insns = [mov(R0, os.getpid()), *body, mov(R0, returns), exit_()]
        return Program.load(type, insns, license="GPL", attach_type=attach_type)

    return load


@contextmanager
def bound(family: int, type: int = socket.SOCK_DGRAM) -> Iterator[socket.socket]:
    """A socket on the loopback interface, or with an address that is no file's."""
    with socket.socket(family, type) as made:
        made.settimeout(60)
        if family == socket.AF_UNIX:
            made.bind(f"\0ebpf-test-{os.getpid()}-{made.fileno()}")
        else:
            made.bind((LOOPBACK[socket.AddressFamily(family)], 0))
        yield made


def sends(family: int) -> Callable[[], object]:
    def call() -> None:
        with bound(family) as receiver, bound(family) as sender:
            sender.sendto(b"1", receiver.getsockname())
            assert receiver.recvfrom(2)[0] == b"1"

    return call


def connects(family: int) -> Callable[[], object]:
    def call() -> None:
        type = socket.SOCK_STREAM if family == socket.AF_UNIX else socket.SOCK_DGRAM
        with bound(family, type) as server, socket.socket(family, type) as client:
            if type == socket.SOCK_STREAM:
                server.listen()
            client.connect(server.getsockname())
            client.getpeername()

    return call


def opens_tcp() -> None:
    with bound(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.listen()
        with socket.create_connection(server.getsockname(), 60):
            server.accept()[0].close()


def sets_option() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        made.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def opens(path: str) -> Callable[[], object]:
    def call() -> None:
        with open(path, "rb") as file:
            file.read(1)

    return call


V4, V6, UNIX = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX
CALLS: dict[AttachType, Callable[[], object]] = {
    **dict.fromkeys((_A.CGROUP_INET_INGRESS, _A.CGROUP_INET_EGRESS), sends(V4)),
    **dict.fromkeys((_A.CGROUP_INET_SOCK_CREATE, _A.CGROUP_INET_SOCK_RELEASE), sends(V4)),
    **dict.fromkeys((_A.CGROUP_INET4_POST_BIND, _A.CGROUP_INET4_BIND), sends(V4)),
    **dict.fromkeys((_A.CGROUP_INET6_POST_BIND, _A.CGROUP_INET6_BIND), sends(V6)),
    **dict.fromkeys((_A.CGROUP_UDP4_SENDMSG, _A.CGROUP_UDP4_RECVMSG), sends(V4)),
    **dict.fromkeys((_A.CGROUP_UDP6_SENDMSG, _A.CGROUP_UDP6_RECVMSG), sends(V6)),
    **dict.fromkeys((_A.CGROUP_UNIX_SENDMSG, _A.CGROUP_UNIX_RECVMSG), sends(UNIX)),
    **dict.fromkeys((_A.CGROUP_INET4_CONNECT, _A.CGROUP_INET4_GETPEERNAME), connects(V4)),
    **dict.fromkeys((_A.CGROUP_INET6_CONNECT, _A.CGROUP_INET6_GETPEERNAME), connects(V6)),
    **dict.fromkeys((_A.CGROUP_UNIX_CONNECT, _A.CGROUP_UNIX_GETPEERNAME), connects(UNIX)),
    _A.CGROUP_INET4_GETSOCKNAME: connects(V4),
    _A.CGROUP_INET6_GETSOCKNAME: connects(V6),
    _A.CGROUP_UNIX_GETSOCKNAME: connects(UNIX),
    _A.CGROUP_SOCK_OPS: opens_tcp,
    _A.CGROUP_DEVICE: opens("/dev/null"),
    _A.CGROUP_SYSCTL: opens("/proc/sys/kernel/ostype"),
    **dict.fromkeys((_A.CGROUP_GETSOCKOPT, _A.CGROUP_SETSOCKOPT), sets_option),
}


def in_the_cgroup(call: Callable[[], object]) -> Callable[[Link | None], object]:
    def trigger(link: Link | None) -> None:
        with inside_cgroup():
            call()

    return trigger


def _of_cgroup(hook: AttachType, type: ProgramType) -> Hook:
    return Hook(
        counting(type, hook),
        lambda program: program.attach_cgroup(cgroup()),
        in_the_cgroup(CALLS[hook]),
        cleanup=remove_cgroups,
    )


def _name(hook: AttachType) -> str:
    """ "cgroup inet4_bind"."""
    return f"cgroup {hook.name.lower().removeprefix('cgroup_')}"


SOCKET_HOOKS: dict[str, Hook] = {
    _name(hook): _of_cgroup(hook, type) for hook, type in CGROUP_HOOKS.items()
}
