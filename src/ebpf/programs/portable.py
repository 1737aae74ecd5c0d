"""Fitting a program of `ebpf.asm` that is loaded alone to the types of the running kernel."""

from __future__ import annotations

from ebpf.asm.portable import core_relocations
from ebpf.asm.relocated import Relocated
from ebpf.btf.core import POISON, Relocator
from ebpf.btf.ext import INSTRUCTION_SIZE
from ebpf.errors import VerifierError
from ebpf.kernel_btf import kernel_btf
from ebpf.verifier import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.asm import Assembly
    from ebpf.btf import Btf
    from ebpf.btf.ext import CoreRelocation


class Portable:
    """The code of `assembly` as this kernel needs it.

    Raises RelocationError for what its types leave open, NotSupportedError without kernel BTF.
    """

    def __init__(self, assembly: Assembly, code: bytes) -> None:
        local, relocations = core_relocations(assembly)
        self._relocator = Relocator(local, _targets(assembly))
        # Instructions that nothing in the kernel answers to, by slot; they must not be reached.
        self._poisoned: dict[int, CoreRelocation] = {}
        patched = bytearray(code)
        for relocation in relocations:
            slot = relocation.insn_offset // INSTRUCTION_SIZE
            if self._relocator.apply(patched, relocation, slot).poison:
                self._poisoned[slot] = relocation
        self.code = bytes(patched)

    def explained(self, error: VerifierError) -> VerifierError:
        """`error`, or what was missing where the verifier stopped at such an instruction."""
        relocation = self._poisoned.get(-1 if error.instruction is None else error.instruction)
        if relocation is None or f"#{POISON}" not in str(error):
            return error
        reason = self._relocator.explain(relocation, error.program)
        action = str(error).partition(": ")[0]
        return VerifierError(
            error.errno or 0,
            f"{action}: {Refusal(reason, error.instruction, '', error.source)}",
            error.log,
            program=error.program,
            instruction=error.instruction,
            source=error.source,
        )


def _targets(assembly: Assembly) -> list[Btf]:
    """The kernel's BTF, and those of its modules that the program was written with."""
    kernel = kernel_btf()
    found = {id(kernel): kernel}
    for instruction in assembly.instructions:
        if isinstance(instruction, Relocated) and instruction.access.btf.base is kernel:
            found[id(instruction.access.btf)] = instruction.access.btf
    return list(found.values())
