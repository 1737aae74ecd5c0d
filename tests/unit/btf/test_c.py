"""C output, judged by compilers: it must compile, and give the layouts that BTF has."""

from __future__ import annotations

import platform
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpf.btf import Btf, Layout
from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.btf.c import to_c, to_header
from ebpf.errors import BtfError

from .blob import btf_section
from .conftest import HERE, VMLINUX, tool
from .strategies import type_lists
from .test_oracle import assertions

INT = t.Int(name="int", size=4, bits=32, encoding=t.IntEncoding.SIGNED)
CHAR = t.Int(name="char", size=1, bits=8)
LONG = t.Int(name="long int", size=8, bits=64, encoding=t.IntEncoding.SIGNED)
SHORT = t.Int(name="short unsigned int", size=2, bits=16)
TAGGED = (t.Struct, t.Union, t.Enum, t.Enum64, t.Fwd)
DEFINITION = re.compile(r"^(?:struct|union|enum)[^\n;]*\{|^typedef ", re.M)


def compile_text(clang: str, text: str, output: Path, target: str = "bpfel") -> Btf:
    command = [clang, "-target", target, "-g", "-c", "-x", "c", "-", "-o", str(output)]
    result = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr[:4000]
    return Btf(btf_section(output))


def check(clang: str, text: str, target: str = "bpf") -> None:
    """Compiles `text`, in which the only warnings allowed are about the lack of code."""
    command = [clang, "-target", target, "-fsyntax-only", "-fms-extensions"]
    command += ["-Wno-microsoft", "-Wno-microsoft-anon-tag", "-Werror", "-x", "c", "-"]
    result = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr[:4000]


def is_padding(btf: Btf, member: t.Member) -> bool:
    """Whether C output added `member`: nothing else can fill such gaps."""
    empty = isinstance(type := btf.type(member.type_id), t.Struct) and not type.members
    return member.name.startswith("__padding_") or (not member.name and empty)


def described(btf: Btf, type_id: int, depth: int = 0) -> object:
    """A type without its ids, so that two BTFs can be compared; named ones by name only."""
    type = btf.type(type_id)
    if isinstance(type, (t.Struct, t.Union)) and (not type.name or not depth):
        members = [
            (m.name, m.bit_offset, m.bitfield_size, described(btf, m.type_id, depth + 1))
            for m in type.members
            if not is_padding(btf, m)
        ]
        return (type.kind, type.name, type.size, members)
    if isinstance(type, (t.Enum, t.Enum64)):
        return (type.kind, type.name, type.size, type.values)
    if isinstance(type, (t.Array, t.FuncProto)):
        inner = [type.type_id, *(p.type_id for p in getattr(type, "parameters", ()))]
        length = getattr(type, "length", 0)
        return (type.kind, length, [described(btf, one, depth + 1) for one in inner])
    if isinstance(type, (t.Fwd, t.Struct, t.Union)):
        return type.name
    if isinstance(type, t.Typedef) and depth:
        return type.name
    if hasattr(type, "type_id"):
        return (type.kind, type.name, described(btf, type.type_id, depth + 1))
    return type


@pytest.mark.parametrize("target", ["bpfel", "bpfeb"])
def test_compiling_the_output_gives_the_same_types(target: str, clang: str, tmp_path: Path) -> None:
    """Fails when any declaration comes out as another type, or a field at another offset."""
    source = (HERE / "layouts.c").read_text()
    before = compile_text(clang, source, tmp_path / "before.o", target)
    uses = source[source.index("#define USE") :]
    text = to_c(before)
    after = compile_text(clang, f"{text}\n{uses}", tmp_path / "after.o", target)
    check(clang, text, target)
    compared = 0
    for type in before.types():
        if type.name and isinstance(type, (t.Struct, t.Union, t.Enum, t.Enum64, t.Typedef)):
            other = after.find(type.name, type.kind)
            assert described(before, type.id) == described(after, other.id)
            compared += 1
    assert compared > 30


def test_every_field_of_every_kind(clang: str, compile_bpf: Callable[[str], Path]) -> None:
    """Fails when a size or offset in the C differs from the one in the BTF."""
    btf = Btf(btf_section(compile_bpf("bpfel")))
    claims = list(assertions(btf.find_struct("outer")))
    assert len(claims) > 40
    check(clang, to_c(btf) + "\n".join(claims))


@pytest.fixture(scope="session")
def vmlinux_c(vmlinux: bytes) -> str:
    return to_header(Btf(vmlinux))


