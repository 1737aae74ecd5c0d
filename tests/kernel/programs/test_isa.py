"""Every instruction in the kernel, with values that the verifier does not know, against a model.

The public conformance suite, whose cases CI cannot fetch, is run by isa_suite.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ebpf import ArrayMap, NotSupportedError, Program, ProgramType, asm
from ebpf.asm import R0, R1, R2, R3, R6, R9, R10, Label
from tests.kernel import environment

Values = tuple[int, int]
Model = Callable[[int, int], int]

MASK = 2**64 - 1
NUMBERS = [
    0, 1, 2, 3, 31, 63, 0x7F, 0x80, 0x7FFF, 0x8000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF,
    0x1_0000_0000, 0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_3210, 2**63 - 1, 2**63, MASK - 1, MASK,
]  # fmt: skip
IMMEDIATES = [0, 1, 7, 31, 0x7FFF_FFFF, -1, -9, -(2**31)]


def signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def quotient(a: int, b: int) -> int:
    """Towards zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def arithmetic(name: str, a: int, b: int, bits: int) -> int:
    """What an operation on `bits` bits leaves, as RFC 9669 says."""
    mask = (1 << bits) - 1
    a, b = a & mask, b & mask
    left, right = signed(a, bits), signed(b, bits)
    results: dict[str, Callable[[], int]] = {
        "mov": lambda: b, "add": lambda: a + b, "sub": lambda: a - b, "mul": lambda: a * b,
        "or_": lambda: a | b, "and_": lambda: a & b, "xor": lambda: a ^ b,
        "div": lambda: a // b if b else 0, "mod": lambda: a % b if b else a,
        "sdiv": lambda: quotient(left, right) if b else 0,
        "smod": lambda: left - right * quotient(left, right) if b else a,
        "lsh": lambda: a << (b & bits - 1), "rsh": lambda: a >> (b & bits - 1),
        "arsh": lambda: left >> (b & bits - 1), "neg": lambda: -a,
    }  # fmt: skip
    return results[name]() & mask


SINCE = {"sdiv": (6, 6), "smod": (6, 6), "movsx": (6, 6), "bswap": (6, 6), "ldxs": (6, 6)}
ALU = ["mov", "add", "sub", "mul", "or_", "and_", "xor", "div", "mod", "sdiv", "smod",
       "lsh", "rsh", "arsh"]  # fmt: skip
SHIFTS = {"lsh", "rsh", "arsh"}
DIVISIONS = {"div", "mod", "sdiv", "smod"}


@pytest.fixture(scope="module")
def values() -> Iterator[Any]:
    """Two operands and a result, whose address R9 has."""
    with ArrayMap.create(value="QQQ", max_entries=1) as created:
        yield created


def checked(values: Any, code: list[Any], model: Model, pairs: list[Values]) -> None:
    """Run `code`, with the operands in R1 and R2 and its result in R0, for each pair."""
    program = [
        asm.ld_map_value(R9, values), asm.ldxdw(R1, R9), asm.ldxdw(R2, R9 + 8), asm.mov(R0, 0),
        code,
        asm.stxdw(R9 + 16, R0), asm.mov(R0, 0), asm.exit_(),
    ]  # fmt: skip
    with Program.load(ProgramType.SCHED_CLS, program, license="GPL") as loaded:
        for a, b in pairs:
            values[0] = (a, b, 0xDEAD)
            loaded.test_run(data=bytes(14))
            assert values[0][2] == model(a, b) & MASK, (str(code), hex(a), hex(b))


def needs(name: str) -> None:
    since = next((found for start, found in SINCE.items() if name.startswith(start)), (4, 9))
    if environment.kernel_version() < since:
        raise NotSupportedError(f"the instruction {name}", since)


