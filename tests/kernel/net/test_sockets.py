"""Programs of sockets, of maps of sockets, of network namespaces and of netfilter."""

from __future__ import annotations

import errno
import os
import re
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ebpf import (
    AttachType,
    BpfError,
    BpfFileNotFoundError,
    BpfPermissionError,
    ClosedError,
    CollectionSpec,
    HashMap,
    LinkType,
    Map,
    MapType,
    NetfilterHook,
    NotSupportedError,
    Program,
    ProgramType,
    links,
    query,
)
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R4,
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
    ld_map_fd,
    ldxw,
    mov,
    stw,
)
from ebpf.links import SockmapAttachment
from tests.kernel.environment import kernel_version
from tests.kernel.links.socket_hooks import NETFILTER, counting, tcp_pair
from tests.kernel.net.network import Namespace
from tests.kernel.samples import per_process, wait_until
from tests.objects import compiled

A = AttachType
V4, UDP, TCP = socket.AF_INET, socket.SOCK_DGRAM, socket.SOCK_STREAM
REUSEPORT = (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


@pytest.fixture
def space() -> Iterator[Namespace]:
    made = Namespace()
    yield made
    made.close()


def returning(number: int, type: ProgramType, hook: AttachType | None = None) -> Program:
    return Program.load(type, [mov(R0, number), exit_()], license="GPL", attach_type=hook)


def bound(space: Namespace, port: int = 0, *options: tuple[int, int, int]) -> socket.socket:
    """A UDP socket on the loopback interface."""
    made = space.socket(V4, UDP)
    for option in options:
        made.setsockopt(*option)
    made.bind(("127.0.0.1", port))
    return made


def port_of(one: socket.socket) -> int:
    return int(one.getsockname()[1])


# ---- filters of a socket


def test_a_filter_drops_and_shortens(space: Namespace) -> None:
    """Packets pass that it drops, or are dropped when it has ended."""
    with bound(space) as receiver, bound(space) as sender:

        def send(data: bytes) -> None:
            sender.sendto(data, receiver.getsockname())

        with (
            returning(0, ProgramType.SOCKET_FILTER) as drop,
            returning(8 + 3, ProgramType.SOCKET_FILTER) as cut,
        ):
            # The filter sees the UDP header, of 8 bytes, too.
            with drop.attach_socket_filter(receiver):
                send(b"dropped")
                with cut.attach_socket_filter(receiver):
                    send(b"cut off")
            send(b"whole")
        assert [receiver.recv(16) for _ in range(2)] == [b"cut", b"whole"]


def test_closing_a_filter_that_was_replaced(space: Namespace) -> None:
    """The way to replace a filter, and to close the old one, leaves the socket without any."""
    with (
        returning(0, ProgramType.SOCKET_FILTER) as drop,
        returning(8 + 3, ProgramType.SOCKET_FILTER) as cut,
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
    with returning(0, ProgramType.SOCKET_FILTER) as drop:
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
        returning(0, ProgramType.SOCKET_FILTER) as drop,
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
        returning(0, ProgramType.SOCKET_FILTER) as drop,
        returning(0, ProgramType.XDP) as other,
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
        returning(8 + 3, ProgramType.SOCKET_FILTER) as cut,
    ):
        link = cut.attach_socket_filter(receiver)
        in_child(link.close)
        sender.sendto(b"cut off", receiver.getsockname())
        assert receiver.recv(16) == b"cut"
    with (
        Map.create(MapType.SOCKMAP, max_entries=1) as target,
        returning(0, ProgramType.SK_MSG) as drop,
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
    with returning(number, ProgramType.SOCKET_FILTER) as program, group(space) as members:
        with program.attach_reuseport(members[0]):
            assert arrivals(space, members)[number] == 16
        assert all(arrivals(space, members, 64))


def test_closing_a_program_of_a_group_that_was_replaced(space: Namespace) -> None:
    """Closing what was attached by one socket, takes off what another one of the group attached."""
    with (
        returning(0, ProgramType.SOCKET_FILTER) as old,
        returning(1, ProgramType.SOCKET_FILTER) as new,
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


# ---- network namespaces


def to_one_socket(target: Map[Any, Any], low: int, high: int) -> Program:
    """A program that gives what is for the ports `low` to `high` to the socket of the map."""
    insns = [
        mov(R6, R1),
        ldxw(R2, R6 + 60),  # local_port of struct bpf_sk_lookup
        jlt(R2, low, "pass"),
        jgt(R2, high, "pass"),
        stw(R10 - 4, 0),
        ld_map_fd(R1, target),
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
    return Program.load(ProgramType.SK_LOOKUP, insns, license="GPL", attach_type=A.SK_LOOKUP)


def test_a_range_of_ports_goes_to_one_server(space: Namespace) -> None:
    """A port of the range is refused, or one that is not is accepted."""
    with (
        space.socket(V4, TCP) as server,
        Map.create(MapType.SOCKMAP, max_entries=1) as target,
        to_one_socket(target, 7000, 7010) as program,
    ):
        server.bind(("127.0.0.1", 0))
        server.listen()
        target.put(0, server)

        def answers(port: int) -> bool:
            with space.socket(V4, TCP) as client:
                if client.connect_ex(("127.0.0.1", port)):
                    return False
                with server.accept()[0] as accepted:
                    return bool(accepted.getsockname()[1] == port)

        assert not answers(7000)
        with program.attach_netns(space) as link:
            assert [answers(port) for port in (6999, 7000, 7010, 7011)] == [0, 1, 1, 0]
            assert link.info().details["netns_ino"] == os.fstat(space.fileno()).st_ino
        assert not answers(7000)


def test_the_namespace_of_the_thread_is_the_default(space: Namespace) -> None:
    """The program is attached to another namespace."""
    with returning(1, ProgramType.SK_LOOKUP, A.SK_LOOKUP) as program:
        link = space.inside(program.attach_netns)
        assert link.info().details["netns_ino"] == os.fstat(space.fileno()).st_ino
        with links.attach_netns(program, space.path) as other:
            assert other.info().details == link.info().details


def test_a_namespace_that_vanishes(space: Namespace) -> None:
    """Closing fails, or the update seems to work."""
    gone = Namespace()
    with (
        returning(1, ProgramType.SK_LOOKUP, A.SK_LOOKUP) as program,
        program.attach_netns(gone) as link,
    ):
        gone.close()
        wait_until(lambda: not link.info().details["netns_ino"], "the namespace is gone")
        with pytest.raises(BpfError, match="what it was attached to is gone"):
            link.update(program)


def test_a_flow_dissector_is_the_only_one(space: Namespace) -> None:
    """The error does not say that the hook is taken."""
    with (
        returning(0, ProgramType.FLOW_DISSECTOR) as one,
        one.attach_netns(space) as link,
        returning(0, ProgramType.FLOW_DISSECTOR) as two,
    ):
        with pytest.raises(BpfError, match="the hook is taken"):
            two.attach_netns(space)
        link.update(two, expected=one)
        assert link.info().prog_id == two.info().id


def test_what_is_attached_is_told(space: Namespace) -> None:
    """The program of another hook or namespace; bpftool shows the flow dissector."""
    with (
        returning(0, ProgramType.FLOW_DISSECTOR) as flow,
        returning(1, ProgramType.SK_LOOKUP, A.SK_LOOKUP) as lookup,
    ):
        flow.attach_netns(space)
        lookup.attach_netns(space)
        lookup.attach_netns(space)
        for target in (space, space.path):
            found = {name: hook.program_ids for name, hook in query(target).items()}
            assert found == {
                "flow_dissector": [flow.info().id],
                "sk_lookup": [lookup.info().id] * 2,
            }
        # Its JSON is none where there is a flow dissector (7.1).
        shown = space.command("bpftool", "net", "show").partition("flow_dissector:")[2]
        assert re.findall(r"id (\d+)", shown)[:1] == [str(flow.info().id)]
    assert not any(hook.programs for hook in query(space).values())
    with pytest.raises(BpfError, match="this is no network namespace"):
        query(os.devnull)


def test_mistakes_with_namespaces(space: Namespace, tmp_path: Path) -> None:
    """Something is attached, or the error does not say what is wrong."""
    (tmp_path / "file").touch()
    with returning(1, ProgramType.SK_LOOKUP, A.SK_LOOKUP) as program:
        with pytest.raises(BpfFileNotFoundError, match="never"):
            program.attach_netns(tmp_path / "never")
        with pytest.raises(BpfError, match="is no network namespace"):
            program.attach_netns(tmp_path / "file")
        with pytest.raises(BpfError, match="is no network namespace"):
            program.attach_netns("/proc/self/ns/pid")
    with (
        returning(1, ProgramType.XDP) as other,
        pytest.raises(BpfError, match="it takes SK_LOOKUP or FLOW_DISSECTOR"),
    ):
        other.attach_netns(space)


# ---- maps of sockets


@contextmanager
def connections() -> Iterator[list[socket.socket]]:
    """Two connections: both ends of one, both ends of the other."""
    ends = [*tcp_pair(), *tcp_pair()]
    try:
        yield ends
    finally:
        for end in ends:
            end.close()


INGRESS = 1


def redirecting(
    helper: str, type: ProgramType, hook: AttachType, target: Any, flags: int
) -> Program:
    """A program that sends what comes to it to the socket with the key 1 of the map."""
    if target.type is MapType.SOCKMAP:
        arguments = [ld_map_fd(R2, target), mov(R3, 1)]
    else:
        arguments = [stw(R10 - 4, 1), ld_map_fd(R2, target), mov(R3, R10), add(R3, -4)]
    insns = [*arguments, mov(R4, flags), call(helper), exit_()]
    return Program.load(type, insns, license="GPL", attach_type=hook)


def map_of_sockets(type: MapType) -> Any:
    if type is MapType.SOCKMAP:
        return Map.create(MapType.SOCKMAP, max_entries=4)
    return HashMap.create(type=MapType.SOCKHASH, key="I", value="I", max_entries=4)


MAPS = pytest.mark.parametrize("type", [MapType.SOCKMAP, MapType.SOCKHASH], ids=lambda t: t.name)


@MAPS
def test_what_is_sent_goes_to_another_connection(type: MapType) -> None:
    """It arrives at the peer, or nowhere; or still does when the link is closed."""
    helper = "msg_redirect_map" if type is MapType.SOCKMAP else "msg_redirect_hash"
    with connections() as (one, one_peer, _, two_peer), map_of_sockets(type) as target:
        program = redirecting(helper, ProgramType.SK_MSG, A.SK_MSG_VERDICT, target, INGRESS)
        with program, program.attach_sockmap(target):
            target.put(0, one)
            target.put(1, two_peer)
            one.sendall(b"to another")
            assert two_peer.recv(64) == b"to another"
        target.delete(0)
        one.sendall(b"to its peer")
        assert one_peer.recv(64) == b"to its peer"


@MAPS
def test_what_arrives_is_sent_on_by_another_connection(type: MapType) -> None:
    """A proxy in the kernel: the data is not read here, yet arrives."""
    helper = "sk_redirect_map" if type is MapType.SOCKMAP else "sk_redirect_hash"
    hook = A.SK_SKB_STREAM_VERDICT
    with (
        connections() as (client, client_end, server_end, server),
        map_of_sockets(type) as m,
        redirecting(helper, ProgramType.SK_SKB, hook, m, 0) as program,
        program.attach_sockmap(m),
    ):
        m.put(0, client_end)
        m.put(1, server_end)
        for text in (b"hello", b"again"):
            client.sendall(text)
            assert server.recv(64) == text


def test_a_link_of_a_map_is_updated_and_told() -> None:
    """The kind, or the map, is another's; or the old program stays."""
    with (
        Map.create(MapType.SOCKMAP, max_entries=1) as target,
        returning(1, ProgramType.SK_MSG) as one,
        returning(0, ProgramType.SK_MSG) as two,
        one.attach_sockmap(target) as link,
    ):
        if isinstance(link, SockmapAttachment):
            assert kernel_version() < (6, 10)
            calls: list[Callable[[], object]] = [
                link.info,
                lambda: link.update(two),
                lambda: link.pin("/sys/fs/bpf/never"),
            ]
            for call_ in calls:
                with pytest.raises(NotSupportedError, match="links for maps of sockets"):
                    call_()
            return
        assert link.info().type is LinkType.SOCKMAP
        assert link.info().details == {
            "map_id": target.info().id,
            "attach_type": A.SK_MSG_VERDICT,
        }
        with pytest.raises(BpfError, match="the hook is taken"):
            two.attach_sockmap(target)
        link.update(two, expected=one)
        assert link.info().prog_id == two.info().id


def test_mistakes_with_maps() -> None:
    """Something is attached, or the kernel's EINVAL is all."""
    with (
        Map.create(MapType.SOCKMAP, max_entries=1) as target,
        HashMap.create(key="I", value="I", max_entries=1) as other,
        returning(1, ProgramType.SK_SKB) as data,
        returning(1, ProgramType.SK_MSG) as message,
    ):
        with pytest.raises(ValueError, match="SK_SKB programs have several hooks: SK_SKB_STREAM"):
            data.attach_sockmap(target)
        with pytest.raises(ValueError, match="XDP is no hook of a map of sockets"):
            data.attach_sockmap(target, A.XDP)
        with pytest.raises(BpfError, match="it takes SK_SKB"):
            message.attach_sockmap(target, A.SK_SKB_STREAM_VERDICT)
        with pytest.raises(BpfError, match="is a HASH; it takes a SOCKMAP or SOCKHASH"):
            message.attach_sockmap(other)
        with pytest.raises(TypeError, match="map: 'm' has no descriptor"):
            message.attach_sockmap("m")  # type: ignore[arg-type]


def test_hooks_of_a_map_that_exclude_each_other() -> None:
    """One of them is never asked."""
    with (
        Map.create(MapType.SOCKMAP, max_entries=1) as target,
        returning(1, ProgramType.SK_SKB) as program,
    ):
        # Raises what this kernel does not have, here where it is understood.
        program.attach_sockmap(target, A.SK_SKB_VERDICT).close()
        program.attach_sockmap(target, A.SK_SKB_STREAM_VERDICT)
        with pytest.raises(BpfError, match="exclude each other"):
            program.attach_sockmap(target, A.SK_SKB_VERDICT)


# ---- netfilter


def netfilter(function: Any) -> Any:
    for mark in NETFILTER:
        function = mark(function)
    return function


@netfilter
def test_a_netfilter_program_drops(space: Namespace) -> None:
    """Packets pass that it drops, or are dropped in another namespace or family, or after it."""
    with bound(space) as receiver, bound(space) as sender:
        with returning(0, ProgramType.NETFILTER, A.NETFILTER) as drop:
            with drop.attach_netfilter(NetfilterHook.LOCAL_IN, "ipv6", netns=space):
                sender.sendto(b"passes IPv6's", receiver.getsockname())
            with drop.attach_netfilter(NetfilterHook.LOCAL_IN, netns=space) as link:
                sender.sendto(b"dropped", receiver.getsockname())
                assert link.info().type is LinkType.NETFILTER
                assert link.info().details == {"pf": 2, "hooknum": 1, "priority": 0, "flags": 0}
        sender.sendto(b"passes", receiver.getsockname())
        assert [receiver.recv(64) for _ in range(2)] == [b"passes IPv6's", b"passes"]


@netfilter
def test_what_the_sender_is_told(space: Namespace) -> None:
    """The packet is dropped on another way than its own."""
    with (
        bound(space) as receiver,
        bound(space) as sender,
        returning(0, ProgramType.NETFILTER, A.NETFILTER) as drop,
        drop.attach_netfilter(NetfilterHook.LOCAL_OUT, netns=space),
        pytest.raises(PermissionError),
    ):
        sender.sendto(b"1", receiver.getsockname())


@netfilter
def test_programs_run_by_priority(space: Namespace) -> None:
    """The later one sees what the earlier has dropped."""
    hook = NetfilterHook.LOCAL_IN
    with (
        per_process() as counts,
        counting(ProgramType.NETFILTER, A.NETFILTER)(counts) as counted,
        returning(0, ProgramType.NETFILTER, A.NETFILTER) as drop,
        drop.attach_netfilter(hook, priority=5, netns=space),
        bound(space) as receiver,
        bound(space) as sender,
    ):
        with counted.attach_netfilter(hook, priority=6, netns=space):
            sender.sendto(b"1", receiver.getsockname())
            assert counts.lookup(os.getpid()) is None
        with counted.attach_netfilter(hook, priority=-6, netns=space):
            sender.sendto(b"1", receiver.getsockname())
            assert counts[os.getpid()] == 1
        with pytest.raises(BpfError, match=r"the hook is taken.*same priority"):
            counted.attach_netfilter(hook, priority=5, netns=space)


@netfilter
def test_fragments_are_put_together(space: Namespace) -> None:
    """The program sees fragments, which have no port."""
    space.run("link", "set", "lo", "mtu", "1500")
    hook = NetfilterHook.PRE_ROUTING
    seen: list[int] = []
    with (
        per_process() as counts,
        counting(ProgramType.NETFILTER, A.NETFILTER)(counts) as program,
        bound(space) as receiver,
        bound(space) as sender,
    ):
        for defrag in (False, True):
            with program.attach_netfilter(hook, netns=space, defrag=defrag):
                sender.sendto(bytes(4000), receiver.getsockname())
                assert len(receiver.recv(5000)) == 4000
            seen.append(counts[os.getpid()] - sum(seen))
    assert seen == [3, 1]


@netfilter
def test_mistakes_with_netfilter(space: Namespace) -> None:
    """Something is attached, or the kernel's errno is all."""
    hook = NetfilterHook.LOCAL_IN
    with returning(1, ProgramType.NETFILTER, A.NETFILTER) as program:
        wrong: list[tuple[Any, dict[str, Any], str]] = [
            (7, {}, "hook: 7 is none of PRE_ROUTING, LOCAL_IN"),
            (hook, {"family": "arp"}, "family: 'arp' is not 'ipv4' or 'ipv6'"),
            (hook, {"priority": -(1 << 31)}, "priority: -2147483648 is not above"),
            (hook, {"priority": -400, "defrag": True}, "is not above -400"),
        ]
        for place, options, text in wrong:
            with pytest.raises(ValueError, match=text):
                program.attach_netfilter(place, netns=space, **options)
        with pytest.raises(TypeError, match="priority: '1' is not an int"):
            program.attach_netfilter(hook, priority="1")  # type: ignore[arg-type]
    with returning(1, ProgramType.XDP) as other, pytest.raises(BpfError, match="takes NETFILTER"):
        other.attach_netfilter(hook, netns=space)


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