def test_the_kernels_types_compile_with_their_offsets(
    clang: str, vmlinux: bytes, vmlinux_c: str
) -> None:
    """Fails when a struct of the kernel gets another layout than it has in the kernel."""
    btf = Btf(vmlinux)
    tags = Counter(type.name for type in btf.types() if isinstance(type, TAGGED))
    once = [
        type
        for type in btf.types()
        if isinstance(type, (t.Struct, t.Union)) and tags[type.name] == 1
    ]
    claims = [
        f'_Static_assert(sizeof({type.kind.name.lower()} {type.name}) == {type.size}, "");'
        for type in once
    ]
    assert len(claims) > 5000
    sample = [type for type in once if type.name in ("task_struct", "sk_buff", "net_device")]
    for type in [*sample, *once[:: len(once) // 150]]:
        claims += assertions(Layout(btf, type))
    check(clang, vmlinux_c)
    # For this machine: va_list, which some structs hold, is another type for BPF.
    text = "#define BPF_NO_PRESERVE_ACCESS_INDEX\n" + vmlinux_c + "\n".join(claims)
    check(clang, text, platform.machine())


def test_the_kernels_definitions_are_as_many_as_bpftools(vmlinux_c: str, bpftool: str) -> None:
    """Fails when a definition is left out, or written twice."""
    command = [bpftool, "btf", "dump", "file", str(VMLINUX), "format", "c"]
    theirs = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert len(DEFINITION.findall(vmlinux_c)) == len(DEFINITION.findall(theirs)) > 10_000


def test_the_kernels_types_compile_with_gcc(vmlinux_c: str) -> None:
    """Fails when the output relies on clang."""
    command = [tool("gcc"), "-w", "-fsyntax-only", "-fms-extensions", "-x", "c", "-"]
    result = subprocess.run(command, input=vmlinux_c, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr[:4000]


@st.composite
def structs(draw: st.DrawFn) -> t.Struct:
    """A struct of ints, chars, longs and bitfields, in order, with any gaps."""
    members: list[t.Member] = []
    end = 0
    for number in range(draw(st.integers(0, 6))):
        kind, size = draw(st.sampled_from([(1, 4), (2, 1), (3, 8), (4, 2)]))
        width = draw(st.integers(0, 8 * size))
        gap = draw(st.integers(0, 80))
        if width:
            members.append(t.Member(f"m{number}", kind, end + gap, width))
            end += gap + width
        else:
            offset = (end + gap + 7) // 8 * 8
            members.append(t.Member(f"m{number}", kind, offset))
            end = offset + 8 * size
    size = (end + 7) // 8 + draw(st.integers(0, 20))
    return t.Struct(name="s", size=size, members=tuple(members), kind_flag=True)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(structs(), min_size=20, max_size=40))
def test_random_layouts_come_back(many: list[t.Struct]) -> None:
    """Fails when padding, packing or bitfields move a field or change a size."""
    clang = tool("clang", *(f"clang-{version}" for version in range(22, 14, -1)))
    builder = BtfBuilder("little")
    for type in (INT, CHAR, LONG, SHORT):
        builder.add(type)
    claims = []
    for number, one in enumerate(many):
        name = f"s{number}"
        builder.add(t.Struct(name=name, size=one.size, members=one.members, kind_flag=True))
        claims.append(f"struct {name} *p{number};")
    text = to_c(builder.to_btf()) + "\n".join(claims)
    command = [clang, "-target", "bpfel", "-g", "-c", "-x", "c", "-", "-o", "-"]
    result = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    assert result.returncode == 0, result.stderr[:4000]
    found = read_object(result.stdout)
    for number, one in enumerate(many):
        other = found.find(f"s{number}", t.Kind.STRUCT)
        assert isinstance(other, t.Struct)
        assert other.size == one.size, text
        assert [tuple(m)[2:] for m in other.members] == [tuple(m)[2:] for m in one.members], text


def read_object(data: bytes) -> Btf:
    """The BTF of an object that is in no file."""
    start = data.index(b"\x9f\xeb\x01\x00")
    return Btf(data[start:])


def test_names_that_two_types_have() -> None:
    """Fails when the C defines a name twice, or a declaration names another type's tag."""
    builder = BtfBuilder("little")
    builder.add(INT)
    builder.add(t.Struct(name="same", size=4, members=(t.Member("first", 1, 0),)))
    builder.add(t.Struct(name="same", size=4, members=(t.Member("second", 1, 0),)))
    builder.add(t.Union(name="same", size=4, members=(t.Member("third", 1, 0),)))
    builder.add(t.Typedef(name="word", type_id=1))
    builder.add(t.Enum(name="e", size=4, values=(t.Enumerator("word", 1), t.Enumerator("X", 2))))
    builder.add(t.Fwd(name="same", is_union=True))
    text = to_c(builder.to_btf())
    assert re.findall(r"(?:struct|union) \w+ {\n.*\n", text) == [
        "struct same {\n\tint first;\n",
        "struct same___2 {\n\tint second;\n",
        "union same___3 {\n\tint third;\n",
    ]
    assert "union same___3;" in text
    assert "word___2 = 1,\n\tX = 2," in text


def test_only_what_is_asked_for_and_needed() -> None:
    """Fails when other types are written too, or one that a field needs is not."""
    builder = BtfBuilder("little")
    builder.add(INT)
    builder.add(t.Struct(name="inner", size=4, members=(t.Member("x", 1, 0),)))
    builder.add(t.Struct(name="pointed", size=4, members=(t.Member("x", 1, 0),)))
    builder.add(t.Pointer(type_id=3))
    members = (t.Member("p", 4, 0), t.Member("i", 2, 64))
    builder.add(t.Struct(name="outer", size=16, members=members))
    builder.add(t.Struct(name="other", size=0))
    assert to_c(builder.to_btf(), [5]) == (
        "struct pointed;\n\n"
        "struct inner {\n\tint x;\n};\n\n"
        "struct outer {\n\tstruct pointed *p;\n\tstruct inner i;\n};\n\n"
    )


def test_names_of_other_languages() -> None:
    """Fails when a name that C cannot have makes C that does not compile."""
    builder = BtfBuilder("little")
    builder.records.append([builder.string("Option<u32>"), 4 << 24 | 1, 4])
    builder.records[0] += [builder.string("0"), 2, 0]
    builder.add(t.Int(name="u32", size=4, bits=32))
    text = to_c(builder.to_btf())
    assert text == "struct Option_u32_ {\n\tunsigned int _0;\n};\n\n"


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ([t.Struct(name="s", size=4, members=(t.Member("s", 1, 0),))], "in itself|needs itself"),
        ([t.Typedef(name="a", type_id=2), t.Typedef(name="b", type_id=1)], "needs itself"),
        ([t.Pointer(type_id=1), t.Typedef(name="a", type_id=1)], "leads through more than"),
        (
            [
                t.Pointer(type_id=2),
                t.FuncProto(type_id=0, parameters=(t.Parameter("f", 1),)),
                t.Typedef(name="takes_itself", type_id=1),
            ],
            "nested deeper than",
        ),
        (
            [INT, t.Struct(name="s", size=4, members=(t.Member("a", 1, 0), t.Member("b", 1, 16)))],
            "'b' at bit 16 overlaps",
        ),
        ([INT, t.Struct(name="s", size=2, members=(t.Member("a", 1, 0),))], "its size is 2 bytes"),
        ([INT, t.Union(name="u", size=8, members=(t.Member("a", 1, 32),))], "does not start at 0"),
        ([t.Enum(name="e", size=3, values=(t.Enumerator("A", 1),))], "an enum of 3 bytes"),
    ],
)
def test_what_c_cannot_say(types: list[t.Type], message: str) -> None:
    """Fails when wrong C, or an endless loop, takes the place of an error."""
    builder = BtfBuilder("little")
    for type in types:
        builder.add(type)
    with pytest.raises(BtfError, match=message):
        to_c(builder.to_btf())


