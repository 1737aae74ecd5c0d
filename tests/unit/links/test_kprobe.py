"""Why there is no kprobe, where the kernel's symbols cannot be read."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

pytest.importorskip("ebpf._ffi", reason="the extension is not built", exc_type=ImportError)

from ebpf import kallsyms
from ebpf.errors import BpfError
from ebpf.links import kprobe


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOENT, "^no kernel function x "),
        (errno.EINVAL, "^open kprobe x: no probe can be set there"),
        (errno.EADDRNOTAVAIL, "^open kprobe x: several functions have this name; choose .* /proc "),
    ],
)
def test_the_kernels_answer_is_told_without_proc(
    code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That there is no /proc takes its place; or a function that is there is said to be none."""
    monkeypatch.setattr(kallsyms, "PATH", str(tmp_path / "nothing"))
    with pytest.raises(BpfError, match=said) as caught:
        kprobe._failed(code, "kprobe x", "x")
    assert caught.value.errno == code
