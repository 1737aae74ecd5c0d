"""Struct formats, raw bytes and the rules that every codec shares."""

from __future__ import annotations

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf.codec import CType, PerCpu, codec, s64, u32, u64
from ebpf.errors import CodecError

ORDER = "<" if sys.byteorder == "little" else ">"
INTEGERS = {
    "b": ("s8", 1), "B": ("u8", 1), "h": ("s16", 2), "H": ("u16", 2), "i": ("s32", 4),
    "I": ("u32", 4), "l": ("s64", 8), "L": ("u64", 8), "q": ("s64", 8), "Q": ("u64", 8),
    "n": ("s64", 8), "N": ("u64", 8), "P": ("u64", 8),
}  # fmt: skip


def limits(name: str, size: int) -> tuple[int, int]:
    if name.startswith("s"):
        return -(2 ** (8 * size - 1)), 2 ** (8 * size - 1) - 1
    return 0, 2 ** (8 * size) - 1


@pytest.mark.parametrize("code", INTEGERS)
def test_integers_take_their_limits_and_nothing_beyond(code: str) -> None:
    """Wrong: a value wraps around, loses its sign, or a legal one is refused."""
    name, size = INTEGERS[code]
    low, high = limits(name, size)
    made = codec(code)
    assert made.size == size
    for value in (low, high, 0, 1):
        packed = made.pack(value)
        assert packed == value.to_bytes(size, sys.byteorder, signed=low < 0)
        assert made.unpack(packed) == value
    for value in (low - 1, high + 1):
        with pytest.raises(CodecError) as caught:
            made.pack(value)
        assert str(caught.value) == f"{value} does not fit {name} ({low}..{high})"


@pytest.mark.parametrize("value", [True, False, 1.0, "1", None, b"\1", [1]])
def test_what_is_not_an_integer_is_refused(value: object) -> None:
    """Wrong: a bool, a float or a string becomes a number by accident."""
    text = f"{value!r} is not an integer; u32 takes 0..4294967295"
    with pytest.raises(CodecError) as caught:
        codec("I").pack(value)
    assert str(caught.value) == text
    with pytest.raises(CodecError) as caught:
        codec("QI").pack((1, value))
    assert str(caught.value) == "[1]: " + text


def test_integers_that_are_no_int_are_taken() -> None:
    """Wrong: an IntEnum member or a numpy integer needs int() around it."""

    class Index:
        def __index__(self) -> int:
            return 7

    assert codec("I").pack(Index()) == codec("I").pack(7)


def test_a_huge_integer_is_refused_with_the_range() -> None:
    """Wrong: the message fails itself, as repr of 5,000 digits does."""
    with pytest.raises(CodecError, match=r"integer of 16610 bits does not fit u32 \(0\.\."):
        codec("I").pack(10**5000)


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("IQ", "=I4xQ"),
        ("QI", "=QI4x"),
        ("@QI", "=QI4x"),
        ("BHI", "=BxHI"),
        ("3sI", "=3sxI"),
        ("Q16sB", "=Q16sB7x"),
        ("B0Q", "=B7x"),
        ("2B I", "=BBxxI"),
        ("bl", "=b7xq"),
        ("=IQ", "=IQ"),
        ("<QIB", "<QIB"),
        (">IQ", ">IQ"),
        ("!HI", ">HI"),
        ("=lL", "=iI"),
    ],
)
def test_padding_of_formats(text: str, exact: str) -> None:
    """Wrong: the bytes are laid out otherwise than the C struct, or padding is not zero."""
    made = codec(text)
    assert made.size == struct.calcsize(exact)
    values = struct.unpack(exact, bytes(range(1, 1 + made.size)))
    packed = made.pack(values if len(values) > 1 else values[0])
    assert packed == struct.pack(exact, *values)
    assert made.unpack(packed) == (values if len(values) > 1 else values[0])


