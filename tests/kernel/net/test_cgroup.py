"""Programs of cgroups: what the sockets of a process inside find."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ebpf import (
    AttachType,
    BpfError,
    BpfPermissionError,
    CollectionSpec,
    Program,
    ProgramType,
    links,
)
from ebpf.asm import R0, R1, R2, exit_, mov, stxw
from tests.kernel.links.hooks import inside_cgroup
from tests.kernel.links.socket_hooks import CALLS, LOOPBACK, bound, opens_tcp, sends
from tests.kernel.net.support import Numbered, ids, returning
from tests.objects import compiled

A = AttachType
EGRESS = A.CGROUP_INET_EGRESS
V4, V6 = socket.AF_INET, socket.AF_INET6


# What a program that returns 0 there makes of the call that comes to it.
DENYING = [
    *(A.CGROUP_INET_EGRESS, A.CGROUP_INET_SOCK_CREATE, A.CGROUP_DEVICE, A.CGROUP_SYSCTL),
    *(A.CGROUP_INET4_POST_BIND, A.CGROUP_INET6_POST_BIND, A.CGROUP_INET4_BIND, A.CGROUP_INET6_BIND),
    *(A.CGROUP_INET4_CONNECT, A.CGROUP_INET6_CONNECT, A.CGROUP_UNIX_CONNECT),
    *(A.CGROUP_UDP4_SENDMSG, A.CGROUP_UDP6_SENDMSG, A.CGROUP_UNIX_SENDMSG),
    *(A.CGROUP_GETSOCKOPT, A.CGROUP_SETSOCKOPT),
]


@pytest.mark.parametrize("hook", DENYING, ids=lambda hook: hook.name)
def test_a_program_denies_what_its_cgroup_does(hook: AttachType, group: Path) -> None:
    """Its 0 is not what the caller gets, or others get it too."""
    with returning(0, hook) as program, program.attach_cgroup(group):
        CALLS[hook]()
        with inside_cgroup(), pytest.raises(PermissionError):
            CALLS[hook]()
    with inside_cgroup():
        CALLS[hook]()


def test_packets_that_come_in_are_dropped(group: Path) -> None:
    """The sender sees nothing of it, the receiver no packet."""
    with returning(0, A.CGROUP_INET_INGRESS) as program, inside_cgroup(), bound(V4) as receiver:
        with bound(V4) as sender:
            with program.attach_cgroup(group):
                sender.sendto(b"dropped", receiver.getsockname())
            sender.sendto(b"passed", receiver.getsockname())
        assert receiver.recv(16) == b"passed"


# Where struct bpf_sock_addr has the port, in network byte order.
USER_PORT = 24


def to_port(port: int, hook: AttachType) -> Program:
    """A program that writes `port` where the kernel or the caller has another."""
    insns = [mov(R2, socket.htons(port)), stxw(R1 + USER_PORT, R2), mov(R0, 1), exit_()]
    return Program.load(ProgramType.CGROUP_SOCK_ADDR, insns, license="GPL", attach_type=hook)


def connected(one: socket.socket, other: socket.socket, family: int) -> int:
    one.connect((LOOPBACK[socket.AddressFamily(family)], 1))
    return int(one.getpeername()[1])


def sent(one: socket.socket, other: socket.socket, family: int) -> int:
    one.sendto(b"1", (LOOPBACK[socket.AddressFamily(family)], 1))
    assert other.recv(2) == b"1"
    return int(other.getsockname()[1])


def received(one: socket.socket, other: socket.socket, family: int) -> int:
    one.sendto(b"1", other.getsockname())
    return int(other.recvfrom(2)[1][1])


def peer(one: socket.socket, other: socket.socket, family: int) -> int:
    one.connect(one.getsockname())
    return int(one.getpeername()[1])


def own(one: socket.socket, other: socket.socket, family: int) -> int:
    return int(one.getsockname()[1])


Rewritten = Callable[[socket.socket, socket.socket, int], int]
REWRITING: dict[AttachType, tuple[int, Rewritten]] = {
    A.CGROUP_INET4_CONNECT: (V4, connected),
    A.CGROUP_INET6_CONNECT: (V6, connected),
    A.CGROUP_UDP4_SENDMSG: (V4, sent),
    A.CGROUP_UDP6_SENDMSG: (V6, sent),
    A.CGROUP_UDP4_RECVMSG: (V4, received),
    A.CGROUP_UDP6_RECVMSG: (V6, received),
    A.CGROUP_INET4_GETPEERNAME: (V4, peer),
    A.CGROUP_INET6_GETPEERNAME: (V6, peer),
    A.CGROUP_INET4_GETSOCKNAME: (V4, own),
    A.CGROUP_INET6_GETSOCKNAME: (V6, own),
}


@pytest.mark.parametrize("hook", REWRITING, ids=lambda hook: hook.name)
def test_a_program_rewrites_an_address(hook: AttachType, group: Path) -> None:
    """The port that the program wrote is not the one that is connected, sent to or shown."""
    family, call = REWRITING[hook]
    with inside_cgroup(), bound(family) as one, bound(family) as other:
        port = other.getsockname()[1]
        with to_port(port, hook) as program, program.attach_cgroup(group):
            assert call(one, other, family) == port


def test_bind_goes_to_another_port(group: Path) -> None:
    """The port that the program wrote is not the one that is bound."""
    with bound(V4) as free:
        port = free.getsockname()[1]
    program = to_port(port, A.CGROUP_INET4_BIND)
    with program, program.attach_cgroup(group), inside_cgroup(), bound(V4) as moved:
        assert moved.getsockname()[1] == port


def test_a_program_counts_for_cgroups_below(group: Path) -> None:
    """A process is let out of the policy by moving it further down."""
    below = group / "below"
    below.mkdir()
    with returning(0, EGRESS) as program, program.attach_cgroup(group) as link:
        assert ids(below, effective=True) == [link.info().prog_id]
        assert ids(below) == []
        link.detach()
        assert ids(below, effective=True) == []


def test_a_link_lets_others_in_and_is_updated(group: Path) -> None:
    """The second replaces the first, or the new program is not the one that runs."""
    with returning(1, EGRESS) as passing, returning(0, EGRESS) as dropping:
        with passing.attach_cgroup(group) as link, passing.attach_cgroup(group):
            assert len(ids(group)) == 2
            link.update(dropping, expected=passing)
            with inside_cgroup(), pytest.raises(PermissionError):
                sends(V4)()
            with pytest.raises(BpfPermissionError):
                link.update(dropping, expected=passing)
        assert ids(group) == []


def test_the_function_takes_anything_with_descriptors(group: Path) -> None:
    """A cgroup's descriptor, or a program that is no Program, are not taken."""
    with returning(1, EGRESS) as program, open(os.devnull) as wrong:
        with Program.from_fd(program.fileno()) as opened:
            directory = os.open(group, os.O_RDONLY)
            try:
                with links.attach_cgroup(opened, Numbered(directory), EGRESS):
                    assert ids(group) == [program.info().id]
            finally:
                os.close(directory)
            with pytest.raises(ValueError, match="have several hooks: CGROUP_INET_INGRESS"):
                opened.attach_cgroup(group)
        with pytest.raises(BpfError, match="is no cgroup v2 directory"):
            program.attach_cgroup(wrong)


