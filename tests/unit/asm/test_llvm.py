"""Every instruction in every form against LLVM: the text by hand, the bytes by llvm-mc."""

from __future__ import annotations

import re
import struct
import subprocess
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from ebpf import asm
from ebpf.asm import R0, R1, R2, R3, R6, R7, R9, R10, Instruction

# Parts of programs, which none of these tests loads.
assemble = partial(asm.assemble, check=False)

ALU = {
    "mov": "=", "add": "+=", "sub": "-=", "mul": "*=", "div": "/=", "or_": "|=", "and_": "&=",
    "lsh": "<<=", "rsh": ">>=", "mod": "%=", "xor": "^=", "arsh": "s>>=", "sdiv": "s/=",
    "smod": "s%=",
}  # fmt: skip
JUMPS = {
    "jeq": "==", "jne": "!=", "jgt": ">", "jge": ">=", "jlt": "<", "jle": "<=", "jset": "&",
    "jsgt": "s>", "jsge": "s>=", "jslt": "s<", "jsle": "s<=",
}  # fmt: skip
SIZES = {"b": 8, "h": 16, "w": 32, "dw": 64}

Form = tuple[str, Instruction, str]


def make(name: str, *arguments: Any, **keywords: Any) -> tuple[str, Instruction]:
    return name, getattr(asm, name)(*arguments, **keywords)


def alu_forms() -> list[Form]:
    forms = []
    for name, sign in ALU.items():
        narrow = name.rstrip("_") + "32"
        forms += [
            (*make(name, R1, R10), f"r1 {sign} r10"),
            (*make(name, R9, 31), f"r9 {sign} 31"),
            (*make(narrow, R1, R2), f"w1 {sign} w2"),
            (*make(narrow, R1, 5), f"w1 {sign} 5"),
        ]
    for name in ("mov", "add", "div", "xor"):
        forms.append((*make(name, R1, -(2**31)), f"r1 {ALU[name]} -2147483648"))
        forms.append((*make(name + "32", R1, 2**32 - 2), f"w1 {ALU[name]} -2"))
    forms += [(*make("neg", R3), "r3 = -r3"), (*make("neg32", R3), "w3 = -w3")]
    for bits in (8, 16, 32):
        forms.append((*make(f"movsx{bits}64", R1, R2), f"r1 = (s{bits})r2"))
    for bits in (8, 16):
        forms.append((*make(f"movsx{bits}32", R1, R2), f"w1 = (s{bits})w2"))
    forms += [
        (*make("addr_space_cast", R1, R2, 0, 1), "r1 = addr_space_cast(r2, 0, 1)"),
        (*make("addr_space_cast", R1, R2, 1, 0), "r1 = addr_space_cast(r2, 1, 0)"),
    ]
    for name, bits in product(("le", "be", "bswap"), (16, 32, 64)):
        forms.append((*make(f"{name}{bits}", R7), f"r7 = {name}{bits} r7"))
    return forms


def jump_forms() -> list[Form]:
    forms = [
        (*make("ja", "there"), "goto there"),
        (*make("ja32", "there"), "gotol there"),
        (*make("may_goto", "there"), "may_goto there"),
        (*make("call", 5), "call 5"),
        (*make("exit_"), "exit"),
    ]
    for name, sign in JUMPS.items():
        forms += [
            (*make(name, R1, R10, "there"), f"if r1 {sign} r10 goto there"),
            (*make(name, R10, -1, "there"), f"if r10 {sign} -1 goto there"),
            (*make(name + "32", R1, R2, "there"), f"if w1 {sign} w2 goto there"),
            (*make(name + "32", R1, 0x80000000, "there"), f"if w1 {sign} -2147483648 goto there"),
        ]
    return forms


