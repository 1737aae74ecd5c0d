"""The registers of the machine at a probe: ``struct pt_regs``, the context of kprobes and uprobes.

registers = asm.PtRegs()                    # of this machine; or PtRegs("aarch64")
code = [registers.argument(R6, R1, 0)]      # R6 = the probed function's first argument
"""

from __future__ import annotations

from ebpf.asm.alu import add, mov
from ebpf.asm.jumps import call
from ebpf.asm.memory import ldxdw
from ebpf.asm.operands import in_range, memory
from ebpf.asm.registers import R1, R2, R3, Memory, Register
from ebpf.asm.structs import address_of
from ebpf.errors import AsmError
from ebpf.plain import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.asm.structs import Code, Place


class _Machine(NamedTuple):
    """Offsets in bytes into what the kernel shows programs of ``struct pt_regs``.

    `arguments` are those of a function by the machine's calling convention, `system_call` those
    of a system call at its entry.
    """

    arguments: tuple[int, ...]
    system_call: tuple[int, ...]
    result: int
    instruction_pointer: int
    stack_pointer: int
    frame_pointer: int


def _every_8(first: int, count: int) -> tuple[int, ...]:
    return tuple(range(first, first + 8 * count, 8))


# uapi asm/ptrace.h of each architecture.
_MACHINES = {
    # di, si, dx, cx, r8, r9; r10 in place of cx
    "x86_64": _Machine((112, 104, 96, 88, 72, 64), (112, 104, 96, 56, 72, 64), 80, 128, 152, 32),
    # x0 to x7; the first is kept in orig_x0, behind what user space sees
    "aarch64": _Machine(_every_8(0, 8), (272, *_every_8(8, 5)), 0, 256, 248, 8 * 29),
    # a0 to a7; the first is kept in orig_a0, behind what user space sees
    "riscv64": _Machine(_every_8(80, 8), (280, *_every_8(88, 5)), 80, 0, 16, 64),
    # gprs[2] to gprs[6]; the first is kept in orig_gpr2
    "s390x": _Machine(_every_8(40, 5), (152, *_every_8(48, 4), 80), 40, 16, 144, 112),
}


class PtRegs:
    """``struct pt_regs`` of a machine, as ``os.uname()`` calls it; of this one by default.

    The registers are numbers of 64 bits: a narrower argument may have anything above its own.
    `base` is where R1 pointed when the program began.

    Raises:
        AsmError: for machines other than x86_64, aarch64, riscv64 and s390x.
    """

    def __init__(self, machine: str | None = None) -> None:
        if machine is None:
            import os

            machine = os.uname().machine
        if machine not in _MACHINES:
            raise AsmError(f"machine {machine!r} is none of {', '.join(_MACHINES)}")
        self.machine = machine
        self._offsets = _MACHINES[machine]

    def argument(self, dst: Register, base: Place, number: int) -> Code:
        """dst = the argument of the probed function, counted from 0.

        Raises AsmError for one that is not in a register: the fifth or later on s390x, the sixth
        or later on x86_64, the eighth or later elsewhere.
        """
        return _load(dst, base, self._numbered(self._offsets.arguments, number))

    def system_call_argument(
        self, dst: Register, base: Place, number: int, *, buffer: Memory
    ) -> Code:
        """dst = the argument of a system call, counted from 0; 0 where it cannot be read.

        `base` points to the ``struct pt_regs`` of the caller, which the functions behind system
        calls get as their first argument (``__x64_sys_read``), and the tracepoint sys_enter too.
        `buffer` are 8 bytes on the stack. Clobbers R0 to R5.
        """
        offset = self._numbered(self._offsets.system_call, number)
        return [
            *address_of(R3, base), add(R3, offset), *address_of(R1, buffer), mov(R2, 8),
            call("probe_read_kernel"), ldxdw(dst, buffer),
        ]  # fmt: skip

    def result(self, dst: Register, base: Place) -> Code:
        """dst = what the function returned, in kretprobes and uretprobes."""
        return _load(dst, base, self._offsets.result)

    def instruction_pointer(self, dst: Register, base: Place) -> Code:
        """dst = the address of the next instruction."""
        return _load(dst, base, self._offsets.instruction_pointer)

    def stack_pointer(self, dst: Register, base: Place) -> Code:
        """dst = the address of the top of the stack."""
        return _load(dst, base, self._offsets.stack_pointer)

    def frame_pointer(self, dst: Register, base: Place) -> Code:
        """dst = the frame pointer, in code that is compiled with frame pointers."""
        return _load(dst, base, self._offsets.frame_pointer)

    def _numbered(self, offsets: tuple[int, ...], number: int) -> int:
        what = f"number ({self.machine} has {len(offsets)} in registers)"
        return offsets[in_range(what, number, 0, len(offsets) - 1)]


def _load(dst: Register, base: Place, offset: int) -> Code:
    register, own = memory("base", base)
    return [ldxdw(dst, Memory(Register(register), own + offset))]
