"""What a relocation of each kind puts into its instruction, from a place in the types."""

from __future__ import annotations

from collections.abc import Callable

from ebpf.btf import types as t
from ebpf.btf.btf import Btf
from ebpf.btf.core.names import ENUM_KINDS, FIELD_KINDS, TYPE_KINDS
from ebpf.btf.core.spec import Spec
from ebpf.btf.ext import CoreKind
from ebpf.btf.raw import ByteOrder
from ebpf.errors import RelocationError
from ebpf.plain import NamedTuple, dataclass

_MASK = 0xFFFFFFFFFFFFFFFF
# libbpf counts shifts in 32 bits; those of fields over 8 bytes have no meaning, yet a value.
_MASK_32 = 0xFFFFFFFF
_SIGN = 1 << 31
# The largest load of BPF, in bytes.
_LARGEST_LOAD = 8


@dataclass(frozen=True)
class CoreResult:
    """What becomes of the instruction of one relocation. Values are 64 bits, unsigned.

    ``value`` goes into the instruction, which holds ``original`` before, to be checked where
    ``validate``. ``poison``: nothing in the target answers to it; the instruction must not run.
    ``original_size`` and ``size`` are those of the field in bytes, 0 where they don't matter; a
    load or store is adjusted from one to the other, unless ``fail_memsz_adjust``: then its meaning
    would change, and it is poisoned. ``target`` is the Btf of the first type that matched, and
    ``target_id`` its id there; None and 0 without one. ``byte_order`` is that of the code.
    """

    kind: int
    byte_order: ByteOrder
    value: int = 0
    original: int = 0
    validate: bool = True
    poison: bool = False
    fail_memsz_adjust: bool = False
    original_size: int = 0
    size: int = 0
    target: Btf | None = None
    target_id: int = 0


class Value(NamedTuple):
    """`size` and `type_id` are those of the field that is loaded or stored, else 0."""

    value: int
    validate: bool = True
    size: int = 0
    type_id: int = 0


def compute(kind: int, local: Spec, target: Spec | None, byte_order: ByteOrder) -> CoreResult:
    """The result for one matching type, or for none. Raises RelocationError, BtfError."""
    if kind == CoreKind.TYPE_ID_LOCAL:
        # Linkers renumber types without touching the instruction.
        return CoreResult(kind, byte_order, local.root_id, local.root_id, validate=False)
    original = value_of(kind, local, byte_order)
    if target is None:
        return CoreResult(
            kind,
            byte_order,
            original=original.value,
            validate=original.validate,
            poison=not _answers_absence(kind),
        )
    new = value_of(kind, target, byte_order)
    return CoreResult(
        kind,
        byte_order,
        new.value,
        original.value,
        original.validate,
        fail_memsz_adjust=not _adjustable(local.btf, original, target.btf, new),
        original_size=original.size,
        size=new.size,
        target=target.btf,
        target_id=target.root_id,
    )


def _answers_absence(kind: int) -> bool:
    """Whether 0 is the answer where nothing matches."""
    return kind in TYPE_KINDS or kind in (CoreKind.FIELD_EXISTS, CoreKind.ENUMVAL_EXISTS)


def _adjustable(local: Btf, original: Value, target: Btf, new: Value) -> bool:
    """Whether a load of the one may become a load of the other, which fills up with zeros."""
    if original.size == new.size:
        return True
    mine, theirs = local.type(original.type_id), target.type(new.type_id)
    if isinstance(mine, t.Pointer) and isinstance(theirs, t.Pointer):
        return True
    return (
        isinstance(mine, t.Int)
        and isinstance(theirs, t.Int)
        and mine.encoding != t.IntEncoding.SIGNED
        and theirs.encoding != t.IntEncoding.SIGNED
    )


def value_of(kind: int, spec: Spec, byte_order: ByteOrder) -> Value:
    """What `kind` asks of a place that exists. Raises RelocationError, BtfError."""
    if kind in FIELD_KINDS:
        if kind == CoreKind.FIELD_EXISTS:
            return Value(1)
        if spec.accessors[-1].name is None:
            return _element_value(kind, spec)
        return _member_value(kind, spec, byte_order)
    if kind in TYPE_KINDS:
        return _type_value(kind, spec)
    if kind in ENUM_KINDS:
        return _enumerator_value(kind, spec)
    raise RelocationError(f"its kind, {kind}, is unknown")


def _type_value(kind: int, spec: Spec) -> Value:
    if kind == CoreKind.TYPE_ID_TARGET:
        return Value(spec.root_id, validate=False)  # linkers renumber the types
    if kind == CoreKind.TYPE_SIZE:
        return Value(spec.btf.sizeof(spec.root_id))
    return Value(1)


