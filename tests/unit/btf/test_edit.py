"""BtfEditor: what a loader changes before the kernel gets the BTF."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.btf.edit import BtfEditor
from ebpf.errors import BtfError

from .blob import Blob, btf_section

INT = t.Int(name="int", size=4, bits=32, encoding=t.IntEncoding.SIGNED)


@pytest.fixture
def btf() -> Btf:
    """1 int, 2 and 3 variables, 4 their section, 5 prototype, 6 function, 7 .ksyms."""
    builder = BtfBuilder("little")
    builder.add(INT)
    builder.add(t.Var(name="a", type_id=1, linkage=t.Linkage.GLOBAL))
    builder.add(t.Var(name="b", type_id=1, linkage=t.Linkage.EXTERN))
    where = (t.SectionVariable(2, 0, 4), t.SectionVariable(3, 0, 4))
    builder.add(t.Datasec(name=".data", size=0, variables=where))
    builder.add(t.FuncProto(type_id=1, parameters=(t.Parameter("", 1), t.Parameter("", 0))))
    builder.add(t.Func(name="f", type_id=5, linkage=t.Linkage.EXTERN))
    where = (t.SectionVariable(3, 0, 4), t.SectionVariable(6, 0, 0))
    builder.add(t.Datasec(name=".ksyms", size=0, variables=where))
    return builder.to_btf()


def test_a_copy_is_the_same_bytes(compile_bpf: Callable[[str], Path]) -> None:
    """Fails when an editor changes what nobody asked it to."""
    for target in ("bpfel", "bpfeb"):
        data = btf_section(compile_bpf(target))
        assert BtfEditor(Btf(data)).to_bytes() == data


def test_a_section_gets_its_size_and_offsets(btf: Btf) -> None:
    """Fails when variables are not sorted by offset, which the kernel demands."""
    editor = BtfEditor(btf)
    editor.set_section(4, 16, {2: 8, 3: 0})
    expected = (t.SectionVariable(3, 0, 4), t.SectionVariable(2, 8, 4))
    section = t.Datasec(name=".data", size=16, variables=expected)
    assert editor.type(4) == editor.to_btf().type(4) == section
    assert btf.type(4) != section
    with pytest.raises(BtfError, match="no variable of type id 1"):
        editor.set_section(4, offsets={1: 0})
    with pytest.raises(BtfError, match="is VAR, no DATASEC"):
        editor.set_section(2)


def test_linkage_changes_of_variables_and_functions(btf: Btf) -> None:
    """Fails when a hidden function remains global, or another field changes."""
    editor = BtfEditor(btf)
    editor.set_linkage(2, t.Linkage.STATIC)
    editor.set_linkage(6, t.Linkage.GLOBAL)
    result = editor.to_btf()
    assert result.type(2) == t.Var(name="a", type_id=1, linkage=t.Linkage.STATIC)
    assert result.type(6) == t.Func(name="f", type_id=5, linkage=t.Linkage.GLOBAL)
    with pytest.raises(BtfError, match="only VAR and FUNC have linkage"):
        editor.set_linkage(1, t.Linkage.STATIC)


def test_externs_become_ints_of_the_section(btf: Btf) -> None:
    """Fails when the kernel still sees extern variables or functions, which it refuses."""
    editor = BtfEditor(btf)
    editor.allocate_externs(7)
    result = editor.to_btf()
    assert result.type(3) == t.Var(name="b", type_id=1, linkage=t.Linkage.GLOBAL)
    assert result.type(8) == t.Var(name="dummy_ksym", type_id=1, linkage=t.Linkage.GLOBAL)
    assert result.type(6) == t.Func(name="f", type_id=5, linkage=t.Linkage.GLOBAL)
    parameters = (t.Parameter("dummy_ksym", 1), t.Parameter("", 0))
    assert result.type(5) == t.FuncProto(type_id=1, parameters=parameters)
    expected = (t.SectionVariable(3, 0, 4), t.SectionVariable(8, 4, 4))
    assert result.type(7) == t.Datasec(name=".ksyms", size=8, variables=expected)
    assert result.end_id == 9


def test_what_is_added_can_be_read_and_replaced(btf: Btf) -> None:
    """Fails when types after the original ones are out of reach."""
    editor = BtfEditor(btf)
    number = editor.add(t.Typedef(name="word", type_id=1))
    assert editor.type(number) == t.Typedef(name="word", type_id=1)
    editor.replace(number, t.Pointer(type_id=1))
    assert editor.to_btf().type(number) == t.Pointer(type_id=1)
    with pytest.raises(BtfError, match=r"this BTF's own are 1\.\.8"):
        editor.replace(9, INT)


def test_kinds_that_only_the_layout_describes_are_kept() -> None:
    """Fails when BTF of a newer format cannot be loaded any more after a change."""
    blob = Blob()
    blob.integer()
    blob.add(40, "new", 7, 1, 2, 3, vlen=3)
    layout = bytes(4 * 40) + b"\0\4\0\0"
    data = blob.build(header_length=32, layout=layout)
    editor = BtfEditor(Btf(data))
    assert editor.to_bytes() == data
    editor.replace(1, t.Int(name="int", size=4, bits=32))
    unknown = editor.to_btf().type(2)
    assert isinstance(unknown, t.Unknown)
    assert unknown.kind_number == 40
    assert len(unknown.body) == 12
