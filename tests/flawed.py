"""Programs that every kernel refuses, and programs that look wrong and that kernels accept.

The unit tests ask the assembler about them, the kernel tests the verifier.
"""

from __future__ import annotations

from typing import Any

from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R5,
    R6,
    R7,
    R10,
    Instruction,
    Label,
    add,
    atomic_add,
    call,
    call_local,
    cmpxchg,
    exit_,
    ja,
    jeq,
    jgt,
    jne,
    ldabsw,
    ldxdw,
    mov,
    stdw,
    stxdw,
)

PASS = [mov(R0, 0), exit_()]
_LOOKUP = [stdw(R10 - 8, 0), mov(R2, R10), add(R2, -8), call("map_lookup_elem")]

# case: the program, what is said of it, whether only a program with a result is wrong
FLAWED: dict[str, tuple[list[Any], str, bool]] = {
    "code after exit": ([*PASS, mov(R0, 1), exit_()], "r0 = 1: unreachable", False),
    "code after a jump": (
        [mov(R0, 0), ja("end"), mov(R0, 1), Label("end"), exit_()], "r0 = 1: unreachable", False,
    ),
    "a function that is not called": (
        [*PASS, Label("f"), *PASS], "r0 = 0: unreachable", False,
    ),
    "no exit": ([mov(R0, 0)], r"the program goes on after its end: exit_\(\) is missing", False),
    "no exit after a branch": (
        [mov(R0, 0), jeq(R0, 1, "end"), exit_(), Label("end"), mov(R0, 1)], "r0 = 1: .*its end",
        False,
    ),
    "a function without exit": (
        [call_local("f"), exit_(), Label("f"), mov(R0, 0), call_local("g"), Label("g"), *PASS],
        "call g: the function goes on after its end", False,
    ),
    "a jump into a function": (
        [mov(R0, 0), jeq(R0, 0, "f"), call_local("f"), exit_(), Label("f"), *PASS],
        "if r0 == 0 goto f: jumps into another function", False,
    ),
    "unset register": (
        [mov(R0, R3), exit_()], "r0 = r3: R3 is read, and nothing has set it", False,
    ),
    "unset register in arithmetic": ([add(R0, 1), exit_()], "R0 is read", False),
    "unset register in a condition": (
        [jeq(R6, 0, "end"), Label("end"), *PASS], "if r6 == 0 goto end: R6 is read", False,
    ),
    "unset value to store": ([stxdw(R10 - 8, R7), *PASS], "R7 is read", False),
    "unset address": ([ldxdw(R0, R7), exit_()], "R7 is read", False),
    "unset R0 of cmpxchg": (
        [stdw(R10 - 8, 0), mov(R1, 0), cmpxchg(R10 - 8, R1), exit_()], "R0 is read", False,
    ),
    "an argument that a call clobbers": (
        [call("get_prandom_u32"), mov(R0, R1), exit_()],
        "R1 is read, and nothing has set it: a call leaves nothing in R1 to R5", False,
    ),
    "an argument that a packet load clobbers": (
        [mov(R6, R1), ldabsw(0), mov(R0, R1), exit_()], "R1 is read.*a call leaves nothing", False,
    ),
    "an argument that a function clobbers": (
        [mov(R2, 1), call_local("f"), mov(R0, R2), exit_(), Label("f"), *PASS],
        "r0 = r2: R2 is read.*a call leaves", False,
    ),
    "a missing argument": (
        [mov(R1, R10), call("get_current_comm"), *PASS],
        "call 16: helper get_current_comm takes 2 arguments, and R2 is not set", False,
    ),
    "an argument that the caller does not give": (
        [mov(R6, 1), call_local("f"), exit_(), Label("f"), mov(R0, R2), exit_()],
        "r0 = r2: R2 is read", False,
    ),
    "a register of the caller": (
        [mov(R6, 1), call_local("f"), exit_(), Label("f"), mov(R0, R6), exit_()],
        "r0 = r6: R6 is read", False,
    ),
    "unset on both sides": (
        [mov(R0, 0), jgt(R1, R10, "b"), mov(R2, R7), exit_(), Label("b"), mov(R3, R7), exit_()],
        "R7 is read", False,
    ),
    "the frame pointer": ([Instruction(0xB7, 10, imm=1), *PASS], "R10 is written", False),
    "no result": ([mov(R1, 0), exit_()], "exit: R0 is not set, and the program returns it", True),
}  # fmt: skip

# Only with a map: the kernel follows the side where the pointer is there.
LOOKUPS: dict[str, tuple[list[Any], str]] = {
    "unset where a value is found": (
        [*_LOOKUP, jeq(R0, 0, "end"), ldxdw(R0, R5), Label("end"), *PASS], "R5 is read",
    ),
    "unset where a value is found, the other way round": (
        [*_LOOKUP, jne(R0, 0, "found"), *PASS, Label("found"), mov(R0, R5), exit_()], "R5 is read",
    ),
}  # fmt: skip

ACCEPTED: dict[str, list[Any]] = {
    "unset in a branch that is never taken": [
        mov(R0, 0), jeq(R0, 0, "end"), mov(R0, R7), Label("end"), exit_(),
    ],
    "unset in a branch that is always left out": [
        mov(R0, 1), jne(R0, 0, "end"), mov(R0, R7), atomic_add(R3, R2), Label("end"), exit_(),
    ],
    "set on the only way that is taken": [
        mov(R0, 0), jeq(R0, 1, "skip"), mov(R7, 5), Label("skip"), mov(R0, R7), exit_(),
    ],
    "set before a loop": [
        mov(R6, 0), mov(R0, 0), Label("again"), add(R0, 2), add(R6, 1), jne(R6, 4, "again"),
        exit_(),
    ],
    "an argument that the caller gives": [
        mov(R2, 7), call_local("f"), exit_(), Label("f"), mov(R0, R2), exit_(),
    ],
    "arguments of two callers": [
        mov(R1, 1), call_local("f"), mov(R1, 2), mov(R2, 3), call_local("f"), exit_(),
        Label("f"), mov(R0, R1), exit_(),
    ],
    "a function at the end that jumps back": [
        mov(R0, 0), ja("end"), Label("back"), exit_(), Label("end"), ja("back"),
    ],
    "registers that survive a call": [
        mov(R6, 5), call("get_prandom_u32"), mov(R0, R6), exit_(),
    ],
    "no result": [mov(R0, 0), exit_()],
}  # fmt: skip
