"""Why the verifier refused, read off logs as kernels of several releases write them."""

from __future__ import annotations

import errno

import pytest

from ebpf._sys import facts
from ebpf.asm import R0, R1, Helper, assemble, exit_, ldxdw, mov
from ebpf.errors import NotSupportedError, VerifierError
from ebpf.programs.load import Loading, source_of
from ebpf.types import ProgramType
from ebpf.verifier import missing_helper, refusal

STATISTICS = (
    "processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0"
    " mark_read 0\n"
)

# Name -> (log, summary)
LOGS = {
    "5.10, states between instructions": (
        "0: R1=ctx(id=0,off=0,imm=0) R10=fp0\n"
        "0: (79) r0 = *(u64 *)(r1 +1000)\n"
        "invalid bpf_context access off=1000 size=8\n" + STATISTICS,
        "invalid bpf_context access off=1000 size=8 (instruction 0: r0 = *(u64 *)(r1 +1000))",
    ),
    "5.10, level 2": (
        "func#0 @0\n"
        "0: R1=ctx(id=0,off=0,imm=0) R10=fp0\n"
        "0: (b7) r0 = 1\n"
        "1: R0_w=inv1 R1=ctx(id=0,off=0,imm=0) R10=fp0\n"
        "1: (0f) r1 += r0\n"
        "last_idx 1 first_idx 0\n"
        "regs=1 stack=0 before 0: (b7) r0 = 1\n"
        "R1 pointer arithmetic on ctx prohibited\n"
        "verification time 59 usec\nstack depth 0\n" + STATISTICS,
        "R1 pointer arithmetic on ctx prohibited (instruction 1: r1 += r0)",
    ),
    "6.12, state behind the instruction": (
        "0: R1=ctx() R10=fp0\n"
        "; int probe(void *ctx) @ probe.c:7\n"
        "0: (b7) r0 = 0                        ; R0_w=0\n"
        "1: (bf) r2 = r1                       ; R1=ctx() R2_w=ctx()\n"
        "2: (85) call bpf_get_current_comm#16\n"
        "R1 type=ctx expected=fp, pkt, pkt_meta\n" + STATISTICS,
        "R1 type=ctx expected=fp, pkt, pkt_meta (instruction 2: call bpf_get_current_comm#16)",
    ),
    "two lines of reason": (
        "7: (79) r0 = *(u64 *)(r0 +4)\n"
        "invalid access to map value, value_size=4 off=4 size=8\n"
        "R0 min value is outside of the allowed memory range\n" + STATISTICS,
        "invalid access to map value, value_size=4 off=4 size=8; R0 min value is outside of the"
        " allowed memory range (instruction 7: r0 = *(u64 *)(r0 +4))",
    ),
    "states behind the reason": (
        "0: R1=ctx() R10=fp0\n"
        "0: (b7) r0 = 0                        ; R0=0\n"
        "1: (15) if r0 == 0x0 goto pc-1        ; R0=0\n"
        "infinite loop detected at insn 1\n"
        "cur state: R0=0 R1=ctx() R10=fp0\n"
        "old state: R0=P0 R1=ctx() R10=fp0\n" + STATISTICS,
        "infinite loop detected at insn 1 (instruction 1: if r0 == 0x0 goto pc-1)",
    ),
    "no instruction walked": (
        "unreachable insn 2\n" + STATISTICS,
        "unreachable insn 2 (instruction 2)",
    ),
    "no instruction at all": ("back-edge\n" + STATISTICS, "back-edge"),
    "6.18, live registers": (
        "func#0 @0\nLive regs before insn:\n"
        "      0: .......... (b7) r0 = 0\n      1: 0......... (95) exit\n"
        "BPF program is too large. Processed 1000001 insn\n" + STATISTICS,
        "BPF program is too large. Processed 1000001 insn",
    ),
    "paths": (
        "3: (15) if r0 == 0x0 goto pc+1\n R0=map_value(ks=4) R10=fp0 fp-8=mmmm????\n"
        "5: (95) exit\n"
        "from 3 to 5: R0=scalar() R10=fp0\n"
        "5: (95) exit\n"
        "At program exit the register R0 has unknown scalar value should have been in [0, 1]\n"
        + STATISTICS,
        "At program exit the register R0 has unknown scalar value should have been in [0, 1]"
        " (instruction 5: exit)",
    ),
    "subprograms": (
        "caller:\n R10=fp0\ncallee:\n frame1: R1=ctx() R10=fp0\n"
        "2: (85) call pc+2\n"
        "4: frame1: R1=ctx() R10=fp0\n"
        "4: (79) r0 = *(u64 *)(r1 +3)\n"
        "misaligned context access off (0x0; 0x0)+0+3 size 8\n" + STATISTICS,
        "misaligned context access off (0x0; 0x0)+0+3 size 8 (instruction 4: r0 = *(u64 *)(r1 +3))",
    ),
    "7.3, a report behind the line": (
        "0: R1=ctx() R10=fp0\n"
        "0: (bf) r2 = r1                       ; R1=ctx() R2=ctx()\n"
        "1: (85) call bpf_get_current_comm#16\n"
        "R2 type=ctx expected=scalar\n\n"
        "Verification failed: Call Type Safety: Invalid call argument\n\n"
        "Reason:\n"
        "  The second argument (R2) to bpf_get_current_comm does not satisfy the verifier"
        " contract: it has\n"
        "  type ctx, but this argument accepts scalar.\n\n"
        "At:\n  insn 1\n       | ^-- error: invalid second argument (R2)\n"
        "  Instruction context:\n      0 | (bf) r2 = r1\n"
        "  >>> 1 | (85) call bpf_get_current_comm#16\n\n"
        "Causal path:\n  insn 0\n       | ^-- update: R2 changed\n\n"
        "Suggestion:\n  Pass a value with one of the accepted types for this call.\n\n"
        + STATISTICS,
        "R2 type=ctx expected=scalar: The second argument (R2) to bpf_get_current_comm does not"
        " satisfy the verifier contract: it has type ctx, but this argument accepts scalar"
        " (instruction 1: call bpf_get_current_comm#16)",
    ),
    "7.3, a report of what was not walked": (
        "last insn is not an exit or jmp\n\n"
        "Verification failed: Program Structure: Subprogram can fall through\n\n"
        "Reason:\n  Subprogram 0 reaches its last instruction 0 without an exit or jump.\n\n"
        "At:\n  insn 0\n       | ^-- error: subprogram can fall through\n\n" + STATISTICS,
        "last insn is not an exit or jmp: Subprogram 0 reaches its last instruction 0 without an"
        " exit or jump (instruction 0)",
    ),
    "a report alone": (
        "Verification failed: Program Structure: Something new\n\n" + STATISTICS,
        "Program Structure: Something new",
    ),
    "7.3, statistics": (
        "verification time 5013 usec\nstack depth max 0\n"
        "subprog 0 (<unknown>) main insns_self 2 insns_total 2 stack 0\n" + STATISTICS,
        "the verifier gave no reason",
    ),
    "nothing but statistics": (STATISTICS, "the verifier gave no reason"),
    "nothing": ("", "the verifier gave no reason"),
}


