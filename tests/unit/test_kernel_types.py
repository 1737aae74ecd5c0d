"""The kernel's types, as far as no kernel is needed."""

from __future__ import annotations

import errno
import os

import pytest

from ebpf import kernel_btf
from ebpf._sys import bpf
from ebpf.btf import Btf, Kind
from ebpf.btf.build import BtfBuilder
from ebpf.btf.types import Int, Typedef
from ebpf.errors import BpfFileNotFoundError
from ebpf.programs import kernel_types as kernel


def test_modules_that_were_unloaded_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their functions would be called by numbers that mean others in the kernel itself."""
    empty = Btf(BtfBuilder().to_bytes())

    def opened(name: str) -> Btf:
        if name == "gone":
            raise BpfFileNotFoundError(errno.ENOENT, "open the BTF of module gone")
        return empty

    monkeypatch.setattr(kernel, "module_names", lambda: ["going", "gone"])
    monkeypatch.setattr(kernel, "kernel_btf", opened)
    monkeypatch.setattr(bpf, "btf_get_next_id", lambda last: None)
    assert kernel.KernelTypes().modules() == []


def test_a_type_of_a_module_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two modules may have functions of one name: the first one's would be traced."""
    builder = BtfBuilder()
    builder.add(Typedef(name="start", type_id=builder.add(Int(name="int", size=4, bits=32))))
    same = builder.to_btf()
    types = kernel.KernelTypes()
    monkeypatch.setattr(kernel, "kernel_btf", lambda: Btf(BtfBuilder().to_bytes()))
    types._modules = [kernel.Module("one", same, 7), kernel.Module("two", same, 8)]
    for owner, fd in (("", 7), ("one", 7), ("two", 8)):
        found = types.find("start", Kind.TYPEDEF, owner)
        assert found is not None
        assert found[0].fd == fd
    for owner in ("three", "vmlinux"):
        assert types.find("start", Kind.TYPEDEF, owner) is None


def test_modules_are_opened_by_the_names_of_their_btf(monkeypatch: pytest.MonkeyPatch) -> None:
    """The descriptor of another module's types would be taken, or those of the rest stay open."""
    opened: dict[int, int] = {}

    def open_id(id: int) -> int:
        opened[id] = os.open("/dev/null", os.O_RDONLY)
        return opened[id]

    names = {1: "vmlinux", 2: "one", 3: "", 4: "two", 5: "three"}
    monkeypatch.setattr(bpf, "btf_get_next_id", lambda id: id + 1 if id < 5 else None)
    monkeypatch.setattr(bpf, "btf_get_fd_by_id", open_id)
    # The number of one that was closed may be that of a later one.
    monkeypatch.setattr(bpf, "btf_name", lambda fd: names[max(opened)])
    found = kernel_btf.module_descriptors(["two", "one", "other"])
    assert found == {"one": opened[2], "two": opened[4]}
    for fd in found.values():
        os.close(fd)
