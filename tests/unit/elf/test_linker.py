"""Objects linked by this library, compared with what libbpf's linker makes of them."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.elf.linker import link
from ebpf.elf.reader import ElfFile
from ebpf.errors import BtfError, ElfError, FormatError, LinkError
from ebpf.spec import (
    CollectionSpec,
    ExternKind,
    FunctionSpec,
    MapSpec,
    RelocationKind,
    VariableSpec,
)

from .conftest import OBJECTS, TARGETS, Compile, Libbpf
from .conftest import SOURCES as SOURCE_FOLDER
from .test_against_libbpf import compare
from .test_malformed import damage

SOURCES = ("link_main.bpf.c", "link_parts.bpf.c")
# libbpf leaves it in the section where it was weak, and that is not where the strong one is.
MISPLACED_BY_LIBBPF = "moved"


def linked(*paths: Path) -> CollectionSpec:
    return CollectionSpec.from_bytes(link([(p.name, p.read_bytes()) for p in paths]), name="both")


def linked_if_they_fit(*paths: Path) -> CollectionSpec | None:
    try:
        return linked(*paths)
    except LinkError:
        return None


@pytest.fixture(scope="session", params=TARGETS)
def paths(compile_bpf: Compile, request: pytest.FixtureRequest) -> tuple[Path, ...]:
    return tuple(compile_bpf(source, request.param) for source in SOURCES)


@pytest.fixture(scope="session")
def both(paths: tuple[Path, ...]) -> CollectionSpec:
    return linked(*paths)


def type_text(btf: Btf, type_id: int, depth: int = 0) -> str:
    """A type with all that it is made of; behind pointers names are enough."""
    type = btf.type(type_id)
    text = f"{type.kind.name} {type.name}"
    if isinstance(type, t.Composite):
        if depth > 8:
            return text
        members = [
            f"{m.name}@{m.bit_offset} {type_text(btf, m.type_id, depth + 1)}" for m in type.members
        ]
        return f"{text} {type.size} {{{', '.join(members)}}}"
    if isinstance(type, t.FuncProto):
        given = [f"{p.name} {type_text(btf, p.type_id, depth + 4)}" for p in type.parameters]
        return f"({', '.join(given)}) {type_text(btf, type.type_id, depth + 4)}"
    if isinstance(type, t.Array):
        return f"[{type.length}] {type_text(btf, type.type_id, depth)}"
    if isinstance(type, (t.Func, t.Var)):
        return f"{text} {type.linkage.name} {type_text(btf, type.type_id, depth)}"
    if isinstance(type, (t.Pointer, t.Typedef, t.Const, t.Volatile)):
        return f"{text} {type_text(btf, type.type_id, depth + 1)}"
    return text


def function_facts(spec: CollectionSpec, function: FunctionSpec) -> dict[str, Any]:
    btf = spec.btf
    assert btf is not None
    order = "<" if spec.byte_order == "little" else ">"
    lines = struct.iter_unpack(order + "IIII", function.line_records)
    text = btf.strings.get
    return {
        **{name: getattr(function, name) for name in ("section", "offset", "code", "linkage")},
        **{name: getattr(function, name) for name in ("weak", "hidden", "relocations")},
        "type": type_text(btf, function.type_id),
        "lines": [(at, text(file), text(line), where) for at, file, line, where in lines],
        "core": [
            (one.insn_offset, type_text(btf, one.type_id), one.access_string, one.kind)
            for one in function.core_relocations
        ],
    }


def map_facts(spec: CollectionSpec, one: MapSpec | None) -> dict[str, Any]:
    if one is None:
        return {}
    assert spec.btf is not None
    plain = ("name", "type", "key_size", "value_size", "max_entries", "flags", "slots", "section")
    types = (one.key_type_id, 0 if one.data else one.value_type_id)
    return {
        **{name: getattr(one, name) for name in (*plain, "contents", "frozen", "pinning")},
        "types": [type_text(spec.btf, type_id) for type_id in types],
        "inner": map_facts(spec, one.inner),
    }


def variable_facts(variable: VariableSpec) -> dict[str, Any]:
    assert variable.btf is not None
    plain = ("section", "offset", "size", "raw", "linkage", "weak", "constant")
    return {
        **{name: getattr(variable, name) for name in plain},
        "type": type_text(variable.btf, variable.type_id),
    }


def facts(spec: CollectionSpec) -> dict[str, Any]:
    """All that a spec says, with what ids of types stand for."""
    return {
        "programs": {name: repr(program) for name, program in spec.programs.items()},
        "functions": {name: function_facts(spec, one) for name, one in spec.functions.items()},
        "maps": {name: map_facts(spec, one) for name, one in spec.maps.items()},
        "variables": {name: variable_facts(one) for name, one in spec.variables.items()},
        "externs": {
            name: (one.kind, one.weak, one.offset, one.size, one.kconfig)
            for name, one in spec.externs.items()
        },
        "rest": (spec.license, spec.kernel_version, spec.byte_order),
    }


def test_libbpf_makes_the_same_of_the_objects(
    paths: tuple[Path, ...], both: CollectionSpec, libbpf: Libbpf, tmp_path: Path
) -> None:
    """An instruction, relocation, map, variable, type or line that is lost or goes elsewhere."""
    if both.byte_order == "big" and libbpf.version < (1, 6):
        pytest.skip(f"libbpf {libbpf.version} links no big-endian objects")
    output = tmp_path / "both.bpf.o"
    assert libbpf.link(output, *paths)
    theirs, ours = facts(CollectionSpec.from_file(output)), facts(both)
    assert MISPLACED_BY_LIBBPF not in theirs["variables"]
    del ours["variables"][MISPLACED_BY_LIBBPF]
    for what, found in theirs.items():
        assert ours[what] == found, what


def test_libbpf_reads_what_was_linked_here(
    paths: tuple[Path, ...], libbpf: Libbpf, tmp_path: Path
) -> None:
    """A file that only its writer can read is no object file."""
    if paths[0].read_bytes()[5] == 2 and libbpf.version < (1, 6):
        pytest.skip(f"libbpf {libbpf.version} cannot open big-endian objects")
    path = tmp_path / "both.bpf.o"
    path.write_bytes(link([(p.name, p.read_bytes()) for p in paths]))
    compare(CollectionSpec.from_file(path), libbpf.open(path))


def test_an_object_alone_stays_what_it_is(paths: tuple[Path, ...]) -> None:
    """Linking must not lose or move anything of an object that it leaves as it is."""
    for path in paths:
        name = path.name.partition(".")[0]
        alone = CollectionSpec.from_bytes(link([("it", path.read_bytes())]), name=name)
        assert facts(alone) == facts(CollectionSpec.from_file(path))


def test_definitions_are_found_by_the_other_object(both: CollectionSpec) -> None:
    """What is declared in one object and defined in the other is no extern of the whole."""
    assert {name: extern.kind for name, extern in both.externs.items()} == {
        "LINUX_KERNEL_VERSION": ExternKind.KCONFIG,
        "CONFIG_BPF_SYSCALL_MISSING": ExternKind.KCONFIG,
        "no_such_variable": ExternKind.TYPED_KSYM,
    }
    calls = {
        relocation.target
        for relocation in both.functions["main_entry"].relocations
        if relocation.kind is RelocationKind.CALL
    }
    assert calls == {"helper", "in_parts_only", "hidden_part", "chosen", "first_chosen"}
    assert both.functions["hidden_part"].hidden
    maps = [r.target for r in both.functions["main_entry"].relocations if r.kind.name == "MAP"]
    assert maps == ["parts_map"]


def test_strong_beats_weak_and_the_first_weak_the_second(both: CollectionSpec) -> None:
    """A program that runs the code or reads the value that was overridden."""
    values = {name: both.variables[name].value for name in ("limit", "first_wins", "moved")}
    assert values == {"limit": 70, "first_wins": 1, "moved": 0}
    assert both.variables["moved"].section == ".bss"
    assert [name for name in both.functions if "chosen" in name] == ["first_chosen", "chosen"]
    assert both.functions["first_chosen"].weak
    assert not both.functions["chosen"].weak


def test_static_ones_stay_apart(both: CollectionSpec) -> None:
    """A counter or function that is shared with a file that happens to use the same name."""
    names = ("hits", "hits#2", "knob", "knob#2")
    assert [both.variables[name].value for name in names] == [100, 200, 11, 22]
    used = {
        name: next(r.target for r in both.functions[name].relocations if r.kind.name == "CALL")
        for name in ("main_entry", "parts_entry", "in_main_only", "in_parts_only")
    }
    assert used == {
        "main_entry": "helper",
        "parts_entry": "helper#2",
        "in_main_only": "helper",
        "in_parts_only": "helper#2",
    }
    callbacks = [both.functions[f"{name}_callback"].relocations for name in ("main", "parts")]
    found = [one.target for some in callbacks for one in some if one.kind.name == "FUNCTION"]
    assert found == ["visit", "visit#2"]


def test_variables_keep_their_alignment(both: CollectionSpec) -> None:
    """The verifier, and on some machines the processor, want a u64 at its place."""
    custom = both.maps[".data.custom"]
    assert both.variables["aligned_one"].offset == 32
    assert custom.value_size == 40
    assert both.variables["odd"].value == 1
    assert both.variables["aligned_one"].value == 2


def test_maps_keep_their_slots(both: CollectionSpec) -> None:
    """A map of maps or a program array that begins empty, or with what is in another object."""
    slots = {name: both.maps[name].slots for name in ("main_outer", "main_calls", "parts_outer")}
    assert slots == {
        "main_outer": {1: "main_map"},
        "main_calls": {0: "main_target"},
        "parts_outer": {0: "other_map"},
    }


def test_types_are_there_once(both: CollectionSpec) -> None:
    """BTF that grows with each object; types that differ must both stay."""
    assert both.btf is not None
    assert len(both.btf.find_all("sample")) == 1
    assert [len(one.members) for one in both.btf.find_all("task_struct")] == [2, 1]  # type: ignore[attr-defined]


def test_what_was_linked_can_be_linked_again(compile_bpf: Compile) -> None:
    """A library of objects that is one object."""
    sources = [
        *("int one(void) { return 1; }\n", "extern int one(void);\nint two(void){return one();}\n"),
        "extern int one(void), two(void);\nint three(void) { return one() + two(); }\n",
    ]
    parts = [(f"{number}.o", compile_bpf(text).read_bytes()) for number, text in enumerate(sources)]
    at_once = link(parts)
    nested = link([("first two", link(parts[:2])), parts[2]])
    other = link([parts[0], ("last two", link(parts[1:]))])
    assert facts(CollectionSpec.from_bytes(at_once)) == facts(CollectionSpec.from_bytes(nested))
    assert facts(CollectionSpec.from_bytes(at_once)) == facts(CollectionSpec.from_bytes(other))


def test_jump_tables_move_with_their_function(compile_bpf: Compile) -> None:
    """A table whose entries count from where the function was leads into another one."""
    text = """
