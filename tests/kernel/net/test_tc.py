"""clsact filters: what they do, where they are, and that nothing of them is left."""

from __future__ import annotations

import errno
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
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
    Program,
    ProgramType,
    query,
)
from ebpf.links import tc
from tests.kernel.net.network import Network
from tests.kernel.net.programs import deciding

CLS = ProgramType.SCHED_CLS
UNSPEC, OK, SHOT = -1, 0, 2


def filters(network: Network, direction: str = "ingress") -> list[dict[str, Any]]:
    """What tc says of the filters of "far0"."""
    text = network.far.command("tc", "-j", "filter", "show", "dev", "far0", direction)
    return [row for row in json.loads(text or "[]") if "options" in row]


def qdiscs(network: Network) -> str:
    return network.far.command("tc", "qdisc", "show", "dev", "far0")


def test_a_packet_is_dropped_while_attached(network: Network) -> None:
    """The filter does nothing, or it and its qdisc stay when it is closed."""
    far = Interface("far0", netns=network.far)
    before = qdiscs(network)
    with deciding(CLS, SHOT) as program:
        with program.attach_tc(far, "ingress") as link:
            assert network.arrived() == []
            (row,) = filters(network)
            assert row["options"]["prog"]["id"] == program.info().id
            assert row["options"]["direct-action"] is True
            assert row["pref"] == link.priority
            assert int(row["options"]["handle"], 16) == link.handle
            (found,) = query(far)["clsact/ingress"].programs
            assert (found.id, found.details["name"]) == (
                program.info().id,
                row["options"]["bpf_name"],
            )
        assert network.arrived() == [b"tested"]
    assert qdiscs(network) == before


def test_egress_priorities_protocols_and_handles(network: Network) -> None:
    """A filter is at another place than was asked for."""
    far = Interface("far0", netns=network.far)
    with deciding(CLS, UNSPEC) as first, deciding(CLS, OK) as second:
        first.attach_tc(far, "egress", protocol="ip", priority=10, handle=3)
        second.attach_tc(far, "egress", protocol=0x86DD, priority=20)
        links = [one.attach_tc(far, "egress") for one in (first, second)]
        assert [link.priority for link in links] == [49152, 49151]
        rows = filters(network, "egress")
        assert [(row["protocol"], row["options"]["handle"]) for row in rows] == [
            ("ip", "0x3"),
            ("ipv6", "0x1"),
            ("all", "0x1"),
            ("all", "0x1"),
        ]
        assert [row["pref"] for row in rows] == [10, 20, 49151, 49152]
        assert filters(network) == []


def test_filters_run_in_the_order_of_their_priorities(network: Network) -> None:
    """The first verdict is not the one that counts."""
    far = Interface("far0", netns=network.far)
    with deciding(CLS, SHOT) as drops, deciding(CLS, OK) as passes:
        drops.attach_tc(far, "ingress", priority=20)
        assert network.arrived() == []
        with passes.attach_tc(far, "ingress", priority=10):
            assert network.arrived() == [b"tested"]
        assert network.arrived() == []


def test_replacing(network: Network) -> None:
    """The new program is another filter, or the old one goes on."""
    far = Interface("far0", netns=network.far)
    with deciding(CLS, SHOT) as drops, deciding(CLS, OK) as passes:
        with passes.attach_tc(far, "ingress", priority=5) as link:
            link.update(drops)
            assert network.arrived() == []
            (row,) = filters(network)
            assert (row["pref"], row["options"]["prog"]["id"]) == (5, drops.info().id)
            with pytest.raises(TypeError, match=r"the kernel replaces filters whatever they are"):
                link.update(passes, expected=drops)
        assert filters(network) == []


def test_what_others_made_stays(network: Network, bpffs: Path) -> None:
    """A qdisc or filter of somebody else goes with ours."""
    far = Interface("far0", netns=network.far)
    network.far.command("tc", "qdisc", "add", "dev", "far0", "clsact")
    with deciding(CLS, OK) as program:
        program.attach_tc(far, "ingress").close()
        assert "clsact" in qdiscs(network)
        network.far.command("tc", "qdisc", "delete", "dev", "far0", "clsact")
        program.pin(bpffs / "other")
        link = program.attach_tc(far, "ingress", priority=10)
        other = ("tc", "filter", "add", "dev", "far0", "ingress", "pref", "20", "bpf", "da")
        network.far.command(*other, "object-pinned", str(bpffs / "other"))
        link.close()
        assert [row["pref"] for row in filters(network)] == [20]


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_the_older_ingress_qdisc(network: Network, direction: str) -> None:
    """What is to filter what goes out, filters what comes in."""
    far = Interface("far0", netns=network.far)
    network.far.command("tc", "qdisc", "add", "dev", "far0", "ingress")
    with deciding(CLS, SHOT) as program:
        if direction == "egress":
            with pytest.raises(BpfError, match=r"ingress qdisc, which has no egress; use attach_t"):
                program.attach_tc(far, direction)
            assert network.arrived() == [b"tested"]
        else:
            with program.attach_tc(far, direction):
                assert network.arrived() == []
            assert network.arrived() == [b"tested"]
    assert filters(network) == []
    assert "ingress" in qdiscs(network)


