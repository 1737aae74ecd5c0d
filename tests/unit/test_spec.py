"""Specs as values: changed, copied, shown, checked."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ebpf import Collection
from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.errors import CodecError, ElfError, LinkError
from ebpf.spec import (
    CollectionSpec,
    ExternKind,
    ExternSpec,
    FunctionSpec,
    MapSpec,
    ProgramSpec,
    Relocation,
    RelocationKind,
    StructOps,
    VariableSpec,
)
from ebpf.types import MapFlags, MapType, ProgramType


def sample() -> CollectionSpec:
    """A spec made by hand: two programs, a map of data with a typed variable, a map of maps."""
    builder = BtfBuilder(sys.byteorder)
    integer = builder.add(t.Int(name="int", size=4, bits=32, encoding=t.IntEncoding.SIGNED))
    data = MapSpec(".data", MapType.ARRAY, 4, 16, 1, data=True, object_name="sample")
    data.contents = bytearray(range(16))
    outer = MapSpec("outer", MapType.ARRAY_OF_MAPS, 4, 4, 2, inner=MapSpec("i", MapType.HASH))
    outer.slots[1] = "other"
    spec = CollectionSpec("sample", byte_order=sys.byteorder, btf=builder.to_btf())
    spec.maps = {".data": data, "outer": outer}
    spec.variables["number"] = VariableSpec(
        "number", ".data", 4, 4, data, type_id=integer, btf=spec.btf
    )
    spec.variables["bytes"] = VariableSpec("bytes", ".data", 8, 8, data)
    for name in ("first", "second"):
        spec.functions[name] = FunctionSpec(name, "xdp", 0, bytes(16))
        spec.programs[name] = ProgramSpec(name, name, "xdp", ProgramType.XDP)
    return spec


def test_setting_a_variable_changes_the_contents_of_its_map() -> None:
    """The map is what the kernel gets: a value kept elsewhere would never arrive."""
    spec = sample()
    spec.variables["number"].value = -2
    assert spec.variables["number"].value == -2
    assert spec.maps[".data"].contents is not None
    assert spec.maps[".data"].contents[4:8] == (-2).to_bytes(4, sys.byteorder, signed=True)
    assert spec.maps[".data"].contents[:4] == bytes(range(4))
    assert spec.maps[".data"].contents[8:] == bytes(range(8, 16))


def test_values_that_do_not_fit_change_nothing() -> None:
    """A value that was cut to fit is another value."""
    spec = sample()
    number = spec.variables["number"]
    for wrong in (1 << 31, "1", 1.0, None, True, [1]):
        with pytest.raises(CodecError, match="variable 'number'"):
            number.value = wrong
    with pytest.raises(CodecError, match="3 bytes, it has 4"):
        number.raw = b"abc"
    with pytest.raises(CodecError, match="variable 'bytes'"):
        spec.variables["bytes"].value = b"too short"[:7]
    assert spec.maps[".data"].contents == bytearray(range(16))


def test_untyped_variables_are_bytes() -> None:
    """An object without BTF still has names and sizes."""
    spec = sample()
    spec.variables["bytes"].value = b"12345678"
    assert spec.variables["bytes"].value == b"12345678"
    assert spec.maps[".data"].read(8, 8) == b"12345678"


def test_a_variable_whose_type_is_larger_than_itself() -> None:
    """Its value would run over the next variable."""
    spec = sample()
    spec.variables["number"].size = 2
    with pytest.raises(CodecError, match="has 2 bytes, but its type has 4"):
        spec.variables["number"].value = 1


def test_zeros_are_kept_as_none_until_they_change() -> None:
    """A .bss of gigabytes costs nothing, and a map that was never written stays so."""
    spec = MapSpec(".bss", MapType.ARRAY, 4, 1 << 31, 1, data=True)
    assert spec.read(1 << 30, 4) == bytes(4)
    spec.write(0, bytes(8))
    assert spec.contents is None
    small = MapSpec(".bss", MapType.ARRAY, 4, 8, 1, data=True)
    small.write(2, b"ab")
    assert small.contents == bytearray(b"\0\0ab\0\0\0\0")
    with pytest.raises(CodecError, match=r"bytes 6\.\.10 are outside of its 8"):
        small.write(6, b"abcd")
    with pytest.raises(CodecError, match="outside"):
        small.read(-1, 2)


def test_a_copy_shares_nothing_that_changes() -> None:
    """One object is often loaded twice with different settings."""
    spec = sample()
    spec.maps["ops"] = MapSpec("ops", MapType.STRUCT_OPS, struct_ops=StructOps(1, {}, False))
    copy = spec.copy()
    copy.variables["number"].value = 77
    copy.maps["outer"].max_entries = 99
    copy.maps["outer"].slots[0] = "more"
    assert copy.maps["outer"].inner is not None
    copy.maps["outer"].inner.max_entries = 5
    assert copy.maps["ops"].struct_ops is not None
    copy.maps["ops"].struct_ops.programs["init"] = "first"
    copy.programs["first"].target = "elsewhere"
    copy.functions["first"].code = b""
    del copy.programs["second"]
    original = sample()
    assert spec.maps[".data"].contents == original.maps[".data"].contents
    assert spec.maps["outer"] == original.maps["outer"]
    assert spec.maps["ops"].struct_ops == StructOps(1, {}, False)
    assert spec.programs == original.programs
    assert spec.functions == original.functions
    assert copy.variables["number"].map is copy.maps[".data"]
    assert copy.btf is spec.btf


def test_select_turns_the_others_off() -> None:
    """Programs that were not chosen must not be loaded, and a misspelt one is no choice."""
    spec = sample()
    spec.select("second")
    assert [name for name, p in spec.programs.items() if p.autoload] == ["second"]
    with pytest.raises(KeyError, match=r"no program 'third'.*first, second"):
        spec.select("first", "third")
    assert [name for name, p in spec.programs.items() if p.autoload] == ["second"]


def test_a_program_without_a_type_is_named_with_the_remedy() -> None:
    """The kernel's EINVAL would say neither which program nor why."""
    spec = sample()
    spec.programs["first"].type = ProgramType.UNSPEC
    spec.programs["first"].section = "my-section"
    with pytest.raises(ElfError, match=r"'first'.*'my-section'.*spec.programs\['first'\].type"):
        spec.check()
    spec.programs["first"].autoload = False
    spec.check()
    spec.programs["first"].autoload = True
    spec.programs["first"].type = ProgramType.SCHED_CLS
    spec.check()


