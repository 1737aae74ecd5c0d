"""Names for what a function keeps: registers that survive calls, and places on its stack.

Explicit and predictable: the first name is R6, then R7, R8 and R9, and nothing ever moves. Places
on the stack go down from R10 in the order in which they are asked for.
"""

from __future__ import annotations

from ebpf.asm.memory import stb, stdw, sth, stw
from ebpf.asm.operands import in_range
from ebpf.asm.registers import R10, Memory, Register
from ebpf.errors import AsmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import SupportsIndex

    from ebpf.asm.instruction import Instruction

# MAX_BPF_STACK: of a function together with those that it calls.
STACK_SIZE = 512
_FIRST, _LAST = 6, 9
_STORES: tuple[tuple[int, Callable[[Memory, int], Instruction]], ...] = (
    (8, stdw), (4, stw), (2, sth), (1, stb),
)  # fmt: skip


class Frame:
    """The registers and the stack of one function: ``total = frame.register("total")``."""

    def __init__(self) -> None:
        self._registers: dict[str, Register] = {}
        self._slots: dict[str, tuple[Memory, int]] = {}
        self._depth = 0

    def register(self, name: str) -> Register:
        """The register that keeps `name`: the same for the same name, else the next of R6 to R9.

        Raises:
            AsmError: all four are taken; the message says by what.
        """
        if name not in self._registers:
            number = _FIRST + len(self._registers)
            if number > _LAST:
                taken = ", ".join(f"R{r.number} {n!r}" for n, r in self._registers.items())
                raise AsmError(
                    f"no register is left for {name!r} ({taken}); keep it on the stack: slot()"
                )
            self._registers[name] = Register(number)
        return self._registers[name]

    def slot(self, name: str, size: SupportsIndex = 8) -> Memory:
        """A place on the stack, aligned to its size up to 8: the same for the same name.

        Args:
            size: in bytes, 1..512. What is there before it is written, the verifier lets no
                helper read: see `zero`.

        Raises:
            AsmError: the 512 bytes of the stack are used up, or the name has another size.
        """
        wanted = in_range("size", size, 1, STACK_SIZE)
        if name in self._slots:
            memory, known = self._slots[name]
            if known != wanted:
                raise AsmError(f"slot {name!r} has {known} bytes, not {wanted}")
            return memory
        alignment = min(8, 1 << (wanted - 1).bit_length())
        depth = -(-(self._depth + wanted) // alignment) * alignment
        if depth > STACK_SIZE:
            raise AsmError(
                f"slot {name!r} of {wanted} bytes does not fit: {self._depth} of the {STACK_SIZE} "
                "bytes of the stack are taken; keep it in a map with one entry"
            )
        self._depth = depth
        self._slots[name] = (R10 - depth, wanted)
        return R10 - depth

    def zero(self, name: str) -> list[Instruction]:
        """Fill a slot with zeros, padding included when a struct is stored in it later."""
        if name not in self._slots:
            raise AsmError(f"there is no slot {name!r} yet: slot() makes it")
        memory, size = self._slots[name]
        stores, done = [], 0
        for width, store in _STORES:
            while size - done >= width:
                stores.append(store(memory + done, 0))
                done += width
        return stores