@given(st.lists(st.sampled_from("bBhHiIqQfd?"), min_size=1, max_size=12))
def test_layout_without_prefix_is_that_of_the_struct_module_plus_its_end(codes: list[str]) -> None:
    """Wrong: alignment differs from the machine's, or the size is no multiple of the widest."""
    widest = max(struct.calcsize(code) for code in codes)
    text = "".join(codes)
    size = codec(text).size
    assert size == -(-struct.calcsize("@" + text) // widest) * widest
    values = struct.unpack_from("@" + text, bytes(200))
    assert codec(text).pack(values if len(values) > 1 else values[0]) == bytes(size)


@given(st.data())
def test_formats_round_trip_and_iterate(data: st.DataObject) -> None:
    """Wrong: a value changes on its way, or iter_unpack reads a run unlike unpack does."""
    codes = data.draw(st.lists(st.sampled_from("bBhHiIqQ"), min_size=1, max_size=6))
    prefix = data.draw(st.sampled_from(["", "@", "=", "<", ">", "!"]))
    made = codec(prefix + "".join(codes))
    integers = [st.integers(*limits(*INTEGERS[code])) for code in codes]
    one = integers[0] if len(codes) == 1 else st.tuples(*integers)
    values = data.draw(st.lists(one, max_size=5))
    run = b"".join(map(made.pack, values))
    size = made.size
    assert len(run) == size * len(values)
    assert [made.unpack(run[i * size :][:size]) for i in range(len(values))] == values
    assert list(made.iter_unpack(bytearray(run))) == values
    assert list(made.iter_unpack(memoryview(run))) == values


def test_text_formats_refuse_what_struct_would_cut() -> None:
    """Wrong: the end of a long name is lost without a word."""
    made = codec("4s")
    assert made.pack(b"ab") == b"ab\0\0"
    assert made.unpack(b"ab\0\0") == b"ab\0\0"
    assert made.pack(bytearray(b"abcd")) == b"abcd"
    with pytest.raises(CodecError, match=r"^got 5 bytes, but char\[4\] has 4$"):
        made.pack(b"abcde")
    with pytest.raises(CodecError, match=r"^'ab' is not bytes; char\[4\] takes that$"):
        made.pack("ab")
    with pytest.raises(CodecError, match=r"^\[1\]: got 5 bytes, but char\[4\] has 4$"):
        codec("I4s").pack((1, b"abcde"))
    assert codec("I4s").unpack(codec("I4s").pack([1, b"xy"])) == (1, b"xy\0\0")


def test_bool_float_and_char() -> None:
    """Wrong: any object counts as true, or a float that does not fit becomes infinite."""
    assert codec("?").pack(True) == b"\1"
    assert codec("?I").pack((False, 3)) == b"\0\0\0\0" + (3).to_bytes(4, sys.byteorder)
    with pytest.raises(CodecError, match=r"^'no' is not a bool$"):
        codec("?").pack("no")
    with pytest.raises(CodecError, match=r"^\[0\]: 2 is not a bool$"):
        codec("?I").pack((2, 3))
    assert codec("d").unpack(codec("d").pack(2)) == 2.0
    with pytest.raises(CodecError, match=r"^1e\+40 does not fit f32$"):
        codec("f").pack(1e40)
    with pytest.raises(CodecError, match=r"^True is not a number; f64 takes int or float$"):
        codec("d").pack(True)
    assert codec("c").pack(b"x") == b"x"
    with pytest.raises(CodecError, match=r"^b'xy' is not a bytes of length 1$"):
        codec("c").pack(b"xy")


def test_wrong_number_of_values_says_both() -> None:
    """Wrong: the user has to count fields."""
    with pytest.raises(CodecError, match=r"^got 3 values, but it takes 2$"):
        codec("IQ").pack((1, 2, 3))
    with pytest.raises(CodecError, match=r"^5 is not a tuple of 2 values$"):
        codec("IQ").pack(5)
    with pytest.raises(CodecError, match=r"^b'ab' is not a tuple of 2 values$"):
        codec("BB").pack(b"ab")


def test_wrong_sizes_say_both_and_name_the_padding() -> None:
    """Wrong: a short or long buffer is read, or the message leaves the padding a riddle."""
    padded = r"codec\('QI'\) takes 16 bytes \(with C's padding; '=QI' takes 12\)"
    with pytest.raises(CodecError, match=rf"^got 12 bytes, but {padded}$"):
        codec("QI").unpack(bytes(12))
    with pytest.raises(CodecError, match=rf"^size is 12 bytes, but {padded}$"):
        codec("QI", 12)
    with pytest.raises(CodecError, match=r"'bl'\) takes 16 bytes \(with C's padding, long and poi"):
        codec("bl", 9)
    with pytest.raises(CodecError, match=r"codec\('II'\) takes 8 bytes$"):
        codec("II", 9)
    with pytest.raises(CodecError, match=r"^got 1 byte, but codec\('I'\) takes 4 bytes$"):
        codec("I").unpack(b"1")
    for made in (codec("I"), codec(">I"), codec("4s"), codec("HH"), codec(4), codec(u32)):
        with pytest.raises(CodecError, match=r"^got 6 bytes, no whole number of records: .* 4 b"):
            made.iter_unpack(bytes(6))
        for size in (0, 3, 5, 8):
            with pytest.raises(CodecError, match=f"^got {size} bytes, but .* takes 4 bytes$"):
                made.unpack(memoryview(bytes(size)))
        assert list(made.iter_unpack(b"")) == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "format '' has no value in it"),
        ("4x", "format '4x' has no value in it"),
        ("IZ", "format 'IZ': 'Z' is none of the types cbB?hHiIlLqQnNPefdsx"),
        ("8p", "format '8p': 'p' is none of the types cbB?hHiIlLqQnNPefdsx"),
        ("=P", "format '=P': 'P' has no size with a byte order prefix"),
        ("<n", "format '<n': 'n' has no size with a byte order prefix"),
        ("I4", "format 'I4': the count 4 has no type behind it"),
        ("4 I", "format '4 I': the count 4 has no type behind it"),
        ("0s", "format '0s': '0s' has no bytes"),
        (bytes, "bytes alone has no size; give it (key_size, value_size), or an int"),
        (0, "codec: 0 bytes, but must be at least 1"),
        (-4, "codec: -4 bytes, but must be at least 1"),
        (int, "codec: int has no layout in C; use u8..u64, s8..s64 or be16..be64 of ebpf.codec"),
        (str, "codec: str has no layout in C; use Annotated[str, Char(n)]"),
    ],
)
def test_specs_that_describe_no_layout(spec: object, message: str) -> None:
    """Wrong: a mistake in key= or value= surfaces only when the kernel refuses the map."""
    with pytest.raises(CodecError) as caught:
        codec(spec)
    assert str(caught.value) == message


