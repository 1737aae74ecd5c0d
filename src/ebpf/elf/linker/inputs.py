"""The objects that are linked, each as far as a linker looks into it."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from ebpf.btf import types as t
from ebpf.btf.ext import BtfExt
from ebpf.btf.raw import info_kind, info_vlen
from ebpf.btf.words import BODY, INFO, NAME, own_words
from ebpf.elf.context import ObjectBtf, Role, only, read_btf, role_of
from ebpf.elf.reader import SHT_NOBITS, SHT_PROGBITS, ElfFile, Section, Symbol
from ebpf.errors import BtfError, FormatError, LinkError
from ebpf.plain import dataclass

# Where clang puts extern variables that no section claims: another object has them.
PLAIN_EXTERNS = ".extern"


@contextmanager
def blaming(label: str) -> Iterator[None]:
    """Puts the name of the object in front of what is wrong with it."""
    try:
        yield
    except LinkError:
        raise
    except FormatError as error:
        raise type(error)(f"{label}: {error}") from None


@dataclass(frozen=True)
class Entity:
    """A variable or function of an object's BTF that is not static.

    ``section`` is the DATASEC that holds it; empty for functions of the object's own and for
    externs that are left to other objects.
    """

    type_id: int
    kind: int
    section: str


@dataclass(frozen=True)
class Place:
    """Where a section of an object has gone: `offset` bytes into the output section `name`."""

    name: str
    offset: int


class Input:
    """One object; ``label`` names it in messages.

    ``places`` are {section index: Place}, ``symbol_numbers`` {symbol index: index in the output},
    ``type_ids`` and ``strings`` the same for the BTF's types and string offsets, of what goes
    there. ``linked`` are its symbols that all objects share, {name: symbol indices}.
    """

    def __init__(self, label: str, elf: ElfFile) -> None:
        self.label, self.elf = label, elf
        self.btf: ObjectBtf | None = None
        self.ext: BtfExt | None = None
        self.records: list[array[int]] = []
        self.entities: dict[str, Entity] = {}
        self.places: dict[int, Place] = {}
        self.symbol_numbers: dict[int, int] = {}
        self.type_ids: dict[int, int] = {}
        self.strings: dict[int, int] = {}
        self.linked: dict[str, list[int]] = {}

    @cached_property
    def kept(self) -> list[Section]:
        """The sections that go into the output, in the order of the file."""
        return [section for section in self.elf.sections if _is_kept(section)]

    @cached_property
    def by_name(self) -> dict[str, Section]:
        """The sections that go into the output; of several of one name the first."""
        return {section.name: section for section in reversed(self.kept)}

    def entity(self, symbol: Symbol) -> Entity:
        """What the BTF says of a symbol that other objects may refer to. Raises LinkError."""
        if self.btf is None:
            problem = "the object has no BTF, without which symbols cannot be linked; compile it"
            raise LinkError(f"{self.label}: {symbol.name!r}: {problem} with -g")
        found = self.entities.get(symbol.name)
        if found is None:
            problem = "a global symbol that its BTF does not know; compile it with -g, or make it"
            raise LinkError(f"{self.label}: {symbol.name!r}: {problem} static")
        return found


def read_input(label: str, data: bytes) -> Input:
    """Raises FormatError, which names the object."""
    with blaming(label):
        made = Input(label, ElfFile(data))
        section = only(_sections(made.elf, Role.BTF), "section of BTF")
        if section is None or not section.size:
            return made
        made.btf = read_btf(bytes(made.elf.data(section)))
        if made.btf.btf.byte_order != made.elf.byte_order:
            raise section.error(f"{made.btf.btf.byte_order}-endian, unlike the file")
        made.records = list(own_words(made.btf.btf))
        made.entities = _entities(made.btf, made.records)
        section = only(_sections(made.elf, Role.BTF_EXT), "section of BTF.ext")
        if section is not None and section.size:
            made.ext = BtfExt(bytes(made.elf.data(section)), made.btf.btf)
    return made


def _sections(elf: ElfFile, role: Role) -> Iterator[Section]:
    return (section for section in elf.sections if role_of(section) is role)


def _is_kept(section: Section) -> bool:
    if section.type not in (SHT_PROGBITS, SHT_NOBITS):
        return False
    if section.name.startswith(".debug_") or role_of(section) in (Role.BTF, Role.BTF_EXT):
        return False
    # Of no use, and every object without subprograms has one.
    return not (section.name == ".text" and not section.size)


def linkage_of(words: array[int]) -> int | None:
    """The linkage of a Var or Func, None for any other type."""
    kind = info_kind(words[INFO])
    if kind == t.Kind.VAR:
        return words[BODY]
    return info_vlen(words[INFO]) if kind == t.Kind.FUNC else None


def _entities(btf: ObjectBtf, records: list[array[int]]) -> dict[str, Entity]:
    section_of = {
        variable.type_id: name
        for name, datasec in btf.sections.items()
        if name != PLAIN_EXTERNS
        for variable in datasec.variables
    }
    found: dict[str, Entity] = {}
    for type_id, words in enumerate(records, 1):
        if linkage_of(words) in (None, t.Linkage.STATIC):
            continue
        name = btf.btf.strings.get(words[NAME])
        if name in found:
            other = found[name].type_id
            raise BtfError(f"BTF types {other} and {type_id} are both a global {name!r}")
        kind = info_kind(words[INFO])
        found[name] = Entity(type_id, kind, section_of.get(type_id, ""))
    return found
