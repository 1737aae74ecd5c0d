"""What the assembler refuses, the verifier refuses as well; and nothing that it accepts."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf import AttachType, CollectionSpec, HashMap, Program, ProgramType
from ebpf._sys import bpf
from ebpf.asm import (
    R0,
    R1,
    R2,
    R6,
    R10,
    Instruction,
    Label,
    Register,
    add,
    assemble,
    call,
    call_local,
    disassemble,
    exit_,
    ja,
    jeq,
    ld_map_fd,
    mov,
    stxdw,
    xchg,
)
from ebpf.asm.check import check
from ebpf.errors import AsmError, EbpfError, VerifierError
from tests.flawed import ACCEPTED, FLAWED, LOOKUPS
from tests.objects import SOURCES, compiled

FILTER = ProgramType.SOCKET_FILTER
# Only BTF says that a function of this one is called, when the program throws.
UNREACHED = {"exceptions"}
NAMES = sorted({path.name.removesuffix(".bpf.c") for path in SOURCES.glob("*.bpf.c")} - UNREACHED)


@pytest.mark.parametrize("case", FLAWED)
def test_the_verifier_refuses_it_too(case: str) -> None:
    """A program that works would be refused."""
    program, _, _ = FLAWED[case]
    with pytest.raises(VerifierError):
        Program.load(FILTER, assemble(program, check=False), license="GPL")
    with pytest.raises(AsmError):
        Program.load(FILTER, program, license="GPL")


@pytest.mark.parametrize("case", LOOKUPS)
def test_the_side_with_a_value_is_always_verified(case: str) -> None:
    """A program that works would be refused."""
    with HashMap.create(key="Q", value="Q", max_entries=1) as values:
        program = [ld_map_fd(R1, values), *LOOKUPS[case][0]]
        with pytest.raises(VerifierError):
            Program.load(FILTER, assemble(program, check=False), license="GPL")
        with pytest.raises(AsmError, match=LOOKUPS[case][1]):
            Program.load(FILTER, program, license="GPL")


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_looks_wrong_and_works(case: str) -> None:
    """These would not be an assembler's business."""
    Program.load(FILTER, ACCEPTED[case], license="GPL").close()


@pytest.mark.parametrize("name", NAMES)
def test_what_clang_makes_and_the_kernel_accepts(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a compiler does that nobody here thought of would be refused."""
    accepted: list[bytes] = []
    load = bpf.prog_load

    def watched(*arguments: Any, **fields: Any) -> bpf.LoadResult:
        loaded = load(*arguments, **fields)
        if loaded.result >= 0:
            accepted.append(fields["insns"])
        return loaded

    monkeypatch.setattr(bpf, "prog_load", watched)
    warnings.simplefilter("ignore")  # parts of an object that is to be linked
    spec = CollectionSpec.from_file(compiled(name))
    for program in spec.programs:
        for other, each in spec.programs.items():
            each.autoload = other == program
        with contextlib.suppress(EbpfError, TypeError, OSError), spec.load():
            pass
    for code in accepted:
        check(assemble(disassemble(code), check=False))


@pytest.mark.needs_config("CONFIG_CGROUP_NET_CLASSID")
def test_a_helper_that_takes_its_argument_from_some_programs_only() -> None:
    """A program at a cgroup's sockets, which has no packet, would be refused."""
    program = [call("get_prandom_u32"), call("get_cgroup_classid"), mov(R0, 1), exit_()]
    create = AttachType.CGROUP_INET_SOCK_CREATE
    Program.load(ProgramType.CGROUP_SOCK, program, license="GPL", attach_type=create).close()
    with pytest.raises(VerifierError, match="R1 !read_ok"):
        Program.load(ProgramType.SCHED_CLS, program, license="GPL")


def test_a_program_that_replaces_a_function_has_its_arguments() -> None:
    """It would be refused for a register that is set; what is missing here is the function."""
    with pytest.raises(EbpfError) as caught:
        Program.load(ProgramType.EXT, [mov(R0, R2), exit_()], license="GPL")
    assert not isinstance(caught.value, AsmError)


# Forward jumps only: the verifier takes long to find that a loop has no end.
REGISTERS = st.sampled_from([R0, R1, R2, R6])
STEPS = st.tuples(
    st.sampled_from(["mov", "set", "add", "call", "local", "if", "jump", "exit", "spill", "swap"]),
    REGISTERS,
    REGISTERS,
    st.integers(1, 4),
)


def step(number: int, last: int, kind: str, dst: Register, src: Register, far: int) -> Instruction:
    place = f"l{min(number + far, last)}"
    made: dict[str, Callable[[], Instruction]] = {
        "mov": lambda: mov(dst, src),
        "set": lambda: mov(dst, far - 1),
        "add": lambda: add(dst, src),
        "call": lambda: call("get_prandom_u32"),
        "local": lambda: call_local(place),
        "if": lambda: jeq(dst, far - 1, place),
        "jump": lambda: ja(place),
        "exit": exit_,
        "spill": lambda: stxdw(R10 - 8, dst),
        "swap": lambda: xchg(R10 - 8, dst),
    }
    return made[kind]()


@given(st.lists(STEPS, min_size=1, max_size=8), st.booleans())
def test_random_programs(steps: list[Any], begun: bool) -> None:
    """Some program that works would be refused."""
    program: list[Any] = [mov(R0, 0), mov(R2, 1), mov(R6, 2)] if begun else []
    for number, (kind, dst, src, far) in enumerate(steps):
        program += [Label(f"l{number}"), step(number, len(steps), kind, dst, src, far)]
    program += [Label(f"l{len(steps)}"), exit_()]
    assembly = assemble(program, check=False)
    try:
        check(assembly, returns=True)
    except AsmError:
        with pytest.raises(EbpfError):
            Program.load(FILTER, assembly, license="GPL")
