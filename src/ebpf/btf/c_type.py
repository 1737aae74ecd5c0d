"""The names of types as C writes them, for messages and lists."""

from __future__ import annotations

from ebpf.btf import types as t
from ebpf.btf.c_names import scalar
from ebpf.btf.c_text import CText
from ebpf.btf.core.names import describe


class TypeNames(CText):
    """``"struct key *"``: ``TypeNames(btf).declare(type_id, "")``, and declarations likewise.

    Types go by their own names, and an anonymous struct is ``struct {...}``.
    """

    def _base(self, type: t.Type, level: int) -> str:
        if isinstance(type, (t.Int, t.Float)):
            return scalar(type)
        if isinstance(type, (t.Struct, t.Union, t.Enum, t.Enum64)) and not type.name:
            return f"{'enum' if isinstance(type, t.Enum64) else type.kind.name.lower()} {{...}}"
        return describe(type)
