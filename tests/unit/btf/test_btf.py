"""Lookups: by id, by name, through modifiers, across split BTF."""

from __future__ import annotations

import pytest

from ebpf.btf import Btf, Kind
from ebpf.btf import types as t
from ebpf.errors import BtfError

from .blob import Blob


def kernel_and_module(order: str = "<") -> tuple[Blob, Blob]:
    kernel = Blob(order)
    number = kernel.integer("long int", 8)
    kernel.struct("shared", 8, ("value", number, 0))
    module = Blob(order, kernel)
    module.struct("own", 16, ("first", 1, 0), ("second", 2, 64))
    # A name that the base already holds is not stored again.
    module.add("TYPEDEF", kernel.strings.index(b"shared"), 3)
    module.struct("shared", 1)
    return kernel, module


def test_void_is_type_0() -> None:
    """Fails when a pointer to void cannot be followed."""
    assert Btf(Blob().build()).type(0) == t.VOID


@pytest.mark.parametrize("type_id", [-1, 2, 1 << 40])
def test_an_id_that_does_not_exist_is_an_error(type_id: int) -> None:
    """Fails when a negative id counts from the end."""
    blob = Blob()
    blob.integer()
    with pytest.raises(BtfError, match=f"no type {type_id}, the last is 1"):
        Btf(blob.build()).type(type_id)


def test_a_type_is_decoded_once_and_cannot_be_changed() -> None:
    """Fails when two lookups give two objects, or the cache can be spoilt through one."""
    blob = Blob()
    blob.integer()
    btf = Btf(blob.build())
    assert btf.type(1) is btf.find("int")
    with pytest.raises(AttributeError, match="immutable"):
        btf.type(1).name = "other"  # type: ignore[misc]


def test_types_are_equal_by_what_they_say_and_not_by_id() -> None:
    """Fails when the same declaration in two files is two types."""
    blob = Blob()
    blob.integer("int")
    blob.integer("int")
    blob.integer("int", 8)
    btf = Btf(blob.build())
    assert btf.type(1) == btf.type(2) != btf.type(3)


def test_a_broken_type_does_not_keep_others_from_being_read() -> None:
    """Fails when types are decoded before they are asked for."""
    blob = Blob()
    blob.add("PTR", "", 77)
    blob.integer("good")
    btf = Btf(blob.build())
    assert btf.find("good").id == 2
    with pytest.raises(BtfError, match="type 1 at offset 0: refers to type 77, the last is 2"):
        btf.type(1)


@pytest.mark.parametrize("order", ["<", ">"])
def test_split_btf_continues_the_ids_and_strings_of_its_base(order: str) -> None:
    """Fails when a module's types are counted from 1, or its strings from 0."""
    kernel, module = kernel_and_module(order)
    base = Btf(kernel.build())
    btf = Btf(module.build(), base=base)
    assert (btf.start_id, btf.end_id) == (3, 6)
    own = btf.find_struct("own")
    assert own.type.id == 3
    assert own.offsetof("second.value") == 8
    assert btf.type(1) is base.type(1)
    assert btf.find("shared", Kind.TYPEDEF).id == 4
    assert btf.pointer_size == 8


def test_split_btf_is_searched_before_its_base() -> None:
    """Fails when a module's own struct is hidden by one of the kernel that has its name."""
    kernel, module = kernel_and_module()
    base = Btf(kernel.build())
    btf = Btf(module.build(), base=base)
    assert btf.find_struct("shared").size == 1
    assert [type.id for type in btf.find_all("shared")] == [4, 5, 2]
    assert base.find_struct("shared").size == 8


def test_split_btf_without_strings_of_its_own() -> None:
    """Fails when a module whose names are all in the kernel is refused."""
    kernel, _ = kernel_and_module()
    module = Blob(base=kernel)
    module.add("FWD", kernel.strings.index(b"shared"))
    assert Btf(module.build(), base=Btf(kernel.build())).type(3).name == "shared"


