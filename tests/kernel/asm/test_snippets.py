"""Snippets, by what they leave in maps and rings."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from ebpf import (
    ArrayMap,
    AsmError,
    HashMap,
    Map,
    MapType,
    Program,
    ProgramType,
    RingBuffer,
    UpdateFlags,
    asm,
)
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R8,
    R9,
    R10,
    Label,
    add,
    call,
    exit_,
    jne,
    ldxdw,
    ldxw,
    mov,
    snippets,
    stdw,
    stw,
    stxdw,
)
from ebpf.kernel_btf import kernel_btf

KEY, BUFFER = R10 - 8, R10 - 32
ALWAYS = [Label("end"), mov(R0, 0)]


def raw(code: object) -> Program:
    """A program that is run by hand, with numbers of 64 bits in its context."""
    return Program.load(ProgramType.RAW_TRACEPOINT, [code, exit_()], license="GPL")


def run(program: Program, *values: int) -> int:
    return program.test_run(ctx=struct.pack(f"={len(values)}Q", *values)).return_value


@pytest.fixture
def counts() -> Iterator[HashMap[int, int]]:
    with HashMap.create(key="Q", value="Q", max_entries=3) as made:
        yield made


def test_lookup_update_delete(counts: HashMap[int, int]) -> None:
    """A key would be another one, or an absent one be found."""
    code = [
        ldxdw(R6, R1 + 0),
        stxdw(KEY, R6),
        snippets.lookup(counts, KEY, "absent"),
        ldxdw(R7, R0 + 0),
        snippets.delete(counts, KEY),
        mov(R0, R7),
        exit_(),
        Label("absent"),
        stdw(BUFFER, 77),
        # Both in registers, of which one call needs the other.
        mov(R2, R10),
        add(R2, BUFFER.offset),
        mov(R6, R10),
        add(R6, KEY.offset),
        snippets.update(counts, R6, R2, UpdateFlags.NOEXIST),
    ]
    with raw(code) as program:
        assert run(program, 5) == 0
        assert counts.to_dict() == {5: 77}
        assert run(program, 5) == 77
        assert counts.to_dict() == {}
    with pytest.raises(AsmError, match="each other"):
        snippets.update(counts, R3, R2)


def test_count(counts: HashMap[int, int]) -> None:
    """A first event would be lost or counted twice, or a full map end the program."""
    code = [ldxdw(R6, R1 + 0), ldxdw(R7, R1 + 8), stxdw(KEY, R6)]
    code += [snippets.count(counts, KEY, by=R7, buffer=BUFFER), *ALWAYS]  # type: ignore[list-item]
    with raw(code) as program:
        for key, by in ((1, 10), (1, 5), (2, 1), (3, 1), (4, 1), (1, 1)):
            assert run(program, key, by) == 0
    assert counts.to_dict() == {1: 16, 2: 1, 3: 1}
    with pytest.raises(AsmError, match="R6 to R9"):
        snippets.count(counts, KEY, by=R2, buffer=BUFFER)


def test_add_to() -> None:
    """The neighbour would be counted."""
    with ArrayMap.create(MapType.ARRAY, value="QQQ", max_entries=1) as totals:
        code = [mov(R6, 40), snippets.add_to(totals, 8, R6), snippets.add_to(totals, 8, 2)]
        with raw([code, snippets.add_to(totals, 16), ALWAYS]) as program:
            run(program, 0)
            run(program, 0)
        assert totals[0] == (0, 84, 2)
    with pytest.raises(AsmError, match="by must not be R1"):
        # An address of the kernel would be counted.
        snippets.add_to("totals", by=R1)


@pytest.mark.parametrize("signed", [False, True])
def test_histogram(signed: bool) -> None:
    """A value would be counted with others than those of its power of two."""
    slots = snippets.HISTOGRAM_SLOTS
    edges = {0, 1, *(2**n + off for n in range(1, 64) for off in (-1, 0, 1)), 2**64 - 1}
    with ArrayMap.create(MapType.ARRAY, value="Q", max_entries=slots) as counts:
        take = snippets.histogram(counts, R6, buffer=KEY, signed=signed)
        with raw([ldxdw(R6, R1 + 0), take, ALWAYS]) as program:
            for value in edges:
                run(program, value)
        found = list(counts)
    for slot in range(slots):
        limits = snippets.histogram_range(slot)
        if limits is None:
            expected = [value for value in edges if signed and value >= 2**63]
        else:
            expected = [v for v in edges if limits[0] <= v <= limits[1]]
            expected = [v for v in expected if not (signed and v >= 2**63)]
        assert found[slot] == len(expected), slot


def test_log2_of_a_register() -> None:
    """R0 is not always free for it."""
    code = [ldxdw(R6, R1 + 0), asm.snippets.log2(R7, R6, R8), mov(R0, R7)]
    with raw(code) as program:
        assert [run(program, value) for value in (0, 1, 2, 3, 4, 2**63)] == [0, 0, 1, 1, 2, 63]
    with pytest.raises(AsmError, match="different"):
        snippets.log2(R7, R7)


@pytest.fixture
def ring() -> Iterator[Map[Any, Any]]:
    with Map.create(MapType.RINGBUF, max_entries=4096) as made:
        yield made


def test_ring_output(ring: Map[Any, Any]) -> None:
    """A record would have other bytes, or another length."""
    code = [
        ldxdw(R6, R1 + 0),
        stxdw(R10 - 8, R6),
        snippets.ring_output(ring, R10 - 8, 8),
        jne(R0, 0, "full"),
        mov(R7, 3),
        snippets.ring_output(ring, R10 - 8, R7),
        Label("full"),
    ]
    value = int.from_bytes(b"abcdefgh", "little")
    with raw(code) as program, RingBuffer(ring) as reader:
        assert run(program, value) == 0
        first, second = reader.read_batch(10)
        whole = struct.pack("=Q", value)
        assert (bytes(first), bytes(second)) == (whole, whole[:3])
        while run(program, value) == 0:
            pass
        assert len(reader.read_batch(10_000)) > 100


def test_ring_reserve(ring: Map[Any, Any]) -> None:
    """A record that is given back would be read, or one that is handed over not."""
    code = [
        ldxdw(R6, R1 + 0),
        snippets.ring_reserve(ring, 16, "full"),
        mov(R7, R0),
        stdw(R7 + 0, 1),
        stxdw(R7 + 8, R6),
        jne(R6, 0, "keep"),
        snippets.ring_discard(R7),
        mov(R0, 1),
        exit_(),
        Label("keep"),
        snippets.ring_submit(R7),
        mov(R0, 2),
        exit_(),
        Label("full"),
        mov(R0, 3),
    ]
    with raw(code) as program, RingBuffer(ring) as reader:
        assert [run(program, value) for value in (7, 0, 8)] == [2, 1, 2]
        records = [struct.unpack("=QQ", record) for record in reader.read_batch(10)]
        assert records == [(1, 7), (1, 8)]
        while run(program, 9) == 2:
            pass
        assert run(program, 9) == 3
        reader.read_batch(10_000)


@pytest.mark.parametrize("size", [16, 5])
def test_read_str_of_the_kernel(size: int) -> None:
    """A name would be cut off too early, or run over its buffer."""
    with ArrayMap.create(MapType.ARRAY, value=16, max_entries=1) as found:
        code = [
            call("get_current_task"),
            mov(R6, R0),
            stw(KEY, 0),
            snippets.lookup(found, KEY, "end"),
            mov(R8, R0),
            asm.Struct("task_struct", kernel_btf).address(R7, R6, "comm"),
            snippets.read_str(R8, size, R7, "end"),
            exit_(),
            ALWAYS,
        ]
        with raw(code) as program:
            length = run(program, 0, 0)
        with open("/proc/self/comm", "rb") as file:
            name = file.read().strip()[: size - 1]
        assert length == len(name) + 1
        assert bytes(found[0]).rstrip(b"\0") == name


def test_read_str_of_the_process() -> None:
    """A string of the kernel at that address would be read, or a failure pass for a string."""
    text = ctypes.create_string_buffer(b"seventeen letters")
    code = [
        ldxdw(R6, R1 + 0),
        snippets.read_str(R10 - 32, 32, R6, "failed", user=True),
        mov(R9, R0),
        ldxw(R0, R10 - 32),
        exit_(),
        Label("failed"),
        mov(R0, 1),
    ]
    with raw(code) as program:
        assert run(program, ctypes.addressof(text)) == struct.unpack("=I", b"seve")[0]
        assert run(program, 0) == 1


def test_rate_limit() -> None:
    """More events would pass than are allowed, one key take another's, or none pass ever again."""
    minute, hour = 60 * 10**9, 2**31 - 1
    for nanoseconds, passing in ((hour, 3), (1, 10)):
        with HashMap.create(key="Q", value="QQ", max_entries=2) as windows:
            code = [
                ldxdw(R6, R1 + 0),
                stxdw(KEY, R6),
                snippets.rate_limit(
                    windows, KEY, events=3, nanoseconds=nanoseconds, over="over", buffer=BUFFER
                ),
                mov(R0, 1),
                exit_(),
                Label("over"),
                mov(R0, 0),
            ]
            with raw(code) as program:
                assert sum(run(program, 1) for _ in range(10)) == passing
                assert sum(run(program, 2) for _ in range(10)) == passing
                # No room for a third.
                assert run(program, 3) == 0
                # The window of the first ended long ago.
                start, events = windows[1]
                windows[1] = (start - minute, 3)
                assert run(program, 1) == 1
                assert windows[1][1] == 1
                assert windows[1][0] > start - minute
                assert 1 <= events <= 3
                # Begun by another CPU, after this one has looked at the clock.
                windows[1] = (start + minute, 3)
                assert run(program, 1) == 0
