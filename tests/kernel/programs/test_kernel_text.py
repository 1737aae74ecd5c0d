"""Instructions as the running kernel reads them: its verifier's log is the oracle."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ebpf import ArrayMap, NotSupportedError, Program, ProgramType
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R10,
    Label,
    add,
    addr_space_cast,
    and32,
    arsh,
    assemble,
    atomic_add,
    atomic_add32,
    atomic_and,
    atomic_or32,
    atomic_xor32,
    be16,
    be64,
    bswap16,
    bswap32,
    bswap64,
    call,
    call_kfunc,
    cmpxchg,
    cmpxchg32,
    div,
    exit_,
    invoke,
    ja,
    ja32,
    jeq,
    jlt32,
    jset32,
    jsgt,
    ld_btf_id,
    lddw,
    ldxb,
    ldxdw,
    ldxh,
    ldxsb,
    ldxsh,
    ldxsw,
    ldxw,
    le32,
    listing,
    load_acquireb,
    load_acquiredw,
    load_acquireh,
    load_acquirew,
    lsh,
    may_goto,
    mod,
    mov,
    mov32,
    movsx832,
    movsx864,
    movsx1632,
    movsx1664,
    movsx3264,
    mul,
    neg,
    neg32,
    or_,
    parse,
    rsh32,
    sdiv,
    sdiv32,
    smod,
    smod32,
    stb,
    stdw,
    sth,
    store_releaseb,
    store_releasedw,
    store_releaseh,
    store_releasew,
    stw,
    stxb,
    stxdw,
    stxh,
    stxw,
    sub32,
    xchg,
    xchg32,
    xor32,
)
from ebpf.errors import BpfFileNotFoundError, VerifierError
from tests.kernel import environment

LOG_ALL = 2

BASIC = [
    mov(R0, 7), mov32(R1, -7), mov(R2, R0), add(R0, R2), sub32(R0, 5), mul(R0, 3), div(R0, 2),
    or_(R0, 1), and32(R0, 255), lsh(R0, 3), rsh32(R0, 1), arsh(R0, 1), mod(R0, 5), xor32(R0, R2),
    neg(R0), neg32(R0), be16(R0), be64(R0), le32(R0), lddw(R3, 2**63 + 5),
    stdw(R10 - 8, -1), stw(R10 - 16, 2), sth(R10 - 12, 3), stb(R10 - 10, 4), stb(R10 - 9, 4),
    stxdw(R10 - 24, R2), stxw(R10 - 28, R2), stxh(R10 - 30, R2), stxb(R10 - 31, R2),
    ldxdw(R4, R10 - 8), ldxw(R4, R10 - 8), ldxh(R4, R10 - 8), ldxb(R4, R10 - 8),
    atomic_add(R10 - 8, R2), atomic_add32(R10 - 8, R2), call("get_prandom_u32"),
    jeq(R0, -2, "next"), Label("next"), jsgt(R0, R0, "more"), Label("more"),
    jlt32(R0, 5, "end"), jset32(R0, R0, "end"), Label("end"), mov(R0, 0), exit_(),
]  # fmt: skip
FETCHING = [
    mov(R0, 0), mov(R2, 1), stdw(R10 - 8, 1), atomic_add(R10 - 8, R2, fetch=True),
    atomic_or32(R10 - 8, R2, fetch=True), atomic_and(R10 - 8, R2), atomic_xor32(R10 - 8, R2),
    xchg(R10 - 8, R2), xchg32(R10 - 8, R2), cmpxchg(R10 - 8, R2), cmpxchg32(R10 - 8, R2),
    mov(R0, 0), exit_(),
]  # fmt: skip
VERSION_4 = [
    mov(R0, 7), mov(R2, -9), movsx864(R1, R2), movsx1664(R1, R2), movsx3264(R1, R2),
    movsx832(R1, R2), movsx1632(R1, R2), sdiv(R2, 2), sdiv32(R2, R0), smod(R2, 2), smod32(R2, 3),
    bswap16(R0), bswap32(R0), bswap64(R0), stdw(R10 - 8, -1), ldxsb(R1, R10 - 8),
    ldxsh(R1, R10 - 8), ldxsw(R1, R10 - 8), ja32("end"), Label("end"), mov(R0, 0), exit_(),
]  # fmt: skip
MAY_GOTO = [Label("again"), may_goto("end"), ja("again"), Label("end"), mov(R0, 0), exit_()]
ORDERED = [
    stdw(R10 - 8, 1), load_acquiredw(R0, R10 - 8), load_acquirew(R1, R10 - 8),
    load_acquireh(R1, R10 - 8), load_acquireb(R1, R10 - 8), store_releasedw(R10 - 8, R1),
    store_releasew(R10 - 8, R1), store_releaseh(R10 - 8, R1), store_releaseb(R10 - 8, R1),
    mov(R0, 0), exit_(),
]  # fmt: skip

PROGRAMS: dict[str, tuple[list[Any], tuple[int, int]]] = {
    "basic": (BASIC, (4, 18)),
    "fetching": (FETCHING, (5, 12)),
    "version 4": (VERSION_4, (6, 6)),
    "may_goto": (MAY_GOTO, (6, 9)),
    "ordered": (ORDERED, (6, 15)),
}


def needs(what: str, since: tuple[int, int]) -> None:
    if environment.kernel_version() < since:
        raise NotSupportedError(what, since)


def walked(log: str) -> dict[int, str]:
    """The text of each instruction that a verifier's log has."""
    lines = re.findall(r"^\s*(\d+): (\([0-9a-f]{2}\) .*?)(?:\s+;.*)?$", log, flags=re.MULTILINE)
    return {int(slot): text.strip() for slot, text in lines}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_verifier_prints_the_same(name: str) -> None:
    """An instruction would be another one to the kernel, or a listing not the kernel's."""
    program, since = PROGRAMS[name]
    needs(f"the instructions of {name!r}", since)
    with Program.load(ProgramType.SOCKET_FILTER, program, license="GPL", log_level=LOG_ALL) as made:
        theirs = walked(made.log)
    ours = walked(listing(program, style="kernel"))
    same = {slot: text for slot, text in ours.items() if slot in theirs}
    assert same == {slot: text for slot, text in theirs.items() if slot in same}
    assert len(theirs) > 0.8 * len(ours)
    assert assemble(parse(listing(program, style="kernel"))).code == assemble(program).code


