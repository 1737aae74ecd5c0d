"""What a kretprobe with maxactive is refused for, with a file in the place of tracefs."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

pytest.importorskip("ebpf._ffi", reason="the extension is not built", exc_type=ImportError)

from ebpf import BpfError, BpfPermissionError, tracefs
from ebpf.links import kprobe

FUNCTION = "kernel_clone"


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that probes are written to, in a kernel that has the function."""
    monkeypatch.setattr(tracefs, "find", lambda: str(tmp_path))
    monkeypatch.setattr(kprobe, "check_type", lambda *arguments: None)
    monkeypatch.setattr(kprobe, "_pmu", lambda target: 0)
    monkeypatch.setattr(kprobe.kallsyms, "function_addresses", lambda name: [1])
    path = tmp_path / "kprobe_events"
    path.touch()
    return path


class Anything:
    def fileno(self) -> int:
        return -1


def refuse(monkeypatch: pytest.MonkeyPatch, call: str, code: int) -> BpfError:
    """What is told when a call of the kernel is refused while the probe is created."""

    def refused(*arguments: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, refused)
        with pytest.raises(BpfError) as caught:
            kprobe.attach_kretprobe(Anything(), FUNCTION, maxactive=5000)
    return caught.value


@pytest.mark.usefixtures("events")
def test_more_than_the_kernel_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """EINVAL, which is told as a function that cannot be probed."""
    error = refuse(monkeypatch, "write", errno.EINVAL)
    assert "maxactive: 5000 is more than the kernel takes (4096)" in str(error)


def test_a_file_of_root(events: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Capabilities and perf_event_paranoid are told, with which all is well."""
    error = refuse(monkeypatch, "open", errno.EACCES)
    assert isinstance(error, BpfPermissionError)
    assert f"create a probe: this process may not write {events}; run it as root" in str(error)
    assert "paranoid" not in str(error)


@pytest.mark.usefixtures("events")
def test_a_kernel_that_is_locked_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root is told to run it as root."""
    error = refuse(monkeypatch, "write", errno.EPERM)
    assert isinstance(error, BpfPermissionError)
    assert "capabilities" in str(error)
    assert "may not write" not in str(error)
