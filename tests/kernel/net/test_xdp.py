"""XDP: what frames meet at an interface, by mode, by map and by replacement."""

from __future__ import annotations

import errno

import pytest

from ebpf import (
    AttachType,
    BpfError,
    BpfFileExistsError,
    BpfFileNotFoundError,
    BpfPermissionError,
    Interface,
    Link,
    NotSupportedError,
    ProgramFlags,
    ProgramType,
    XdpAction,
    XdpMode,
    query,
)
from tests.kernel.net.network import Network
from tests.kernel.net.programs import deciding

XDP = ProgramType.XDP


@pytest.mark.parametrize("mode", [None, XdpMode.DRIVER, XdpMode.GENERIC], ids=str)
def test_a_frame_is_dropped_while_attached(network: Network, mode: XdpMode | None) -> None:
    """The frame is received, or is not received afterwards either; or it is another mode."""
    far = Interface("far0", netns=network.far)
    with deciding(XDP, XdpAction.DROP) as program:
        assert network.arrived() == [b"tested"]
        with program.attach_xdp(far, mode=mode) as link:
            assert network.arrived() == []
            (attached,) = query(far)["xdp"].programs
            assert attached.id == program.info().id
            assert attached.details["mode"] == (mode or XdpMode.DRIVER)
            assert link.info().details["ifindex"] == far.index
        assert network.arrived() == [b"tested"]
    assert query(far)["xdp"].programs == []


def test_replacing_is_atomic_and_only_of_what_is_expected(network: Network) -> None:
    """The wrong program is replaced, or the old one goes on."""
    far = Interface("far0", netns=network.far)
    with deciding(XDP, XdpAction.DROP) as drops, deciding(XDP, XdpAction.PASS) as passes:
        link = drops.attach_xdp(far)
        with pytest.raises(BpfPermissionError, match="another program than `expected`"):
            link.update(passes, expected=passes)
        assert network.arrived() == []
        link.update(passes, expected=drops)
        assert network.arrived() == [b"tested"]
        with deciding(ProgramType.SCHED_CLS, 0) as other:
            with pytest.raises(BpfError, match="the program is of another type") as refused:
                link.update(other)
            assert refused.value.errno == errno.EINVAL
        assert query(far)["xdp"].program_ids == [passes.info().id]


def test_a_link_that_is_opened_again_knows_that_its_interface_is_gone(network: Network) -> None:
    """A stale link acts on the interface that has the index now."""
    with deciding(XDP, XdpAction.PASS) as program:
        link = program.attach_xdp(Interface("far0", netns=network.far))
        with Link.from_id(link.info().id) as again:
            network.near.run("link", "delete", "near0")
            for one in (link, again):
                with pytest.raises(BpfError, match="the interface is gone") as refused:
                    one.update(program)
                assert refused.value.errno == errno.ENOLINK
                assert one.info().details["ifindex"] == 0


def test_a_hook_that_is_taken(network: Network) -> None:
    """The program of another user is replaced."""
    far = Interface("far0", netns=network.far)
    with deciding(XDP, XdpAction.PASS) as first, deciding(XDP, XdpAction.DROP) as second:
        first.attach_xdp(far, mode=XdpMode.GENERIC)
        with pytest.raises(BpfError, match="a program is attached there already") as refused:
            second.attach_xdp(far, mode=XdpMode.GENERIC)
        assert refused.value.errno == errno.EBUSY
        with pytest.raises(BpfFileExistsError, match="in another mode"):
            second.attach_xdp(far, mode=XdpMode.DRIVER)
        assert query(far)["xdp"].program_ids == [first.info().id]


def test_an_interface_that_is_missing_or_vanished(network: Network) -> None:
    """EINVAL, with which the kernel says that, is reported as something else."""
    far = Interface("far0", netns=network.far)
    network.near.run("link", "delete", "near0")
    with deciding(XDP, XdpAction.PASS) as program:
        with pytest.raises(BpfFileNotFoundError, match=r"far0 .index .*. is gone from"):
            program.attach_xdp(far)
        with pytest.raises(BpfFileNotFoundError, match="'no-such0' is not in this network"):
            program.attach_xdp("no-such0")
    with pytest.raises(BpfFileNotFoundError, match=r"far0 .index .*. is gone from"):
        query(far)


def test_a_mode_that_the_driver_does_not_have(network: Network) -> None:
    """The program runs in another mode than was asked for."""
    far = Interface("far0", netns=network.far)
    with deciding(XDP, XdpAction.PASS) as program:
        with pytest.raises(NotSupportedError, match=r"has no XDP in this mode; mode=XdpMode.GENER"):
            program.attach_xdp(Interface("lo", netns=network.far), mode=XdpMode.DRIVER)
        with pytest.raises(
            BpfError, match=r"offload.*(loaded for another device|no XDP in this mode)"
        ):
            program.attach_xdp(far, mode=XdpMode.OFFLOAD)
        with pytest.raises(ValueError, match=r"mode: .*MULTI.* is not XdpMode"):
            program.attach_xdp(far, mode=XdpMode.MULTI)
    assert query(far)["xdp"].programs == []


def test_what_the_driver_refuses(network: Network) -> None:
    """A number without a reason, or with an untrue one; and what would work is not told."""
    queues = ("numrxqueues", "1", "numtxqueues", "1", "type", "veth", "peer", "name", "four0")
    network.near.run("link", "add", "one0", *queues, "numtxqueues", "4", "numrxqueues", "4")
    network.near.run_all("link set one0 up", "link set four0 up")
    one = Interface("one0", netns=network.near)
    with deciding(XDP, XdpAction.PASS) as program:
        for mode in (None, XdpMode.DRIVER):
            with pytest.raises(BpfError, match=r"driver of one0 refused it.*XdpMode.GENERIC") as no:
                program.attach_xdp(one, mode=mode)
            assert no.value.errno == errno.ENOSPC
            with pytest.raises(BpfError, match=r"number of rx queues|No space left"):
                program.attach_xdp_netlink(one, mode=mode)
        with program.attach_xdp(one, mode=XdpMode.GENERIC):
            assert query(one)["xdp"].program_ids == [program.info().id]


def test_programs_of_another_type_or_for_maps(network: Network) -> None:
    """EINVAL does not say what is wrong."""
    far = Interface("far0", netns=network.far)
    with (
        deciding(ProgramType.SCHED_CLS, 0) as other,
        pytest.raises(BpfError, match=r"another type \(SCHED_CLS\); it takes XDP"),
    ):
        other.attach_xdp(far)
    with (
        deciding(XDP, XdpAction.PASS, AttachType.XDP_DEVMAP) as for_map,
        pytest.raises(BpfError, match="loaded for a map"),
    ):
        for_map.attach_xdp(far)


def test_frames_of_several_buffers_take_a_program_that_knows_of_them(network: Network) -> None:
    """A program that cannot see the whole frame is attached to an interface with large ones."""
    far = Interface("far0", netns=network.far)
    network.near.run("link", "set", "near0", "mtu", "9000")
    network.far.run("link", "set", "far0", "mtu", "9000")
    with deciding(XDP, XdpAction.PASS, flags=ProgramFlags.XDP_HAS_FRAGS) as whole:
        with (
            deciding(XDP, XdpAction.PASS) as program,
            pytest.raises(BpfError, match="XDP_HAS_FRAGS"),
        ):
            program.attach_xdp(far, mode=XdpMode.DRIVER)
        whole.attach_xdp(far, mode=XdpMode.DRIVER)
        with network.receiver() as receiver:
            network.send(bytes(8000))
            assert receiver.recv(9000) == bytes(8000)
