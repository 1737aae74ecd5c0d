"""`ebpf.links.cleanup`: what a killed process left is removed, and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Here, so that forked children need not: an emulated machine takes half a minute for it.
import pyroute2  # noqa: F401
import pytest

from ebpf import BpfError, Interface, ProgramType, XdpAction, query
from ebpf.links import cleanup, tc, unlinked, xdp_netlink
from tests.kernel.net.network import Network
from tests.kernel.net.programs import deciding
from tests.kernel.samples import ROOT, Forked

ATTACHED = """
import sys
from ebpf import Interface, ProgramType
from tests.kernel.net.programs import deciding
far = Interface("far0", netns=sys.argv[1])
xdp, cls = deciding(ProgramType.XDP, 2), deciding(ProgramType.SCHED_CLS, 0)
links = xdp.attach_xdp_netlink(far), cls.attach_tc(far, "ingress"), cls.attach_tc(far, "egress")
print("attached", flush=True)
"""


def attach_elsewhere(network: Network, end: str) -> subprocess.Popen[str]:
    """Another process that attaches over netlink, and then does what `end` says."""
    process = subprocess.Popen(
        [sys.executable, "-c", ATTACHED + end, network.far.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "attached\n"
    return process


def forked(far: Interface) -> Forked:
    """A child of this process that attaches the same, and waits."""

    def attach_and_wait(tell: Callable[[int], object]) -> None:
        xdp, cls = deciding(ProgramType.XDP, 2), deciding(ProgramType.SCHED_CLS, 0)
        made: list[Any] = [xdp.attach_xdp_netlink(far)]
        made += [cls.attach_tc(far, direction) for direction in ("ingress", "egress")]
        tell(len(made))
        signal.pause()

    return Forked(attach_and_wait)


def attached(far: Interface) -> dict[str, int]:
    return {name: len(hook.programs) for name, hook in query(far).items() if hook.programs}


def test_what_a_killed_process_left_is_removed(network: Network) -> None:
    """The programs run for ever, or those of processes that are there are removed too."""
    far = Interface("far0", netns=network.far)
    before = network.far.command("tc", "qdisc", "show", "dev", "far0")
    everything = {"xdp": 1, "clsact/ingress": 1, "clsact/egress": 1}
    with forked(far) as child:
        assert attached(far) == everything
        cleanup(network.far)
        assert attached(far) == everything
        child.end()
        assert attached(far) == everything
        removed = cleanup(network.far)
        assert {one.split(" of ")[0] for one in removed} == {"xdp", "tc ingress", "tc egress"}
    assert attached(far) == {}
    assert network.far.command("tc", "qdisc", "show", "dev", "far0") == before
    assert cleanup(network.far) == []


def test_a_process_that_ends_by_itself_leaves_nothing(network: Network) -> None:
    """Only closing detaches, and a tool that forgets it leaves its programs behind."""
    far = Interface("far0", netns=network.far)
    end = "sys.stdin.readline(); sys.exit(0)"
    with attach_elsewhere(network, end) as process:
        assert len(attached(far)) == 3
        process.communicate("\n")
        assert process.returncode == 0
    assert attached(far) == {}


def test_one_that_cannot_be_removed(network: Network) -> None:
    """The others, which the process has attached too, stay when it ends."""
    far = Interface("far0", netns=network.far)
    with deciding(ProgramType.SCHED_CLS, 0) as program:
        links = [program.attach_tc(far, "ingress") for _ in range(3)]
        broken: Any = next(one for one in unlinked._open if one in links)
        broken._netlink.close()
        with pytest.raises(BpfError, match="Bad file descriptor"):
            unlinked._remove_own()
        assert attached(far) == {"clsact/ingress": 1}
    # What was its qdisc's may be the qdisc of somebody else in a later namespace.
    assert not tc._qdiscs


@pytest.mark.parametrize("parent_has_one", [False, True])
def test_a_child_of_multiprocessing_leaves_nothing(network: Network, parent_has_one: bool) -> None:
    """It ends in its own way, and its programs stay."""
    far = Interface("far0", netns=network.far)
    kept = []

    def work() -> None:
        xdp, cls = deciding(ProgramType.XDP, 2), deciding(ProgramType.SCHED_CLS, 0)
        kept.extend([xdp, cls, xdp.attach_xdp_netlink(far), cls.attach_tc(far, "egress")])
        assert attached(far) == {"xdp": 1, "clsact/egress": 1} | there

    with deciding(ProgramType.SCHED_CLS, 0) as program:
        if parent_has_one:
            program.attach_tc(far, "ingress")
        there = attached(far)
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join()
        assert child.exitcode == 0
        assert attached(far) == there


def test_a_python_that_starts_no_thread_any_more(network: Network) -> None:
    """Where the process ends without threads, it cannot reach the other namespace."""
    far = Interface("far0", netns=network.far)
    # What 3.12 says when the interpreter ends.
    end = """
