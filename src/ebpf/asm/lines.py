"""Where the instructions of a program come from, as BTF has it.

With it the verifier's log and ``bpftool prog dump xlated linum`` show the line of Python that made
each instruction, and functions have names.
"""

from __future__ import annotations

import struct

from ebpf.asm.flow import refers_to_function
from ebpf.patterns import Pattern
from ebpf.plain import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ebpf.asm.assemble import Assembly
    from ebpf.asm.instruction import Instruction, Position

# The column has the lowest bits of struct bpf_line_info's line_col, the line the 22 above.
LINE_SHIFT = 10
_LAST_LINE = (1 << 22) - 1
_NO_NAME = Pattern(r"(?a)\W")
# KSYM_NAME_LEN of the kernel, less the NUL: no function has a longer name.
_LONGEST_NAME = 127


class Piece(NamedTuple):
    """One function of an assembly: its name, and its slots from `start` up to `end`."""

    name: str
    start: int
    end: int


def pieces(assembly: Assembly, name: str) -> list[Piece]:
    """The functions of `assembly`: what comes first, and what is called or pointed to.

    A function within is called after its label: ``NAME_LABEL``.
    """
    labels: dict[int, str] = {}
    for label, slot in assembly.labels.items():
        labels.setdefault(slot, label)
    starts = sorted({0, *assembly.subprograms, *_numbered(assembly)})
    ends = [*starts[1:], len(assembly)]
    names = [name, *(f"{name}_{labels.get(start, start)}" for start in starts[1:])]
    return [
        Piece(identifier(own), start, end)
        for own, start, end in zip(names, starts, ends, strict=True)
    ]


def _numbered(assembly: Assembly) -> Iterator[int]:
    """The functions that instructions without a label refer to, as a disassembler leaves them."""
    for slot, instruction in placed(assembly, Piece("", 0, len(assembly))):
        if instruction.target is None and refers_to_function(instruction):
            goal = called_slot(assembly, slot, instruction)
            if 0 < goal < len(assembly):
                yield goal


def called_slot(assembly: Assembly, slot: int, instruction: Instruction) -> int:
    """Where the function begins that the instruction at `slot` refers to."""
    if instruction.target is not None:
        return assembly.labels[instruction.target]
    return slot + 1 + (instruction.imm & 0xFFFF_FFFF ^ 2**31) - 2**31


def identifier(text: str) -> str:
    """`text` as the kernel takes it for a function's name."""
    name = _NO_NAME.sub("_", text)[:_LONGEST_NAME] or "program"
    return f"_{name[1:]}" if name[0].isdigit() else name


def placed(assembly: Assembly, piece: Piece) -> Iterator[tuple[int, Instruction]]:
    """The instructions of a function, each with its slot counted from the function's start."""
    slot = -piece.start
    for instruction in assembly.instructions:
        if 0 <= slot < piece.end - piece.start:
            yield slot, instruction
        slot += len(instruction)


class Lines:
    """Makes ``struct bpf_line_info``; `string` puts a text into the BTF and returns its offset."""

    def __init__(self, string: Callable[[str], int]) -> None:
        self._string = string
        self._known: dict[Position | None, tuple[int, int, int]] = {None: (0, 0, 0)}

    def records(self, assembly: Assembly, piece: Piece) -> list[tuple[int, int, int, int]]:
        """(slot, file_name_off, line_off, line_col) of a function, slots from its start.

        The first instruction has a record, and each that another line made than the one before.
        """
        found = []
        before: Position | None = None
        for slot, instruction in placed(assembly, piece):
            if slot == 0 or instruction.position != before:
                before = instruction.position
                found.append((slot, *self._of(before)))
        return found

    def _of(self, position: Position | None) -> tuple[int, int, int]:
        known = self._known.get(position)
        if known is None:
            assert position is not None
            text = _source(position).strip()
            line = min(position.line, _LAST_LINE) << LINE_SHIFT
            known = self._offset(position.filename), self._offset(text), line
            self._known[position] = known
        return known

    def _offset(self, text: str) -> int:
        return self._string(text.replace("\0", ""))


def _source(position: Position) -> str:
    """The text of the line, empty where it cannot be had."""
    try:
        import linecache
    except (ImportError, OSError):
        # Without a descriptor left, or the library in sight: what is refused then matters more.
        return ""
    return linecache.getline(position.filename, position.line)


class DebugInfo(NamedTuple):
    """The arguments of BPF_PROG_LOAD that tell the kernel where a program comes from."""

    btf: bytes
    func_info: bytes
    line_info: bytes


def debug_info(assembly: Assembly, name: str) -> DebugInfo:
    """BTF for a program that is loaded alone; nothing is said of the types of its functions.

    Written by hand: three kinds of type do not need the module for all of them, which takes
    longer to import than a program to load.
    """
    order = "<" if assembly.byteorder == "little" else ">"
    strings = _Strings()
    lines = Lines(strings.offset)
    # int, and the prototype `int f(void)`; both are as good as any other for a static function.
    types = struct.pack(order + "IIII", strings.offset("int"), _INT, 4, _SIGNED_32)
    types += struct.pack(order + "III", 0, _FUNC_PROTO, 1)
    functions, records = b"", []
    for number, piece in enumerate(pieces(assembly, name)):
        types += struct.pack(order + "III", strings.offset(piece.name), _FUNC, 2)
        functions += struct.pack(order + "II", piece.start, 3 + number)
        for slot, *rest in lines.records(assembly, piece):
            records.append(struct.pack(order + "IIII", piece.start + slot, *rest))
    sizes = 0, len(types), len(types), len(strings.content)
    header = struct.pack(order + "HBBIIIII", _MAGIC, 1, 0, _HEADER, *sizes)
    if len(functions) == _FUNC_INFO and identifier(name) != name:
        # The kernel shows this name in place of the program's own, which may have a dot.
        functions = b""
    return DebugInfo(header + types + strings.content, functions, b"".join(records))


# uapi linux/btf.h: the second word of struct btf_type has the kind from bit 24 on; the linkage of
# a function, 0 for static, is below. The last word of an int: BTF_INT_SIGNED, 32 bits.
_INT, _FUNC, _FUNC_PROTO = 1 << 24, 12 << 24, 13 << 24
_SIGNED_32 = 1 << 24 | 32
_MAGIC, _HEADER = 0xEB9F, 24

# sizeof(struct bpf_func_info)
_FUNC_INFO = 8


class _Strings:
    """A string section of BTF."""

    def __init__(self) -> None:
        self.content = b"\0"
        self._offsets = {"": 0}

    def offset(self, text: str) -> int:
        if text not in self._offsets:
            self._offsets[text] = len(self.content)
            self.content += text.encode("utf-8", "surrogateescape") + b"\0"
        return self._offsets[text]