#include "bpf.h"
asm(".section .jumptables,\\"\\",@progbits\\n"
    ".globl NAME_table\\n.type NAME_table,@object\\nNAME_table:\\n"
    ".quad SIZE + 24\\n.quad SIZE + 32\\n.size NAME_table, 16\\n.text");
SEC("socket") __attribute__((naked)) int NAME_before(void *context)
{
	asm volatile("r0 = 0\\nexit");
}
SEC("socket") __attribute__((naked)) int NAME(void *context)
{
	asm volatile("r1 = NAME_table ll\\nr0 = 0\\nexit\\nr1 = NAME_table ll\\nexit");
}
"""
    texts = [text.replace("NAME", name).replace("SIZE", "16") for name in ("one", "two")]
    spec = linked(*(compile_bpf(text) for text in texts))
    found = {name: spec.functions[name].relocations for name in ("one", "two")}
    tables = {name: [one.table for one in some] for name, some in found.items()}
    # Both instructions of a function use its table.
    assert tables == {"one": [(3, 4)] * 2, "two": [(3, 4)] * 2}


COMMON = '#include "bpf.h"\n'
TASK = "struct s { int a; %s b; };\n"
MAP = """struct { NUMBER(type, %s); NUMBER(max_entries, %s); TYPE(key, %s); TYPE(value, u64);
         NUMBER(map_flags, %s); } m SEC(".maps");