@pytest.mark.parametrize("name", LOGS)
def test_the_lines_that_explain_are_found(name: str) -> None:
    """What surrounds them differs by release and by what was asked of the log."""
    log, summary = LOGS[name]
    assert str(refusal(log)) == summary


def test_the_line_of_python_is_named() -> None:
    """By the slot: a 64-bit constant takes two, and has one instruction."""
    program = assemble([mov(R0, 0), ldxdw(R0, R1 + 8), exit_()])
    position = program.positions[1]
    assert position is not None
    source = source_of(program)
    told = refusal("1: (79) r0 = *(u64 *)(r1 +8)\nno\n", source)
    assert str(told) == f"no (instruction 1: r0 = *(u64 *)(r1 +8), {__file__}:{position.line})"
    assert (told.slot, told.source) == (1, f"{__file__}:{position.line}")
    unreachable = str(refusal("unreachable insn 2\n", source))
    assert unreachable.startswith("unreachable insn 2 (instruction 2, ")
    # A number beyond the program, as in code that the verifier itself put in.
    assert str(refusal("9: (95) exit\nno\n", source)) == "no (instruction 9: exit)"
    assert source_of(None) is None


def test_a_reason_behind_a_long_walk_is_found() -> None:
    """A walk of a million instructions has a log of tens of megabytes."""
    walk = "".join(f"{number}: (07) r0 += 1    ; R0={number}\n" for number in range(100_000))
    assert str(refusal(f"{walk}no\n{STATISTICS}")) == "no (instruction 99999: r0 += 1)"


@pytest.mark.parametrize(
    ("line", "helper"),
    [
        ("invalid func unknown#174", Helper.GET_ATTACH_COOKIE),
        ("unknown func bpf_get_attach_cookie#174", Helper.GET_ATTACH_COOKIE),
        ("unknown func unknown#9999", None),
        ("R0 !read_ok", None),
    ],
)
def test_the_helper_that_is_missing(line: str, helper: Helper | None) -> None:
    """Kernels that have never heard of it print its number only."""
    assert missing_helper(f"3: (85) call unknown\n{line}\n{STATISTICS}") is helper


@pytest.mark.parametrize(
    ("log", "error"),
    [
        ("0: (b7) r1 = 5\n1: (61) r0 = *(u32 *)(r1 +0)\nR1 invalid mem access 'inv'\n", False),
        ("unreachable insn 2\nprocessed 0 insns (limit 1000000)\n", False),
        ("Only fentry/fexit/fmod_ret and lsm programs can be sleepable\n", True),
        ("0: (85) call bpf_loop#181\ninvalid func unknown#181\n", True),
    ],
)
def test_a_verdict_on_an_instruction_is_no_missing_feature(
    log: str, error: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels before 5.14 pass over the attach type of SEC("sk_reuseport"), so every mistake in
    such a program would be told as a kernel that is too old."""
    monkeypatch.setattr(facts, "kernel_version", lambda: (5, 10))
    request = {"prog_type": ProgramType.SK_REUSEPORT}
    loading = Loading(request, "select", ((5, 14), "the attach type SK_REUSEPORT_SELECT"))
    refused = loading._refused(errno.EINVAL, log)
    assert isinstance(refused, NotSupportedError if error else VerifierError)
