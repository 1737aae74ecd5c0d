"""Fields of structs whose layout changed, read as a relocated program reads them.

The target's memory is written by a C program of that layout; the local layout is only compiled.
"""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.core import CoreKind, CoreRelocation, Relocator
from ebpf.errors import RelocationError

from ..conftest import tool
from .support import compile_c

TYPES = ["char", "signed char", "unsigned char", "short", "unsigned short", "int", "unsigned int"]
TYPES += ["long long", "unsigned long long", "_Bool"]
STRUCTS = 25
FIELDS = 6

Field = tuple[str, str, int]  # name, type, bits or 0


def width(type: str) -> int:
    sizes = {"char": 8, "short": 16, "int": 32, "long": 64, "_Bool": 1}
    return next(bits for word, bits in sizes.items() if word in type.split())


def layout(source: random.Random) -> list[Field | list[Field]]:
    """Fields f0.. in any order, some in anonymous structs, some of them bitfields."""
    names = [f"f{i}" for i in range(FIELDS)]
    source.shuffle(names)
    entries: list[Field | list[Field]] = []
    while names:
        group = [names.pop() for _ in range(min(len(names), source.choice([1, 1, 2])))]
        fields = []
        for name in group:
            type = source.choice(TYPES)
            bits = source.randint(1, width(type)) if source.random() < 0.5 else 0
            fields.append((name, type, bits))
        entries += [fields] if source.random() < 0.3 else fields
        if source.random() < 0.3:
            entries.append((f"pad{len(entries)}", source.choice(TYPES), 0))
    return entries


def declare(name: str, entries: list[Field | list[Field]], packed: bool = False) -> str:
    def line(field: Field) -> str:
        member, type, bits = field
        return f"{type} {member}{f' : {bits}' if bits else ''};"

    lines = [
        line(entry) if isinstance(entry, tuple) else f"struct {{ {' '.join(map(line, entry))} }};"
        for entry in entries
    ]
    attribute = " __attribute__((packed))" if packed else ""
    return f"struct {name} {{ {' '.join(lines)} }}{attribute};\n"


WRITER = """
#include <stdio.h>
#include <string.h>
%s
#define SHOW(type, field, value) do { \\
    struct type s; memset(&s, 0, sizeof s); s.field = value; \\
    printf("%%s %%s %%lld ", #type, #field, (long long)s.field); \\
    for (unsigned i = 0; i < sizeof s; i++) printf("%%02x", ((unsigned char *)&s)[i]); \\
    puts(""); } while (0)
int main(void) { %s return 0; }
"""


def written(directory: Path, structs: str) -> list[tuple[str, str, int, bytes]]:
    """(struct, field, value, memory) for each field and some values, from a C program."""
    shows = "".join(
        f"SHOW(s{number}, f{field}, {value}LL);"
        for number in range(STRUCTS)
        for field in range(FIELDS)
        for value in (-1, 1, 0x5A5A5A5A5A5A5A5A)
    )
    source, program = directory / "writer.c", directory / "writer"
    source.write_text(WRITER % (structs, shows))
    subprocess.run([tool("clang-19", "clang", "cc"), "-w", source, "-o", program], check=True)
    lines = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in lines.splitlines()]
    return [
        (struct, field, int(value), bytes.fromhex(memory)) for struct, field, value, memory in rows
    ]


def read(relocator: Relocator, type_id: int, access: str, memory: bytes) -> int:
    """The value as BPF_CORE_READ_BITFIELD computes it."""

    def ask(kind: CoreKind) -> int:
        result = relocator.resolve(CoreRelocation(0, type_id, access, kind))
        assert not result.poison
        return result.value

    offset, size = ask(CoreKind.FIELD_BYTE_OFFSET), ask(CoreKind.FIELD_BYTE_SIZE)
    word = int.from_bytes(memory[offset : offset + size].ljust(size, b"\0"), "little")
    word = word << ask(CoreKind.FIELD_LSHIFT_U64) & 0xFFFFFFFFFFFFFFFF
    if ask(CoreKind.FIELD_SIGNED):
        word -= (word >> 63) << 64
    return word >> ask(CoreKind.FIELD_RSHIFT_U64)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layouts")


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_fields_are_read_from_where_the_target_has_them(
    seed: int, clang: str, workplace: Path
) -> None:
    """Fails when offset, size, sign or a shift of a field differ from what the C compiler does."""
    source = random.Random(seed)
    here = "".join(declare(f"s{i}", layout(source)) for i in range(STRUCTS))
    there = "".join(declare(f"s{i}", layout(source), i % 3 == 0) for i in range(STRUCTS))
    uses = "".join(f"struct s{i} v{i};\n" for i in range(STRUCTS))
    for name, text in (("here", here), ("there", there)):
        (workplace / f"{name}.c").write_text(text + uses)
    local = compile_c(clang, workplace / "here.c", workplace / "here.o").btf
    target = compile_c(clang, workplace / "there.c", workplace / "there.o").btf
    relocator = Relocator(local, [target])
    paths = {f"s{i}": access_strings(local, f"s{i}") for i in range(STRUCTS)}
    rows = written(workplace, there)
    assert len(rows) == 3 * STRUCTS * FIELDS
    for struct, field, value, memory in rows:
        type_id = local.find(struct).id
        # A 64-bit value of an unsigned field comes out of printf as a negative one.
        try:
            found = read(relocator, type_id, paths[struct][field], memory)
        except RelocationError:
            place = target.find_struct(struct).field(field)
            first, last = place.bit_offset, place.bit_offset + place.bitfield_size - 1
            assert first // 64 < last // 64, "no single load has these bits"
            continue
        assert found & 0xFFFFFFFFFFFFFFFF == value & 0xFFFFFFFFFFFFFFFF, (struct, field)


def access_strings(btf: Btf, name: str) -> dict[str, str]:
    """The access string of each field of a struct, through its anonymous structs."""
    outer = btf.find(name)
    assert isinstance(outer, t.Struct)
    found = {}
    for index, member in enumerate(outer.members):
        if member.name:
            found[member.name] = f"0:{index}"
            continue
        inner = btf.type(member.type_id)
        assert isinstance(inner, t.Struct)
        for deeper, part in enumerate(inner.members):
            found[part.name] = f"0:{index}:{deeper}"
    return found
