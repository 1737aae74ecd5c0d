"""Relocations, and what in the output counts from the start of a section.

clang refers to what is static by its section and a distance from there, which stands in the
instruction; jump tables hold distances too. Both grow by what lies in front of the section now.
"""

from __future__ import annotations

import struct

from ebpf.elf.context import Role, role_of
from ebpf.elf.linker.inputs import Input, Place
from ebpf.elf.linker.layout import Layout
from ebpf.elf.reader import SHT_REL, STT_SECTION, Rel, Section, Symbol
from ebpf.spec import INSTRUCTION_SIZE

_CALL = 0x85  # BPF_JMP | BPF_CALL
_TABLE_ENTRY = 8


class Relocator:
    """Moves the relocations of one object after the other.

    ``found`` are those of each output section, by its name.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.found: dict[str, list[Rel]] = {}

    def add(self, input: Input) -> None:
        """Changes the contents of the output where relocations say so. Raises FormatError."""
        tables = _JumpTables(self._layout, input)
        for section, target in input.elf.relocation_sections():
            place = input.places.get(target.index)
            if place is None:
                continue
            if section.type != SHT_REL:
                raise section.error("of type RELA; BPF objects have relocations of type REL")
            moved = self.found.setdefault(place.name, [])
            for rel in input.elf.relocations(section):
                moved.append(self._move(input, target, place, rel))
                tables.move(input.elf.symbols[rel.symbol], target, place, rel)

    def _move(self, input: Input, target: Section, place: Place, rel: Rel) -> Rel:
        if rel.offset + INSTRUCTION_SIZE > target.size:
            raise target.error("a relocation outside of the section", rel.offset)
        symbol = input.elf.symbols[rel.symbol]
        number = input.symbol_numbers.get(symbol.number)
        if number is None:
            label = symbol.name or input.elf.sections[symbol.section].name
            problem = f"a relocation against {label!r}, of a section that is not linked"
            raise target.error(problem, rel.offset)
        start = input.places.get(symbol.section)
        if symbol.type == STT_SECTION and start is not None:
            self._move_distance(start.offset, input, target, rel)
        return Rel(place.offset + rel.offset, number, rel.type)

    def _move_distance(self, by: int, input: Input, target: Section, rel: Rel) -> None:
        """Adds `by` to the distance from its section that the instruction holds."""
        if not by:
            return
        if not target.executable:
            problem = "a relocation against a section; make what it refers to global"
            raise target.error(problem, rel.offset)
        place = input.places[target.index]
        data = self._layout.sections[place.name].data
        at = place.offset + rel.offset
        distance = struct.Struct(input.elf.order + "I")
        # Calls count instructions.
        step = by // INSTRUCTION_SIZE if data[at] == _CALL else by
        (before,) = distance.unpack_from(data, at + 4)
        distance.pack_into(data, at + 4, before + step & 0xFFFFFFFF)


class _JumpTables:
    """The jump tables of one object: offsets of instructions in the section of their function."""

    def __init__(self, layout: Layout, input: Input) -> None:
        self._layout, self._input = layout, input
        self._entry = struct.Struct(input.elf.order + "Q")
        self._moved: dict[tuple[int, int, int], int] = {}
        self._room = {
            section.index: section.size
            for section in input.kept
            if role_of(section) is Role.JUMP_TABLES
        }

    def move(self, symbol: Symbol, target: Section, place: Place, rel: Rel) -> None:
        """Adds to each entry of the table `symbol`, if it is one, where its section begins now."""
        if symbol.section not in self._room or symbol.special:
            return
        table = symbol.section, symbol.value, symbol.size
        if table in self._moved:
            if self._moved[table] != target.index:
                raise target.error(f"jump table {symbol.name!r} serves two sections", rel.offset)
            return
        self._moved[table] = target.index
        section = self._input.elf.sections[symbol.section]
        start = self._input.places[section.index]
        # Each table once; together they are not larger than their section.
        self._room[section.index] -= symbol.size
        if symbol.value + symbol.size > section.size or self._room[section.index] < 0:
            raise target.error(f"jump table {symbol.name!r} overlaps or is cut", rel.offset)
        data = self._layout.sections[start.name].data
        first = start.offset + symbol.value
        for at in range(first, first + symbol.size // _TABLE_ENTRY * _TABLE_ENTRY, _TABLE_ENTRY):
            (before,) = self._entry.unpack_from(data, at)
            self._entry.pack_into(data, at, before + place.offset & (1 << 64) - 1)
