"""Layouts and bytes against a C compiler, which is the one that BPF programs agree with."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpf.codec import (
    Array,
    Char,
    Codec,
    Pad,
    Raw,
    be16,
    be32,
    be64,
    codec,
    f32,
    f64,
    s8,
    s16,
    s32,
    s64,
    u8,
    u16,
    u32,
    u64,
)

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (cc)")

INTEGERS: dict[str, tuple[Any, int, bool]] = {
    "uint8_t": (u8, 8, False), "uint16_t": (u16, 16, False), "uint32_t": (u32, 32, False),
    "uint64_t": (u64, 64, False), "int8_t": (s8, 8, True), "int16_t": (s16, 16, True),
    "int32_t": (s32, 32, True), "int64_t": (s64, 64, True), "__be16": (be16, 16, False),
    "__be32": (be32, 32, False), "__be64": (be64, 64, False),
}  # fmt: skip
FLOATS = {"float": (f32, 32), "double": (f64, 64)}
HEADERS = "\n".join(
    f"#include <{name}>"
    for name in ("stdbool.h", "stddef.h", "stdint.h", "stdio.h", "string.h", "linux/types.h")
)


class Kind:
    """A field's type in both languages, and the values that it takes."""

    annotation: Any
    values: st.SearchStrategy[Any]

    def declare(self, name: str) -> str:
        raise NotImplementedError


class Integer(Kind):
    def __init__(self, ctype: str) -> None:
        self.annotation, bits, signed = INTEGERS[ctype]
        self.ctype = ctype
        low = -(1 << bits - 1) if signed else 0
        self.values = st.integers(low, low + (1 << bits) - 1)

    def declare(self, name: str) -> str:
        return f"{self.ctype} {name};"


class Float(Kind):
    def __init__(self, ctype: str) -> None:
        self.annotation, bits = FLOATS[ctype]
        self.ctype = ctype
        self.values = st.floats(width=bits, allow_nan=False)  # type: ignore[arg-type]

    def declare(self, name: str) -> str:
        return f"{self.ctype} {name};"


class Bool(Kind):
    annotation = bool
    values = st.booleans()

    def declare(self, name: str) -> str:
        return f"bool {name};"


class Bytes(Kind):
    def __init__(self, marker: str, size: int) -> None:
        self.size = size
        text = st.binary(max_size=size).map(lambda value: value.partition(b"\0")[0])
        choices: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
            "raw": (Annotated[bytes, Raw(size)], st.binary(min_size=size, max_size=size)),
            "char": (Annotated[bytes, Char(size)], text),
            "str": (
                Annotated[str, Char(size)],
                text.map(lambda value: value.decode("utf-8", "surrogateescape")),
            ),
            "pad": (Annotated[bytes, Pad(size)], st.just(bytes(size))),
        }
        self.annotation, self.values = choices[marker]

    def declare(self, name: str) -> str:
        return f"char {name}[{self.size}];"


class ArrayKind(Kind):
    def __init__(self, element: Kind, count: int, as_tuple: bool) -> None:
        self.element, self.count = element, count
        container: Any = tuple if as_tuple else list
        self.annotation = Annotated[container, Array(element.annotation, count)]
        lists = st.lists(element.values, min_size=count, max_size=count)
        self.values = lists.map(container)

    def declare(self, name: str) -> str:
        return self.element.declare(f"{name}[{self.count}]")


class Struct(Kind):
    def __init__(self, fields: list[Kind]) -> None:
        self.fields = {f"f{i}": field for i, field in enumerate(fields)}
        members = [(name, field.annotation) for name, field in self.fields.items()]
        self.annotation = dataclasses.make_dataclass("Generated", members)
        self.values = st.builds(
            self.annotation, **{name: field.values for name, field in self.fields.items()}
        )

    def body(self) -> str:
        return " ".join(field.declare(name) for name, field in self.fields.items())

    def declare(self, name: str) -> str:
        return f"struct {{ {self.body()} }} {name};"

    def paths(self, prefix: str = "") -> list[str]:
        """Every field, with those of nested structs and of the last struct in an array."""
        found = []
        for name, field in self.fields.items():
            path = prefix + name
            found.append(path)
            while isinstance(field, ArrayKind):
                path += f"[{field.count - 1}]"
                found.append(path)
                field = field.element
            if isinstance(field, Struct):
                found += field.paths(path + ".")
        return found


sizes = st.integers(1, 19)
leaves = st.one_of(
    st.sampled_from(sorted(INTEGERS)).map(Integer),
    st.sampled_from(sorted(FLOATS)).map(Float),
    st.builds(Bool),
    st.builds(Bytes, st.sampled_from(["raw", "char", "str"]), sizes),
)
fields = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(ArrayKind, inner, st.integers(1, 4), st.booleans()),
        st.builds(Struct, st.lists(inner, min_size=1, max_size=4)),
    ),
    max_leaves=6,
)
members = st.one_of(fields, st.builds(Bytes, st.just("pad"), sizes))
# The first field is one with a value: a class of nothing but padding has no use.
structs = st.tuples(fields, st.lists(members, max_size=6)).map(lambda t: Struct([t[0], *t[1]]))


