"""Programs of sockets and of groups of sockets."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ebpf import (
    AttachType,
    BpfError,
    BpfPermissionError,
    ClosedError,
    CollectionSpec,
    Map,
    MapType,
    NotSupportedError,
    Program,
    ProgramType,
)
from ebpf.asm import (
    R0,
    R2,
    R3,
    R4,
    R10,
    add,
    call,
    exit_,
    ld_map_fd,
    mov,
    stw,
)
from tests.kernel.links.socket_hooks import tcp_pair
from tests.kernel.net.network import Namespace
from tests.kernel.net.support import bound, connections, port_of, returning
from tests.objects import compiled

A = AttachType
V4, UDP, TCP = socket.AF_INET, socket.SOCK_DGRAM, socket.SOCK_STREAM
REUSEPORT = (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


# ---- filters of a socket


def test_a_filter_drops_and_shortens(space: Namespace) -> None:
    """Packets pass that it drops, or are dropped when it has ended."""
    with bound(space) as receiver, bound(space) as sender:

        def send(data: bytes) -> None:
            sender.sendto(data, receiver.getsockname())

        with (
            returning(0, type=ProgramType.SOCKET_FILTER) as drop,
            returning(8 + 3, type=ProgramType.SOCKET_FILTER) as cut,
        ):
            # The filter sees the UDP header, of 8 bytes, too.
            with drop.attach_socket_filter(receiver):
                send(b"dropped")
                with cut.attach_socket_filter(receiver):
                    send(b"cut off")
            send(b"whole")
        assert [receiver.recv(16) for _ in range(2)] == [b"cut", b"whole"]


def test_a_filter_without_an_owner(space: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no descriptor is left to tell the socket by, it has a filter that nothing takes off."""

    def full(fd: int, *, group: bool) -> tuple[object, ...]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("ebpf.links.socket._identity", full)
    with (
        bound(space) as receiver,
        bound(space) as sender,
        returning(0, type=ProgramType.SOCKET_FILTER) as drop,
    ):
        with pytest.raises(BpfError, match="EMFILE"):
            drop.attach_socket_filter(receiver)
        sender.sendto(b"1", receiver.getsockname())
        assert receiver.recv(2) == b"1"


def test_closing_a_filter_that_was_replaced(space: Namespace) -> None:
    """The way to replace a filter, and to close the old one, leaves the socket without any."""
    with (
        returning(0, type=ProgramType.SOCKET_FILTER) as drop,
        returning(8 + 3, type=ProgramType.SOCKET_FILTER) as cut,
        bound(space) as receiver,
        bound(space) as sender,
    ):

        def send(data: bytes) -> None:
            sender.sendto(data, receiver.getsockname())

        first = drop.attach_socket_filter(receiver)
        second = cut.attach_socket_filter(receiver)
        first.close()
        send(b"cut off")
        # By another object of the same socket, too.
        with receiver.dup() as same:
            third = drop.attach_socket_filter(same)
            second.close()
            send(b"dropped")
            third.close()
        send(b"whole")
        assert [receiver.recv(16) for _ in range(2)] == [b"cut", b"whole"]


def test_a_filter_does_not_keep_the_socket(space: Namespace) -> None:
    """The port stays taken after the socket was closed; or closing the link fails then."""
    with returning(0, type=ProgramType.SOCKET_FILTER) as drop:
        with bound(space) as receiver:
            port = port_of(receiver)
            link = drop.attach_socket_filter(receiver)
        with bound(space, port):
            link.close()
        assert link.closed
        with pytest.raises(ClosedError), link:
            pass


def test_what_a_filter_has_not(space: Namespace) -> None:
    """It acts as if there were a link."""
    with (
        returning(0, type=ProgramType.SOCKET_FILTER) as drop,
        bound(space) as receiver,
        drop.attach_socket_filter(receiver) as link,
    ):
        calls: list[Callable[[], object]] = [
            link.fileno,
            link.info,
            lambda: link.update(drop),
            lambda: link.pin("/sys/fs/bpf/never"),
        ]
        for call_ in calls:
            with pytest.raises(NotSupportedError, match="programs of sockets have no links"):
                call_()
        link.detach()
        assert link.closed


def test_mistakes_with_sockets(space: Namespace) -> None:
    """The error does not say what is wrong."""
    with (
        returning(0, type=ProgramType.SOCKET_FILTER) as drop,
        returning(0, type=ProgramType.XDP) as other,
        bound(space) as receiver,
        open(os.devnull) as file,
    ):
        for attach in (drop.attach_socket_filter, drop.attach_reuseport):
            with pytest.raises(BpfError, match="this is no socket") as caught:
                attach(file)
            assert caught.value.errno == errno.ENOTSOCK
            with pytest.raises(TypeError, match="socket: 3 has no descriptor"):
                attach(3)  # type: ignore[arg-type]
        with pytest.raises(BpfError, match="another type"):
            other.attach_socket_filter(receiver)
        with pytest.raises(BpfError, match="another type"):
            other.attach_reuseport(receiver)
        with pytest.raises(BpfError, match="in no group: set SO_REUSEPORT and bind it"):
            drop.attach_reuseport(receiver)
        drop.attach_socket_filter(receiver)
        receiver.setsockopt(socket.SOL_SOCKET, 44, 1)  # SO_LOCK_FILTER
        with pytest.raises(BpfPermissionError, match="filter is locked"):
            drop.attach_socket_filter(receiver)
        # Nobody can take it away again.
        receiver.close()