@pytest.mark.parametrize("spec", [None, 3.5, True, object(), ["I"], {"a": "I"}, dict])
def test_specs_of_no_known_kind(spec: object) -> None:
    """Wrong: an object that is no codec is taken for one."""
    with pytest.raises(TypeError, match="is no codec: use a struct format"):
        codec(spec)


def test_arguments_of_codec() -> None:
    """Wrong: a size of the wrong kind, or packed where it has no effect, is ignored."""
    with pytest.raises(TypeError, match=r"^size: '4' is not an int$"):
        codec("I", "4")  # type: ignore[call-overload]
    with pytest.raises(CodecError, match=r"^size: 0 bytes, but must be at least 1$"):
        codec(bytes, 0)
    with pytest.raises(CodecError, match=r"^packed goes with a dataclass, not with 'IQ'$"):
        codec("IQ", packed=True)
    made = codec("IQ", 16)
    assert codec(made) is made
    with pytest.raises(CodecError, match=r"^size is 4 bytes, but codec\('IQ'\) takes 16"):
        codec(made, 4)


def test_struct_objects_keep_their_bytes() -> None:
    """Wrong: a Struct that the user has made gets padding that it does not have."""
    assert codec(struct.Struct("@QI")).size == 12
    assert codec(struct.Struct("<QI")).pack((1, 2)) == struct.pack("<QI", 1, 2)
    assert codec(struct.Struct("I")).pack(3) == struct.pack("I", 3)


