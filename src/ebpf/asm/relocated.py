"""Instructions that the loader fits to the types of the running kernel (CO-RE)."""

from __future__ import annotations

from ebpf.asm.instruction import Instruction
from ebpf.asm.value import Value, set_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.btf import Btf
    from ebpf.btf.ext import CoreKind


class Access(Value):
    """What a relocation asks for: `kind` of the place `path` in the type `type_id` of `btf`.

    A path is as ``ebpf.btf.Layout`` takes it, and never leads through a pointer; that of an
    enumerator is its name, and that of a whole type empty.
    """

    __slots__ = ("btf", "kind", "path", "type_id")
    btf: Btf
    type_id: int
    path: str
    kind: CoreKind

    def __init__(self, btf: Btf, type_id: int, path: str, kind: CoreKind) -> None:
        set_field(self, "btf", btf)
        set_field(self, "type_id", type_id)
        set_field(self, "path", path)
        set_field(self, "kind", kind)

    def _key(self) -> tuple[object, ...]:
        return (id(self.btf), self.type_id, self.path, self.kind)

    def __repr__(self) -> str:
        name = self.btf.type(self.type_id).name
        return f"<Access {self.kind.name} of {name}{self.path and '.'}{self.path}>"


class Relocated(Instruction):
    """`instruction`, whose offset or immediate is that of `access` in whatever kernel loads it.

    What it holds until then is true of the BTF that it was made with.
    """

    __slots__ = ("access",)
    access: Access

    def __init__(self, instruction: Instruction, access: Access) -> None:
        for name in Instruction.__slots__:
            set_field(self, name, getattr(instruction, name))
        set_field(self, "access", access)

    def _key(self) -> tuple[object, ...]:
        return (*super()._key(), self.access)

    def __hash__(self) -> int:
        return super().__hash__()

    def plain(self) -> Instruction:
        """The same without the relocation."""
        copy = Instruction.__new__(Instruction)
        for name in Instruction.__slots__:
            set_field(copy, name, getattr(self, name))
        return copy

    def __reduce__(self) -> tuple[object, ...]:
        return Relocated, (self.plain(), self.access)
