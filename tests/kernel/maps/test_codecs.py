"""Codecs through real maps: what Python wrote is what C reads, and comes back the same."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

import ebpf
from ebpf import ArrayMap, HashMap, Map, MapType
from ebpf.codec import Array, Char, Codec, Pad, be32, f64, s16, s64, u8, u16, u32, u64
from tests.kernel.maps.support import dumped


@dataclass(frozen=True)
class Flow:
    source: be32
    port: u16
    protocol: u8


@dataclass
class Range:
    low: s16
    high: s64


@dataclass
class Stats:
    comm: Annotated[str, Char(8)]
    range: Range
    buckets: Annotated[list[int], Array(u32, 3)]
    _pad: Annotated[bytes, Pad(4)] = b""
    ratio: f64 = 0.0


def test_dataclass_keys_and_values_have_cs_layout() -> None:
    """A dataclass is laid out differently from C's struct, or comes back changed."""
    flow, stats = Flow(0x7F000001, 443, 6), Stats("nginx", Range(-2, -3), [1, 2, 3], ratio=0.5)
    with HashMap.create(key=Flow, value=Stats, max_entries=4) as m:
        m[flow] = stats
        assert m[flow] == stats
        assert m.to_dict() == {flow: stats}
        key = struct.pack("!I", 0x7F000001) + struct.pack("=HBx", 443, 6)
        value = struct.pack("=8sh6xq3I4xd", b"nginx", -2, -3, 1, 2, 3, 0.5)
        assert dumped(m) == {key: value}


CASES: dict[str, tuple[object, Any, bytes]] = {
    "b": ("b", -1, b"\xff"),
    "h": ("h", -2, struct.pack("=h", -2)),
    "i": ("i", -(1 << 31), struct.pack("=i", -(1 << 31))),
    "q": ("q", -1, b"\xff" * 8),
    "Q": ("Q", (1 << 64) - 1, b"\xff" * 8),
    "?": ("?", True, b"\1"),
    "d": ("d", -0.5, struct.pack("=d", -0.5)),
    "bQ": ("bQ", (-1, 2), b"\xff" + bytes(7) + struct.pack("=Q", 2)),
    "QI": ("QI", (1, 2), struct.pack("=QI4x", 1, 2)),
    ">I": (">I", 1, b"\0\0\0\1"),
    "16s": ("16s", b"ab".ljust(16, b"\0"), b"ab".ljust(16, b"\0")),
    "5 bytes": (5, b"abcde", b"abcde"),
    "Char(6)": (Annotated[str, Char(6)], "bash", b"bash\0\0"),
    "Struct(<HB)": (struct.Struct("<HB"), (1, 2), b"\1\0\2"),
}


@pytest.mark.parametrize(("spec", "value", "raw"), CASES.values(), ids=CASES)
def test_values_come_back_as_they_were(spec: object, value: Any, raw: bytes) -> None:
    """A value changes its sign, width, order or type on the way through the kernel."""
    with ArrayMap.create(value=spec, max_entries=1) as m:
        m[0] = value
        assert m[0] == value
        assert m[0].__class__ is value.__class__
        assert dumped(m) == {bytes(4): raw}


def test_ctypes_structures() -> None:
    """A ctypes Structure comes back sharing memory with the next value that is read."""

    class Pair(ctypes.Structure):
        _fields_ = (("a", ctypes.c_uint32), ("b", ctypes.c_int64))

    with HashMap.create(key="I", value=Pair, max_entries=2) as m:
        m[1], m[2] = Pair(1, -1), Pair(2, -2)
        first, second = m[1], m[2]
        assert (first.a, first.b, second.a, second.b) == (1, -1, 2, -2)


def test_anything_with_pack_and_unpack() -> None:
    """An object of the user's with pack, unpack and size is not taken for a codec."""

    class Celsius:
        size = 4

        def pack(self, value: float) -> bytes:
            return struct.pack("=i", round(value * 1000))

        def unpack(self, data: bytes) -> float:
            return float(struct.unpack("=i", data)[0] / 1000)

    with ArrayMap.create(value=Celsius(), max_entries=1) as m:
        m[0] = -12.5
        assert m[0] == -12.5
        assert dumped(m) == {bytes(4): struct.pack("=i", -12500)}


def test_a_codec_that_packs_too_little() -> None:
    """The kernel takes what lies behind a value that is too short for part of it."""

    class Short(Codec[bytes]):
        size = 8

        def pack(self, value: bytes) -> bytes:
            return value

        def unpack(self, buffer: bytes | bytearray | memoryview) -> bytes:
            return bytes(buffer)

        def _meaning(self) -> tuple[object, ...]:
            return (Short,)

        def __repr__(self) -> str:
            return "Short()"

    with HashMap.create(key=Short(), value=Short(), max_entries=4) as m:
        whole = bytes(8)
        writes: list[Callable[[], object]] = [
            lambda: m.put(b"key", whole),
            lambda: m.put(whole, b"value"),
            lambda: m.update({whole: b"value"}),
            lambda: m.lookup(b"key"),
            lambda: m.delete_batch([b"key"]),
        ]
        for write in writes:
            with pytest.raises(ebpf.CodecError, match=r"^(key|value) of .* \d bytes, but .* 8$"):
                write()
        assert m.to_dict() == {}
    with ebpf.QueueMap.create(value=Short(), max_entries=1) as queue:
        with pytest.raises(ebpf.CodecError, match=r"^value of .* 1 byte, but .* 8$"):
            queue.push(b"1")
        assert queue.pop() is None


