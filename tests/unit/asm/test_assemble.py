from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from ebpf import asm
from ebpf.asm import R0, R1, R2, R10, Instruction, Label
from ebpf.errors import AsmError

# Parts of programs, which none of these tests loads.
assemble = partial(asm.assemble, check=False)

GOLDEN: list[tuple[Instruction, str]] = [
    (asm.mov(R0, 1), "b7 00 00 00 01 00 00 00"),
    (asm.mov32(R1, R2), "bc 21 00 00 00 00 00 00"),
    (asm.add(R2, -8), "07 02 00 00 f8 ff ff ff"),
    (asm.smod32(R1, R2), "9c 21 01 00 00 00 00 00"),
    (asm.movsx864(R1, R2), "bf 21 08 00 00 00 00 00"),
    (asm.be16(R1), "dc 01 00 00 10 00 00 00"),
    (asm.bswap32(R1), "d7 01 00 00 20 00 00 00"),
    (asm.ldxw(R0, R1 + 4), "61 10 04 00 00 00 00 00"),
    (asm.ldxsb(R0, R1), "91 10 00 00 00 00 00 00"),
    (asm.stxdw(R10 - 8, R1), "7b 1a f8 ff 00 00 00 00"),
    (asm.stw(R10 - 4, 7), "62 0a fc ff 07 00 00 00"),
    (asm.lddw(R1, 0x1122334455667788), "18 01 00 00 88 77 66 55 00 00 00 00 44 33 22 11"),
    (asm.lddw(R1, 2**63), "18 01 00 00 00 00 00 00 00 00 00 00 00 00 00 80"),
    (asm.ld_map_fd(R1, "m"), "18 11 00 00 00 00 00 00 00 00 00 00 00 00 00 00"),
    (asm.ld_map_value(R1, "m", 24), "18 21 00 00 00 00 00 00 00 00 00 00 18 00 00 00"),
    (asm.call("map_lookup_elem"), "85 00 00 00 01 00 00 00"),
    (asm.atomic_add(R1 + 8, R2), "db 21 08 00 00 00 00 00"),
    (asm.atomic_or32(R1, R2, fetch=True), "c3 21 00 00 41 00 00 00"),
    (asm.cmpxchg(R1, R2), "db 21 00 00 f1 00 00 00"),
    (asm.ldabsh(12), "28 00 00 00 0c 00 00 00"),
    (asm.ldindw(R1, -4), "40 10 00 00 fc ff ff ff"),
    (asm.exit_(), "95 00 00 00 00 00 00 00"),
]


@pytest.mark.parametrize(("instruction", "code"), GOLDEN, ids=lambda x: str(x))
def test_golden_bytes(instruction: Instruction, code: str) -> None:
    """The encoding of RFC 9669 would be wrong, also where no LLVM is installed."""
    assert assemble([instruction], byteorder="little").code.hex(" ") == code


def test_golden_bytes_of_a_big_endian_machine() -> None:
    """On s390x the registers or the numbers would change places."""
    code = assemble([asm.stxdw(R10 - 8, R1), asm.lddw(R1, 1 << 40)], byteorder="big").code
    assert code.hex(" ") == (
        "7b a1 ff f8 00 00 00 00 18 10 00 00 00 00 00 00 00 00 00 00 00 00 01 00"
    )


def test_host_byte_order_is_the_default() -> None:
    """A program for another machine would be loaded."""
    program = [asm.mov(R0, 1), asm.exit_()]
    host = assemble(program, byteorder=sys.byteorder)
    assert assemble(program) == host
    other: Any = "big" if sys.byteorder == "little" else "little"
    assert assemble(program, byteorder=other).code != host.code


def test_jumps_count_slots_from_the_next_one() -> None:
    """Jumps forward, backward and over an lddw would land elsewhere."""
    assembly = assemble(
        [
            Label("top"),
            asm.jeq(R1, 0, "end"),  # slot 0
            asm.lddw(R2, 1),  # 1, 2
            asm.ja("top"),  # 3
            asm.ja32("top"),  # 4
            Label("end"),
            asm.exit_(),  # 5
        ],
        byteorder="little",
    )
    assert assembly.labels == {"top": 0, "end": 5}
    assert len(assembly) == 6
    slots = [assembly.code[n : n + 8].hex(" ") for n in range(0, 48, 8)]
    assert slots[0] == "15 01 04 00 00 00 00 00"
    assert slots[3] == "05 00 fc ff 00 00 00 00"
    assert slots[4] == "06 00 00 00 fb ff ff ff"


