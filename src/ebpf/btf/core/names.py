"""Names as CO-RE compares them, and as messages show them."""

from __future__ import annotations

from ebpf.btf import types as t
from ebpf.btf.ext import CoreKind

_SEPARATOR = "___"

FIELD_KINDS = frozenset(
    {
        CoreKind.FIELD_BYTE_OFFSET,
        CoreKind.FIELD_BYTE_SIZE,
        CoreKind.FIELD_EXISTS,
        CoreKind.FIELD_SIGNED,
        CoreKind.FIELD_LSHIFT_U64,
        CoreKind.FIELD_RSHIFT_U64,
    }
)
TYPE_KINDS = frozenset(
    {
        CoreKind.TYPE_ID_LOCAL,
        CoreKind.TYPE_ID_TARGET,
        CoreKind.TYPE_EXISTS,
        CoreKind.TYPE_SIZE,
        CoreKind.TYPE_MATCHES,
    }
)
ENUM_KINDS = frozenset({CoreKind.ENUMVAL_EXISTS, CoreKind.ENUMVAL_VALUE})


def essential_name(name: str) -> str:
    """`name` without its flavour: what follows the last ``___`` that stands between other signs.

    >>> essential_name("task_struct___old")
    'task_struct'
    """
    position = name.rfind(_SEPARATOR)
    while position > 0:
        after = position + len(_SEPARATOR)
        if name[position - 1] != "_" and name[after : after + 1] not in ("", "_"):
            return name[:position]
        position = name.rfind(_SEPARATOR, 0, after - 1)
    return name


def same_name(local: str, target: str) -> bool:
    """Whether two names are one apart from their flavours; no name equals only no name."""
    return local == target or (
        bool(local and target) and essential_name(local) == essential_name(target)
    )


def kinds_compatible(local: t.Type, target: t.Type) -> bool:
    """Whether the kinds are the same; both kinds of enumerations count as one."""
    if isinstance(local, (t.Enum, t.Enum64)):
        return isinstance(target, (t.Enum, t.Enum64))
    return type(local) is type(target)


_WORDS = {t.Enum64: "enum", t.Func: "function", t.Pointer: "pointer", t.FuncProto: "function"}


def describe(type: t.Type) -> str:
    """``"struct task_struct"``, ``"int"``, ``"a pointer"``, ``"an anonymous union"``."""
    if isinstance(type, (t.Int, t.Float, t.Typedef, t.Void)) and type.name:
        return type.name
    if isinstance(type, t.Fwd):
        word = "union" if type.is_union else "struct"
    else:
        word = _WORDS.get(type.__class__, type.kind.name.lower())
    if type.name:
        return f"{word} {type.name}"
    if isinstance(type, (t.Pointer, t.FuncProto)):
        return f"a {word}"
    return f"an anonymous {word}" if isinstance(type, _TAGGED) else f"an unnamed {word}"


_TAGGED = (t.Struct, t.Union, t.Enum, t.Enum64, t.Fwd)