def test_none_as_a_value_of_a_users_codec() -> None:
    """A codec that unpacks to None makes entries look absent."""

    class Optional:
        size = 1

        def pack(self, value: object) -> bytes:
            return bytes([value is not None])

        def unpack(self, data: bytes) -> object:
            return "there" if data[0] else None

    with HashMap.create(key="I", value=Optional(), max_entries=4) as m:
        m[1] = None
        assert m[1] is None
        assert 1 in m
        assert m.to_dict() == {1: None}
        assert m.pop(1, "missing") is None
        assert 1 not in m


class Even:
    """A codec that does not know odd numbers."""

    size = 4

    def pack(self, value: int) -> bytes:
        return struct.pack("I", value)

    def unpack(self, data: bytes) -> int:
        (value,) = struct.unpack("I", data)
        if value % 2:
            raise ArithmeticError(f"{value} is odd")
        return int(value)


def odd(take: Callable[[], object], value: int) -> None:
    """What can't be decoded is in the error."""
    with pytest.raises(ebpf.CodecError, match=rf"{value} is odd") as caught:
        take()
    assert caught.value.raw == struct.pack("I", value)
    assert isinstance(caught.value.__cause__, ArithmeticError)


@pytest.mark.parametrize("type", [MapType.HASH, MapType.LPM_TRIE], ids=str)
def test_what_is_taken_from_a_hash_is_not_lost(type: MapType) -> None:
    """A value that was deleted and can't be decoded is gone."""
    keys = ((32, b"one!"), (32, b"two!"), (32, b"four"))
    one, two, four = keys
    with HashMap.create(type, key="I4s", value=Even(), max_entries=8) as m:
        for key, value in zip(keys, (1, 3, 4), strict=True):
            m[key] = value
        # What stays in the map can be read again, by other means.
        with pytest.raises(ArithmeticError):
            m[one]
        assert one in m
        assert (32, b"none") not in m
        if type is MapType.HASH:
            # First, because it says which kernels can't (5.14); `pop` takes two steps there.
            odd(lambda: m.lookup_and_delete(two), 3)
            odd(lambda: m.pop(one), 1)
            assert one not in m
            assert two not in m
        else:
            # In two steps: read, then delete.
            with pytest.raises(ArithmeticError):
                m.pop(one)
            assert one in m
        assert m.pop(four) == 4


@pytest.mark.parametrize("type", [MapType.QUEUE, MapType.STACK], ids=str)
def test_what_is_taken_from_a_queue_is_not_lost(type: MapType) -> None:
    """A value that was popped and can't be decoded is gone, or keeps clear() from the others."""
    with ebpf.QueueMap.create(type, value=Even(), max_entries=4) as m:
        m.push(5)
        with pytest.raises(ArithmeticError):
            m.peek()
        odd(m.pop, 5)
        assert m.pop() is None
        for value in (1, 2, 3):
            m.push(value)
        m.clear()
        assert m.pop() is None


def test_popitem_decodes_the_key_first() -> None:
    """An entry whose key can't be decoded is deleted, and both are lost."""
    with HashMap.create(key=Even(), value="I", max_entries=4) as m:
        m[1] = 10
        with pytest.raises(ArithmeticError):
            m.popitem()
        assert m[1] == 10


def test_values_stay_when_others_are_read() -> None:
    """A value that was read changes when the next one is: the buffers are used again."""
    with HashMap.create(key="I", value=8, max_entries=4) as m:
        m[1], m[2] = b"a" * 8, b"b" * 8
        first = m[1]
        assert m[2] == b"b" * 8
        assert first == b"a" * 8


def test_a_value_of_a_wrong_size_says_both_sizes() -> None:
    """The error for a value that is too short or long doesn't say what it should be."""
    with HashMap.create(key=4, value=8, max_entries=4, name="raw") as m:
        for size in (0, 7, 9):
            with pytest.raises(ebpf.CodecError, match=rf"value of .*'raw'.* got {size} b.* 8 b"):
                m[b"abcd"] = bytes(size)
            with pytest.raises(ebpf.CodecError, match=rf"key of .*'raw'.* got {size} b.* 4 b"):
                m[bytes(size)]
        assert m.to_dict() == {}


def test_a_codec_that_does_not_fit_an_existing_map_says_both_sizes() -> None:
    """Opening a map with a codec of another size succeeds, so that reads overrun, or leaks."""
    with HashMap.create(key="I", value="Q", max_entries=4) as m:
        id = m.info().id
        with pytest.raises(ebpf.CodecError, match=rf"key of the map with id {id} has 4 .* takes 8"):
            Map.from_id(id, key="Q", value="Q")
        with pytest.raises(ebpf.CodecError, match=r"value of the descriptor .* has 8 .* takes 4"):
            Map.from_fd(m.fileno(), value="I")
        with pytest.raises(TypeError, match=r"is no codec"):
            Map.from_id(id, value=1.5)
    with (
        ebpf.QueueMap.create(value="Q", max_entries=4) as q,
        pytest.raises(ebpf.CodecError, match=r"key of .* has 0 bytes, .* takes 4"),
    ):
        Map.from_id(q.info().id, key="I")


def test_the_same_bytes_through_different_codecs() -> None:
    """Two codecs for one map disagree on the bytes."""
    with HashMap.create(key="I", value="q", max_entries=4) as signed:
        signed[1] = -1
        with Map.from_fd(signed.fileno(), key="I", value=u64) as unsigned:
            assert unsigned[1] == (1 << 64) - 1
        with Map.from_fd(signed.fileno()) as raw:
            assert raw.to_dict() == {struct.pack("I", 1): b"\xff" * 8}
