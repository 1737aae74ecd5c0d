"""Which definition each mention of a name leads to, compared with a model of a few lines."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.elf.linker import link
from ebpf.errors import LinkError
from ebpf.spec import CollectionSpec, Relocation, RelocationKind

from .image import EXIT, GLOBAL, LOCAL, NOTYPE, OBJECT, PROGBITS, SECTION, WEAK, Image

NAMES = ("a", "b", "c")
SECTIONS = (".data", ".data.x")
WRITABLE = 3  # SHF_WRITE | SHF_ALLOC
STATIC, STRONG, WEAK_ONE, EXTERN, WEAK_EXTERN = "static", "strong", "weak", "extern", "weak extern"
DEFINED = (STRONG, WEAK_ONE)


@dataclass(frozen=True)
class Mention:
    """What one object says of a name; `padding` words lie in front of the variable."""

    kind: str
    value: int
    section: str
    padding: int


mentions = st.builds(
    Mention,
    st.sampled_from([STATIC, STRONG, WEAK_ONE, EXTERN, WEAK_EXTERN]),
    st.integers(0, 2**32 - 1),
    st.sampled_from(SECTIONS),
    st.integers(0, 3),
)
objects = st.lists(st.dictionaries(st.sampled_from(NAMES), mentions), min_size=1, max_size=5)


class Maker:
    """Writes one object: its variables, and a program that takes the address of each."""

    def __init__(self, number: int, order: str, said: dict[str, Mention]) -> None:
        self.order, self.said = order, said
        self.program = f"program{number}"
        self.image = Image(order)
        self.btf = BtfBuilder("little" if order == "<" else "big")
        self.u32 = self.btf.add(t.Int(name="u32", size=4, bits=32))
        self.data = {name: bytearray() for name in SECTIONS}
        self.members: dict[str, list[t.SectionVariable]] = {name: [] for name in SECTIONS}
        self.offsets: dict[str, int] = {}

    def made(self) -> bytes:
        for name, mention in self.said.items():
            self._place(name, mention)
        sections = {
            name: self.image.section(name, PROGBITS, bytes(data), flags=WRITABLE)
            for name, data in self.data.items()
            if data
        }
        starts = {name: self._section_symbol(number) for name, number in sections.items()}
        code, relocations = bytearray(), []
        for name, mention in self.said.items():
            if mention.kind == STATIC:
                symbol, distance = starts[mention.section], self.offsets[name]
            else:
                symbol, distance = self._symbol(name, mention, sections), 0
            relocations.append((len(code), symbol, 1))
            code += struct.pack(self.order + "BBhi8x", 0x18, 0, 0, distance)
        code += EXIT
        target = self.image.code("socket", bytes(code))
        self.image.symbol(self.program, target, 0, len(code))
        if relocations:
            index = self.image.relocations(target, *relocations)
            self.image.rows[index] = (".relsocket", *self.image.rows[index][1:])
        self._add_btf()
        return self.image.build()

    def _place(self, name: str, mention: Mention) -> None:
        linkage = {STATIC: t.Linkage.STATIC, STRONG: t.Linkage.GLOBAL, WEAK_ONE: t.Linkage.GLOBAL}
        found = linkage.get(mention.kind, t.Linkage.EXTERN)
        number = self.btf.add(t.Var(name=name, type_id=self.u32, linkage=found))
        if found is t.Linkage.EXTERN:
            return
        data = self.data[mention.section]
        data += bytes(4 * mention.padding)
        self.offsets[name] = len(data)
        data += mention.value.to_bytes(4, "little" if self.order == "<" else "big")
        # As clang does: only of static variables it says the place.
        place = self.offsets[name] if found is t.Linkage.STATIC else 0
        self.members[mention.section].append(t.SectionVariable(number, place, 4))

    def _section_symbol(self, number: int) -> int:
        return self.image.symbol("", number, 0, 0, SECTION, LOCAL)

    def _symbol(self, name: str, mention: Mention, sections: dict[str, int]) -> int:
        bind = WEAK if mention.kind in (WEAK_ONE, WEAK_EXTERN) else GLOBAL
        if mention.kind not in DEFINED:
            return self.image.symbol(name, 0, 0, 0, NOTYPE, bind)
        place = sections[mention.section], self.offsets[name]
        return self.image.symbol(name, *place, 4, OBJECT, bind)

    def _add_btf(self) -> None:
        prototype = self.btf.add(t.FuncProto(type_id=self.u32))
        self.btf.add(t.Func(name=self.program, type_id=prototype, linkage=t.Linkage.GLOBAL))
        for name, members in self.members.items():
            if members:
                # Kernels want another order, which linkers and loaders have to bring about.
                self.btf.add(t.Datasec(name=name, size=0, variables=tuple(reversed(members))))
        self.image.section(".BTF", PROGBITS, self.btf.to_bytes())


def expected(said: list[dict[str, Mention]]) -> dict[str, int | None] | None:
    """The value behind each global name, None where nothing defines it; None for a conflict."""
    found: dict[str, int | None] = {}
    for name in NAMES:
        mentioned = [one[name] for one in said if name in one and one[name].kind != STATIC]
        strong = [one.value for one in mentioned if one.kind == STRONG]
        weak = [one.value for one in mentioned if one.kind == WEAK_ONE]
        if len(strong) > 1:
            return None
        found[name] = next(iter([*strong, *weak]), None)
    return found


def value(spec: CollectionSpec, relocation: Relocation) -> int | None:
    """What is at the address that the instruction gets."""
    if relocation.kind is RelocationKind.EXTERN:
        return None
    assert relocation.kind is RelocationKind.DATA
    raw = spec.maps[relocation.target].read(relocation.offset, 4)
    return int.from_bytes(raw, spec.byte_order)


def values(spec: CollectionSpec, said: list[dict[str, Mention]]) -> list[dict[str, int | None]]:
    """By object: the value that its program finds under each name."""
    relocations = [spec.functions[f"program{number}"].relocations for number in range(len(said))]
    return [
        {name: value(spec, one) for name, one in zip(names, found, strict=True)}
        for names, found in zip(said, relocations, strict=True)
    ]


def wanted(
    said: list[dict[str, Mention]], shared: dict[str, int | None]
) -> list[dict[str, int | None]]:
    return [
        {name: m.value if m.kind == STATIC else shared[name] for name, m in one.items()}
        for one in said
    ]


@settings(deadline=None)
@given(said=objects, order=st.sampled_from("<>"), data=st.data())
def test_every_mention_leads_to_the_right_definition(
    said: list[dict[str, Mention]], order: str, data: st.DataObject
) -> None:
    """A wrong winner, or a right one at a wrong place; linking in two steps changes nothing."""
    files = [(f"{n}.o", Maker(n, order, one).made()) for n, one in enumerate(said)]
    shared = expected(said)
    if shared is None:
        with pytest.raises(LinkError, match=r"is defined in \d.o and in \d.o"):
            link(files)
        return
    spec = CollectionSpec.from_bytes(link(files))
    assert values(spec, said) == wanted(said, shared)
    externs = {name for one in said for name, m in one.items() if m.kind not in (STATIC, *DEFINED)}
    assert set(spec.externs) == {name for name in externs if shared[name] is None}
    first = data.draw(st.integers(1, len(files)))
    nested = CollectionSpec.from_bytes(link([("some", link(files[:first])), *files[first:]]))
    assert values(nested, said) == wanted(said, shared)


@settings(deadline=None)
@given(said=objects)
def test_variables_have_the_values_of_their_definitions(said: list[dict[str, Mention]]) -> None:
    """A variable whose place in the BTF is another than the program's, or out of order."""
    shared = expected(said)
    assume(shared is not None)
    assert shared is not None
    files = [(f"{n}.o", Maker(n, "<", one).made()) for n, one in enumerate(said)]
    spec = CollectionSpec.from_bytes(link(files))
    assert not spec.btf_fixups.sections
    found: dict[str, list[int]] = {name: [] for name in NAMES}
    for variable in spec.variables.values():
        found[variable.name].append(variable.value)
    for name in NAMES:
        static = [one[name].value for one in said if name in one and one[name].kind == STATIC]
        own = shared[name]
        assert sorted(found[name]) == sorted([*static, *([] if own is None else [own])])
