"""Classes for the structs of an object: dataclasses where C's layout rules make the same of them.

A struct with bit fields, unions, unnamed or packed members, or names that Python does not allow is
a `Record`, which reads each field where BTF says that it is.
"""

from __future__ import annotations

import json

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.c_type import TypeNames
from ebpf.codec.btf_nodes import RESERVED
from ebpf.codegen.names import class_name, hidden, is_field, quoted
from ebpf.errors import CodecError
from ebpf.plain import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SIZES = (1, 2, 4, 8)
_ORDERED = {f"__be{bits}": f"be{bits}" for bits in (16, 32, 64)}
_FLOATS = {4: "f32", 8: "f64"}


class Spelling(NamedTuple):
    """How a C type is written in Python.

    ``plain`` is the type of its values, ``annotation`` what a dataclass says of a field, ``""``
    where no dataclass can hold it. ``custom``: a class of the module is part of it. ``padding``:
    no field of the struct, but the bytes between two.
    """

    plain: str
    annotation: str
    size: int
    align: int
    custom: bool = False
    padding: bool = False

    @property
    def codec(self) -> str:
        """What makes a codec of it; ``None`` where BTF alone makes the same."""
        return (self.annotation or self.plain) if self.custom else "None"


class Records:
    """The classes for structs of `btf`, each written before those that need it.

    ``texts`` are their definitions; no class is called by a name of `taken`.
    """

    def __init__(self, btf: Btf, taken: Iterable[str] = ()) -> None:
        self._btf = btf
        self._names = TypeNames(btf)
        self._typedefs = _typedefs(btf)
        self._known: dict[int, Spelling] = {}
        self._taken = set(taken)
        self.texts: list[str] = []
        self.has_records = False

    def spell(self, type_id: int) -> Spelling:
        """The spelling of a type, whose classes are defined if they are not.

        Raises CodecError for a type that has no values.
        """
        ordered = self._ordered(type_id)
        if ordered:
            size = int(ordered[2:]) // 8
            return Spelling("int", ordered, size, size)
        target = self._btf.resolve(type_id)
        if isinstance(target, t.Var):
            return self.spell(target.type_id)
        if isinstance(target, t.Int):
            return _integer(target)
        if isinstance(target, t.Pointer):
            return _number(self._btf.pointer_size, False)
        if isinstance(target, (t.Enum, t.Enum64)):
            return _number(target.size, target.signed)
        if isinstance(target, t.Float):
            return _float(target)
        if isinstance(target, t.Array):
            return self._array(target)
        if isinstance(target, (t.Struct, t.Union)):
            return self._composite(target)
        raise CodecError(f"{self._names.declare(type_id, '')} has no values")

    def c_name(self, target: t.Struct | t.Union) -> str:
        """``struct key``, or ``key_t`` where only a typedef names it; ``""`` where nothing does."""
        if target.name:
            return self._names.declare(target.id, "")
        return self._typedefs.get(target.id, "")

    def _ordered(self, type_id: int) -> str:
        target = self._btf.type(type_id)
        while isinstance(target, (t.Typedef, *t.MODIFIERS)):
            if isinstance(target, t.Typedef) and target.name in _ORDERED:
                return _ORDERED[target.name]
            target = self._btf.type(target.type_id)
        return ""

    def _array(self, target: t.Array) -> Spelling:
        element = self._btf.resolve(target.type_id)
        count = target.length
        if count and isinstance(element, t.Int) and element.size == 1 and element.bits == 8:
            if element.name == "char" or element.encoding & t.IntEncoding.CHAR:
                return Spelling("bytes", f"Annotated[bytes, Char({count})]", count, 1)
            if not element.encoding:
                return Spelling("bytes", f"Annotated[bytes, Raw({count})]", count, 1)
        inner = self.spell(target.type_id)
        plain = f"tuple[{inner.plain}, ...]" if count and inner.size else "Any"
        if not count or not inner.annotation:
            plain = "Any" if inner.custom else plain
            return Spelling(plain, "", count * inner.size, inner.align)
        annotation = f"Annotated[{plain}, Array({inner.annotation}, {count})]"
        return Spelling(plain, annotation, count * inner.size, inner.align, inner.custom)

    def _composite(self, target: t.Struct | t.Union) -> Spelling:
        found = self._known.get(target.id)
        if found is None:
            fields = self._fields(target)
            found = self._record(target) if fields is None else self._dataclass(target, fields)
            self._known[target.id] = found
        return found

    def _fields(self, target: t.Struct | t.Union) -> list[tuple[str, Spelling]] | None:
        """The fields as a dataclass has them, padding included; None where it cannot."""
        fields: list[tuple[str, Spelling]] = []
        end, align = 0, 1
        if isinstance(target, t.Union):
            return None
        for member in target.members:
            if not is_field(member.name) or member.bitfield_size or member.bit_offset % 8:
                return None
            spelling, offset = self.spell(member.type_id), member.bit_offset // 8
            natural = -(-end // spelling.align) * spelling.align
            if not spelling.annotation or not spelling.size or natural > offset:
                return None
            if natural < offset:
                fields.append((f"_padding{len(fields)}", _padding(offset - end)))
            fields.append((member.name, spelling))
            end, align = offset + spelling.size, max(align, spelling.align)
        natural = -(-end // align) * align
        if natural > target.size or not fields:
            return None
        if natural < target.size:
            fields.append((f"_padding{len(fields)}", _padding(target.size - end)))
        names = [name for name, _ in fields]
        annotations = [spelling.annotation for _, spelling in fields]
        return None if hidden(names, "field", *annotations) else fields

    def _dataclass(
        self, target: t.Struct | t.Union, fields: list[tuple[str, Spelling]]
    ) -> Spelling:
        c_name = self.c_name(target)
        name = class_name(target.name or c_name, self._taken)
        declared = c_name or self._names.declare(target.id, "")
        lines = [
            "@dataclass(frozen=True)",
            f"class {name}:",
            f'    """``{quoted(declared)}``, {target.size} bytes."""',
            "",
        ]
        for field, spelling in fields:
            default = ' = field(init=False, default=b"", repr=False)' if spelling.padding else ""
            lines.append(f"    {field}: {spelling.annotation}{default}")
        self.texts.append("\n".join(lines))
        align = max(spelling.align for _, spelling in fields)
        return Spelling(name, name, target.size, align, custom=True)

    def _record(self, target: t.Struct | t.Union) -> Spelling:
        c_name = self.c_name(target)
        if not c_name:
            return Spelling("Any", "", target.size, 1)
        self.has_records = True
        name = class_name(target.name or c_name, self._taken)
        members = [
            (member.name, self._field_type(member.type_id))
            for member in target.members
            if is_field(member.name) and member.name not in RESERVED
        ]
        lost = hidden([name for name, _ in members], "self more Any", *(k for _, k in members))
        members = [(name, kind) for name, kind in members if name not in lost]
        lines = [
            "if TYPE_CHECKING:",
            "",
            f"    class {name}(Record):",
            f'        """``{quoted(c_name)}``, {target.size} bytes; also ``["NAME"]``."""',
            "",
            *(f"        {field}: {kind}" for field, kind in members),
            *([""] if members else []),
            *_constructor(members),
            "",
            "else:",
            f"    {name} = record(_SPEC, {json.dumps(c_name)})",
        ]
        self.texts.append("\n".join(lines))
        return Spelling(name, "", target.size, 1, custom=True)

    def _field_type(self, type_id: int) -> str:
        """The type of a Record's field, whose own structs are Records without a class here."""
        target = self._btf.resolve(type_id)
        while isinstance(target, t.Array):
            target = self._btf.resolve(target.type_id)
        if isinstance(target, (t.Struct, t.Union, t.Func, t.FuncProto, t.Void, t.Fwd)):
            return "Any"
        return self.spell(type_id).plain


def _typedefs(btf: Btf) -> dict[int, str]:
    """The first name of each struct and union that has one by a typedef alone."""
    found: dict[int, str] = {}
    for one in btf.types():
        if isinstance(one, t.Typedef):
            target = btf.resolve(one.id)
            if isinstance(target, (t.Struct, t.Union)) and not target.name:
                found.setdefault(target.id, one.name)
    return found


def _constructor(members: list[tuple[str, str]]) -> list[str]:
    """Each field by its name, or left out; those that have no name in Python by ``**``."""
    parameters = [f"            {field}: {kind} = ...," for field, kind in members]
    named = ["            *,", *parameters] if members else []
    return [
        "        def __init__(",
        "            self,",
        *named,
        "            **more: Any,",
        "        ) -> None: ...",
    ]


def _padding(size: int) -> Spelling:
    return Spelling("bytes", f"Annotated[bytes, Pad({size})]", size, 1, padding=True)


def _number(size: int, signed: bool) -> Spelling:
    if size not in _SIZES:
        return Spelling("int", "", size, min(size, 16))
    return Spelling("int", f"{'s' if signed else 'u'}{8 * size}", size, size)


def _integer(target: t.Int) -> Spelling:
    if target.encoding & t.IntEncoding.BOOL and target.size == 1:
        return Spelling("bool", "bool", 1, 1)
    return _number(target.size, target.signed)


def _float(target: t.Float) -> Spelling:
    name = _FLOATS.get(target.size, "")
    return Spelling("float" if name else "Any", name, target.size, target.size)
