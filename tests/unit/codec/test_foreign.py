"""Raw bytes, objects with pack and unpack, ctypes and numpy."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ebpf.codec import Codec, PerCpu, codec
from ebpf.errors import CodecError

SRC = Path(__file__).parents[3] / "src"


def test_raw_bytes_are_exact() -> None:
    """Wrong: raw bytes are padded, cut, or handed back as a view of a buffer that changes."""
    made = codec(bytes, 3)
    assert made.pack(b"a\0b") == b"a\0b"
    assert codec(3).pack(memoryview(b"xyz")) == b"xyz"  # type: ignore[arg-type]
    buffer = bytearray(b"abcdef")
    first, second = made.iter_unpack(buffer)
    buffer[:] = b"......"
    assert (first, second) == (b"abc", b"def")
    for value in (b"", b"ab", b"abcd"):
        text = rf"^got {len(value)} bytes, but codec\(bytes, 3\) takes 3 bytes$"
        with pytest.raises(CodecError, match=text):
            made.pack(value)
    with pytest.raises(CodecError, match=r"^3 is not bytes: codec\(bytes, 3\) takes 3 bytes$"):
        made.pack(3)  # type: ignore[arg-type]


class Json:
    """A codec such as a user would write."""

    size = 16

    def pack(self, value: Any) -> bytes:
        return json.dumps(value).encode().ljust(16)

    def unpack(self, data: bytes) -> Any:
        assert type(data) is bytes
        return json.loads(data)

    def __repr__(self) -> str:
        return "Json()"


def test_objects_with_pack_and_unpack() -> None:
    """Wrong: an object of the user's is called with a view, or its bytes are not checked."""
    made = codec(Json())
    assert made.pack([1, 2]) == b"[1, 2]          "
    run = bytearray(made.pack({"a": 1}) + made.pack("x"))
    assert list(made.iter_unpack(run)) == [{"a": 1}, "x"]
    long = r"^Json\(\)\.pack returned 44 bytes, but codec\(Json\(\)\) takes 16 bytes$"
    with pytest.raises(CodecError, match=long):
        made.pack("x" * 42)
    with pytest.raises(CodecError, match=r"^got 15 bytes, but codec\(Json\(\)\) takes 16 bytes$"):
        made.unpack(bytes(15))


def test_objects_that_lack_something() -> None:
    """Wrong: the message does not name what is missing."""

    class NoSize:
        def pack(self, value: Any) -> Any:
            return value

        unpack = pack

        def __repr__(self) -> str:
            return "NoSize()"

    with pytest.raises(CodecError, match=r"^NoSize\(\) has pack and unpack, but no size"):
        codec(NoSize())
    wrong = NoSize()
    wrong.size = "4"  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"^codec\.size: '4' is not an int$"):
        codec(wrong)
    wrong.size = 4  # type: ignore[attr-defined]
    with pytest.raises(CodecError, match=r"^NoSize\(\)\.pack returned 'abcd', which is not bytes$"):
        codec(wrong).pack("abcd")


class Word(Codec[Any]):
    """A codec as a class of the user's: `pack` returns what it is given."""

    size = 4
    format = "4s"

    @property
    def offsets(self) -> dict[str, int]:
        return {"first": 0, "second": 2}

    def pack(self, value: Any) -> Any:
        return value

    def unpack(self, buffer: Any) -> Any:
        return buffer

    def _meaning(self) -> tuple[object, ...]:
        return (Word,)

    def __repr__(self) -> str:
        return "Word()"


class Run(Word):
    """The same, with a way of its own for many values."""

    def pack_many(self, values: Any) -> Any:
        return b"".join(values)

    def iter_unpack(self, buffer: Any) -> Any:
        return [buffer]


@pytest.mark.parametrize("cls", [Word, Run])
def test_what_codecs_of_users_pack(cls: type[Word]) -> None:
    """Wrong: the kernel reads as many bytes as the size says, beyond those that were packed."""
    made = codec(cls())
    for packed in (b"", b"abc", b"abcde"):
        size = rf"{len(packed)} bytes, but has to return"
        with pytest.raises(CodecError, match=rf"^Word\(\)\.pack returned {size} 4$"):
            made.pack(packed)
        with pytest.raises(CodecError, match=r"^Word\(\)\.pack\w* returned"):
            made.pack_many(iter([packed, packed]))
        with pytest.raises(CodecError, match=rf"^CPU 1: Word\(\)\.pack returned {size} 4$"):
            PerCpu(cls(), 2).pack([b"abcd", packed])
    for other in ("abcd", bytearray(4), None):
        with pytest.raises(CodecError, match=r"^Word\(\)\.pack returned .*, which is not bytes$"):
            made.pack(other)
    assert made.pack(b"abcd") == b"abcd"
    assert made.pack_many([b"abcd", b"efgh"]) == b"abcdefgh"