def test_unknown_fields_of_a_legacy_map_are_named() -> None:
    """They ask for something that the map would not do."""
    spec = sample()
    spec.maps["outer"].extra = b"\1\0"
    with pytest.raises(ElfError, match=r"map 'outer'.*0100.*extra"):
        spec.check()


def test_the_byte_order_of_another_machine() -> None:
    """Its instructions would be nonsense to this kernel."""
    spec = sample()
    spec.byte_order = "big" if sys.byteorder == "little" else "little"
    with pytest.raises(ElfError, match=f"compiled for {spec.byte_order}-endian machines"):
        spec.check()


@pytest.mark.parametrize("load", [CollectionSpec.load, Collection.load])
def test_both_ways_of_loading_refuse_what_cannot_be_loaded(
    load: Callable[[CollectionSpec], object],
) -> None:
    """One of them would give the kernel what it cannot have, and its answer be told."""
    spec = sample()
    spec.maps["outer"].extra = b"\1\0"
    with pytest.raises(ElfError, match=r"map 'outer'.*0100.*extra"):
        load(spec)


class Walked(tuple[Relocation, ...]):
    """Relocations that count how often they are gone through."""

    __slots__ = ()
    times = 0

    def __iter__(self) -> Iterator[Relocation]:
        Walked.times += 1
        return super().__iter__()


