"""Objects linked by this library, compared with what libbpf's linker makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebpf.elf.linker import link
from ebpf.errors import LinkError
from ebpf.spec import CollectionSpec, ExternKind, RelocationKind

from .conftest import Compile, Libbpf
from .linked import facts, linked
from .test_against_libbpf import compare

# libbpf leaves it in the section where it was weak, and that is not where the strong one is.
MISPLACED_BY_LIBBPF = "moved"


@pytest.fixture(scope="session")
def both(link_paths: tuple[Path, ...]) -> CollectionSpec:
    return linked(*link_paths)


def test_libbpf_makes_the_same_of_the_objects(
    link_paths: tuple[Path, ...], both: CollectionSpec, libbpf: Libbpf, tmp_path: Path
) -> None:
    """An instruction, relocation, map, variable, type or line that is lost or goes elsewhere."""
    output = tmp_path / "both.bpf.o"
    assert libbpf.link(output, *link_paths)
    theirs, ours = facts(CollectionSpec.from_file(output)), facts(both)
    assert MISPLACED_BY_LIBBPF not in theirs["variables"]
    del ours["variables"][MISPLACED_BY_LIBBPF]
    for what, found in theirs.items():
        assert ours[what] == found, what


def test_libbpf_reads_what_was_linked_here(
    link_paths: tuple[Path, ...], libbpf: Libbpf, tmp_path: Path
) -> None:
    """A file that only its writer can read is no object file."""
    path = tmp_path / "both.bpf.o"
    path.write_bytes(link([(p.name, p.read_bytes()) for p in link_paths]))
    compare(CollectionSpec.from_file(path), libbpf.open(path))


def test_an_object_alone_stays_what_it_is(link_paths: tuple[Path, ...]) -> None:
    """Linking must not lose or move anything of an object that it leaves as it is."""
    for path in link_paths:
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


def test_the_sections_of_the_types_are_complete(both: CollectionSpec) -> None:
    """Kernels refuse variables out of order, and loaders leave a section that has a size alone."""
    assert both.btf is not None
    (kconfig,) = both.btf.find_all(".kconfig")
    assert list(both.btf_fixups.sections) == [kconfig.id]


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


def test_what_is_no_list_of_files() -> None:
    """An empty list comes from a pattern that matches no file, letters from one path."""
    with pytest.raises(TypeError, match=r"one path, 'a.bpf.o'.*from_file"):
        CollectionSpec.from_files("a.bpf.o")
    with pytest.raises(ValueError, match="nothing to link"):
        CollectionSpec.from_files([])


def test_from_files(link_paths: tuple[Path, ...], both: CollectionSpec, tmp_path: Path) -> None:
    """The names of data maps begin with the name of the first file, and messages have paths."""
    spec = CollectionSpec.from_files(iter(link_paths))
    assert spec.name == "link_main"
    assert facts(spec) == facts(both)
    assert CollectionSpec.from_files(map(str, link_paths), name="other").name == "other"
    with pytest.raises(LinkError, match=f"is defined in {link_paths[0]} and in {link_paths[0]}"):
        CollectionSpec.from_files([link_paths[0], link_paths[0]])
    with pytest.raises(FileNotFoundError):
        CollectionSpec.from_files([link_paths[0], tmp_path / "missing.o"])