def test_codecs_of_users_keep_what_they_were_given() -> None:
    """Wrong: a value that is a view changes with the buffer that the kernel writes to."""
    buffer = bytearray(b"abcd")
    made = [codec(Word()).unpack(buffer), *codec(Word()).iter_unpack(buffer)]
    made += [*codec(Run()).iter_unpack(buffer), PerCpu(Word(), 1).unpack(buffer + bytes(4))[0]]
    buffer[:] = bytes(4)
    assert made == [b"abcd"] * 4
    with pytest.raises(CodecError, match=r"^got 3 bytes, but Word\(\) takes 4 bytes$"):
        codec(Word()).unpack(bytes(3))


def test_codecs_of_users_stay_what_they_are() -> None:
    """Wrong: a map says that its codec is another than the one that it was given."""
    made = codec(Word())
    assert made == Word() == codec(made)
    assert hash(made) == hash(Word())
    assert (made.size, made.format, made.offsetof("second"), repr(made)) == (4, "4s", 2, "Word()")
    assert codec(made) is made
    broken = Word()
    broken.size = 0
    with pytest.raises(CodecError, match=r"^codec\.size: 0 bytes"):
        codec(broken)


class Pair(ctypes.Structure):
    _fields_ = [("small", ctypes.c_uint8), ("large", ctypes.c_uint64)]


def test_ctypes_structures() -> None:
    """Wrong: a Structure is packed without its padding, or unpack shares the buffer."""
    made = codec(Pair)
    assert made.size == ctypes.sizeof(Pair) == 16
    assert made.offsetof("large") == Pair.large.offset
    value = Pair(1, 2)
    buffer = bytearray(made.pack(value))
    assert bytes(buffer) == bytes(value)
    back = made.unpack(buffer)
    buffer[:] = bytes(16)
    assert (back.small, back.large) == (1, 2)
    assert [one.large for one in made.iter_unpack(bytes(value) * 3)] == [2, 2, 2]
    with pytest.raises(CodecError, match=r"^got 17 bytes, but codec\(Pair\) takes 16 bytes$"):
        made.unpack(bytes(17))
    with pytest.raises(CodecError, match=r"^5 is not a Pair$"):
        made.pack(5)  # type: ignore[arg-type]


def test_numpy_dtypes() -> None:
    """Wrong: numpy's silent rounding and cutting reach the kernel, or fields are displaced."""
    numpy = pytest.importorskip("numpy")
    made = codec(numpy.dtype([("pid", "u4"), ("time", "u8")], align=True))
    assert (made.size, made.offsetof("time")) == (16, 8)
    run = made.pack((1, 2)) + made.pack((3, 4))
    assert made.unpack(run[:16])["time"] == 2
    assert numpy.array_equal(made.iter_unpack(run)["pid"], [1, 3])  # type: ignore[index]
    plain = codec(numpy.uint32)
    assert plain == codec(numpy.dtype("u4"))
    assert plain.pack(numpy.uint32(7)) == codec("I").pack(7)
    assert plain.format == "I"
    assert codec(numpy.float32).pack(0.1) == codec("f").pack(0.1)
    assert codec(numpy.float64).pack(float("nan")) == codec("d").pack(float("nan"))
    for bad in (-1, 2**32, 1.5, True, [1, 2], "x", None):
        with pytest.raises(CodecError):
            plain.pack(bad)
    with pytest.raises(CodecError, match="does not fit"):
        codec(numpy.dtype("S2")).pack(b"abc")
    with pytest.raises(CodecError, match="Python objects"):
        codec(numpy.dtype(object))


def test_numpy_records_are_copies() -> None:
    """Wrong: a record changes with the buffer that it came from, or is no key of a dict."""
    numpy = pytest.importorskip("numpy")
    made = codec(numpy.dtype([("a", "u4"), ("b", "u4")]))
    buffer = bytearray(made.pack((1, 2)))
    records = [
        made.unpack(buffer),
        *made.iter_unpack(buffer),
        *PerCpu(made, 1).unpack(buffer),
        *next(iter(PerCpu(made, 1).iter_unpack(buffer))),
    ]
    buffer[:] = bytes(8)
    assert [record.tolist() for record in records] == [(1, 2)] * 4
    assert set(records) == {records[0]}


def test_import_stays_light() -> None:
    """Wrong: `import ebpf` pays for typing, dataclasses, ctypes or numpy that few programs use."""
    heavy = "'typing', 'dataclasses', 'inspect', 'ctypes', 'numpy'"
    # A bare package stands in for `ebpf`, whose other layers are not what this test is about.
    script = (
        "import sys, types; package = sys.modules['ebpf'] = types.ModuleType('ebpf'); "
        f"package.__path__ = [{str(SRC / 'ebpf')!r}]; import ebpf.codec; "
        "ebpf.codec.PerCpu(ebpf.codec.codec('IQ'), 4).pack([(1, 2)] * 4); ebpf.codec.codec(4); "
        f"print([name for name in ({heavy}) if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
