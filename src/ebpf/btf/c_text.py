"""One declaration or definition as C."""

from __future__ import annotations

import json

from ebpf.btf import types as t
from ebpf.btf.btf import Btf
from ebpf.btf.c_layout import MAXIMUM_NESTING, CLayout
from ebpf.btf.c_names import Names, identifier, scalar
from ebpf.errors import BtfError

_QUALIFIERS = {t.Const: "const", t.Volatile: "volatile", t.Restrict: "restrict"}
# Pointers, arrays, qualifiers and functions in a row.
_MAXIMUM_CHAIN = 128
# What an enum takes without attributes is found by its values.
_ENUM_MODES = {1: "byte", 2: "HI", 4: "SI", 8: "DI"}
_INT_MIN, _INT_MAX, _UINT_MAX = -(1 << 31), (1 << 31) - 1, (1 << 32) - 1
_LONG_MIN = -(1 << 63)
# Characters: each part of each type makes room for as many, once; a line of a kernel's types has
# 25. Beyond that there is room for some repetition, of which every line costs something.
_PART, _LINE, _ROOM = 128, 32, 1 << 20


class CText:
    """Writes types of one BTF. Anonymous types are written out where they are used."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.names = Names()
        self.layout = CLayout(btf)
        # A few anonymous types inside each other can be written out in exponentially many ways,
        # and a thousand types can have one long name.
        self._room = _ROOM
        self._known: set[tuple[int, int]] = set()

    def declare(self, type_id: int, name: str, level: int = 0) -> str:
        """`name` declared to be of type `type_id`; an empty name gives the type alone."""
        if level > MAXIMUM_NESTING:
            raise BtfError(f"BTF type {type_id} is nested deeper than {MAXIMUM_NESTING}")
        declarator = name
        qualifiers: list[str] = []
        tags: list[str] = []
        current = type_id
        for _ in range(_MAXIMUM_CHAIN):
            type = self.btf.type(current)
            if isinstance(type, t.Pointer):
                declarator = _pointer([*qualifiers, *tags], declarator)
                qualifiers, tags = [], []
            elif isinstance(type, (t.Const, t.Volatile, t.Restrict)):
                qualifiers.append(_QUALIFIERS[type.__class__])
            elif isinstance(type, t.TypeTag):
                tags.append(_attribute(type))
            elif isinstance(type, (t.Array, t.FuncProto)):
                # gcc also qualifies arrays whose elements it has qualified, and functions that
                # do not return: C has no place for either.
                qualifiers, tags = [], []
                inner = f"({declarator})" if declarator.startswith("*") else declarator
                declarator = inner + self._suffix(type, level)
            else:
                parts = [*qualifiers, self._base(type, level), *tags, declarator]
                return " ".join(filter(None, parts))
            current = type.type_id
        raise BtfError(f"BTF type {type_id} leads through more than {_MAXIMUM_CHAIN} types")

    def define(self, type: t.Type) -> str:
        """The definition of a named type, or of an enum."""
        self.make_room(type, 0)
        text = self._definition(type)
        self.spend(type, _LINE + len(text))
        return text

    def forward(self, type: t.Type) -> str:
        """The declaration of a struct or union."""
        self.make_room(type, 0)
        text = self._tagged(type)
        self.spend(type, _LINE + len(text))
        return text

    def _definition(self, type: t.Type) -> str:
        if isinstance(type, (t.Struct, t.Union)):
            return self._composite(type, 0)
        if isinstance(type, (t.Enum, t.Enum64)):
            return self._enum(type, 0)
        if isinstance(type, t.Typedef):
            if type.name == "__gnuc_va_list" and not type.type_id:  # as old gcc describes it
                return f"typedef __builtin_va_list {self.names.typedef(type)}"
            return f"typedef {self.declare(type.type_id, self.names.typedef(type))}"
        return self._tagged(type)

    def _suffix(self, type: t.Array | t.FuncProto, level: int) -> str:
        if isinstance(type, t.Array):
            return f"[{type.length}]"
        self.make_room(type, len(type.parameters))
        parameters = []
        for parameter in type.parameters:
            name = parameter.name and identifier(parameter.name)
            parameters.append(self.declare(parameter.type_id, name, level + 1))
            self.spend(type, _LINE + len(parameters[-1]))
        if len(parameters) > 1 and not type.parameters[-1].type_id:
            parameters[-1] = "..."
        return f"({', '.join(parameters) or 'void'})"

    def _base(self, type: t.Type, level: int) -> str:
        if level > MAXIMUM_NESTING:
            raise BtfError(f"BTF type {type.id} is nested deeper than {MAXIMUM_NESTING}")
        if isinstance(type, t.Void):
            return "void"
        if isinstance(type, (t.Int, t.Float)):
            return scalar(type)
        if isinstance(type, t.Typedef):
            return self.names.typedef(type)
        if isinstance(type, (t.Struct, t.Union)) and not type.name:
            return self._composite(type, level)
        if isinstance(type, (t.Enum, t.Enum64)) and not type.name:
            return self._enum(type, level)
        return self._tagged(type)

    def _tagged(self, type: t.Type) -> str:
        """``struct name``, and its like."""
        if isinstance(type, (t.Enum, t.Enum64)):
            keyword, defines = "enum", bool(type.values)
        elif isinstance(type, t.Fwd):
            keyword, defines = "union" if type.is_union else "struct", False
        elif isinstance(type, (t.Struct, t.Union)):
            keyword, defines = type.kind.name.lower(), True
        else:
            raise BtfError(f"BTF type {type.id} is {type.kind.name}, where C has only data types")
        return f"{keyword} {self.names.tag(type, keyword, defines)}" if type.name else keyword

    def _composite(self, composite: t.Struct | t.Union, level: int) -> str:
        indent = "\t" * (level + 1)
        lines = []
        self.make_room(composite, len(composite.members))
        for line in self.layout.lines(composite):
            text = line if isinstance(line, str) else self._member(line, level + 1)
            lines.append(f"{indent}{text}\n")
            self.spend(composite, _LINE + len(lines[-1]))
        body = "\n" + "".join(lines) + "\t" * level if lines else ""
        packed = " __attribute__((packed))" if self.layout.shape(composite).packed else ""
        return f"{self._tagged(composite)} {{{body}}}{packed}"

    def _member(self, member: t.Member, level: int) -> str:
        width = self.layout.place(member).width
        name = identifier(member.name) if member.name else ""
        return self.declare(member.type_id, name, level) + (f": {width};" if width else ";")

    def _enum(self, enum: t.Enum | t.Enum64, level: int) -> str:
        head = self._tagged(enum)
        if not enum.values:
            return head
        indent = "\t" * (level + 1)
        lines = []
        self.make_room(enum, len(enum.values))
        for name, value in enum.values:
            lines.append(f"{indent}{self.names.ordinary(name)} = {_number(enum, value)},\n")
            self.spend(enum, _LINE + len(lines[-1]))
        return f"{head} {{\n{''.join(lines)}{chr(9) * level}}}{_enum_mode(enum)}"

    def make_room(self, type: t.Type, parts: int) -> None:
        """For what `type` says, once: its text has room however many types there are."""
        if (type.id, parts) not in self._known:
            self._known.add((type.id, parts))
            self._room += _PART * (parts + 1)

    def spend(self, type: t.Type, cost: int) -> None:
        """Takes room for `cost` characters. Raises BtfError where none is left."""
        self._room -= cost
        if self._room < 0:
            raise BtfError(
                f"BTF type {type.id}: its anonymous types or its long names repeat so often that "
                "the C would not end"
            )


def _pointer(qualifiers: list[str], declarator: str) -> str:
    if not qualifiers:
        return f"*{declarator}"
    return " ".join(filter(None, ["*", *qualifiers, declarator]))


def _attribute(tag: t.TypeTag) -> str:
    if tag.is_attribute:
        return f"__attribute__(({tag.name}))"
    return f"__attribute__((btf_type_tag({json.dumps(tag.name)})))"


def _number(enum: t.Enum | t.Enum64, value: int) -> str:
    if isinstance(enum, t.Enum):
        return str(value)
    if value == _LONG_MIN:  # the number without its sign does not fit
        return f"({value + 1}LL - 1)"
    return f"{value}{'LL' if enum.signed else 'ULL'}"


def _enum_mode(enum: t.Enum | t.Enum64) -> str:
    """The attribute that gives `enum` its size, where its values do not."""
    values = [value for _, value in enum.values]
    low, high = min(values), max(values)
    small = low >= _INT_MIN and high <= (_INT_MAX if low < 0 else _UINT_MAX)
    if enum.size == (4 if small else 8):
        return ""
    if enum.size not in _ENUM_MODES:
        raise BtfError(f"BTF type {enum.id}: an enum of {enum.size} bytes, C has 1, 2, 4 and 8")
    return f" __attribute__((mode({_ENUM_MODES[enum.size]})))"
