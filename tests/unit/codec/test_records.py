"""Dataclasses as C structs: what they take, what they refuse, and where their fields are."""

from __future__ import annotations

import dataclasses
import struct
import sys
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Optional

import pytest

from ebpf.codec import (
    Array,
    Char,
    CType,
    Pad,
    Raw,
    be16,
    be32,
    codec,
    f32,
    s16,
    s64,
    u8,
    u16,
    u32,
    u64,
)
from ebpf.errors import CodecError


@dataclass
class Point:
    x: s16
    y: u64


@dataclass
class Event:
    pid: u32
    comm: Annotated[bytes, Char(16)]
    path: Annotated[str, Char(8)]
    ok: bool
    ratio: f32
    mac: Annotated[bytes, Raw(6)]
    stack: Annotated[list[int], Array(u64, 3)]
    point: Point
    points: Annotated[list[Point], Array(Point, 2)]
    grid: Annotated[tuple[list[int], ...], Array(Array(u8, 2), 3)]
    port: be16
    kind: ClassVar[str] = "event"
    _pad: Annotated[bytes, Pad(2)] = b""
    last: u32 = 0


def event(**changes: object) -> Event:
    plain = Event(
        7, b"bash", "/tmp", True, 0.5, b"\1\2\3\4\5\0", [1, 2, 3], Point(-1, 2),
        [Point(3, 4), Point(-5, 6)], ([1, 2], [3, 4], [5, 6]), 443, last=9,
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def test_every_kind_of_field_round_trips_and_padding_is_zero() -> None:
    """Wrong: a field is lost or displaced, or stack garbage ends up in a hash key's padding."""
    made = codec(Event)
    packed = made.pack(event())
    assert packed == struct.pack(
        "=I 16s 8s B3x f 6s6x 3Q h6xQ h6xQ h6xQ 6B 2s 2x2xI",
        7, b"bash", b"/tmp", 1, 0.5, b"\1\2\3\4\5\0", 1, 2, 3, -1, 2, 3, 4, -5, 6,
        1, 2, 3, 4, 5, 6, (443).to_bytes(2, "big"), 9,
    ).ljust(made.size, b"\0")  # fmt: skip
    assert made.unpack(packed) == event()
    other = event(pid=8, stack=[7, 8, 9])
    assert list(made.iter_unpack(packed + made.pack(other))) == [event(), other]


def test_dirty_padding_is_not_read() -> None:
    """Wrong: bytes between the fields change what is read."""
    made = codec(Point)
    assert made.unpack(b"\xff" * 16) == Point(-1, 2**64 - 1)
    packed = made.pack(Point(-1, 2**64 - 1))
    assert packed == b"\xff\xff" + bytes(6) + b"\xff" * 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pid": -1}, "pid: -1 does not fit u32 (0..4294967295)"),
        ({"pid": 2**32}, "pid: 4294967296 does not fit u32 (0..4294967295)"),
        ({"pid": True}, "pid: True is not an integer; u32 takes 0..4294967295"),
        ({"pid": None}, "pid: None is not an integer; u32 takes 0..4294967295"),
        ({"pid": 1.0}, "pid: 1.0 is not an integer; u32 takes 0..4294967295"),
        ({"pid": "7"}, "pid: '7' is not an integer; u32 takes 0..4294967295"),
        ({"comm": b"x" * 17}, "comm: got 17 bytes, but char[16] has 16"),
        ({"comm": "bash"}, "comm: 'bash' is not bytes; char[16] takes that"),
        ({"comm": 5}, "comm: 5 is not bytes; char[16] takes that"),
        ({"comm": b"a\0b"}, "comm: b'a\\x00b' goes on after a NUL, where reading it stops"),
        ({"path": b"/tmp"}, "path: b'/tmp' is not a str; char[8] takes that"),
        ({"path": "äöüäö"}, "path: got 10 bytes, but char[8] has 8"),
        ({"ok": "yes"}, "ok: 'yes' is not a bool"),
        ({"ok": 2}, "ok: 2 is not a bool"),
        ({"ratio": "1"}, "ratio: '1' is not a number; f32 takes int or float"),
        ({"ratio": True}, "ratio: True is not a number; f32 takes int or float"),
        ({"ratio": 1e39}, "ratio: 1e+39 does not fit f32"),
        ({"mac": b"12345"}, "mac: got 5 bytes, but it takes exactly 6"),
        ({"stack": [1, 2]}, "stack: got 2 values, but it takes 3"),
        ({"stack": [1, -2, 3]}, "stack[1]: -2 does not fit u64 (0..18446744073709551615)"),
        (
            {"stack": [1, 2, False]},
            "stack[2]: False is not an integer; u64 takes 0..18446744073709551615",
        ),
        ({"stack": "123"}, "stack: '123' is not a sequence of 3 values"),
        ({"stack": {1, 2, 3}}, "stack: {1, 2, 3} is not a sequence of 3 values"),
        ({"stack": 5}, "stack: 5 is not a sequence of 3 values"),
        ({"point": (1, 2)}, "point: (1, 2) is not a Point"),
        ({"point": Point(40000, 2)}, "point.x: 40000 does not fit s16 (-32768..32767)"),
        ({"points": [Point(1, 2)]}, "points: got 1 values, but it takes 2"),
        (
            {"points": [Point(1, 2), Point(1, -2)]},
            "points[1].y: -2 does not fit u64 (0..18446744073709551615)",
        ),
        ({"grid": [[1, 2], [3], [5, 6]]}, "grid[1]: got 1 values, but it takes 2"),
        ({"grid": [[1, 2], [3, 256], [5, 6]]}, "grid[1][1]: 256 does not fit u8 (0..255)"),
        ({"port": 65536}, "port: 65536 does not fit u16 (0..65535)"),
        ({"port": True}, "port: True is not an integer; u16 takes 0..65535"),
        ({"_pad": b"\0\1"}, "_pad: b'\\x00\\x01' in padding, which takes up to 2 zero bytes"),
        (
            {"_pad": b"\0\0\0"},
            "_pad: b'\\x00\\x00\\x00' in padding, which takes up to 2 zero bytes",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_named(changes: dict[str, object], message: str) -> None:
    """Wrong: the value is bent until it fits, or the message does not lead to the field."""
    with pytest.raises(CodecError) as caught:
        codec(Event).pack(event(**changes))
    assert str(caught.value) == message


def test_only_instances_are_packed() -> None:
    """Wrong: a value of another class with some of the same attributes is written."""

    @dataclass
    class Bigger:
        x: s16
        y: u64
        z: u64

    with pytest.raises(CodecError, match=r"Bigger\(x=1.* is not a Point$"):
        codec(Point).pack(Bigger(1, 2, 3))  # type: ignore[arg-type]
    incomplete = Point(1, 2)
    del incomplete.y
    with pytest.raises(CodecError, match=r"^y: the Point has no such attribute$"):
        codec(Point).pack(incomplete)


def test_errors_of_the_users_class_are_not_hidden() -> None:
    """Wrong: a ValueError from __post_init__ turns into a codec's complaint or is swallowed."""

    @dataclass
    class Even:
        n: u32

        def __post_init__(self) -> None:
            if self.n % 2:
                raise ValueError("odd")

    with pytest.raises(ValueError, match=r"^odd$") as caught:
        codec(Even).unpack(struct.pack("=I", 3))
    assert not isinstance(caught.value, CodecError)


def test_sizes_say_both() -> None:
    """Wrong: a record of another version of the struct is read as this one."""
    with pytest.raises(CodecError, match=r"^got 15 bytes, but codec\(Point\) takes 16 bytes$"):
        codec(Point).unpack(bytes(15))
    with pytest.raises(CodecError, match=r"^size is 10 bytes, but codec\(Point\) takes 16 bytes$"):
        codec(Point, 10)
    with pytest.raises(CodecError, match=r"^got 31 bytes, no whole number of records: codec\(Poi"):
        codec(Point).iter_unpack(bytes(31))


def test_packed() -> None:
    """Wrong: packed leaves padding, or packs the structs inside, which C does not."""
    assert codec(Point, 10, packed=True).pack(Point(-1, 2)) == struct.pack("=hQ", -1, 2)
    assert codec(Point) != codec(Point, packed=True)

    @dataclass
    class Outer:
        tag: u8
        point: Annotated[Point, "some other library's metadata"]

    made = codec(_globals(Outer), packed=True)
    assert made.size == 17
    assert made.offsetof("point.y") == 9


def _globals(cls: type[Any]) -> type[Any]:
    """`cls` with annotations evaluated, as if its module did not postpone them."""
    hints = {"Point": Point, "Annotated": Annotated, "u8": u8, "u16": u16, "Array": Array}
    cls.__annotations__ = {name: eval(text, hints) for name, text in cls.__annotations__.items()}
    return cls


def test_offsets() -> None:
    """Wrong: an assembled program stores a field where Python reads another."""
    made = codec(Event)
    assert made.offsets["pid"] == 0
    assert made.offsetof("comm") == 4
    assert made.offsetof("point.y") == made.offsets["point"] + 8
    assert made.offsetof("points[1].x") == made.offsets["points"] + 16
    assert made.offsetof("grid[2][1]") == made.offsets["grid"] + 5
    assert "kind" not in made.offsets


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("cmm", "Event has no field 'cmm'; its fields: pid, comm, path, ok, ratio, mac, stack, "),
        ("", "Event has no field ''; its fields: pid"),
        ("point.z", "Point has no field 'z'; its fields: x, y"),
        ("pid.x", "has no field 'x'; its fields: none"),
        ("pid[0]", "'pid[0]': [0] does not index an array"),
        ("stack[3]", "'stack[3]': [3] is outside of an array of 3"),
        ("stack[-1]", "'stack[-1]': [-1] does not index an array"),
        ("stack[1", "'stack[1': [1 does not index an array"),
    ],
)
def test_offsets_of_what_is_not_there(path: str, message: str) -> None:
    """Wrong: a misspelt field has an offset, or the message does not help to spell it."""
    with pytest.raises(CodecError) as caught:
        codec(Event).offsetof(path)
    assert message in str(caught.value)


