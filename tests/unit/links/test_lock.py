"""What takes several requests is done by one at a time, as far as /run can say so."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest

from ebpf.links import lock


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(lock, "DIRECTORY", str(tmp_path / "ebpf"))
    return tmp_path / "ebpf"


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_the_second_waits_for_the_first(directory: Path) -> None:
    """Their requests would mix."""
    order: list[str] = []

    def second() -> None:
        with lock.alone("place"):
            order.append("second")

    thread = threading.Thread(target=second)
    with lock.alone("place"):
        thread.start()
        thread.join(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_other_names_do_not_wait(directory: Path) -> None:
    """An update of one interface would stop those of all."""
    with lock.alone("one"), lock.alone("other"):
        assert sorted(os.listdir(directory)) == ["one.lock", "other.lock"]


def test_a_directory_that_locks_nothing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attachment that works without a lock would fail for want of one."""

    def flock(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    before, done = descriptors(), False
    with lock.alone("place"):
        done = True
    assert done
    assert descriptors() == before


def test_one_who_never_lets_go_does_not_stop_the_others(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped would stop every other one's attachments, too."""
    monkeypatch.setattr(lock, "_PATIENCE", 0.01)
    with lock.alone("place"), lock.alone("place"):
        held = os.open(directory / "place.lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(held)