def memory_forms() -> list[Form]:
    forms = []
    for name, bits in SIZES.items():
        half = "r" if bits == 64 else "w"
        forms += [
            (*make("ldx" + name, R1, R2), f"{half}1 = *(u{bits} *)(r2 + 0)"),
            (*make("ldx" + name, R0, R10 - 32768), f"{half}0 = *(u{bits} *)(r10 - 32768)"),
            (*make("stx" + name, R10 - 8, R1), f"*(u{bits} *)(r10 - 8) = {half}1"),
            (*make("stx" + name, R1 + 32767, R10), f"*(u{bits} *)(r1 + 32767) = {half}10"),
            (*make("st" + name, R3 + 4, -1), f"*(u{bits} *)(r3 + 4) = -1"),
            (*make("st" + name, R3, 127), f"*(u{bits} *)(r3 + 0) = 127"),
        ]
    for name, bits in (("b", 8), ("h", 16), ("w", 32)):
        forms += [
            (*make("ldxs" + name, R1, R2 + 8), f"r1 = *(s{bits} *)(r2 + 8)"),
            (*make("ldabs" + name, 14), f"r0 = *(u{bits} *)skb[14]"),
            (*make("ldind" + name, R7), f"r0 = *(u{bits} *)skb[r7]"),
        ]
    for value in (0, 5, -5, 2**31, 2**32, 2**63 - 1, -(2**63)):
        forms.append((*make("lddw", R6, value), f"r6 = {value} ll"))
    forms.append((*make("lddw", R6, 2**64 - 1), "r6 = -1 ll"))
    return forms


def atomic_forms() -> list[Form]:
    forms = []
    for name, sign in (("add", "+="), ("or", "|="), ("and", "&="), ("xor", "^=")):
        for suffix, bits, half in (("", 64, "r"), ("32", 32, "w")):
            function = f"atomic_{name}{suffix}"
            forms += [
                (*make(function, R10 - 8, R2), f"lock *(u{bits} *)(r10 - 8) {sign} {half}2"),
                (
                    *make(function, R1, R2, fetch=True),
                    f"{half}2 = atomic_fetch_{name}((u{bits} *)(r1 + 0), {half}2)",
                ),
            ]
    return [
        *forms,
        (*make("xchg", R1 + 8, R2), "r2 = xchg_64(r1 + 8, r2)"),
        (*make("xchg32", R1 + 8, R2), "w2 = xchg32_32(r1 + 8, w2)"),
        (*make("cmpxchg", R1 - 8, R2), "r0 = cmpxchg_64(r1 - 8, r0, r2)"),
        (*make("cmpxchg32", R1 - 8, R2), "w0 = cmpxchg32_32(r1 - 8, w0, w2)"),
    ]


FORMS = alu_forms() + jump_forms() + memory_forms() + atomic_forms()

# References to something outside the instruction: LLVM writes relocations, not fields.
# test_memory.py and test_jumps.py have their bytes.
REFERENCES = {
    *("ld_map_fd", "ld_map_value", "ld_map_idx", "ld_map_idx_value", "ld_btf_id", "ld_func"),
    *("call_local", "call_kfunc"),
}

# What LLVM 19 does not know; the verifier reads them in tests/kernel/programs/test_kernel_text.py.
YOUNGER = {
    "gotox",
    *(f"{name}{size}" for name in ("load_acquire", "store_release") for size in SIZES),
}


def test_every_instruction_function_has_a_form_here() -> None:
    """An instruction that nobody compared with LLVM could be encoded wrongly."""
    no_instructions = {"assemble", "disassemble", "invoke"}
    functions = {name for name in asm.__all__ if name[0].islower()} - no_instructions
    functions -= set(asm._LAZY)
    assert functions == {name for name, _, _ in FORMS} | REFERENCES | YOUNGER