def test_format_describes_the_bytes() -> None:
    """Wrong: memoryview.cast or struct, given the format, reads other values."""
    for text in ("b", "B", "h", "H", "i", "I", "q", "Q", "f", "d", "?", "l", "P", ORDER + "I"):
        made = codec(text)
        assert made.format is not None
        assert len(made.format) == 1
        packed = made.pack(1)
        assert memoryview(packed).cast(made.format)[0] == made.unpack(packed)  # type: ignore[call-overload]
    swapped = codec((">" if ORDER == "<" else "<") + "I")
    assert swapped.format is not None
    assert struct.unpack(swapped.format, swapped.pack(5)) == (5,)
    mixed = codec("B3sQ")
    assert mixed.format is not None
    packed = mixed.pack((1, b"abc", 9))
    assert struct.unpack(mixed.format, packed) == (1, b"abc", 9)


def test_equality_is_by_meaning() -> None:
    """Wrong: two maps' codecs compare unequal for spelling, or equal across meanings."""
    same = [codec("I"), codec("=I"), codec(ORDER + "I"), codec(u32), codec(CType("I"))]
    assert len(set(same)) == 1
    assert all(one == other for one in same for other in same)
    assert codec("q") == codec(s64) == codec("l")
    assert codec("IQ") == codec("=I4xQ")
    assert codec("<4s") == codec(">4s")
    assert codec(bytes, 8) == codec(8)
    assert PerCpu(codec("I"), 2) == PerCpu(codec(u32), 2)
    different = [
        codec("I"), codec("i"), codec("f"), codec("<I" if ORDER == ">" else ">I"), codec("4s"),
        codec(4), codec("HH"), codec("I4x"), codec(u64), codec("IQ"), codec("=IQ"), codec("QI"),
        PerCpu(codec("I"), 2), PerCpu(codec("I"), 3), PerCpu(codec("i"), 2),
        codec(">I4x"), codec("<I4x"), codec("4I"), codec("2Q"),
    ]  # fmt: skip
    for i, one in enumerate(different):
        for k, other in enumerate(different):
            assert (one == other) == (i == k or {i, k} == SAME_ON_THIS_MACHINE), (one, other)
    assert codec("I") != "I"


# "I4x" is one of "<I4x" and ">I4x", by their places in the list above.
SAME_ON_THIS_MACHINE = {7, 16} if ORDER == "<" else {7, 15}


@pytest.mark.parametrize("spec", ["I", "=IQ", "Q16s"])
def test_repr_makes_the_codec_again(spec: str) -> None:
    """Wrong: what an error message shows is another codec."""
    assert eval(repr(codec(spec))) == codec(spec)
    assert eval(repr(PerCpu(codec(spec), 3))) == PerCpu(codec(spec), 3)
    assert eval(repr(codec(7))) == codec(7)


def test_a_scalar_with_padding_stays_a_scalar() -> None:
    """Wrong: "I4x" gives a tuple, or its padding is not zero."""
    made = codec("I4x")
    assert made.pack(7) == struct.pack("=I4x", 7)
    assert list(made.iter_unpack(made.pack(7) + made.pack(8))) == [7, 8]
    with pytest.raises(CodecError, match=r"^-1 does not fit u32 \(0\.\.4294967295\)$"):
        made.pack(-1)


def test_no_field_names_no_offsets() -> None:
    """Wrong: asking a plain codec for a field fails without saying why."""
    assert dict(codec("IQ").offsets) == {}
    for made in (codec("I"), codec("IQ"), codec(4)):
        with pytest.raises(CodecError, match=r"has no field 'pid'; its fields: none$"):
            made.offsetof("pid")
