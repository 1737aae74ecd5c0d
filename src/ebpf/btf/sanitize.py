"""BTF for kernels that lack some of its kinds, and the smallest BTF that tells which they lack.

What a kernel does not know becomes something that it does know, of the same size and under the
same id, as libbpf does it: what programs and maps refer to stays in its place.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from enum import Enum

from ebpf.btf import types as t
from ebpf.btf.btf import Btf
from ebpf.btf.build import BtfBuilder
from ebpf.btf.edit import BtfEditor
from ebpf.btf.raw import KIND_LAYOUT, LAYOUT_HEADER, MAGIC, VERSION
from ebpf.errors import Version
from ebpf.patterns import Pattern
from ebpf.plain import replace

_NO_WORD = Pattern(r"(?a)\W")
_PLACEHOLDER = t.Int(name="enum64_placeholder", size=1, bits=8)
_INT = t.Int(name="int", size=4, bits=32, encoding=t.IntEncoding.SIGNED)


class Feature(Enum):
    """What BTF may contain that older kernels refuse; ``minimum_version`` has it first."""

    FUNC = "BTF_KIND_FUNC", (5, 0)
    DATASEC = "BTF_KIND_VAR and BTF_KIND_DATASEC", (5, 2)
    FUNC_GLOBAL = "linkage of BTF_KIND_FUNC", (5, 6)
    EMPTY_DATASEC = "BTF_KIND_DATASEC without variables", (5, 12)
    FLOAT = "BTF_KIND_FLOAT", (5, 13)
    DECL_TAG = "BTF_KIND_DECL_TAG", (5, 16)
    TYPE_TAG = "BTF_KIND_TYPE_TAG", (5, 17)
    ENUM64 = "BTF_KIND_ENUM64 and signed BTF_KIND_ENUM", (6, 0)
    QMARK_DATASEC = "names of BTF_KIND_DATASEC that begin with '?'", (6, 9)
    TAG_ATTRIBUTE = "kind_flag of BTF_KIND_DECL_TAG and BTF_KIND_TYPE_TAG", (6, 15)
    LAYOUT = "the layout section of BTF", (7, 1)

    @property
    def description(self) -> str:
        return self.value[0]

    @property
    def minimum_version(self) -> Version:
        return self.value[1]


def sanitize(btf: Btf, missing: Iterable[Feature]) -> bytes:
    """`btf` for a kernel without the features `missing`; every type keeps its id.

    At most one type is added, after the others. `btf` is not changed. Raises BtfError when
    `btf` is malformed, and for a section of more than 512 MiB that would have to be a struct.
    """
    missing = frozenset(missing)
    editor = BtfEditor(btf)
    if Feature.LAYOUT in missing:
        editor.drop_layout()
    rewriter = _Rewriter(editor, missing)
    for type_id in range(btf.start_id, btf.end_id):
        type = editor.type(type_id)
        rewritten = rewriter.rewrite(type)
        if rewritten is not type:
            editor.replace(type_id, rewritten)
    return editor.to_bytes()


class _Rewriter:
    def __init__(self, editor: BtfEditor, missing: frozenset[Feature]) -> None:
        self.editor = editor
        self.missing = missing

    def rewrite(self, type: t.Type) -> t.Type:
        """What stands for `type`: itself where the kernel knows it."""
        rule = _RULES.get(type.__class__)
        return rule(self, type) if rule else type

    def var(self, type: t.Var) -> t.Type:
        return _byte(type) if Feature.DATASEC in self.missing else type

    def decl_tag(self, type: t.DeclTag) -> t.Type:
        return _byte(type) if Feature.DECL_TAG in self.missing else self.attribute(type)

    def type_tag(self, type: t.TypeTag) -> t.Type:
        if Feature.TYPE_TAG in self.missing:
            return t.Const(type_id=type.type_id)
        return self.attribute(type)

    def attribute(self, type: t.DeclTag | t.TypeTag) -> t.Type:
        if type.is_attribute and Feature.TAG_ATTRIBUTE in self.missing:
            return replace(type, is_attribute=False)
        return type

    def datasec(self, type: t.Datasec) -> t.Type:
        empty = Feature.EMPTY_DATASEC in self.missing and not type.variables
        if empty or Feature.DATASEC in self.missing:
            # Variables have become ints of one byte, which fit wherever the variable did.
            members = tuple(
                t.Member(self.editor.type(type_id).name, type_id, 8 * offset)
                for type_id, offset, _ in type.variables
            )
            name = _NO_WORD.sub("_", type.name)
            return t.Struct(name=name, size=type.size, members=members)
        if Feature.QMARK_DATASEC in self.missing and type.name.startswith("?"):
            return replace(type, name="_" + type.name[1:])
        return type

    def func(self, type: t.Func) -> t.Type:
        if Feature.FUNC in self.missing:
            return t.Typedef(name=type.name, type_id=type.type_id)
        if Feature.FUNC_GLOBAL in self.missing and type.linkage != t.Linkage.STATIC:
            return replace(type, linkage=t.Linkage.STATIC)
        return type

    def func_proto(self, type: t.FuncProto) -> t.Type:
        if Feature.FUNC not in self.missing:
            return type
        # Parameters of function pointers have no names; enumerators must have one.
        values = tuple(t.Enumerator(name or "_", type_id) for name, type_id in type.parameters)
        return t.Enum(size=4, values=values)

    def float(self, type: t.Float) -> t.Type:
        # Without a name: "float" is a keyword, and the kernel knows no structs of that name.
        return t.Struct(size=type.size) if Feature.FLOAT in self.missing else type

    def enum(self, type: t.Enum) -> t.Type:
        if Feature.ENUM64 not in self.missing or not type.signed:
            return type
        values = tuple(t.Enumerator(name, value & 0xFFFFFFFF) for name, value in type.values)
        return replace(type, signed=False, values=values)

    def enum64(self, type: t.Enum64) -> t.Type:
        if Feature.ENUM64 not in self.missing:
            return type
        # The names of the values live on as members.
        placeholder = self.editor.add_once(_PLACEHOLDER)
        members = tuple(t.Member(name, placeholder, 0) for name, _ in type.values)
        return t.Union(name=type.name, size=type.size, members=members)


def _byte(type: t.Type) -> t.Int:
    """An int of one byte: a larger one might not fit the section that the variable is in."""
    return t.Int(name=type.name, size=1, bits=8)


_RULES: dict[type[t.Type], Callable[..., t.Type]] = {
    t.Var: _Rewriter.var,
    t.DeclTag: _Rewriter.decl_tag,
    t.TypeTag: _Rewriter.type_tag,
    t.Datasec: _Rewriter.datasec,
    t.Func: _Rewriter.func,
    t.FuncProto: _Rewriter.func_proto,
    t.Float: _Rewriter.float,
    t.Enum: _Rewriter.enum,
    t.Enum64: _Rewriter.enum64,
}


def probe_blob(feature: Feature) -> bytes:
    """The smallest BTF, in this machine's byte order, that a kernel accepts if it has `feature`.

    BPF_BTF_LOAD succeeds with it, or fails with EINVAL.
    """
    builder = BtfBuilder()
    number = builder.add(_INT)
    if feature is Feature.LAYOUT:
        return _with_layout(builder.to_bytes())
    if feature in (Feature.FUNC, Feature.FUNC_GLOBAL):
        prototype = builder.add(t.FuncProto(type_id=0, parameters=(t.Parameter("a", number),)))
        linkage = t.Linkage.GLOBAL if feature is Feature.FUNC_GLOBAL else t.Linkage.STATIC
        builder.add(t.Func(name="x", type_id=prototype, linkage=linkage))
    elif feature in (Feature.DATASEC, Feature.QMARK_DATASEC):
        variable = builder.add(t.Var(name="x", type_id=number))
        name = ".data" if feature is Feature.DATASEC else "?.data"
        where = (t.SectionVariable(variable, 0, 4),)
        builder.add(t.Datasec(name=name, size=4, variables=where))
    elif feature is Feature.EMPTY_DATASEC:
        builder.add(t.Datasec(name=".rodata", size=4))
    elif feature is Feature.FLOAT:
        builder.add(t.Float(name="float", size=4))
    elif feature is Feature.TYPE_TAG:
        builder.add(t.Pointer(type_id=builder.add(t.TypeTag(name="tag", type_id=number))))
    elif feature is Feature.ENUM64:
        builder.add(t.Enum64(name="enum64", size=8))
    else:
        variable = builder.add(t.Var(name="x", type_id=number))
        attribute = feature is Feature.TAG_ATTRIBUTE
        builder.add(t.DeclTag(name="tag", type_id=variable, is_attribute=attribute))
    return builder.to_bytes()


def _with_layout(data: bytes) -> bytes:
    """`data`, which is in this machine's byte order, with a layout section for kinds up to INT."""
    *_, type_len, _, str_len = struct.unpack_from("=HBBIIIII", data)
    types, strings = data[-str_len - type_len : -str_len], data[-str_len:]
    layout = struct.pack("=BBH", 0, 0, 0) + struct.pack("=BBH", *KIND_LAYOUT[t.Kind.INT], 0)
    total = type_len + len(layout)
    header = struct.pack(
        "=HBBIIIIIII",
        MAGIC,
        VERSION,
        0,
        LAYOUT_HEADER,
        0,
        type_len,
        total,
        str_len,
        type_len,
        len(layout),
    )
    return header + types + layout + strings