def test_types_with_one_hook_need_not_name_it(group: Path) -> None:
    """The caller has to say what is known."""
    for type, hook in {
        ProgramType.SOCK_OPS: A.CGROUP_SOCK_OPS,
        ProgramType.CGROUP_DEVICE: A.CGROUP_DEVICE,
        ProgramType.CGROUP_SYSCTL: A.CGROUP_SYSCTL,
    }.items():
        with returning(1, type=type) as program, program.attach_cgroup(group) as link:
            assert link.info().details["attach_type"] is hook


def test_the_sections_of_an_object(group: Path) -> None:
    """A program is left out although the cgroup is given, or attached to another hook."""
    with CollectionSpec.from_file(compiled("cgroup")).load() as objects:
        assert objects.attach() == []
        with pytest.raises(TypeError, match=r"no program of .* takes netns="):
            objects.attach(cgroup=group, netns="/proc/self/ns/net")
        assert ids(group) == []
        made = objects.attach(cgroup=group)
        assert len(made) == 4
        with inside_cgroup():
            opens_tcp()
        values = {name: variable.value for name, variable in objects.variables.items()}
        assert values["connected"] == 1
        assert values["created"] >= 2
        assert values["sent"] >= 3
        assert values["operations"] >= 2
        program = objects.programs["counts_packets"]
        with pytest.raises(TypeError, match=r"cgroup takes cgroup=$"):
            program.attach()
        with pytest.raises(TypeError, match="cgroup takes cgroup=, not netns="):
            program.attach(netns="/proc/self/ns/net")
    assert ids(group) == []
