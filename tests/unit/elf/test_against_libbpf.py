"""Programs, maps and section names, compared with what libbpf says of the same objects."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from ebpf.elf.sections import SECTION_DEFINITIONS, parse_section_name
from ebpf.spec import CollectionSpec, MapSpec, ProgramSpec
from ebpf.types import MapType

from .conftest import OPENED, TARGETS, Compile, Libbpf

PAGE = mmap.PAGESIZE
RING_BUFFERS = (MapType.RINGBUF, MapType.USER_RINGBUF)


def host_order(code: bytes, byte_order: str) -> bytes:
    """Instructions as libbpf shows them, which are in the order of the machine."""
    if byte_order == "little":
        return code
    out = bytearray()
    for at in range(0, len(code), 8):
        opcode, registers = code[at], code[at + 1]
        out += bytes([opcode, registers >> 4 | (registers & 15) << 4])
        out += code[at + 2 : at + 4][::-1] + code[at + 4 : at + 8][::-1]
    return bytes(out)


def program_row(spec: CollectionSpec, program: ProgramSpec) -> list[str]:
    code = host_order(spec.functions[program.function].code, spec.byte_order)
    return [
        *("program", program.name, program.section, f"{program.type:d}"),
        f"{program.attach_type or 0:d}",
        *(f"{program.autoload:d}", code.hex()),
    ]


def map_rows(spec: MapSpec, kind: str = "map") -> list[list[str]]:
    contents = b""
    if spec.data:
        contents = spec.read(0, spec.value_size)
    elif spec.type is MapType.ARENA and spec.contents is not None:
        contents = bytes(spec.contents)
    # What load does, libbpf does when it opens the object.
    entries = spec.max_entries
    if spec.type in RING_BUFFERS:
        while entries % PAGE or entries & (entries - 1):
            entries = (entries // PAGE + 1) * PAGE
    internal = spec.type is MapType.STRUCT_OPS
    row = [
        *(kind, spec.kernel_name if spec.data else spec.name, f"{spec.type:d}"),
        *map(str, (spec.key_size, spec.value_size, entries, int(spec.flags))),
        *map(str, (spec.map_extra, spec.numa_node, spec.key_type_id)),
        str(spec.struct_ops.type_id if internal and spec.struct_ops else spec.value_type_id),
        str(int(spec.autocreate and kind == "map")),
        f"/sys/fs/bpf/{spec.name}" if spec.pinning else "-",
        contents.hex() or "-",
    ]
    return [row] + (map_rows(spec.inner, "inner") if spec.inner else [])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", OPENED)
def test_libbpf_finds_the_same_in_the_object(
    compile_bpf: Compile, libbpf: Libbpf, source: str, target: str
) -> None:
    """A program, a map, a size or a flag that differs would be loaded differently."""
    path = compile_bpf(source, target)
    compare(CollectionSpec.from_file(path), libbpf.open(path))


def compare(spec: CollectionSpec, theirs: list[list[str]]) -> None:
    """Every program and map of `spec` against libbpf's lines, in libbpf's order."""
    programs = [program_row(spec, program) for program in spec.programs.values()]
    # libbpf adds the flags of a section's name when it loads.
    assert programs == [row[:6] + row[7:] for row in theirs if row[0] == "program"]
    maps = [row for one in spec.maps.values() for row in map_rows(one)]
    assert maps == [row for row in theirs if row[0] in ("map", "inner")]


def candidates() -> list[str]:
    """Names that are in the table, with targets, and others that look like them."""
    names = []
    for row in SECTION_DEFINITIONS:
        name = row.pattern.rstrip("+")
        names += [name, f"{name}/", f"{name}/target", f"{name}/a/b", f"{name}x", name[:-1]]
        names += [f"{name}+", f"{name}.s", f"{name}.s/target", f"/{name}", name.upper()]
    return list(dict.fromkeys(name for name in names if name))


def test_section_names_mean_what_libbpf_says(libbpf: Libbpf) -> None:
    """A name with another type would load a program as something else."""
    names = candidates()
    lines = libbpf.run("sections", text="".join(f"{name}\n" for name in names)).splitlines()
    assert len(lines) == len(names)
    compared = 0
    for line in lines:
        name, *theirs = line.split("\t")
        found = parse_section_name(name).definition
        if found is not None and (found.since or (0, 0)) > libbpf.version:
            assert theirs == ["unknown"], name
            continue
        ours = ["unknown"]
        if found is not None:
            ours = [f"{found.type:d}", f"{found.attach_type or 0:d}"]
        assert ours == theirs, name
        compared += found is not None
    assert compared > 100


def test_program_and_map_of_an_unknown_machine_type_are_refused_by_both(
    compile_bpf: Compile, libbpf: Libbpf, tmp_path: Path
) -> None:
    """An object for another machine must not be taken for a BPF object."""
    data = bytearray(compile_bpf("functions.bpf.c").read_bytes())
    data[18:20] = (62).to_bytes(2, "little")
    path = tmp_path / "other.o"
    path.write_bytes(data)
    assert libbpf.open(path)[0][0] == "error"
    with pytest.raises(ValueError, match="machine 62"):
        CollectionSpec.from_file(path)
