"""The names of types; that they are those of the compiler, tests/unit/cli/test_objects.py shows."""

from __future__ import annotations

import pytest

from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.btf.c_type import TypeNames
from ebpf.errors import BtfError


def test_anonymous_types_are_not_written_out() -> None:
    """A line of a list would become pages, or a name be made up."""
    builder = BtfBuilder("little")
    number = builder.add(t.Int(name="u32", size=4, bits=32))
    struct = builder.add(t.Struct(size=4, members=(t.Member("x", number, 0),)))
    pointer = builder.add(t.Pointer(type_id=struct))
    enum = builder.add(t.Enum64(size=8, values=(t.Enumerator("A", 1),)))
    array = builder.add(t.Array(type_id=pointer, index_type_id=number, length=3))
    names = TypeNames(builder.to_btf())
    assert names.declare(array, "") == "struct {...} *[3]"
    assert names.declare(enum, "one") == "enum {...} one"


def test_two_types_of_one_name_are_both_called_so() -> None:
    """The second would be shown with a number that is not in the source."""
    builder = BtfBuilder("little")
    ids = [builder.add(t.Struct(name="same", size=size)) for size in (0, 4)]
    names = TypeNames(builder.to_btf())
    assert [names.declare(one, "") for one in ids] == ["struct same"] * 2


def test_a_function_that_takes_itself_is_an_error() -> None:
    """A malformed file would exhaust the stack."""
    builder = BtfBuilder("little")
    builder.add(t.Pointer(type_id=2))
    builder.add(t.FuncProto(type_id=0, parameters=(t.Parameter("f", 1),)))
    with pytest.raises(BtfError, match="nested deeper than"):
        TypeNames(builder.to_btf()).declare(1, "")


def test_functions_that_take_each_other_twice_are_an_error() -> None:
    """A file of a kilobyte could take hours."""
    builder = BtfBuilder("little")
    for number in range(40):
        builder.add(t.Pointer(type_id=2 * number + 2))
        after = t.Parameter("f", 2 * number + 3)
        builder.add(t.FuncProto(type_id=0, parameters=(after, after)))
    builder.add(t.Int(name="int", size=4, bits=32))
    with pytest.raises(BtfError, match="so often"):
        TypeNames(builder.to_btf()).declare(1, "")