def test_a_qdisc_that_goes_while_a_filter_is_added(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that closes its last filter makes attaching fail, for an untrue reason."""
    far = Interface("far0", netns=network.far)
    asked = tc._tc
    gone = []

    def without(interface: Interface, target: str, command: str, kind: str, **rest: Any) -> None:
        if command == "add-filter" and len(gone) < 2:
            gone.append(network.far.command("tc", "qdisc", "delete", "dev", "far0", "clsact"))
        asked(interface, target, command, kind, **rest)

    monkeypatch.setattr(tc, "_tc", without)
    with deciding(CLS, SHOT) as program:
        with program.attach_tc(far, "ingress"):
            assert len(gone) == 2
            assert network.arrived() == []
        assert "clsact" not in qdiscs(network)


def test_threads_that_attach_and_close_at_one_interface(network: Network) -> None:
    """One removes the qdisc that the other has just asked for, or is told that it is busy."""
    far = Interface("far0", netns=network.far)
    with deciding(CLS, OK) as one, deciding(CLS, OK) as two:

        def rounds(program: Program) -> int:
            for _ in range(10):
                with program.attach_tc(far, "ingress") as link:
                    name = link._row.name  # type: ignore[attr-defined]
                    there = query(far)["clsact/ingress"].programs
                    assert name in [found.details["name"] for found in there]
            return 10

        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(rounds, (one, two))) == [10, 10]
    assert "clsact" not in qdiscs(network)


def test_a_later_interface_with_the_same_number(network: Network) -> None:
    """Its administrator's qdisc is taken for the one that was made at the earlier one."""
    add = ("link", "add", "eth9", "index", "99", "type", "veth", "peer", "name", "peer9")
    with deciding(CLS, OK) as program:
        network.far.run(*add)
        link = program.attach_tc(Interface("eth9", netns=network.far), "ingress")
        network.far.run("link", "delete", "eth9")
        link.close()
        network.far.run(*add)
        network.far.command("tc", "qdisc", "add", "dev", "eth9", "clsact")
        program.attach_tc(Interface("eth9", netns=network.far), "ingress").close()
        assert "clsact" in network.far.command("tc", "qdisc", "show", "dev", "eth9")


def test_what_cannot_be_attached(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's numbers, or pyroute2's errors, reach the caller."""
    far = Interface("far0", netns=network.far)
    with deciding(CLS, OK) as program, deciding(CLS, OK) as other:
        link = program.attach_tc(far, "ingress", priority=7, handle=1)
        with pytest.raises(BpfFileExistsError, match=r"priority and handle is there already"):
            other.attach_tc(far, "ingress", priority=7, handle=1)
        with pytest.raises(BpfError, match=r"priority may be one of another protocol") as refused:
            other.attach_tc(far, "ingress", priority=7, protocol="ip")
        assert refused.value.errno == errno.EINVAL
        with pytest.raises(ValueError, match=r"direction: 'in' is not 'ingress' or 'egress'"):
            other.attach_tc(far, "in")
        with pytest.raises(ValueError, match=r"protocol: 'icmp' is none of all, ip"):
            other.attach_tc(far, "ingress", protocol="icmp")
        with pytest.raises(ValueError, match=r"priority: 65536 does not fit"):
            other.attach_tc(far, "ingress", priority=65536)
        with (
            deciding(ProgramType.XDP, 2) as wrong,
            pytest.raises(BpfError, match=r"another type .XDP.; it takes SCHED_CLS"),
        ):
            wrong.attach_tc(far, "ingress")
        with pytest.raises(NotSupportedError, match=r"over netlink, without a link"):
            link.info()
        with monkeypatch.context() as without:
            without.setitem(sys.modules, "pyroute2", None)
            with pytest.raises(EbpfError, match=r"takes pyroute2 .*; pip install 'ebpf\[tc\]'"):
                other.attach_tc(far, "ingress")
        assert len(filters(network)) == 1


def test_a_filter_is_no_anchor(network: Network) -> None:
    """The kernel takes it for a program, and says something untrue of that."""
    far = Interface("far0", netns=network.far)
    with (
        deciding(CLS, OK) as program,
        program.attach_tc(far, "ingress") as link,
        pytest.raises(TypeError, match=r"TcFilter .* has no place among the programs"),
    ):
        program.attach_tcx(far, AttachType.TCX_INGRESS, before=link)


def test_a_kernel_without_the_qdisc(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOENT sounds as if the interface was missing."""
    far = Interface("far0", netns=network.far)
    asked = tc._tc

    def without(interface: Interface, target: str, command: str, kind: str, **rest: Any) -> None:
        asked(interface, target, command, "no-such-kind", **rest)

    monkeypatch.setattr(tc, "_tc", without)
    with (
        deciding(CLS, OK) as program,
        pytest.raises(NotSupportedError, match=r"not built .CONFIG_NET_SCH_INGRESS, CONFIG"),
    ):
        program.attach_tc(far, "ingress")


def test_an_interface_or_filter_that_vanishes(network: Network) -> None:
    """Closing fails, or a filter is made anew by an update."""
    far = Interface("far0", netns=network.far)
    with deciding(CLS, OK) as program:
        link = program.attach_tc(far, "ingress")
        network.far.command("tc", "filter", "delete", "dev", "far0", "ingress")
        with pytest.raises(BpfFileNotFoundError, match=r"it was removed"):
            link.update(program)
        link.close()
        again = program.attach_tc(far, "ingress")
        network.near.run("link", "delete", "near0")
        with pytest.raises(BpfFileNotFoundError, match=r"is gone from"):
            program.attach_tc(far, "ingress")
        with pytest.raises(BpfFileNotFoundError, match=r"gone|removed"):
            again.update(program)
