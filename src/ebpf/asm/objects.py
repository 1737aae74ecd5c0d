"""Functions to a CollectionSpec, as a compiler makes one of C.

    spec = asm.collection(
        asm.Function("xdp_main", [..., call_local("parse"), ...], section="xdp"),
        asm.Function("int parse(struct xdp_md *ctx, u32 offset)", [...]),
        maps=[asm.TypedMap("counts", MapType.ARRAY, value="Q", max_entries=256)],
        license="GPL",
    )
    with spec.load() as objects: ...

The functions have types, line information and CO-RE relocations; maps are referred to by name.
"""

from __future__ import annotations

import struct
import sys

from ebpf import opcodes as op
from ebpf.asm.assemble import assemble, flatten
from ebpf.asm.check import check
from ebpf.asm.excerpt import Excerpt
from ebpf.asm.flow import refers_to_function
from ebpf.asm.instruction import Instruction, Label, describe_position
from ebpf.asm.lines import Lines, Piece, called_slot, pieces, placed
from ebpf.asm.map_defaults import KEYS, needed_flags
from ebpf.asm.map_defaults import value as default_value
from ebpf.asm.prototypes import Prototype, add_prototype, parse
from ebpf.asm.relocated import Relocated
from ebpf.asm.value import set_field
from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.btf.ext import CoreRelocation
from ebpf.btf.types import Linkage
from ebpf.codec import codec
from ebpf.codec.to_btf import add_codec
from ebpf.elf.sections import parse_section_name
from ebpf.errors import AsmError
from ebpf.patterns import Pattern
from ebpf.spec import (
    CollectionSpec,
    ExternKind,
    ExternSpec,
    FunctionSpec,
    MapSpec,
    ProgramSpec,
    Relocation,
    RelocationKind,
)
from ebpf.types import MapFlags, MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ebpf.asm.assemble import Assembly, SymbolKind
    from ebpf.asm.structs import BtfSource
    from ebpf.btf.raw import ByteOrder

_TEXT = ".text"
_NO_NUMBER = Pattern(r".*\*|(?:struct|union) ")


class Function:
    """A function of a program, and with a `section` a program.

    Args:
        prototype: its name, or its declaration: ``"static u32 hash(struct key *key, u32 seed)"``.
            The arguments are in R1 to R5. A function with a declaration that is not static is
            verified by itself, with the types of its parameters (Linux 5.6); others are verified
            at each call. The code of a name alone is as that of a static one.
        code: instructions and labels. Other functions are called by `call_local`, with the name;
            labels are this function's own.
        section: as SEC() in C: ``"xdp"``, ``"fentry/do_unlinkat"``; it says the type of the
            program, and where `attach` attaches it. Empty for what is only called.
    """

    def __init__(self, prototype: str, code: Iterable[Any], section: str = "") -> None:
        self.prototype: Prototype = parse(prototype)
        self.name: str = self.prototype.name
        self.section = section
        returns = self.prototype.returns
        # The kernel verifies those of programs by their types.
        if self.linkage is Linkage.GLOBAL and not section and _NO_NUMBER.match(returns):
            raise AsmError(
                f"prototype {prototype!r}: a function that is verified by itself returns a number,"
                f" not {returns!r}; put static in front"
            )
        self.code: tuple[Instruction | Label, ...] = tuple(flatten(code, "code"))

    def __repr__(self) -> str:
        return f"<Function {self.name}{self.section and ' in '}{self.section}>"

    @property
    def linkage(self) -> Linkage:
        # The kernel attaches to programs, and replaces functions, that are global.
        shown = bool(self.section) or (self.prototype.declared and not self.prototype.static)
        return Linkage.GLOBAL if shown else Linkage.STATIC


class TypedMap:
    """A map whose keys and values have types, as `ebpf.Map.create` takes them and supplies them.

        asm.TypedMap("counts", MapType.HASH, key="I", value="Q", max_entries=1024)
        asm.TypedMap("events", MapType.RINGBUF, value=Event, max_entries=1 << 18)

    The kernel and bpftool know them, and the loaded map gives and takes such values: numbers,
    tuples, records with the names of a dataclass's fields. Of a ring, `value` is its records.
    """

    def __init__(
        self,
        name: str,
        type: MapType,
        *,
        key: object = None,
        value: object = None,
        max_entries: int = 0,
        flags: MapFlags | int = 0,
    ) -> None:
        flags = MapFlags(flags) | needed_flags(type)
        key = KEYS.get(type) if key is None else key
        value = default_value(type, flags) if value is None else value
        self._key = None if key is None else codec(key)
        self._value = None if value is None else codec(value)
        sized = type is not MapType.RINGBUF
        self._spec = MapSpec(
            name,
            type,
            key_size=self._key.size if self._key else 0,
            value_size=self._value.size if self._value and sized else 0,
            max_entries=max_entries,
            flags=flags,
        )

    def spec(self, builder: BtfBuilder) -> MapSpec:
        """The map, with its types in `builder`."""
        made = self._spec.copy()
        made.key_type_id = add_codec(builder, self._key) if self._key else 0
        made.value_type_id = add_codec(builder, self._value) if self._value else 0
        return made


