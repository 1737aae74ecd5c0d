"""The types of all objects in one BTF, each once, with the sections as they are in the output."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from operator import attrgetter

from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.btf.dedup import dedup_builder
from ebpf.btf.encode import encode
from ebpf.btf.raw import info_kind
from ebpf.btf.words import BODY, INFO, SIZE_OR_TYPE, make_info, name_slots, reference_slots
from ebpf.elf.linker.inputs import PLAIN_EXTERNS, Input, blaming, linkage_of
from ebpf.elf.linker.layout import Layout
from ebpf.elf.linker.symbols import Global, SymbolTable
from ebpf.errors import BtfError, LinkError


def merge_btf(inputs: Sequence[Input], layout: Layout, symbols: SymbolTable) -> BtfBuilder:
    """The merged BTF; fills in ``type_ids`` and ``strings`` of the inputs. Raises FormatError."""
    merger = _Merger(inputs, layout, symbols)
    merger.number()
    merger.write_types()
    merger.write_sections()
    with blaming(", ".join(input.label for input in inputs)):
        ids = dedup_builder(merger.builder)
    for input in inputs:
        input.type_ids = {old: ids[new] for old, new in input.type_ids.items()}
    return merger.builder


def string(input: Input, builder: BtfBuilder, offset: int) -> int:
    """The offset in `builder` of what `input` has at `offset` of its strings. Raises BtfError."""
    found = input.strings.get(offset)
    if found is None:
        assert input.btf is not None
        found = input.strings[offset] = builder.string(input.btf.btf.strings.get(offset))
    return found


class _Merger:
    """The steps, in the order of their methods."""

    def __init__(self, inputs: Sequence[Input], layout: Layout, symbols: SymbolTable) -> None:
        self._inputs = [input for input in inputs if input.btf is not None]
        self._layout, self._symbols = layout, symbols
        self.builder = BtfBuilder(inputs[0].elf.byte_order)
        # What each id in the output is made from.
        self._sources: list[tuple[Input, int, Global | None]] = []

    def number(self) -> None:
        """Gives an id to every type that stays; a global symbol has one for all objects."""
        for input in self._inputs:
            shared = self._symbols.shared(input)
            left_out = _left_out(input)
            for old, words in enumerate(input.records, 1):
                if info_kind(words[INFO]) == t.Kind.DATASEC or old in left_out:
                    continue
                symbol = shared.get(old)
                if symbol is not None and symbol.type_id:
                    input.type_ids[old] = symbol.type_id
                    continue
                self._sources.append((input, old, symbol))
                input.type_ids[old] = len(self._sources)
                if symbol is not None:
                    symbol.type_id = len(self._sources)

    def write_types(self) -> None:
        for input, old, symbol in self._sources:
            if symbol is not None:
                input, old = symbol.input, symbol.entity.type_id
            with blaming(input.label):
                words = self._translated(input, old)
            if symbol is not None and symbol.defined:
                _set_global(words)
            self.builder.records.append(words)

    def _translated(self, input: Input, type_id: int) -> array[int]:
        words = array("I", input.records[type_id - 1])
        for slot in reference_slots(words):
            words[slot] = translated_id(input, words[slot], f"type {type_id}")
        for slot in name_slots(words):
            words[slot] = string(input, self.builder, words[slot])
        return words

    def write_sections(self) -> None:
        """Adds a Datasec for each that an object has, with the variables of all."""
        found: dict[str, list[t.SectionVariable]] = {}
        for input in self._inputs:
            assert input.btf is not None
            shared = self._symbols.shared(input)
            for name, datasec in input.btf.sections.items():
                section = input.by_name.get(name)
                place = input.places.get(section.index) if section else None
                left_out = section is not None and place is None
                if left_out or name == PLAIN_EXTERNS:
                    continue
                with blaming(input.label):
                    moved = _variables(input, datasec, shared, place.offset if place else 0)
                found.setdefault(name, []).extend(moved)
        for name, variables in found.items():
            output = self._layout.sections.get(name)
            if output is not None or variables:
                variables.sort(key=attrgetter("offset"))
                size = output.size if output else 0
                made = t.Datasec(name=name, size=size, variables=tuple(variables))
                self.builder.records.append(encode(made, self.builder.string))


def _variables(
    input: Input, datasec: t.Datasec, shared: dict[int, Global], start: int
) -> list[t.SectionVariable]:
    """The variables of a section that begins at `start` now, each under one object only."""
    found = []
    for variable in datasec.variables:
        symbol = shared.get(variable.type_id)
        if symbol is None:
            new = _static_variable(input, datasec, variable, start)
        elif (symbol.input, symbol.entity.type_id) != (input, variable.type_id):
            new = None  # another object has it, or has more to say about it
        else:
            new = variable._replace(type_id=symbol.type_id, offset=symbol.offset)
            if symbol.section != datasec.name:
                problem = f"of section {datasec.name!r}, but the symbol is in {symbol.section!r}"
                raise BtfError(f"BTF type {variable.type_id} is {symbol.symbol.name!r} {problem}")
        if new is not None:
            found.append(new)
    return found


def _static_variable(
    input: Input, datasec: t.Datasec, variable: t.SectionVariable, start: int
) -> t.SectionVariable | None:
    """None for an extern that nothing uses."""
    type_id = variable.type_id
    new = input.type_ids.get(type_id)
    if not 0 < type_id <= len(input.records) or linkage_of(input.records[type_id - 1]) is None:
        raise BtfError(f"BTF section {datasec.name!r}: type {type_id} in it is no VAR or FUNC")
    if new is None:
        return None
    return variable._replace(type_id=new, offset=start + variable.offset)


def translated_id(input: Input, type_id: int, where: str) -> int:
    """What `type_id` of `input` is in the output. Raises BtfError for a type that is not there."""
    new = input.type_ids.get(type_id) if type_id else 0
    if new is None:
        raise BtfError(
            f"BTF {where} refers to type {type_id}, which does not exist or is a section"
        )
    return new


def _left_out(input: Input) -> set[int]:
    """Externs that nothing uses, a license that is there already, and tags on those."""
    found = set()
    for name, entity in input.entities.items():
        if name in input.linked:
            continue
        section = input.by_name.get(entity.section)
        extern = linkage_of(input.records[entity.type_id - 1]) == t.Linkage.EXTERN
        if extern or (section is not None and section.index not in input.places):
            found.add(entity.type_id)
        elif section is not None:
            problem = f"no symbol for the variable that its BTF has in section {section.name!r}"
            raise LinkError(f"{input.label}: {name!r}: {problem}")
    for type_id, words in enumerate(input.records, 1):
        if info_kind(words[INFO]) == t.Kind.DECL_TAG and words[SIZE_OR_TYPE] in found:
            found.add(type_id)
    return found


def _set_global(words: array[int]) -> None:
    """What one object declares extern and another defines is extern no more."""
    if info_kind(words[INFO]) == t.Kind.VAR:
        words[BODY] = t.Linkage.GLOBAL
    else:
        words[INFO] = make_info(t.Kind.FUNC, t.Linkage.GLOBAL)
