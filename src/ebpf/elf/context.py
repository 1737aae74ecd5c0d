"""What the parts of the reader share: the sections by their meaning, symbols, BTF by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum, auto
from functools import cached_property

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.raw import index_types, info_kind, merge_layout, parse_header, parse_layout
from ebpf.elf.reader import SHT_NOBITS, SHT_PROGBITS, SHT_REL, ElfFile, Rel, Section, Symbol
from ebpf.errors import ElfError
from ebpf.plain import dataclass
from ebpf.spec import CollectionSpec


class Role(Enum):
    """What a section is to a BPF loader."""

    CODE = auto()
    DATA = auto()  # .data, .rodata and .bss
    ARENA = auto()
    MAPS = auto()  # definitions in BTF
    LEGACY_MAPS = auto()  # definitions in the bytes of the section
    STRUCT_OPS = auto()
    JUMP_TABLES = auto()
    LICENSE = auto()
    VERSION = auto()
    BTF = auto()
    BTF_EXT = auto()


STRUCT_OPS_SECTIONS = (".struct_ops", ".struct_ops.link", "?.struct_ops", "?.struct_ops.link")

_BY_NAME = {
    "license": Role.LICENSE,
    "version": Role.VERSION,
    "maps": Role.LEGACY_MAPS,
    ".maps": Role.MAPS,
    ".BTF": Role.BTF,
    ".BTF.ext": Role.BTF_EXT,
}
_BY_DATA_NAME = {
    **dict.fromkeys(STRUCT_OPS_SECTIONS, Role.STRUCT_OPS),
    ".addr_space.1": Role.ARENA,
    ".jumptables": Role.JUMP_TABLES,
}
_DATA_NAMES = (".data", ".rodata", ".bss")


def role_of(section: Section) -> Role | None:
    """The meaning of `section`; None for one that loaders pass over."""
    if section.type not in (SHT_PROGBITS, SHT_NOBITS):
        return None
    role = _BY_NAME.get(section.name)
    if role is not None:
        return role
    if not section.size:
        return None
    if section.executable and section.type == SHT_PROGBITS:
        return Role.CODE
    # gobpf's names, and those of ir-keytable's decoders.
    if section.name.startswith("maps/") or section.name.endswith("/maps"):
        return Role.LEGACY_MAPS
    if any(section.name == name or section.name.startswith(name + ".") for name in _DATA_NAMES):
        return Role.DATA
    return _BY_DATA_NAME.get(section.name)


# Characters: what the numbered keys of one kind may take together.
_REPEATED_NAMES = 1 << 20


class Keys:
    """Gives out keys: the name itself, then ``name#2``, ``name#3``."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._count = dict.fromkeys(taken, 1)
        self._room = _REPEATED_NAMES

    def key(self, name: str) -> str:
        """Raises ElfError for one long name many times over, which would fill the memory."""
        number = self._count.get(name, 0) + 1
        self._count[name] = number
        if number > 1:
            self._room -= len(name)
        if self._room < 0:
            raise ElfError(
                f"ELF file: {number} definitions, each with the same name of {len(name)} "
                f"characters, {name[:40]!r}...; no compiler writes such names"
            )
        # Neither a C name nor a section's contains #, so this is taken by no other name.
        return name if number == 1 else f"{name}#{number}"


@dataclass(frozen=True)
class ObjectBtf:
    """The object's BTF; its sections and functions by name, of several the first."""

    btf: Btf
    sections: dict[str, t.Datasec]
    functions: dict[str, int]


def read_btf(data: bytes) -> ObjectBtf:
    """Raises BtfError."""
    header = parse_header(data)
    offsets = index_types(data, header, merge_layout(parse_layout(data, header)))
    btf = Btf(data, memoryview(offsets))
    sections: dict[str, t.Datasec] = {}
    functions: dict[str, int] = {}
    # The byte of the kind: decoding every type would cost fifty times as much.
    kind_byte = header.types.start + (7 if header.byte_order == "little" else 4)
    for type_id, offset in enumerate(offsets, 1):
        kind = info_kind(data[kind_byte + offset] << 24)
        if kind == t.Kind.DATASEC:
            section = btf.type(type_id)
            assert isinstance(section, t.Datasec)
            sections.setdefault(section.name, section)
        elif kind == t.Kind.FUNC:
            functions.setdefault(btf.type(type_id).name, type_id)
    return ObjectBtf(btf, sections, functions)


