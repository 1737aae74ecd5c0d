"""One program as the kernel takes it: its function, those that it reaches, and their BTF records.

Pure: what depends on the kernel comes in as `Targets`. The order of the functions is libbpf's, so
that both hand the kernel the same instructions.
"""

from __future__ import annotations

import os
import struct
import sys

from ebpf import opcodes as op
from ebpf.spec import CollectionSpec, FunctionSpec, ProgramSpec, Relocation, RelocationKind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from ebpf.types import ProgramType

    class Targets(Protocol):
        """What relocations refer to, once the maps exist and the externs are known."""

        def function_code(self, name: str) -> bytes:
            """The function's instructions, CO-RE relocations applied."""

        def map_fd(self, name: str) -> int | None:
            """The map's descriptor; None for a map that was not to be created."""

        def map_number(self, name: str) -> int:
            """A number for the map, by which an instruction that lacks it is recognised."""

        def data_offset(self, name: str) -> int:
            """What is added to offsets into the map's value: where an arena has its globals."""

        def extern(self, name: str) -> Load:
            """What an ldimm64 of the extern has to hold."""

        def kfunc(self, name: str) -> Call:
            """What a call of the extern has to hold."""

        def jump_table(self, slots: tuple[int, ...]) -> int:
            """The descriptor of a map with these slots of the program."""


# libbpf's calls of helpers that do not exist, for instructions whose map or kfunc is missing: the
# verifier prunes those that cannot be reached, and refuses the others with this number.
POISON_MAP = 2001000000
POISON_KFUNC = 2002000000

_CALLS = (RelocationKind.CALL, RelocationKind.FUNCTION)

_SLOT = struct.Struct("=BBhi")
_SLOT_SIZE = 8

# BPF_LINE_INFO_LINE_NUM of uapi linux/bpf.h: the column is in the bits below.
LINE_SHIFT = 10


class Load:
    """An ldimm64: the pseudo source register and both immediates."""

    __slots__ = ("high", "low", "source")

    def __init__(self, source: int, low: int, high: int = 0) -> None:
        self.source = source
        self.low = low
        self.high = high

    @classmethod
    def constant(cls, value: int) -> Load:
        """A plain 64-bit number."""
        return cls(0, value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF)


class Call:
    """A call: the pseudo source register, the offset field and the immediate."""

    __slots__ = ("imm", "offset", "source")

    def __init__(self, source: int, imm: int, offset: int = 0) -> None:
        self.source = source
        self.imm = imm
        self.offset = offset


def function_names(
    spec: CollectionSpec, program: ProgramSpec, callbacks: Mapping[int, str]
) -> list[str]:
    """The functions of `program` in their order: its own, those that it reaches, each callee with
    its own right behind it, and then the callback for its exceptions with what that reaches.

    `callbacks` are by the type id of a program's function.
    """
    found: dict[str, None] = {}
    roots = [program.function, callbacks.get(spec.functions[program.function].type_id, "")]
    for root in filter(None, roots):
        pending = [iter([root])]
        while pending:
            for name in pending[-1]:
                if name not in found:
                    found[name] = None
                    pending.append(iter(_callees(spec.functions[name])))
                    break
            else:
                pending.pop()
    return list(found)


def _callees(function: FunctionSpec) -> list[str]:
    return [r.target for r in function.relocations if r.kind in _CALLS]