"""
TEMPLATE = """struct inner { NUMBER(type, ARRAY); NUMBER(max_entries, %s); TYPE(key, u32);
                TYPE(value, %s); };
"""
OUTER = """struct { NUMBER(type, ARRAY_OF_MAPS); NUMBER(max_entries, 1); TYPE(key, u32);
         ELEMENTS(values, struct inner); } m SEC(".maps");
"""
USE_MAP = "int use(void) { u32 k = 0; return !map_lookup(&m, &k); }\n"

# What each of two objects says, and what is to be said about it.
REFUSED = {
    "two functions": ("int f(void) { return 1; }", "int f(void) { return 2; }", "'f' is defined"),
    "two variables": ("int v = 1;", "int v = 2;", "'v' is defined in .*make one of them static"),
    "two maps": (MAP % ("HASH", 1, "u32", 0), MAP % ("HASH", 1, "u32", 0), "'m' is defined in"),
    "license": ('LICENSE("GPL");', 'LICENSE("MIT");', "license is 'GPL' in .* and 'MIT' in"),
    "version": (
        'int a SEC("version") = 0x60c01;',
        'int b SEC("version") = 1;',
        "version is 0x60c01 in .* and 0x1 in",
    ),
    "size of a variable": (
        *("extern int v; int f(void) { return v; }", "u64 v = 1;"),
        "'v' differs between .*size of|'v' differs between .*4 and 8",
    ),
    "kind of a variable": (
        *("extern int v; int f(void) { return v; }", "struct { int a; } v;"),
        "'v' differs between .*int and struct",
    ),
    "weak variable of another type": ("WEAK int v = 1;", "WEAK u64 v = 1;", "'v' differs between"),
    "member": (
        *(
            TASK % "int" + "extern struct s v; int f(void) { return v.b; }",
            TASK % "u64" + "struct s v;",
        ),
        "'v' differs between",
    ),
    "name of a struct": (
        *("struct a { int x; }; extern struct a v; int f(void) { return v.x; }",),
        *("struct b { int x; } v;", "'v' differs between .*struct a and struct b"),
    ),
    "number of parameters": (
        *("extern int g(int); int f(void) { return g(1); }", "int g(int a, int b) { return a; }"),
        "'g' differs between .*number of parameters 1 and 2",
    ),
    "parameter": (
        *("extern int g(int); int f(void) { return g(1); }", "int g(u64 a) { return a; }"),
        "'g' differs between",
    ),
    "what is returned": (
        *("extern int g(int); int f(void) { return g(1); }", "u64 g(int a) { return a; }"),
        "'g' differs between",
    ),
    "struct or union behind a pointer": (
        *("struct s; extern int g(struct s *); int f(void) { return g(0); }",),
        *("union s { int a; }; int g(union s *p) { return p->a; }", "struct s and union s"),
    ),
    "variable or function": (
        *("extern int g; int f(void) { return g; }", "int g(void) { return 1; }"),
        "'g' differs between",
    ),
    "type of a map": (
        *("extern " + MAP % ("HASH", 1, "u32", 0) + USE_MAP, MAP % ("ARRAY", 1, "u32", 0)),
        "'m' differs between .*type HASH and ARRAY",
    ),
    "entries of a map": (
        *("extern " + MAP % ("HASH", 1, "u32", 0) + USE_MAP, MAP % ("HASH", 2, "u32", 0)),
        "'m' differs between .*max entries 1 and 2",
    ),
    "key of a map": (
        *("extern " + MAP % ("HASH", 1, "u32", 0) + USE_MAP, MAP % ("HASH", 1, "u64", 0)),
        "'m' differs between .*key size 4 and 8",
    ),
    "type of a key": (
        *("extern " + MAP % ("HASH", 1, "u32", 0) + USE_MAP,),
        *(MAP % ("HASH", 1, "struct { int a; }", 0), "'m' differs between .*and struct"),
    ),
    "flags of a map": (
        *("extern " + MAP % ("HASH", 1, "u32", 1) + USE_MAP, MAP % ("HASH", 1, "u32", 0)),
        "'m' differs between .*flags",
    ),
    "inner map": (
        *(TEMPLATE % (1, "u32") + "extern " + OUTER + USE_MAP, TEMPLATE % (2, "u32") + OUTER),
        "'m' differs between .*max entries 1 and 2",
    ),
    "option and symbol": (
        "extern int v KCONFIG; int f(void) { return v; }",
        "extern int v KSYM; int g(void) { return v; }",
        r"'v' is declared in '.ksyms' by .*declared in '.kconfig'|"
        r"'v' is declared in '.kconfig' by .*declared in '.ksyms'",
    ),
    "flags of a section": (
        'int v SEC(".data.x") = 1;',
        'const int w SEC(".data.x") = 1;',
        "section '.data.x' has flags 0x3 in .* and 0x2 in",
    ),
    "visibility": ('__attribute__((visibility("protected"))) int v;', "int w;", "visibility 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_as_libbpf_does(
    compile_bpf: Compile, libbpf: Libbpf, tmp_path: Path, case: str
) -> None:
    """Objects that mean different things by one name would overwrite each other's memory."""
    first, second, message = REFUSED[case]
    paths = [compile_bpf(f"{COMMON}{text}\n") for text in (first, second)]
    with pytest.raises(LinkError, match=f"(?s){message}") as error:
        link([("first.o", paths[0].read_bytes()), ("second.o", paths[1].read_bytes())])
    assert "first.o" in str(error.value)
    assert case == "visibility" or "second.o" in str(error.value)
    assert not libbpf.link(tmp_path / "out.o", *paths)


