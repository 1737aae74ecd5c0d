"""Text and back: every style of listing, for programs that nobody wrote."""

from __future__ import annotations

import struct
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebpf import asm
from ebpf.asm import R0, R1, R2, R6, R10, Instruction, Label, disassemble, listing, parse
from ebpf.errors import AsmError

# Parts of programs, which none of these tests loads.
assemble = partial(asm.assemble, check=False)

LDDW = 0x18

# Fields that mean something somewhere, more often than by chance.
OFFSETS = st.sampled_from([0, 1, -1, 8, 16, 32]) | st.integers(-(2**15), 2**15 - 1)
IMMEDIATES = st.sampled_from(
    [0, 1, -1, 16, 32, 64, 0x41, 0xE1, 0xF1, 0x100, 0x110, 2**31 - 1, -(2**31)]
) | st.integers(-(2**31), 2**31 - 1)


@st.composite
def slots(draw: st.DrawFn) -> bytes:
    opcode = draw(st.integers(0, 255))
    dst, src = draw(st.integers(0, 10)), draw(st.sampled_from([0, 1, 2, 4, 10]))
    offset = 0 if opcode == LDDW else draw(OFFSETS)
    code = struct.pack("=BBhi", opcode, dst | src << 4, offset, draw(IMMEDIATES))
    return code + struct.pack("=BBhi", 0, 0, 0, draw(IMMEDIATES)) if opcode == LDDW else code


@settings(max_examples=300)
@given(st.lists(slots(), min_size=1).map(b"".join), st.sampled_from(["llvm", "objdump", "kernel"]))
def test_every_style_is_read_back(code: bytes, style: Any) -> None:
    """A listing would lose a field, or its reader take it for another one."""
    again = assemble(parse(listing(code, style=style))).code
    if style == "kernel":
        # It does not say what kind of reference a 64-bit load is.
        code = assemble(
            [
                Instruction(i.opcode, i.dst, 0 if i.opcode == LDDW else i.src, i.offset, i.imm)
                for i in disassemble(code)
            ]
        ).code
    assert again == code


REFERENCES = [
    asm.ld_map_fd(R1, "counts"),
    asm.ld_map_value(R1, "counts", 8),
    asm.ld_map_value(R1, ".rodata"),
    asm.ld_map_idx(R1, 3),
    asm.ld_map_idx_value(R1, 3, 16),
    asm.ld_btf_id(R1, "runqueues"),
    asm.ld_btf_id(R1, 17, 4),
    asm.ld_func(R1, "callback"),
    asm.call_local("callback"),
    asm.call_kfunc("bpf_cpumask_create"),
    asm.call_kfunc(5, 2),
    asm.call("map_lookup_elem"),
    asm.jne(R1, 5, "callback"),
    asm.jlt32(R1, R2, "callback"),
    asm.ja("callback"),
    asm.ja32("callback"),
    asm.may_goto("callback"),
    asm.gotox(R1),
]


@pytest.mark.parametrize("style", ["llvm", "objdump"])
@pytest.mark.parametrize("instruction", REFERENCES, ids=str)
def test_names_are_read_back(instruction: Instruction, style: Any) -> None:
    """A program saved as text would lose its maps, functions or labels."""
    program = [Label("callback"), instruction, asm.exit_()]
    text = listing(program, style=style)
    assert parse(text) == program
    assert assemble(parse(text)) == assemble(program)


def test_snippets_are_read_back() -> None:
    """A program with a parser of packets in it could not be saved as text."""
    program = [
        Label("pc5"), asm.snippets.log2(R1, R2), asm.packet.ethernet(R2, R6, R1, "pc5"),
        asm.if_(asm.when(R1, "==", 0), [asm.ja("pc5")]), asm.call_local("pc5"), asm.exit_(),
    ]  # fmt: skip
    for style in ("llvm", "objdump"):
        assert assemble(parse(listing(program, style=style))) == assemble(program)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a b", "x #1", "5", "-a", "a:", "a;b"])
def test_labels_that_a_listing_cannot_show_are_refused(name: str) -> None:
    """The listing of the program would be another program, or none."""
    with pytest.raises(AsmError, match="name must be of letters"):
        Label(name)


