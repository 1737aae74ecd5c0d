"""What is refused when a program is assembled; tests/kernel asks the verifier the same."""

from __future__ import annotations

from typing import Any

import pytest

from ebpf import asm
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R10,
    Instruction,
    Label,
    assemble,
    call,
    exit_,
    ja,
    jeq,
    jne,
    mov,
)
from ebpf.asm.check import check
from ebpf.asm.flow import clobbers, reads, writes
from ebpf.errors import AsmError
from tests.flawed import ACCEPTED, FLAWED


@pytest.mark.parametrize("case", FLAWED)
def test_refused_with_line_and_reason(case: str) -> None:
    """The author would see a verifier log in place of a line of Python."""
    program, message, returns = FLAWED[case]
    assembly = assemble(program, check=False)
    with pytest.raises(AsmError, match=message) as caught:
        check(assembly, returns=returns)
    assert "flawed.py:" in str(caught.value)


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_a_kernel_may_accept_is_accepted(case: str) -> None:
    """A program that works would be refused."""
    assemble(ACCEPTED[case])


def test_a_callback_has_what_the_kernel_gives_it() -> None:
    """Callbacks that use their arguments would be refused."""
    assemble(
        [
            [mov(R1, 3), asm.ld_func(R2, "each"), mov(R3, 0), mov(R4, 0), call("loop")],
            [mov(R0, 0), exit_()],
            [Label("each"), mov(R6, R2), mov(R0, 0), exit_()],
        ]
    )


def test_indirect_jumps_may_go_anywhere() -> None:
    """A jump table's targets would be unreachable code."""
    assemble([asm.ldxdw(R1, R1), asm.gotox(R1), mov(R0, 1), exit_(), mov(R0, R3), exit_()])


def test_arguments_of_a_program_that_replaces_a_function() -> None:
    """Its type is not known before it is loaded: it would be refused."""
    assemble([mov(R0, R2), exit_()])


def test_the_check_can_be_left_out() -> None:
    """Parts of programs could not be assembled, nor what a future kernel accepts."""
    assert len(assemble([mov(R0, R3)], check=False)) == 1


def test_the_nearest_mistake_is_named() -> None:
    """The author would mend them from the end."""
    first, second = mov(R1, R6), mov(R2, R6)
    branches = [jeq(R0, 1, "b"), first, ja("e"), Label("b"), mov(R3, 0), second, Label("e")]
    with pytest.raises(AsmError) as caught:
        assemble([mov(R0, 0), branches, exit_()])
    assert str(first.position) in str(caught.value)


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        (Instruction(0x05, offset=5), r"goes to slot 6, outside the program's slots 0\.\.3"),
        (Instruction(0x05, offset=-3), "goes to slot -2, outside"),
        (Instruction(0x15, offset=1), "goes to slot 2, the second half of an lddw"),
        (Instruction(0x06, imm=100), "goes to slot 101, outside"),
        (Instruction(0x85, src=1, imm=100), "goes to slot 101, outside"),
        (Instruction(0x18, src=4, imm=100), "goes to slot 101, outside"),
    ],
)
def test_relative_jumps_stay_in_the_program(instruction: Instruction, message: str) -> None:
    """A jump of disassembled code would lead into nothing, or into half an instruction."""
    program: list[Any] = [instruction, asm.lddw(R0, 1), exit_()]
    if instruction.opcode == 0x18:
        program, message = [instruction, exit_()], "outside"
    with pytest.raises(AsmError, match=message):
        assemble(program)


def test_disassembled_programs_are_followed_by_their_offsets() -> None:
    """A program of another assembler would be refused, or its mistakes overlooked."""
    made = assemble([call("get_prandom_u32"), mov(R1, R10), call(1), exit_()], check=False)
    with pytest.raises(AsmError, match="unknown position: call 1: helper map_lookup_elem takes 2"):
        assemble(asm.disassemble(made.code))
    made = assemble([mov(R0, 1), Label("a"), jne(R0, 1, "a"), mov(R6, R0), exit_()])
    assert assemble(asm.disassemble(made.code)).code == made.code


def test_every_register_that_an_instruction_touches() -> None:
    """A register would count as set that is not, or the other way round."""

    def bits(*registers: int) -> int:
        return sum(1 << register for register in registers)

    expected = {
        asm.mov(R1, R2): ([2], [1]), asm.mov(R1, 5): ([], [1]), asm.add(R1, R2): ([1, 2], [1]),
        asm.neg(R1): ([1], [1]), asm.be16(R1): ([1], [1]), asm.movsx832(R1, R2): ([2], [1]),
        asm.addr_space_cast(R1, R2, 0, 1): ([2], [1]), asm.lddw(R1, 5): ([], [1]),
        asm.ldxw(R1, R2): ([2], [1]), asm.ldxsb(R1, R2): ([2], [1]),
        asm.stxw(R10 - 8, R2): ([10, 2], []), asm.stw(R10 - 8, 2): ([10], []),
        asm.atomic_add(R1, R2): ([1, 2], []), asm.atomic_or(R1, R2, fetch=True): ([1, 2], [2]),
        asm.xchg(R1, R2): ([1, 2], [2]), asm.cmpxchg(R1, R2): ([0, 1, 2], [0]),
        asm.load_acquirew(R1, R2): ([2], [1]), asm.store_releasew(R1, R2): ([1, 2], []),
        asm.jeq(R1, R2, "x"): ([1, 2], []), asm.jeq32(R1, 5, "x"): ([1], []),
        asm.ja("x"): ([], []), asm.ja32("x"): ([], []), asm.may_goto("x"): ([], []),
        asm.gotox(R3): ([3], []), asm.exit_(): ([], []), asm.ldabsw(4): ([6], [0]),
        asm.ldindw(R2): ([2, 6], [0]), asm.call("map_lookup_elem"): ([1, 2], [0]),
        asm.call(9999): ([], [0]), asm.call_local("x"): ([], [0]), asm.call_kfunc(5): ([], [0]),
    }  # fmt: skip
    assert {str(i): (reads(i), writes(i)) for i in expected} == {
        str(i): (bits(*read), bits(*written)) for i, (read, written) in expected.items()
    }
    lossy = {str(i) for i in expected if clobbers(i)}
    assert lossy == {
        "r0 = *(u32 *)skb[4]", "r0 = *(u32 *)skb[r2]", "call 1", "call 9999", "call x",
        "call kfunc#5",
    }  # fmt: skip


def test_functions_of_a_collection() -> None:
    """A function's arguments would count as unset, or a program's mistakes be overlooked."""
    twice = asm.Function("int twice(int a, int b)", [mov(R0, R2), asm.add(R0, R1), exit_()])
    main = [mov(R1, 1), mov(R2, 2), asm.call_local("twice"), exit_()]
    assert len(asm.collection(asm.Function("main", main, "socket"), twice).functions) == 2
    replacing = asm.Function("int replacing(int a, int b)", [mov(R0, R2), exit_()], "freplace/f")
    assert asm.collection(replacing).programs
    with pytest.raises(AsmError, match="R2 is read, and nothing has set it"):
        asm.collection(asm.Function("main", [mov(R0, R2), exit_()], "socket"))
