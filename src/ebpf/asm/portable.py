"""The CO-RE relocations of an assembly, and the types that they refer to."""

from __future__ import annotations

from ebpf.asm.excerpt import Excerpt
from ebpf.asm.lines import Piece, placed
from ebpf.asm.relocated import Relocated
from ebpf.btf.build import BtfBuilder
from ebpf.btf.ext import INSTRUCTION_SIZE, CoreRelocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.asm.assemble import Assembly
    from ebpf.btf import Btf


def core_relocations(assembly: Assembly) -> tuple[Btf, list[CoreRelocation]]:
    """What `ebpf.btf.core.Relocator` takes: the types, and the relocations in their order.

    Raises BtfError for a path that its own BTF does not have.
    """
    builder = BtfBuilder(assembly.byteorder)
    excerpt = Excerpt(builder)
    found = [
        (slot, instruction.access)
        for slot, instruction in placed(assembly, Piece("", 0, len(assembly)))
        if isinstance(instruction, Relocated)
    ]
    for _, access in found:
        excerpt.want(access)
    relocations = [
        CoreRelocation(slot * INSTRUCTION_SIZE, *excerpt.place(access), access.kind)
        for slot, access in found
    ]
    return builder.to_btf(), relocations
