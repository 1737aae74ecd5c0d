"""Compiled objects, and libbpf's answers about them in the words of libbpf_core.c."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.core import CoreKind, CoreRelocation, Relocator, patch
from ebpf.btf.ext import BtfExt
from ebpf.errors import RelocationError

SOURCES = Path(__file__).resolve().parents[3] / "bpf"
LDDW = 0x18

Question = tuple[CoreRelocation, bytes]


def elf_sections(path: Path) -> dict[str, bytes]:
    """The bytes of every section of a 64-bit ELF file."""
    data = path.read_bytes()
    order = "<" if data[5] == 1 else ">"
    (table,) = struct.unpack_from(order + "Q", data, 0x28)
    size, count, names = struct.unpack_from(order + "HHH", data, 0x3A)
    headers = [struct.unpack_from(order + "IIQQQQ", data, table + i * size) for i in range(count)]
    start = headers[names][4]
    return {
        data[start + name :].split(b"\0", 1)[0].decode(): data[offset : offset + length]
        for name, _, _, _, offset, length in headers
    }


class Compiled:
    """An object file and its BTF."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sections = elf_sections(path)
        self.data = self.sections[".BTF"]
        self.btf = Btf(self.data)
        ext = self.sections.get(".BTF.ext")
        self.ext = None if ext is None else BtfExt(ext, self.btf)

    def questions(self, section: str | None = None) -> list[Question]:
        """Every relocation with the instruction it is for, in the order of .BTF.ext."""
        assert self.ext is not None
        found: list[Question] = []
        for name, info in self.ext.sections.items():
            if section in (None, name):
                code = self.sections[name]
                for relocation in info.relocations:
                    start = relocation.insn_offset
                    length = 16 if code[start] == LDDW else 8
                    found.append((relocation, code[start : start + length]))
        assert found
        return found


def compile_c(
    clang: str, source: Path, output: Path, target: str = "bpfel", *options: str
) -> Compiled:
    command = [clang, "-target", target, "-g", "-O2", "-mcpu=v3", *options]
    subprocess.run([*command, "-c", str(source), "-o", str(output)], check=True)
    return Compiled(output)


@dataclass(frozen=True)
class Oracle:
    """libbpf_core.c, built; `version` is that of its libbpf."""

    path: Path
    directory: Path
    version: tuple[int, int]

    def ask(self, local: bytes, target: bytes, questions: Sequence[Question]) -> list[str]:
        """An answer for each question."""
        (self.directory / "local.btf").write_bytes(local)
        (self.directory / "target.btf").write_bytes(target)
        lines = [
            f"{r.type_id} {int(r.kind)} {r.access_string} {slots.hex()}\n" for r, slots in questions
        ]
        command = [self.path, self.directory / "local.btf", self.directory / "target.btf"]
        result = subprocess.run(
            command, input="".join(lines), capture_output=True, text=True, check=True
        )
        answers = result.stdout.splitlines()[1:]
        assert len(answers) == len(questions)
        return answers

    def judges(self, btf: Btf, question: Question) -> bool:
        """Whether this libbpf says of `question` what the newest says.

        Until 1.6 the size of a whole array counted as that of the element that is loaded.
        """
        relocation, _ = question
        if self.version >= (1, 6) or relocation.kind != CoreKind.FIELD_BYTE_OFFSET:
            return True
        try:
            type = btf.resolve(relocation.type_id)
            for index in map(int, relocation.access_string.split(":")[1:]):
                if isinstance(type, t.Array):
                    type = btf.resolve(type.type_id)
                elif isinstance(type, (t.Struct, t.Union)):
                    type = btf.resolve(type.members[index].type_id)
        except IndexError:
            return True
        return not isinstance(type, t.Array)


def answer(relocator: Relocator, question: Question) -> str:
    """What libbpf_core.c would print."""
    relocation, slots = question
    try:
        result = relocator.resolve(relocation)
    except RelocationError:
        return "error"
    code = bytearray(slots)
    try:
        patch(code, 0, result)
        patched = code.hex()
    except RelocationError:
        assert code == slots, "changed, though refused"
        patched = "unpatched"
    flags = f"{result.validate:d} {result.poison:d} {result.fail_memsz_adjust:d}"
    return f"{result.value} {result.original} {flags} {patched}"
