"""Global data and its variables, and externs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ebpf.btf.types import Datasec, Linkage, Var
from ebpf.errors import ElfError, FormatError
from ebpf.spec import CollectionSpec, ExternKind, KconfigType, RelocationKind
from ebpf.types import MapFlags, MapType

from .conftest import TARGETS, Compile
from .image import NOTYPE, PROGBITS, Image


@pytest.fixture(scope="session", params=TARGETS)
def data(compile_bpf: Compile, request: pytest.FixtureRequest) -> Path:
    return compile_bpf("data.bpf.c", request.param)


def test_values_are_those_of_the_source(data: Path) -> None:
    """A value read with the wrong sign, size, byte order or offset."""
    variables = CollectionSpec.from_file(data).variables
    scalars = {
        "tiny": -8,
        "shorter": 65535,
        "negative": -2,
        "largest": 2**64 - 1,
        "flag": True,
        "mode": 5,
        "big": 0x100000001,
        "ratio": 0.5,
        "precise": -0.1,
        "hits": 0,
        "target_pid": 0,
        "custom": 9,
        "weak_one": 10,
        "hidden_one": 11,
        "aside": 0,
        "knob": 12,
        "static_constant": 4242,
        "private_data": 77,
        "touch.count": 200,
        "counted.count": 100,
        "private_zero": 0,
        "greeting": b"hello",
        "filter": b"ab",
        "grid": ((1, 2, 3), (4, 5, 6)),
    }
    assert {name: variables[name].value for name in scalars} == scalars
    assert variables["mode"].value.name == "MODE_ON"
    # clang before 15 does not say in BTF that an enumeration has negative values.
    assert variables["minus"].value in (-1, 0xFFFFFFFF)
    assert variables["flag"].value is True
    packed = variables["packed"].value
    assert (packed.tag, packed.number) == (1, 0x01020304)


def test_fields_are_those_of_the_source(data: Path) -> None:
    """The compiler's own bytes: bitfields and unions lie elsewhere on big-endian machines."""
    spec = CollectionSpec.from_file(data)
    config = spec.variables["config"].value
    assert (config.name, config.address, config.port) == (b"eth0", b"\1\2\3\4\5\6", 443)
    assert [(point.x, point.y) for point in config.corners] == [(-1, 2), (3, -4)]
    assert (config.low, config.middle, config.high) == (5, -3, 0xABCDEF)
    assert (config.first, config.last) == (1, 2)
    halves = (1, 2) if spec.byte_order == "big" else (2, 1)
    assert config.whole == halves[0] << 32 | halves[1]
    assert (config.pointer, config.enabled, config.mode.name) == (
        *(0x1122334455667788, True, "MODE_ON"),
    )


def test_a_value_that_is_set_has_the_bytes_that_the_compiler_wrote(data: Path) -> None:
    """A field written to another place than it is read from would not be seen by a read back."""
    variable = CollectionSpec.from_file(data).variables["config"]
    compiled, value = variable.raw, variable.value
    fields = {name: value[name] for name in value._fields if name != "whole"}
    variable.raw = bytes(variable.size)
    variable.value = fields
    assert variable.raw == compiled
    variable.raw = bytes(variable.size)
    variable.value = value
    assert variable.raw == compiled


def test_variables_are_where_readelf_shows_the_symbols(
    data: Path, readelf: Callable[[Path], dict[str, Any]]
) -> None:
    """clang leaves the offsets of global variables out of the BTF."""
    spec = CollectionSpec.from_file(data)
    found = {
        name: (variable.section, variable.offset, variable.size)
        for name, variable in spec.variables.items()
    }
    symbols = [row["Symbol"] for row in readelf(data)["Symbols"]]
    expected = {
        row["Name"]["Name"]: (row["Section"]["Name"], row["Value"], row["Size"])
        for row in symbols
        if row["Type"]["Name"] == "Object"
        and row["Section"]["Name"].startswith((".data", ".bss", ".rodata"))
        and not row["Name"]["Name"].startswith((".L", "__const"))
    }
    assert found == expected


def test_linkage_and_constants(data: Path) -> None:
    """Only what is visible is mapped, and only .rodata cannot change once it is loaded."""
    variables = CollectionSpec.from_file(data).variables
    static = {name for name, v in variables.items() if v.linkage is Linkage.STATIC}
    assert static == {
        *("private_data", "private_zero", "static_constant", "hidden_one"),
        *("counted.count", "touch.count"),
    }
    assert {name for name, v in variables.items() if v.constant} == {
        *("target_pid", "static_constant", "filter", "knob"),
    }
    assert {name for name, v in variables.items() if v.weak} == {"weak_one"}