def test_text() -> None:
    """Wrong: a name comes back with its NULs, without its last byte, or not at all."""
    made = codec(Annotated[str, Char(4)])
    assert made.unpack(b"ab\0\xff") == "ab"
    assert made.unpack(b"abcd") == "abcd"
    assert made.unpack(b"a\xffb\0") == "a\udcffb"
    assert made.pack("a\udcffb") == b"a\xffb\0"
    assert list(made.iter_unpack(b"ab\0\0xyz\0")) == ["ab", "xyz"]
    assert codec(Char(4)).unpack(b"ab\0c") == b"ab"
    assert codec(Char(4)).pack(b"ab\0\0") == b"ab\0\0"
    assert codec(Raw(4)).unpack(b"ab\0c") == b"ab\0c"


def test_network_byte_order() -> None:
    """Wrong: ports and addresses come out with their bytes reversed."""
    made = codec(be32)
    assert made.pack(0x7F000001) == b"\x7f\0\0\1"
    assert made.unpack(b"\x7f\0\0\1") == 0x7F000001
    assert list(made.iter_unpack(b"\0\0\0\1\0\0\0\2")) == [1, 2]
    with pytest.raises(CodecError, match=r"^-1 does not fit u32 \(0\.\.4294967295\)$"):
        made.pack(-1)
    assert codec(CType("<H")).pack(1) == b"\1\0"
    assert codec(CType(">b")) == codec("b")


