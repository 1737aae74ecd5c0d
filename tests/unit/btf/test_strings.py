"""Names by offset, and offsets by name."""

from __future__ import annotations

import pytest

from ebpf.btf import Btf, Kind
from ebpf.errors import BtfError

from .blob import Blob


def test_bytes_that_are_no_utf8_come_back_as_they_were() -> None:
    """Fails when a name in another encoding cannot be read or found again."""
    blob = Blob()
    offset = len(blob.strings)
    blob.strings += b"caf\xe9\0"
    blob.add("FWD", offset)
    btf = Btf(blob.build())
    name = btf.type(1).name
    assert name.encode("utf-8", "surrogateescape") == b"caf\xe9"
    assert btf.find(name).id == 1


def test_a_name_that_ends_a_longer_string_is_found() -> None:
    """Fails when only whole strings count: a producer may point into one."""
    blob = Blob()
    blob.integer("long_name")
    blob.add("FWD", blob.string("other_name") + len("other_"))
    assert Btf(blob.build()).find("name", Kind.FWD).id == 2


def test_a_whole_string_of_the_name_does_not_hide_a_tail_of_another_kind() -> None:
    """Fails when the search ends at a string that no type of the wanted kind has."""
    blob = Blob()
    blob.integer("name")
    blob.add("FWD", blob.string("other_name") + len("other_"))
    btf = Btf(blob.build())
    assert btf.find("name", Kind.FWD).id == 2
    assert btf.find("name").id == 1


@pytest.mark.parametrize("copies", [2, 4, 5, 50])
def test_a_name_that_is_stored_several_times_is_found_by_lowest_id(copies: int) -> None:
    """Fails when strings that nobody merged hide types, or the order of ids is lost."""
    blob = Blob()
    offsets = [blob.string("twin") for _ in range(copies)]
    for offset in reversed(offsets):
        blob.add("FWD", offset)
        blob.add("FLOAT", offset, 4)
    btf = Btf(blob.build())
    assert [type.id for type in btf.find_all("twin")] == list(range(1, 2 * copies + 1))
    assert [type.id for type in btf.find_all("twin", Kind.FLOAT)] == list(
        range(2, 2 * copies + 1, 2)
    )


@pytest.mark.parametrize("name", ["absent", "in", "nt", "int\0", "a\0int", "\ud800", "int" * 1000])
def test_a_name_that_no_type_has_is_an_error(name: str) -> None:
    """Fails when a part of a name, or one that no string can be, finds a type."""
    blob = Blob()
    blob.string("a")
    blob.integer("int")
    with pytest.raises(BtfError, match="no type named"):
        Btf(blob.build()).find(name)


def test_an_empty_name_is_no_question() -> None:
    """Fails when some anonymous type answers for all of them."""
    blob = Blob()
    blob.add("FWD")
    with pytest.raises(ValueError, match="name is empty"):
        Btf(blob.build()).find("")


def test_an_offset_outside_the_section_names_type_and_section() -> None:
    """Fails when a name offset is used unchecked."""
    blob = Blob()
    blob.add("FWD", 1000)
    message = r"type section: type 1 at offset 0: BTF string section: offset 1000 is outside 0\.\.1"
    with pytest.raises(BtfError, match=message):
        Btf(blob.build()).type(1)


def test_names_inside_each_other_cannot_fill_the_memory() -> None:
    """Fails when 20 KB of hostile names are decoded to 50 MB."""
    blob = Blob()
    start = blob.string("x" * 20000)
    for i in range(5000):
        blob.add("FWD", start + i)
    with pytest.raises(BtfError, match="inside each other"):
        list(Btf(blob.build()).types())


def test_a_name_that_many_types_share_is_kept_once() -> None:
    """Fails when equal names take memory for each type."""
    blob = Blob()
    shared = blob.string("flags")
    blob.add("FWD", shared)
    blob.add("FLOAT", shared, 4)
    btf = Btf(blob.build())
    assert btf.type(1).name is btf.type(2).name


def test_strings_are_found_by_how_they_begin() -> None:
    """Fails when a tag with a value in it is missed, or one inside another string is taken."""
    blob = Blob()
    for text in ("tag:one", "other tag:two", "tag:three", "tag:one", "ta"):
        blob.strings += text.encode() + b"\0"
    assert Btf(blob.build()).strings.starting("tag:") == ["tag:one", "tag:three"]