def test_maps_of_data(data: Path) -> None:
    """Zeroed, constant and hidden sections are maps of different flags."""
    maps = CollectionSpec.from_file(data, name="a_long_object_name").maps
    anonymous = (".rodata.str", ".rodata.cst")
    flags = {key: m.flags for key, m in maps.items() if not key.startswith(anonymous)}
    both = MapFlags.MMAPABLE | MapFlags.RDONLY_PROG
    assert flags == {
        ".data": MapFlags.MMAPABLE,
        ".bss": MapFlags.MMAPABLE,
        ".rodata": both,
        ".data.custom": MapFlags.MMAPABLE,
        ".bss.aside": MapFlags.MMAPABLE,
        ".rodata.knob": both,
        ".data.hidden": MapFlags(0),
    }
    assert {key for key, m in maps.items() if m.frozen and key in flags} == {
        *(".rodata", ".rodata.knob"),
    }
    assert maps[".rodata"].kernel_name == "a_long_o.rodata"
    assert maps[".bss"].kernel_name == "a_long_o.bss"
    assert maps[".data.custom"].kernel_name == ".data.custom"
    assert maps[".bss"].contents is None
    assert maps[".bss"].value_size >= 4008


def test_fixups_are_what_the_kernel_wants_to_read(data: Path) -> None:
    """The kernel refuses a DATASEC whose size is 0 or whose offsets are not ascending."""
    spec = CollectionSpec.from_file(data)
    assert spec.btf is not None
    fixed = spec.btf_fixups.apply(spec.btf).to_btf()
    sections = [type for type in fixed.types() if isinstance(type, Datasec)]
    compared = 0
    for section in sections:
        offsets = [variable.offset for variable in section.variables]
        assert offsets == sorted(offsets)
        if section.name not in spec.maps:
            continue
        assert section.size == spec.maps[section.name].value_size
        for variable in section.variables:
            var = fixed.type(variable.type_id)
            assert isinstance(var, Var)
            expected = spec.variables[var.name]
            assert (variable.offset, var.linkage) == (expected.offset, expected.linkage)
            compared += 1
    assert compared == len(spec.variables)


def test_without_btf_variables_are_the_symbols(compile_bpf: Compile) -> None:
    """An object that was compiled without -g still has its variables, as bytes."""
    with_btf = CollectionSpec.from_file(compile_bpf("data.bpf.c"))
    without = CollectionSpec.from_file(compile_bpf("data.bpf.c", "bpfel", "-g0"))
    assert set(without.variables) == set(with_btf.variables)
    for name, variable in with_btf.variables.items():
        assert without.variables[name].value == variable.raw, name


def test_data_is_referred_to_by_offset(data: Path) -> None:
    """An offset to another variable reads and writes something else."""
    spec = CollectionSpec.from_file(data)
    places = {
        (r.target, r.offset)
        for function in spec.functions.values()
        for r in function.relocations
        if r.kind is RelocationKind.DATA
    }
    for name in ("hits", "custom", "negative", "touch.count", "counted.count", "static_constant"):
        variable = spec.variables[name]
        assert (variable.section, variable.offset) in places, name


def test_arena_variables(compile_bpf: Compile) -> None:
    """They are no map of their own: they are in the arena that the object defines."""
    spec = CollectionSpec.from_file(compile_bpf("arena.bpf.c"))
    assert set(spec.maps) == {"arena", "wide_extra"}
    assert spec.maps["arena"].type is MapType.ARENA
    assert (spec.variables["before"].value, spec.variables["after"].value) == (3, 4)
    spec.variables["after"].value = 99
    at = spec.variables["after"].offset
    assert spec.maps["arena"].contents is not None
    assert spec.maps["arena"].contents[at : at + 8] == (99).to_bytes(8, "little")
    assert {r.target for r in spec.functions["bump"].relocations} == {"arena"}


def test_arena_variables_without_arena(compile_bpf: Compile) -> None:
    """There is nowhere to put them."""
    image = Image()
    image.section(".addr_space.1", PROGBITS, bytes(8))
    with pytest.raises(ElfError, match="no map of type ARENA"):
        CollectionSpec.from_bytes(image.build())


