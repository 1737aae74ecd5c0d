"""The kernel's types, as far as no kernel is needed."""

from __future__ import annotations

import errno

import pytest

from ebpf.btf import Btf
from ebpf.btf.build import BtfBuilder
from ebpf.collection import kernel
from ebpf.errors import BpfFileNotFoundError


def test_modules_that_were_unloaded_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their functions would be called by numbers that mean others in the kernel itself."""
    empty = Btf(BtfBuilder().to_bytes())

    def opened(name: str) -> Btf:
        if name == "gone":
            raise BpfFileNotFoundError(errno.ENOENT, "open the BTF of module gone")
        return empty

    monkeypatch.setattr(kernel.os, "listdir", lambda folder: ["going", "gone", "vmlinux"])
    monkeypatch.setattr(kernel, "kernel_btf", opened)
    monkeypatch.setattr(kernel.bpf, "btf_get_next_id", lambda last: None)
    assert kernel.KernelTypes().modules() == []