def in_child(call: Callable[[], object]) -> None:
    child = os.fork()
    if child == 0:
        call()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_a_forked_child_does_not_detach(space: Namespace) -> None:
    """What the parent has attached ends with the child."""
    with (
        bound(space) as receiver,
        bound(space) as sender,
        returning(8 + 3, type=ProgramType.SOCKET_FILTER) as cut,
    ):
        link = cut.attach_socket_filter(receiver)
        in_child(link.close)
        sender.sendto(b"cut off", receiver.getsockname())
        assert receiver.recv(16) == b"cut"
    with (
        Map.create(MapType.SOCKMAP, max_entries=1) as target,
        returning(0, type=ProgramType.SK_MSG) as drop,
    ):
        link = drop.attach_sockmap(target)
        in_child(link.close)
        one, other = tcp_pair()
        with one, other:
            target.put(0, one)
            with pytest.raises(OSError, match="Permission denied"):
                one.sendall(b"dropped")


# ---- groups of sockets


@contextmanager
def group(space: Namespace) -> Iterator[list[socket.socket]]:
    with bound(space, 0, REUSEPORT) as one, bound(space, port_of(one), REUSEPORT) as two:
        yield [one, two]


def arrivals(space: Namespace, members: list[socket.socket], count: int = 16) -> list[int]:
    """How many datagrams came to each member, of `count` from as many senders."""
    for _ in range(count):
        with bound(space) as sender:
            sender.sendto(b"1", members[0].getsockname())
    got = [0, 0]
    while sum(got) < count:
        ready, _, _ = select.select(members, [], [], 60)
        assert ready
        for one in ready:
            one.recv(1)
            got[members.index(one)] += 1
    return got


@pytest.mark.parametrize("number", [0, 1])
def test_a_filter_program_numbers_the_socket(space: Namespace, number: int) -> None:
    """Others of the group get packets as well."""
    with returning(number, type=ProgramType.SOCKET_FILTER) as program, group(space) as members:
        with program.attach_reuseport(members[0]):
            assert arrivals(space, members)[number] == 16
        assert all(arrivals(space, members, 64))


def test_closing_a_program_of_a_group_that_was_replaced(space: Namespace) -> None:
    """Closing what was attached by one socket, takes off what another one of the group attached."""
    with (
        returning(0, type=ProgramType.SOCKET_FILTER) as old,
        returning(1, type=ProgramType.SOCKET_FILTER) as new,
        group(space) as members,
    ):
        first = old.attach_reuseport(members[0])
        with new.attach_reuseport(members[1]):
            first.close()
            assert arrivals(space, members)[1] == 16


def test_a_reuseport_program_selects_the_socket(space: Namespace) -> None:
    """The map's socket is not the one that gets the packets."""
    with (
        Map.create(MapType.REUSEPORT_SOCKARRAY, value="Q", max_entries=2) as chosen,
        group(space) as members,
    ):
        insns = [
            stw(R10 - 4, 0),
            ld_map_fd(R2, chosen),
            mov(R3, R10),
            add(R3, -4),
            mov(R4, 0),
            call("sk_select_reuseport"),
            mov(R0, 1),
            exit_(),
        ]
        with (
            Program.load(ProgramType.SK_REUSEPORT, insns, license="GPL") as program,
            program.attach_reuseport(members[0]),
        ):
            for number, member in enumerate(members):
                chosen.put(0, member)
                assert arrivals(space, members)[number] == 16


# ---- by section


def test_the_sections_of_an_object(space: Namespace) -> None:
    """A program is left out although its place is given, or attached to another."""
    with (
        CollectionSpec.from_file(compiled("sockets")).load() as objects,
        Map.create(MapType.SOCKMAP, max_entries=2) as target,
        connections() as ends,
        bound(space, 0, REUSEPORT) as receiver,
    ):
        assert objects.attach() == []
        made = objects.attach(netns=space, map=target, socket=receiver)
        assert len(made) == 6
        target.put(0, ends[0])
        target.put(1, ends[3])
        for one, other in ((0, 1), (2, 3)):
            ends[one].sendall(b"1")
            assert ends[other].recv(2) == b"1"
        with bound(space) as sender:
            sender.sendto(b"1", receiver.getsockname())
        assert receiver.recv(2) == b"1"
        values = {name: variable.value for name, variable in objects.variables.items()}
        assert all(values[name] for name in ("received", "chosen", "looked_up", "sent", "arrived"))
        with pytest.raises(TypeError, match="sk_msg takes map="):
            objects.programs["counts_messages"].attach()
        for link in made:
            link.close()