def test_functions_are_called_and_pointed_at_relative_to_the_next_slot() -> None:
    """A call, forward or backward, would enter a function somewhere else."""
    assembly = assemble(
        [
            asm.ld_func(R2, "callback"),  # 0, 1
            asm.call_local("helper"),  # 2
            asm.exit_(),  # 3
            Label("callback"),
            asm.exit_(),  # 4
            Label("helper"),
            asm.ld_func(R2, "callback"),  # 5, 6
            asm.call_local("callback"),  # 7
            asm.exit_(),  # 8
        ],
        byteorder="little",
    )
    code = assembly.code
    assert code[0:16].hex(" ") == "18 42 00 00 03 00 00 00 00 00 00 00 00 00 00 00"
    assert code[16:24].hex(" ") == "85 10 00 00 02 00 00 00"
    assert code[40:56].hex(" ") == "18 42 00 00 fe ff ff ff 00 00 00 00 00 00 00 00"
    assert code[56:64].hex(" ") == "85 10 00 00 fc ff ff ff"
    assert assembly.subprograms == (4, 5)


def test_nested_iterables_are_spliced() -> None:
    """Snippets that functions return as lists would not compose."""

    def snippet() -> Iterator[Instruction]:
        yield asm.mov(R0, 2)
        yield asm.add(R0, 3)

    nested = [asm.mov(R1, 1), [[], (asm.mov(R2, 2), [snippet()])], iter([asm.exit_()])]
    flat = [asm.mov(R1, 1), asm.mov(R2, 2), asm.mov(R0, 2), asm.add(R0, 3), asm.exit_()]
    assert assemble(nested).code == assemble(flat).code
    assert assemble([*nested[:2], asm.exit_()]).instructions[0] == flat[0]


def test_targets_may_be_labels() -> None:
    """A label object would be refused where its name is taken."""
    out = Label("out")
    by_label = assemble([asm.ja(out), out, asm.exit_()])
    assert by_label.code == assemble([asm.ja("out"), Label("out"), asm.exit_()]).code


def test_each_slot_has_its_position() -> None:
    """A verifier message about a slot would be shown at another line."""
    program = [asm.lddw(R1, 1), asm.mov(R0, 0), asm.exit_()]
    lddw, mov, exit_ = (i.position for i in program)
    assert assemble(program).positions == (lddw, lddw, mov, exit_)


def test_assemblies_cannot_change() -> None:
    """The labels or the code could be changed after the fact."""
    assembly: Any = assemble([Label("l"), asm.exit_()])
    with pytest.raises(AttributeError, match="immutable"):
        assembly.code = b""
    with pytest.raises(TypeError):
        assembly.labels["m"] = 1
    assert pickle.loads(pickle.dumps(assembly)) == assembly
    assert pickle.loads(pickle.dumps(assembly)).positions == assembly.positions


def fails(program: Any, *parts: str) -> None:
    with pytest.raises(AsmError) as caught:
        assemble(program)
    for part in parts:
        assert part in str(caught.value)


def test_unknown_label_names_the_line_and_the_known_ones() -> None:
    """The message would not show the slip."""
    jump = asm.jeq(R1, 0, "dnoe")
    fails(
        [Label("start"), jump, Label("done"), asm.exit_()],
        f"{jump.position}: if r1 == 0 goto dnoe: unknown label 'dnoe'",
        "known labels: 'start', 'done'",
    )
    fails([asm.ja("x")], "known labels: none")


def test_duplicate_label_names_both_lines() -> None:
    """One of two labels would win silently."""
    first = Label("a")
    second = Label("a")
    assert first.position != second.position
    fails(
        [first, asm.exit_(), second, asm.exit_()],
        f"{second.position}: label 'a' is already defined at {first.position}",
    )


def test_a_snippet_that_is_used_twice() -> None:
    """Whoever does so would be told of a label that he has never written."""
    found = asm.if_(asm.when(R1, "==", 0), [asm.mov(R0, 0)])
    with pytest.raises(AsmError, match="call what made it again for each use of it"):
        assemble([found, found, asm.exit_()])


def test_a_jump_to_the_end_is_refused() -> None:
    """The verifier would refuse it with nothing but a slot number."""
    end = Label("end")
    fails([asm.ja("end"), end], "no instruction follows label 'end'", str(end.position))
    assert assemble([asm.exit_(), end]).labels == {"end": 1}


