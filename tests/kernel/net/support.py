"""Cgroups that a test makes, and programs for their sockets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebpf import AttachType, Program, ProgramType
from ebpf.asm import R0, exit_, mov
from ebpf.links.cgroup_hooks import CGROUP_HOOKS
from tests.kernel.links.hooks import cgroup, remove_cgroups


@contextmanager
def made_cgroup() -> Iterator[Path]:
    """A new cgroup, empty."""
    made = cgroup()
    try:
        yield made
    finally:
        for below in sorted(made.rglob("*/cgroup.procs"), reverse=True):
            below.parent.rmdir()
        remove_cgroups()


def returning(
    number: int, hook: AttachType | None = None, type: ProgramType | None = None
) -> Program:
    """A program that returns `number`, for a hook of a cgroup."""
    type = type or CGROUP_HOOKS[hook or AttachType.CGROUP_INET_EGRESS]
    return Program.load(type, [mov(R0, number), exit_()], license="GPL", attach_type=hook)


def removed(path: Path) -> int:
    """A descriptor of a cgroup that is gone."""
    path.mkdir()
    fd = os.open(path, os.O_RDONLY)
    path.rmdir()
    return fd