def test_arrays_as_codecs() -> None:
    """Wrong: an array value of a map is no list, or takes another number of elements."""
    made = codec(Array(u16, 3))
    assert made.unpack(made.pack([1, 2, 3])) == [1, 2, 3]
    assert made.pack((1, 2, 3)) == made.pack(memoryview(bytes([1, 2, 3])))
    assert codec(Annotated[tuple[int, ...], Array(u16, 2)]).unpack(bytes(4)) == (0, 0)
    names = codec(Annotated[list[bytes], Array(Char(4), 2)])
    assert names.unpack(names.pack([b"ab", b"c"])) == [b"ab", b"c"]
    with pytest.raises(CodecError, match=r"^\[1\]: got 5 bytes, but char\[4\] has 4$"):
        names.pack([b"ab", b"abcde"])


def test_two_arrays_cannot_make_up_for_each_other() -> None:
    """Wrong: one element too many here and one too few there shifts the fields between."""

    @dataclass
    class Two:
        a: Annotated[list[int], Array(u16, 2)]
        b: Annotated[list[int], Array(u16, 2)]

    with pytest.raises(CodecError, match=r"^a: got 3 values, but it takes 2$"):
        codec(_globals(Two)).pack(Two([1, 2, 3], [4]))


def test_padding_fields() -> None:
    """Wrong: padding has to be given by hand, or an instance does not survive a round trip."""

    @dataclass
    class Required:
        gap: Annotated[bytes, Pad(3)]
        n: u8

    @dataclass
    class Hidden:
        a: u8
        gap: Annotated[bytes, Pad(3)] = field(default=b"", init=False)
        b: u32 = 0

    required = Required(bytes(3), 5)
    assert codec(Required).pack(required) == b"\0\0\0\5"
    assert codec(Required).unpack(b"\1\2\3\5") == required
    hidden = Hidden(1, b=2)
    assert codec(Hidden).unpack(codec(Hidden).pack(hidden)) == hidden


