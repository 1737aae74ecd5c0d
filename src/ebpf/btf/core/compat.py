"""Whether a whole type of the target may stand for a local one: loosely, or part by part."""

from __future__ import annotations

from ebpf.btf import types as t
from ebpf.btf.btf import MAX_RESOLVE_DEPTH, Btf
from ebpf.btf.core.names import essential_name, kinds_compatible, same_name
from ebpf.errors import RelocationError

# How many signatures or structs inside each other are followed: libbpf's limit, too.
MAX_LEVEL = 32
# Steps for all relocations of one object. The kernel's task_struct takes some thousands.
MAX_WORK = 300_000


class Work:
    """Counts steps, so that types made to be compared for ever are not."""

    def __init__(self) -> None:
        self._left = MAX_WORK

    def add(self, steps: int) -> None:
        """Raises RelocationError after too many."""
        self._left -= steps
        if self._left < 0:
            raise RelocationError("the types are too complex to be compared")


def types_are_compat(
    local: Btf, local_id: int, target: Btf, target_id: int, work: Work | None = None
) -> bool:
    """Whether the types agree in kind, behind pointers and arrays too, and in signature.

    Names and what structs, unions and enums hold do not matter, nor do sizes and typedefs; the
    caller has compared the names. `work` counts the steps of several comparisons together. Raises
    RelocationError for types nested too deeply or after too many steps, BtfError.
    """
    return _Compatibility(local, target, work or Work()).compare(local_id, target_id, MAX_LEVEL)


def types_match(
    local: Btf, local_id: int, target: Btf, target_id: int, work: Work | None = None
) -> bool:
    """Whether the target has every part of the local type: by name, and as the same type.

    Structs and unions behind a pointer need only the name and the kind; a declaration counts as
    one there. Enumerators need the name, enums the size; integers size and sign. The caller has
    compared the names of the types themselves. Raises as types_are_compat.
    """
    return _Match(local, target, work or Work()).compare(local_id, target_id, False, MAX_LEVEL)


def _too_deep() -> RelocationError:
    return RelocationError(f"the types are nested more than {MAX_RESOLVE_DEPTH} deep")


class _Compatibility:
    def __init__(self, local: Btf, target: Btf, work: Work) -> None:
        self._local = local
        self._target = target
        self._work = work
        self._known: dict[tuple[int, int, int], bool] = {}

    def compare(self, local_id: int, target_id: int, level: int) -> bool:
        self._work.add(1)
        key = local_id, target_id, level
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._compare(*key)
        return known

    def _compare(self, local_id: int, target_id: int, level: int) -> bool:
        if not kinds_compatible(self._local.type(local_id), self._target.type(target_id)):
            return False
        for _ in range(MAX_RESOLVE_DEPTH):
            mine, theirs = self._local.resolve(local_id), self._target.resolve(target_id)
            if not kinds_compatible(mine, theirs):
                return False
            if isinstance(mine, t.FuncProto):
                assert isinstance(theirs, t.FuncProto)
                if not self._parameters(mine, theirs, level):
                    return False
                # What is returned is compared behind its typedefs, as the parameters are.
            elif not isinstance(mine, (t.Pointer, t.Array)):
                return _same_leaf(mine, theirs)
            local_id = mine.type_id
            target_id = theirs.type_id  # type: ignore[attr-defined]
        raise _too_deep()

    def _parameters(self, mine: t.FuncProto, theirs: t.FuncProto, level: int) -> bool:
        if len(mine.parameters) != len(theirs.parameters):
            return False
        if mine.parameters and level <= 0:
            raise _too_deep()
        for own, other in zip(mine.parameters, theirs.parameters, strict=True):
            own_id = self._local.resolve(own.type_id).id
            other_id = self._target.resolve(other.type_id).id
            if not self.compare(own_id, other_id, level - 1):
                return False
        return True


def _same_leaf(mine: t.Type, theirs: t.Type) -> bool:
    """For types of compatible kinds. Floats, functions and variables are never compatible."""
    if isinstance(mine, t.Int) and isinstance(theirs, t.Int):
        return mine.bit_offset == theirs.bit_offset == 0
    return isinstance(mine, (t.Void, t.Struct, t.Union, t.Enum, t.Enum64, t.Fwd))


