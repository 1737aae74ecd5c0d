"""Programs of routes: what becomes of packets that go by them."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ebpf import (
    BpfError,
    BpfFileExistsError,
    BpfFileNotFoundError,
    Interface,
    ProgramType,
    links,
)
from ebpf.links import lwt
from ebpf.links.lwt import LwtRoute
from tests.kernel.net.network import Network
from tests.kernel.net.segments import SEGMENT, Segments
from tests.kernel.net.support import returning
from tests.kernel.samples import Forked, python

pytestmark = pytest.mark.needs_config("CONFIG_LWTUNNEL_BPF")

OK, DROP = 0, 2
SENDING = [ProgramType.LWT_OUT, ProgramType.LWT_XMIT]


def near(network: Network) -> Interface:
    return Interface("near0", netns=network.near)


def routes(network: Network) -> list[str]:
    """What iproute2 says of the routes with programs."""
    lines = network.near.run("route", "show").splitlines()
    return [line.strip() for line in lines if "bpf" in line]


@pytest.mark.parametrize("type", SENDING, ids=lambda type: type.name)
def test_a_program_drops_what_goes_by_its_route(network: Network, type: ProgramType) -> None:
    """Packets pass that it drops, or those of other routes do not."""
    alone = f"{network.far_address}/32"
    with returning(DROP, type=type) as drop, returning(OK, type=type) as passing:
        with drop.attach_lwt(alone, near(network)) as link:
            with pytest.raises(PermissionError):
                network.send()
            link.update(passing)
            network.deliver()
            link.update(drop)
            with pytest.raises(PermissionError):
                network.send()
        network.deliver()
        with drop.attach_lwt("10.99.0.0/24", near(network), gateway=network.far_address):
            network.deliver()


def test_a_program_sees_what_goes_on_to_others(network: Network) -> None:
    """A packet that came in is not judged."""
    enable = Path("/proc/sys/net/ipv4/ip_forward")
    network.far.inside(lambda: enable.write_text("1"))
    network.near.run("route", "add", "10.99.0.0/24", "via", network.far_address)
    far = Interface("far0", netns=network.far)
    with (
        returning(OK, type=ProgramType.LWT_IN) as passing,
        returning(DROP, type=ProgramType.LWT_IN) as drop,
        network.near.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        network.far.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as watching,
    ):
        watching.bind(("far0", 3))
        gateway = network.near_address
        with passing.attach_lwt("10.99.0.0/24", far, gateway=gateway) as link:
            assert isinstance(link, LwtRoute)
            link.update(drop)
            sender.sendto(b"dropped", ("10.99.0.2", 7))
            link.update(passing)
            sender.sendto(b"forwarded", ("10.99.0.2", 7))
            sent_on = None
            while sent_on is None:
                frame, address = watching.recvfrom(2048)
                # PACKET_OUTGOING: what this side has sent.
                # ICMP's advice to the sender is of this side, too.
                if (
                    address[2] == 4
                    and frame[12:14] == bytes([8, 0])
                    and frame[23] == socket.IPPROTO_UDP
                ):
                    sent_on = frame
        assert sent_on.endswith(b"forwarded")


def test_the_route_is_as_iproute2_shows_it(network: Network) -> None:
    """The place, the name or the metric is another; or closing leaves the route."""
    with returning(OK, type=ProgramType.LWT_XMIT) as program:
        with program.attach_lwt("10.99.0.0/24", near(network), metric=7, headroom=64):
            (line,) = routes(network)
            assert line.startswith("10.99.0.0/24")
            assert "xmit" in line
            assert "metric 7" in line
        assert routes(network) == []


def test_ipv6_has_such_routes(network: Network) -> None:
    """IPv4 is meant, or the route cannot be found again to be removed."""
    enable = Path("/proc/sys/net/ipv6/conf/near0/disable_ipv6")
    network.near.inside(lambda: enable.write_text("0"))
    with returning(DROP, type=ProgramType.LWT_OUT) as program:
        with program.attach_lwt("fd99::/64", near(network)) as link:
            assert "fd99::/64  encap bpf" in network.near.run("-6", "route", "show")
            assert "fd99::/64" in repr(link)
        assert "fd99::/64" not in network.near.run("-6", "route", "show")


@pytest.mark.needs_config("CONFIG_IPV6_SEG6_BPF")
def test_a_program_is_what_a_segment_does() -> None:
    """Packets go on that it drops, or none does; or it is another action to iproute2."""
    with (
        returning(DROP, type=ProgramType.LWT_SEG6LOCAL) as drop,
        returning(OK, type=ProgramType.LWT_SEG6LOCAL) as passing,
        closing(Segments()) as network,
        network.watching() as watching,
    ):
        with drop.attach_lwt(SEGMENT, network.interface) as link:
            (shown,) = network.far.run("-6", "route", "show", SEGMENT).splitlines()
            assert "encap seg6local action End.BPF endpoint ebpf:" in shown
            network.send_by_segment(b"dropped")
            link.update(passing)
            network.send_by_segment(b"passed")
            assert network.first_back(watching, network.from_segment).endswith(b"passed")
        assert network.far.run("-6", "route", "show", SEGMENT) == ""


def test_a_segment_is_ipv6(network: Network) -> None:
    """The kernel's errno says nothing of it."""
    with (
        returning(OK, type=ProgramType.LWT_SEG6LOCAL) as program,
        pytest.raises(ValueError, match=r"10.99.0.0/24 is no segment, which is an IPv6 network"),
    ):
        program.attach_lwt("10.99.0.0/24", near(network))


