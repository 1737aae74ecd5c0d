"""Runs the public conformance suite of the instruction set in the running kernel.

    python -m tests.kernel.programs.isa_suite FOLDER

FOLDER is `tests` of a checkout of github.com/Alan-Jowett/bpf_conformance, which is read and never
kept here; what CI runs in its place is test_isa.py. Each case is assembled by `ebpf.asm`, called as
a function of an XDP program that hands it the case's memory, and its result compared.
"""

from __future__ import annotations

import argparse
import collections
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ebpf import ArrayMap, Program, ProgramType, asm
from ebpf.asm import R0, R1, R2, R3, R6, Instruction, Label, Memory, Register
from ebpf.errors import AsmError, EbpfError

# The least that XDP test runs take.
SMALLEST = 14

_NAMES = {"and": "and_", "or": "or_", "exit": "exit_"}
_ATOMICS = {"add", "and", "or", "xor"}


def section(text: str, name: str) -> list[str]:
    """The lines of a section, without comments."""
    found = re.search(rf"^-- {name}\n(.*?)(?=^-- |\Z)", text, re.MULTILINE | re.DOTALL)
    lines = (re.sub(r"#.*", "", line).strip() for line in (found[1] if found else "").splitlines())
    return [line for line in lines if line]


def number(text: str) -> int:
    return int(text, 16 if "0x" in text else 10)


def operand(text: str) -> Any:
    """A register, memory, a number, or the name of a label."""
    if re.fullmatch(r"%r\d+", text):
        return Register(int(text[2:]))
    memory = re.fullmatch(r"\[%r(\d+)(?:([+-])(\w+))?\]", text)
    if memory:
        offset = number(memory[3] or "0")
        return Memory(Register(int(memory[1])), -offset if memory[2] == "-" else offset)
    return number(text) if re.fullmatch(r"[-+]?(0x[0-9a-fA-F]+|\d+)", text) else text


def instruction(line: str) -> Instruction:
    mnemonic, _, rest = line.partition(" ")
    if mnemonic == "lock":
        mnemonic, _, rest = rest.strip().partition(" ")
        fetch = mnemonic == "fetch"
        if fetch:
            mnemonic, _, rest = rest.strip().partition(" ")
        arguments = [operand(part.strip()) for part in rest.split(",")]
        if mnemonic.removesuffix("32") in _ATOMICS:
            return function(f"atomic_{mnemonic}")(*arguments, fetch=fetch)
        return function(mnemonic)(*arguments)
    if mnemonic == "call":
        *mode, target = rest.split()
        if target.startswith("%"):
            return Instruction(0x8D, operand(target).number)  # Linux has no calls by register
        return asm.call_local(target) if mode == ["local"] else asm.call(number(target))
    arguments = [operand(part.strip()) for part in rest.split(",")] if rest.strip() else []
    if not mnemonic.endswith("32") and mnemonic != "lddw":
        # The suite writes immediates that are extended to 64 bits as the 32 bits that they have.
        arguments = [
            value - 2**32 if isinstance(value, int) and 2**31 <= value < 2**32 else value
            for value in arguments
        ]
    if mnemonic[0] == "j" and isinstance(arguments[-1], int):
        made = function(mnemonic)(*arguments[:-1], "relative")
        return Instruction(made.opcode, made.dst, made.src, arguments[-1], made.imm)
    return function(mnemonic)(*arguments)


def function(mnemonic: str) -> Callable[..., Instruction]:
    name = mnemonic.replace("swap", "bswap") if mnemonic.startswith("swap") else mnemonic
    made: Callable[..., Instruction] = getattr(asm, _NAMES.get(name, name))
    return made


def assembled(lines: list[str]) -> list[Any]:
    """The instructions of a case; the first exit is where jumps to ``exit`` go."""
    items: list[Any] = []
    labelled = any(line == "exit:" for line in lines)
    for line in lines:
        if line.endswith(":"):
            items.append(Label(line[:-1]))
            continue
        if line == "exit" and not labelled:
            items.append(Label("exit"))
            labelled = True
        items.append(instruction(line))
    return items


def raw(lines: list[str]) -> list[Instruction]:
    words = [number(word) for line in lines for word in line.split()]
    return asm.disassemble(b"".join(word.to_bytes(8, sys.byteorder) for word in words))


def around(code: list[Any], size: int, results: ArrayMap[int]) -> list[Any]:
    """An XDP program that calls `code` with R1 = the packet and R2 = its size."""
    return [
        asm.mov(R6, R1), asm.ldxw(R1, R6), asm.ldxw(R2, R6 + 4), asm.mov(R3, R1),
        asm.add(R3, size), asm.mov(R0, 0), asm.jgt(R3, R2, ".short"), asm.mov(R2, size),
        asm.call_local(".case"), asm.ld_map_value(R1, results), asm.stxdw(R1, R0),
        Label(".short"), asm.mov(R0, 2), asm.exit_(),
        Label(".case"), code,
    ]  # fmt: skip


def run(text: str, results: ArrayMap[int]) -> str:
    """What became of a case: "passes", or why not."""
    memory = bytes.fromhex("".join(section(text, "mem")))
    data = memory.ljust(SMALLEST, b"\0")
    wanted = number(section(text, "result")[0]) & 2**64 - 1
    lines = section(text, "asm") or section(text, "no register offset")
    results[0] = wanted ^ 1
    try:
        code = assembled(lines) if lines else raw(section(text, "raw"))
        program = around(code, len(memory) or SMALLEST, results)
        with Program.load(ProgramType.XDP, program, license="GPL") as loaded:
            loaded.test_run(data=data)
    except AsmError as error:
        return f"refused by the assembler: {error}"
    except EbpfError as error:
        return f"refused by the kernel: {error}"
    return "passes" if results[0] == wanted else f"wrong: {results[0]:#x}, not {wanted:#x}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    counts: collections.Counter[str] = collections.Counter()
    with ArrayMap.create(value="Q", max_entries=1) as results:
        for path in sorted(parser.parse_args().folder.glob("*.data")):
            outcome = run(path.read_text(encoding="utf-8"), results)
            counts[outcome.partition(":")[0]] += 1
            if outcome != "passes":
                print(f"{path.stem}: {outcome}")
    for outcome, count in sorted(counts.items()):
        print(f"{count:6} {outcome}")
    return "wrong" in counts


if __name__ == "__main__":
    sys.exit(main())
