"""Output sections: those of one name, one after the other."""

from __future__ import annotations

from ebpf.codec.layout import align_up
from ebpf.elf.context import Role, role_of
from ebpf.elf.linker.inputs import Input, Place, blaming
from ebpf.elf.reader import SHT_NOBITS, Section
from ebpf.errors import LinkError
from ebpf.plain import dataclass, field

_MAXIMUM_SIZE = 0xFFFFFFFF
# Padding that a file may ask for in excess of its own length: alignments are just numbers.
_PADDING = 1 << 24


@dataclass
class OutputSection:
    """One section of the output; ``size`` in bytes, ``data`` is empty for NOBITS.

    ``label`` names the object that had it first, whose type and flags are the ones that count.
    """

    first: Section
    label: str
    alignment: int = 1
    size: int = 0
    data: bytearray = field(default_factory=bytearray)

    @property
    def name(self) -> str:
        return self.first.name


class Layout:
    """Collects the sections of one object after the other."""

    def __init__(self) -> None:
        self.sections: dict[str, OutputSection] = {}
        self._room = _PADDING

    def add(self, input: Input) -> None:
        """Appends what `input` has, and notes where it went. Raises FormatError."""
        self._room += len(input.elf.bytes)
        for section in input.kept:
            if not section.name:
                raise LinkError(f"{input.label}: section {section.index} has no name")
            output = self.sections.get(section.name)
            if output is None:
                output = self.sections[section.name] = OutputSection(section, input.label)
            else:
                _match(output, section, input.label)
                if role_of(section) in (Role.LICENSE, Role.VERSION):
                    _demand_same(output, section, input)
                    continue  # once is enough
            input.places[section.index] = self._append(output, section, input)

    def _append(self, output: OutputSection, section: Section, input: Input) -> Place:
        alignment = section.alignment or 1
        if alignment & (alignment - 1):
            problem = f"alignment {alignment} is no power of two"
            raise LinkError(f"{input.label}: section {section.name!r}: {problem}")
        output.alignment = max(output.alignment, alignment)
        # The strictest so far: what is there already was aligned to less.
        start = align_up(output.size, output.alignment)
        output.size = start + section.size
        if output.size > _MAXIMUM_SIZE:
            problem = f"{output.size} bytes with that of {output.label}, more than 4 GiB"
            raise LinkError(f"{input.label}: section {section.name!r}: {problem}")
        if section.type == SHT_NOBITS:
            if section.executable:
                raise LinkError(f"{input.label}: section {section.name!r} is code without bytes")
            return Place(section.name, start)
        padding = start - len(output.data)
        self._room -= padding
        if self._room < 0:
            problem = f"an alignment of {output.alignment} makes the output too large"
            raise LinkError(f"{input.label}: section {section.name!r}: {problem}")
        with blaming(input.label):
            output.data += bytes(padding) + input.elf.data(section)
        return Place(section.name, start)


def _match(output: OutputSection, section: Section, label: str) -> None:
    for what in ("type", "flags", "entry_size"):
        one, other = getattr(output.first, what), getattr(section, what)
        if one != other:
            where = f"section {section.name!r} has {what.replace('_', ' ')}"
            raise LinkError(
                f"{where} {one:#x} in {output.label} and {other:#x} in {label}; "
                "put one of them into a section of another name"
            )


def _demand_same(output: OutputSection, section: Section, input: Input) -> None:
    with blaming(input.label):
        one, other = bytes(output.data), bytes(input.elf.data(section))
    if one == other:
        return
    if role_of(section) is Role.LICENSE:
        texts = [repr(raw.partition(b"\0")[0].decode("utf-8", "replace")) for raw in (one, other)]
    else:
        texts = [f"{int.from_bytes(raw, input.elf.byte_order):#x}" for raw in (one, other)]
    raise LinkError(
        f"the {section.name} is {texts[0]} in {output.label} and {texts[1]} in {input.label}; "
        "write the same in both, or in one only"
    )
