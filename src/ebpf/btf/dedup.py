"""Deduplication: one type for each different one, as libbpf's btf__dedup finds them.

Several compiled files say the same about the same types, in graphs that have circles (a list's
node points to itself), and some only declare what others define. Two structs are the same when
everything that can be reached from them is; that is found out by assuming it, walking both
graphs side by side, and giving up at the first contradiction. In order:

1. plain types: integers, floats, enums, declarations (declared enums become the full ones)
2. structs, unions and typedefs, by comparing graphs; a declaration that meets a definition of
   its name on the way is resolved to it
3. remaining declarations whose name only one definition has
4. what merely refers: pointers, qualifiers, arrays, functions, tags; from the inside out
5. what is left gets new ids, in the old order

Variables and sections stay as they are. The types of a base serve split BTF and do not change.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from ebpf.btf.btf import Btf
from ebpf.btf.build import BtfBuilder
from ebpf.btf.equal import (
    Key,
    TypeGraph,
    Words,
    compatible_enums,
    declared_kind,
    is_enum_declaration,
)
from ebpf.btf.types import Kind
from ebpf.btf.words import NAME, name_slots, own_words, reference_slots
from ebpf.errors import BtfError
from ebpf.plain import NamedTuple

_PLAIN = frozenset({Kind.INT, Kind.FLOAT, Kind.FWD})
_ENUMS = frozenset({Kind.ENUM, Kind.ENUM64})
_COMPOSITE = frozenset({Kind.STRUCT, Kind.UNION})
_NAMED_GRAPHS = _COMPOSITE | {Kind.TYPEDEF}
_UNIQUE = frozenset({Kind.VAR, Kind.DATASEC})


class Deduplicated(NamedTuple):
    """``btf`` without duplicates, and ``ids``: {id of a type before: its id in ``btf``}."""

    btf: Btf
    ids: dict[int, int]


def dedup(btf: Btf) -> Deduplicated:
    """`btf` with each type and each string once. Split BTF also drops what its base has.

    `btf` is not changed. Raises BtfError for malformed BTF, for types that refer to each other in
    a circle without a struct, union or typedef in it, and for types made to take too long.
    """
    builder = BtfBuilder(btf.byte_order, btf.base)
    builder.add_all(btf)
    ids = dedup_builder(builder)
    return Deduplicated(builder.to_btf(), ids)


def dedup_builder(builder: BtfBuilder) -> dict[int, int]:
    """As ``dedup``, in place, for what was put together with ``add_all``; {id before: id now}.

    Strings keep their offsets. Raises BtfError, as ``dedup`` does.
    """
    types: list[Words] = [array("I", (0, 0, 0)), *_base_types(builder), *builder.records]
    for type_id, words in enumerate(types):
        for slot in reference_slots(words) if type_id else ():
            if words[slot] >= len(types):
                raise BtfError(
                    f"BTF type {type_id} refers to type {words[slot]}, the last is {len(types) - 1}"
                )
    graph = TypeGraph(types, builder.start_id)
    _Pass(graph).run()
    ids = _compact(builder, graph)
    return {old: ids[graph.resolve(old)] for old in range(builder.start_id, len(types))}


def _base_types(builder: BtfBuilder) -> Iterator[Words]:
    """The types of the base and its bases; equal names have equal offsets afterwards."""
    bases = []
    base = builder.base
    while base is not None:
        bases.append(base)
        base = base.base
    strings: dict[int, int] = {}
    for base in reversed(bases):
        for words in own_words(base):
            for slot in name_slots(words):
                old = words[slot]
                if old not in strings:
                    strings[old] = builder.string(base.strings.get(old))
                words[slot] = strings[old]
            yield words


def _compact(builder: BtfBuilder, graph: TypeGraph) -> dict[int, int]:
    """Leaves in `builder` the types that stand for themselves; their new ids by the old ones."""
    start = builder.start_id
    own = range(start, len(graph.types))
    kept = [type_id for type_id in own if graph.canonical[type_id] == type_id]
    ids = {type_id: type_id for type_id in range(start)}
    ids.update((old, new) for new, old in enumerate(kept, start))
    builder.records = []
    for type_id in kept:
        words = array("I", graph.types[type_id])
        for slot in reference_slots(words):
            words[slot] = ids[graph.resolve(words[slot])]
        builder.records.append(words)
    builder.forget_added()
    return ids


class _Pass:
    """The steps; each decides ``canonical`` for its kinds."""

    def __init__(self, graph: TypeGraph) -> None:
        self.graph = graph
        self.own = range(graph.first_own, len(graph.types))
        # What may stand for types of the same words (references resolved), of the same enum
        # name, of the same graph key.
        self.exact: dict[Key, int] = {}
        self.enums: dict[int, list[int]] = {}
        self.graphs: dict[Key, list[int]] = {}

    def run(self) -> None:
        for type_id in range(1, self.graph.first_own):
            self._offer(type_id)
        for type_id in self.own:
            self._plain(type_id)
        for type_id in self.own:
            self._named_graph(type_id)
        self._resolve_declarations()
        for type_id in self.own:
            self._reference(type_id)

    def _offer(self, type_id: int) -> None:
        """Makes `type_id` one that others may be the same as."""
        kind = self.graph.kind(type_id)
        if kind in _ENUMS:
            self.enums.setdefault(self.graph.types[type_id][NAME], []).append(type_id)
        elif kind in _NAMED_GRAPHS:
            self.graphs.setdefault(self.graph.graph_key(type_id), []).append(type_id)
        elif kind not in _UNIQUE:
            self.exact.setdefault(self._exact_key(type_id), type_id)

    def _exact_key(self, type_id: int) -> Key:
        words = array("I", self.graph.types[type_id])
        for slot in reference_slots(words):
            words[slot] = self.graph.resolve(words[slot])
        return tuple(words)

    def _plain(self, type_id: int) -> None:
        kind = self.graph.kind(type_id)
        if kind in _PLAIN:
            self._decide_exact(type_id)
        elif kind in _ENUMS:
            self._enum(type_id)
        elif kind in _UNIQUE:
            self.graph.canonical[type_id] = type_id

    def _decide_exact(self, type_id: int) -> None:
        self.graph.canonical[type_id] = self.exact.setdefault(self._exact_key(type_id), type_id)

    def _enum(self, type_id: int) -> None:
        graph = self.graph
        words = graph.types[type_id]
        for candidate in reversed(self.enums.get(words[NAME], [])):
            graph.count_step(type_id)
            other = graph.types[candidate]
            if not compatible_enums(words, other):
                continue
            if words[:] == other[:] or is_enum_declaration(words):
                graph.canonical[type_id] = candidate
                return
            graph.canonical[candidate] = type_id  # a declaration gets its definition
        graph.canonical[type_id] = type_id
        self._offer(type_id)

    def _named_graph(self, type_id: int) -> None:
        graph = self.graph
        if graph.kind(type_id) not in _NAMED_GRAPHS or graph.canonical[type_id] is not None:
            return
        for candidate in reversed(self.graphs.get(graph.graph_key(type_id), [])):
            if graph.equivalent(type_id, candidate):
                self._adopt_hypothesis()
                if not graph.completes_base:
                    graph.canonical[type_id] = candidate
                    return
        graph.canonical[type_id] = type_id
        self._offer(type_id)

    def _adopt_hypothesis(self) -> None:
        """Records what a successful comparison showed of other types than the two compared.

        A declaration in the base that split BTF defines counts for the types of the split BTF
        only, whose graph then differs from the base's.
        """
        graph = self.graph
        for canonical, candidate in graph.hypothesis.items():
            known, found = graph.resolve(canonical), graph.resolve(candidate)
            known_declared = graph.kind(known) == Kind.FWD
            found_declared = graph.kind(found) == Kind.FWD
            if known_declared and not found_declared:
                graph.canonical[known] = found
            if graph.completes_base or known_declared:
                continue
            if found_declared:
                graph.canonical[found] = known
            elif graph.kind(found) in _COMPOSITE:
                # Saves comparing again. Not before the other one is decided: it could change.
                undecided = graph.canonical[found] is None
                if undecided and graph.canonical[known] is not None:
                    graph.canonical[found] = known

    def _resolve_declarations(self) -> None:
        graph = self.graph
        definitions: dict[int, int | None] = {}
        for type_id in range(1, len(graph.types)):
            if graph.kind(type_id) in _COMPOSITE and graph.canonical[type_id] == type_id:
                name = graph.types[type_id][NAME]
                definitions[name] = None if name in definitions else type_id
        for type_id in self.own:
            if graph.kind(type_id) != Kind.FWD or graph.canonical[type_id] != type_id:
                continue
            words = graph.types[type_id]
            definition = definitions.get(words[NAME])
            if definition is not None and graph.kind(definition) == declared_kind(words):
                graph.canonical[type_id] = definition

    def _reference(self, type_id: int) -> None:
        """Decides `type_id` after all that it refers to."""
        graph = self.graph
        pending, entered = [type_id], set()
        while pending:
            current = pending[-1]
            if graph.canonical[current] is not None:
                pending.pop()
                continue
            entered.add(current)
            first = [one for one in graph.references[current] if graph.canonical[one] is None]
            if not entered.isdisjoint(first):
                raise BtfError(
                    f"BTF type {current} refers to itself through types that have no definition"
                )
            if first:
                pending.extend(first)
            else:
                self._decide_exact(current)
