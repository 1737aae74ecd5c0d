"""BtfBuilder, read back by Btf, by bpftool, and compared with bytes written by hand."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.errors import BtfError

from .blob import Blob, btf_section
from .strategies import every_kind, type_lists

INT = t.Int(name="int", size=4, bits=32, encoding=t.IntEncoding.SIGNED)
ORDERS = st.sampled_from(["little", "big"])


def build(types: list[t.Type], byte_order: str = "little") -> BtfBuilder:
    builder = BtfBuilder(byte_order)
    for number, type in enumerate(types, 1):
        assert builder.add(type) == number
    return builder


@given(type_lists(), ORDERS)
def test_types_of_every_kind_come_back(types: list[t.Type], order: str) -> None:
    """Fails when a field of a kind is written where the parser does not find it."""
    btf = build(types, order).to_btf()
    assert btf.byte_order == order
    assert list(btf.types()) == types


def test_the_strategy_has_every_kind() -> None:
    """Fails when a new kind is left out of the random types."""
    kinds = {find(strategy, lambda _: True).kind for strategy in every_kind(st.just(0))}
    assert kinds == set(t.Kind) - {t.Kind.VOID}


@given(type_lists(), type_lists(), ORDERS, ORDERS)
def test_appended_types_are_renumbered(
    first: list[t.Type], second: list[t.Type], order: str, other: str
) -> None:
    """Fails when add_all mixes up ids or names of the two, or the byte orders."""
    builder = build(first, order)
    ids = builder.add_all(build(second, other).to_btf())
    assert ids == {number: number + len(first) for number in range(1, len(second) + 1)}
    result = builder.to_btf()
    again = BtfBuilder(other)
    again.add_all(result)
    copy = list(again.to_btf().types())
    assert copy == list(result.types())
    assert copy[: len(first)] == first
    # The second half alone, ids moved back, is what it was.
    back = BtfBuilder(other)
    for type in copy[len(first) :]:
        back.add(type)
    back.records = [shifted(words, len(first)) for words in back.records]
    assert list(back.to_btf().types()) == second


def shifted(words: list[int], shift: int) -> list[int]:
    """`words` of struct btf_type with its type ids, if not 0, lowered; by the uapi header."""
    kind, vlen = words[1] >> 24 & 0x1F, words[1] & 0xFFFF
    slots = [2] if kind in (2, 8, 9, 10, 11, 12, 13, 14, 17, 18) else []
    slots += {3: [3, 4]}.get(kind, [])
    slots += [4 + 3 * i for i in range(vlen)] if kind in (4, 5) else []
    slots += [4 + 2 * i for i in range(vlen)] if kind == 13 else []
    slots += [3 + 3 * i for i in range(vlen)] if kind == 15 else []
    return [w - shift if i in slots and w else w for i, w in enumerate(words)]


@pytest.mark.parametrize("order", ["little", "big"])
def test_the_bytes_are_those_of_the_uapi_header(order: str) -> None:
    """Fails when reader and writer share a mistake about the format."""
    blob = Blob("<" if order == "little" else ">")
    number = blob.integer()
    blob.add("PTR", "", number)
    blob.array(number, 7)
    name, a, b = blob.string("s"), blob.string("a"), blob.string("b")
    bitfield = 5 << 24 | 32
    blob.add("STRUCT", name, 8, a, number, 0, b, number, bitfield, vlen=2, flag=True)
    blob.add("FWD", "u", flag=True)
    prototype = blob.add("FUNC_PROTO", "", number, blob.string("p"), number, 0, 0, vlen=2)
    blob.add("FUNC", "f", prototype, vlen=1)
    name, value = blob.string("e"), blob.string("X")
    blob.add("ENUM64", name, 8, value, 2, 0xFFFFFFFF, vlen=1, flag=True)
    blob.add("DECL_TAG", "tag", 4, -1, flag=True)
    name = blob.string(".data")
    blob.add("DATASEC", name, 4, blob.add("VAR", "v", number, 1), 0, 4, vlen=1)
    members = (t.Member("a", 1, 0), t.Member("b", 1, 32, 5))
    types = [
        INT,
        t.Pointer(type_id=1),
        t.Array(type_id=1, index_type_id=1, length=7),
        t.Struct(name="s", size=8, members=members, kind_flag=True),
        t.Fwd(name="u", is_union=True),
        t.FuncProto(type_id=1, parameters=(t.Parameter("p", 1), t.Parameter("", 0))),
        t.Func(name="f", type_id=6, linkage=t.Linkage.GLOBAL),
        t.Enum64(name="e", size=8, signed=True, values=(t.Enumerator("X", 2 - (1 << 32)),)),
        t.DeclTag(name="tag", type_id=4, is_attribute=True),
        t.Var(name="v", type_id=1, linkage=t.Linkage.GLOBAL),
        t.Datasec(name=".data", size=4, variables=(t.SectionVariable(10, 0, 4),)),
    ]
    builder = BtfBuilder(order)
    for type in types:
        if type.name == "v":
            builder.string(".data")  # where the bytes by hand have it
        builder.add(type)
    assert builder.to_bytes() == blob.build()


@pytest.mark.parametrize("target", ["bpfel", "bpfeb"])
def test_bpftool_reads_a_copy_as_it_reads_the_original(
    target: str, bpftool: str, compile_bpf: Callable[[str], Path], tmp_path: Path
) -> None:
    """Fails when a copy of a compiler's BTF says anything else than the BTF itself."""
    path = compile_bpf(target)
    original = Btf(btf_section(path))
    builder = BtfBuilder(original.byte_order)
    for type in original.types():
        builder.add(type)
    copied = BtfBuilder(original.byte_order)
    copied.add_all(original)
    dumps = []
    for number, data in enumerate((btf_section(path), builder.to_bytes(), copied.to_bytes())):
        file = tmp_path / str(number)
        file.write_bytes(data)
        command = [bpftool, "-j", "btf", "dump", "file", str(file)]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        dumps.append(json.loads(result.stdout))
    assert dumps[0] == dumps[1] == dumps[2]
    assert len(dumps[0]["types"]) == original.end_id - 1