class Image:
    """The instructions of one program and the functions in it, in order.

    ``functions`` are (slot where it starts, function); ``func_info`` and ``line_info`` are the
    kernel's records, empty where the object has no BTF for every function. `callbacks` and `types`
    are what `ebpf.collection.tags` finds.
    """

    def __init__(
        self,
        spec: CollectionSpec,
        program: ProgramSpec,
        targets: Targets,
        callbacks: Mapping[int, str],
        types: Mapping[tuple[ProgramType, int], int],
    ) -> None:
        self._spec = spec
        self._program = program
        self._targets = targets
        self._types = types
        self._starts: dict[str, int] = {}
        self.code = bytearray()
        self.functions: list[tuple[int, FunctionSpec]] = []
        for name in function_names(spec, program, callbacks):
            self._starts[name] = len(self.code) // _SLOT_SIZE
            self.functions.append((self._starts[name], spec.functions[name]))
            self.code += targets.function_code(name)
        for start, function in self.functions:
            for relocation in function.relocations:
                self._relocate(start, function, relocation)

    def _relocate(self, start: int, function: FunctionSpec, relocation: Relocation) -> None:
        slot = start + relocation.slot
        kind, target = relocation.kind, relocation.target
        if kind is RelocationKind.CALL:
            self._call(slot, Call(op.PSEUDO_CALL, self._starts[target] - slot - 1))
        elif kind is RelocationKind.FUNCTION:
            self._load(slot, Load(op.PSEUDO_FUNC, self._starts[target] - slot - 1))
        elif kind is RelocationKind.MAP:
            self._load_map(slot, target, op.PSEUDO_MAP_FD, 0)
        elif kind is RelocationKind.DATA:
            offset = relocation.offset + self._targets.data_offset(target)
            self._load_map(slot, target, op.PSEUDO_MAP_VALUE, offset)
        elif kind is RelocationKind.EXTERN:
            self._load(slot, self._targets.extern(target))
        elif kind is RelocationKind.EXTERN_CALL:
            self._call(slot, self._targets.kfunc(target))
        else:
            table = tuple(start + target for target in relocation.table)
            self._load(slot, Load(op.PSEUDO_MAP_VALUE, self._targets.jump_table(table)))

    def _load_map(self, slot: int, name: str, source: int, offset: int) -> None:
        fd = self._targets.map_fd(name)
        if fd is not None:
            self._load(slot, Load(source, fd, offset))
            return
        for poisoned in (slot, slot + 1):
            number = POISON_MAP + self._targets.map_number(name)
            _SLOT.pack_into(self.code, poisoned * _SLOT_SIZE, op.CALL_OPCODE, 0, 0, number)

    def _load(self, slot: int, load: Load) -> None:
        opcode, registers, _, _ = self._read(slot)
        registers = _with_source(registers, load.source)
        _SLOT.pack_into(self.code, slot * _SLOT_SIZE, opcode, registers, 0, _signed32(load.low))
        _SLOT.pack_into(self.code, (slot + 1) * _SLOT_SIZE, 0, 0, 0, _signed32(load.high))

    def _call(self, slot: int, call: Call) -> None:
        opcode, registers, _, _ = self._read(slot)
        registers = _with_source(registers, call.source)
        _SLOT.pack_into(
            self.code, slot * _SLOT_SIZE, opcode, registers, call.offset, _signed32(call.imm)
        )

    def _read(self, slot: int) -> tuple[int, int, int, int]:
        opcode, registers, offset, imm = _SLOT.unpack_from(self.code, slot * _SLOT_SIZE)
        return opcode, registers, offset, imm

    @property
    def func_info(self) -> bytes:
        """``struct bpf_func_info`` of every function."""
        if not all(function.type_id for _, function in self.functions):
            return b""
        own = self._program.type
        return b"".join(
            struct.pack("=II", start, self._types.get((own, function.type_id), function.type_id))
            for start, function in self.functions
        )

    @property
    def line_info(self) -> bytes:
        """``struct bpf_line_info`` of every function."""
        return b"".join(
            struct.pack("=IIII", *line)
            for start, function in self.functions
            for line in function.line_info(start)
        )

    def source(self, slot: int) -> str:
        """The source of the instruction at `slot`, ``"probe.bpf.c:12: text"``, or ""."""
        function, own_slot = self.locate(slot)
        lines = [line for line in function.line_info() if line[0] <= own_slot]
        if not lines or self._spec.btf is None:
            return ""
        _, file, text, position = max(lines)
        strings = self._spec.btf.strings
        name = os.path.basename(strings.get(file))
        return f"{name}:{position >> LINE_SHIFT}: {strings.get(text).strip()}"

    def locate(self, slot: int) -> tuple[FunctionSpec, int]:
        """The function that has the instruction at `slot`, and the slot within that function."""
        start, function = max(
            (entry for entry in self.functions if entry[0] <= slot), key=lambda entry: entry[0]
        )
        return function, slot - start


def _with_source(registers: int, source: int) -> int:
    if sys.byteorder == "little":
        return registers & 0x0F | source << 4
    return registers & 0xF0 | source


def _signed32(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value
