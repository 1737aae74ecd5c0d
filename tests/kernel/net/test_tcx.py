"""tcx: programs in an order, at both directions of an interface."""

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
    Program,
    ProgramType,
    query,
)
from tests.kernel.net.network import Network
from tests.kernel.net.programs import deciding

CLS = ProgramType.SCHED_CLS
NEXT, PASS, DROP = -1, 0, 2
INGRESS, EGRESS = AttachType.TCX_INGRESS, AttachType.TCX_EGRESS


def order(interface: Interface, hook: str = "tcx/ingress") -> list[int]:
    return query(interface)[hook].program_ids


def id(program: Program) -> int:
    return program.info().id


def test_the_first_program_that_decides_is_the_last_to_run(network: Network) -> None:
    """An anchor is taken for another place."""
    far = Interface("far0", netns=network.far)
    with deciding(CLS, PASS) as passes, deciding(CLS, DROP) as drops, deciding(CLS, NEXT) as on:
        link = passes.attach_tcx(far, INGRESS)
        drops.attach_tcx(far, INGRESS)
        assert order(far) == [id(passes), id(drops)]
        assert network.arrived() == [b"tested"]
        first = on.attach_tcx(far, INGRESS, before=passes)
        assert order(far) == [id(on), id(passes), id(drops)]
        assert network.arrived() == [b"tested"]
        with deciding(CLS, DROP) as before, deciding(CLS, NEXT) as after:
            at = before.attach_tcx(far, INGRESS, after=first)
            assert order(far) == [id(on), id(before), id(passes), id(drops)]
            assert network.arrived() == []
            at.close()
            after.attach_tcx(far, INGRESS, first=True)
            assert order(far) == [id(after), id(on), id(passes), id(drops)]
        link.close()
        assert network.arrived() == []


def test_egress_is_the_sender_s_side(network: Network) -> None:
    """The direction is the other one."""
    near = Interface("near0", netns=network.near)
    with deciding(CLS, DROP, EGRESS) as drops:
        with drops.attach_tcx(near) as link:
            assert network.arrived() == []
            network.deliver_back()
            hook = query(near)["tcx/egress"]
            assert [(p.id, p.link_id) for p in hook.programs] == [(id(drops), link.info().id)]
        assert network.arrived() == [b"tested"]


def test_a_revision_that_has_passed(network: Network) -> None:
    """A program is put where others have changed what is there."""
    far = Interface("far0", netns=network.far)
    with deciding(CLS, PASS) as one, deciding(CLS, PASS) as two:
        one.attach_tcx(far, INGRESS)
        revision = query(far)["tcx/ingress"].revision
        with pytest.raises(BpfError, match="has changed since `expected_revision`") as refused:
            two.attach_tcx(far, INGRESS, expected_revision=revision + 1)
        assert refused.value.errno == errno.ESTALE
        two.attach_tcx(far, INGRESS, expected_revision=revision)
        assert query(far)["tcx/ingress"].revision == revision + 1


def test_replacing_in_place(network: Network) -> None:
    """The new program comes last, or replaces one that is not meant."""
    far = Interface("far0", netns=network.far)
    with deciding(CLS, NEXT) as one, deciding(CLS, PASS) as two, deciding(CLS, DROP) as new:
        link = one.attach_tcx(far, INGRESS)
        two.attach_tcx(far, INGRESS)
        with pytest.raises(BpfPermissionError, match="another program than `expected`"):
            link.update(new, expected=two)
        link.update(new, expected=one)
        assert order(far) == [id(new), id(two)]
        assert network.arrived() == []


def test_what_cannot_be_attached(network: Network) -> None:
    """The kernel's EINVAL, ENOENT or EEXIST is not put into words."""
    far = Interface("far0", netns=network.far)
    with deciding(CLS, PASS) as one, deciding(CLS, PASS) as two:
        one.attach_tcx(far, INGRESS)
        with pytest.raises(BpfFileExistsError, match="the program is attached there already"):
            one.attach_tcx(far, INGRESS)
        with pytest.raises(BpfFileNotFoundError, match="the anchor is not attached there"):
            two.attach_tcx(far, EGRESS, before=one)
        with pytest.raises(TypeError, match="before, after, first: a program has one place"):
            two.attach_tcx(far, INGRESS, before=one, after=one)
        with pytest.raises(TypeError, match=r"before: 7 has no descriptor"):
            two.attach_tcx(far, INGRESS, before=7)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="attach_type: it takes TCX_INGRESS or TCX_EGRESS"):
            two.attach_tcx(far)
        with pytest.raises(TypeError, match="TCX_EGRESS, not XDP"):
            two.attach_tcx(far, AttachType.XDP)
        with (
            deciding(ProgramType.XDP, 2) as other,
            pytest.raises(BpfError, match=r"another type .XDP.; it takes SCHED_CLS"),
        ):
            other.attach_tcx(far, INGRESS)
        assert order(far) == [id(one)]


def test_an_interface_that_vanishes(network: Network) -> None:
    """The link acts on nothing without saying so."""
    far = Interface("far0", netns=network.far)
    with deciding(CLS, PASS) as program, deciding(CLS, PASS) as other:
        link = program.attach_tcx(far, INGRESS)
        network.near.run("link", "delete", "near0")
        with pytest.raises(BpfError, match="the interface is gone") as refused:
            link.update(other)
        assert refused.value.errno == errno.ENOLINK
        with pytest.raises(BpfFileNotFoundError, match="is gone from"):
            other.attach_tcx(far, INGRESS)