def collection(
    *functions: Function,
    maps: Iterable[MapSpec | TypedMap] = (),
    license: str = "",
    name: str = "",
    btf: BtfSource | None = None,
) -> CollectionSpec:
    """The spec of an object with these functions and maps.

    Args:
        functions: programs and what they call.
        maps: what the instructions name.
        license: "GPL", "Dual MIT/GPL", ...: some helpers are for GPL-compatible programs only.
        name: begins the names of data maps.
        btf: has the structs, enums and typedefs that prototypes name; the contexts of programs
            need none.

    Raises:
        AsmError: a function is there twice, or calls what is not there; a map is unknown; a
            section's name says no program type; and all that `assemble` raises.
    """
    made = _Collector(functions, maps, btf)
    spec = CollectionSpec(
        name=name, license=license, byte_order=made.byte_order, maps=dict(made.maps)
    )
    for function in functions:
        spec.functions.update(made.add(function))
        if function.section:
            spec.programs[function.name] = _program(function)
    spec.externs = made.externs
    spec.btf = made.finish(spec.functions)
    return spec


def _program(function: Function) -> ProgramSpec:
    section = parse_section_name(function.section)
    definition = section.definition
    if definition is None:
        raise AsmError(
            f"function {function.name}: section {function.section!r} is that of no program type;"
            " names are those of libbpf: 'xdp', 'tc', 'kprobe/FUNCTION', 'tp_btf/NAME', ..."
        )
    return ProgramSpec(
        name=function.name,
        function=function.name,
        section=section.name,
        type=definition.type,
        attach_type=definition.attach_type,
        attach=definition.attach,
        target=section.target,
        flags=definition.flags,
        autoload=section.autoload,
        btf_target=definition.btf_target,
    )


