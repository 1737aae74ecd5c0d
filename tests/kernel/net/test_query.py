"""`ebpf.query` against bpftool and iproute2, for what these and other tools attached."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ebpf import AttachType, Interface, ProgramType, XdpAction, query
from tests.kernel.net.network import Network
from tests.kernel.net.programs import deciding


def bpftool_net(network: Network) -> dict[str, list[dict[str, object]]]:
    """What bpftool says of the interfaces of `far`."""
    (answer,) = json.loads(network.far.command("bpftool", "-j", "net", "show"))
    return dict(answer)


def test_what_is_attached_is_what_bpftool_shows(network: Network, bpffs: Path) -> None:
    """A hook, a program or its mode is missing, or belongs to another interface."""
    far = Interface("far0", netns=network.far)
    with (
        deciding(ProgramType.XDP, XdpAction.PASS) as xdp,
        deciding(ProgramType.SCHED_CLS, 0) as first,
        deciding(ProgramType.SCHED_CLS, 0) as second,
    ):
        # The hooks of the kernel's older interface, filled by the tools that come with it.
        first.pin(bpffs / "first")
        second.pin(bpffs / "second")
        xdp.pin(bpffs / "xdp")
        run = network.far.run
        network.far.command("tc", "qdisc", "add", "dev", "far0", "clsact")
        add = ("tc", "filter", "add", "dev", "far0")
        pinned = ("bpf", "da", "object-pinned")
        network.far.command(*add, "ingress", "pref", "7", *pinned, str(bpffs / "first"))
        network.far.command(
            *add, "egress", "pref", "9", "protocol", "ipv6", *pinned, str(bpffs / "second")
        )
        run("link", "set", "dev", "far0", "xdpgeneric", "pinned", str(bpffs / "xdp"))
        ours, theirs = query(far), bpftool_net(network)
        (shown,) = theirs["xdp"]
        (attached,) = ours["xdp"].programs
        assert (shown["ifindex"], shown["id"]) == (far.index, attached.id)
        assert shown["mode"] == attached.details["mode"].name.lower() == "generic"
        clsact = {row["kind"]: row for row in theirs["tc"]}
        for hook, priority, protocol in (("ingress", 7, 3), ("egress", 9, 0x86DD)):
            (found,) = ours[f"clsact/{hook}"].programs
            row = clsact[f"clsact/{hook}"]
            assert (row["id"], row["name"]) == (found.id, found.details["name"])
            assert found.details["priority"] == priority
            assert found.details["protocol"] == protocol
            assert found.details["direct_action"] is True
        run("link", "set", "dev", "far0", "xdpgeneric", "off")
        network.far.command("tc", "qdisc", "delete", "dev", "far0", "clsact")
        assert not any(hook.programs for hook in query(far).values())


def test_links_of_a_hook_are_in_the_order_of_their_programs(network: Network) -> None:
    """The id of a link is told of another program."""
    far = Interface("far0", netns=network.far)
    with (
        deciding(ProgramType.SCHED_CLS, -1) as first,
        deciding(ProgramType.SCHED_CLS, -1) as second,
    ):
        links = [one.attach_tcx(far, AttachType.TCX_EGRESS) for one in (first, second)]
        assert [(one.id, one.link_id) for one in query(far)["tcx/egress"].programs] == [
            (link.info().prog_id, link.info().id) for link in links
        ]
        assert query(far)["tcx/ingress"].programs == []


@pytest.mark.parametrize("count", [17, 40])
def test_no_program_of_many_is_left_out(network: Network, count: int) -> None:
    """The list ends where the first buffer does."""
    far = Interface("far0", netns=network.far)
    programs = [deciding(ProgramType.SCHED_CLS, -1) for _ in range(count)]
    try:
        for program in programs:
            program.attach_tcx(far, AttachType.TCX_INGRESS)
        hook = query(far)["tcx/ingress"]
        assert hook.program_ids == [program.info().id for program in programs]
        assert hook.revision == count + 1
    finally:
        for program in programs:
            program.close()