def pairs_for(name: str, bits: int) -> list[Values]:
    # The kernel gave x86's error for these until 6.12.
    overflows = {(1 << bits - 1, (1 << bits) - 1)} if name in ("sdiv", "smod") else set()
    mask = (1 << bits) - 1
    return [(a, b) for a in NUMBERS for b in NUMBERS if (a & mask, b & mask) not in overflows]


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("name", ALU)
def test_arithmetic_with_a_register(values: Any, name: str, bits: int) -> None:
    """An operation would compute something else in the kernel than its name says."""
    needs(name)
    operation = getattr(asm, name if bits == 64 else f"{name.rstrip('_')}32")
    checked(
        values,
        [operation(R1, R2), asm.mov(R0, R1)],
        lambda a, b: arithmetic(name, a, b, bits),
        pairs_for(name, bits),
    )


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("name", ALU)
def test_arithmetic_with_an_immediate(values: Any, name: str, bits: int) -> None:
    """An immediate would be extended the wrong way, or be another one."""
    needs(name)
    operation = getattr(asm, name if bits == 64 else f"{name.rstrip('_')}32")
    for imm in IMMEDIATES:
        if (name in DIVISIONS and imm in (0, -1)) or (name in SHIFTS and not 0 <= imm < bits):
            continue
        checked(
            values,
            [operation(R1, imm), asm.mov(R0, R1)],
            lambda a, _, imm=imm: arithmetic(name, a, imm, bits),  # type: ignore[misc]
            [(a, 0) for a in NUMBERS],
        )