def test_the_kernels_types_survive_a_copy(vmlinux: bytes) -> None:
    """Fails when a type that compilers and pahole make is changed by add_all."""
    btf = Btf(vmlinux)
    builder = BtfBuilder()
    assert builder.add_all(btf)[btf.end_id - 1] == btf.end_id - 1
    for one, other in zip(builder.to_btf().types(), btf.types(), strict=True):
        assert one == other


def test_equal_strings_share_an_offset() -> None:
    """Fails when a name is stored twice."""
    builder = build([INT, t.Typedef(name="word", type_id=1), t.Var(name="word", type_id=1)])
    assert builder.to_bytes().endswith(b"\0int\0word\0")
    assert builder.to_bytes().count(b"word") == 1


def test_split_btf_continues_its_base() -> None:
    """Fails when ids or string offsets of split BTF do not start where the base ends."""
    base = build([INT]).to_btf()
    builder = BtfBuilder(base=base)
    assert builder.add(t.Typedef(name="int", type_id=1)) == 2  # a name of the base
    assert builder.add(t.Struct(name="new", size=4, members=(t.Member("x", 2, 0),))) == 3
    data = builder.to_bytes()
    assert b"int" not in data
    split = Btf(data, base=base)
    assert split.find("new").id == 3
    assert split.resolve(2) == INT
    copy = BtfBuilder(base=base)
    copy.add_all(split)
    assert copy.to_bytes() == data
    with pytest.raises(BtfError, match="not the base of this builder"):
        BtfBuilder().add_all(split)


def test_an_equal_type_is_added_once() -> None:
    """Fails when add_once adds a second int, or takes one type for another."""
    builder = BtfBuilder()
    assert [builder.add_once(INT), builder.add_once(INT)] == [1, 1]
    assert builder.add_once(t.Pointer(type_id=1)) == 2
    assert builder.add(INT) == 3


@pytest.mark.parametrize(
    ("type", "message"),
    [
        (t.Struct(name="a b", size=0), "refuses the name 'a b'"),
        (t.Struct(name="s", size=4, members=(t.Member("x y", 1, 0),)), "member name 'x y'"),
        (t.Enum(size=4, values=(t.Enumerator("", 1),)), "enumerator name ''"),
        (t.Pointer(name="p", type_id=1), "PTR has no name"),
        (t.Typedef(type_id=1), "TYPEDEF needs a name"),
        (t.Datasec(name=".da\nta", size=0), "section name"),
        (t.Var(name="x" * 512, type_id=1), "512 characters"),
        (t.Typedef(name="a\0b", type_id=1), "refuses the name"),
        (t.TypeTag(name="a\0b", type_id=1), "NUL"),
        (t.Int(name="int", size=-1, bits=32), r"size -1 is outside 0\.\.4294967295"),
        (t.Int(name="int", size=4, bits=256), r"bits 256 is outside 0\.\.255"),
        (t.Enum(size=4, values=(t.Enumerator("N", -1),)), "value of N -1 is outside"),
        (
            t.Struct(name="s", size=4, members=(t.Member("x", 1, 1 << 24),), kind_flag=True),
            "bit_offset of member 'x' 16777216",
        ),
        (t.Struct(name="s", size=4, members=(t.Member("x", 1, 0, 3),)), "kind_flag=True"),
        (t.VOID, "no type of a known BTF kind"),
        (t.Unknown(kind_number=40), "no type of a known BTF kind"),
    ],
)
def test_what_the_kernel_or_the_format_refuses(type: t.Type, message: str) -> None:
    """Fails when a type is written that no kernel loads, or loses bits on the way."""
    builder = build([INT])
    with pytest.raises(BtfError, match=message):
        builder.add(type)


def test_a_reference_to_nothing_is_refused() -> None:
    """Fails when BTF is written that its own parser refuses."""
    builder = build([INT, t.Pointer(type_id=3)])
    with pytest.raises(BtfError, match="type 2 refers to type 3, the last is 2"):
        builder.to_bytes()
    builder.add(t.Const(type_id=1))
    assert builder.to_btf().type(2) == t.Pointer(type_id=3)