def test_split_btf_without_its_base_says_what_it_needs() -> None:
    """Fails when a module's BTF is read as if it stood alone."""
    _, module = kernel_and_module()
    with pytest.raises(BtfError, match="needs base="):
        Btf(module.build())


def test_a_base_of_the_other_byte_order_is_refused() -> None:
    """Fails when types of two machines are mixed."""
    kernel, _ = kernel_and_module("<")
    _, module = kernel_and_module(">")
    with pytest.raises(BtfError, match="big-endian, but base is little-endian"):
        Btf(module.build(), base=Btf(kernel.build()))


def test_a_struct_that_is_something_else_is_named_so() -> None:
    """Fails when the error hides that the name belongs to a union or a typedef."""
    blob = Blob()
    blob.struct("attr", 4, kind="UNION")
    blob.add("TYPEDEF", "attr", 1)
    btf = Btf(blob.build())
    with pytest.raises(BtfError, match="no struct named 'attr', but a typedef and a union"):
        btf.find_struct("attr")
    assert btf.find_union("attr").size == 4
    assert btf.layout(2).name == "attr"


def test_sizes_are_those_of_c() -> None:
    """Fails when an array, a pointer, a typedef or a variable has another size than in C."""
    blob = Blob()
    number = blob.integer("unsigned long", 4)
    rows = blob.array(blob.array(number, 3), 5)
    alias = blob.add("TYPEDEF", "rows", blob.add("CONST", "", rows))
    variable = blob.add("VAR", "v", alias, 1)
    pointers = blob.array(blob.add("PTR", "", 0), 7)
    btf = Btf(blob.build())
    assert [btf.sizeof(id) for id in (rows, alias, variable, pointers)] == [60, 60, 60, 28]


def test_pointers_have_eight_bytes_where_no_long_tells() -> None:
    """Fails when the pointer size of BPF itself is that of the host."""
    blob = Blob()
    blob.integer("int", 4)
    pointer = blob.add("PTR", "", 1)
    assert Btf(blob.build()).sizeof(pointer) == 8


@pytest.mark.parametrize("kind", ["FWD", "FUNC", "FUNC_PROTO", "VOID"])
def test_what_has_no_size_is_an_error(kind: str) -> None:
    """Fails when an incomplete type has size 0."""
    blob = Blob()
    blob.add("FUNC_PROTO")
    type_id = 0 if kind == "VOID" else blob.add(kind, kind, 1 if kind == "FUNC" else 0)
    with pytest.raises(BtfError, match=f"no size: it is {kind}"):
        Btf(blob.build()).sizeof(type_id)


@pytest.mark.parametrize("kinds", [["TYPEDEF", "CONST"], ["ARRAY", "ARRAY"], ["VAR", "TYPE_TAG"]])
def test_types_in_a_circle_end(kinds: list[str]) -> None:
    """Fails when a type that leads to itself is followed for ever."""
    blob = Blob()
    for kind, target in zip(kinds, (2, 1), strict=True):
        if kind == "ARRAY":
            blob.array(target, 1)
        else:
            blob.add(kind, "", target, *[0] * (kind == "VAR"))
    with pytest.raises(BtfError, match="or in a circle"):
        Btf(blob.build()).sizeof(1)


def test_an_array_larger_than_the_kernel_can_count_is_refused() -> None:
    """Fails when sizes of hostile arrays grow without limit."""
    blob = Blob()
    element = blob.integer()
    for _ in range(3):
        element = blob.array(element, 0xFFFFFFFF)
    with pytest.raises(BtfError, match="larger than 4 GiB"):
        Btf(blob.build()).sizeof(element)


def test_a_linkage_of_the_future_keeps_its_number() -> None:
    """Fails when one unknown linkage makes the whole BTF unreadable."""
    blob = Blob()
    blob.add("FUNC", "f", 0, vlen=9)
    function = Btf(blob.build()).type(1)
    assert isinstance(function, t.Func)
    assert (function.linkage, function.linkage.name) == (9, "UNKNOWN_9")