@pytest.mark.parametrize("target", TARGETS)
def test_externs(compile_bpf: Compile, target: str) -> None:
    """Each kind is looked for in another place of the kernel."""
    spec = CollectionSpec.from_file(compile_bpf("externs.bpf.c", target))
    kinds = {name: (e.kind, e.weak) for name, e in spec.externs.items()}
    assert kinds == {
        "LINUX_KERNEL_VERSION": (ExternKind.KCONFIG, False),
        "CONFIG_BPF_SYSCALL": (ExternKind.KCONFIG, False),
        "CONFIG_MODULES": (ExternKind.KCONFIG, True),
        "CONFIG_FIRST_LETTER": (ExternKind.KCONFIG, True),
        "CONFIG_WIDE": (ExternKind.KCONFIG, True),
        "CONFIG_SMALL": (ExternKind.KCONFIG, True),
        "CONFIG_DEFAULT_HOSTNAME": (ExternKind.KCONFIG, False),
        "CONFIG_HZ": (ExternKind.KCONFIG, False),
        "bpf_prog_put": (ExternKind.KSYM, False),
        "no_such_symbol": (ExternKind.KSYM, True),
        "bpf_prog_active": (ExternKind.TYPED_KSYM, False),
        "runqueues": (ExternKind.TYPED_KSYM, True),
        "bpf_task_acquire": (ExternKind.KFUNC, False),
        "bpf_task_release": (ExternKind.KFUNC, False),
        "no_such_kfunc___flavour": (ExternKind.KFUNC, True),
    }
    calls = [
        r.target
        for r in spec.functions["use_all"].relocations
        if r.kind is RelocationKind.EXTERN_CALL
    ]
    assert set(calls) == {"bpf_task_acquire", "bpf_task_release", "no_such_kfunc___flavour"}


def test_kernel_options_are_laid_out_by_alignment_size_and_name(compile_bpf: Compile) -> None:
    """libbpf's order; a skeleton and the program's instructions rely on it."""
    spec = CollectionSpec.from_file(compile_bpf("externs.bpf.c"))
    options = [e for e in spec.externs.values() if e.kind is ExternKind.KCONFIG]
    options.sort(key=lambda option: option.offset)
    assert [(o.name, o.offset, o.size, o.kconfig, o.signed) for o in options] == [
        ("CONFIG_WIDE", 0, 8, KconfigType.INT, False),
        ("CONFIG_HZ", 8, 4, KconfigType.INT, True),
        ("CONFIG_MODULES", 12, 4, KconfigType.TRISTATE, False),
        ("LINUX_KERNEL_VERSION", 16, 4, KconfigType.INT, False),
        ("CONFIG_SMALL", 20, 2, KconfigType.INT, True),
        ("CONFIG_BPF_SYSCALL", 22, 1, KconfigType.BOOL, False),
        ("CONFIG_FIRST_LETTER", 23, 1, KconfigType.CHAR, True),
        ("CONFIG_DEFAULT_HOSTNAME", 24, 7, KconfigType.TEXT, False),
    ]
    kconfig = spec.maps[".kconfig"]
    assert (kconfig.value_size, kconfig.frozen) == (31, True)
    assert spec.btf is not None
    fixed = spec.btf_fixups.apply(spec.btf).to_btf()
    (section,) = [t for t in fixed.types() if isinstance(t, Datasec) and t.name == ".kconfig"]
    names = [(fixed.type(v.type_id).name, v.offset) for v in section.variables]
    assert names == [(option.name, option.offset) for option in options]


@pytest.mark.parametrize("type", ["float", "struct { int a; }", "enum { X }", "u32 *"])
def test_kernel_options_of_other_types(compile_bpf: Compile, type: str) -> None:
    """No kernel option can be written as such a value."""
    source = f"""
        #include "bpf.h"
        extern {type} CONFIG_X KCONFIG;
        SEC("tc") int f(void *c) {{ return *(volatile u8 *)&CONFIG_X; }}
    """
    with pytest.raises(FormatError, match=r"extern 'CONFIG_X' in .kconfig: an option is"):
        CollectionSpec.from_file(compile_bpf(source))


def test_what_another_object_defines(compile_bpf: Compile) -> None:
    """An object to be linked is no error until it is loaded alone."""
    source = """
        #include "bpf.h"
        extern int elsewhere(int);
        SEC("tc") int f(void *c) { return elsewhere(1); }
    """
    spec = CollectionSpec.from_file(compile_bpf(source))
    assert spec.externs["elsewhere"].kind is ExternKind.UNDEFINED


def test_a_variable_outside_of_its_section() -> None:
    """Its value would be read from whatever follows."""
    image = Image()
    section = image.section(".data", PROGBITS, bytes(8))
    image.symbol("far", section, 4, 8, NOTYPE)
    with pytest.raises(ElfError, match="'far' of 8 bytes is outside of its 8"):
        CollectionSpec.from_bytes(image.build())
