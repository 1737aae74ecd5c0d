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
from ebpf.errors import BpfFileNotFoundError, BpfPermissionError
from ebpf.programs import kernel_types as kernel


def test_modules_that_were_unloaded_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their functions would be called by numbers that mean others in the kernel itself."""

    def opened(name: str | None = None) -> Btf:
        if name == "gone":
            raise BpfFileNotFoundError(errno.ENOENT, "open the BTF of module gone")
        return empty() if name is None else with_typedef("start")

    monkeypatch.setattr(kernel, "module_names", lambda: ["going", "gone"])
    monkeypatch.setattr(kernel, "kernel_btf", opened)
    monkeypatch.setattr(bpf, "btf_get_next_id", lambda last: None)
    types = kernel.KernelTypes()
    assert [module.name for module in types.modules()] == ["going"]
    assert types.find("start", Kind.TYPEDEF) is None


def test_modules_are_read_without_the_right_to_refer_to_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without CAP_SYS_ADMIN nothing that asks for an optional type or kfunc would load."""

    def refuse(last: int) -> None:
        raise BpfPermissionError(errno.EPERM, "get the next id: not permitted")

    monkeypatch.setattr(kernel, "module_names", lambda: ["one"])
    monkeypatch.setattr(
        kernel, "kernel_btf", lambda name=None: with_typedef("start") if name else empty()
    )
    monkeypatch.setattr(bpf, "btf_get_next_id", refuse)
    types = kernel.KernelTypes()
    assert [len(btf.find_all("start")) for btf in types] == [0, 1]
    assert types.find("no_such_type", Kind.TYPEDEF) is None
    # What is there has no descriptor, at the second time neither.
    for _ in range(2):
        with pytest.raises(BpfPermissionError, match=r"^.*start of the module one: .*permitted"):
            types.find("start", Kind.TYPEDEF)


def empty() -> Btf:
    return Btf(BtfBuilder().to_bytes())


def with_typedef(name: str) -> Btf:
    builder = BtfBuilder()
    builder.add(Typedef(name=name, type_id=builder.add(Int(name="int", size=4, bits=32))))
    return builder.to_btf()


def test_a_type_of_a_module_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two modules may have functions of one name: the first one's would be traced."""
    same = with_typedef("start")
    types = kernel.KernelTypes()
    monkeypatch.setattr(kernel, "kernel_btf", empty)
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
