"""What is given to the compiler, and what comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

import ebpf
from ebpf.compile import CompileWarning, compile_object

PROGRAM = """
struct { int (*type)[2]; int (*max_entries)[4]; int *key; long *value; } counts
	__attribute__((section(".maps"), used));
int start = 5;
__attribute__((section("socket"), used)) int run(void *ctx) { return start; }
char LICENSE[] __attribute__((section("license"), used)) = "GPL";
"""


def test_text_and_file_make_the_same_spec(clang: str, tmp_path: Path) -> None:
    """The two ways to give a program would differ in what is loaded."""
    file = tmp_path / "tracer.bpf.c"
    file.write_text(PROGRAM)
    specs = [
        ebpf.compile_c(file, compiler=clang),
        ebpf.compile_c(str(file), compiler=clang),
        ebpf.compile_c(PROGRAM, name="tracer", compiler=clang),
    ]
    for spec in specs:
        assert spec.name == "tracer"
        assert list(spec.programs) == ["run"]
        assert spec.maps["counts"].max_entries == 4
        assert spec.variables["start"].value == 5
        assert spec.license == "GPL"
        assert spec.btf is not None
    assert ebpf.compile_c(PROGRAM, compiler=clang).name == "program"


def test_nothing_of_the_temporary_file_stays(clang: str, tmp_path: Path) -> None:
    """One text would make another object in each run, with the name of a file that is gone."""
    first, second = (compile_object(PROGRAM, compiler=clang, cache=False) for _ in range(2))
    assert first == second
    assert b"ebpf-compile-" not in first
    assert b"program.bpf.c" in first


def test_byte_order(clang: str) -> None:
    """An object for s390x would be made for the machine that compiles."""
    assert ebpf.compile_c(PROGRAM, byte_order="big", compiler=clang).byte_order == "big"
    assert ebpf.compile_c(PROGRAM, byte_order="little", compiler=clang).byte_order == "little"


def test_instruction_set(clang: str) -> None:
    """The default would be that of the compiler, which differs: v1 knows no 32-bit jumps."""
    source = (
        '__attribute__((section("socket"), used))\n'
        "int f(int *a) { return (unsigned)a[0] < (unsigned)a[1] ? a[2] : 0; }\n"
    )
    jump32 = {
        cpu: any(
            code & 7 == 6
            for code in ebpf.compile_c(source, cpu=cpu, compiler=clang).functions["f"].code[::8]
        )
        for cpu in ("v1", "v3")
    }
    assert jump32 == {"v1": False, "v3": True}


def test_the_machine_is_defined_unless_another_is(clang: str) -> None:
    """PT_REGS macros would have the registers of no machine, or of two."""
    names = ("x86", "arm64", "riscv", "s390", "powerpc", "loongarch", "mips", "arm")
    source = "int value = 0" + "".join(f"\n#ifdef __TARGET_ARCH_{n}\n+1\n#endif" for n in names)
    source += "\n;\n#ifdef __TARGET_ARCH_riscv\nint riscv;\n#endif\n"
    assert ebpf.compile_c(source, compiler=clang).variables["value"].value == 1
    spec = ebpf.compile_c(source, defines={"__TARGET_ARCH_riscv": None}, compiler=clang)
    assert spec.variables["value"].value == 1
    assert "riscv" in spec.variables
    other = ebpf.compile_c(source, byte_order="big", compiler=clang)
    assert other.variables["value"].value == 0


def test_a_macro_that_is_true(clang: str) -> None:
    """Python's True would be a name that C does not know."""
    source = "int on = ON, off = OFF, empty = 5 EMPTY;"
    defines = {"ON": True, "OFF": False, "EMPTY": ""}
    found = ebpf.compile_c(source, defines=defines, compiler=clang).variables
    assert {name: one.value for name, one in found.items()} == {"on": 1, "off": 0, "empty": 5}


def test_a_misspelt_attribute(clang: str) -> None:
    """Nobody would be told that the compiler does nothing about it."""
    with pytest.warns(CompileWarning, match="preserve_acess_index"):
        ebpf.compile_c("struct a { int b; } __attribute__((preserve_acess_index)) a;\n")


def test_include_with_quotes(clang: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header beside the source, or in the directory of a notebook, would not be found."""
    (tmp_path / "own.h").write_text("int own = 3;\n")
    file = tmp_path / "a.bpf.c"
    file.write_text('#include "own.h"\n')
    assert "own" in ebpf.compile_c(file, compiler=clang).variables
    monkeypatch.chdir(tmp_path)
    assert "own" in ebpf.compile_c('#include "own.h"\n', compiler=clang).variables
    assert "own" in ebpf.compile_c("a.bpf.c", compiler=clang).variables


def test_a_map_of_another_object(clang: str) -> None:
    """SEC would warn that an extern declaration is not `used`, which here is an error."""
    source = """
        #include <linux/bpf.h>
        #include <bpf/bpf_core_read.h>
        extern struct {
            __uint(type, BPF_MAP_TYPE_ARRAY);
            __type(key, __u32); __type(value, __u32);
            __uint(max_entries, 1);
        } counts SEC(".maps");
        struct thing { int tgid; } __attribute__((preserve_access_index));
        SEC("raw_tp") int run(__u64 *arguments)
        {
            struct thing *value = (void *)arguments[0];
            return bpf_map_lookup_elem(&counts, &(__u32){0}) && BPF_CORE_READ(value, tgid);
        }
    """
    assert list(ebpf.compile_c(source).externs) == ["counts"]


def test_own_vmlinux_h_goes_first(clang: str, tmp_path: Path) -> None:
    """A project that brings its vmlinux.h would get this machine's."""
    (tmp_path / "vmlinux.h").write_text("int own = 3;\n")
    spec = ebpf.compile_c('#include "vmlinux.h"\n', include_dirs=[tmp_path], compiler=clang)
    assert list(spec.variables) == ["own"]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"cpu": "skylake"}, ValueError, "cpu is 'skylake'"),
        ({"byte_order": "middle"}, ValueError, "byte_order is 'middle'"),
        ({"defines": {"A B": 1}}, ValueError, "defines has 'A B'"),
        ({"include_dirs": "/usr"}, TypeError, "include_dirs is one"),
        ({"flags": "-Wall"}, TypeError, "flags is one"),
        ({"name": "a/b"}, ValueError, "name is 'a/b'"),
        ({"name": "a\0b"}, ValueError, r"name is 'a\\x00b'"),
        ({"name": "a" * 250}, ValueError, "name has more than 249 bytes"),
        ({"flags": ["-DA=\0"]}, ValueError, "flags: '-DA=.* has a NUL"),
        ({"source": "a\0b.bpf.c"}, ValueError, "source: .* has a NUL"),
        ({"source": b"int x;"}, TypeError, "source is bytes"),
        ({"source": "nowhere.bpf.c"}, FileNotFoundError, "nowhere.bpf.c"),
    ],
)
def test_bad_arguments_are_named(
    clang: str, options: dict[str, object], error: type[Exception], text: str
) -> None:
    """The compiler would be executed with it, and complain of something else."""
    with pytest.raises(error, match=text):
        ebpf.compile_c(**{"source": "int x;", "compiler": clang, **options})  # type: ignore[arg-type]


def test_a_working_directory_that_is_gone(
    clang: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No file would be named by the error, and nothing that could be done."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError, match="working directory was removed"):
        ebpf.compile_c("int x;", compiler=clang)
