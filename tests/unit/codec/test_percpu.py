"""Values of per-CPU maps: one per possible CPU, each in a slot of a multiple of 8 bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import pytest

from ebpf.codec import Codec, PerCpu, codec, u32
from ebpf.errors import CodecError


@dataclass
class Counter:
    packets: u32
    drops: u32
    errors: u32


@pytest.mark.parametrize(("size", "stride"), [(1, 8), (4, 8), (8, 8), (9, 16), (12, 16), (64, 64)])
def test_stride_is_rounded_up_to_8(size: int, stride: int) -> None:
    """Wrong: the buffer is smaller than what the kernel writes, which then overruns it."""
    made = PerCpu(codec(size), 3)
    assert (made.stride, made.size) == (stride, 3 * stride)
    values = [bytes([cpu + 1]) * size for cpu in range(3)]
    packed = made.pack(values)
    assert packed == b"".join(value.ljust(stride, b"\0") for value in values)
    assert made.unpack(packed) == values


def test_plain_formats() -> None:
    """Wrong: values land between the slots, or what stands in the gaps is read."""
    made = PerCpu(codec("I"), 4)
    assert made.pack((1, 2, 3, 4)) == struct.pack("=I4xI4xI4xI4x", 1, 2, 3, 4)
    dirty = struct.pack("=IIIIIIII", 1, 99, 2, 99, 3, 99, 4, 99)
    assert made.unpack(bytearray(dirty)) == [1, 2, 3, 4]
    assert PerCpu(codec("q"), 2).unpack(struct.pack("=qq", -1, 5)) == [-1, 5]
    assert PerCpu(codec("III"), 2).unpack(bytes(32)) == [(0, 0, 0), (0, 0, 0)]


def test_dataclasses_and_runs_of_several_keys() -> None:
    """Wrong: a batch of per-CPU values comes back shifted or as anything but lists."""
    made = PerCpu(codec(Counter), 2)
    first = [Counter(1, 2, 3), Counter(4, 5, 6)]
    second = [Counter(7, 8, 9), Counter(0, 0, 0)]
    assert made.size == 32
    assert list(made.iter_unpack(made.pack(first) + made.pack(second))) == [first, second]


def test_counts_and_sizes_are_checked() -> None:
    """Wrong: a list too short leaves CPUs with stale values; the message says neither count."""
    made = PerCpu(codec("I"), 4)
    with pytest.raises(CodecError, match=r"^got 3 values, but there are 4 possible CPUs$"):
        made.pack([1, 2, 3])
    with pytest.raises(CodecError, match=r"^7 is not a list: .* 4 values, one per possible CPU$"):
        made.pack(7)  # type: ignore[arg-type]
    with pytest.raises(CodecError, match=r"^CPU 2: -1 does not fit u32 \(0\.\.4294967295\)$"):
        made.pack([1, 2, -1, 4])
    with pytest.raises(CodecError, match=r"^got 16 bytes, but PerCpu.* takes 32 bytes$"):
        made.unpack(bytes(16))
    with pytest.raises(CodecError, match=r"^got 40 bytes, no whole number of records"):
        made.iter_unpack(bytes(40))


@pytest.mark.parametrize(("ncpus", "error"), [(0, CodecError), (-1, CodecError), (True, TypeError)])
def test_number_of_cpus(ncpus: int, error: type[Exception]) -> None:
    """Wrong: a codec for no CPU, whose buffer the kernel would overrun."""
    with pytest.raises(error, match=r"^ncpus: "):
        PerCpu(codec("I"), ncpus)


def test_inner_must_be_a_codec() -> None:
    """Wrong: a format in place of a codec fails only at the first value."""
    with pytest.raises(TypeError, match=r"^inner: 'I' is not a codec; make one with codec"):
        PerCpu("I", 4)  # type: ignore[arg-type]


def test_sums_of_numpys_numbers() -> None:
    """Wrong: numpy's integers are no numbers, their sum wraps around, or is of other fields."""
    numpy = pytest.importorskip("numpy")

    def total(dtype: Any, *values: Any) -> Any:
        made = PerCpu(codec(numpy.dtype(dtype)), len(values))
        return made.unpack(made.pack(values)).sum()

    for dtype in ("u1", "i2", "u4", "i8", "u8", ">u4"):
        largest = int(numpy.iinfo(dtype).max)
        assert total(dtype, largest, largest, 1) == 2 * largest + 1
        assert type(total(dtype, 1, 2)) is int
    assert total("f4", 0.5, 1 << 24, 0.5) == (1 << 24) + 1
    fields = [("a", "u4"), ("b", "u1", (2,)), ("c", [("d", "u8")])]
    assert total(fields, (1, [2, 3], (4,)), (10, [255, 30], (40,))) == (11, [257, 33], (44,))
    for dtype, value in (("?", True), ("S4", b"abcd"), ("g", 1)):
        with pytest.raises(TypeError, match=r"^sum: .* is no number"):
            total(dtype, value, value)


def test_codecs_of_users() -> None:
    """Wrong: only the library's own codecs work per CPU."""

    class Word(Codec[str]):
        size = 3

        def pack(self, value: str) -> bytes:
            return value.encode()

        def unpack(self, buffer: bytes | bytearray | memoryview) -> str:
            return bytes(buffer).decode()

        def _meaning(self) -> tuple[object, ...]:
            return (Word,)

        def __repr__(self) -> str:
            return "Word()"

    made = PerCpu(Word(), 2)
    assert made.pack(["abc", "xyz"]) == b"abc\0\0\0\0\0xyz\0\0\0\0\0"
    assert made.unpack(b"abc.....xyz.....") == ["abc", "xyz"]
