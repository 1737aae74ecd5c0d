"""Fields by path."""

from __future__ import annotations

import pytest

from ebpf.btf import Btf, Layout
from ebpf.errors import BtfError

from .blob import Blob


def sample_blob() -> Blob:
    """struct s { int a; union { long b; const struct { int c, d[3]; }; }; T e; P *p; char f[]; }"""
    blob = Blob()
    number = blob.integer("int", 4)
    wide = blob.integer("long int", 8)
    row = blob.array(number, 3)
    inner = blob.struct("", 16, ("c", number, 0), ("d", row, 32))
    const = blob.add("CONST", "", inner)
    union = blob.struct("", 16, ("b", wide, 0), ("", const, 0), kind="UNION")
    pair = blob.struct("pair", 8, ("x", number, 0), ("y", number, 32))
    alias = blob.add("TYPEDEF", "pair_t", pair)
    pairs = blob.array(alias, 2)
    pointer = blob.add("PTR", "", pair)
    flexible = blob.array(pair, 0)
    blob.struct(
        "s",
        56,
        ("a", number, 0),
        ("", union, 64),
        ("e", pairs, 192),
        ("p", pointer, 320),
        ("f", flexible, 384),
    )
    return blob


def sample() -> Layout:
    return Btf(sample_blob().build()).find_struct("s")


OFFSETS = {
    "a": (0, 4),
    "b": (8, 8),
    "c": (8, 4),
    "d": (12, 12),
    "d[2]": (20, 4),
    "e": (24, 16),
    "e[1]": (32, 8),
    "e[1].y": (36, 4),
    "p": (40, 8),
    "f": (48, 0),
    "f[9].y": (124, 4),
}


@pytest.mark.parametrize(("path", "expected"), OFFSETS.items())
def test_a_path_leads_to_the_offset_and_size_that_c_gives(
    path: str, expected: tuple[int, int]
) -> None:
    """Fails when members, anonymous members or elements are added up wrongly."""
    layout = sample()
    assert (layout.offsetof(path), layout.sizeof(path)) == expected


ERRORS = {
    "nothing": "struct s has no field 'nothing'",
    "aa": "struct s has no field 'aa'; did you mean a?",
    "e[1].z": r"struct pair \(the type of e\[1\]\) has no field 'z'",
    "p.x": "struct s.p is a pointer to struct pair: a path ends at a pointer",
    "p[0]": r"p\[0\]: a pointer is no array",
    "e.x": r"struct s.e is an array: write e\[n\]",
    "e[2]": r"e\[2\]: index 2 in an array of 2",
    "a.x": "struct s.a is int, which has no fields",
    "a[0]": r"a\[0\]: int is no array",
    "": "'' is no path",
    "e[-1]": "is no path",
    "e[1]..y": "is no path",
    "a ": "is no path",
    "e[1": "is no path",
}


@pytest.mark.parametrize(("path", "message"), ERRORS.items())
def test_a_path_that_leads_nowhere_says_where_it_ended(path: str, message: str) -> None:
    """Fails when such a path gives an offset, or an error that does not help."""
    with pytest.raises(BtfError, match=message):
        sample().offsetof(path)


def test_a_bitfield_has_bits_and_no_byte_offset() -> None:
    """Fails when a bitfield is read as if it began at a byte."""
    blob = Blob()
    number = blob.integer("unsigned int", 4, 0)
    blob.struct("s", 8, ("n", number, 0), ("b", number, 3 << 24 | 37), flag=True)
    layout = Btf(blob.build()).find_struct("s")
    assert layout.field("b") == ("b", number, 37, 3)
    assert layout.field("n") == ("n", number, 0, 0)
    with pytest.raises(BtfError, match="3-bit field at bit 37: it has no offset in bytes"):
        layout.offsetof("b")


def test_a_bitfield_of_the_old_encoding_is_seen_in_its_type() -> None:
    """Fails when BTF without kind_flag shows its bitfields as whole integers."""
    blob = Blob()
    bits = blob.add("INT", "unsigned int", 4, 2 << 16 | 5)
    blob.struct("s", 4, ("b", bits, 8))
    assert Btf(blob.build()).find_struct("s").field("b") == ("b", bits, 10, 5)


def test_without_kind_flag_an_offset_has_all_its_bits() -> None:
    """Fails when a member beyond 2 MiB gets a bitfield size from its offset."""
    blob = Blob()
    number = blob.integer()
    blob.struct("s", 0x8000000, ("far", number, 0x3FFFFFE0))
    assert Btf(blob.build()).find_struct("s").offsetof("far") == 0x3FFFFFE0 // 8


def test_anonymous_members_that_hold_each_other_end() -> None:
    """Fails when hostile anonymous members are searched for ever, or once for each way in."""
    blob = Blob()
    levels = 40
    for level in range(levels):
        inner = level + 2 if level + 1 < levels else 1
        blob.struct("s" if level == 0 else "", 8, ("", inner, 0), ("", inner, 32))
    with pytest.raises(BtfError, match="no field 'x'"):
        Btf(blob.build()).find_struct("s").offsetof("x")
