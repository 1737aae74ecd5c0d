"""`ebpf.Interface`: by name, by index, here and in other namespaces."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ebpf import BpfError, BpfFileNotFoundError, Interface, ProgramType, XdpAction, query
from ebpf.links import device
from tests.kernel.net.network import Namespace, Network
from tests.kernel.net.programs import deciding


def test_an_interface_is_found_by_name_and_by_index(network: Network) -> None:
    """The program is attached to another interface."""
    named = Interface("far0", netns=network.far)
    assert named.index == int(network.far.run("-o", "link", "show", "far0").split(":")[0])
    assert Interface(named.index, netns=network.far).name == "far0"
    assert Interface(named.index, netns=network.far) == named
    assert [one.name for one in Interface.all(network.far)] == ["lo", "far0"]


@pytest.mark.parametrize("form", ["descriptor", "path", "process"])
def test_a_namespace_has_several_names(network: Network, form: str) -> None:
    """An interface of another namespace is looked for here."""
    index = Interface("far0", netns=network.far).index
    if form == "descriptor":
        assert Interface("far0", netns=network.far).index == index
    elif form == "path":
        assert Interface("far0", netns=network.far.path).index == index
    else:
        entered = ["nsenter", f"--net={network.far.path}", "cat"]
        with subprocess.Popen(entered, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"here\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"here\n"
            assert Interface("far0", netns=process.pid).index == index


def test_a_name_that_stands_for_another_namespace(network: Network, tmp_path: Path) -> None:
    """A container that is started anew gets the program that was for the one before."""
    name = tmp_path / "namespace"
    name.symlink_to(network.far.path)
    far = Interface("far0", netns=name)
    index = far.index
    with Namespace() as other, deciding(ProgramType.XDP, XdpAction.PASS) as program:
        other.run(
            "link",
            "add",
            "far0",
            "index",
            str(index),
            "type",
            "veth",
            "peer",
            "name",
            "n0",
            "index",
            "77",
        )
        name.unlink()
        name.symlink_to(other.path)
        with pytest.raises(BpfFileNotFoundError, match=r"is another one than that with far0"):
            program.attach_xdp(far)
        assert not far.exists()
        assert Interface("far0", netns=name) != far
        assert query(Interface("far0", netns=other))["xdp"].programs == []


def test_closing_when_the_namespace_has_no_name_any_more(network: Network, tmp_path: Path) -> None:
    """Its programs go on for ever in the processes that are there, while closing says nothing."""
    name = tmp_path / "namespace"
    name.symlink_to(network.far.path)
    far = Interface("far0", netns=name)
    here = Interface("far0", netns=network.far)
    with (
        deciding(ProgramType.XDP, XdpAction.DROP) as xdp,
        deciding(ProgramType.SCHED_CLS, 2) as filter,
    ):
        links = [xdp.attach_xdp_netlink(far), filter.attach_tc(far, "ingress")]
        name.unlink()
        for link in links:
            link.close()
        assert [hook.programs for hook in query(here).values() if hook.programs] == []
        assert network.arrived() == [b"tested"]


def test_a_namespace_whose_descriptor_was_closed() -> None:
    """The error is no one of this library's, or another file is taken for the namespace."""
    with tempfile.TemporaryFile() as file:
        number = file.fileno()

        class Closed:
            def fileno(self) -> int:
                return number

    with pytest.raises(BpfError, match=r"its descriptor was closed") as refused:
        Interface("lo", netns=Closed())
    assert refused.value.errno == errno.EBADF


def test_the_own_namespace_is_not_left(network: Network) -> None:
    """The rest of the process finds itself in the other namespace."""
    before = os.readlink("/proc/thread-self/ns/net")
    Interface("far0", netns=network.far)
    assert os.readlink("/proc/thread-self/ns/net") == before


def test_threads_that_are_none(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """With gevent's in the place of threads, the process moves to the other namespace for good."""

    class Inline:
        def __init__(self, target: Callable[[], None], **more: object) -> None:
            self.start = target

    monkeypatch.setattr("threading.Thread", Inline)
    before = os.readlink("/proc/thread-self/ns/net")
    assert Interface("far0", netns=network.far).exists()
    with pytest.raises(BpfFileNotFoundError):
        Interface("far1", netns=network.far)
    assert os.readlink("/proc/thread-self/ns/net") == before


def test_an_interrupted_attachment_ends(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the driver takes its time leaves a program that nobody can detach."""
    far = Interface("far0", netns=network.far)
    real, interrupted = device.bpf.link_create, threading.Event()

    def slow(*arguments: Any, **fields: Any) -> int:
        made = real(*arguments, **fields)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert interrupted.wait(60)
        return made

    def interrupt(*arguments: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with deciding(ProgramType.XDP, XdpAction.DROP) as program:
            with monkeypatch.context() as slowly:
                slowly.setattr(device.bpf, "link_create", slow)
                with pytest.raises(KeyboardInterrupt):
                    program.attach_xdp(far)
            assert query(far)["xdp"].programs == []
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_an_interface_that_is_not_there(network: Network) -> None:
    """ENODEV without the names that there are leaves the user to look for the typing mistake."""
    with pytest.raises(BpfFileNotFoundError, match=r"'far1' is not in .*; there are lo, far0") as e:
        Interface("far1", netns=network.far)
    assert e.value.errno == errno.ENODEV
    with pytest.raises(BpfFileNotFoundError, match="interface 4711 is not in this network"):
        Interface(4711)


def test_a_namespace_that_is_not_there() -> None:
    """The interface is looked for in the caller's own namespace instead."""
    with pytest.raises(BpfFileNotFoundError, match="no-such: open /run/netns/no-such"):
        Interface("lo", netns="no-such")
    with pytest.raises(BpfError, match="this is no network namespace") as refused:
        Interface("lo", netns="/dev/null")
    assert refused.value.errno == errno.EINVAL


def test_arguments_that_name_no_interface() -> None:
    """Something else is taken for a name."""
    with pytest.raises(TypeError, match=r"interface: 1.5 is not an int"):
        Interface(1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"interface: 'a.*' has a NUL"):
        Interface("a\0")
    with pytest.raises(ValueError, match="interface: -1 does not fit"):
        Interface(-1)


def test_an_interface_that_was_removed_is_missed(network: Network) -> None:
    """Its index still counts as an interface."""
    interface = Interface("far0", netns=network.far)
    assert interface.exists()
    network.near.run("link", "delete", "near0")
    assert not interface.exists()
