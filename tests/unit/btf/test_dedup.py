"""Deduplication, judged by libbpf's, which the kernel's build and bpftool use."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable

import pytest
from hypothesis import given

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.btf.dedup import dedup, dedup_builder
from ebpf.btf.words import reference_slots
from ebpf.errors import BtfError

from .blob import btf_section
from .conftest import HERE, tool
from .strategies import type_lists

INT = t.Int(name="int", size=4, bits=32, encoding=t.IntEncoding.SIGNED)

FIRST = """
struct S; struct B;
struct A { int a; struct A *self; struct S *parent; };
struct S { struct A *a; struct B *b; };
enum later; enum now { NOW = 1, THEN = 2 };
union u;
typedef struct { int x; const volatile char *text; } anonymous;
struct uses { enum later *later; enum now now; union u *u; anonymous one; int table[3][4]; };
struct only_declared; struct here { long value; };
int (*function)(struct S *s, struct only_declared *declared, ...);
struct S s; struct A a; struct uses uses; struct here here; struct only_declared *pointer;
"""
SECOND = """
struct S; struct A;
struct B { int b; struct B *self; struct S *parent; };
struct S { struct A *a; struct B *b; };
enum later { LATER = 7 }; enum now { NOW = 1, THEN = 2 };
union u { long number; char bytes[8]; };
typedef struct { int x; const volatile char *text; } anonymous;
struct uses { enum later *later; enum now now; union u *u; anonymous one; int table[3][4]; };
struct here; struct only_declared { int defined; };
int (*function)(struct S *s, struct only_declared *declared, ...);
struct S s; struct B b; union u u; enum later later; struct uses uses; struct only_declared o;
struct here *elsewhere;
"""
# The same name, other contents: nothing of it may be merged.
THIRD = """
struct here { long other; };
struct A { int a; struct A *self; struct here *parent; };
typedef int anonymous;
enum now { NOW = 1, THEN = 3 };
struct A a; struct here here; anonymous word; enum now now;
"""


@pytest.fixture(scope="session")
def libbpf_dedup(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], bytes]:
    """What btf__dedup makes of BTF; skips where there is no libbpf to link with."""
    directory = tmp_path_factory.mktemp("libbpf")
    program = directory / "btf_dedup"
    command = [tool("cc", "gcc"), "-o", str(program), str(HERE / "btf_dedup.c"), "-lbpf"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("libbpf's headers and library are not installed (libbpf-dev)")

    def run(data: bytes) -> bytes:
        source, result = directory / "in", directory / "out"
        source.write_bytes(data)
        subprocess.run([str(program), str(source), str(result)], check=True)
        return result.read_bytes()

    return run


@pytest.fixture(scope="session")
def compile_text(clang: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Btf]:
    def compile_for(text: str) -> Btf:
        output = tmp_path_factory.mktemp("dedup") / "text.o"
        command = [clang, "-target", "bpfel", "-g", "-O2", "-w", "-c", "-x", "c", "-"]
        subprocess.run([*command, "-o", str(output)], input=text, text=True, check=True)
        return Btf(btf_section(output))

    return compile_for


def together(*parts: Btf) -> Btf:
    builder = BtfBuilder("little")
    for part in parts:
        builder.add_all(part)
    return builder.to_btf()


def assert_as_libbpf(btf: Btf, libbpf_dedup: Callable[[bytes], bytes], data: bytes) -> Btf:
    ours = dedup(btf)
    theirs = Btf(libbpf_dedup(data))
    assert list(ours.btf.types()) == list(theirs.types())
    check_mapping(btf, *ours)
    return ours.btf


def check_mapping(before: Btf, after: Btf, ids: dict[int, int]) -> None:
    """Each type became one of its name, and of its kind unless it was only declared."""
    assert set(ids) == set(range(1, before.end_id))
    assert set(ids.values()) == set(range(1, after.end_id))
    for type in before.types():
        new = after.type(ids[type.id])
        assert new.name == type.name
        declared = isinstance(type, t.Fwd) or (
            isinstance(type, (t.Enum, t.Enum64)) and not type.values
        )
        assert declared or new.kind == type.kind


@pytest.mark.parametrize(
    "texts",
    [(FIRST, SECOND), (SECOND, FIRST), (FIRST, FIRST), (FIRST, THIRD, SECOND), (THIRD, FIRST)],
)
def test_compiled_files_are_merged_as_by_libbpf(
    texts: tuple[str, ...],
    compile_text: Callable[[str], Btf],
    libbpf_dedup: Callable[[bytes], bytes],
) -> None:
    """Fails when a declaration, a graph with circles or a name clash is handled differently."""
    builder = BtfBuilder("little")
    for text in texts:
        builder.add_all(compile_text(text))
    merged = assert_as_libbpf(builder.to_btf(), libbpf_dedup, builder.to_bytes())
    assert merged.end_id < builder.next_id


def test_declarations_find_their_definitions(compile_text: Callable[[str], Btf]) -> None:
    """Fails when a type that one file declares and another defines remains declared."""
    btf = dedup(together(compile_text(FIRST), compile_text(SECOND))).btf
    assert not [type for type in btf.types() if isinstance(type, t.Fwd)]
    for name in ("A", "B", "S", "uses", "here", "only_declared"):
        assert len(btf.find_all(name, t.Kind.STRUCT)) == 1
    assert len(btf.find_all("later", t.Kind.ENUM)) == 1
    assert btf.find_all("later", t.Kind.ENUM)[0].values == (t.Enumerator("LATER", 7),)


def random_file(seed: int) -> str:
    """C with structs that point to and hold each other; some are only declared here."""
    chance = random.Random(seed)
    names = [f"s{number}" for number in range(8)]
    lines = [f"struct {name};" for name in names]
    defined: list[str] = []
    for name in names:
        if chance.random() < 0.3:
            continue
        # What a struct contains depends on its name alone: where a name means two things, what
        # libbpf merges depends on the order in which its hash table has them.
        content = random.Random(name)
        members = []
        for number in range(content.randint(1, 5)):
            other = content.choice(names)
            held = f"struct {other} m{number};" if other in defined else f"long m{number};"
            members.append(
                content.choice(
                    [
                        f"int m{number};",
                        f"struct {other} *m{number};",
                        f"const struct {other} *const m{number}[2];",
                        f"int (*m{number})(struct {other} *, int);",
                        f"struct {{ struct {other} *inner; }} m{number};",
                        held,
                    ]
                )
            )
        lines.append(f"struct {name} {{ {' '.join(members)} }};")
        lines.append(f"typedef struct {name} {name}_t; {name}_t v_{name};")
        defined.append(name)
    lines += [f"struct {name} *p_{name};" for name in names]
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(6))
def test_random_files_are_merged_as_by_libbpf(
    seed: int, compile_text: Callable[[str], Btf], libbpf_dedup: Callable[[bytes], bytes]
) -> None:
    """Fails when some combination of declarations and definitions is merged differently."""
    builder = BtfBuilder("little")
    for number in range(3):
        builder.add_all(compile_text(random_file(10 * seed + number)))
    merged = assert_as_libbpf(builder.to_btf(), libbpf_dedup, builder.to_bytes())
    assert merged.end_id < builder.next_id


@given(type_lists())
def test_nothing_is_lost_of_random_types(types: list[t.Type]) -> None:
    """Fails when a type becomes one that says something else, or the result is not valid BTF."""
    builder = BtfBuilder("little")
    for _ in range(2):
        for type in types:
            builder.add(type)
    btf = builder.to_btf()
    try:
        result = dedup(btf)
    except BtfError:
        with pytest.raises(BtfError, match="refers to itself"):
            dedup(btf)
        return
    check_mapping(btf, *result)


def test_pointers_in_a_circle_are_refused() -> None:
    """Fails when such BTF, which no compiler writes, is an endless loop."""
    builder = BtfBuilder()
    builder.add(t.Pointer(type_id=2))
    builder.add(t.Const(type_id=1))
    with pytest.raises(BtfError, match="refers to itself"):
        dedup(builder.to_btf())


def test_long_chains_need_no_recursion() -> None:
    """Fails when a list of a few thousand types exhausts the stack."""
    builder = BtfBuilder()
    builder.add(INT)
    for start in (2, 10_002):
        for number in range(5000):
            following = builder.next_id + 2 if number < 4999 else 1
            builder.add(t.Struct(name=f"s{number}", size=8, members=(t.Member("p", start, 0),)))
            start = builder.add(t.Pointer(type_id=following))
    assert builder.next_id > 20_000
    first = builder.next_id
    ids = dedup_builder(builder)
    assert len(ids) == first - 1
    assert builder.next_id < first


def test_split_btf_loses_what_its_base_has() -> None:
    """Fails when a module keeps its own copy of a type of the kernel, or changes the base."""
    base = BtfBuilder("little")
    base.add(INT)
    base.add(t.Struct(name="pair", size=8, members=(t.Member("x", 1, 0), t.Member("y", 1, 32))))
    base.add(t.Pointer(type_id=2))
    kernel = base.to_btf()
    module = BtfBuilder(base=kernel)
    number = module.add(INT)
    members = (t.Member("x", number, 0), t.Member("y", number, 32))
    pair = module.add(t.Struct(name="pair", size=8, members=members))
    pointer = module.add(t.Pointer(type_id=pair))
    own = module.add(t.Struct(name="own", size=8, members=(t.Member("p", pointer, 0),)))
    result = dedup(module.to_btf())
    assert result.ids == {number: 1, pair: 2, pointer: 3, own: 4}
    assert list(result.btf.types()) == [
        t.Struct(name="own", size=8, members=(t.Member("p", 3, 0),))
    ]


def test_no_reference_is_stale(compile_text: Callable[[str], Btf]) -> None:
    """Fails when a type still has the old id of another one."""
    builder = BtfBuilder("little")
    builder.add_all(compile_text(FIRST))
    builder.add_all(compile_text(SECOND))
    before = builder.to_btf()
    ids = dedup_builder(builder) | {0: 0}
    after = builder.to_btf()
    for type in before.types():
        if isinstance(type, (t.Var, t.Pointer, t.Typedef, t.Const)):
            new = after.type(ids[type.id])
            assert isinstance(new, (t.Var, t.Pointer, t.Typedef, t.Const))
            assert new.type_id == ids[type.type_id]
    for words in builder.records:
        assert all(words[slot] < after.end_id for slot in reference_slots(words))
