from __future__ import annotations

import struct
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf import asm
from ebpf.asm import R1, R2, Instruction, disassemble
from ebpf.errors import AsmError

# Parts of programs, which none of these tests loads.
assemble = partial(asm.assemble, check=False)

BYTE_ORDERS = st.sampled_from(["little", "big"])
LDDW = 0x18


@st.composite
def instructions(draw: st.DrawFn) -> Instruction:
    opcode = draw(st.integers(0, 255))
    bits = 64 if opcode == LDDW else 32
    return Instruction(
        opcode,
        draw(st.integers(0, 15)),
        draw(st.integers(0, 15)),
        draw(st.integers(-(2**15), 2**15 - 1)),
        draw(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)),
    )


@given(st.lists(instructions() | st.builds(asm.lddw, st.just(R1), st.integers(-(2**63), 2**64 - 1)),
                min_size=1), BYTE_ORDERS)  # fmt: skip
def test_bytes_and_back(program: list[Instruction], byteorder: Any) -> None:
    """A field of some instruction would be lost or changed on the way to bytes or back."""
    code = assemble(program, byteorder=byteorder).code
    assert disassemble(code, byteorder=byteorder) == program


@given(st.lists(st.binary(min_size=8, max_size=8).filter(lambda b: b[0] != LDDW), min_size=1),
       BYTE_ORDERS)  # fmt: skip
def test_any_bytes_survive(slots: list[bytes], byteorder: Any) -> None:
    """Code that holds unknown opcodes would be refused, or come back changed."""
    code = b"".join(slots)
    decoded = disassemble(code, byteorder=byteorder)
    assert assemble(decoded, byteorder=byteorder).code == code
    assert all(str(instruction) for instruction in decoded)


def test_fields_are_where_struct_bpf_insn_has_them() -> None:
    """Two mistakes, one in each direction, would cancel out in the tests above."""
    (made,) = disassemble(struct.pack("<BBhi", 0x7B, 0x1A, -8, 5), byteorder="little")
    assert (made.opcode, made.dst, made.src, made.offset, made.imm) == (0x7B, 10, 1, -8, 5)
    (made,) = disassemble(struct.pack(">BBhi", 0x7B, 0xA1, -8, 5), byteorder="big")
    assert (made.opcode, made.dst, made.src, made.offset, made.imm) == (0x7B, 10, 1, -8, 5)


def test_disassembled_instructions_have_no_position() -> None:
    """They would claim to come from the line that called disassemble."""
    assert disassemble(assemble([asm.exit_()]).code)[0].position is None


def test_any_buffer_is_read() -> None:
    """A bytearray or memoryview would have to be copied first."""
    code = assemble([asm.mov(R1, R2), asm.exit_()]).code
    assert disassemble(bytearray(code)) == disassemble(memoryview(code)) == disassemble(code)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (b"\x95" + bytes(6), "code must be a multiple of 8 bytes, not 7 bytes"),
        (bytes(8) + b"\x18" + bytes(7), "the code ends inside the lddw at slot 1"),
        (b"\x18" + bytes(7) + b"\x95" + bytes(7), "slot 1 is not the second half of the lddw"),
    ],
)
def test_broken_code_is_refused(code: bytes, message: str) -> None:
    """Half an instruction would be read as a whole one."""
    with pytest.raises(AsmError, match=message):
        disassemble(code)


@pytest.mark.parametrize(
    ("instruction", "text"),
    [
        (Instruction(0x85, src=1, imm=-5), "call pc-5"),
        (Instruction(0x85, src=2, imm=77), "call kfunc#77"),
        (Instruction(0x05, offset=-3), "goto -3"),
        (Instruction(0x18, 1, 1, imm=5), "ld_pseudo r1, 1, 5"),
        (Instruction(0x18, 1, 2, imm=5 | 8 << 32), "ld_pseudo r1, 2, 5, 8"),
        (Instruction(0x18, 2, 4, imm=0xFFFF_FFFE), "ld_pseudo r2, 4, -2"),
        (Instruction(0xFF, 1, 2, 3, 4), "<unknown opcode=0xff dst=1 src=2 offset=3 imm=4>"),
        (asm.ld_map_fd(R1, "counts"), "r1 = counts ll"),
        (asm.ld_map_value(R1, "counts", 8), "r1 = counts+8 ll"),
        (asm.ld_func(R1, "callback"), "r1 = &callback ll"),
        (asm.ld_btf_id(R1, "runqueues"), "r1 = kernel:runqueues ll"),
        (asm.ld_map_idx(R1, 2), "ld_pseudo r1, 5, 2"),
        (asm.ld_map_idx_value(R1, 2, 8), "ld_pseudo r1, 6, 2, 8"),
        (asm.call_local("callback"), "call callback"),
        (asm.call_kfunc("bpf_rdonly_cast"), "call kfunc:bpf_rdonly_cast"),
        (asm.call_kfunc(77, 1), "call kfunc#77@1"),
        (asm.gotox(R2), "gotox r2"),
        (asm.load_acquireb(R1, R2 + 8), "w1 = load_acquire((u8 *)(r2 + 8))"),
        (asm.load_acquiredw(R1, R2), "r1 = load_acquire((u64 *)(r2 + 0))"),
        (asm.store_releaseh(R2 - 8, R1), "store_release((u16 *)(r2 - 8), w1)"),
        (asm.store_releasedw(R2 - 8, R1), "store_release((u64 *)(r2 - 8), r1)"),
        (Instruction(0xB7, 1, 2, imm=3), "<unknown opcode=0xb7 dst=1 src=2 offset=0 imm=3>"),
        (asm.ldindw(R2, -4), "r0 = *(u32 *)skb[r2 - 4]"),
    ],
)
def test_text_of_what_llvm_does_not_print(instruction: Instruction, text: str) -> None:
    """A listing would take a call of a function for a helper, or lose a name or an offset."""
    assert str(instruction) == text
