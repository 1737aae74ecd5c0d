"""Finding tracefs and the tracepoints in it, in directories that look like it."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest

from ebpf import tracefs
from ebpf._sys import facts
from ebpf._sys import mounts as system_mounts
from ebpf.errors import BpfError, BpfFileNotFoundError, BpfPermissionError, FormatError


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The two places, both empty."""
    first, second = tmp_path / "tracing", tmp_path / "debug" / "tracing"
    first.mkdir()
    monkeypatch.setattr(tracefs, "MOUNT_POINTS", (str(first), str(second)))
    return first, second


EVENTS = [
    "sched/sched_switch",
    "sched/sched_wakeup",
    "syscalls/sys_enter_open",
    "raw_syscalls/sys_enter",
]


def fill(directory: Path) -> None:
    for number, name in enumerate(
        [
            "sched/sched_switch",
            "sched/sched_wakeup",
            "syscalls/sys_enter_open",
            "raw_syscalls/sys_enter",
        ]
    ):
        event = directory / "events" / name
        event.mkdir(parents=True)
        (event / "id").write_text(f"{number + 100}\n")
    (directory / "events" / "enable").write_text("0\n")


def test_an_empty_mount_point_is_not_tracefs(mounts: tuple[Path, Path]) -> None:
    """The directory exists on every kernel; what makes it tracefs is its contents."""
    with pytest.raises(BpfFileNotFoundError, match="mount -t tracefs tracefs /sys/kernel/tracing"):
        tracefs.find()
    fill(mounts[1])
    assert tracefs.find() == str(mounts[1])
    fill(mounts[0])
    assert tracefs.find() == str(mounts[0])


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (errno.EACCES, r"^read it: this process may not read PATH; run it as root.*gid=GROUP"),
        (errno.EPERM, r"^read it: read PATH: not permitted.*Facts: capabilities"),
        (
            errno.EBUSY,
            r"^read it: PATH is open elsewhere, and takes one reader at a time: Device",
        ),
        (errno.ENODEV, r"^read it: PATH: No such device"),
    ],
)
def test_a_file_that_cannot_be_opened(
    code: int, told: str, mounts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error would be Python's own, without a remedy, and no BpfError."""
    fill(mounts[0])
    monkeypatch.setattr(facts, "reads_every_file", lambda: False)

    def refused(path: str, flags: int) -> int:
        assert flags == os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        raise OSError(code, os.strerror(code), path)

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(BpfError) as caught:
        tracefs.open_to_read("PATH", "read it", os.O_NONBLOCK)
    assert caught.value.errno == code
    assert re.search(told, caught.value.strerror or "")


def test_a_directory_that_may_not_be_read_is_said_to_be_that(
    mounts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "Not mounted" would send the user to mount it."""

    def listdir(path: str) -> list[str]:
        # As for a user who is not root; the tests may be.
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", listdir)
    monkeypatch.setattr(facts, "reads_every_file", lambda: False)
    with pytest.raises(BpfPermissionError, match=f"may not read {mounts[0]}") as caught:
        tracefs.find()
    assert caught.match(f"group read it: mount -o remount,gid=GROUP,mode=750 {mounts[0]}")


def test_a_closed_debugfs_is_gone_around(
    mounts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may not enter debugfs is not helped by the mode of what is inside it."""
    listdir = os.listdir

    def refuse(path: str) -> list[str]:
        if path == str(mounts[1]):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(facts, "reads_every_file", lambda: False)
    with pytest.raises(BpfPermissionError, match=f"may not read {mounts[1]}") as caught:
        tracefs.find()
    assert caught.match(f"{tracefs.MOUNT_COMMAND} && .* {mounts[0]}")


def test_a_number_that_may_not_be_read_has_the_cure_told(
    mounts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "Permission denied" alone would send the user to the directory, which is open."""
    fill(mounts[0])
    assert tracefs.readable(str(mounts[0])) is True

    def refuse(path: str, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(facts, "reads_every_file", lambda: False)
    monkeypatch.setattr("builtins.open", refuse)
    cure = f"mount -o remount,gid=GROUP,mode=750 {mounts[0]}$"
    with pytest.raises(BpfPermissionError, match=r"tracepoint sched:sched_switch: ") as caught:
        tracefs.tracepoint_id("sched", "sched_switch")
    assert caught.match(cure.replace("$", r" \[EACCES\]$"))
    assert tracefs.readable(str(mounts[0])) is False
    assert tracefs.readable(str(mounts[1])) is None


@pytest.mark.parametrize(
    ("code", "every", "told"),
    [
        (errno.EACCES, False, "run it as root, or let a group read it"),
        (errno.EACCES, True, r"not permitted\. .*Facts: .*LSMs"),
        (errno.EPERM, False, r"not permitted\. .*lockdown"),
    ],
)
def test_what_modes_do_not_refuse_is_not_cured_by_modes(
    mounts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, code: int, every: bool, told: str
) -> None:
    """Root, refused by a lockdown or a security module, would be told to run it as root."""
    fill(mounts[0])
    real = open

    def refuse(path: str, *mode: str, **options: Any) -> Any:
        if str(path).startswith(str(mounts[0])):
            raise PermissionError(code, os.strerror(code), path)
        return real(path, *mode, **options)

    monkeypatch.setattr(facts, "reads_every_file", lambda: every)
    monkeypatch.setattr("builtins.open", refuse)
    for use in (
        lambda: tracefs.tracepoint_id("sched", "sched_switch"),
        lambda: tracefs.lines(f"{mounts[0]}/available_filter_functions"),
    ):
        with pytest.raises(BpfPermissionError, match=told) as caught:
            use()
        assert caught.value.errno == code


def test_tracefs_that_a_lockdown_leaves_empty(
    mounts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is mounted, so that mounting it does not help."""
    device = mounts[0].stat().st_dev
    kinds = {device: "tracefs"}
    monkeypatch.setattr(system_mounts, "kind_of", kinds.get)
    with pytest.raises(BpfPermissionError, match=f"{mounts[0]} has no files: .*lockdown=integrity"):
        tracefs.find()
    assert tracefs.empty_mount() == str(mounts[0])
    fill(mounts[0])
    assert tracefs.empty_mount() is None


def test_who_may_read_every_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root in a container may have lost the capability."""
    for mask, every in (("0000000000000001", False), ("2", True), ("4", True), (None, False)):
        monkeypatch.setattr(facts, "_status", lambda name, mask=mask: mask)
        assert facts.reads_every_file() is every


def test_a_tracepoint_has_its_number(mounts: tuple[Path, Path]) -> None:
    fill(mounts[0])
    assert tracefs.tracepoint_id("sched", "sched_wakeup") == 101


def test_unknown_names_have_the_nearest_named(mounts: tuple[Path, Path]) -> None:
    """In the category that was asked for, or in another."""
    fill(mounts[0])
    for category, name, told in (
        ("sched", "sched_swich", "nearest: sched:sched_switch"),
        ("task", "sched_switch", "no category task; nearest: sched:sched_switch"),
        ("syscalls", "sched_switch", "nearest: sched:sched_switch"),
        ("shed", "nothing", "no category shed; nearest: sched"),
    ):
        with pytest.raises(BpfFileNotFoundError, match=told):
            tracefs.tracepoint_id(category, name)


@pytest.mark.parametrize(("category", "name"), [("", "a"), ("a", ""), ("..", "a"), ("a/b", "c")])
def test_a_name_is_no_path(mounts: tuple[Path, Path], category: str, name: str) -> None:
    """It must not lead out of the events."""
    fill(mounts[0])
    with pytest.raises(ValueError, match="is no tracepoint"):
        tracefs.tracepoint_id(category, name)


def test_raw_tracepoints_are_those_that_exist_as_such(mounts: tuple[Path, Path]) -> None:
    """Events of single system calls are none: all of them are sys_enter."""
    fill(mounts[0])
    assert tracefs.tracepoint_names() == ["sched_switch", "sched_wakeup", "sys_enter"]


# What Linux writes, of different tracepoints.
FORMAT = """\
name: example
ID: 100
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;
\tfield:const char * filename;\toffset:16;\tsize:8;\tsigned:0;
\tfield:unsigned long args[6];\toffset:24;\tsize:48;\tsigned:0;
\tfield:char comm[TASK_COMM_LEN];\toffset:72;\tsize:16;\tsigned:0;
\tfield:__data_loc char[] name;\toffset:88;\tsize:4;\tsigned:0;
\tfield:void (*func)(struct task_struct *);\toffset:96;\tsize:8;\tsigned:0;

print fmt: "field:int no;\toffset:1;\tsize:1;\tsigned:1; %d", REC->ret
"""


def test_fields_are_those_of_the_format(mounts: tuple[Path, Path]) -> None:
    """A program would read at a wrong offset, or a field be missing."""
    fill(mounts[0])
    path = mounts[0] / "events" / "sched" / "sched_switch" / "format"
    path.write_text(FORMAT)
    fields = tracefs.tracepoint_fields("sched", "sched_switch")
    assert {
        field.name: (field.offset, field.size, field.signed, field.is_array)
        for field in fields.values()
    } == {
        "common_type": (0, 2, False, False),
        "common_pid": (4, 4, True, False),
        "__syscall_nr": (8, 4, True, False),
        "filename": (16, 8, False, False),
        "args": (24, 48, False, True),
        "comm": (72, 16, False, True),
        "name": (88, 4, False, True),
        "func": (96, 8, False, False),
    }
    assert list(fields) == [field.name for field in fields.values()]
    assert fields["filename"].declaration == "const char * filename"


def test_fields_of_no_tracepoint_have_the_nearest_named(mounts: tuple[Path, Path]) -> None:
    """Another error than for attaching would send the user astray."""
    fill(mounts[0])
    with pytest.raises(BpfFileNotFoundError, match="nearest: sched:sched_switch"):
        tracefs.tracepoint_fields("sched", "sched_swich")


def test_a_format_of_the_future_is_an_error(mounts: tuple[Path, Path]) -> None:
    """A field would be left out silently."""
    fill(mounts[0])
    path = mounts[0] / "events" / "sched" / "sched_switch" / "format"
    path.write_text("\tfield:int ret;\toffset:sixteen;\n")
    with pytest.raises(FormatError, match=r"sched:sched_switch: 'field:int ret"):
        tracefs.tracepoint_fields("sched", "sched_switch")
