"""Control flow in blocks: if_, while_, for_range, on top of jumps and labels.

    [
        mov(R6, 0),
        for_range(R7, 0, 16, lambda loop: [
            invoke(call("get_prandom_u32")),
            if_(when(R0, "==", 0), [ja(loop.end)]),
            add(R6, R0),
        ]),
        mov(R0, R6),
        exit_(),
    ]

Every function returns a list that splices. A block is any nesting of lists; that of a loop may be
a function that gets the `Loop`, whose labels every jump can name. The labels are new each time: to
use a block twice, make it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ebpf import opcodes as op
from ebpf.asm import jumps
from ebpf.asm.alu import add, mov
from ebpf.asm.assemble import flatten
from ebpf.asm.flow import CALLER_SAVED, clobbers
from ebpf.asm.fresh import fresh
from ebpf.asm.instruction import Instruction, Label
from ebpf.asm.memory import lddw
from ebpf.asm.operands import in_range, register
from ebpf.asm.registers import Register
from ebpf.asm.value import Value, set_field
from ebpf.errors import AsmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import SupportsIndex

    Item = Instruction | Label
    Block = Iterable[object] | Instruction
    LoopBlock = Block | Callable[["Loop"], Block]
    Operand = Register | SupportsIndex
    Jump = Callable[[Register, Operand, str], Instruction]

# What is compared -> the jump that is taken, and the one for the opposite.
_JUMPS: dict[str, tuple[str, str]] = {
    "==": ("jeq", "jne"), "!=": ("jne", "jeq"), "<": ("jlt", "jge"), "<=": ("jle", "jgt"),
    ">": ("jgt", "jle"), ">=": ("jge", "jlt"), "s<": ("jslt", "jsge"), "s<=": ("jsle", "jsgt"),
    "s>": ("jsgt", "jsle"), "s>=": ("jsge", "jslt"), "&": ("jset", ""),
}  # fmt: skip

_ENDS = (op.JMP | op.JA, op.JA32, op.JAX, op.EXIT_OPCODE)


class Condition:
    """Something that is true or false when the program runs; `when` and its like make them."""

    def jump(self, target: str) -> list[Item]:
        """Go to `target` where it is true."""
        raise NotImplementedError

    def unless(self, target: str) -> list[Item]:
        """Go to `target` where it is false."""
        raise NotImplementedError


class _Comparison(Condition):
    def __init__(self, dst: Register, sign: str, src: Operand, bits: int) -> None:
        suffix = "32" if bits == 32 else ""
        taken, opposite = _JUMPS[sign]
        self._operands = (dst, src)
        self._taken: Jump = getattr(jumps, taken + suffix)
        self._opposite: Jump | None = getattr(jumps, opposite + suffix) if opposite else None
        # Made here once, so that wrong operands are told where they are written.
        self._taken(dst, src, "target")

    def jump(self, target: str) -> list[Item]:
        return [self._taken(*self._operands, target)]

    def unless(self, target: str) -> list[Item]:
        if self._opposite is not None:
            return [self._opposite(*self._operands, target)]
        over = fresh("true")
        return [self._taken(*self._operands, over), jumps.ja(target), Label(over)]


class _Both(Condition):
    """All of several conditions, tested in order until one is false."""

    def __init__(self, conditions: tuple[Condition, ...]) -> None:
        self._conditions = conditions

    def jump(self, target: str) -> list[Item]:
        over = fresh("false")
        *first, last = self._conditions
        tests = [item for condition in first for item in condition.unless(over)]
        return [*tests, *last.jump(target), *([Label(over)] if first else [])]

    def unless(self, target: str) -> list[Item]:
        return [item for condition in self._conditions for item in condition.unless(target)]


class _Not(Condition):
    def __init__(self, condition: Condition) -> None:
        self._condition = condition

    def jump(self, target: str) -> list[Item]:
        return self._condition.unless(target)

    def unless(self, target: str) -> list[Item]:
        return self._condition.jump(target)


def when(dst: Register, sign: str, src: Operand, *, bits: int = 64) -> Condition:
    """A comparison: ``when(R1, "<", 14)``.

    Args:
        sign: ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, unsigned; ``s<``, ``s<=``, ``s>``,
            ``s>=``, signed; ``&``, true where both have a bit in common.
        src: a register or an immediate.
        bits: 64, or 32 to compare the lower halves.
    """
    if sign not in _JUMPS:
        raise AsmError(f"sign must be one of {' '.join(_JUMPS)}, not {sign!r}")
    if bits not in (32, 64):
        raise AsmError(f"bits must be 32 or 64, not {bits!r}")
    return _Comparison(dst, sign, src, bits)


def all_of(*conditions: Condition) -> Condition:
    """True where all are; the tests after the first that is false are left out."""
    return _Both(_checked(conditions))


def any_of(*conditions: Condition) -> Condition:
    """True where one is; the tests after the first that is true are left out."""
    return _Not(_Both(tuple(_Not(condition) for condition in _checked(conditions))))


def not_(condition: Condition) -> Condition:
    """True where `condition` is false."""
    return _Not(*_checked((condition,)))


def _checked(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    if not conditions:
        raise AsmError("conditions must be one or more")
    for condition in conditions:
        if not isinstance(condition, Condition):
            raise TypeError(
                f"a condition is what when(), all_of(), any_of() and not_() return, "
                f"not {type(condition).__name__} {condition!r}"
            )
    return conditions


class Loop(Value):
    """The labels of a loop: a jump to `next` goes on with the next turn, one to `end` leaves it."""

    __slots__ = ("end", "next")
    end: str
    next: str

    def __init__(self, next: str, end: str) -> None:
        set_field(self, "next", next)
        set_field(self, "end", end)

    def _key(self) -> tuple[object, ...]:
        return (self.next, self.end)


def if_(condition: Condition, then: Block, otherwise: Block = ()) -> list[Item]:
    """Run `then` where the condition is true, else `otherwise`."""
    _checked((condition,))
    name = fresh("if")
    taken, other = list(flatten(then, "then")), list(flatten(otherwise, "otherwise"))
    if not other:
        return [*condition.unless(f"{name}.end"), *taken, Label(f"{name}.end")]
    leave = [jumps.ja(f"{name}.end")] if _goes_on(taken) else []
    end = [Label(f"{name}.end")] if leave else []
    return [*condition.unless(f"{name}.else"), *taken, *leave, Label(f"{name}.else"), *other, *end]


def while_(condition: Condition | None, block: LoopBlock, *, budget: bool = False) -> list[Item]:
    """Run `block` as long as the condition is true; with None, until it jumps to ``loop.end``.

    The verifier follows every turn, so it has to see that the loop ends, within the million
    instructions that it looks at: by a register that counts from a constant. `budget` spares that
    with may_goto: the loop ends as well when the kernel's own budget is used up. Linux 6.9.
    """
    loop = _new_loop("while")
    body = _body(block, loop)
    tests = [] if condition is None else _checked((condition,))[0].unless(loop.end)
    limit = [jumps.may_goto(loop.end)] if budget else []
    again = [jumps.ja(loop.next)] if _goes_on(body) else []
    items = [Label(loop.next), *limit, *tests, *body, *again]
    return [*items, *_end_of(loop, items)]


def for_range(
    counter: Register,
    start: Operand,
    stop: Operand,
    block: LoopBlock,
    *,
    step: SupportsIndex = 1,
    at_most: SupportsIndex | None = None,
) -> list[Item]:
    """Run `block` with `counter` = start, start + step, ... as long as it is below `stop`.

    Unsigned. `counter`, and `stop` where it is a register, are R6 to R9 where the block calls
    something, and the block leaves them alone. `counter` is a number for the verifier as well if
    `start` is one; for a `stop` that is a register it needs `at_most`, or to know how big that is.

    Args:
        step: 1..2**31-1.
        at_most: no more turns than this, for constant `start`.

    Raises:
        AsmError: a call in the block would overwrite a register of the loop; at_most without a
            constant `start`; a negative number; `stop` is the register `counter`.
    """
    loop = _new_loop("for")
    by = in_range("step", step, 1, 2**31 - 1)
    for name, bound in (("start", start), ("stop", stop)):
        if not isinstance(bound, Register):
            in_range(name, bound, 0, 2**64 - 1)
    if stop == counter:
        raise AsmError(f"stop must not be {counter!r}, the counter: it would never be below itself")
    body = _body(block, loop)
    _check_survives("counter", counter, body)
    _check_survives("stop", stop, body)
    tests: list[Item] = [jumps.jge(counter, stop, loop.end)]
    if at_most is not None:
        if isinstance(start, Register):
            raise AsmError("at_most needs a start that is a number")
        limit = in_range("at_most", at_most, 0, 2**31 - 1) * by + int(start)
        tests.append(jumps.jge(counter, limit, loop.end))
    top = fresh("for.top")
    turn: list[Item] = [Label(loop.next), add(counter, by), jumps.ja(top)]
    if not _goes_on(body) and not _is_used(loop.next, body):
        turn = []
    return [*_set(counter, start), Label(top), *tests, *body, *turn, Label(loop.end)]


def return_(value: Operand) -> list[Instruction]:
    """Leave the program, or the function that is called, with R0 = value."""
    is_r0 = isinstance(value, Register) and value.number == 0
    return [*([] if is_r0 else _set(Register(0), value)), jumps.exit_()]


def _set(dst: Register, value: Operand) -> list[Instruction]:
    if isinstance(value, Register):
        return [mov(dst, value)]
    number = value.__index__()
    return [mov(dst, number) if -(2**31) <= number < 2**31 else lddw(dst, number)]


def _new_loop(kind: str) -> Loop:
    name = fresh(kind)
    return Loop(f"{name}.next", f"{name}.end")


def _body(block: LoopBlock, loop: Loop) -> list[Item]:
    return list(flatten(block(loop) if callable(block) else block, "block"))


def _goes_on(items: list[Item]) -> bool:
    """Whether what follows `items` can be reached from them."""
    last = items[-1] if items else None
    return not isinstance(last, Instruction) or last.opcode not in _ENDS


def _is_used(label: str, items: list[Item]) -> bool:
    return any(isinstance(item, Instruction) and item.target == label for item in items)


def _end_of(loop: Loop, items: list[Item]) -> list[Item]:
    return [Label(loop.end)] if _is_used(loop.end, items) else []


def _check_survives(name: str, value: Operand, body: list[Item]) -> None:
    if not isinstance(value, Register):
        return
    bit = 1 << register(name, value)
    for item in body:
        # R0 is overwritten by what is returned.
        if isinstance(item, Instruction) and clobbers(item) and bit & (CALLER_SAVED | 1):
            raise AsmError(
                f"{name} must not be {value!r}: {item} in the block overwrites it; use R6 to R9"
            )
