"""One immutable class per BTF kind, up to those of Linux 7.3 (uapi linux/btf.h).

A type refers to others by id, as the format does: ``Btf.type(id)`` decodes what an id stands
for. So a type is a plain value, can be built by hand, and holds nothing else in memory. Its own
``id`` takes no part in comparison: two types are equal when they say the same.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from ebpf.plain import NamedTuple, dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class Kind(IntEnum):
    """``BTF_KIND_*``; 0, which the kernel calls UNKN, stands for void."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14  # Linux 5.2
    DATASEC = 15  # Linux 5.2
    FLOAT = 16  # Linux 5.13
    DECL_TAG = 17  # Linux 5.16
    TYPE_TAG = 18  # Linux 5.17
    ENUM64 = 19  # Linux 6.0


class IntEncoding(IntFlag):
    """``BTF_INT_*``: how the bits of an integer are meant."""

    SIGNED = 1
    CHAR = 2
    BOOL = 4


_UNSIGNED = IntEncoding(0)


class Linkage(IntEnum):
    """``BTF_FUNC_*`` and ``BTF_VAR_*``, whose numbers agree."""

    STATIC = 0
    GLOBAL = 1
    EXTERN = 2

    @classmethod
    def _missing_(cls, value: object) -> Linkage | None:
        """A linkage that a newer format may have keeps its number."""
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_ = f"UNKNOWN_{value}"
        member._value_ = value
        return member


class Member(NamedTuple):
    """One member of a struct or union.

    ``name`` is empty for an anonymous member. ``bit_offset`` counts bits from the start of the
    struct. ``bitfield_size`` is the width in bits, and 0 for what is no bitfield.
    """

    name: str
    type_id: int
    bit_offset: int
    bitfield_size: int = 0


class Enumerator(NamedTuple):
    name: str
    value: int


class Parameter(NamedTuple):
    """One parameter of a function; an empty name with type id 0 at the end means varargs."""

    name: str
    type_id: int


class SectionVariable(NamedTuple):
    """Where a variable lies in its section; ``offset`` and ``size`` in bytes."""

    type_id: int
    offset: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Type:
    """What every kind has. ``name`` is empty for an anonymous type."""

    kind: ClassVar[Kind]
    name: str = ""
    id: int = field(default=0, compare=False)


@dataclass(frozen=True, kw_only=True)
class Void(Type):
    """Type id 0."""

    kind: ClassVar[Kind] = Kind.VOID


@dataclass(frozen=True, kw_only=True)
class Int(Type):
    """An integer of `size` bytes; its value is `bits` wide and starts `bit_offset` bits in."""

    kind: ClassVar[Kind] = Kind.INT
    size: int
    bits: int
    bit_offset: int = 0
    encoding: IntEncoding = _UNSIGNED

    @property
    def signed(self) -> bool:
        return bool(self.encoding & IntEncoding.SIGNED)


@dataclass(frozen=True, kw_only=True)
class Pointer(Type):
    kind: ClassVar[Kind] = Kind.PTR
    type_id: int


@dataclass(frozen=True, kw_only=True)
class Array(Type):
    """`length` elements of type `type_id`; length 0 is a flexible array."""

    kind: ClassVar[Kind] = Kind.ARRAY
    type_id: int
    index_type_id: int
    length: int


@dataclass(frozen=True, kw_only=True)
class Composite(Type):
    """What struct and union share; ``size`` in bytes.

    ``kind_flag`` says that the members carry bitfield sizes. Without it a bitfield shows only in
    the type of the member, an Int with fewer bits than its size (compilers before 2019).
    """

    size: int
    members: tuple[Member, ...] = ()
    kind_flag: bool = False


@dataclass(frozen=True, kw_only=True)
class Struct(Composite):
    kind: ClassVar[Kind] = Kind.STRUCT


@dataclass(frozen=True, kw_only=True)
class Union(Composite):
    kind: ClassVar[Kind] = Kind.UNION


