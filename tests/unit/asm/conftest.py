"""LLVM as the oracle of the assembler's tests."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

RELEASES = range(22, 13, -1)


class Llvm:
    """llvm-mc, in both directions."""

    def __init__(self, path: str) -> None:
        self.path = path
        version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
        found = re.search(r"LLVM version (\d+)", version.stdout)
        assert found, version.stdout
        self.release = int(found[1])

    def _run(self, *arguments: str, text: str) -> str:
        done = subprocess.run(
            [self.path, "--mcpu=v4", *arguments], input=text, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def assemble(self, text: str, directory: Path, byteorder: str = "little") -> bytes:
        """The bytes of the .text section that LLVM makes of `text`."""
        triple = "bpfel" if byteorder == "little" else "bpfeb"
        target = directory / "oracle.o"
        self._run(f"--triple={triple}", "-filetype=obj", "-o", str(target), text=text)
        return text_section(target.read_bytes(), byteorder)

    def reassemble(self, texts: list[str], directory: Path) -> list[bytes | None]:
        """The bytes of each text (one instruction each), None for those that LLVM refuses.

        LLVM would warn of a whole text line by line, so the refused ones are taken out first.
        """
        target = directory / "again.o"
        command = [self.path, "--mcpu=v4", "--triple=bpfel", "-filetype=obj", "-o", str(target)]
        tried = subprocess.run(command, input="\n".join(texts), capture_output=True, text=True)
        refused = {int(line) for line in re.findall(r"<stdin>:(\d+):\d+: error", tried.stderr)}
        kept = [text for line, text in enumerate(texts, 1) if line not in refused]
        slots = self.assemble("\n".join(kept), directory)
        found: list[bytes | None] = []
        start = 0
        for line in range(1, len(texts) + 1):
            if line in refused:
                found.append(None)
                continue
            size = 16 if slots[start] == 0x18 else 8
            found.append(slots[start : start + size])
            start += size
        assert start == len(slots)
        return found

    def disassemble(self, codes: list[bytes]) -> list[str | None]:
        """LLVM's text for each of `codes` (one instruction each), None for what it refuses."""
        marked = b"".join(
            struct.pack("<BBhi", 0xB7, 9, 0, MARK + n) + code for n, code in enumerate(codes)
        )
        # One slot a line: llvm-mc quotes the whole line in each warning.
        slots = (marked[start : start + 8] for start in range(0, len(marked), 8))
        hexadecimal = "\n".join(" ".join(f"{byte:#04x}" for byte in slot) for slot in slots)
        output = self._run("--disassemble", "--triple=bpfel", text=hexadecimal)
        texts: list[str | None] = [None] * len(codes)
        current = -1
        for line in output.splitlines():
            words = " ".join(line.split())
            if words == f"r9 = {MARK + current + 1}":
                current += 1
            elif current >= 0:
                texts[current] = words
        assert current == len(codes) - 1, "LLVM lost its way between the marks"
        return texts


# The immediates that separate the instructions in Llvm.disassemble.
MARK = 0x5EA_0000


def text_section(elf: bytes, byteorder: str) -> bytes:
    end = "<" if byteorder == "little" else ">"
    (table,) = struct.unpack_from(end + "Q", elf, 0x28)
    size, count, names = struct.unpack_from(end + "HHH", elf, 0x3A)
    sections = [
        struct.unpack_from(end + "IIQQQQ", elf, table + size * index) for index in range(count)
    ]
    for name, _, _, _, offset, length in sections:
        start = sections[names][4] + name
        if elf[start : elf.index(b"\0", start)] == b".text":
            return elf[offset : offset + length]
    raise AssertionError("the object has no .text")


@pytest.fixture(scope="session")
def objdump(llvm: Llvm) -> str:
    """The llvm-objdump of the same release."""
    path = shutil.which(llvm.path.replace("llvm-mc", "llvm-objdump"))
    assert path is not None, f"{llvm.path} is there without its llvm-objdump"
    return path


@pytest.fixture(scope="session")
def llvm() -> Llvm:
    """The newest llvm-mc; needs release 18, the first that knows all of BPF's version 4."""
    for name in (*(f"llvm-mc-{release}" for release in RELEASES), "llvm-mc"):
        path = shutil.which(name)
        if path is not None:
            found = Llvm(path)
            if found.release < 18:
                pytest.skip(f"{path} is LLVM {found.release}; the oracle needs 18 or newer")
            return found
    pytest.skip("llvm-mc is not installed; it is the oracle of this test")
