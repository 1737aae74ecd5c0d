"""Random types for hypothesis: all that the format can hold, sensible or not."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ebpf.btf import types as t

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
MAXIMUM_TYPES = 12

identifiers = st.text(LETTERS, min_size=1, max_size=6)
optional_names = st.one_of(st.just(""), identifiers)
# The text of a tag may be anything but NUL; lone surrogates are no text.
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8
)
u32 = st.integers(0, 0xFFFFFFFF)
s32 = st.integers(-(1 << 31), (1 << 31) - 1)
u64 = st.integers(0, (1 << 64) - 1)
s64 = st.integers(-(1 << 63), (1 << 63) - 1)
linkages = st.sampled_from(t.Linkage)


def named_tuples(cls: Any, *fields: st.SearchStrategy) -> st.SearchStrategy[tuple]:
    return st.lists(st.tuples(*fields).map(cls._make), max_size=4).map(tuple)


def composites(cls: type, ids: st.SearchStrategy[int]) -> st.SearchStrategy[t.Type]:
    wide = named_tuples(t.Member, optional_names, ids, u32, st.just(0))
    flagged = named_tuples(
        t.Member, optional_names, ids, st.integers(0, 0xFFFFFF), st.integers(0, 0xFF)
    )
    return st.one_of(
        st.builds(cls, name=optional_names, size=u32, members=wide),
        st.builds(cls, name=optional_names, size=u32, members=flagged, kind_flag=st.just(True)),
    )


def enums(cls: type, unsigned: st.SearchStrategy, signed: st.SearchStrategy) -> st.SearchStrategy:
    def one(flag: bool, values: st.SearchStrategy) -> st.SearchStrategy:
        rows = named_tuples(t.Enumerator, identifiers, values)
        return st.builds(cls, name=optional_names, size=u32, signed=st.just(flag), values=rows)

    return st.one_of(one(False, unsigned), one(True, signed))


def every_kind(ids: st.SearchStrategy[int]) -> list[st.SearchStrategy[t.Type]]:
    """One strategy per kind; types refer to `ids`."""
    encodings = st.integers(0, 15).map(t.IntEncoding)
    byte = st.integers(0, 0xFF)
    parameters = named_tuples(t.Parameter, optional_names, ids)
    variables = named_tuples(t.SectionVariable, ids, u32, u32)
    return [
        st.builds(t.Int, name=texts, size=u32, bits=byte, bit_offset=byte, encoding=encodings),
        st.builds(t.Pointer, type_id=ids),
        st.builds(t.Array, type_id=ids, index_type_id=ids, length=u32),
        composites(t.Struct, ids),
        composites(t.Union, ids),
        enums(t.Enum, u32, s32),
        st.builds(t.Fwd, name=identifiers, is_union=st.booleans()),
        st.builds(t.Typedef, name=identifiers, type_id=ids),
        st.builds(t.Volatile, type_id=ids),
        st.builds(t.Const, type_id=ids),
        st.builds(t.Restrict, type_id=ids),
        st.builds(t.Func, name=identifiers, type_id=ids, linkage=linkages),
        st.builds(t.FuncProto, type_id=ids, parameters=parameters),
        st.builds(t.Var, name=identifiers, type_id=ids, linkage=linkages),
        st.builds(t.Datasec, name=identifiers, size=u32, variables=variables),
        st.builds(t.Float, name=texts, size=u32),
        st.builds(
            t.DeclTag, name=texts, type_id=ids, component_index=s32, is_attribute=st.booleans()
        ),
        st.builds(t.TypeTag, name=texts, type_id=ids, is_attribute=st.booleans()),
        enums(t.Enum64, u64, s64),
    ]


@st.composite
def type_lists(draw: st.DrawFn) -> list[t.Type]:
    """Types with the ids 1, 2, ...; each refers to any of them, or to void."""
    count = draw(st.integers(1, MAXIMUM_TYPES))
    one = st.one_of(every_kind(st.integers(0, count)))
    return [draw(one) for _ in range(count)]
