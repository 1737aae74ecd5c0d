"""What the instruction functions refuse, and what they say."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import pytest

from ebpf import asm
from ebpf.asm import R0, R1, R2, R10, Instruction
from ebpf.errors import AsmError

REFUSED: dict[str, tuple[Callable[[], Instruction], str]] = {
    "imm64 looks unsigned": (
        lambda: asm.mov(R1, 0xFFFF_FFFF),
        "src 0xffffffff would be sign-extended to 0xffffffffffffffff .* lddw",
    ),
    "compare looks unsigned": (lambda: asm.jgt(R1, 2**31, "x"), "sign-extended .* lddw"),
    "imm64 too big": (lambda: asm.add(R1, 2**32), "src 4294967296 does not fit .* lddw"),
    "imm64 too small": (lambda: asm.add(R1, -(2**31) - 1), "does not fit in 32 bits"),
    "imm32 too big": (lambda: asm.mov32(R1, 2**32), "src 4294967296 does not fit in 32 bits"),
    "imm32 too small": (lambda: asm.jeq32(R1, -(2**31) - 1, "x"), "does not fit in 32 bits"),
    "lddw too big": (lambda: asm.lddw(R1, 2**64), "does not fit in 64 bits"),
    "lddw too small": (lambda: asm.lddw(R1, -(2**63) - 1), "does not fit in 64 bits"),
    "stb too big": (lambda: asm.stb(R1, 256), "imm 256 does not fit in 8 bits"),
    "sth too small": (lambda: asm.sth(R1, -32769), "imm -32769 does not fit in 16 bits"),
    "stw too big": (lambda: asm.stw(R1, 2**32), "does not fit in 32 bits"),
    "stdw looks unsigned": (lambda: asm.stdw(R1, 2**31), "sign-extended .* lddw"),
    "ldabs": (lambda: asm.ldabsw(2**31), "offset must be in"),
    "value offset": (lambda: asm.ld_map_value(R1, "m", -1), "offset must be in 0.."),
    "offset high": (lambda: asm.ldxw(R1, R2 + 32768), "memory: offset 32768 .* 16 bits"),
    "offset low": (lambda: asm.stxw(R2 - 32769, R1), "memory: offset -32769 .* 16 bits"),
    "dst is no register": (lambda: asm.mov(1, R1), "dst must be a register .*not int 1"),  # type: ignore[arg-type]
    "src is no register": (lambda: asm.stxw(R1, 5), "src must be a register .*not int 5"),  # type: ignore[arg-type]
    "memory is none": (lambda: asm.ldxw(R1, 8), "memory must be memory, such as R10 - 8"),  # type: ignore[arg-type]
    "mov to R10": (lambda: asm.mov(R10, 1), "dst must not be R10: .*read-only"),
    "ldx to R10": (lambda: asm.ldxdw(R10, R1), "dst must not be R10"),
    "lddw to R10": (lambda: asm.lddw(R10, 1), "dst must not be R10"),
    "map to R10": (lambda: asm.ld_map_fd(R10, "m"), "dst must not be R10"),
    "neg of R10": (lambda: asm.neg(R10), "dst must not be R10"),
    "swap of R10": (lambda: asm.be16(R10), "dst must not be R10"),
    "movsx to R10": (lambda: asm.movsx864(R10, R1), "dst must not be R10"),
    "fetch to R10": (lambda: asm.atomic_add(R1, R10, fetch=True), "src must not be R10"),
    "xchg to R10": (lambda: asm.xchg(R1, R10), "src must not be R10"),
    "div 0": (lambda: asm.div(R1, 0), "src must not be 0: division"),
    "mod32 0": (lambda: asm.mod32(R1, 0), "src must not be 0"),
    "sdiv 0": (lambda: asm.sdiv(R1, 0), "src must not be 0"),
    "lsh 64": (lambda: asm.lsh(R1, 64), r"src must be in 0\.\.63, not 64"),
    "arsh32 32": (lambda: asm.arsh32(R1, 32), r"src must be in 0\.\.31, not 32"),
    "rsh -1": (lambda: asm.rsh(R1, -1), r"src must be in 0\.\.63, not -1"),
    "relative jump": (lambda: asm.ja(5), "not the relative offset 5: put a Label"),  # type: ignore[arg-type]
    "relative branch": (lambda: asm.jeq(R1, 0, -2), "not the relative offset -2"),  # type: ignore[arg-type]
    "empty target": (lambda: asm.ja(""), "target must not be empty"),
    "empty map": (lambda: asm.ld_map_fd(R1, ""), "map must not be empty"),
    "helper 0": (lambda: asm.call(0), r"helper must be in 1\.\."),
    "unknown helper": (
        lambda: asm.call("map_lokup_elem"),
        "unknown helper 'map_lokup_elem'; did you mean 'map_lookup_elem'",
    ),
    "helper in capitals": (lambda: asm.call("TRACE_PRINTK"), "did you mean 'trace_printk'"),
    "nothing like a helper": (lambda: asm.call("qqqqqqqq"), "Helper lists all"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason(case: str) -> None:
    """The mistake would reach the verifier, or be encoded as something else."""
    make, message = REFUSED[case]
    with pytest.raises(AsmError, match=message):
        make()


NUMBERS: dict[str, Callable[[Any], Instruction]] = {
    "src": lambda value: asm.mov(R1, value),
    "src (shift)": lambda value: asm.lsh(R1, value),
    "src (jump)": lambda value: asm.jeq32(R1, value, "x"),
    "imm": lambda value: asm.lddw(R1, value),
    "imm (store)": lambda value: asm.stb(R1, value),
    "imm (store 64)": lambda value: asm.stdw(R1, value),
    "offset": lambda value: asm.ld_map_value(R1, "m", value),
    "offset (packet)": lambda value: asm.ldabsb(value),
}


@pytest.mark.parametrize("value", [True, 1.0, None, "1", b"1"])
@pytest.mark.parametrize("place", NUMBERS)
def test_numbers_are_integers(place: str, value: Any) -> None:
    """True, 1.0 or None would be taken for a number, or fail far from the mistake."""
    with pytest.raises(TypeError, match=f"^{place.split()[0]} must be"):
        NUMBERS[place](value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: asm.mov(R2, R10 - 8), r"not memory \(R10 - 8\): to compute an address use mov"),  # type: ignore[arg-type]
        (lambda: asm.ja(None), "target must be the name of a label, not NoneType"),  # type: ignore[arg-type]
        (lambda: asm.ja(True), "target must be the name of a label, not bool"),  # type: ignore[arg-type]
        (lambda: asm.call(True), "helper must be a name, a Helper or a number, not bool"),
        (lambda: asm.call(1.0), "helper must be .* not float"),  # type: ignore[arg-type]
        (lambda: asm.ld_map_fd(R1, 5), r"map must be the name of a map or have fileno\(\)"),  # type: ignore[arg-type]
        (lambda: asm.atomic_add(R1, R2, fetch=1), "fetch must be True or False"),  # type: ignore[arg-type]
    ],
)
def test_wrong_types_name_the_argument(make: Any, message: str) -> None:
    """The error would not say which argument is wrong."""
    with pytest.raises(TypeError, match=message):
        make()


class Verdict(enum.IntEnum):
    PASS = 2


class Index:
    def __index__(self) -> int:
        return 7


def test_integers_of_other_types_are_fine() -> None:
    """Constants from an IntEnum, or numpy's integers, would need a conversion."""
    assert asm.mov(R0, Verdict.PASS) == asm.mov(R0, 2)
    assert type(asm.mov(R0, Verdict.PASS).imm) is int
    assert asm.mov(R0, Index()).imm == 7
    assert asm.stb(R1, Index()).imm == 7