class Context:
    """An object while it is read: what the parts have found so far, by place in the file.

    ``function_at`` and ``map_at`` are {(section index, offset): key}, ``data_map`` is {section
    index: key of the map}, ``extern_of`` {symbol index: key}.
    """

    def __init__(self, elf: ElfFile, spec: CollectionSpec) -> None:
        self.elf = elf
        self.spec = spec
        self.btf: ObjectBtf | None = None
        self.function_at: dict[tuple[int, int], str] = {}
        self.map_at: dict[tuple[int, int], str] = {}
        self.data_map: dict[int, str] = {}
        self.extern_of: dict[int, str] = {}
        self.map_keys = Keys()
        self._jump_tables = 0

    @cached_property
    def roles(self) -> list[Role | None]:
        return [role_of(section) for section in self.elf.sections]

    def sections(self, *roles: Role) -> Iterator[Section]:
        """The sections with one of `roles`, in the order of the file."""
        for section, role in zip(self.elf.sections, self.roles, strict=True):
            if role in roles:
                yield section

    @cached_property
    def symbols_in(self) -> dict[int, list[Symbol]]:
        """The symbols of each section that has a role or a Datasec, in the order of the file."""
        described = self.btf.sections if self.btf else {}
        found: dict[int, list[Symbol]] = {
            section.index: []
            for section, role in zip(self.elf.sections, self.roles, strict=True)
            if role is not None or section.name in described
        }
        for symbol in self.elf.symbols:
            if symbol.section in found and not symbol.special:
                found[symbol.section].append(symbol)
        return found

    @cached_property
    def exported(self) -> set[str]:
        """The names of all symbols that other objects can refer to and this one defines."""
        return {s.name for s in self.elf.symbols if s.exported and s.section}

    @cached_property
    def relocations(self) -> dict[int, list[Rel]]:
        """The relocations of each section that has a role, by offset."""
        found: dict[int, list[Rel]] = {}
        for section, target in self.elf.relocation_sections():
            role = self.roles[target.index]
            if role not in (Role.CODE, Role.MAPS, Role.STRUCT_OPS):
                continue
            if section.type != SHT_REL:
                raise section.error("of type RELA; BPF objects have relocations of type REL")
            found.setdefault(target.index, []).extend(self.elf.relocations(section))
        for relocations in found.values():
            relocations.sort()
        return found

    @cached_property
    def _first_of_name(self) -> dict[str, int]:
        return {section.name: section.index for section in reversed(self.elf.sections)}

    def datasec(self, section: Section) -> t.Datasec | None:
        """What the BTF says about `section`; of several of one name it means the first."""
        if self.btf is None or self._first_of_name[section.name] != section.index:
            return None
        return self.btf.sections.get(section.name)

    @cached_property
    def _jump_table_size(self) -> int:
        return sum(section.size for section in self.sections(Role.JUMP_TABLES))

    def take_jump_table(self, size: int) -> bool:
        """Note that a table of `size` bytes was read; False where there is no room for all of
        them, which is so when several functions have the same one."""
        self._jump_tables += size
        return self._jump_tables <= self._jump_table_size

    def need_btf(self, section: Section) -> ObjectBtf:
        """The BTF, for a `section` that means nothing without."""
        if self.btf is None:
            raise section.error(
                "its contents are described in BTF, which the object lacks; compile it with -g"
            )
        return self.btf

    def symbol_name(self, symbol: Symbol) -> str:
        """For messages: the symbol of a section is named after it."""
        if symbol.name or symbol.special:
            return symbol.name
        return self.elf.sections[symbol.section].name


@dataclass(frozen=True)
class Placed:
    """One variable of a Datasec, in its place: `offset` and `size` in bytes."""

    var: t.Var
    offset: int
    size: int
    hidden: bool
    weak: bool


def place_variables(context: Context, section: Section, datasec: t.Datasec) -> list[Placed]:
    """The variables of `section`, by offset; what its BTF has wrong is noted in btf_fixups.

    clang leaves the size of a section 0 and then the offsets of global variables too. libbpf's
    linker fills them in, but out of order, and a variable that was declared or weak keeps the
    place that it had then. The symbols are right in any case: code refers to variables by them.
    """
    btf = context.need_btf(section).btf
    symbols = {s.name: s for s in context.symbols_in[section.index] if s.exported}
    fixups = context.spec.btf_fixups
    placed, offsets = [], {}
    for variable in datasec.variables:
        var = btf.type(variable.type_id)
        if not isinstance(var, t.Var):
            raise section.error(f"BTF type {var.id} in it is {var.kind.name}, no VAR")
        if var.linkage == t.Linkage.EXTERN:
            continue
        symbol = None
        offset = variable.offset
        if var.linkage != t.Linkage.STATIC:
            symbol = symbols.get(var.name)
            if symbol is None and datasec.size and var.name in context.exported:
                continue  # weak, and overridden in another section
            if symbol is None:
                raise section.error(f"no symbol for the variable {var.name!r} of its BTF")
            if symbol.hidden:
                fixups.linkages[var.id] = t.Linkage.STATIC
            offset = offsets[var.id] = symbol.value
        if offset + variable.size > section.size:
            raise section.error(
                f"{var.name!r} of {variable.size} bytes is outside of its {section.size}", offset
            )
        hidden, weak = bool(symbol and symbol.hidden), bool(symbol and symbol.binding == 2)
        placed.append(Placed(var, offset, variable.size, hidden, weak))
    if datasec.size == 0 or _is_out_of_order(datasec, offsets):
        fixups.sections[datasec.id] = (section.size, offsets)
    placed.sort(key=lambda item: item.offset)
    return placed


def _is_out_of_order(datasec: t.Datasec, offsets: dict[int, int]) -> bool:
    """Whether the kernel would refuse the section, or the symbols (`offsets`) say otherwise."""
    before = 0
    for variable in datasec.variables:
        if offsets.get(variable.type_id, variable.offset) != variable.offset:
            return True
        if variable.offset < before:
            return True
        before = variable.offset
    return False


def only(sections: Iterable[Section], what: str) -> Section | None:
    """The one section of its kind, None where there is none."""
    found = list(sections)
    if len(found) > 1:
        raise ElfError(f"ELF section {found[1].index} {found[1].name!r}: a second {what}")
    return found[0] if found else None
