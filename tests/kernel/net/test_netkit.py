"""netkit: programs of both ends of a pair, which are attached to the primary one."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from ebpf import (
    AttachType,
    BpfError,
    BpfFileExistsError,
    BpfPermissionError,
    Interface,
    ProgramType,
    query,
)
from tests.kernel.links.network_hooks import NETKIT, netkit
from tests.kernel.net.network import NetkitNetwork, Network
from tests.kernel.net.programs import deciding
from tests.kernel.net.support import NOT_KNOWN, shown_in_order

pytestmark = list(NETKIT)

CLS = ProgramType.SCHED_CLS
NEXT, PASS, DROP = -1, 0, 2
PRIMARY, PEER = AttachType.NETKIT_PRIMARY, AttachType.NETKIT_PEER


@pytest.fixture
def pair() -> Iterator[Network]:
    from tests.kernel.links import network_hooks

    try:
        netkit()
        yield network_hooks.network(NetkitNetwork)
    finally:
        network_hooks.forget_networks()


def test_what_the_primary_sends_is_dropped(pair: Network) -> None:
    """The program runs for the other end, or not at all."""
    near = Interface("near0", netns=pair.near)
    with deciding(CLS, DROP) as drops:
        with drops.attach_netkit(near, PRIMARY):
            assert pair.arrived() == []
            pair.deliver_back()
        assert pair.arrived() == [b"tested"]


def test_anchors_replacement_and_revision(pair: Network) -> None:
    """Programs run in another order than was asked for, or at another state."""
    near = Interface("near0", netns=pair.near)
    with deciding(CLS, PASS) as one, deciding(CLS, DROP) as two, deciding(CLS, NEXT) as new:
        ids = [program.info().id for program in (one, two, new)]
        link = one.attach_netkit(near, PRIMARY)
        revision = query(near)["netkit/primary"].revision
        with pytest.raises(BpfError, match="has changed since") as refused:
            two.attach_netkit(near, PRIMARY, expected_revision=revision + 1)
        assert refused.value.errno == errno.ESTALE
        two.attach_netkit(near, PRIMARY, after=link, expected_revision=revision)
        hook = query(near)["netkit/primary"]
        assert hook.program_ids == ids[:2]
        attached = [(program.id, program.link_id) for program in hook.programs]
        assert shown_in_order(pair.near, "netkit/primary") in (attached, NOT_KNOWN)
        assert pair.arrived() == [b"tested"]
        with pytest.raises(BpfFileExistsError, match="attached there already"):
            two.attach_netkit(near, PRIMARY)
        link.update(new, expected=one)
        assert query(near)["netkit/primary"].program_ids == [ids[2], ids[1]]
        assert pair.arrived() == []


def test_interfaces_that_take_none(pair: Network) -> None:
    """ENXIO and EACCES do not say which interface it takes."""
    with deciding(CLS, PASS) as program:
        with pytest.raises(BpfError, match="lo is no netkit interface") as refused:
            program.attach_netkit(Interface("lo", netns=pair.near), PRIMARY)
        assert refused.value.errno == errno.ENXIO
        with pytest.raises(BpfPermissionError, match="far0 is the peer of its pair"):
            program.attach_netkit(Interface("far0", netns=pair.far), PEER)
    assert "netkit/primary" not in query(Interface("far0", netns=pair.far))