@pytest.mark.parametrize("distance", [32767, 32768])
def test_how_far_a_jump_reaches(distance: int) -> None:
    """A jump that is too far would be cut to 16 bits and land anywhere."""
    padding = [asm.mov(R0, 0)] * distance
    forward = [asm.ja("there"), padding, Label("there"), asm.exit_()]
    backward = [Label("there"), padding, asm.ja("there")]
    if distance == 32767:
        assert assemble(forward, byteorder="little").code[:4] == b"\x05\0\xff\x7f"
        assert assemble(backward, byteorder="little").code[-8:-4] == b"\x05\0\x00\x80"
    else:
        fails(forward, "'there' is 32768 slots away", "ja32")
        fails(backward, "'there' is -32769 slots away", "ja32")
        far = assemble([asm.ja32("there"), forward[1:]], byteorder="little")
        assert far.code[:8] == b"\x06\0\0\0\x00\x80\0\0"


@pytest.mark.parametrize("program", [[], [[], ()], [Label("only")]])
def test_an_empty_program_is_refused(program: Any) -> None:
    """An empty program would reach the kernel."""
    fails(program, "the program is empty")


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (None, r"program\[1\]\[0\] must be an instruction, a label .* not NoneType None"),
        ("done", r"program\[1\]\[0\] is the str 'done': write Label\('done'\)"),
        (b"\x95", r"program\[1\]\[0\] must be .* not bytes"),
        (R1, r"program\[1\]\[0\] must be .* not Register R1"),
        ({"a": 1}, r"program\[1\]\[0\] must be .* not dict"),
    ],
)
def test_other_things_in_a_program_are_refused(item: Any, message: str) -> None:
    """A forgotten return, or a bare name for a label, would be skipped."""
    with pytest.raises(TypeError, match=message):
        assemble([asm.exit_(), [item]])


def test_unknown_byte_order() -> None:
    """A misspelled byte order would mean one of the two."""
    with pytest.raises(AsmError, match="byteorder must be 'little' or 'big', not 'middle'"):
        assemble([asm.exit_()], byteorder="middle")  # type: ignore[arg-type]


class FakeMap:
    def __init__(self, fd: Any) -> None:
        self.fd = fd

    def fileno(self) -> Any:
        return self.fd

    __hash__ = None  # type: ignore[assignment]  # maps need not be hashable


def test_references_say_where_and_what() -> None:
    """A loader could not find the maps of a program."""
    owner = FakeMap(9)
    assembly = assemble(
        [asm.mov(R0, 0), asm.ld_map_fd(R1, "counts"), asm.ld_map_value(R2, owner, 8), asm.exit_()]
    )
    assert assembly.references == ((1, "counts", "fd"), (3, owner, "value"))


@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize("fd_of", [{"counts": 0x1234, "x": 1}, lambda name: 0x1234])
def test_resolve_puts_descriptors_in_place(fd_of: Any, byteorder: Any) -> None:
    """A program would use another map than its own, or another offset in a value."""
    program = [
        asm.ld_map_fd(R1, "counts"),
        asm.ld_map_value(R2, FakeMap(9), 8),
        asm.ld_map_value(R2, "counts", 16),
    ]
    assembly = assemble(program, byteorder=byteorder)
    resolved = asm.disassemble(assembly.resolve(fd_of), byteorder=byteorder)
    assert [i.imm for i in resolved] == [0x1234, 9 | 8 << 32, 0x1234 | 16 << 32]
    assert [i.src for i in resolved] == [1, 2, 2]
    unresolved = asm.disassemble(assembly.code, byteorder=byteorder)
    assert [i.imm for i in unresolved] == [0, 8 << 32, 16 << 32]


def test_resolve_without_names_needs_no_mapping() -> None:
    """Maps given as objects would have to be given twice."""
    assembly = assemble([asm.ld_map_fd(R1, FakeMap(7))], byteorder="little")
    assert assembly.resolve()[4] == 7
    assert assemble([asm.exit_()]).resolve() == assemble([asm.exit_()]).code


def test_resolve_refuses_what_it_cannot_resolve() -> None:
    """A program would be loaded with descriptor 0 in place of its map."""
    load = asm.ld_map_fd(R1, "counts")
    assembly = assemble([load])
    where = re.escape(str(load.position))
    with pytest.raises(AsmError, match=f"{where}: map 'counts' is known by name only; pass fd_of"):
        assembly.resolve()
    with pytest.raises(AsmError, match=f"{where}: unknown map 'counts'; known maps: 'a', 'b'"):
        assembly.resolve({"a": 1, "b": 2})
    with pytest.raises(AsmError, match="known maps: none"):
        assembly.resolve({})
    with pytest.raises(AsmError, match="impossible descriptor -1"):
        assembly.resolve({"counts": -1})
    with pytest.raises(TypeError, match="descriptor of map 'counts' must be an integer, not None"):
        assembly.resolve(lambda name: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="must be an integer, not True"):
        assemble([asm.ld_map_fd(R1, FakeMap(True))]).resolve()