def test_constructors_of_every_kind() -> None:
    """Wrong: keyword-only, frozen, slotted or inherited fields cannot be built from a record."""

    @dataclass(frozen=True)
    class Base:
        a: u8

    @dataclass(frozen=True)
    class Derived(Base):
        b: u8
        c: u8 = field(default=0, kw_only=True)
        d: u8 = 0

    @dataclass(kw_only=True, slots=True)
    class Named:
        a: u8
        b: u8

    derived = Derived(1, 2, 4, c=3)
    made = codec(Derived)
    assert made.pack(derived) == b"\1\2\3\4"
    assert made.unpack(b"\1\2\3\4") == derived
    assert {made.unpack(b"\1\2\3\4"): 1}[derived] == 1
    assert codec(Named).unpack(b"\1\2") == Named(a=1, b=2)


@dataclass
class BareInt:
    n: int


@dataclass
class BareBytes:
    n: bytes


@dataclass
class BareList:
    n: list[int]


@dataclass
class Maybe:
    n: Optional[u32]  # noqa: UP045


@dataclass
class WrongType:
    n: Annotated[int, Char(4)]


@dataclass
class WrongContainer:
    n: Annotated[bytes, Array(u8, 4)]


@dataclass
class FloatAsInt:
    n: Annotated[int, CType("f")]


@dataclass
class TwoTypes:
    n: Annotated[u32, CType("Q")]


@dataclass
class Unset:
    n: u32 = field(default=0, init=False)


@dataclass
class Empty:
    pass


@dataclass
class PadArray:
    n: Annotated[list[bytes], Array(Pad(2), 3)]


@dataclass
class Endless:
    n: Endless


@dataclass
class Unresolved:
    n: Missing  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (BareInt, "BareInt.n: int has no layout in C; use u8..u64, s8..s64 or be16..be64"),
        (BareBytes, "BareBytes.n: bytes has no layout in C; use Annotated[bytes, Char(n)], Raw"),
        (BareList, "BareList.n: list[int] has no layout in C; use Annotated[list[int], Array("),
        (Maybe, "has no layout in C; use the types of ebpf.codec"),
        (WrongType, "WrongType.n: Char(4) goes with bytes or str, not int"),
        (WrongContainer, "WrongContainer.n: Array("),
        (FloatAsInt, "FloatAsInt.n: CType('f') goes with float, not int"),
        (TwoTypes, "TwoTypes.n: two C types for one field: [CType('I'), CType('Q')]"),
        (Unset, "Unset.n: init=False, so a record that was read could not set it"),
        (Empty, "Empty has no fields"),
        (PadArray, "PadArray.n: an array of padding; use Pad(6)"),
        (Endless, "Endless contains itself"),
        (Unresolved, "Unresolved: an annotation names 'Missing', which is not a global of "),
    ],
)
def test_classes_that_have_no_layout(cls: type, message: str) -> None:
    """Wrong: a mistake in a class is found by its first record, or the remedy by nobody."""
    with pytest.raises(CodecError) as caught:
        codec(cls)
    assert message in str(caught.value)


def test_marker_arguments() -> None:
    """Wrong: a size of nothing makes a field that is not there."""
    with pytest.raises(CodecError, match=r"^Char: size is 0, but must be at least 1$"):
        Char(0)
    with pytest.raises(CodecError, match=r"^Array: count is -1, but must be at least 1$"):
        Array(u32, -1)
    with pytest.raises(TypeError, match=r"^Raw: size is an int, not True$"):
        Raw(True)
    with pytest.raises(CodecError, match=r"^CType\('x'\): not one of c, b, "):
        CType("x")


def test_equality_of_records() -> None:
    """Wrong: two codecs of one class differ, or those of two classes with one name do not."""

    def make() -> type:
        return dataclasses.make_dataclass("Same", [("n", u32)])

    cls = make()
    assert codec(cls) == codec(cls)
    assert hash(codec(cls)) == hash(codec(cls))
    assert codec(cls) != codec(make())
    assert codec(cls) != codec("I")


def test_format_of_a_record_reads_the_same_bytes() -> None:
    """Wrong: what reads records by .format (numpy, memoryview, struct) sees other fields."""
    made = codec(Point)
    assert made.format is not None
    assert struct.unpack(made.format, made.pack(Point(-3, 4))) == (-3, 4)
    assert made.format[0] == ("<" if sys.byteorder == "little" else ">")
    assert codec(s64).format == "q"