def test_a_listing_reads_as_the_tools_do() -> None:
    """Somebody who knows LLVM's or the kernel's text would have to learn another one."""
    program = [
        asm.lddw(R6, -1), Label("again"), asm.ldxw(R0, R1 - 4), asm.jne(R0, -2, "again"),
        asm.stxw(R10 - 8, R0), asm.atomic_add(R1, R2, fetch=True), asm.call(1), asm.exit_(),
    ]  # fmt: skip
    assert listing(program).splitlines() == [
        "       0: r6 = -1 ll",
        "again:",
        "       2: w0 = *(u32 *)(r1 - 4)",
        "       3: if r0 != -2 goto again",
        "       4: *(u32 *)(r10 - 8) = w0",
        "       5: r2 = atomic_fetch_add((u64 *)(r1 + 0), r2)",
        "       6: call 1",
        "       7: exit",
    ]
    assert listing(program, style="kernel").splitlines() == [
        "       0: (18) r6 = 0xffffffffffffffff",
        "       2: (61) r0 = *(u32 *)(r1 -4)",
        "       3: (55) if r0 != 0xfffffffe goto pc-2",
        "       4: (63) *(u32 *)(r10 -8) = r0",
        "       5: (db) r2 = atomic64_fetch_add((u64 *)(r1 +0), r2)",
        "       6: (85) call bpf_map_lookup_elem#1",
        "       7: (95) exit",
    ]
    assert listing(program, style="objdump").splitlines()[0] == "       0: r6 = -0x1 ll"


# bpftool prog dump xlated id N opcodes, on Linux 6.18.
DUMP = """\
int main(struct xdp_md * ctx):
; return count(ctx);
   0: (62) *(u32 *)(r10 -4) = 0
       62 0a fc ff 00 00 00 00
   1: (18) r1 = map[id:202973][0]+8
       18 21 00 00 dd 18 03 00 00 00 00 00 08 00 00 00
   3: (18) r1 = map[id:202974]
       18 11 00 00 de 18 03 00 00 00 00 00 00 00 00 00
   5: (18) r2 = subprog[+3]
   7: (85) call pc+1#bpf_prog_a846f2ec071dbb6d_f
       85 10 02 00 01 00 00 00
   8: (95) exit
int f(unsigned int a):
   9: (85) call __htab_map_lookup_elem#330864
"""


def test_dumps_of_bpftool_are_read() -> None:
    """What another program has loaded could be looked at by eye only."""
    assert parse(DUMP) == [
        asm.stw(R10 - 4, 0),
        asm.lddw(R1, 202973 | 8 << 32),
        asm.lddw(R1, 202974),
        Instruction(LDDW, 2, 4, imm=3),
        Instruction(0x85, src=1, imm=1),
        asm.exit_(),
        asm.call_kfunc(330864),
    ]


def test_comments_and_positions() -> None:
    """An error in a text would not say which line it is in."""
    text = "; a comment\nr0 = 0 ; why\n\n  exit // the end\n# nothing\nend:\n"
    made = parse(text, filename="a.s")
    assert made == [asm.mov(R0, 0), asm.exit_(), Label("end")]
    assert [str(item.position) for item in made] == ["a.s:2", "a.s:4", "a.s:6"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("r0 += ", "a.s:1: 'r0 \\+=' is no instruction"),
        ("r1 = r2 + r3", "is no instruction"),
        ("r1 += w2", "r and w registers do not mix"),
        ("r1 = be16 r2", "the same on both sides"),
        ("r1 = -r2", "the same on both sides"),
        ("r1 = 0xffffffff", "sign-extended to 0xffffffffffffffff"),
        ("w1 = 0x100000000", "does not fit in 32 bits"),
        ("r1 = 0x10000000000000000 ll", "does not fit in 64 bits"),
        ("r16 = 1", "dst must be in 0..15"),
        ("goto +32768", "offset must be in"),
        ("r1 = *(u32 *)(r2 + 32768)", "offset must be in"),
        ("w2 = xchg32_32(r1 + 8, w3)", "the same on both sides"),
    ],
)
def test_what_is_no_instruction_is_refused(line: str, message: str) -> None:
    """A typing mistake would become another instruction."""
    with pytest.raises(AsmError, match=message):
        parse(line, filename="a.s")


def test_unknown_styles_are_refused() -> None:
    """A misspelled style would be taken for one of the others."""
    with pytest.raises(AsmError, match="style must be 'llvm', 'objdump', 'kernel', not 'gas'"):
        listing([asm.exit_()], style="gas")  # type: ignore[arg-type]
