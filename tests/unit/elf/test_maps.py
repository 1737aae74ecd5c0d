"""Map definitions: in BTF, in legacy structs, in .struct_ops."""

from __future__ import annotations

import pytest

from ebpf.errors import ElfError, FormatError, RelocationError
from ebpf.spec import CollectionSpec, Iproute2, Pinning
from ebpf.types import MapFlags, MapType

from .conftest import TARGETS, Compile
from .image import OBJECT, PROGBITS, Image


@pytest.mark.parametrize("target", TARGETS)
def test_initial_slots(compile_bpf: Compile, target: str) -> None:
    """A slot off by one calls another program, or looks into another map."""
    spec = CollectionSpec.from_file(compile_bpf("maps.bpf.c", target))
    assert spec.maps["outer_array"].slots == {1: "inner_b", 4: "inner_a"}
    assert spec.maps["jumps"].slots == {0: "target_b", 3: "target_a"}
    assert spec.maps["outer_hash"].slots == {}
    inner = spec.maps["outer_hash"].inner
    assert inner is not None
    assert (inner.type, inner.key_size, inner.value_size) == (MapType.HASH, 8, 16)


def test_types_are_those_of_the_source(compile_bpf: Compile) -> None:
    """The kernel shows keys and values by these types."""
    spec = CollectionSpec.from_file(compile_bpf("maps.bpf.c"))
    pinned = spec.maps["pinned"]
    assert spec.btf is not None
    assert spec.btf.type(pinned.key_type_id).name == "key"
    assert spec.btf.type(pinned.value_type_id).name == "value"
    assert pinned.pinning is Pinning.BY_NAME
    assert pinned.flags == MapFlags.NO_PREALLOC | MapFlags.NUMA_NODE


def test_numbers_of_64_bits(compile_bpf: Compile) -> None:
    """A number that was cut to 32 bits puts an arena at another address."""
    spec = CollectionSpec.from_file(compile_bpf("arena.bpf.c"))
    assert spec.maps["arena"].map_extra == 1 << 44
    assert spec.maps["wide_extra"].map_extra == 0x123456789ABC


MAP = 'struct { %s } m SEC(".maps") %s;\n'
HASH = "NUMBER(type, HASH); NUMBER(max_entries, 1); TYPE(key, u32); TYPE(value, u64);"
PROGRAM = 'SEC("tc") int f(void *c) { return 0; }\n'


@pytest.mark.parametrize(
    ("fields", "value", "words"),
    [
        (HASH + "NUMBER(colour, 3);", "", "unknown field 'colour'"),
        ("NUMBER(max_entries, 1);", "", "no field 'type'"),
        (HASH + "NUMBER(key_size, 8);", "", "key_size is 4 and 8"),
        ("NUMBER(value_size, 4);" + HASH, "", "value_size is 4 and 8"),
        (HASH + "NUMBER(pinning, 2);", "", "pinning 2"),
        (HASH + "int numa_node;", "", "'numa_node' is INT; declare it with __uint"),
        (HASH + "int *map_flags;", "", "'map_flags' points to INT"),
        ("NUMBER(type, HASH); u32 key;", "", "'key' is TYPEDEF; declare it with __type"),
        (HASH + "enum { A, B } map_extra;", "", "an enum of 2 values"),
        (HASH + "ELEMENTS(values, struct { NUMBER(type, HASH); });", "", "another type than map"),
        (
            "NUMBER(type, ARRAY_OF_MAPS); ELEMENTS(values, struct { NUMBER(pinning, 1); });",
            "",
            "'pinning' is for outer maps",
        ),
        (
            "NUMBER(type, ARRAY_OF_MAPS); NUMBER(value_size, 8); ELEMENTS(values, int);",
            "",
            "value_size is 8 and 4",
        ),
        (
            "NUMBER(type, ARRAY_OF_MAPS); ELEMENTS(values, int);",
            "",
            "point to INT, not to a struct",
        ),
        ("NUMBER(type, PROG_ARRAY); ELEMENTS(values, int);", "", "program array point to INT"),
        (
            "NUMBER(type, PROG_ARRAY); ELEMENTS(values, int(void *));",
            "= {.values = {(void *)&text}}",
            "'text' in 'values' is no program",
        ),
        (
            "NUMBER(type, HASH_OF_MAPS); NUMBER(key_size, 8);"
            "ELEMENTS(values, struct { NUMBER(type, HASH); });",
            "= {.values = {(void *)&other}}",
            "keys of 8 bytes, not 4",
        ),
        (
            "NUMBER(type, ARRAY_OF_MAPS); ELEMENTS(values, struct { NUMBER(type, HASH); });",
            "= {.values = {(void *)&f}}",
            "'f' in 'values' is no map",
        ),
    ],
)
def test_definitions_that_libbpf_refuses(
    compile_bpf: Compile, fields: str, value: str, words: str
) -> None:
    """A field that is not understood says something that the map would not be."""
    source = '#include "bpf.h"\nint text = 1;\n' + PROGRAM
    source += 'struct { NUMBER(type, HASH); } other SEC(".maps");\n' + MAP % (fields, value)
    with pytest.raises(FormatError, match=words) as raised:
        CollectionSpec.from_file(compile_bpf(source))
    assert "map 'm'" in str(raised.value)


