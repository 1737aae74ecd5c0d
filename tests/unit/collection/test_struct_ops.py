"""Which of the kernel's structs an object's struct of functions is."""

from __future__ import annotations

import pytest

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.collection.struct_ops import _find
from ebpf.errors import BpfFileNotFoundError
from ebpf.programs.kernel_types import KernelTypes, Module


class Kernel(KernelTypes):
    """A kernel with ``struct my_ops``, and a module that registers it as struct_ops."""

    def __init__(self) -> None:
        super().__init__()
        builder = BtfBuilder()
        number = builder.add(t.Int(name="int", size=4, bits=32))
        first = t.Member("first", number, 0)
        self.struct = builder.add(t.Struct(name="my_ops", size=4, members=(first,)))
        self.base = builder.to_btf()
        split = BtfBuilder("little", self.base)
        members = (t.Member("common", number, 0), t.Member("data", self.struct, 32))
        split.add(t.Struct(name="bpf_struct_ops_my_ops", size=8, members=members))
        self.module = Module("ops", split.to_btf(), 5)

    @property
    def vmlinux(self) -> Btf:
        return self.base

    def modules(self) -> list[Module]:
        return [self.module]


@pytest.mark.parametrize("name", ["my_ops", "my_ops___new"])
def test_a_module_may_register_a_struct_that_the_kernel_has_too(name: str) -> None:
    """The kernel's own struct would be found, and nothing around it: "takes no struct_ops"."""
    kernel = Kernel()
    module, struct, wrapper, offset = _find("map", name, kernel)
    assert module is kernel.module
    assert (struct.id, wrapper.name, offset) == (kernel.struct, "bpf_struct_ops_my_ops", 4)


@pytest.mark.parametrize("name", ["other", "___my_ops", "my_ops___new___newer"])
def test_names_of_flavours_are_those_of_core_relocations(name: str) -> None:
    """Only what follows the last separator is the flavour, and a name does not begin with one."""
    with pytest.raises(BpfFileNotFoundError, match="this kernel takes no struct_ops of struct"):
        _find("map", name, Kernel())