def test_a_route_that_somebody_removed(network: Network) -> None:
    """Closing fails, or removes the route that took its place."""
    with returning(OK, type=ProgramType.LWT_OUT) as program:
        link = program.attach_lwt("10.99.0.0/24", near(network))
        network.near.run("route", "delete", "10.99.0.0/24")
        with pytest.raises(BpfFileNotFoundError, match="the route was removed"):
            link.update(program)
        network.near.run("route", "add", "10.99.0.0/24", "dev", "near0")
        link.close()
        assert "10.99.0.0/24" in network.near.run("route", "show")


def test_an_interface_that_vanishes(network: Network) -> None:
    """Closing fails although nothing is left."""
    with returning(OK, type=ProgramType.LWT_OUT) as program:
        link = program.attach_lwt("10.99.0.0/24", near(network))
        network.near.run("link", "delete", "near0")
        link.close()
        assert link.closed


def test_mistakes(network: Network) -> None:
    """Something is attached, or the kernel's errno is all."""
    with (
        returning(OK, type=ProgramType.LWT_OUT) as program,
        returning(OK, type=ProgramType.LWT_IN) as other,
        returning(OK, type=ProgramType.XDP) as wrong,
    ):
        attached = program.attach_lwt("10.99.0.0/24", near(network))
        with pytest.raises(BpfFileExistsError, match="another metric"):
            program.attach_lwt("10.99.0.0/24", near(network))
        with pytest.raises(BpfError, match="it takes LWT_IN or LWT_OUT or LWT_XMIT"):
            wrong.attach_lwt("10.98.0.0/24", near(network))
        with pytest.raises(BpfError, match="it takes LWT_OUT"):
            attached.update(other)
        with pytest.raises(TypeError, match="the kernel replaces routes whatever they are"):
            attached.update(program, expected=program)
        with pytest.raises(ValueError, match="host bits set"):
            program.attach_lwt("10.99.0.1/24", near(network))
        with pytest.raises(ValueError, match="gateway: ::1 is of another version of IP"):
            program.attach_lwt("10.98.0.0/24", near(network), gateway="::1")
        with pytest.raises(ValueError, match="headroom: 257 is more than 256"):
            program.attach_lwt("10.98.0.0/24", near(network), headroom=257)
        with pytest.raises(BpfFileNotFoundError) as caught:
            program.attach_lwt("10.98.0.0/24", "ebpf-none")
        assert caught.value.errno == errno.ENODEV
        with pytest.raises(BpfError, match="cannot be reached"):
            program.attach_lwt("10.98.0.0/24", near(network), gateway="192.0.2.1")
        assert len(routes(network)) == 1


def test_what_a_killed_process_leaves(network: Network) -> None:
    """The route stays for good, or goes with a process that is there."""

    def attach_and_wait(tell: Callable[[int], object]) -> None:
        program = returning(0, type=ProgramType.LWT_OUT)
        program.attach_lwt("10.99.0.0/24", near(network))
        tell(program.info().id)
        signal.pause()

    with Forked(attach_and_wait) as child:
        assert len(routes(network)) == 1
        assert not [text for text in links.cleanup(network.near) if "route" in text]
        child.end()
        assert len(routes(network)) == 1
        removed = [text for text in links.cleanup(network.near) if "route" in text]
        assert removed == ["route to 10.99.0.0/24"]
    assert routes(network) == []


def test_an_interrupted_update(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the kernel replaces the program: closing does not find the route."""
    real = lwt.set_route

    def interrupted(*arguments: Any, **options: Any) -> None:
        monkeypatch.undo()
        real(*arguments, **options)
        raise KeyboardInterrupt

    with (
        returning(OK, type=ProgramType.LWT_OUT) as old,
        returning(DROP, type=ProgramType.LWT_OUT) as new,
    ):
        for again in (False, True):
            link = old.attach_lwt(f"{network.far_address}/32", near(network))
            monkeypatch.setattr(lwt, "set_route", interrupted)
            with pytest.raises(KeyboardInterrupt):
                link.update(new)
            with pytest.raises(PermissionError):
                network.send()
            if again:
                link.update(old)
                network.deliver()
            link.close()
            assert routes(network) == []


ENDS = """
import sys
from contextlib import closing
from ebpf import Interface, ProgramType
from tests.kernel.net import support
program = support.returning(0, type=ProgramType.LWT_OUT)
program.attach_lwt("10.99.0.0/24", Interface("near0", netns=sys.argv[1]))
print("attached")
"""


def test_what_a_process_leaves_that_ends_by_itself(network: Network) -> None:
    """The route stays without its owner."""
    assert "attached" in python(ENDS, network.near.path)
    assert routes(network) == []