def swapped(value: int, bits: int, order: str) -> int:
    data = (value & (1 << bits) - 1).to_bytes(bits // 8, sys.byteorder)
    return int.from_bytes(data, "big" if order == "big" else "little")


def reversed_bytes(value: int, bits: int) -> int:
    return int.from_bytes((value & (1 << bits) - 1).to_bytes(bits // 8, "little"), "big")


UNARY: dict[str, tuple[Any, Model]] = {
    "neg": (asm.neg(R1), lambda a, _: -a),
    "neg32": (asm.neg32(R1), lambda a, _: -a & 2**32 - 1),
    **{
        f"movsx{bits}64": (
            getattr(asm, f"movsx{bits}64")(R1, R1),
            lambda a, _, bits=bits: signed(a, bits),  # type: ignore[misc]
        )
        for bits in (8, 16, 32)
    },
    **{
        f"movsx{bits}32": (
            getattr(asm, f"movsx{bits}32")(R1, R1),
            lambda a, _, bits=bits: signed(a, bits) & 2**32 - 1,  # type: ignore[misc]
        )
        for bits in (8, 16)
    },
    **{
        f"{name}{bits}": (
            getattr(asm, f"{name}{bits}")(R1),
            lambda a, _, bits=bits, order=order: (  # type: ignore[misc]
                reversed_bytes(a, bits) if order is None else swapped(a, bits, order)
            ),
        )
        for name, order in (("le", "little"), ("be", "big"), ("bswap", None))
        for bits in (16, 32, 64)
    },
}


@pytest.mark.parametrize("name", UNARY)
def test_one_operand(values: Any, name: str) -> None:
    """Bytes would be swapped, or a sign extended, in another way than the name says."""
    needs(name)
    instruction, model = UNARY[name]
    pairs = [(a, 0) for a in NUMBERS]
    checked(values, [instruction, asm.mov(R0, R1)], model, pairs)


COMPARISONS: dict[str, Callable[[int, int, int], bool]] = {
    "jeq": lambda a, b, _: a == b, "jne": lambda a, b, _: a != b, "jgt": lambda a, b, _: a > b,
    "jge": lambda a, b, _: a >= b, "jlt": lambda a, b, _: a < b, "jle": lambda a, b, _: a <= b,
    "jset": lambda a, b, _: a & b != 0,
    "jsgt": lambda a, b, n: signed(a, n) > signed(b, n),
    "jsge": lambda a, b, n: signed(a, n) >= signed(b, n),
    "jslt": lambda a, b, n: signed(a, n) < signed(b, n),
    "jsle": lambda a, b, n: signed(a, n) <= signed(b, n),
}  # fmt: skip


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons(values: Any, name: str, bits: int) -> None:
    """A jump would be taken where it should not be."""
    jump = getattr(asm, name if bits == 64 else f"{name}32")
    mask = (1 << bits) - 1
    after = [asm.mov(R0, 5), asm.ja("end"), Label("taken"), asm.mov(R0, 9), Label("end")]

    def model(a: int, b: int) -> int:
        return 9 if COMPARISONS[name](a & mask, b & mask, bits) else 5

    every = [(a, b) for a in NUMBERS for b in NUMBERS]
    checked(values, [jump(R1, R2, "taken"), after], model, every)
    for imm in IMMEDIATES:
        code = [jump(R1, imm, "taken"), after]
        checked(values, code, lambda a, _, imm=imm: model(a, imm), every[:: len(NUMBERS)])  # type: ignore[misc]


@pytest.mark.parametrize("name", ["ldxb", "ldxh", "ldxw", "ldxdw", "ldxsb", "ldxsh", "ldxsw"])
def test_loads(values: Any, name: str) -> None:
    """A load would read another number of bytes, or extend them the wrong way."""
    needs(name)
    bits = {"b": 8, "h": 16, "w": 32, "dw": 64}[name[3:].lstrip("s") or "b"]
    extends = name.startswith("ldxs")

    def model(a: int, _: int) -> int:
        read = int.from_bytes(a.to_bytes(8, sys.byteorder)[: bits // 8], sys.byteorder)
        return signed(read, bits) if extends else read

    load = getattr(asm, name)(R0, R9)
    checked(values, [load], model, [(a, 0) for a in NUMBERS])


@pytest.mark.parametrize(("name", "bits"), [("b", 8), ("h", 16), ("w", 32), ("dw", 64)])
def test_stores(values: Any, name: str, bits: int) -> None:
    """A store would write another number of bytes, or other ones."""

    def stored(memory: int, value: int) -> int:
        written = (value & (1 << bits) - 1).to_bytes(bits // 8, sys.byteorder)
        rest = memory.to_bytes(8, sys.byteorder)[bits // 8 :]
        return int.from_bytes(written + rest, sys.byteorder)

    place = R10 - 8
    around = [asm.stxdw(place, R1)], [asm.ldxdw(R0, place)]
    pairs = [(a, b) for a in NUMBERS for b in NUMBERS[::3]]
    store = getattr(asm, f"stx{name}")(place, R2)
    checked(values, [around[0], store, around[1]], stored, pairs)
    for imm in (0, 0x7F, -1):
        store = getattr(asm, f"st{name}")(place, imm)
        checked(
            values, [around[0], store, around[1]],
            lambda a, _, imm=imm: stored(a, imm), pairs[::5],  # type: ignore[misc]
        )  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS)
def test_constants_of_64_bits(values: Any, number: int) -> None:
    """Half of a constant would be lost."""
    checked(values, [asm.lddw(R0, number)], lambda a, b: number, [(0, 0)])


ATOMICS: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b, "or": lambda a, b: a | b, "and": lambda a, b: a & b,
    "xor": lambda a, b: a ^ b,
}  # fmt: skip


@pytest.mark.parametrize("fetch", [False, True])
@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("name", ATOMICS)
def test_atomic_arithmetic(values: Any, name: str, bits: int, fetch: bool) -> None:
    """Memory would be changed in another way, or what was there before be lost."""
    if (name != "add" or fetch) and environment.kernel_version() < (5, 12):
        raise NotSupportedError("atomic instructions that fetch", (5, 12))
    mask = (1 << bits) - 1
    operation = getattr(asm, f"atomic_{name}{'' if bits == 64 else '32'}")
    # Both what is left in memory and what the register has then.
    code = [
        asm.mov(R6, R1), asm.stxdw(R9 + 16, R6), operation(R9 + 16, R2, fetch=fetch),
        asm.ldxdw(R0, R9 + 16), asm.mul(R0, 3), asm.add(R0, R2),
    ]  # fmt: skip

    def model(a: int, b: int) -> int:
        changed = ATOMICS[name](a & mask, b & mask) & mask
        # Of the 8 bytes the first ones: the lower half here.
        memory = changed if bits == 64 else a & ~mask | changed
        return memory * 3 + (a & mask if fetch else b)

    checked(values, code, model, [(a, b) for a in NUMBERS for b in NUMBERS[::3]])


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("name", ["xchg", "cmpxchg"])
def test_exchanges(values: Any, name: str, bits: int) -> None:
    """Memory would get the wrong value, or the register not what was there."""
    if environment.kernel_version() < (5, 12):
        raise NotSupportedError(name, (5, 12))
    mask = (1 << bits) - 1
    operation = getattr(asm, name if bits == 64 else f"{name}32")
    # R0 is what cmpxchg compares with; R3 keeps what the instruction returns.
    result = R2 if name == "xchg" else R0
    code = [
        asm.stxdw(R10 - 8, R1), asm.mov(R0, 7), operation(R10 - 8, R2), asm.mov(R3, result),
        asm.ldxdw(R0, R10 - 8), asm.mul(R0, 3), asm.add(R0, R3),
    ]  # fmt: skip

    def model(a: int, b: int) -> int:
        exchanged = name == "xchg" or a & mask == 7
        memory = (a & ~mask | b & mask) if exchanged else a
        return memory * 3 + (a & mask)

    pairs = [(a, b) for a in [*NUMBERS, 7, 7 | 1 << 40] for b in NUMBERS[::3]]
    checked(values, code, model, pairs)


@pytest.mark.parametrize(("name", "bits"), [("b", 8), ("h", 16), ("w", 32), ("dw", 64)])
def test_ordered_loads_and_stores(values: Any, name: str, bits: int) -> None:
    """An ordered access would have another size than its name says."""
    if environment.kernel_version() < (6, 15):
        raise NotSupportedError("load_acquire", (6, 15))
    store = getattr(asm, f"store_release{name}")(R10 - 8, R1)
    load = getattr(asm, f"load_acquire{name}")(R0, R10 - 8)
    code = [asm.stdw(R10 - 8, 0), store, load]
    checked(values, code, lambda a, b: a & (1 << bits) - 1, [(a, 0) for a in NUMBERS])


def test_a_function_keeps_its_callers_registers(values: Any) -> None:
    """A call would not return, or R6 to R9 be another function's."""
    program = [
        asm.ld_map_value(R9, values), asm.ldxdw(R6, R9), asm.mov(R1, R6), asm.call_local("twice"),
        asm.add(R0, R6), asm.stxdw(R9 + 16, R0), asm.mov(R0, 0), asm.exit_(),
        Label("twice"), asm.mov(R6, R1), asm.add(R6, R1), asm.mov(R9, 0), asm.mov(R0, R6),
        asm.exit_(),
    ]  # fmt: skip
    values[0] = (14, 0, 0)
    with Program.load(ProgramType.SCHED_CLS, program, license="GPL") as loaded:
        loaded.test_run(data=bytes(14))
    assert values[0][2] == 42


def test_a_jump_of_any_distance(values: Any) -> None:
    """A long jump's distance would be where a short one has it."""
    needs_since = (6, 6)
    if environment.kernel_version() < needs_since:
        raise NotSupportedError("gotol", needs_since)
    code = [
        asm.ja32("over"), Label("back"), asm.mov(R0, 3), asm.ja("end"),
        Label("over"), asm.ja32("back"), Label("end"),
    ]  # fmt: skip
    checked(values, code, lambda a, b: 3, [(0, 0)])


def test_packet_loads(values: Any) -> None:
    """The legacy loads would read other bytes, or leave them in the order of the network."""
    packet = bytes(range(1, 65))
    for name, size in (("b", 1), ("h", 2), ("w", 4)):
        for load in (
            getattr(asm, f"ldabs{name}")(20),
            [asm.mov(R3, 15), getattr(asm, f"ldind{name}")(R3, 5)],
        ):
            program = [asm.mov(R6, R1), load, asm.exit_()]
            with Program.load(ProgramType.SCHED_CLS, program, license="GPL") as loaded:
                got = loaded.test_run(data=packet).return_value
            assert got == int.from_bytes(packet[20 : 20 + size], "big")