def _enumerator_value(kind: int, spec: Spec) -> Value:
    if kind == CoreKind.ENUMVAL_EXISTS:
        return Value(1)
    accessor = spec.accessors[0]
    holder = spec.btf.type(accessor.type_id)
    assert isinstance(holder, (t.Enum, t.Enum64))
    value = holder.values[accessor.position].value
    if isinstance(holder, t.Enum):
        # As libbpf has it, also for unsigned enums. clang doesn't: an enumerator from 2**31 up in
        # the object's own enum fails the check of the old value, with libbpf and here.
        value = (value & _MASK_32 ^ _SIGN) - _SIGN
    return Value(value & _MASK)


def _element_value(kind: int, spec: Spec) -> Value:
    """For an array element, or the whole type that a pointer points to."""
    type_id = spec.accessors[-1].type_id
    if kind == CoreKind.FIELD_BYTE_OFFSET:
        return Value(spec.bit_offset // 8, True, _element_size(spec.btf, type_id), type_id)
    if kind == CoreKind.FIELD_BYTE_SIZE:
        return Value(spec.btf.sizeof(type_id))
    raise RelocationError("it ends in an array element, which has neither sign nor shift")


def _element_size(btf: Btf, type_id: int) -> int:
    """The size of one element where it is an array, of however many dimensions."""
    target = btf.resolve(type_id)
    for _ in range(64):
        if not isinstance(target, t.Array):
            return btf.sizeof(target.id)
        target = btf.resolve(target.type_id)
    raise RelocationError("an array of more than 64 dimensions")


class _Place(NamedTuple):
    """The bytes to load for a field, and which of their bits it is."""

    byte_offset: int
    byte_size: int
    bit_offset: int
    bit_size: int


def _member_value(kind: int, spec: Spec, byte_order: ByteOrder) -> Value:
    accessor = spec.accessors[-1]
    holder = spec.btf.type(accessor.type_id)
    assert isinstance(holder, (t.Struct, t.Union))
    member = holder.members[accessor.position]
    field = spec.btf.resolve(member.type_id)
    bits = member.bitfield_size
    place = _bitfield(spec, field, bits) if bits else _whole(spec, field)
    if kind == CoreKind.FIELD_BYTE_OFFSET:
        if bits:
            return Value(place.byte_offset, validate=False)
        return Value(place.byte_offset, True, _element_size(spec.btf, field.id), field.id)
    # Compilers may choose other bytes for a bitfield; its sign and its width they cannot.
    if kind == CoreKind.FIELD_BYTE_SIZE:
        return Value(place.byte_size, validate=not bits)
    if kind == CoreKind.FIELD_SIGNED:
        return Value(int(_signed(field)))
    if kind == CoreKind.FIELD_LSHIFT_U64:
        return Value(_SHIFT[byte_order](place) & _MASK_32, validate=not bits)
    return Value(64 - place.bit_size & _MASK_32)


def _signed(field: t.Type) -> bool:
    return isinstance(field, (t.Int, t.Enum, t.Enum64)) and field.signed


def _whole(spec: Spec, field: t.Type) -> _Place:
    size = spec.btf.sizeof(field.id)
    return _Place(spec.bit_offset // 8, size, spec.bit_offset, 8 * size)


def _bitfield(spec: Spec, field: t.Type, bits: int) -> _Place:
    """The smallest aligned load, from the size of the declared type up, that has all the bits."""
    size = field.size if isinstance(field, (t.Int, t.Enum, t.Enum64)) else 0
    if size not in (1, 2, 4, 8, 16):
        raise RelocationError(f"a bitfield of kind {field.kind.name} and {size} bytes")
    start = spec.bit_offset
    while True:
        byte_offset = start // 8 // size * size
        if start + bits <= 8 * (byte_offset + size):
            return _Place(byte_offset, size, start, bits)
        if size >= _LARGEST_LOAD:
            raise RelocationError(
                f"a bitfield of {bits} bits at bit {start} is in no aligned 64 bits"
            )
        size *= 2


def _shift_little(place: _Place) -> int:
    return 64 - (place.bit_offset + place.bit_size - 8 * place.byte_offset)


def _shift_big(place: _Place) -> int:
    return 8 * (8 - place.byte_size) + place.bit_offset - 8 * place.byte_offset


_SHIFT: dict[ByteOrder, Callable[[_Place], int]] = {
    "little": _shift_little,
    "big": _shift_big,
}
