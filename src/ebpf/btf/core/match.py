"""Whether a type of the target has what a relocation asks for, and where."""

from __future__ import annotations

from ebpf.btf import types as t
from ebpf.btf.btf import MAX_RESOLVE_DEPTH, Btf
from ebpf.btf.core.candidates import enumerators, members
from ebpf.btf.core.names import essential_name, kinds_compatible, same_name
from ebpf.btf.core.spec import Accessor, Spec, checked_bits, is_flexible
from ebpf.errors import RelocationError
from ebpf.plain import NamedTuple


class Mismatch(NamedTuple):
    """Why a candidate does not match.

    ``step`` is the accessor of the local spec that has no counterpart in the type `type_id`;
    ``member_type_id`` is the type of the member that has its name and another type, else None.
    """

    step: int
    type_id: int
    member_type_id: int | None = None


def match_field(local: Spec, target: Btf, root_id: int) -> Spec | Mismatch:
    """The place in the type `root_id` that answers to `local`. Raises RelocationError, BtfError."""
    accessors: list[Accessor] = []
    bit_offset = 0
    type_id = root_id
    for step, accessor in enumerate(local.accessors):
        holder = target.resolve(type_id)
        if accessor.name is not None:
            found = _match_member(local.btf, accessor, target, holder)
            if not isinstance(found, Accessor):
                return Mismatch(step, holder.id, found)
            member = members(target, holder)[accessor.name]  # type: ignore[arg-type]
            bit_offset += member.bit_offset
            type_id = member.member.type_id
            accessors.append(found)
            continue
        element = holder if step == 0 else _element(target, holder, accessor, accessors)
        if element is None:
            return Mismatch(step, holder.id)
        type_id = element.id
        bit_offset += accessor.position * target.sizeof(type_id) * 8
        accessors.append(Accessor(type_id, accessor.position, None))
    return Spec(target, root_id, tuple(accessors), checked_bits(bit_offset))


def _match_member(
    local: Btf, accessor: Accessor, target: Btf, holder: t.Type
) -> Accessor | int | None:
    """The counterpart of `accessor`; the type of a member that only has its name; or None."""
    if not isinstance(holder, (t.Struct, t.Union)):
        return None
    found = members(target, holder).get(accessor.name or "")
    if found is None:
        return None
    composite = local.type(accessor.type_id)
    assert isinstance(composite, (t.Struct, t.Union))
    own = composite.members[accessor.position].type_id
    if not fields_are_compat(local, own, target, found.member.type_id):
        return found.member.type_id
    return Accessor(found.type_id, found.position, accessor.name)


def _element(
    target: Btf, holder: t.Type, accessor: Accessor, before: list[Accessor]
) -> t.Type | None:
    if not isinstance(holder, t.Array):
        return None
    if accessor.position >= holder.length and not is_flexible(target, before[-1], holder):
        return None
    return target.resolve(holder.type_id)


def fields_are_compat(local: Btf, local_id: int, target: Btf, target_id: int) -> bool:
    """Whether one field may stand for the other.

    Structs and unions may, whatever they hold; so may pointers, floats, and integers of any size
    and sign; forward declarations and enums of one name or none; arrays of any length if their
    elements may. Raises RelocationError for arrays nested too deeply, BtfError.
    """
    for _ in range(MAX_RESOLVE_DEPTH):
        mine, theirs = local.resolve(local_id), target.resolve(target_id)
        if isinstance(mine, (t.Struct, t.Union)):
            return isinstance(theirs, (t.Struct, t.Union))
        if not kinds_compatible(mine, theirs):
            return False
        if not (isinstance(mine, t.Array) and isinstance(theirs, t.Array)):
            return _leaves_are_compat(mine, theirs)
        local_id, target_id = mine.type_id, theirs.type_id
    raise RelocationError(f"arrays nested more than {MAX_RESOLVE_DEPTH} deep")


def _leaves_are_compat(mine: t.Type, theirs: t.Type) -> bool:
    """For types of compatible kinds."""
    if isinstance(mine, t.Int) and isinstance(theirs, t.Int):
        # Bitfields as old compilers described them.
        return mine.bit_offset == theirs.bit_offset == 0
    if isinstance(mine, (t.Fwd, t.Enum, t.Enum64)):
        return not (mine.name and theirs.name) or same_name(mine.name, theirs.name)
    return isinstance(mine, (t.Pointer, t.Float))


def match_enumerator(local: Spec, target: Btf, root_id: int) -> Spec | Mismatch:
    """The enumerator of the enum `root_id` that has the name of that of `local`, or a flavour."""
    holder = target.resolve(root_id)
    if isinstance(holder, (t.Enum, t.Enum64)):
        index = enumerators(target, holder).get(essential_name(local.accessors[0].name or ""))
        if index is not None:
            accessor = Accessor(holder.id, index, holder.values[index].name)
            return Spec(target, root_id, (accessor,))
    return Mismatch(0, holder.id)