def test_externs_of_other_objects_are_found_in_one_walk() -> None:
    """Each program that calls the same functions would go through all of them: a file of a
    megabyte would take a minute."""
    spec = CollectionSpec("chain")
    spec.externs["there"] = ExternSpec("there", ExternKind.UNDEFINED)
    # Rings of functions: one that leads to the extern, and one that does not.
    for ring, leads in (("a", True), ("b", False)):
        for at in range(5):
            calls = Walked([Relocation(0, RelocationKind.CALL, f"{ring}{(at + 1) % 5}")])
            if leads and at == 4:
                calls = Walked([*calls, Relocation(1, RelocationKind.EXTERN_CALL, "there")])
            spec.functions[f"{ring}{at}"] = FunctionSpec(ring, "tc", 0, b"", relocations=calls)
            spec.programs[f"{ring}{at}"] = ProgramSpec(
                ring, f"{ring}{at}", "tc", ProgramType.SCHED_CLS
            )
    for at in range(5):
        with pytest.raises(LinkError, match=rf"program 'a{at}' uses 'there', which another"):
            spec.check()
        spec.programs[f"a{at}"].autoload = False
    Walked.times = 0
    spec.check()
    assert Walked.times <= len(spec.functions)


@pytest.mark.parametrize(
    ("object_name", "section", "expected"),
    [
        # libbpf keeps 7 bytes for the section, as its internal_map_name explains.
        ("my_object_name", ".rodata", "my_objec.rodata"),
        ("my_object_name", ".bss", "my_objec.bss"),
        ("my_object_name", ".data", "my_objec.data"),
        ("my_object_name", ".kconfig", "my_obje.kconfig"),
        ("short", ".data", "short.data"),
        ("my_object_name", ".data.custom", ".data.custom"),
        ("my_object_name", ".rodata.abracadabra", ".rodata.abracad"),
        ("tc-filter", ".bss", "tc_filte.bss"),
        ("", ".bss", ".bss"),
    ],
)
def test_names_of_data_maps(object_name: str, section: str, expected: str) -> None:
    """Other tools find the maps of a running program by these names."""
    spec = MapSpec(section, MapType.ARRAY, data=True, object_name=object_name)
    assert spec.kernel_name == expected


def test_names_are_cut_for_the_kernel_and_kept_here() -> None:
    """The kernel has 15 bytes; a user has the name of the source."""
    spec = MapSpec("a_name_of_twenty_one_", MapType.HASH)
    assert spec.kernel_name == "a_name_of_twent"
    assert spec.name == "a_name_of_twenty_one_"
    assert (
        ProgramSpec("ä" * 10, "f", "xdp").kernel_name.encode("utf-8", "surrogateescape")
        == (("ä" * 10).encode()[:15])
    )


def test_representations_show_what_was_set() -> None:
    """A repr of thirty defaults hides the two facts that matter."""
    spec = MapSpec("events", MapType.HASH, 4, 8, 10, flags=MapFlags.NO_PREALLOC)
    assert repr(spec) == (
        "MapSpec(name='events', type=HASH, key_size=4, value_size=8, max_entries=10, "
        "flags=NO_PREALLOC)"
    )
    assert repr(sample()) == (
        "<CollectionSpec 'sample': programs=['first', 'second'], maps=['.data', 'outer'], "
        "variables=['number', 'bytes']>"
    )
    assert repr(CollectionSpec("none")) == "<CollectionSpec 'none': empty>"
    assert repr(sample().variables["number"]) == (
        "VariableSpec(name='number', section='.data', offset=4, size=4, type='int', "
        "value=117835012)"
    )
    assert repr(sample().variables["bytes"]).endswith(
        r"size=8, value=b'\x08\t\n\x0b\x0c\r\x0e\x0f')"
    )


