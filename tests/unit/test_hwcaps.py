"""The folders that the dynamic loader takes libraries from, against the loader's own word."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

pytest.importorskip("ebpf._ffi", reason="the extension is not built", exc_type=ImportError)

from ebpf._sys import hwcaps

LOADER = "/lib64/ld-linux-x86-64.so.2"


def test_the_loader_says_the_same() -> None:
    """Another file than the one that programs load would be probed."""
    if not os.path.exists(LOADER):
        pytest.skip("no loader of the GNU C library for x86-64")
    said = subprocess.run([LOADER, "--help"], capture_output=True, text=True).stdout
    if "glibc-hwcaps directories, in priority order" not in said:
        pytest.skip("a loader before 2.33")
    assert hwcaps.glibc_hwcaps() == re.findall(r"^  (x86-64-v\d) \(supported", said, re.MULTILINE)


def test_each_takes_what_the_one_before_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without one instruction would run into it."""
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("", "", "", "", "x86_64")))
    flags = {flag for _, needed in hwcaps._X86_64 for flag in needed.split()}
    for lacking, expected in (
        ("", ["x86-64-v4", "x86-64-v3", "x86-64-v2"]),
        ("avx512vl", ["x86-64-v3", "x86-64-v2"]),
        ("movbe", ["x86-64-v2"]),
        ("pni", []),
    ):
        monkeypatch.setattr(hwcaps, "_flags", lambda lacking=lacking: flags - {lacking})
        assert hwcaps.glibc_hwcaps() == expected


@pytest.mark.parametrize(("machine", "expected"), [("aarch64", []), ("s390x", None)])
def test_other_machines(
    machine: str, expected: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arm has no such folders; of others only the loader knows which it takes."""
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("", "", "", "", machine)))
    assert hwcaps.glibc_hwcaps() == expected
