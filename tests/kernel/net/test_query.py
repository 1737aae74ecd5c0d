"""`ebpf.query` against bpftool and iproute2, for what these and other tools attached."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebpf import AttachType, BpfFileNotFoundError, Interface, ProgramType, XdpAction, query
from tests.kernel.net.network import Network
from tests.kernel.net.programs import deciding
from tests.kernel.net.support import NOT_KNOWN, bpftool_net, shown_in_order


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
        ours, theirs = query(far), bpftool_net(network.far)
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


@pytest.mark.needs_config("CONFIG_NET_SCH_HTB")
def test_filters_of_all_qdiscs_are_those_that_bpftool_shows(network: Network, bpffs: Path) -> None:
    """A program judges what an interface sends, and nothing is attached there."""
    far = Interface("far0", netns=network.far)
    with deciding(ProgramType.SCHED_CLS, 0) as one, deciding(ProgramType.SCHED_CLS, 0) as other:
        one.pin(bpffs / "one")
        other.pin(bpffs / "other")
        add = "filter add dev far0 {} bpf da object-pinned {}".format
        lines = [
            "qdisc add dev far0 root handle 1: htb",
            "class add dev far0 parent 1: classid 1:10 htb rate 1mbit",
            "class add dev far0 parent 1:10 classid 1:1f htb rate 1mbit",
            "qdisc add dev far0 clsact",
            add("parent 1:", bpffs / "one"),
            add("parent 1:10", bpffs / "other"),
            add("parent 1:1f", bpffs / "one"),
            add("egress", bpffs / "other"),
        ]
        network.far.command("tc", "-batch", "-", input="\n".join(lines))
        filters = {"htb/1:": one, "htb/1:10": other, "htb/1:1f": one, "clsact/egress": other}
        ours = query(far)
        filled = {name: hook.program_ids for name, hook in ours.items() if hook.programs}
        assert filled == {name: [program.info().id] for name, program in filters.items()}
        assert ours["htb/1:1f"].programs[0].details["parent"] == "1:1f"
        kinds = [
            (name.partition("/")[0] if name.startswith("htb") else name, number)
            for name, (number,) in filled.items()
        ]
        shown = [(row["kind"], row["id"]) for row in bpftool_net(network.far)["tc"]]
        assert sorted(kinds) == sorted(shown)


def test_links_of_a_hook_are_in_the_order_of_their_programs(network: Network) -> None:
    """The id of a link is told of another program."""
    far = Interface("far0", netns=network.far)
    with (
        deciding(ProgramType.SCHED_CLS, -1) as first,
        deciding(ProgramType.SCHED_CLS, -1) as second,
    ):
        links = [one.attach_tcx(far, AttachType.TCX_EGRESS) for one in (first, second)]
        attached = [(one.id, one.link_id) for one in query(far)["tcx/egress"].programs]
        assert attached == [(link.info().prog_id, link.info().id) for link in links]
        assert query(far)["tcx/ingress"].programs == []
        assert shown_in_order(network.far, "tcx/egress") in (attached, NOT_KNOWN)


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


def test_a_name_of_a_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere the name of a namespace stands for it; here nothing would lead to its path."""
    monkeypatch.setattr("ebpf.queries.interface.NAMED", str(tmp_path))
    (tmp_path / "blue").touch()
    with pytest.raises(BpfFileNotFoundError, match=rf"'blue' is not .*query\('{tmp_path}/blue'\)"):
        query("blue")
    with pytest.raises(BpfFileNotFoundError, match=r"'green' is not in (?!.*query)"):
        query("green")
