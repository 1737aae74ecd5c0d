"""XDP over netlink: attached without a link, replaced where expected, gone when it is closed."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from typing import Any

import pytest

from ebpf import (
    AttachType,
    BpfError,
    BpfFileExistsError,
    BpfFileNotFoundError,
    EbpfError,
    Interface,
    NotSupportedError,
    ProgramType,
    XdpAction,
    XdpMode,
    query,
)
from ebpf.links import xdp_netlink
from ebpf.links.owner import MARK
from ebpf.links.xdp_netlink import RECORDS
from ebpf.net.rtnetlink import xdp_attached
from tests.kernel.net.network import Network
from tests.kernel.net.programs import deciding
from tests.kernel.samples import in_child

XDP = ProgramType.XDP


def records() -> list[str]:
    """What is written down of this process."""
    names = os.listdir(RECORDS) if os.path.isdir(RECORDS) else []
    return [name for name in names if name.startswith(f"p{os.getpid()}_")]


@pytest.mark.parametrize("mode", [None, XdpMode.GENERIC], ids=str)
def test_a_frame_is_dropped_until_it_is_closed(network: Network, mode: XdpMode | None) -> None:
    """The program stays on the interface, or never was there."""
    far = Interface("far0", netns=network.far)
    with deciding(XDP, XdpAction.DROP) as program:
        with program.attach_xdp_netlink(far, mode=mode) as link:
            assert network.arrived() == []
            (attached,) = query(far)["xdp"].programs
            assert attached.id == program.info().id
            assert attached.details["mode"] == (mode or XdpMode.DRIVER)
            # What ip shows is the same program.
            assert f"id {attached.id}" in network.far.run("link", "show", "far0")
            assert len(records()) == 1
        assert network.arrived() == [b"tested"]
        assert link.closed
    assert records() == []


def test_closing_the_program_detaches(network: Network) -> None:
    """It outlives the program that owns it."""
    far = Interface("far0", netns=network.far)
    with deciding(XDP, XdpAction.DROP) as program:
        program.attach_xdp_netlink(far)
    assert query(far)["xdp"].programs == []
    assert records() == []


def test_replacing_what_is_expected(network: Network) -> None:
    """Another program than the expected one is replaced."""
    far = Interface("far0", netns=network.far)
    with deciding(XDP, XdpAction.DROP) as drops, deciding(XDP, XdpAction.PASS) as passes:
        link = drops.attach_xdp_netlink(far)
        with pytest.raises(BpfFileExistsError, match=r"does not match expected|File exists"):
            link.update(passes, expected=passes)
        link.update(passes, expected=drops)
        assert network.arrived() == [b"tested"]
        link.update(drops)
        assert network.arrived() == []
        with pytest.raises(BpfFileExistsError):
            passes.attach_xdp_netlink(far, replace=passes)
        with passes.attach_xdp_netlink(far, replace=drops):
            assert network.arrived() == [b"tested"]
            # It is another's now, and stays.
            link.close()
            assert query(far)["xdp"].program_ids == [passes.info().id]
        assert query(far)["xdp"].programs == []


def test_what_is_taken_is_not_replaced(network: Network) -> None:
    """A program that is there goes without a word."""
    far = Interface("far0", netns=network.far)
    with deciding(XDP, XdpAction.PASS) as one, deciding(XDP, XdpAction.DROP) as two:
        with one.attach_xdp_netlink(far):
            with pytest.raises(BpfError) as refused:
                two.attach_xdp_netlink(far)
            assert refused.value.errno == errno.EBUSY
            with pytest.raises(BpfError, match=r"a program is attached there already"):
                two.attach_xdp(far)
        with one.attach_xdp(far):
            with pytest.raises(BpfError) as refused:
                two.attach_xdp_netlink(far, replace=one)
            assert refused.value.errno == errno.EBUSY
            assert query(far)["xdp"].program_ids == [one.info().id]
    assert records() == []


def test_refusals_have_words(network: Network) -> None:
    """What the kernel says is left out, or the reason is another."""
    far = Interface("far0", netns=network.far)
    lo = Interface("lo", netns=network.far)
    with deciding(XDP, XdpAction.PASS) as program:
        with pytest.raises(NotSupportedError, match=r"has no XDP in this mode; mode=XdpMode"):
            program.attach_xdp_netlink(lo, mode=XdpMode.DRIVER)
        with (
            deciding(XDP, XdpAction.PASS, AttachType.XDP_CPUMAP) as for_map,
            pytest.raises(BpfError, match=r"CPUMAP") as refused,
        ):
            for_map.attach_xdp_netlink(far)
        assert refused.value.errno == errno.EINVAL
        with (
            deciding(ProgramType.SCHED_CLS, 0) as other,
            pytest.raises(BpfError, match=r"another type .SCHED_CLS.; it takes XDP"),
        ):
            other.attach_xdp_netlink(far)
        link = program.attach_xdp_netlink(far)
        for refused_call in (link.info, lambda: link.pin("/sys/fs/bpf/none")):
            with pytest.raises(NotSupportedError, match=r"over netlink, without a link"):
                refused_call()
        network.near.run("link", "delete", "near0")
        with pytest.raises(BpfFileNotFoundError, match=r"is gone from"):
            link.update(program)
        with pytest.raises(BpfFileNotFoundError, match=r"is gone from"):
            program.attach_xdp_netlink(far)
    assert records() == []


def test_a_refused_attachment_leaves_the_record_of_the_first(network: Network) -> None:
    """The same program a second time: cleaning up after SIGKILL knows nothing of the first."""
    far = Interface("far0", netns=network.far)
    with deciding(XDP, XdpAction.PASS) as program, program.attach_xdp_netlink(far):
        written = records()
        with pytest.raises(BpfError, match=r"busy|force|already"):
            program.attach_xdp_netlink(far)
        assert records() == written


def test_the_first_link_does_not_detach_what_came_back(network: Network) -> None:
    """A program that was replaced and put back, is off when its first link is closed."""
    far = Interface("far0", netns=network.far)
    with deciding(XDP, XdpAction.DROP) as old, deciding(XDP, XdpAction.PASS) as new:
        first = old.attach_xdp_netlink(far)
        second = new.attach_xdp_netlink(far, replace=old)
        with old.attach_xdp_netlink(far, replace=new):
            first.close()
            second.close()
            assert network.arrived() == []
        assert query(far)["xdp"].programs == []
    assert records() == []


def test_who_may_not_write_it_down(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that may attach, but not write in /run, is refused."""
    far = Interface("far0", netns=network.far)
    monkeypatch.setattr(xdp_netlink, "RECORDS", "/sys/ebpf/xdp")
    with deciding(XDP, XdpAction.DROP) as program:
        with program.attach_xdp_netlink(far) as link:
            link.update(program)
            assert network.arrived() == []
        assert query(far)["xdp"].programs == []