def test_static_maps_are_refused(compile_bpf: Compile) -> None:
    """libbpf takes none, since nothing outside of the file can refer to it."""
    source = '#include "bpf.h"\nstatic ' + MAP % (HASH, "")
    source += 'SEC("tc") int f(void *c) { u32 k = 0; return !!map_lookup(&m, &k); }\n'
    with pytest.raises(ElfError, match="map 'm': is static"):
        CollectionSpec.from_file(compile_bpf(source))


def test_a_definition_that_is_no_struct(compile_bpf: Compile) -> None:
    """Its BTF says nothing about the map."""
    with pytest.raises(ElfError, match="not by a struct"):
        CollectionSpec.from_file(compile_bpf('#include "bpf.h"\nint m SEC(".maps");\n'))


def test_maps_without_btf(compile_bpf: Compile) -> None:
    """The definition is in the BTF alone; the message must say so."""
    path = compile_bpf("maps.bpf.c", "bpfel", "-g0")
    with pytest.raises(
        ElfError, match="described in BTF, which the object lacks; compile it with -g"
    ):
        CollectionSpec.from_file(path)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("debug", ["-g", "-g0"])
def test_legacy_definitions(compile_bpf: Compile, target: str, debug: str) -> None:
    """What old objects define as bytes; libbpf 0.x read them so."""
    spec = CollectionSpec.from_file(compile_bpf("legacy_maps.bpf.c", target, debug))
    facts = {
        key: (m.type, m.key_size, m.value_size, m.max_entries, m.flags)
        for key, m in spec.maps.items()
    }
    assert facts == {
        "hash": (MapType.HASH, 4, 8, 10, MapFlags.NO_PREALLOC),
        "array": (MapType.ARRAY, 4, 16, 2, MapFlags(0)),
        "events": (MapType.PERF_EVENT_ARRAY, 4, 4, 0, MapFlags(0)),
    }
    targets = [r.target for r in spec.functions["filter"].relocations]
    assert targets == ["hash", "array", "events"]


@pytest.mark.parametrize("extra", [1, 3, 4, 60])
def test_longer_legacy_definitions(compile_bpf: Compile, extra: int) -> None:
    """gobpf's struct has 280 bytes, others 24 or 32: the distance of the symbols tells."""
    source = (
        f"#define EXTRA_FIELDS {extra}\n"
        '#include "legacy_maps.bpf.c"\n'
        'struct bpf_map_def SEC("maps") last = {.type = ARRAY, .extra = {7}};\n'
    )
    spec = CollectionSpec.from_file(compile_bpf(source))
    assert list(spec.maps) == ["hash", "array", "last", "events"]
    assert spec.maps["array"].value_size == 16
    assert spec.maps["array"].extra == b""
    assert spec.maps["last"].extra == bytes([7]) + bytes(4 * extra - 1)


@pytest.mark.parametrize("debug", ["-g", "-g0"])
def test_iproute2_definitions(compile_bpf: Compile, debug: str) -> None:
    """iproute2 numbers its maps, and puts one into another by these numbers."""
    spec = CollectionSpec.from_file(compile_bpf("iproute2_maps.bpf.c", "bpfel", debug))
    assert spec.maps["shared"].iproute2 == Iproute2(0, 2, 0, -1)
    assert spec.maps["outside"].slots == {3: "inside"}
    inner = spec.maps["outside"].inner
    assert inner is not None
    assert (inner.type, inner.max_entries) == (MapType.ARRAY, 1)


def test_legacy_definitions_that_are_too_short() -> None:
    """There is no map without a type and sizes."""
    image = Image()
    section = image.section("maps", PROGBITS, bytes(24))
    image.symbol("first", section, 0, 20, OBJECT)
    image.symbol("second", section, 20, 4, OBJECT)
    with pytest.raises(ElfError, match="'second' is defined by 4 bytes, at least 20"):
        CollectionSpec.from_bytes(image.build())
    image = Image()
    image.section("maps", PROGBITS, bytes(24))
    with pytest.raises(ElfError, match="no symbol in it"):
        CollectionSpec.from_bytes(image.build())


@pytest.mark.parametrize("target", TARGETS)
def test_struct_ops(compile_bpf: Compile, target: str) -> None:
    """A function pointer at the wrong member runs the wrong program in the kernel."""
    spec = CollectionSpec.from_file(compile_bpf("struct_ops.bpf.c", target))
    found = {key: (m.struct_ops, m.autocreate) for key, m in spec.maps.items()}
    assert list(found) == ["plain", "second_plain", "linked", "optional"]
    programs = {key: ops.programs for key, (ops, _) in found.items() if ops}
    assert programs == {
        "plain": {"init": "init_a", "event": "event_a"},
        "second_plain": {"event": "event_a"},
        "linked": {"event": "event_a"},
        "optional": {"init": "init_a"},
    }
    assert [ops.link for ops, _ in found.values() if ops] == [False, False, True, True]
    assert [created for _, created in found.values()] == [True, True, True, False]
    plain = spec.maps["plain"]
    number = plain.read(8, 4)
    assert int.from_bytes(number, "little" if target == "bpfel" else "big") == 7
    assert plain.read(24, 8) == b"plain\0\0\0"


def test_struct_ops_of_what_is_no_program(compile_bpf: Compile) -> None:
    """The kernel can only call what was loaded as a program."""
    source = """
        #include "bpf.h"
        static int f(u64 *c) { return 0; }
        SEC(".struct_ops") struct ops { int (*f)(u64 *); } o = {.f = f};
    """
    with pytest.raises(RelocationError, match=r"map .o.: .* is no program"):
        CollectionSpec.from_file(compile_bpf(source))
