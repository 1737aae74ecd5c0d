"""What is attached to cgroups, as bpftool tells it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ebpf import (
    AttachType,
    BpfError,
    BpfFileNotFoundError,
    query,
)
from ebpf.links.cgroup_hooks import CGROUP_HOOKS
from ebpf.types import AttachFlags
from tests.kernel import environment
from tests.kernel.net.support import Numbered, returning
from tests.kernel.samples import bpftool

A = AttachType
EGRESS = A.CGROUP_INET_EGRESS


def shown(*command: str, without: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What bpftool says; `without` where it cannot: before 6.0 it asks for too much (7.1)."""
    if environment.kernel_version() < (6, 0):
        return without
    return list(bpftool("cgroup", *command))


def test_what_is_attached_is_what_bpftool_shows(group: Path) -> None:
    """A hook, a program, its flags or its order is another."""
    with (
        returning(1, EGRESS) as one,
        returning(1, EGRESS) as two,
        returning(1, A.CGROUP_INET4_CONNECT) as connecting,
        returning(1, A.CGROUP_SOCK_OPS) as operating,
    ):
        one.attach_cgroup(group)
        two.attach_cgroup(group)
        connecting.attach_cgroup(group, mode="override")
        operating.attach_cgroup(group, mode="single")
        words = {"multi": 2, "override": 1, "": 0}
        numbers = [program.info().id for program in (one, two, connecting, operating)]
        flags = ("multi", "multi", "override", "")
        known = [{"id": n, "attach_flags": f} for n, f in zip(numbers, flags, strict=True)]
        rows = shown("show", str(group), without=known)
        theirs = [(row["id"], words[row["attach_flags"]]) for row in rows]
        answer = query(group)
        ours = [
            (program.id, int(hook.flags)) for hook in answer.values() for program in hook.programs
        ]
        assert sorted(ours) == sorted(theirs)
        assert answer["cgroup_skb/egress"].program_ids == [one.info().id, two.info().id]
        assert answer["cgroup/connect4"].program_ids == [connecting.info().id]
        assert answer["sockops"].program_ids == [operating.info().id]
        assert answer["cgroup_skb/ingress"].programs == []
        if environment.kernel_version() >= (6, 0):
            (program,) = answer["cgroup/connect4"].programs
            assert program.flags is AttachFlags.ALLOW_OVERRIDE


def test_a_tree_of_cgroups_is_what_bpftool_shows(group: Path) -> None:
    """A program of one cgroup is told of the other."""
    below = group / "below"
    below.mkdir()
    with returning(1, EGRESS) as upper, returning(1, A.CGROUP_INET_INGRESS) as lower:
        upper.attach_cgroup(group)
        lower.attach_cgroup(below)
        known = [
            {"cgroup": str(path), "programs": [{"id": program.info().id}]}
            for path, program in ((group, upper), (below, lower))
        ]
        theirs = {
            row["cgroup"]: [program["id"] for program in row["programs"]]
            for row in shown("tree", str(group), without=known)
        }
        ours = {
            str(path): [number for hook in query(path).values() for number in hook.program_ids]
            for path in (group, below)
        }
        assert ours == theirs
        effective = query(below, effective=True)
        assert effective["cgroup_skb/egress"].program_ids == [upper.info().id]
        assert effective["cgroup_skb/ingress"].program_ids == [lower.info().id]


def test_hooks_that_the_kernel_has_are_told(group: Path) -> None:
    """One is left out, or told of a kernel that does not have it."""
    here = environment.kernel_version()
    known = {hook for hook in CGROUP_HOOKS if (hook.since or (0, 0)) <= here}
    assert len(set(query(group)) - {"lsm_cgroup"}) == len(known)
    directory = os.open(group, os.O_RDONLY)
    try:
        assert query(Numbered(directory)) == query(str(group))
    finally:
        os.close(directory)


def test_what_cannot_be_queried(group: Path, tmp_path: Path) -> None:
    """The error is of another kind of target."""
    with pytest.raises(BpfError, match="is no cgroup v2 directory"):
        query(tmp_path)
    with pytest.raises(BpfFileNotFoundError, match="never"):
        query(group / "never")
    with pytest.raises(TypeError, match="effective: only a cgroup"):
        query("/proc/self/ns/net", effective=True)
    with pytest.raises(TypeError, match="effective: only a cgroup"):
        query("lo", effective=True)
