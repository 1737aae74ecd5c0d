"""The cache's place and its unfinished work, and messages about missing programs."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.vm.host import HarnessError, cache_dir, check_path, missing_message, scratch


def test_cache_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that says where the cache is has no effect, or the wrong one wins."""
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("EBPF_CACHE", raising=False)
    assert cache_dir() == Path("/home/me/.cache/ebpf-tests")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_dir() == Path("/caches/ebpf-tests")
    monkeypatch.setenv("EBPF_CACHE", "/own")
    assert cache_dir() == Path("/own")


def test_all_missing_programs_are_in_one_message() -> None:
    """A program is left out, or the message does not say how to get it."""
    text = missing_message(["vng", "qemu-system-x86_64", "modprobe", "depmod", "busybox"])
    assert "pip install virtme-ng" in text
    assert "apt-get install busybox-static kmod qemu-system-x86\n" in text
    for name in ("vng", "qemu-system-x86_64", "modprobe", "depmod", "busybox"):
        assert name in text.splitlines()[0]


def test_unfinished_work_does_not_stay(tmp_path: Path) -> None:
    """What a failed or killed download left behind stays, or finished work is removed."""
    (tmp_path / ".partial-killed").mkdir()
    with scratch(tmp_path) as finished:
        finished.rename(tmp_path / "done")
    with contextlib.suppress(RuntimeError), scratch(tmp_path) as failed:
        (failed / "file").touch()
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["done"]


@pytest.mark.parametrize("name", ["a b", "a;b", "a=b", "a'b", "a$b", "a,b", "a:b"])
def test_paths_that_vng_breaks_are_refused(name: str) -> None:
    """A path that ends up cut or expanded in vng's shell command is let through."""
    with pytest.raises(HarnessError, match="the checkout"):
        check_path(Path("/tmp") / name, "the checkout")


def test_ordinary_paths_pass() -> None:
    """A Debian kernel's path, which has a plus sign, is refused."""
    check_path(Path("/home/me/.cache/ebpf-tests/7.x/7.3.4+deb13-amd64"), "the cache folder")