def interrupt(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[], object], *, done: bool = True
) -> None:
    """Ctrl-C in `call`, when the kernel has done what it was asked for, or just before."""
    real = xdp_netlink.set_xdp

    def interrupted(*arguments: Any) -> None:
        # Removing it is not interrupted.
        monkeypatch.undo()
        if done:
            real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(xdp_netlink, "set_xdp", interrupted)
    with pytest.raises(KeyboardInterrupt):
        call()


@pytest.mark.parametrize("replaces", [False, True])
def test_an_interrupted_attachment_leaves_nothing(
    network: Network, monkeypatch: pytest.MonkeyPatch, replaces: bool
) -> None:
    """Ctrl-C while the kernel attaches leaves a program that nobody has."""
    far = Interface("far0", netns=network.far)
    with deciding(XDP, XdpAction.DROP) as program, deciding(XDP, XdpAction.PASS) as old:
        if replaces:
            old.attach_xdp_netlink(far)
        replaced = old if replaces else None
        interrupt(monkeypatch, lambda: program.attach_xdp_netlink(far, replace=replaced))
        assert query(far)["xdp"].programs == []
    assert records() == []


@pytest.mark.parametrize("done", [True, False])
def test_an_interrupted_update(
    network: Network, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    """Closing leaves the new program, or the next update expects the wrong one."""
    far = Interface("far0", netns=network.far)
    with deciding(XDP, XdpAction.DROP) as old, deciding(XDP, XdpAction.PASS) as new:
        for again in (False, True):
            link = old.attach_xdp_netlink(far)
            interrupt(monkeypatch, lambda link=link: link.update(new), done=done)
            assert query(far)["xdp"].program_ids == [(new if done else old).info().id]
            if again:
                link.update(old)
                assert query(far)["xdp"].program_ids == [old.info().id]
            link.close()
            assert query(far)["xdp"].programs == []
            assert records() == []


def test_a_forked_child_does_not_detach(network: Network) -> None:
    """A child that ends takes its parent's attachment along."""
    far = Interface("far0", netns=network.far)
    with deciding(XDP, XdpAction.PASS) as program, program.attach_xdp_netlink(far) as link:
        child = os.fork()
        if child == 0:
            link.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert query(far)["xdp"].program_ids == [program.info().id]
        assert re.fullmatch(rf"{MARK}_\d+_\d+_\d+_\d+", *records())


def test_a_forked_child_does_not_update(network: Network) -> None:
    """It takes the answers that its parent then waits for, for ever."""
    far = Interface("far0", netns=network.far)
    with deciding(XDP, XdpAction.PASS) as program, program.attach_xdp_netlink(far) as link:
        written = os.listdir(RECORDS)

        def update() -> None:
            refused = rf"^{{}}: it is of process {os.getppid()}; attach in this one$"
            with pytest.raises(EbpfError, match=refused.format("update .*far0.*")):
                link.update(program)
            with pytest.raises(EbpfError, match=refused.format("ask what XDP far0 has")):
                xdp_attached(link._netlink, far.index, far.name)

        assert in_child(update) == 0
        assert os.listdir(RECORDS) == written
        link.update(program)
