"""Attachments to a cgroup that the library or the kernel refuses, or that end with the cgroup."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ebpf import (
    AttachType,
    BpfError,
    BpfFileNotFoundError,
)
from tests.kernel.net.support import Numbered, ids, removed, returning
from tests.kernel.samples import ROOT, wait_until

A = AttachType
EGRESS = A.CGROUP_INET_EGRESS


def test_a_cgroup_that_is_none_or_gone(group: Path, tmp_path: Path) -> None:
    """The error is of another thing than the cgroup."""
    with returning(1, EGRESS) as program:
        for mode in (None, "multi"):
            with pytest.raises(BpfError, match="is no cgroup v2 directory"):
                program.attach_cgroup(tmp_path, mode=mode)
            with pytest.raises(BpfFileNotFoundError, match=r"open the cgroup .*never"):
                program.attach_cgroup(group / "never", mode=mode)
            gone = removed(group / "gone")
            try:
                with pytest.raises(BpfError, match="removed"):
                    program.attach_cgroup(Numbered(gone), mode=mode)
            finally:
                os.close(gone)


def test_a_revision_of_what_is_no_cgroup(tmp_path: Path) -> None:
    """The error is of the revision."""
    with returning(1, EGRESS) as program, pytest.raises(BpfError, match="no cgroup v2 directory"):
        program.attach_cgroup(tmp_path, expected_revision=1)


@pytest.mark.parametrize("mode", [None, "multi"])
def test_a_cgroup_that_vanishes_while_attached(group: Path, mode: Any) -> None:
    """Closing fails, or hangs on to what is gone."""
    below = group / "below"
    below.mkdir()
    with returning(1, EGRESS) as program, program.attach_cgroup(below, mode=mode) as link:
        below.rmdir()
        if mode is None:
            wait_until(lambda: not link.info().details["cgroup_id"], "the cgroup is gone")
            with pytest.raises(BpfError, match="what it was attached to is gone"):
                link.update(program)
        link.close()
        assert link.closed


MISTAKES: dict[str, tuple[type[Exception], str, dict[str, Any]]] = {
    "a hook of something else": (ValueError, "XDP is no hook", {"attach_type": A.XDP}),
    "lsm_cgroup": (ValueError, "attach_lsm_cgroup", {"attach_type": A.LSM_CGROUP}),
    "another type": (BpfError, "it takes CGROUP_DEVICE", {"attach_type": A.CGROUP_DEVICE}),
    "a mode that is none": (ValueError, "mode: 'both' is not 'single'", {"mode": "both"}),
    "an order of one": (TypeError, "'single' has one program", {"mode": "single", "first": True}),
    "a revision that is none": (TypeError, "expected_revision", {"expected_revision": "1"}),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(mistake: str, group: Path) -> None:
    """Something is attached, or the kernel's EINVAL is all."""
    error, text, options = MISTAKES[mistake]
    with returning(1, EGRESS) as program:
        with pytest.raises(error, match=text):
            program.attach_cgroup(group, **options)
        assert ids(group) == []


def test_options_that_exclude_each_other(group: Path) -> None:
    """One of them is dropped."""
    with returning(1, EGRESS) as program:
        with pytest.raises(TypeError, match="before, after, first"):
            program.attach_cgroup(group, before=program, first=True)
        with pytest.raises(TypeError, match="replace"):
            program.attach_cgroup(group, replace=program)
        with pytest.raises(TypeError, match="after: 'a' has no descriptor"):
            program.attach_cgroup(group, after="a")  # type: ignore[arg-type]


def test_a_program_for_another_hook(group: Path) -> None:
    """It would judge what it was not verified for."""
    text = r"loaded for another hook \(attach_type\)"
    with returning(1, A.CGROUP_INET4_BIND) as program, pytest.raises(BpfError, match=text):
        program.attach_cgroup(group, A.CGROUP_INET4_CONNECT)


def test_too_many_programs(group: Path) -> None:
    """The limit is not named."""
    with returning(1, EGRESS) as program:
        for _ in range(64):
            program.attach_cgroup(group)
        with pytest.raises(BpfError, match=r"\(64\) are attached"):
            program.attach_cgroup(group)


WITHOUT_RIGHTS = """
import ctypes, sys
from ebpf import BpfPermissionError
from tests.kernel.net.support import returning, AttachType
program = returning(1, AttachType.CGROUP_INET_EGRESS)
header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert ctypes.CDLL(None).capset(header, none) == 0
for mode in (None, "multi"):
    try:
        program.attach_cgroup(sys.argv[1], mode=mode)
    except BpfPermissionError as error:
        print(error)
"""


def test_missing_rights_are_told_as_facts(group: Path) -> None:
    """The hook is said to be taken, or EPERM is all."""
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_RIGHTS, str(group)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.count("capabilities: none") == 2, run.stdout
