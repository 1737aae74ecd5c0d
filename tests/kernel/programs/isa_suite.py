"""Runs the public conformance suite of the instruction set in the running kernel.

    python -m tests.kernel.programs.isa_suite FOLDER ...

The folders are `tests` and `negative` of a checkout of github.com/Alan-Jowett/bpf_conformance,
which is read and never kept here: no registry of packages has it. What CI runs in its place is
test_isa.py, in which every instruction of the suite is. Each case is assembled by `ebpf.asm`,
printed in all three forms of text and read back, called as a function of an XDP program that hands
it the case's memory, and its result compared. One that is an error, and each of `negative` that has
instructions, must not pass.
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebpf import ArrayMap, Program, ProgramType, asm
from ebpf.asm import R0, R1, R2, R3, R6, Instruction, Label, Memory, Register
from ebpf.errors import AsmError, EbpfError

if TYPE_CHECKING:
    from ebpf.asm.listings import Style

# The least that XDP test runs take.
SMALLEST = 14

STYLES: tuple[Style, ...] = ("llvm", "objdump", "kernel")

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
    """What a line of the suite's own text says."""
    try:
        return _instruction(line)
    except (AttributeError, TypeError, ValueError) as error:
        # No such function, or not with such arguments.
        raise AsmError(f"{line!r}: {error}") from None


def _instruction(line: str) -> Instruction:
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
    words = [word for line in lines for word in line.split()]
    if all(len(word) == 2 for word in words):
        return asm.disassemble(bytes.fromhex("".join(words)))
    return asm.disassemble(b"".join(number(word).to_bytes(8, sys.byteorder) for word in words))


def check_text(code: list[Any]) -> None:
    """Every form of text has to be read as the instructions that it was printed from."""
    made = asm.assemble(code, check=False)
    for style in STYLES:
        text = asm.listing(made, style=style)
        if asm.assemble(asm.parse(text), check=False).code != made.code:
            raise AsmError(f"not what was printed for {style}: {text}")


def around(code: list[Any], size: int, results: ArrayMap[int]) -> list[Any]:
    """An XDP program that calls `code` with R1 = the packet and R2 = its size."""
    return [
        asm.mov(R6, R1), asm.ldxw(R1, R6), asm.ldxw(R2, R6 + 4), asm.mov(R3, R1),
        asm.add(R3, size), asm.mov(R0, 0), asm.jgt(R3, R2, ".short"), asm.mov(R2, size),
        asm.call_local(".case"), asm.ld_map_value(R1, results), asm.stxdw(R1, R0),
        Label(".short"), asm.mov(R0, 2), asm.exit_(),
        Label(".case"), code,
    ]  # fmt: skip


def run(path: Path, results: ArrayMap[int]) -> str:
    """What became of a case: "passes", "no case", or why it does not pass."""
    text = path.read_text(encoding="utf-8")
    memory = bytes.fromhex("".join(section(text, "mem")))
    lines = section(text, "asm") or section(text, "no register offset")
    words = section(text, "raw")
    if not lines and not words:
        return "no case"
    is_error = bool(section(text, "error")) or path.parent.name == "negative"
    wanted = number(next(iter(section(text, "result")), "0")) & 2**64 - 1
    results[0] = wanted ^ 1
    try:
        code = assembled(lines) if lines else raw(words)
        check_text(code)
        program = around(code, len(memory) or SMALLEST, results)
        with Program.load(ProgramType.XDP, program, license="GPL") as loaded:
            loaded.test_run(data=memory.ljust(SMALLEST, b"\0"))
    except EbpfError as refused:
        by = "the assembler" if isinstance(refused, AsmError) else "the kernel"
        return "passes" if is_error else f"refused by {by}: {refused}"
    if is_error and (results[0] == wanted or section(text, "error")):
        return "wrong: not refused"
    if not is_error and results[0] != wanted:
        return f"wrong: {results[0]:#x}, not {wanted:#x}"
    return "passes"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    status = 0
    for folder in parser.parse_args().folders:
        status |= run_all(folder)
    return status


def run_all(folder: Path) -> int:
    """Runs the cases of a folder and prints the counts; the exit status."""
    counts: collections.Counter[str] = collections.Counter()
    with ArrayMap.create(value="Q", max_entries=1) as results:
        for path in sorted(folder.glob("*.data")):
            outcome = run(path, results)
            counts[outcome.partition(":")[0]] += 1
            if outcome != "passes":
                print(f"{path.stem}: {outcome}")
    print(f"{sum(counts.values()):6} in {folder}, on Linux {os.uname().release}")
    for outcome, count in sorted(counts.items()):
        print(f"{count:6} {outcome}")
    return 1 if "wrong" in counts or not counts else 0


if __name__ == "__main__":
    sys.exit(main())