def run_c(source: str) -> bytes:
    """What a C program writes to its standard output."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "layout.c")
        path.write_text(source)
        program = str(path.with_suffix(""))
        subprocess.run(["cc", "-w", "-O0", "-o", program, str(path)], check=True)
        return subprocess.run([program], check=True, capture_output=True).stdout


def layouts_in_c(kinds: list[tuple[Struct, bool]]) -> list[list[int]]:
    """For each struct its size and the offsets of its paths."""
    types, lines = [], []
    for i, (kind, packed) in enumerate(kinds):
        attribute = "__attribute__((packed))" if packed else ""
        types.append(f"struct s{i} {{ {kind.body()} }} {attribute};")
        numbers = [f"sizeof(struct s{i})"]
        numbers += [f"offsetof(struct s{i}, {path})" for path in kind.paths()]
        lines += [f'printf("%zu ", {number});' for number in numbers] + ['puts("");']
    source = "\n".join([HEADERS, *types, "int main(void) {", *lines, "return 0; }"])
    return [[int(word) for word in line.split()] for line in run_c(source).splitlines()]


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(structs, st.booleans()), min_size=20, max_size=40))
def test_sizes_and_offsets_are_those_of_the_compiler(kinds: list[tuple[Struct, bool]]) -> None:
    """Wrong: Python and a BPF program disagree about where a field is."""
    for (kind, packed), numbers in zip(kinds, layouts_in_c(kinds), strict=True):
        made: Codec[Any] = codec(kind.annotation, packed=packed)
        assert [made.size, *map(made.offsetof, kind.paths())] == numbers, kind.body()
        assert dict(made.offsets) == {name: made.offsetof(name) for name in kind.fields}


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), structs, st.booleans())
def test_values_survive(data: st.DataObject, kind: Struct, packed: bool) -> None:
    """Wrong: some combination of fields, padding and nesting changes a value on its way."""
    made: Codec[Any] = codec(kind.annotation, packed=packed)
    values = data.draw(st.lists(kind.values, min_size=1, max_size=3))
    run = b"".join(map(made.pack, values))
    assert len(run) == made.size * len(values)
    assert list(made.iter_unpack(run)) == values
    assert [made.unpack(run[i * made.size :][: made.size]) for i in range(len(values))] == values


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(st.sampled_from("?bBhHiIlLqQfd"), min_size=1), min_size=20, max_size=40))
def test_formats_have_the_size_of_the_c_struct(formats: list[list[str]]) -> None:
    """Wrong: a format without prefix has another size than the struct it stands for."""
    ctypes = {
        "?": "bool", "b": "int8_t", "B": "uint8_t", "h": "short", "H": "unsigned short",
        "i": "int", "I": "unsigned", "l": "int64_t", "L": "uint64_t", "q": "long long",
        "Q": "unsigned long long", "f": "float", "d": "double",
    }  # fmt: skip
    lines = []
    for codes in formats:
        body = " ".join(f"{ctypes[code]} f{i};" for i, code in enumerate(codes))
        lines.append(f'printf("%zu\\n", sizeof(struct {{ {body} }}));')
    numbers = run_c("\n".join([HEADERS, "int main(void) {", *lines, "return 0; }"])).split()
    assert [codec("".join(codes)).size for codes in formats] == [int(n) for n in numbers]


@dataclass
class Inner:
    small: s8
    large: s64


@dataclass
class Sample:
    flag: bool
    word: s32
    big: u64
    name: Annotated[bytes, Char(5)]
    inner: Annotated[list[Inner], Array(Inner, 2)]
    port: be16
    address: be32
    ratio: f32
    precise: f64
    mac: Annotated[bytes, Raw(6)]
    unused: ClassVar[int] = 3


SAMPLE = Sample(
    True, -7, 2**64 - 2, b"abc", [Inner(-1, -2), Inner(3, 4)], 443, 0x7F000001, 0.25, -1e300,
    b"\1\2\3\4\5\6",
)  # fmt: skip
SAMPLE_C = """
struct inner { signed char small; long long large; };
struct sample {
    bool flag; int32_t word; uint64_t big; char name[5]; struct inner inner[2];
    __be16 port; __be32 address; float ratio; double precise; char mac[6];
};
int main(void) {
    struct sample s;
    memset(&s, 0, sizeof s);
    s.flag = true; s.word = -7; s.big = (uint64_t)-2; memcpy(s.name, "abc", 3);
    s.inner[0].small = -1; s.inner[0].large = -2; s.inner[1].small = 3; s.inner[1].large = 4;
    s.port = htons(443); s.address = htonl(0x7f000001); s.ratio = 0.25f; s.precise = -1e300;
    memcpy(s.mac, "\\1\\2\\3\\4\\5\\6", 6);
    fwrite(&s, sizeof s, 1, stdout);
    return 0;
}
"""


def test_bytes_are_those_that_c_writes() -> None:
    """Wrong: a value is stored with another sign, width or byte order than C's."""
    written = run_c("#include <arpa/inet.h>\n" + HEADERS + SAMPLE_C)
    assert codec(Sample).pack(SAMPLE) == written
    assert codec(Sample).unpack(written) == SAMPLE