@pytest.mark.parametrize(
    ("unsigned", "signed"),
    [
        (asm.mov32(R1, 2**32 - 1), asm.mov32(R1, -1)),
        (asm.jgt32(R1, 2**31, "x"), asm.jgt32(R1, -(2**31), "x")),
        (asm.lddw(R1, 2**64 - 1), asm.lddw(R1, -1)),
        (asm.stb(R1, 255), asm.stb(R1, -1)),
        (asm.sth(R1, 0x8000), asm.sth(R1, -0x8000)),
        (asm.stw(R1, 2**32 - 1), asm.stw(R1, -1)),
    ],
)
def test_two_spellings_of_the_same_bits_are_equal(
    unsigned: Instruction, signed: Instruction
) -> None:
    """0xffffffff would be refused, or differ from -1, where only the bits matter."""
    assert unsigned == signed


@pytest.mark.parametrize("imm", [-(2**31), 2**31 - 1])
def test_limits_of_a_64_bit_operation_are_inclusive(imm: int) -> None:
    """The smallest or greatest constant would be refused or cut."""
    assert asm.mov(R1, imm).imm == imm
    assert asm.stdw(R1, imm).imm == imm
    assert asm.jeq(R1, imm, "x").imm == imm


def test_shifts_and_registers_at_their_limits() -> None:
    """A legal shift or offset, or R10 where it is only read, would be refused."""
    assert asm.lsh(R1, 63).imm == 63
    assert asm.lsh32(R1, 31).imm == 31
    assert asm.ldxw(R1, R10 - 32768).offset == -32768
    assert asm.stxw(R2 + 32767, R10).offset == 32767
    assert asm.jeq(R10, R1, "x").dst == 10
    assert asm.atomic_add(R10 - 8, R10).src == 10


def test_refused_at_the_line_of_the_mistake() -> None:
    """The traceback would not show the user's line that has the mistake."""
    with pytest.raises(AsmError) as caught:
        asm.add(R1, 2**40)
    assert str(caught.traceback[0].path) == __file__
    assert "asm.add(R1, 2**40)" in str(caught.traceback[0].statement)