def test_the_verifier_knows_a_cast_that_it_refuses_here() -> None:
    """What needs an arena would be another instruction to the kernel."""
    cast = addr_space_cast(R2, R2, 0, 1)
    needs(str(cast), (6, 9))
    program = [mov(R0, 0), mov(R2, R1), cast, exit_()]
    with pytest.raises(VerifierError) as caught:
        Program.load(ProgramType.SOCKET_FILTER, program, license="GPL", log_level=LOG_ALL)
    (ours,) = walked(listing([cast], style="kernel")).values()
    assert ours in walked(caught.value.log).values()


def test_functions_of_the_kernel_are_called_by_name() -> None:
    """A kfunc would need its number in this very kernel's BTF."""
    needs("bpf_cast_to_kern_ctx", (6, 2))
    program = [call_kfunc("bpf_cast_to_kern_ctx"), mov(R0, 5), exit_()]
    with Program.load(ProgramType.SCHED_CLS, program, license="GPL") as made:
        assert made.test_run(data=bytes(64)).return_value == 5
    program = [call_kfunc("bpf_cast_to_kern_ctxx"), mov(R0, 5), exit_()]
    with pytest.raises(BpfFileNotFoundError, match=r"no function bpf_cast_to_kern_ctxx in the BTF"):
        Program.load(ProgramType.SCHED_CLS, program, license="GPL")


def test_variables_of_the_kernel_are_found_by_name() -> None:
    """A variable would need its number in this very kernel's BTF."""
    program = [ld_btf_id(R1, "runqueues"), call("this_cpu_ptr"), mov(R0, 3), exit_()]
    if not environment.kernel_has_variables():
        with pytest.raises(BpfFileNotFoundError, match="was made without variables"):
            Program.load(ProgramType.SCHED_CLS, program, license="GPL")
        return
    if environment.kernel_has("CONFIG_KALLSYMS_ALL"):
        with Program.load(ProgramType.SCHED_CLS, program, license="GPL") as made:
            assert made.test_run(data=bytes(64)).return_value == 3
    else:
        # The kernel tells by the number which variable it does not know the address of.
        with pytest.raises(VerifierError, match="address for kernel symbol 'runqueues'"):
            Program.load(ProgramType.SCHED_CLS, program, license="GPL")
    with pytest.raises(BpfFileNotFoundError, match=r"no variable runqueuess .*runqueues"):
        Program.load(ProgramType.SCHED_CLS, [ld_btf_id(R1, "runqueuess"), *program], license="GPL")


def test_a_number_of_arguments_that_the_kernel_wants_too() -> None:
    """The table of helpers would ask for registers that the kernel does not read."""
    with ArrayMap.create(key="I", value="Q", max_entries=1) as counts:
        program = [
            stw(R10 - 4, 0),
            invoke(call("map_lookup_elem"), counts, R10 - 4),
            jeq(R0, 0, "end"), ldxdw(R0, R0), exit_(), Label("end"), mov(R0, 9), exit_(),
        ]  # fmt: skip
        counts[0] = 77
        with Program.load(ProgramType.SCHED_CLS, program, license="GPL") as made:
            assert made.test_run(data=bytes(64)).return_value == 77