class _Collector:
    """The functions on their way into one spec, and the BTF that they share."""

    byte_order: ByteOrder = "little" if sys.byteorder == "little" else "big"

    def __init__(
        self,
        functions: tuple[Function, ...],
        maps: Iterable[MapSpec | TypedMap],
        btf: BtfSource | None,
    ) -> None:
        self._names: dict[str, Function] = {}
        for function in functions:
            if not isinstance(function, Function):
                raise TypeError(f"functions: {function!r} is not an asm.Function")
            if function.name in self._names:
                raise AsmError(f"functions: {function.name!r} is there twice")
            self._names[function.name] = function
        self._source = btf
        self._builder = BtfBuilder(self.byte_order)
        specs = [
            one.spec(self._builder) if isinstance(one, TypedMap) else one.copy() for one in maps
        ]
        self.maps = {spec.name: spec for spec in specs}
        self.externs: dict[str, ExternSpec] = {}
        self._excerpt = Excerpt(self._builder)
        self._lines = Lines(self._builder.string)
        # By key of a function: the slots whose instructions are relocated.
        self._accesses: dict[str, list[tuple[int, Relocated]]] = {}
        self._prototypes: dict[str, Prototype] = {}

    def add(self, function: Function) -> dict[str, FunctionSpec]:
        """The function, and those that begin at labels in it."""
        code, outside = self._cut(function)
        assembly = assemble(code, byteorder=self.byte_order, check=False)
        # A function that is no program, or replaces one that is none, has what its callers give it.
        is_called = not function.section or function.section.lstrip("?").startswith("freplace")
        check(assembly, arguments=5 if is_called else 1, outside=outside)
        for _, symbol, kind in assembly.symbols:
            self._add_extern(symbol, kind)
        found = {}
        for number, piece in enumerate(pieces(assembly, function.name)):
            if piece.name in found or (number and piece.name in self._names):
                raise AsmError(f"functions: {piece.name!r} is there twice")
            found[piece.name] = self._piece(function, assembly, piece, outside, number == 0)
        return found

    def _add_extern(self, name: str, kind: SymbolKind) -> None:
        """Something of the kernel, found when the object is loaded."""
        wanted = ExternKind.KFUNC if kind == "function" else ExternKind.TYPED_KSYM
        known = self.externs.setdefault(name, ExternSpec(name, wanted))
        if known.kind is not wanted:
            raise AsmError(f"{name!r} is used as a function and as a variable of the kernel")

    def _cut(self, function: Function) -> tuple[list[Any], dict[int, str]]:
        """The code with calls of other functions open, and {number of the instruction: callee}."""
        items = function.code
        labels = {item.name for item in items if isinstance(item, Label)}
        outside: dict[int, str] = {}
        code: list[Any] = []
        number = 0
        for item in items:
            if isinstance(item, Instruction):
                if (
                    refers_to_function(item)
                    and item.target is not None
                    and item.target not in labels
                ):
                    self._check_callee(function, item, labels)
                    outside[number] = item.target
                    item = _open(item)
                number += 1
            code.append(item)
        return code, outside

    def _check_callee(self, function: Function, item: Instruction, labels: set[str]) -> None:
        if item.target not in self._names:
            there = ", ".join([*self._names, *sorted(labels)])
            raise AsmError(
                f"{describe_position(item.position)}: {item}: function {function.name} refers to"
                f" {item.target!r}, which is no function or label; there are: {there}"
            )

    def _piece(
        self,
        function: Function,
        assembly: Assembly,
        piece: Piece,
        outside: dict[int, str],
        first: bool,
    ) -> FunctionSpec:
        records = self._lines.records(assembly, piece)
        packed = [struct.pack("=IIII", slot * 8, *rest) for slot, *rest in records]
        self._prototypes[piece.name] = (
            function.prototype if first else Prototype(piece.name, static=True, declared=False)
        )
        self._accesses[piece.name] = [
            (slot, instruction)
            for slot, instruction in placed(assembly, piece)
            if isinstance(instruction, Relocated)
        ]
        for _, instruction in self._accesses[piece.name]:
            self._excerpt.want(instruction.access)
        section = function.section.removeprefix("?") if first else ""
        return FunctionSpec(
            name=piece.name,
            section=section or _TEXT,
            offset=0,
            code=assembly.code[piece.start * 8 : piece.end * 8],
            linkage=function.linkage if first else Linkage.STATIC,
            relocations=tuple(self._relocations(assembly, piece, function, outside)),
            line_records=b"".join(packed),
            byte_order=self.byte_order,
        )

    def _relocations(
        self, assembly: Assembly, piece: Piece, function: Function, outside: dict[int, str]
    ) -> Iterable[Relocation]:
        inside = {one.start: one.name for one in pieces(assembly, function.name)}
        number = -1
        for slot, instruction in placed(assembly, Piece("", 0, len(assembly))):
            number += 1
            own = slot - piece.start
            if not 0 <= own < piece.end - piece.start:
                continue
            if instruction.map is not None:
                yield self._map(own, instruction)
            elif instruction.symbol is not None:
                call = instruction.opcode == op.CALL_OPCODE
                kind = RelocationKind.EXTERN_CALL if call else RelocationKind.EXTERN
                yield Relocation(own, kind, instruction.symbol)
            elif number in outside or refers_to_function(instruction):
                target = outside.get(number) or inside[called_slot(assembly, slot, instruction)]
                call = instruction.opcode == op.CALL_OPCODE
                kind = RelocationKind.CALL if call else RelocationKind.FUNCTION
                yield Relocation(own, kind, target)

    def _map(self, slot: int, instruction: Instruction) -> Relocation:
        where = f"{describe_position(instruction.position)}: {instruction}"
        if not isinstance(instruction.map, str):
            raise AsmError(
                f"{where}: name the map, and pass the map itself to load(maps={{name: map}})"
            )
        if instruction.map not in self.maps:
            there = ", ".join(self.maps) or "none"
            raise AsmError(f"{where}: no map {instruction.map!r} in maps; there are: {there}")
        if instruction.src == op.PSEUDO_MAP_VALUE:
            offset = instruction.imm >> 32
            return Relocation(slot, RelocationKind.DATA, instruction.map, offset)
        return Relocation(slot, RelocationKind.MAP, instruction.map)

    def finish(self, functions: dict[str, FunctionSpec]) -> Btf:
        """The BTF; gives the functions their types and CO-RE relocations."""
        for key, function in functions.items():
            prototype = add_prototype(self._builder, self._prototypes[key], self._source)
            func = t.Func(name=function.name, type_id=prototype, linkage=function.linkage)
            function.type_id = self._builder.add(func)
            function.core_relocations = tuple(
                CoreRelocation(
                    slot * 8,
                    *self._excerpt.place(instruction.access),
                    instruction.access.kind,
                    function.section,
                )
                for slot, instruction in self._accesses[key]
            )
        return self._builder.to_btf()


def _open(instruction: Instruction) -> Instruction:
    """A reference to a function elsewhere: out of reach, until the loader has put it in place."""
    copy = Instruction.__new__(Instruction)
    for name in Instruction.__slots__:
        set_field(copy, name, getattr(instruction, name))
    set_field(copy, "target", None)
    set_field(copy, "imm", 2**31 - 1)
    return copy
