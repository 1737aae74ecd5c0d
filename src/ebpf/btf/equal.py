"""When two types are the same: alone, and with everything that can be reached from them."""

from __future__ import annotations

from collections.abc import Sequence

from ebpf.btf.raw import info_kind, info_vlen
from ebpf.btf.types import Kind
from ebpf.btf.words import INFO, NAME, reference_slots, references
from ebpf.errors import BtfError

Words = Sequence[int]
Key = tuple[int, ...]

# How far a key looks for names: pointer, const, array and the like before a named type.
_NAME_AHEAD = 5
_ENUMS = (Kind.ENUM, Kind.ENUM64)
# Comparisons of two types, in all: a kernel's takes one for each of its types. Chains of structs
# made to differ only at their ends would take the cube of their number.
_STEPS = 100_000
_STEPS_PER_TYPE = 32


def kind_of(words: Words) -> int:
    return info_kind(words[INFO])


def is_enum(words: Words) -> bool:
    return kind_of(words) in _ENUMS


def is_enum_declaration(words: Words) -> bool:
    return is_enum(words) and info_vlen(words[INFO]) == 0


def compatible_enums(one: Words, other: Words) -> bool:
    """Whether two enums are equal, or one may be the declaration of the other."""
    if is_enum_declaration(one) or is_enum_declaration(other):
        return one[NAME] == other[NAME] and is_enum(one) and is_enum(other)
    return one[:] == other[:]


def declared_kind(declaration: Words) -> Kind:
    """What a Fwd declares: kind_flag means a union."""
    return Kind.UNION if declaration[INFO] >> 31 else Kind.STRUCT


class TypeGraph:
    """Types by id, id 0 being void, and what is known of which are the same.

    ``canonical[id]`` is the id that stands for a type, as far as that is decided: a chain of
    those ends at a type that stands for itself. None is not yet decided.
    """

    def __init__(self, types: list[Words], first_own: int) -> None:
        self.types = types
        self.first_own = first_own
        self.canonical: list[int | None] = [None] * len(types)
        self.canonical[:first_own] = range(first_own)
        self.references: list[list[int]] = [[], *(references(words) for words in types[1:])]
        self._keys: dict[int, Key] = {}
        # canonical id -> the id that is assumed to be the same, in the order of assumption
        self.hypothesis: dict[int, int] = {}
        # Whether the last comparison wanted a declaration of the base to be a definition.
        self.completes_base = False
        self._steps_left = _STEPS + _STEPS_PER_TYPE * len(types)

    def count_step(self, type_id: int) -> None:
        """To be called for each comparison. Raises BtfError after too many."""
        self._steps_left -= 1
        if self._steps_left < 0:
            raise BtfError(
                f"BTF type {type_id}: so many types are alike except for what they refer to that "
                "finding those that are the same would take too long"
            )

    def kind(self, type_id: int) -> int:
        return kind_of(self.types[type_id])

    def resolve(self, type_id: int) -> int:
        """The type that stands for `type_id` by now."""
        following = self.canonical[type_id]
        while following is not None and following != type_id:
            type_id = following
            following = self.canonical[type_id]
        return type_id

    def shallow_key(self, type_id: int) -> Key:
        """All that a type says but the ids it refers to."""
        key = self._keys.get(type_id)
        if key is None:
            words = self.types[type_id]
            referring = set(reference_slots(words)) if type_id else ()
            key = tuple(word for slot, word in enumerate(words) if slot not in referring)
            self._keys[type_id] = key
        return key

    def graph_key(self, type_id: int) -> Key:
        """What types that are the same have in common for sure: quick to tell many apart by."""
        reached = (self._name_ahead(one) for one in self.references[type_id])
        return (*self.shallow_key(type_id), *reached)

    def _name_ahead(self, type_id: int) -> int:
        """The first name on the way through what has none, which a declaration shares."""
        for _ in range(_NAME_AHEAD):
            name, following = self.types[type_id][NAME], self.references[type_id]
            if name or not following:
                return name
            type_id = following[0]
        return 0

    def equivalent(self, candidate: int, canonical: int) -> bool:
        """Whether two types are the same, under the hypothesis that is left behind."""
        self.hypothesis = {}
        self.completes_base = False
        pending = [(candidate, canonical)]
        while pending:
            further = self._compare(*pending.pop())
            if further is None:
                return False
            pending.extend(reversed(further))
        return True

    def _compare(self, candidate: int, canonical: int) -> list[tuple[int, int]] | None:
        """The pairs that must be the same for these two to be; None where they cannot be.

        A declaration on the canonical side is followed to its definition, one on the
        candidate's side is not: the candidate's graph comes from one compilation, where a
        definition would have been used.
        """
        self.count_step(candidate)
        if self.resolve(candidate) == self.resolve(canonical):
            return []
        canonical = self._definition(canonical)
        assumed = self.hypothesis.get(canonical)
        if assumed is not None:
            # Compilers sometimes write the same array, struct or pointer twice.
            same = assumed == candidate or self._identical(assumed, candidate)
            return [] if same else None
        self.hypothesis[canonical] = candidate
        one, other = self.types[candidate], self.types[canonical]
        if one[NAME] != other[NAME]:
            return None
        if kind_of(one) != kind_of(other):
            return [] if self._declares(candidate, canonical) else None
        if is_enum(one):
            return [] if compatible_enums(one, other) else None
        if self.shallow_key(candidate) != self.shallow_key(canonical):
            return None
        return list(zip(self.references[candidate], self.references[canonical], strict=True))

    def _definition(self, type_id: int) -> int:
        """What a declaration was resolved to, if it was; else `type_id` itself."""
        if self.kind(type_id) != Kind.FWD:
            return type_id
        resolved = self.resolve(type_id)
        return type_id if self.kind(resolved) == Kind.FWD else resolved

    def _declares(self, candidate: int, canonical: int) -> bool:
        """Whether one of the two, which have the same name, is a declaration of the other."""
        if self.kind(candidate) == Kind.FWD:
            return declared_kind(self.types[candidate]) == self.kind(canonical)
        if self.kind(canonical) != Kind.FWD:
            return False
        fits = declared_kind(self.types[canonical]) == self.kind(candidate)
        if fits and canonical < self.first_own:
            self.completes_base = True
        return fits

    def _identical(self, one: int, other: int) -> bool:
        """Whether two types say the same, whatever ids they use for it."""
        seen: set[tuple[int, int]] = set()
        pending = [(one, other)]
        while pending:
            pair = pending.pop()
            left, right = pair
            if left == right or pair in seen:
                continue
            seen.add(pair)
            self.count_step(left)
            if is_enum(self.types[left]):
                if not compatible_enums(self.types[left], self.types[right]):
                    return False
            elif self.shallow_key(left) != self.shallow_key(right):
                return False
            else:
                pending.extend(zip(self.references[left], self.references[right], strict=True))
        return True
