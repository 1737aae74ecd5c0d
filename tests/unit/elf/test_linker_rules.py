"""Which objects fit together: what libbpf's linker refuses is refused, and nothing else."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from ebpf.elf.linker import link
from ebpf.errors import LinkError
from ebpf.spec import CollectionSpec, ExternKind

from .conftest import OPENED, SOURCES, TARGETS, Compile, Libbpf
from .linked import facts, linked, linked_if_they_fit

NATIVE = TARGETS[sys.byteorder == "big"]

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


@pytest.mark.parametrize("first", OPENED)
def test_any_two_objects_are_linked_as_libbpf_does(
    compile_bpf: Compile, libbpf: Libbpf, tmp_path: Path, first: str
) -> None:
    """Objects that were not written to be linked: what they share by chance must not be mixed up.

    Without their licenses, of which most have different ones.
    """
    output = tmp_path / "out.bpf.o"
    for second in OPENED:
        texts = [(SOURCES / name).read_text() for name in (first, second)]
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


def test_a_function_may_stand_in_for_one_of_the_kernel(compile_bpf: Compile) -> None:
    """libbpf links them too, but leaves in the BTF what kernels refuse."""
    texts = "extern int g(void) KSYM; int f(void) { return g(); }", "int g(void) { return 1; }"
    for order in (texts, texts[::-1]):
        spec = linked(*(compile_bpf(f"{COMMON}{text}\n") for text in order))
        assert not spec.externs
        assert [one.target for one in spec.functions["f"].relocations] == ["g"]
        assert spec.btf is not None
        assert spec.btf.find_all(".ksyms") == []


def test_a_variable_is_in_one_place_only(compile_bpf: Compile) -> None:
    """What one object finds in the kernel, and another in its own data, is not one variable."""
    texts = "extern int v KSYM; int f(void) { return v; }", "int v = 1;"
    for order in (texts, texts[::-1]):
        with pytest.raises(LinkError, match=r"'v' is declared in '.ksyms' by .*in '.data' by"):
            linked(*(compile_bpf(f"{COMMON}{text}\n") for text in order))


def test_externs_that_nothing_defines_stay(compile_bpf: Compile) -> None:
    """A library is linked before the objects that it needs."""
    texts = "extern int v; int f(void) { return v; }", "extern int v; int g(void) { return v; }"
    spec = linked(*(compile_bpf(f"{COMMON}{text}\n") for text in texts))
    assert {name: one.kind for name, one in spec.externs.items()} == {"v": ExternKind.UNDEFINED}


def test_only_programs_that_need_the_other_object_are_refused(compile_bpf: Compile) -> None:
    """What a program does not reach, not even through other functions, it does not need."""
    spec = CollectionSpec.from_file(compile_bpf("link_main.bpf.c", NATIVE))
    spec.select("main_target", "main_maps")
    spec.check()
    spec.select("main_target", "main_entry")
    with pytest.raises(LinkError, match=r"program 'main_entry' uses '\w+', .*from_files"):
        spec.check()


def test_objects_without_types_are_refused(compile_bpf: Compile) -> None:
    """Without types nothing says whether two objects mean the same."""
    plain = compile_bpf("int v = 1;\n\n", "bpfel", "-g0").read_bytes()
    with pytest.raises(LinkError, match=r"^plain.o: 'v': .*compile it with -g"):
        link([("plain.o", plain)])


def test_byte_orders_are_not_mixed(compile_bpf: Compile) -> None:
    """Instructions of the other order would be read backwards."""
    little, big = (compile_bpf("link_main.bpf.c", target).read_bytes() for target in TARGETS)
    with pytest.raises(LinkError, match=r"a.o is little-endian and b.o big-endian"):
        link([("a.o", little), ("b.o", big)])