@dataclass(frozen=True, kw_only=True)
class Enum(Type):
    """An enumeration whose values fit 32 bits.

    ``signed`` is the kind_flag of Linux 6.0; older producers never set it, so their negative
    values read as large ones.
    """

    kind: ClassVar[Kind] = Kind.ENUM
    size: int
    signed: bool = False
    values: tuple[Enumerator, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Enum64(Type):
    """An enumeration of 64-bit values."""

    kind: ClassVar[Kind] = Kind.ENUM64
    size: int
    signed: bool = False
    values: tuple[Enumerator, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Fwd(Type):
    """A struct or union that is declared and not defined."""

    kind: ClassVar[Kind] = Kind.FWD
    is_union: bool = False


@dataclass(frozen=True, kw_only=True)
class Typedef(Type):
    kind: ClassVar[Kind] = Kind.TYPEDEF
    type_id: int


@dataclass(frozen=True, kw_only=True)
class Volatile(Type):
    kind: ClassVar[Kind] = Kind.VOLATILE
    type_id: int


@dataclass(frozen=True, kw_only=True)
class Const(Type):
    kind: ClassVar[Kind] = Kind.CONST
    type_id: int


@dataclass(frozen=True, kw_only=True)
class Restrict(Type):
    kind: ClassVar[Kind] = Kind.RESTRICT
    type_id: int


@dataclass(frozen=True, kw_only=True)
class Func(Type):
    """A function; `type_id` is its FuncProto."""

    kind: ClassVar[Kind] = Kind.FUNC
    type_id: int
    linkage: Linkage = Linkage.STATIC


@dataclass(frozen=True, kw_only=True)
class FuncProto(Type):
    """A function's signature; `type_id` is what it returns."""

    kind: ClassVar[Kind] = Kind.FUNC_PROTO
    type_id: int
    parameters: tuple[Parameter, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Var(Type):
    kind: ClassVar[Kind] = Kind.VAR
    type_id: int
    linkage: Linkage = Linkage.STATIC


@dataclass(frozen=True, kw_only=True)
class Datasec(Type):
    """The variables of an ELF section; `size` in bytes, 0 until the loader fills it in."""

    kind: ClassVar[Kind] = Kind.DATASEC
    size: int
    variables: tuple[SectionVariable, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Float(Type):
    kind: ClassVar[Kind] = Kind.FLOAT
    size: int


@dataclass(frozen=True, kw_only=True)
class DeclTag(Type):
    """A tag (`name`) on a declaration.

    ``component_index`` is the member or parameter it sits on, -1 for the declaration itself.
    ``is_attribute``: the name is an ``__attribute__``, no btf_decl_tag (Linux 6.15).
    """

    kind: ClassVar[Kind] = Kind.DECL_TAG
    type_id: int
    component_index: int = -1
    is_attribute: bool = False


@dataclass(frozen=True, kw_only=True)
class TypeTag(Type):
    """A tag (`name`) on the type `type_id`; ``is_attribute`` as in DeclTag."""

    kind: ClassVar[Kind] = Kind.TYPE_TAG
    type_id: int
    is_attribute: bool = False


@dataclass(frozen=True, kw_only=True)
class Unknown(Type):
    """A type of a kind that this library does not know, which the layout section describes.

    ``kind_number`` is the kind, ``size_or_type`` the third word of ``struct btf_type``, and
    ``body`` the bytes after it, in the byte order of the BTF. ``kind`` is VOID for want of a name.
    """

    kind: ClassVar[Kind] = Kind.VOID
    kind_number: int
    kind_flag: bool = False
    vlen: int = 0
    size_or_type: int = 0
    body: bytes = b""


VOID = Void(name="void")

# Kinds that give another type a name or a qualifier and change nothing of its layout.
Modifier = Typedef | Volatile | Const | Restrict | TypeTag
MODIFIERS = (Typedef, Volatile, Const, Restrict, TypeTag)
