"""Instructions and labels to bytes."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from ebpf import opcodes as op
from ebpf.asm.instruction import Instruction, Label, Position, describe_position
from ebpf.asm.value import Value, set_field
from ebpf.errors import AsmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from ebpf.asm.instruction import MapReference

    Reference = tuple[int, MapReference, Literal["fd", "value"]]
    SymbolKind = Literal["function", "variable"]
    SymbolReference = tuple[int, str, SymbolKind]

SLOT_SIZE = 8
_SLOTS = {"little": struct.Struct("<BBhi"), "big": struct.Struct(">BBhi")}
_IMMEDIATES = {"little": struct.Struct("<i"), "big": struct.Struct(">i")}
_OFFSET_OFFSET = 2
_IMMEDIATE_OFFSET = 4


def slot_struct(byteorder: str) -> struct.Struct:
    """The layout of one slot: opcode, registers, offset, immediate."""
    if byteorder not in _SLOTS:
        raise AsmError(f"byteorder must be 'little' or 'big', not {byteorder!r}")
    return _SLOTS[byteorder]


class Assembly(Value):
    """An assembled program; `len()` is its number of 8-byte slots.

    Attributes:
        instructions: the instructions, flattened, labels taken out.
        code: the bytes, with zero in place of every map's descriptor.
        byteorder: "little" or "big".
        references: (slot, map, kind) for every reference to a map; kind "fd" is the map itself,
            "value" the address of its first value. A map is a name or has ``fileno()``.
        labels: name of a label -> slot of the instruction that follows it.
        positions: the position of the instruction at each slot (None: unknown).
        subprograms: the slots that `call_local` and `ld_func` refer to, ascending.
        symbols: (slot, name, kind) for every reference to the kernel; kind "function" is the call
            of a kfunc, "variable" the address of a variable.
    """

    __slots__ = (
        "byteorder",
        "code",
        "instructions",
        "labels",
        "positions",
        "references",
        "subprograms",
        "symbols",
    )  # fmt: skip
    instructions: tuple[Instruction, ...]
    code: bytes
    byteorder: Literal["little", "big"]
    references: tuple[Reference, ...]
    labels: Mapping[str, int]
    positions: tuple[Position | None, ...]
    subprograms: tuple[int, ...]
    symbols: tuple[SymbolReference, ...]

    def __init__(
        self,
        instructions: tuple[Instruction, ...],
        code: bytes,
        byteorder: Literal["little", "big"],
        references: tuple[Reference, ...],
        labels: Mapping[str, int],
        positions: tuple[Position | None, ...],
        subprograms: tuple[int, ...],
        symbols: tuple[SymbolReference, ...] = (),
    ) -> None:
        set_field(self, "instructions", instructions)
        set_field(self, "code", code)
        set_field(self, "byteorder", byteorder)
        set_field(self, "references", references)
        set_field(self, "labels", MappingProxyType(dict(labels)))
        set_field(self, "positions", positions)
        set_field(self, "subprograms", subprograms)
        set_field(self, "symbols", symbols)

    def _key(self) -> tuple[object, ...]:
        labels = tuple(self.labels.items())
        return (self.code, self.byteorder, self.references, labels, self.symbols)

    def __hash__(self) -> int:
        # Without the references: a map need not be hashable.
        return hash((self.code, self.byteorder))

    def __reduce__(self) -> tuple[object, ...]:
        # Through the constructor, because a mapping proxy cannot be pickled.
        return Assembly, (
            self.instructions, self.code, self.byteorder, self.references, dict(self.labels),
            self.positions, self.subprograms, self.symbols,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.code) // SLOT_SIZE

    def __repr__(self) -> str:
        return f"<Assembly of {len(self)} slots, {len(self.references)} map references>"

    def digest(self) -> bytes:
        """The SHA-256 by which the kernel knows the program when it is loaded (6.18).

        For a map that only this program may use: ``Map.create(..., exclusive=code.digest())``.
        The program refers to the map by name, as it is there before the map is.
        """
        from hashlib import sha256

        code = bytearray(self.code)
        for slot, _, _ in self.references:
            # The kernel leaves out the descriptor, and how far a value is from the first.
            for at in (slot, slot + 1):
                code[at * SLOT_SIZE + 4 : (at + 1) * SLOT_SIZE] = bytes(4)
        return sha256(code).digest()

    def resolve(
        self,
        fd_of: Callable[[str], int] | Mapping[str, int] | None = None,
        symbol_of: Callable[[str, SymbolKind], tuple[int, int]] | None = None,
    ) -> bytes:
        """The code with the descriptor of every map, and what names the kernel's, in place.

        Args:
            fd_of: map name -> descriptor; a mapping or a function. Not needed for maps that
                were given as objects: their ``fileno()`` is asked.
            symbol_of: name and kind of what `symbols` has -> the id of its type in BTF, and which
                BTF that is: its place in fd_array for a function, its descriptor for a variable;
                0 for the kernel's own.

        Raises:
            AsmError: a map is known by name only and `fd_of` does not have it, or a descriptor
                is negative.
        """
        code = bytearray(self.code)
        immediate = _IMMEDIATES[self.byteorder]
        for slot, map_reference, _ in self.references:
            fd = self._descriptor(slot, map_reference, fd_of)
            immediate.pack_into(code, slot * SLOT_SIZE + _IMMEDIATE_OFFSET, fd)
        for slot, name, kind in self.symbols:
            if symbol_of is None:
                raise AsmError(
                    f"{describe_position(self.positions[slot])}: the kernel's {kind} {name!r} is "
                    "known by name only; pass symbol_of"
                )
            self._put_symbol(code, slot * SLOT_SIZE, kind, *symbol_of(name, kind))
        return bytes(code)

    def _put_symbol(self, code: bytearray, start: int, kind: SymbolKind, id: int, btf: int) -> None:
        immediate = _IMMEDIATES[self.byteorder]
        immediate.pack_into(code, start + _IMMEDIATE_OFFSET, id)
        if kind == "function":
            struct.pack_into(immediate.format[0] + "h", code, start + _OFFSET_OFFSET, btf)
        else:
            immediate.pack_into(code, start + SLOT_SIZE + _IMMEDIATE_OFFSET, btf)

    def _descriptor(
        self,
        slot: int,
        map_reference: MapReference,
        fd_of: Callable[[str], int] | Mapping[str, int] | None,
    ) -> int:
        where = describe_position(self.positions[slot])
        if not isinstance(map_reference, str):
            fd = map_reference.fileno()
        elif fd_of is None:
            raise AsmError(
                f"{where}: map {map_reference!r} is known by name only; "
                "pass fd_of, a mapping from names to descriptors"
            )
        elif not isinstance(fd_of, Mapping):
            fd = fd_of(map_reference)
        elif map_reference in fd_of:
            fd = fd_of[map_reference]
        else:
            known = ", ".join(repr(name) for name in fd_of) or "none"
            raise AsmError(f"{where}: unknown map {map_reference!r}; known maps: {known}")
        if isinstance(fd, bool) or not isinstance(fd, int):
            raise TypeError(
                f"{where}: the descriptor of map {map_reference!r} must be an integer, not {fd!r}"
            )
        if not 0 <= fd < 2**31:
            raise AsmError(f"{where}: map {map_reference!r} has the impossible descriptor {fd}")
        return fd


def assemble(
    program: Iterable[object],
    *,
    byteorder: Literal["little", "big"] = sys.byteorder,
    check: bool = True,
) -> Assembly:
    """Assemble instructions and labels; nested lists, tuples and iterators are spliced in.

    Args:
        program: instructions, labels, and iterables of them, to any depth.
        byteorder: "little" or "big"; a program that is to be loaded needs the machine's own.
        check: refuse what every kernel refuses, see `ebpf.asm.check`; False for parts of programs.

    Raises:
        AsmError: the program is empty, a label is missing or there twice, a jump is too long, or
            what `check` refuses.
        TypeError: `program` contains something else than instructions, labels and iterables.
    """
    slot = slot_struct(byteorder)
    instructions, labels, starts = _lay_out(program)
    size = starts[-1]
    code = bytearray()
    references: list[Reference] = []
    positions: list[Position | None] = []
    subprograms: set[int] = set()
    symbols: list[SymbolReference] = []
    for instruction, start in zip(instructions, starts[:-1], strict=True):
        offset, imm = instruction.offset, instruction.imm
        if instruction.target is not None:
            goal = _find_label(instruction, labels, size)
            offset, imm = _relative(instruction, goal - start - 1)
            if _is_function_reference(instruction):
                subprograms.add(goal)
        if instruction.map is not None:
            kind: Literal["fd", "value"] = (
                "value" if instruction.src == op.PSEUDO_MAP_VALUE else "fd"
            )
            references.append((start, instruction.map, kind))
        if instruction.symbol is not None:
            is_call = instruction.opcode == op.CALL_OPCODE
            symbols.append((start, instruction.symbol, "function" if is_call else "variable"))
        code += _encode(slot, instruction, offset, imm, byteorder == "big")
        positions += [instruction.position] * len(instruction)
    assembly = Assembly(
        tuple(instructions), bytes(code), byteorder, tuple(references),
        {label.name: start for label, start in labels.values()}, tuple(positions),
        tuple(sorted(subprograms)), tuple(symbols),
    )  # fmt: skip
    if check:
        from ebpf.asm.check import check as check_assembly

        # Programs of type EXT have the arguments of the function that they replace.
        check_assembly(assembly, arguments=5)
    return assembly


def _lay_out(
    program: Iterable[object],
) -> tuple[list[Instruction], dict[str, tuple[Label, int]], list[int]]:
    """Instructions, labels with their slots, and the slot of each instruction and of the end."""
    instructions: list[Instruction] = []
    labels: dict[str, tuple[Label, int]] = {}
    starts = [0]
    for item in flatten(program, "program"):
        if isinstance(item, Instruction):
            instructions.append(item)
            starts.append(starts[-1] + len(item))
        elif item.name in labels:
            first = labels[item.name][0]
            again = "" if item.name[0] != "." else ": call what made it again for each use of it"
            raise AsmError(
                f"{describe_position(item.position)}: label {item.name!r} is already defined at "
                f"{describe_position(first.position)}{again}"
            )
        else:
            labels[item.name] = (item, starts[-1])
    if not instructions:
        raise AsmError("the program is empty: it needs at least an exit_()")
    return instructions, labels, starts


def flatten(item: object, path: str) -> Iterator[Instruction | Label]:
    """The instructions and labels in `item`, which messages call `path`."""
    if isinstance(item, (Instruction, Label)):
        yield item
    elif isinstance(item, str):
        raise TypeError(f"{path} is the str {item!r}: write Label({item!r}) to define a label")
    elif not isinstance(item, Iterable) or isinstance(item, (bytes, bytearray, Mapping)):
        raise TypeError(
            f"{path} must be an instruction, a label or an iterable of them, "
            f"not {type(item).__name__} {item!r}"
        )
    else:
        for index, inner in enumerate(item):
            yield from flatten(inner, f"{path}[{index}]")


def _find_label(instruction: Instruction, labels: dict[str, tuple[Label, int]], size: int) -> int:
    name = instruction.target
    assert name is not None
    where = f"{describe_position(instruction.position)}: {instruction}"
    if name not in labels:
        known = ", ".join(repr(known) for known in labels) or "none"
        raise AsmError(f"{where}: unknown label {name!r}; known labels: {known}")
    label, slot = labels[name]
    if slot == size:
        raise AsmError(
            f"{where}: no instruction follows label {name!r} ({describe_position(label.position)})"
        )
    return slot


def _is_function_reference(instruction: Instruction) -> bool:
    return instruction.opcode in (op.CALL_OPCODE, op.LDDW)


def _relative(instruction: Instruction, distance: int) -> tuple[int, int]:
    """The offset and immediate of an instruction whose target is `distance` slots further."""
    if instruction.opcode == op.LDDW:
        return instruction.offset, distance & 0xFFFF_FFFF
    if instruction.opcode in (op.CALL_OPCODE, op.JA32):
        return instruction.offset, distance
    if not -(2**15) <= distance < 2**15:
        raise AsmError(
            f"{describe_position(instruction.position)}: {instruction}: label "
            f"{instruction.target!r} is {distance} slots away, and a jump reaches "
            f"{-(2**15)}..{2**15 - 1}; jump to a nearer ja32, which reaches any distance"
        )
    return distance, instruction.imm


def _encode(
    slot: struct.Struct, instruction: Instruction, offset: int, imm: int, big: bool
) -> bytes:
    # The two register fields are bit fields of C, which change places with the byte order.
    low, high = (instruction.src, instruction.dst) if big else (instruction.dst, instruction.src)
    registers = low | high << 4
    if instruction.opcode != op.LDDW:
        return slot.pack(instruction.opcode, registers, offset, imm)
    lower = (imm & 0xFFFF_FFFF ^ 2**31) - 2**31
    return slot.pack(op.LDDW, registers, offset, lower) + slot.pack(0, 0, 0, imm >> 32)