import threading
def refuse(self):
    raise RuntimeError("can't create new thread at interpreter shutdown")
threading.Thread.start = refuse
sys.stdin.readline()
"""
    with attach_elsewhere(network, end) as process:
        assert len(attached(far)) == 3
        _, error = process.communicate("\n")
        assert process.returncode == 0
        assert not error
    assert attached(far) == {}


def test_one_kind_that_cannot_be_cleaned_up(
    network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where root's records of XDP cannot be read, filters and routes are left, too."""
    far = Interface("far0", netns=network.far)
    with forked(far) as child:
        child.end()
    (tmp_path / "file").touch()
    with monkeypatch.context() as unreadable:
        unreadable.setattr(xdp_netlink, "RECORDS", str(tmp_path / "file"))
        with pytest.raises(BpfError, match=r"list .*, where it is written down"):
            cleanup(network.far)
    assert attached(far) == {"xdp": 1}
    assert len(cleanup(network.far)) == 1


def test_what_others_attached_since_stays(network: Network) -> None:
    """The program that took the place of a killed process's is removed in its stead."""
    far = Interface("far0", netns=network.far)
    with forked(far) as child:
        child.end()
    network.far.run("link", "set", "dev", "far0", "xdp", "off")
    with deciding(ProgramType.XDP, XdpAction.PASS) as ours, ours.attach_xdp_netlink(far):
        removed = cleanup(network.far)
        assert sorted(one.split(" of ")[0] for one in removed) == ["tc egress", "tc ingress"]
        assert attached(far) == {"xdp": 1}
        assert query(far)["xdp"].program_ids == [ours.info().id]
    assert not [name for name in os.listdir("/run/ebpf/xdp") if f"p{child.pid}_" in name]


def test_what_was_attached_again_after_a_kill_stays(network: Network) -> None:
    """A service that has taken its predecessor's place by the same program, is taken off."""
    far = Interface("far0", netns=network.far)
    with deciding(ProgramType.XDP, XdpAction.PASS) as program:

        def attach_and_wait(tell: Callable[[int], object]) -> None:
            program.attach_xdp_netlink(far)
            tell(1)
            signal.pause()

        with Forked(attach_and_wait) as before:
            link = program.attach_xdp_netlink(far, replace=program)
            before.end()
            assert not [text for text in cleanup(network.far) if "xdp" in text]
            assert attached(far) == {"xdp": 1}
        link.close()
        assert attached(far) == {}


def test_what_another_process_attached_again_stays(network: Network) -> None:
    """The end of the service that was replaced takes off its successor's, the same program."""
    far = Interface("far0", netns=network.far)
    with deciding(ProgramType.XDP, XdpAction.PASS) as program:
        link = program.attach_xdp_netlink(far)

        def take_over(tell: Callable[[int], object]) -> None:
            program.attach_xdp_netlink(far, replace=program)
            tell(1)
            signal.pause()

        with Forked(take_over) as after:
            link.close()
            assert attached(far) == {"xdp": 1}
            after.end()
            assert len([text for text in cleanup(network.far) if "xdp" in text]) == 1
    assert attached(far) == {}
