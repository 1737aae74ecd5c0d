"""Types as lists of 32-bit words, and which of the words are names and which are type ids.

For work that concerns every kind alike: copying types, renumbering them, comparing them. Words
are in this machine's byte order, whatever the data has.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import chain

from ebpf.btf.btf import Btf
from ebpf.btf.raw import info_kind
from ebpf.btf.types import Kind
from ebpf.errors import BtfError

NAME, INFO, SIZE_OR_TYPE, BODY = 0, 1, 2, 3  # struct btf_type, then what belongs to the kind

# Kinds whose third word is a type id.
_REFERRING = frozenset(
    {
        Kind.PTR,
        Kind.TYPEDEF,
        Kind.VOLATILE,
        Kind.CONST,
        Kind.RESTRICT,
        Kind.FUNC,
        Kind.FUNC_PROTO,
        Kind.VAR,
        Kind.DECL_TAG,
        Kind.TYPE_TAG,
    }
)
# Of the elements of a kind: how many words each has, which is its name, which its type id.
_ELEMENTS: dict[int, tuple[int, int | None, int | None]] = {
    Kind.STRUCT: (3, 0, 1),
    Kind.UNION: (3, 0, 1),
    Kind.ENUM: (2, 0, None),
    Kind.ENUM64: (3, 0, None),
    Kind.FUNC_PROTO: (2, 0, 1),
    Kind.DATASEC: (3, None, 0),
}
_KNOWN = frozenset(kind for kind in Kind if kind)


def make_info(kind: int, vlen: int = 0, kind_flag: bool = False) -> int:
    """The info word: kind_flag, kind, vlen."""
    return kind_flag << 31 | kind << 24 | vlen


def reference_slots(words: Sequence[int]) -> Iterator[int]:
    """The positions in `words` that hold type ids. Raises BtfError for an unknown kind."""
    kind = _known_kind(words)
    if kind in _REFERRING:
        yield SIZE_OR_TYPE
    if kind == Kind.ARRAY:
        yield BODY
        yield BODY + 1
    elif kind in _ELEMENTS:
        step, _, reference = _ELEMENTS[kind]
        if reference is not None:
            yield from range(BODY + reference, len(words), step)


def name_slots(words: Sequence[int]) -> Iterator[int]:
    """The positions in `words` that hold string offsets. Raises BtfError for an unknown kind."""
    kind = _known_kind(words)
    yield NAME
    if kind in _ELEMENTS:
        step, name, _ = _ELEMENTS[kind]
        if name is not None:
            yield from range(BODY + name, len(words), step)


def references(words: Sequence[int]) -> list[int]:
    """The type ids in `words`, in order."""
    return [words[slot] for slot in reference_slots(words)]


def own_words(btf: Btf) -> Iterator[array[int]]:
    """Every type of `btf` from ``start_id`` on as a fresh array of words."""
    section = btf.header.types
    words = array("I", bytes(btf.data[section.start : section.end]))
    if btf.header.swapped:
        words.byteswap()
    starts = [offset // 4 for offset in btf.offsets]
    for start, end in zip(starts, chain(starts[1:], [len(words)]), strict=False):
        yield words[start:end]


def is_known(words: Sequence[int]) -> bool:
    """Whether the functions of this module can tell names and ids in `words`."""
    return info_kind(words[INFO]) in _KNOWN


def _known_kind(words: Sequence[int]) -> int:
    kind = info_kind(words[INFO])
    if kind not in _KNOWN:
        raise BtfError(
            f"BTF kind {kind} is unknown: which of its words refer to other types or to names "
            "cannot be told, so such a type cannot be copied or renumbered"
        )
    return kind
