"""Damaged objects: only FormatError may come out, whatever was changed."""

from __future__ import annotations

import struct
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpf.errors import FormatError
from ebpf.spec import CollectionSpec

from .conftest import OBJECTS, TARGETS, Compile

NUMBERS = [0, 1, 2, 4, 7, 8, 16, 24, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
NUMBERS += [(1 << 63), (1 << 64) - 1]


@pytest.fixture(scope="session")
def objects(compile_bpf: Compile) -> list[bytes]:
    """Every source, in both byte orders."""
    names = [name for name in OBJECTS if name != "arena.bpf.c"]
    return [compile_bpf(name, target).read_bytes() for name in names for target in TARGETS]


@cache
def places(data: bytes) -> list[tuple[int, int]]:
    """(offset, size) of what is worth damaging: the section headers and what is parsed."""
    order = "<" if data[5] == 1 else ">"
    (start,) = struct.unpack_from(order + "Q", data, 40)
    (count,) = struct.unpack_from(order + "H", data, 60)
    found = [(0, 64), (start, 64 * count)]
    for number in range(count):
        kind, _, _, offset, size = struct.unpack_from(
            order + "IQQQQ", data, start + 64 * number + 4
        )
        if kind in (1, 2, 3, 9) and size:
            found.append((offset, size))
    return found


@st.composite
def damage(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with a few numbers changed, sometimes cut."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        offset, size = draw(st.sampled_from(places(data)))
        width = draw(st.sampled_from([1, 2, 4, 8]))
        at = offset + draw(st.integers(0, max(size - width, 0))) // width * width
        number = draw(st.one_of(st.sampled_from(NUMBERS), st.integers(0, len(data))))
        raw = (number & (1 << 8 * width) - 1).to_bytes(width, "little" if data[5] == 1 else "big")
        changed[at : at + width] = raw
    if draw(st.integers(0, 9)) == 0:
        del changed[draw(st.integers(0, len(changed))) :]
    return bytes(changed)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damaged_objects(objects: list[bytes], data: st.DataObject) -> None:
    """Any other exception is a crash of whoever opens a file from somewhere else."""
    damaged = data.draw(damage(data.draw(st.sampled_from(objects))))
    try:
        spec = CollectionSpec.from_bytes(damaged)
    except FormatError:
        return
    repr(spec.copy())
    for variable in spec.variables.values():
        try:
            variable.value = variable.value
        except FormatError:
            continue
    for function in spec.functions.values():
        function.line_info()
    if spec.btf is not None:
        try:
            spec.btf_fixups.apply(spec.btf)
        except FormatError:
            return


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_truncated_objects(objects: list[bytes], data: st.DataObject) -> None:
    """The section headers come last, so a part of a file is no file."""
    whole = data.draw(st.sampled_from(objects))
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(FormatError):
        CollectionSpec.from_bytes(part)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_anything_else(data: bytes) -> None:
    """Neither random bytes nor random bytes behind a header may crash."""
    for start in (b"", b"\x7fELF\x02\x01\x01" + bytes(9), b"\x7fELF\x02\x02\x01" + bytes(9)):
        with pytest.raises(FormatError):
            CollectionSpec.from_bytes(start + data)
