"""What the verifier would refuse at once, told when the program is assembled.

A program that some kernel accepts must not be refused here. Jumps, ends and unreachable code are
judged by the verifier before it follows the program, and so they are here. Registers it only
checks where it passes by, and it knows more values than can be known here: so a mistake counts
only where every way through the program meets one. A pointer that a helper returns, tested for
zero right away, is the exception: the side where it is not zero is always followed.
"""

from __future__ import annotations

from ebpf import opcodes as op
from ebpf.asm.flow import CALLER_SAVED, HELPERS, Flow, clobbers, reads, writes
from ebpf.asm.helpers import Helper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from ebpf.asm.assemble import Assembly

_FRAME = 1 << 10

# The state of registers as bits: those that have a value, and those that a call took it from.
State = tuple[int, int]

_RETURNS_POINTER = {
    Helper.MAP_LOOKUP_ELEM, Helper.RINGBUF_RESERVE, Helper.MAP_LOOKUP_PERCPU_ELEM,
    Helper.SK_LOOKUP_TCP, Helper.SK_LOOKUP_UDP, Helper.SKC_LOOKUP_TCP, Helper.DYNPTR_DATA,
    Helper.SK_STORAGE_GET, Helper.TASK_STORAGE_GET, Helper.INODE_STORAGE_GET,
    Helper.CGRP_STORAGE_GET,
}  # fmt: skip


def check(
    assembly: Assembly,
    *,
    returns: bool = False,
    arguments: int = 1,
    outside: Collection[int] = (),
) -> None:
    """Refuse what every kernel refuses.

    Args:
        returns: whether the program's type has a result, so that R0 must be set at its end; those
            of LSM and struct_ops programs may have none.
        arguments: how many of R1 to R5 are set at the start: 5 for a program that replaces a
            function.
        outside: the numbers of instructions that refer to functions of other assemblies.

    Raises:
        AsmError: a jump that leaves the program or its function, an end without exit, code that
            cannot be reached (as a callback for exceptions, which only BTF names); a register that
            is read and that nothing has set, a write to R10. It names the line.
    """
    flow = Flow(assembly, outside)
    flow.check_shape()
    if not flow.is_complete:
        return
    flow.check_reached()
    _Registers(flow, returns, arguments).check()


class _Registers:
    """Which registers may have a value before each instruction, over all ways that lead there."""

    def __init__(self, flow: Flow, returns: bool, arguments: int) -> None:
        self._flow = flow
        self._returns = returns
        self._targets = set(flow.jumps.values())
        self._arguments = arguments
        self._states: dict[int, State] = {}
        self._main_end = flow.entries[1] if len(flow.entries) > 1 else len(flow.instructions)
        self._faults: dict[int, str] = {}

    def check(self) -> None:
        self._spread()
        for number, (known, lost) in self._states.items():
            fault = self._fault(number, known, lost)
            if fault:
                self._faults[number] = fault
        if not self._faults:
            return
        doomed = self._doomed()
        if 0 in doomed:
            number = self._first_fault(doomed)
            raise self._flow.error(number, self._faults[number])

    def _spread(self) -> None:
        """Follow the program until no state grows any more."""
        left = [0]
        self._states[0] = ((1 << self._arguments) - 1 << 1 | _FRAME, 0)
        while left:
            number = left.pop()
            for follower, state in self._after(number):
                known, lost = self._states.get(follower, (0, 0))
                joined = (known | state[0], lost | state[1])
                if follower not in self._states or joined != (known, lost):
                    self._states[follower] = joined
                    left.append(follower)

    def _after(self, number: int) -> list[tuple[int, State]]:
        known, lost = self._states[number]
        instruction = self._flow.instructions[number]
        taken, set_ = clobbers(instruction), writes(instruction)
        after = (known & ~taken | set_, (lost | taken) & ~set_)
        found = [(follower, after) for follower in self._flow.successors(number)]
        callee = self._flow.references.get(number)
        if callee is not None:
            # A function gets the caller's R1 to R5; what they are in a callback, the kernel says.
            is_call = instruction.opcode == op.CALL_OPCODE
            arguments = known & CALLER_SAVED if is_call else CALLER_SAVED
            found.append((callee, (arguments | _FRAME, 0)))
        return found

    def _fault(self, number: int, known: int, lost: int) -> str:
        instruction = self._flow.instructions[number]
        if writes(instruction) & _FRAME:
            return "R10 is written, and the frame pointer is read-only"
        is_end = instruction.opcode == op.EXIT_OPCODE
        if is_end and self._returns and number < self._main_end and not known & 1:
            return "R0 is not set, and the program returns it"
        missing = reads(instruction) & ~known
        if not missing:
            return ""
        register = (missing & -missing).bit_length() - 1
        why = ": a call leaves nothing in R1 to R5" if lost >> register & 1 else ""
        if instruction.opcode == op.CALL_OPCODE:
            helper = HELPERS[instruction.imm]
            name, count = helper.name.lower(), helper.arguments
            return f"helper {name} takes {count} arguments, and R{register} is not set{why}"
        return f"R{register} is read, and nothing has set it{why}"

    def _doomed(self) -> set[int]:
        """The instructions from which every way meets a fault."""
        doomed = set(self._faults)
        before: dict[int, list[int]] = {}
        for number in self._states:
            for follower in (*self._flow.successors(number), *self._callee(number)):
                before.setdefault(follower, []).append(number)
        left = list(doomed)
        while left:
            for number in before.get(left.pop(), []):
                if number not in doomed and self._is_doomed(number, doomed):
                    doomed.add(number)
                    left.append(number)
        return doomed

    def _callee(self, number: int) -> list[int]:
        """The function that is followed when an instruction is: one that is called."""
        is_call = self._flow.instructions[number].opcode == op.CALL_OPCODE
        return (
            [self._flow.references[number]] if is_call and number in self._flow.references else []
        )

    def _is_doomed(self, number: int, doomed: set[int]) -> bool:
        followers = self._certain(number)
        if any(callee in doomed for callee in self._callee(number)):
            return True
        return bool(followers) and all(follower in doomed for follower in followers)

    def _certain(self, number: int) -> list[int]:
        """Of what may run next, one is followed: which ones are in question."""
        followers = self._flow.successors(number)
        instruction = self._flow.instructions[number]
        if instruction.opcode in (op.JMP | op.JEQ, op.JMP | op.JNE) and self._tests_pointer(number):
            return followers[:1] if instruction.opcode == op.JMP | op.JEQ else followers[1:]
        return followers

    def _tests_pointer(self, number: int) -> bool:
        """Whether a jump compares with zero what the instruction before it got from a helper."""
        test, call = self._flow.instructions[number], self._flow.instructions[number - 1]
        return (
            number > 0
            and (test.dst, test.imm) == (0, 0)
            and (call.opcode, call.src) == (op.CALL_OPCODE, 0)
            and call.imm in _RETURNS_POINTER
            and number not in self._targets
        )

    def _first_fault(self, doomed: set[int]) -> int:
        """The fault that is nearest to the start."""
        near, seen = [0], {0}
        for number in near:
            if number in self._faults:
                break
            nexts = [*self._callee(number), *self._certain(number)]
            new = [follower for follower in nexts if follower in doomed and follower not in seen]
            near += new
            seen.update(new)
        return number
