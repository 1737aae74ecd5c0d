"""BTF for old kernels, and changes in place."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.btf.sanitize import Feature, probe_blob, sanitize

from .blob import Blob, btf_section
from .strategies import type_lists

# What no type may be, or have, for a kernel without the feature.
FORBIDDEN: dict[Feature, Callable[[t.Type], bool]] = {
    Feature.FUNC: lambda type: isinstance(type, (t.Func, t.FuncProto)),
    Feature.DATASEC: lambda type: isinstance(type, (t.Var, t.Datasec)),
    Feature.FUNC_GLOBAL: lambda type: isinstance(type, t.Func) and type.linkage != 0,
    Feature.EMPTY_DATASEC: lambda type: isinstance(type, t.Datasec) and not type.variables,
    Feature.FLOAT: lambda type: isinstance(type, t.Float),
    Feature.DECL_TAG: lambda type: isinstance(type, t.DeclTag),
    Feature.TYPE_TAG: lambda type: isinstance(type, t.TypeTag),
    Feature.ENUM64: lambda type: (
        isinstance(type, t.Enum64) or (isinstance(type, t.Enum) and type.signed)
    ),
    Feature.QMARK_DATASEC: lambda type: isinstance(type, t.Datasec) and type.name[0] == "?",
    Feature.TAG_ATTRIBUTE: lambda type: (
        isinstance(type, (t.DeclTag, t.TypeTag)) and type.is_attribute
    ),
    Feature.LAYOUT: lambda type: False,
}
INT = t.Int(name="int", size=4, bits=32, encoding=t.IntEncoding.SIGNED)


def built(types: Iterable[t.Type]) -> Btf:
    builder = BtfBuilder("little")
    for type in types:
        builder.add(type)
    return builder.to_btf()


@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(type_lists(), st.sets(st.sampled_from(Feature)))
def test_nothing_that_is_missing_remains(types: list[t.Type], missing: set[Feature]) -> None:
    """Fails when a kernel gets what it does not know, or loses what it does know."""
    # Members count bits, so a variable beyond 512 MiB has no place in a struct.
    sections = [type for type in types if isinstance(type, t.Datasec)]
    assume(all(v.offset < 1 << 29 for section in sections for v in section.variables))
    result = Btf(sanitize(built(types), missing))
    assert result.end_id - 1 - len(types) in (0, 1)
    for feature in missing:
        assert not [type for type in result.types() if FORBIDDEN[feature](type)]
    for number, type in enumerate(types, 1):
        other = result.type(number)
        if not any(FORBIDDEN[feature](type) for feature in missing):
            assert other == type
        elif hasattr(type, "size"):
            assert other.size == type.size  # type: ignore[attr-defined]


def one(types: list[t.Type], missing: Feature) -> t.Type:
    """What the last of `types` becomes."""
    return Btf(sanitize(built(types), [missing])).type(len(types))


VALUES = (t.Enumerator("A", 1), t.Enumerator("B", -1))


@pytest.mark.parametrize(
    ("missing", "type", "expected"),
    [
        (Feature.DATASEC, t.Var(name="v", type_id=1), t.Int(name="v", size=1, bits=8)),
        (Feature.DECL_TAG, t.DeclTag(name="x y", type_id=1), t.Int(name="x y", size=1, bits=8)),
        (Feature.FLOAT, t.Float(name="double", size=8), t.Struct(size=8)),
        (Feature.TYPE_TAG, t.TypeTag(name="user", type_id=1), t.Const(type_id=1)),
        (Feature.FUNC, t.Func(name="f", type_id=1), t.Typedef(name="f", type_id=1)),
        (
            Feature.FUNC,
            t.FuncProto(type_id=1, parameters=(t.Parameter("a", 1), t.Parameter("", 0))),
            t.Enum(size=4, values=(t.Enumerator("a", 1), t.Enumerator("_", 0))),
        ),
        (
            Feature.FUNC_GLOBAL,
            t.Func(name="f", type_id=1, linkage=t.Linkage.GLOBAL),
            t.Func(name="f", type_id=1),
        ),
        (
            Feature.EMPTY_DATASEC,
            t.Datasec(name=".rodata", size=24),
            t.Struct(name="_rodata", size=24),
        ),
        (
            Feature.ENUM64,
            t.Enum64(name="e", size=8, signed=True, values=VALUES),
            t.Union(name="e", size=8, members=(t.Member("A", 3, 0), t.Member("B", 3, 0))),
        ),
        (
            Feature.ENUM64,
            t.Enum(name="e", size=4, signed=True, values=VALUES),
            t.Enum(name="e", size=4, values=(t.Enumerator("A", 1), t.Enumerator("B", 0xFFFFFFFF))),
        ),
        (
            Feature.QMARK_DATASEC,
            t.Datasec(name="?.data", size=8),
            t.Datasec(name="_.data", size=8),
        ),
        (
            Feature.TAG_ATTRIBUTE,
            t.TypeTag(name="a", type_id=1, is_attribute=True),
            t.TypeTag(name="a", type_id=1),
        ),
    ],
)
def test_each_kind_becomes_what_libbpf_makes_of_it(
    missing: Feature, type: t.Type, expected: t.Type
) -> None:
    """Fails when a type is replaced by another one than in libbpf, or loses its name."""
    assert one([INT, type], missing) == expected


def test_a_section_becomes_a_struct_of_its_variables() -> None:
    """Fails when the struct has other names or offsets than the section, or a name with a dot."""
    where = (t.SectionVariable(2, 0, 4), t.SectionVariable(3, 8, 4))
    types = [
        INT,
        t.Var(name="a", type_id=1),
        t.Var(name="b", type_id=1),
        t.Datasec(name="?.data.x", size=16, variables=where),
    ]
    assert one(types, Feature.DATASEC) == t.Struct(
        name="__data_x", size=16, members=(t.Member("a", 2, 0), t.Member("b", 3, 64))
    )


def test_the_source_is_unchanged_and_strings_keep_their_offsets(
    compile_bpf: Callable[[str], Path],
) -> None:
    """Fails when .BTF.ext, which refers to strings by offset, would mean other ones."""
    data = btf_section(compile_bpf("bpfel"))
    btf = Btf(data)
    before = list(btf.types())
    result = Btf(sanitize(btf, Feature))
    assert list(btf.types()) == before
    original = [btf.strings.get(offset) for offset in offsets(data)]
    assert len(original) > 20
    assert [result.strings.get(offset) for offset in offsets(data)] == original


def offsets(data: bytes) -> list[int]:
    """Where each string begins in the string section of little-endian BTF."""
    start, length = struct.unpack_from("<II", data, 16)
    header = struct.unpack_from("<I", data, 4)[0]
    strings = data[header + start : header + start + length]
    return [0, *(i + 1 for i, byte in enumerate(strings[:-1]) if not byte)]


def test_nothing_missing_changes_nothing(compile_bpf: Callable[[str], Path]) -> None:
    """Fails when BTF is rewritten for a kernel that needs nothing rewritten."""
    for target in ("bpfel", "bpfeb"):
        data = btf_section(compile_bpf(target))
        assert sanitize(Btf(data), []) == data


def test_the_layout_section_is_left_out() -> None:
    """Fails when a kernel before 7.1 gets the longer header, or a kernel since loses layouts."""
    blob = Blob()
    number = blob.integer()
    blob.add("PTR", "", number)
    layout = struct.pack("BBH", 0, 0, 0) + struct.pack("BBH", 4, 0, 0)
    data = blob.build(header_length=32, layout=layout)
    assert sanitize(Btf(data), []) == data
    assert sanitize(Btf(data), [Feature.LAYOUT]) == blob.build()


def test_each_probe_has_its_feature_and_no_newer_one() -> None:
    """Fails when a probe says no on a kernel that has the feature, or yes on one that lacks it."""
    ordered = sorted(Feature, key=lambda feature: feature.minimum_version)
    for feature in ordered:
        data = probe_blob(feature)
        types = list(Btf(data).types())
        if feature is Feature.LAYOUT:
            assert struct.unpack_from("=I", data, 4) == (32,)
            assert struct.unpack_from("=I", data, 28)[0] > 0
            continue
        assert struct.unpack_from("=I", data, 4) == (24,)
        if feature is not Feature.QMARK_DATASEC:
            assert [type for type in types if FORBIDDEN[feature](type)]
        else:
            assert types[-1].name == "?.data"
        for newer in ordered[ordered.index(feature) + 1 :]:
            assert not [type for type in types if FORBIDDEN[newer](type)]


def test_every_combination_gives_valid_btf(compile_bpf: Callable[[str], Path]) -> None:
    """Fails when two replacements get into each other's way."""
    btf = Btf(btf_section(compile_bpf("bpfel")))
    for pair in combinations(Feature, 2):
        result = Btf(sanitize(btf, pair))
        assert sum(1 for _ in result.types()) >= btf.end_id - 1
