"""The place that a relocation names: from ``"0:1:2"`` to members, array elements, enumerators."""

from __future__ import annotations

from collections.abc import Callable

from ebpf.btf import types as t
from ebpf.btf.btf import Btf
from ebpf.btf.core.names import ENUM_KINDS, TYPE_KINDS
from ebpf.btf.ext import CoreRelocation
from ebpf.errors import RelocationError
from ebpf.plain import NamedTuple, dataclass

# As libbpf and the kernel: no C type nests so deep.
MAX_ACCESSORS = 64
_MAXIMUM_DIGITS = 10
_MAXIMUM_INDEX = 0x7FFFFFFF
_MAXIMUM_BITS = 0xFFFFFFFF


class Accessor(NamedTuple):
    """One step of the way.

    ``type_id`` is the struct or union that directly holds a member (anonymous ones on the way to
    it are left out), the type of an array element, or the enum of an enumerator; ``position``
    counts there from 0. ``name`` is None for an array element.
    """

    type_id: int
    position: int
    name: str | None


@dataclass(frozen=True)
class Spec:
    """A place in the types of `btf`; ``bit_offset`` counts from the start of the root type.

    ``accessors`` is empty where the whole type is meant.
    """

    btf: Btf
    root_id: int
    accessors: tuple[Accessor, ...] = ()
    bit_offset: int = 0

    def path(self) -> str:
        """As C writes it: ``"a.b[3]"``, ``"[2].a"``; empty for the whole type."""
        parts = [f"[{self.accessors[0].position}]"] if self._shifted() else []
        for accessor in self.accessors[1:]:
            parts.append(f"[{accessor.position}]" if accessor.name is None else f".{accessor.name}")
        return "".join(parts).removeprefix(".")

    def _shifted(self) -> bool:
        first = self.accessors[:1]
        return bool(first and first[0].name is None and first[0].position)


def parse(btf: Btf, relocation: CoreRelocation) -> Spec:
    """What `relocation` refers to in `btf`, the object's own. Raises RelocationError, BtfError."""
    root, access, kind = relocation.type_id, relocation.access_string, relocation.kind
    if kind in TYPE_KINDS:
        if access != "0":
            raise RelocationError(f"access string {access!r} of a whole type, it is '0'")
        btf.type(root)
        return Spec(btf, root)
    indices = _indices(access)
    if kind in ENUM_KINDS:
        return _enumerator(btf, root, indices)
    return _field(btf, root, indices)


def _indices(access: str) -> list[int]:
    if len(access) > MAX_ACCESSORS * (_MAXIMUM_DIGITS + 1):
        raise RelocationError(f"access string {access[:80]!r}... of {len(access)} characters")
    parts = access.split(":")
    if not all(_is_number(part) for part in parts):
        raise RelocationError(f"access string {access[:80]!r} is not numbers joined by colons")
    if len(parts) > MAX_ACCESSORS:
        raise RelocationError(f"access string of more than {MAX_ACCESSORS} numbers")
    indices = [int(part) for part in parts]
    if max(indices) > _MAXIMUM_INDEX:
        raise RelocationError(f"access string {access[:80]!r}: {max(indices)} has over 31 bits")
    return indices


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAXIMUM_DIGITS


def _enumerator(btf: Btf, root: int, indices: list[int]) -> Spec:
    target = btf.resolve(root)
    if not isinstance(target, (t.Enum, t.Enum64)):
        raise RelocationError(f"it asks for an enumerator of a type of kind {target.kind.name}")
    if len(indices) > 1 or indices[0] >= len(target.values):
        numbers = ":".join(map(str, indices))
        raise RelocationError(f"access string {numbers!r} in {len(target.values)} enumerators")
    name = target.values[indices[0]].name
    return Spec(btf, root, (Accessor(target.id, indices[0], name),))


def _field(btf: Btf, root: int, indices: list[int]) -> Spec:
    target = btf.resolve(root)
    accessors = [Accessor(target.id, indices[0], None)]
    bit_offset = indices[0] * btf.sizeof(target.id) * 8
    for position, index in enumerate(indices[1:], 1):
        step = _STEPS.get(type(target))
        if step is None:
            raise RelocationError(
                f"number {position} of its access string leads into a type of kind "
                f"{target.kind.name}, which has no parts"
            )
        target, offset = step(btf, target, index, accessors)
        bit_offset += offset
    return Spec(btf, root, tuple(accessors), checked_bits(bit_offset))


def _member(
    btf: Btf, target: t.Struct | t.Union, index: int, accessors: list[Accessor]
) -> tuple[t.Type, int]:
    if index >= len(target.members):
        raise RelocationError(
            f"its access string asks for member {index} of {len(target.members)}"
            f" in {target.kind.name.lower()} {target.name or '(anonymous)'}"
        )
    member = target.members[index]
    if member.name:
        accessors.append(Accessor(target.id, index, member.name))
    return btf.resolve(member.type_id), member.bit_offset


def _element(
    btf: Btf, target: t.Array, index: int, accessors: list[Accessor]
) -> tuple[t.Type, int]:
    if index >= target.length and not is_flexible(btf, accessors[-1], target):
        raise RelocationError(
            f"its access string asks for element {index} of an array of {target.length}"
        )
    element = btf.resolve(target.type_id)
    accessors.append(Accessor(element.id, index, None))
    return element, index * btf.sizeof(element.id) * 8


_Step = Callable[[Btf, t.Type, int, list[Accessor]], tuple[t.Type, int]]
_STEPS: dict[type[t.Type], _Step] = {
    t.Struct: _member,  # type: ignore[dict-item]
    t.Union: _member,  # type: ignore[dict-item]
    t.Array: _element,  # type: ignore[dict-item]
}


def is_flexible(btf: Btf, before: Accessor, array: t.Array) -> bool:
    """Whether `array`, to which `before` led, is the last member and has no length."""
    if array.length or before.name is None:
        return False
    holder = btf.type(before.type_id)
    return isinstance(holder, (t.Struct, t.Union)) and before.position == len(holder.members) - 1


def checked_bits(bit_offset: int) -> int:
    """`bit_offset`, where the 32 bits that the format has for it can hold it."""
    if bit_offset > _MAXIMUM_BITS:
        raise RelocationError("the field lies more than 512 MiB from the start of its type")
    return bit_offset