class _Match:
    def __init__(self, local: Btf, target: Btf, work: Work) -> None:
        self._local = local
        self._target = target
        self._work = work
        self._known: dict[tuple[int, int, bool, int], bool] = {}
        self._members: dict[int, dict[str, list[int]]] = {}

    def compare(self, local_id: int, target_id: int, behind_pointer: bool, level: int) -> bool:
        self._work.add(1)
        key = local_id, target_id, behind_pointer, level
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._compare(*key)
        return known

    def _compare(self, local_id: int, target_id: int, behind_pointer: bool, level: int) -> bool:
        if level <= 0:
            raise _too_deep()
        for _ in range(MAX_RESOLVE_DEPTH):
            mine, theirs = self._local.resolve(local_id), self._target.resolve(target_id)
            if not same_name(mine.name, theirs.name):
                return False
            if not isinstance(mine, (t.Pointer, t.Array, t.FuncProto)):
                return self._leaf(mine, theirs, behind_pointer, level)
            if type(mine) is not type(theirs):
                return False
            if not self._same_shape(mine, theirs, behind_pointer, level):
                return False
            behind_pointer = behind_pointer or isinstance(mine, t.Pointer)
            local_id = mine.type_id
            target_id = theirs.type_id
        raise _too_deep()

    def _same_shape(self, mine: t.Type, theirs: t.Type, behind_pointer: bool, level: int) -> bool:
        """All but what a pointer, array or signature leads to at its end."""
        if isinstance(mine, t.Array) and isinstance(theirs, t.Array):
            return mine.length == theirs.length
        if isinstance(mine, t.FuncProto) and isinstance(theirs, t.FuncProto):
            return len(mine.parameters) == len(theirs.parameters) and all(
                self.compare(own.type_id, other.type_id, behind_pointer, level - 1)
                for own, other in zip(mine.parameters, theirs.parameters, strict=True)
            )
        return True

    def _leaf(self, mine: t.Type, theirs: t.Type, behind_pointer: bool, level: int) -> bool:
        if isinstance(mine, t.Void):
            return isinstance(theirs, t.Void)
        if isinstance(mine, t.Int):
            return (
                isinstance(theirs, t.Int)
                and mine.size == theirs.size
                and mine.signed == theirs.signed
            )
        if isinstance(mine, (t.Enum, t.Enum64)):
            return isinstance(theirs, (t.Enum, t.Enum64)) and self._enums(mine, theirs)
        if isinstance(mine, t.Fwd) or (behind_pointer and isinstance(mine, (t.Struct, t.Union))):
            return _declared_alike(mine, theirs, behind_pointer)
        if isinstance(mine, (t.Struct, t.Union)) and type(mine) is type(theirs):
            return self._composites(mine, theirs, level)
        return False

    def _enums(self, mine: t.Enum | t.Enum64, theirs: t.Enum | t.Enum64) -> bool:
        if mine.size != theirs.size or len(mine.values) > len(theirs.values):
            return False
        self._work.add(len(mine.values) + len(theirs.values))
        names = {essential_name(value.name) for value in theirs.values}
        return all(essential_name(value.name) in names for value in mine.values)

    def _composites(self, mine: t.Struct | t.Union, theirs: t.Struct | t.Union, level: int) -> bool:
        """Whether every member of `mine` has a member of its name in `theirs` that matches."""
        if len(mine.members) > len(theirs.members):
            return False
        self._work.add(len(mine.members))
        named = self._by_name(theirs)
        return all(
            any(
                self.compare(member.type_id, other, False, level - 1)
                for other in named.get(essential_name(member.name), ())
            )
            for member in mine.members
        )

    def _by_name(self, composite: t.Struct | t.Union) -> dict[str, list[int]]:
        """The types of the members by essential name; "" for those that have none."""
        found = self._members.get(composite.id)
        if found is None:
            found = self._members[composite.id] = {}
            for member in composite.members:
                found.setdefault(essential_name(member.name), []).append(member.type_id)
        return found


def _declared_alike(mine: t.Type, theirs: t.Type, behind_pointer: bool) -> bool:
    """For a struct, union or declaration behind a pointer, and a declaration anywhere."""
    if isinstance(mine, t.Fwd) and not behind_pointer and not isinstance(theirs, t.Fwd):
        return False
    return _word(mine) == _word(theirs) != ""


def _word(type: t.Type) -> str:
    """``"struct"`` or ``"union"``, declared or defined; empty for other types."""
    if isinstance(type, t.Fwd):
        return "union" if type.is_union else "struct"
    if isinstance(type, t.Struct):
        return "struct"
    return "union" if isinstance(type, t.Union) else ""