@pytest.mark.parametrize(("name", "instruction", "text"), FORMS, ids=lambda x: str(x))
def test_text_of_each_form(name: str, instruction: Instruction, text: str) -> None:
    """str() would not be the text that LLVM reads."""
    assert str(instruction) == text, name


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_llvm_assembles_the_same_bytes(llvm: Any, tmp_path: Path, byteorder: Any) -> None:
    """The encoding of a form would differ from LLVM's, on one byte order or the other."""
    ours = assemble(
        [asm.Label("there"), [instruction for _, instruction, _ in FORMS]], byteorder=byteorder
    ).code
    text = "there:\n" + "\n".join(text for _, _, text in FORMS) + "\n"
    theirs = llvm.assemble(text, tmp_path, byteorder)
    start = 0
    for name, instruction, text in FORMS:
        end = start + 8 * len(instruction)
        assert ours[start:end].hex(" ") == theirs[start:end].hex(" "), (name, text)
        start = end
    assert len(ours) == len(theirs) == start


FIELDS = list(
    product(
        (0x00, 0x21, 0x0A, 0xA9),
        (0, 1, -1, 8, 16, 32, 24, 32767, -32768),
        (0, 1, -1, 16, 32, 64, 0x40, 0x41, 0x50, 0x51, 0xA0, 0xA1, 0xE1, 0xF1, -(2**31)),
    )
)


def says_more_than_llvm(code: bytes) -> bool:
    """What text.py documents: calls other than of helpers, and the immediate of ldind."""
    opcode, registers, _, imm = struct.unpack_from("<BBhi", code)
    is_call = opcode == 0x85 and registers >> 4 in (1, 2)
    is_indirect = opcode in (0x40, 0x48, 0x50) and imm != 0
    is_gotox = opcode == 0x0D
    return is_call or is_indirect or is_gotox


def test_text_of_every_opcode_is_llvms(llvm: Any, tmp_path: Path) -> None:
    """Disassembly would say something else than LLVM, or give a meaning to what has none.

    Where LLVM overlooks a field, its own text makes other bytes.
    """
    codes = []
    for opcode, (registers, offset, imm) in product(range(256), FIELDS):
        code = struct.pack("<BBhi", opcode, registers, offset, imm)
        if opcode == 0x18:
            if registers >> 4 or offset:
                continue
            code += struct.pack("<BBhi", 0, 0, 0, imm)
        codes.append(code)
    texts = llvm.disassemble(codes)
    known = [text for text in texts if text is not None]
    again = iter(llvm.reassemble(known, tmp_path))
    compared = 0
    for code, theirs in zip(codes, texts, strict=True):
        (instruction,) = asm.disassemble(code, byteorder="little")
        made = None if theirs is None else next(again)
        if says_more_than_llvm(code):
            continue
        if theirs is not None and made is None:
            assert theirs == "gotol -2147483648", "LLVM does not read its own text"
            continue
        if theirs is None or made != code:
            assert str(instruction).startswith("<unknown"), code.hex(" ")
        else:
            assert str(instruction) == theirs, code.hex(" ")
            compared += 1
    assert compared > 5_000


def test_objdump_prints_the_same_and_is_read_back(llvm: Any, objdump: str, tmp_path: Path) -> None:
    """A listing would not be objdump's, or objdump's could not be assembled again."""
    program = [asm.Label("there"), [instruction for _, instruction, _ in FORMS]]
    text = "there:\n" + "\n".join(text for _, _, text in FORMS) + "\n"
    code = llvm.assemble(text, tmp_path)
    command = [objdump, "-d", "--mcpu=v4", str(tmp_path / "oracle.o")]
    theirs = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert assemble(asm.parse(theirs), byteorder="little").code == code
    lines = re.findall(r"^ +\d+:\t(?:[0-9a-f]{2} ?)+\t(.*)$", theirs, flags=re.MULTILINE)
    shown = [re.sub(r" <\.text\S*>| <there\S*>", "", " ".join(line.split())) for line in lines]
    ours = [
        line.split(": ", 1)[1]
        for line in asm.listing(
            asm.disassemble(assemble(program, byteorder="little").code, byteorder="little"),
            style="objdump",
        ).splitlines()
    ]
    assert ours == shown