def test_line_info_moves_with_the_function() -> None:
    """In a program the function is somewhere else than in its section; the kernel checks."""
    records = b"".join(
        value.to_bytes(4, "big") for row in ((80, 1, 2, 3, 0), (96, 4, 5, 6, 0)) for value in row
    )
    function = FunctionSpec(
        *("f", "xdp", 80, bytes(32)),
        line_records=records,
        line_record_size=20,
        byte_order="big",
    )
    assert function.line_info(start=7) == [(7, 1, 2, 3), (9, 4, 5, 6)]


def test_relocations_are_values() -> None:
    """Copies compare equal, so that tests and linkers can tell what changed."""
    one = Relocation(3, RelocationKind.DATA, ".data", offset=8)
    assert one == Relocation(3, RelocationKind.DATA, ".data", 8)
    assert one != Relocation(3, RelocationKind.DATA, ".data", 12)


def test_from_file_names_the_object_after_the_file(tmp_path: Path) -> None:
    """libbpf takes the part of the name before the first dot."""
    missing = tmp_path / "tracer.bpf.o"
    with pytest.raises(FileNotFoundError):
        CollectionSpec.from_file(missing)
    missing.write_bytes(b"nothing")
    with pytest.raises(ElfError):
        CollectionSpec.from_file(missing)


def test_copies_of_the_standard_library() -> None:
    """Fails when a spec cannot be copied with what it holds, or listed without its types."""
    spec = sample()
    copied = copy.deepcopy(spec)
    copied.maps[".data"].max_entries = 9
    copied.variables["number"].value = 4
    assert spec.maps[".data"].max_entries == 1
    assert spec.variables["number"].value != 4
    assert copied.btf is spec.btf
    fields = dataclasses.asdict(spec.variables["number"])
    assert (fields["name"], fields["map"]["value_size"]) == ("number", 16)
    assert dataclasses.replace(spec.programs["first"], autoload=False).autoload is False


def test_a_pickled_spec() -> None:
    """Fails when a spec cannot be given to a process that multiprocessing starts anew."""
    spec = sample()
    spec.variables["number"].value = 4
    pickled = pickle.loads(pickle.dumps(spec))
    assert pickled.variables["number"].value == 4
    assert pickled.variables["number"].map is pickled.maps[".data"]
    assert pickled.variables["number"].btf is pickled.btf
    kept = {"maps", "programs", "functions"}
    listed, again = dataclasses.asdict(spec), dataclasses.asdict(pickled)
    assert {key: listed[key] for key in kept} == {key: again[key] for key in kept}
    assert bytes(pickled.btf.data) == bytes(spec.btf.data)


def test_a_whole_spec_as_dicts() -> None:
    """The dicts of a spec refuse the dicts that dataclasses.asdict makes of its members."""
    listed = dataclasses.asdict(sample())
    assert list(listed["programs"]) == ["first", "second"]
    assert listed["programs"]["first"]["type"] is ProgramType.XDP
    assert listed["maps"]["outer"]["inner"]["name"] == "i"
    assert listed["maps"][".data"]["contents"] == bytearray(range(16))
    assert listed["variables"]["number"]["offset"] == 4
    assert type(listed["programs"]) is type(listed["externs"]) is dict
    assert dataclasses.asdict(CollectionSpec("none"))["maps"] == {}


def test_a_generator_of_specs_is_checked_too() -> None:
    """What copies a spec as dicts would let dicts into one."""
    spec = CollectionSpec("one")
    spec.maps = ((name, MapSpec(name, MapType.HASH)) for name in "ab")  # type: ignore[assignment]
    assert [one.name for one in spec.maps.values()] == ["a", "b"]
    with pytest.raises(TypeError, match="is not a MapSpec"):
        spec.maps["c"] = {}  # type: ignore[assignment]
    with pytest.raises(TypeError, match="is not a MapSpec"):
        spec.maps = ((name, {}) for name in "ab")  # type: ignore[assignment]