def test_anonymous_types_cannot_explode() -> None:
    """Fails when a small BTF makes C that grows without end."""
    builder = BtfBuilder("little")
    builder.add(CHAR)
    for number in range(1, 40):
        members = tuple(t.Member(name, number, 0) for name in "ab")
        builder.add(t.Union(size=1, members=members))
    builder.add(t.Struct(name="bomb", size=1, members=(t.Member("x", 40, 0),)))
    with pytest.raises(BtfError, match="repeat so often"):
        to_c(builder.to_btf())


@given(type_lists())
def test_random_types_are_written_or_refused(types: list[t.Type]) -> None:
    """Fails when malformed BTF ends in anything but C or a BtfError."""
    builder = BtfBuilder("little")
    for type in types:
        builder.add(type)
    btf = builder.to_btf()
    try:
        text = to_c(btf)
    except BtfError:
        return
    assert text.count("{") == text.count("}")


def test_a_deep_chain_of_definitions_needs_no_recursion() -> None:
    """Fails when a few thousand typedefs, each of the next one, exhaust the stack."""
    builder = BtfBuilder("little")
    for number in range(5000):
        builder.add(t.Typedef(name=f"t{number}", type_id=number + 2))
    builder.add(INT)
    text = to_c(builder.to_btf())
    assert text.count("typedef") == 5000
    assert text.startswith("typedef int t4999;")
