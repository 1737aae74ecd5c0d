"""Programs of netfilter."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

import pytest

from ebpf import (
    AttachType,
    BpfError,
    LinkType,
    NetfilterHook,
    ProgramType,
    asm,
    query,
)
from tests.kernel.links.socket_hooks import NETFILTER, counting
from tests.kernel.net.network import Namespace
from tests.kernel.net.support import bound, returning
from tests.kernel.samples import bpftool, per_process

A = AttachType


def netfilter(function: Any) -> Any:
    for mark in NETFILTER:
        function = mark(function)
    return function


@netfilter
def test_a_netfilter_program_drops(space: Namespace) -> None:
    """Packets pass that it drops, or are dropped in another namespace or family, or after it."""
    with bound(space) as receiver, bound(space) as sender:
        with returning(0, A.NETFILTER, ProgramType.NETFILTER) as drop:
            with drop.attach_netfilter(NetfilterHook.LOCAL_IN, "ipv6", netns=space):
                sender.sendto(b"passes IPv6's", receiver.getsockname())
            with drop.attach_netfilter(NetfilterHook.LOCAL_IN, netns=space) as link:
                sender.sendto(b"dropped", receiver.getsockname())
                assert link.info().type is LinkType.NETFILTER
                assert link.info().details == {"pf": 2, "hooknum": 1, "priority": 0, "flags": 0}
        sender.sendto(b"passes", receiver.getsockname())
        assert [receiver.recv(64) for _ in range(2)] == [b"passes IPv6's", b"passes"]


@netfilter
def test_a_section_and_a_hook_say_where(space: Namespace) -> None:
    """A program of SEC("netfilter") cannot be attached by its section, or goes elsewhere."""
    accepts = asm.Function("int accepts(void *context)", asm.return_(1), section="netfilter")
    with asm.collection(accepts).load() as objects:
        program = objects.programs["accepts"]
        with pytest.raises(TypeError, match="netfilter takes hook="):
            program.attach()
        link = program.attach(hook=NetfilterHook.FORWARD, family="ipv6", priority=7, netns=space)
        assert link.info().details == {"pf": 10, "hooknum": 2, "priority": 7, "flags": 0}


@netfilter
def test_what_the_sender_is_told(space: Namespace) -> None:
    """The packet is dropped on another way than its own."""
    with (
        bound(space) as receiver,
        bound(space) as sender,
        returning(0, A.NETFILTER, ProgramType.NETFILTER) as drop,
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
        returning(0, A.NETFILTER, ProgramType.NETFILTER) as drop,
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
    with returning(1, A.NETFILTER, ProgramType.NETFILTER) as program:
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
    with (
        returning(1, type=ProgramType.XDP) as other,
        pytest.raises(BpfError, match="takes NETFILTER"),
    ):
        other.attach_netfilter(hook, netns=space)


@netfilter
@pytest.mark.needs_config("CONFIG_NETFILTER_NETLINK_HOOK")
def test_what_is_attached_is_told(space: Namespace) -> None:
    """A function of another family, hook or namespace is told, or one is left out."""
    with (
        closing(Namespace()) as elsewhere,
        returning(1, A.NETFILTER, ProgramType.NETFILTER) as one,
        returning(1, A.NETFILTER, ProgramType.NETFILTER) as other,
        one.attach_netfilter(NetfilterHook.LOCAL_IN, priority=7, netns=space),
        other.attach_netfilter(NetfilterHook.LOCAL_IN, priority=-7, netns=space),
        other.attach_netfilter(NetfilterHook.POST_ROUTING, "ipv6", netns=space),
        one.attach_netfilter(NetfilterHook.FORWARD, netns=elsewhere),
    ):
        first, second = one.info().id, other.info().id
        wanted = [
            (second, "ipv4", NetfilterHook.LOCAL_IN, -7),
            (first, "ipv4", NetfilterHook.LOCAL_IN, 7),
            (second, "ipv6", NetfilterHook.POST_ROUTING, 0),
        ]
        found = query(space)["netfilter"].programs
        assert [(program.id, *program.details.values()) for program in found] == wanted
        (answer,) = bpftool("net", "show")
        # bpftool 7.3 and newer tell those of all namespaces.
        if "netfilter" in answer:
            families = {2: "ipv4", 10: "ipv6"}
            told = {
                (row["id"], families[row["pf"]], row["hook"], row["prio"])
                for row in answer["netfilter"]
            }
            assert told == {*wanted, (first, "ipv4", NetfilterHook.FORWARD, 0)}
    assert query(space)["netfilter"].programs == []