ACCEPTED = {
    "qualifiers and typedefs": (
        "extern const volatile int v; int f(void) { return v; }",
        "typedef int number; number v = 1;",
    ),
    "length of an array": ("extern int v[]; int f(void) { return v[1]; }", "int v[3] = {1};"),
    "a declaration behind a pointer": (
        "struct s; extern int g(struct s *); int f(void) { return g(0); }",
        "struct s { int a; }; int g(struct s *p) { return p->a; }",
    ),
    "members behind a pointer": (
        "struct s { u64 x; }; extern int g(struct s *); int f(struct s *p) { return g(p) + p->x; }",
        "struct s { int a; }; int g(struct s *p) { return p->a; }",
    ),
    "values of an enum": (
        "enum e { A = 1 }; extern enum e v; int f(void) { return v; }",
        "enum e { B = 2 }; enum e v = B;",
    ),
    "a callback": (
        "extern int g(int (*)(u32, void *)); static int c(u32 a, void *b) { return 1; }\n"
        "int f(void) { return g(c); }",
        "int g(int (*call)(u32, void *)) { return !call; }",
    ),
    "strong after weak": ("WEAK int f(void) { return 1; }", "int f(void) { return 2; }"),
    "weak after strong": ("int f(void) { return 1; }", "WEAK int f(void) { return 2; }"),
    "weak maps": ("WEAK " + MAP % ("HASH", 1, "u32", 0), "WEAK " + MAP % ("HASH", 1, "u32", 0)),
    "weak and strong externs": (
        "extern int v KSYM WEAK; int f(void) { return v; }",
        "extern int v KSYM; int g(void) { return v; }",
    ),
    "one license": ('LICENSE("GPL");', "int v;"),
    "licenses of two names": (
        'char a[] SEC("license") = "GPL";',
        'char b[] SEC("license") = "GPL";',
    ),
    "hidden in the declaration": (
        "extern HIDDEN int g(void); int f(void) { return g(); }",
        "int g(void) { return 1; }",
    ),
    "nothing in common": ("int v = 1;", "int f(void) { return 1; }"),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_fits_is_linked_as_libbpf_does(
    compile_bpf: Compile, libbpf: Libbpf, tmp_path: Path, case: str
) -> None:
    """Objects that libbpf links must link here too, and to the same."""
    paths = [compile_bpf(f"{COMMON}{text}\n") for text in ACCEPTED[case]]
    output = tmp_path / "out.bpf.o"
    assert libbpf.link(output, *paths)
    assert facts(linked(*paths)) == facts(CollectionSpec.from_file(output))


@pytest.mark.parametrize("first", [name for name, since in OBJECTS.items() if since])
def test_any_two_objects_are_linked_as_libbpf_does(
    compile_bpf: Compile, libbpf: Libbpf, tmp_path: Path, first: str
) -> None:
    """Objects that were not written to be linked: what they share by chance must not be mixed up.

    Without their licenses, of which most have different ones.
    """
    output = tmp_path / "out.bpf.o"
    known = [name for name, since in OBJECTS.items() if since and since <= libbpf.version]
    for second in known if first in known else ():
        texts = [(SOURCE_FOLDER / name).read_text() for name in (first, second)]
        texts = [re.sub(r"^LICENSE.*$", "", text, flags=re.MULTILINE) for text in texts]
        paths = [compile_bpf(text) for text in texts]
        ours = linked_if_they_fit(*paths)
        assert libbpf.link(output, *paths) == bool(ours), second
        if ours:
            assert facts(ours) == facts(CollectionSpec.from_file(output)), second


def test_what_libbpf_gets_wrong(compile_bpf: Compile) -> None:
    """libbpf refuses untyped symbols in two objects, and a strong definition after a weak one.

    The second only where an object in between declares it.
    """
    ksym = "extern const void v KSYM; u64 %s(void) { return (u64)&v; }\n"
    spec = linked(*(compile_bpf(f"{COMMON}{ksym % name}") for name in ("f", "g")))
    assert spec.externs["v"].kind is ExternKind.KSYM
    texts = "WEAK int v = 1;", "extern int v; int f(void) { return v; }", "int v = 3;"
    spec = linked(*(compile_bpf(f"{COMMON}{text}\n") for text in texts))
    assert spec.variables["v"].value == 3


def test_a_function_of_the_kernel_cannot_be_defined(compile_bpf: Compile) -> None:
    """libbpf links it, and what it makes of it cannot be loaded."""
    texts = "extern int g(void) KSYM; int f(void) { return g(); }", "int g(void) { return 1; }"
    for order in (texts, texts[::-1]):
        with pytest.raises(LinkError, match=r"'g' is declared in '.ksyms' by .*defined in '.text'"):
            linked(*(compile_bpf(f"{COMMON}{text}\n") for text in order))


def test_externs_that_nothing_defines_stay(compile_bpf: Compile) -> None:
    """A library is linked before the objects that it needs."""
    texts = "extern int v; int f(void) { return v; }", "extern int v; int g(void) { return v; }"
    spec = linked(*(compile_bpf(f"{COMMON}{text}\n") for text in texts))
    assert {name: one.kind for name, one in spec.externs.items()} == {"v": ExternKind.UNDEFINED}


def test_objects_without_types_are_refused(compile_bpf: Compile) -> None:
    """Without types nothing says whether two objects mean the same."""
    plain = compile_bpf("int v = 1;\n\n", "bpfel", "-g0").read_bytes()
    with pytest.raises(LinkError, match=r"^plain.o: 'v': .*compile it with -g"):
        link([("plain.o", plain)])


def test_byte_orders_are_not_mixed(compile_bpf: Compile) -> None:
    """Instructions of the other order would be read backwards."""
    little, big = (compile_bpf(SOURCES[0], target).read_bytes() for target in TARGETS)
    with pytest.raises(LinkError, match=r"a.o is little-endian and b.o big-endian"):
        link([("a.o", little), ("b.o", big)])


def test_a_malformed_object_is_named(paths: tuple[Path, ...]) -> None:
    """Among twenty files it matters which one is damaged."""
    first, second = (path.read_bytes() for path in paths)
    with pytest.raises(ElfError, match=r"^second.o: ELF header"):
        link([("first.o", first), ("second.o", second[4:])])
    where = second.index(bytes.fromhex("9feb" if second[5] == 1 else "eb9f"))
    broken = second[:where] + b"\0" + second[where + 1 :]
    with pytest.raises(BtfError, match=r"^second.o: BTF header"):
        link([("first.o", first), ("second.o", broken)])


def test_what_is_no_list_of_files() -> None:
    """An empty list comes from a pattern that matches no file, letters from one path."""
    with pytest.raises(TypeError, match=r"one path, 'a.bpf.o'.*from_file"):
        CollectionSpec.from_files("a.bpf.o")
    with pytest.raises(ValueError, match="nothing to link"):
        CollectionSpec.from_files([])


def test_from_files(paths: tuple[Path, ...], both: CollectionSpec, tmp_path: Path) -> None:
    """The names of data maps begin with the name of the first file, and messages have paths."""
    spec = CollectionSpec.from_files(iter(paths))
    assert spec.name == "link_main"
    assert facts(spec) == facts(both)
    assert CollectionSpec.from_files(map(str, paths), name="other").name == "other"
    with pytest.raises(LinkError, match=f"is defined in {paths[0]} and in {paths[0]}"):
        CollectionSpec.from_files([paths[0], paths[0]])
    with pytest.raises(FileNotFoundError):
        CollectionSpec.from_files([paths[0], tmp_path / "missing.o"])


def alignments(data: bytes) -> list[int]:
    """Where in the file the alignment of each section stands."""
    order = "<" if data[5] == 1 else ">"
    (start,) = struct.unpack_from(order + "Q", data, 40)
    (count,) = struct.unpack_from(order + "H", data, 60)
    return [start + 64 * number + 48 for number in range(count)]


@pytest.mark.parametrize("alignment", [3, 1 << 30, 1 << 63])
def test_alignments_are_checked(paths: tuple[Path, ...], alignment: int) -> None:
    """An alignment is a number in the file: padding to it may take all memory."""
    data = bytearray(paths[1].read_bytes())
    order = "<" if data[5] == 1 else ">"
    for at in alignments(bytes(data)):
        struct.pack_into(order + "Q", data, at, alignment)
    with pytest.raises(LinkError, match=r"^b.o: section '.text': .*(align|bytes with that of a.o)"):
        link([("a.o", paths[0].read_bytes()), ("b.o", bytes(data))])


def with_symbol(data: bytes, name: str, changed: dict[str, int]) -> bytes:
    """`data` with other fields in the symbol `name`."""
    order = "<" if data[5] == 1 else ">"
    row = struct.Struct(order + "IBBHQQ")
    elf = ElfFile(data)
    table = next(section for section in elf.sections if section.type == 2)
    number = next(symbol.number for symbol in elf.symbols if symbol.name == name)
    fields = ("name", "info", "other", "section", "value", "size")
    made = bytearray(data)
    at = table.offset + 24 * number
    known = dict(zip(fields, row.unpack_from(made, at), strict=True))
    row.pack_into(made, at, *(known | changed).values())
    return bytes(made)


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("hits", {"value": 2**64 - 1}, "'hits': at offset 0xffffffffffffffff of a section"),
        ("limit", {"info": 0xA1}, "'limit': binding 10"),
        ("limit", {"section": 0xFFF2}, "'limit': in special section 0xfff2.*-fno-common"),
        ("in_main_only", {"info": 0x13}, "'in_main_only': a global symbol that is none of"),
        ("in_main_only", {"info": 0x00}, "'in_main_only': a local symbol that nothing defines"),
        ("limit", {"name": 0}, "symbol .*: a global symbol that is none"),
    ],
)
def test_symbols_that_no_compiler_makes(
    paths: tuple[Path, ...], name: str, changed: dict[str, int], message: str
) -> None:
    """A number that does not fit the output, or a place that nothing was put at."""
    first, second = (path.read_bytes() for path in paths)
    with pytest.raises(LinkError, match=f"^b.o: {message}"):
        link([("a.o", first), ("b.o", with_symbol(second, name, changed))])


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_objects_raise_format_errors_only(
    paths: tuple[Path, ...], data: st.DataObject
) -> None:
    """A linker that is given a damaged file must not crash, nor hang."""
    whole = [path.read_bytes() for path in paths]
    number = data.draw(st.integers(0, 1))
    whole[number] = data.draw(damage(whole[number]))
    try:
        made = link([("a.o", whole[0]), ("b.o", whole[1])])
        CollectionSpec.from_bytes(made)
    except FormatError:
        pass
