"""Cgroups and sockets that a test makes, and programs for them."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ebpf import AttachType, Program, ProgramType, query
from ebpf.asm import R0, exit_, mov
from ebpf.links.cgroup_hooks import CGROUP_HOOKS
from ebpf.queries import AttachedHook
from tests.kernel.links.hooks import cgroup, remove_cgroups
from tests.kernel.links.socket_hooks import tcp_pair
from tests.kernel.net.network import Namespace


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


def bpftool_net(space: Namespace) -> dict[str, list[dict[str, Any]]]:
    """What bpftool says of the interfaces of a namespace."""
    (answer,) = json.loads(space.command("bpftool", "-j", "net", "show"))
    return dict(answer)


# What a bpftool before 7.3 shows of tcx, and one before 7.4 of netkit.
NOT_KNOWN: list[tuple[int, int]] = []


def shown_in_order(space: Namespace, hook: str) -> list[tuple[int, int]]:
    """The programs and links that bpftool shows of a tcx or netkit hook."""
    rows = bpftool_net(space)["tc"]
    return [(row["prog_id"], row["link_id"]) for row in rows if row["kind"] == hook]


def returning(
    number: int, hook: AttachType | None = None, type: ProgramType | None = None
) -> Program:
    """A program that returns `number`: for a hook of a cgroup, where no type is given."""
    type = type or CGROUP_HOOKS[hook or AttachType.CGROUP_INET_EGRESS]
    return Program.load(type, [mov(R0, number), exit_()], license="GPL", attach_type=hook)


def removed(path: Path) -> int:
    """A descriptor of a cgroup that is gone."""
    path.mkdir()
    fd = os.open(path, os.O_RDONLY)
    path.rmdir()
    return fd


def attached(path: Path, *, effective: bool = False) -> AttachedHook:
    """What is attached to a cgroup for packets that go out."""
    return query(path, effective=effective)["cgroup_skb/egress"]


def ids(path: Path, *, effective: bool = False) -> list[int]:
    return attached(path, effective=effective).program_ids


class Numbered:
    """A descriptor and nothing else."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd


def bound(space: Namespace, port: int = 0, *options: tuple[int, int, int]) -> socket.socket:
    """A UDP socket on the loopback interface."""
    made = space.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in options:
        made.setsockopt(*option)
    made.bind(("127.0.0.1", port))
    return made


def port_of(one: socket.socket) -> int:
    return int(one.getsockname()[1])


@contextmanager
def connections() -> Iterator[list[socket.socket]]:
    """Two connections: both ends of one, both ends of the other."""
    ends = [*tcp_pair(), *tcp_pair()]
    try:
        yield ends
    finally:
        for end in ends:
            end.close()
