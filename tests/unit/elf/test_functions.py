"""Functions, programs, and what instructions refer to."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest

from ebpf.btf.types import Func, Linkage
from ebpf.errors import ElfError, RelocationError
from ebpf.spec import CollectionSpec, FunctionSpec, Relocation, RelocationKind
from ebpf.types import AttachType, ProgramFlags, ProgramType

from .conftest import SOURCES, TARGETS, Compile, release, tool
from .image import LOCAL, NOTYPE, OBJECT, PROGBITS, RETURN_0, SECTION, Image

CALL = RelocationKind.CALL
CALL_SELF = bytes.fromhex("85100000ffffffff")
LOAD = bytes.fromhex("1801000000000000") + bytes(8)


@pytest.fixture(scope="session", params=TARGETS)
def functions(compile_bpf: Compile, request: pytest.FixtureRequest) -> Path:
    return compile_bpf("functions.bpf.c", request.param)


def targets(function: FunctionSpec, kind: RelocationKind) -> list[str]:
    return [r.target for r in function.relocations if r.kind is kind]


def test_every_form_of_call_finds_its_function(functions: Path) -> None:
    """Global, weak and hidden functions are called by symbol, static ones by distance."""
    spec = CollectionSpec.from_file(functions)
    calls = {name: targets(function, CALL) for name, function in spec.functions.items()}
    assert calls["first"] == ["global_twice"]
    assert sorted(calls["second"]) == ["add_two", "hidden_square", "weak_thrice"]
    assert calls["global_twice"] == ["add_two"]
    assert calls["add_two"] == ["add_one", "add_one"]
    assert calls["weak_thrice"] == ["add_one"]
    assert calls["visit"] == ["add_one"]
    assert targets(spec.functions["third"], RelocationKind.FUNCTION) == [
        *("visit", "step", "global_step"),
    ]


def test_calls_are_where_objdump_shows_them(functions: Path) -> None:
    """A call that was overlooked, or taken for one of a helper, would jump anywhere."""
    objdump = tool(*(f"llvm-objdump-{version}" for version in range(30, 14, -1)))
    text = subprocess.run(
        [objdump, "-d", str(functions)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    expected: dict[str, list[int]] = {}
    name, start = "", 0
    for line in text.splitlines():
        head = re.fullmatch(r"[0-9a-f]+ <(.+)>:", line)
        if head:
            name, start = head[1], -1
        row = re.match(r"\s+(\d+):\t([0-9a-f ]+)\t(\w+)", line)
        if row and start < 0:
            start = int(row[1])
        # The source register tells functions (1) from helpers (0).
        if row and row[3] == "call" and row[2].split()[1] in ("10", "01"):
            expected.setdefault(name, []).append(int(row[1]) - start)
    spec = CollectionSpec.from_file(functions)
    found = {
        name: [r.slot for r in function.relocations if r.kind is CALL]
        for name, function in spec.functions.items()
    }
    assert {name: slots for name, slots in found.items() if slots} == expected
    assert len(expected) >= 6


def test_functions_are_the_symbols(functions: Path) -> None:
    """Linkage decides what the verifier assumes, and what a linker may replace."""
    spec = CollectionSpec.from_file(functions)
    facts = {name: (f.section, f.linkage, f.weak, f.hidden) for name, f in spec.functions.items()}
    assert facts["add_one"] == (".text", Linkage.STATIC, False, False)
    assert facts["global_twice"] == (".text", Linkage.GLOBAL, False, False)
    assert facts["weak_thrice"] == (".text", Linkage.GLOBAL, True, False)
    assert facts["hidden_square"] == (".text", Linkage.GLOBAL, False, True)
    assert facts["second"] == ("xdp", Linkage.GLOBAL, False, False)
    hidden = spec.functions["hidden_square"].type_id
    assert spec.btf_fixups.linkages == {hidden: Linkage.STATIC}


def test_programs_are_what_their_sections_say(functions: Path) -> None:
    """The name of the section is all that says how to load and attach a program."""
    spec = CollectionSpec.from_file(functions)
    assert list(spec.programs) == [
        *("first", "second", "third", "not_loaded", "sleepable", "with_path", "free_form"),
    ]
    first = spec.programs["first"]
    assert (first.type, first.attach_type, first.attach) == (
        *(ProgramType.XDP, AttachType.XDP, "xdp"),
    )
    not_loaded = spec.programs["not_loaded"]
    assert (not_loaded.autoload, not_loaded.section, not_loaded.attach, not_loaded.target) == (
        *(False, "kprobe/do_unlinkat", "kprobe", "do_unlinkat"),
    )
    sleepable = spec.programs["sleepable"]
    assert sleepable.flags == ProgramFlags.SLEEPABLE
    assert (sleepable.type, sleepable.btf_target) == (ProgramType.TRACING, True)
    assert spec.programs["with_path"].target == "/bin/sh:main+4"
    assert spec.programs["free_form"].type is ProgramType.UNSPEC
    assert spec.license == "Dual MIT/GPL"
    assert spec.kernel_version == 0x060C01


def test_ext_is_handed_to_each_function(functions: Path) -> None:
    """Line info at the wrong slot shows the wrong source, and the kernel refuses it."""
    spec = CollectionSpec.from_file(functions)
    source = (SOURCES / "functions.bpf.c").read_text().splitlines()
    assert spec.btf is not None
    for name, function in spec.functions.items():
        info = spec.btf.type(function.type_id)
        assert isinstance(info, Func)
        assert info.name == name
        lines = function.line_info(start=100)
        assert lines[0][0] == 100
        assert [slot for slot, *_ in lines] == sorted({slot for slot, *_ in lines})
        assert all(100 <= slot < 100 + function.slots for slot, *_ in lines)
        own = [line for line in lines if spec.btf.strings.get(line[1]).endswith("functions.bpf.c")]
        texts = [spec.btf.strings.get(text) for _, _, text, _ in own]
        assert any(texts)
        for text, (*_, line_column) in zip(texts, own, strict=True):
            # clang before 19 leaves the text of some lines out.
            assert text in ("", source[(line_column >> 10) - 1])


def test_core_relocations_count_from_their_function(compile_bpf: Compile) -> None:
    """An offset that counted from the section would patch another function."""
    spec = CollectionSpec.from_file(
        compile_bpf("""
            #include "bpf.h"
            struct task { int pid; } __attribute__((preserve_access_index));
            SEC("kprobe") int one(struct task *t) { return t->pid; }
            SEC("kprobe") int two(struct task *t) { return t->pid; }
        """)
    )
    for name in ("one", "two"):
        function = spec.functions[name]
        (relocation,) = function.core_relocations
        # BPF_LDX | BPF_MEM | BPF_W or a load of the whole register
        assert function.code[relocation.insn_offset] & 7 == 1
        assert relocation.access_string == "0:0"
    assert spec.functions["two"].offset > 0


def test_jump_tables_lead_to_slots_of_their_function(clang: str, tmp_path: Path) -> None:
    """The file has offsets in the section, where the program is somewhere else."""
    if release(clang) < 16:
        pytest.skip("older assemblers do not read the text form of instructions")
    path = tmp_path / "jump_table.bpf.o"
    source = SOURCES / "jump_table.bpf.s"
    subprocess.run([clang, "-target", "bpfel", "-c", str(source), "-o", str(path)], check=True)
    spec = CollectionSpec.from_file(path)
    assert spec.functions["switching"].relocations == (
        Relocation(0, RelocationKind.JUMP_TABLE, "", table=(4, 6, 4)),
    )


def test_a_jump_table_is_that_of_one_function() -> None:
    """Functions in sections of their own may all read a table that fits each of them: the work,
    and what is kept of it, would grow with the square of the file."""
    jump = bytes([0x18, 1]) + bytes(14) + RETURN_0
    for names, fits in ((["one"], True), (["one", "two"], False)):
        image = Image()
        tables = image.section(".jumptables", PROGBITS, bytes(64), flags=2)
        table = image.symbol("table", tables, 0, 64, kind=OBJECT)
        for name in names:
            section = image.code(data=jump)
            image.symbol(name, section, 0, len(jump))
            image.relocations(section, (0, table, 1))
        if fits:
            function = CollectionSpec.from_bytes(image.build()).functions["one"]
            assert function.relocations[0].table == (0,) * 8
        else:
            refused(image, "jump tables of several functions overlap", RelocationError)


def two_functions(first: bytes = RETURN_0) -> tuple[Image, int]:
    """An object with the functions ``first`` and ``second`` in one section."""
    image = Image()
    section = image.code(data=first + RETURN_0)
    image.symbol("first", section, 0, len(first))
    image.symbol("second", section, len(first), 16)
    return image, section


def refused(image: Image, words: str, error: type[ElfError | RelocationError] = ElfError) -> None:
    with pytest.raises(error, match=words):
        CollectionSpec.from_bytes(image.build())


@pytest.mark.parametrize(
    ("value", "size", "words"),
    [
        (4, 8, "instructions have 8 each"),
        (0, 12, "instructions have 8 each"),
        (0, 0, "0 bytes"),
        (16, 24, "24 bytes do not fit the 32 bytes"),
        (1 << 63, 16, "do not fit"),
        (8, 16, "begins inside of another one"),
    ],
)
def test_functions_that_are_not_whole(value: int, size: int, words: str) -> None:
    """Half an instruction, or one that belongs to two functions, cannot be relocated."""
    image = Image()
    section = image.code(data=RETURN_0 * 2)
    image.symbol("good", section, 0, 16)
    image.symbol("bad", section, value, size)
    refused(image, words)


def test_bytes_that_no_function_has_are_left_out() -> None:
    """A linker leaves the code of a weak function that another file overrides."""
    image = Image()
    section = image.code(data=CALL_SELF + RETURN_0)
    image.symbol("program", section, 8, 16)
    image.relocations(section, (0, 0, 10))
    spec = CollectionSpec.from_bytes(image.build())
    assert spec.functions["program"].code == RETURN_0
    assert spec.functions["program"].relocations == ()


def test_untyped_functions_of_old_compilers() -> None:
    """clang before 8 wrote functions without type and size."""
    image = Image()
    section = image.code(data=RETURN_0 * 3)
    image.symbol("first", section, 0, 0, NOTYPE)
    image.symbol("second", section, 16, 0, NOTYPE)
    image.symbol("label", section, 24, 0, NOTYPE, LOCAL)
    spec = CollectionSpec.from_bytes(image.build())
    assert {name: f.slots for name, f in spec.functions.items()} == {"first": 2, "second": 4}


def test_a_call_without_relocation() -> None:
    """Within a section the assembler fills in the distance, and no relocation tells."""
    image, _ = two_functions(bytes.fromhex("8510000001000000") + RETURN_0)
    # From slot 0, 1 ahead of the next instruction: slot 2, the middle of the first function.
    refused(image, "calls 0x10, where no function begins", RelocationError)
    image, _ = two_functions(bytes.fromhex("8510000002000000") + RETURN_0)
    spec = CollectionSpec.from_bytes(image.build())
    assert spec.functions["first"].relocations == (Relocation(0, CALL, "second"),)


def test_helpers_and_data_that_look_like_calls_are_left_alone() -> None:
    """Helper calls have no source register, and the second slot of ldimm64 is data."""
    helper = bytes.fromhex("8500000002000000")
    image, _ = two_functions(helper + LOAD + RETURN_0)
    spec = CollectionSpec.from_bytes(image.build())
    assert spec.functions["first"].relocations == ()


def test_relocations_that_lead_nowhere() -> None:
    """Each of them would leave an instruction that refers to something arbitrary."""
    cases: list[tuple[bytes, tuple[int, int], str]] = [
        (RETURN_0, (0, 1), "neither call nor ldimm64"),
        (CALL_SELF + RETURN_0, (4, 10), "at no instruction"),
        (CALL_SELF + RETURN_0, (4096, 10), "at no instruction"),
        (CALL_SELF + RETURN_0, (0, 3), "relocation type 3"),
        (bytes.fromhex("8500000001000000") + RETURN_0, (0, 10), "is none"),
        (bytes.fromhex("8510000003000000") + RETURN_0, (0, 10), "no function begins"),
        (RETURN_0 + LOAD[:8], (16, 1), "neither call nor ldimm64"),
    ]
    for code, (offset, kind), words in cases:
        image, section = two_functions(code)
        image.relocations(section, (offset, 2, kind))
        refused(image, words, RelocationError)


def test_one_instruction_with_two_relocations() -> None:
    """There is no telling which of them is meant."""
    image, section = two_functions(CALL_SELF + RETURN_0)
    image.relocations(section, (0, 1, 10), (0, 2, 10))
    refused(image, "second relocation", RelocationError)


def test_sections_without_meaning_cannot_be_referred_to() -> None:
    """Nothing of such a section reaches the kernel."""
    image, section = two_functions(LOAD + RETURN_0)
    other = image.section("notes", PROGBITS, b"12345678")
    symbol = image.symbol("note", other, 0, 8, OBJECT)
    image.relocations(section, (0, symbol, 1))
    refused(image, "section 'notes', which has no maps, data or code", RelocationError)
    image, section = two_functions(LOAD + RETURN_0)
    symbol = image.symbol("common", 0xFFF2, 8, 8, OBJECT)
    image.relocations(section, (0, symbol, 1))
    refused(image, "'common': in special section 0xfff2; is it not initialized", RelocationError)


def test_addresses_of_data_count_from_the_section() -> None:
    """A static variable is its section and a distance, which is in the instruction."""
    load = bytearray(LOAD)
    struct.pack_into("<i", load, 4, 12)
    image, section = two_functions(bytes(load) + RETURN_0)
    data = image.section(".data", PROGBITS, bytes(64))
    whole = image.symbol("", data, 0, 0, SECTION, LOCAL)
    image.relocations(section, (0, whole, 1))
    spec = CollectionSpec.from_bytes(image.build())
    (relocation,) = spec.functions["first"].relocations
    assert relocation == Relocation(0, RelocationKind.DATA, ".data", offset=12)


def test_functions_of_one_name_get_keys_of_their_own() -> None:
    """Linked files may each have a static function of that name."""
    image = Image()
    text = image.code(".text", RETURN_0 * 2)
    image.symbol("helper", text, 0, 16, bind=LOCAL)
    image.symbol("helper", text, 16, 16, bind=LOCAL)
    call = bytes.fromhex("8510000001000000")
    program = image.code("socket", call + RETURN_0)
    image.symbol("program", program, 0, 24)
    whole = image.symbol("", text, 0, 0, SECTION, LOCAL)
    image.relocations(program, (0, whole, 10))
    spec = CollectionSpec.from_bytes(image.build())
    assert list(spec.functions) == ["helper", "helper#2", "program"]
    assert spec.functions["helper#2"].name == "helper"
    assert spec.functions["program"].relocations == (Relocation(0, CALL, "helper#2"),)
