"""``object show``: what it says of an object is what other people's tools say, or its source."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpf.cli import main
from ebpf.cli.object_json import as_json
from ebpf.cli.object_text import as_text
from ebpf.errors import FormatError
from ebpf.spec import CollectionSpec
from tests.objects import NoCompiler, clangs, compiled
from tests.tools import bpftool

OBJECTS = (
    *("arena_load", "core_kernel", "core_load", "core_local", "data", "externs", "functions"),
    *("kfuncs", "legacy_maps", "maps", "struct_ops", "tracer"),
)


def tool(name: str, lowest: int = 0) -> str:
    """The newest command of this name, ``llvm-objdump-19`` among them."""
    for command in (*(f"{name}-{release}" for release in range(30, lowest - 1, -1)), name):
        path = shutil.which(command)
        if path and (not lowest or command != name):
            return path
    pytest.skip(f"{name} is not installed")


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def built(name: str, target: str = "bpfel") -> str:
    try:
        return str(compiled(name, target=target))
    except NoCompiler as error:
        pytest.skip(str(error))


def build(source: str, directory: Path) -> str:
    """An object of this C."""
    if not clangs():
        pytest.skip("no clang")
    path = directory / "made.bpf.o"
    command = [clangs()[0], "-target", "bpfel", "-O2", "-g", "-c", "-x", "c", "-", "-o", str(path)]
    subprocess.run(command, input=source, text=True, check=True)
    return str(path)


class Show:
    """Runs the command and keeps what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def text(self, path: str, *options: str) -> str:
        assert main(["object", "show", path, *options]) == 0
        return self._capsys.readouterr().out

    def json(self, path: str, *options: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text(path, "--json", *options))
        return found

    def error(self, path: str) -> str:
        """The one line of a file that cannot be shown."""
        assert main(["object", "show", path]) == 1
        shown = self._capsys.readouterr()
        assert shown.out == ""
        (line,) = shown.err.splitlines()
        return line


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Show:
    return Show(capsys)


def row(text: str, name: str) -> list[str]:
    """The columns of the line that begins with `name`."""
    (line,) = (line for line in text.splitlines() if line.split()[:1] == [name])
    return re.split(r"  +", line.strip())


@pytest.mark.parametrize("name", OBJECTS)
def test_functions_and_their_lengths_are_those_of_the_symbol_table(show: Show, name: str) -> None:
    """A program or function would be missing, or its instructions miscounted."""
    path = built(name)
    found = show.json(path)
    shown = {
        name: function["instructions"]
        for name, function in (found["programs"] | found["functions"]).items()
    }
    symbols = output(tool("llvm-readelf"), "--symbols", path)
    sizes = re.findall(r"^ *\d+: \w+ +(\d+) FUNC +\w+ +\w+ +\d+ (\S+)$", symbols, re.MULTILINE)
    assert shown == {name: int(size) // 8 for size, name in sizes}
    assert shown


# The oldest llvm-objdump that shows CO-RE relocations is 17.
_CORE = re.compile(r"CO-RE <(\w+)> \[\d+\] (?:struct |union |enum |typedef )?(\S+?)(?:::(\S+).*)?$")
_KINDS = {
    "byte_off": "FIELD_BYTE_OFFSET",
    "byte_sz": "FIELD_BYTE_SIZE",
    "field_exists": "FIELD_EXISTS",
    "signed": "FIELD_SIGNED",
    "lshift_u64": "FIELD_LSHIFT_U64",
    "rshift_u64": "FIELD_RSHIFT_U64",
    "local_type_id": "TYPE_ID_LOCAL",
    "target_type_id": "TYPE_ID_TARGET",
    "type_exists": "TYPE_EXISTS",
    "type_size": "TYPE_SIZE",
    "type_matches": "TYPE_MATCHES",
    "enumval_exists": "ENUMVAL_EXISTS",
    "enumval_value": "ENUMVAL_VALUE",
}


def core_of_objdump(path: str) -> list[tuple[str, int, str, str, str]]:
    """Function, instruction, kind, type and field of each CO-RE relocation."""
    found = []
    function, start = "", 0
    for line in output(tool("llvm-objdump", 17), "-d", "-r", path).splitlines():
        if head := re.fullmatch(r"([0-9a-f]{16}) <(\S+)>:", line):
            function, start = head[2], int(head[1], 16)
        elif match := _CORE.search(re.sub(r"<anon \d+>\.", "", line)):
            kind, type, field = match.groups(default="")
            at = (int(line.split(":")[0], 16) - start) // 8
            found.append((function, at, _KINDS[kind], type, field))
    return found


@pytest.mark.parametrize("name", ["core_kernel", "core_local", "tracer"])
def test_core_relocations_are_those_of_objdump(show: Show, name: str) -> None:
    """A relocation would be shown at a wrong instruction, or with a wrong type or path."""
    path = built(name)
    found = show.json(path, "--relocations")
    shown = [
        (row["function"], row["instruction"], row["kind"], row["type"].split()[-1], row["field"])
        for row in found["relocations"]
        if not row["problem"]
    ]
    theirs = core_of_objdump(path)
    # An access that this library, as libbpf, refuses; objdump does not mind.
    known = [one for one in theirs if "9999" not in one[4]]
    assert sorted(shown) == sorted(known)
    assert found["core_relocations"] == Counter(one[2] for one in theirs)
    assert "relocations" not in show.json(path)


def test_a_relocation_that_cannot_be_resolved_says_why(show: Show) -> None:
    """One bad relocation would hide all others, or look like a good one."""
    text = show.text(built("core_local"), "--relocations")
    (line,) = (line for line in text.splitlines() if "9999" in line)
    assert "struct moved: ? (its access string asks for element 9999 of an array of 4)" in line
    assert re.search(r"core_local\.bpf\.c:\d+$", line)


@pytest.mark.parametrize("name", ["externs", "functions", "maps", "tracer"])
def test_maps_and_programs_are_those_of_bpftool(show: Show, name: str) -> None:
    """A map or program would be missing, or one be there that is none."""
    path = built(name)
    tool = bpftool()
    if tool is None:
        pytest.skip("bpftool is not installed")
    skeleton = output(tool, "gen", "skeleton", path, "name", "made")
    found = show.json(path)
    for kind, members in (("struct bpf_map", "maps"), ("struct bpf_program", "programs")):
        theirs = re.findall(rf"^\t\t{kind} \*(\w+);$", skeleton, re.MULTILINE)
        # bpftool leaves out the dot of .data and the like.
        assert [name.removeprefix(".") for name in found[members]] == theirs


def test_map_attributes_are_those_of_the_source(show: Show) -> None:
    """An attribute that is not shown could not be checked without loading the object."""
    path = built("maps")
    maps = show.json(path)["maps"]
    none = {"map_extra": 0, "numa_node": 0, "inner": None, "slots": {}, "struct_ops": None}
    none |= {"data": False, "frozen": False, "autocreate": True, "iproute2": None, "extra": ""}
    assert maps["pinned"] == none | {
        "type": "HASH",
        "key_size": 8,
        "value_size": 16,
        "max_entries": 1000,
        "flags": ["NO_PREALLOC", "NUMA_NODE"],
        "pinning": "BY_NAME",
        "section": ".maps",
        "key_type": "struct key",
        "value_type": "struct value",
    }
    assert maps["bloom"]["map_extra"] == 3
    assert maps["sizes_only"]["key_type"] is None
    assert maps["outer_hash"]["inner"]["value_type"] == "struct value"
    assert maps["outer_array"]["slots"] == {"1": "inner_b", "4": "inner_a"}
    text = show.text(path)
    assert row(text, "pinned")[1:] == [
        *("HASH", "struct key, 8 bytes", "struct value, 16 bytes", "1000"),
        "NO_PREALLOC|NUMA_NODE; NUMA node 0; pinned by name",
    ]
    assert "[1] = inner_b; [4] = inner_a" in row(text, "outer_array")[-1]


def test_struct_ops_and_legacy_maps_show_what_only_they_have(show: Show) -> None:
    """Which program a struct calls, and iproute2's fields, would be lost."""
    linked = show.json(built("struct_ops"))["maps"]["linked"]
    assert linked["struct_ops"] == {
        "type": "struct operations",
        "programs": {"event": "event_a"},
        "link": True,
    }
    shared = show.json(built("iproute2_maps"))["maps"]["shared"]
    assert shared["iproute2"] == {"id": 0, "pinning": 2, "inner_id": 0, "inner_index": -1}


def test_variables_have_the_values_of_the_source(show: Show) -> None:
    """A value would be shown by another type than the variable's."""
    path = built("data")
    variables = show.json(path)["variables"]
    values = {name: variable["value"] for name, variable in variables.items()}
    assert (values["tiny"], values["largest"], values["flag"]) == (-8, 2**64 - 1, True)
    assert (values["mode"], values["minus"], values["big"]) == ("MODE_ON", "MODE_DEBUG", "BIG_ONE")
    assert values["grid"] == [[1, 2, 3], [4, 5, 6]]
    assert (values["ratio"], values["greeting"]) == (0.5, "hello")
    config = values["config"]
    assert (config["name"], config["address"], config["low"]) == (
        "eth0",
        {"hex": "010203040506"},
        5,
    )
    assert config["corners"] == [{"x": -1, "y": 2}, {"x": 3, "y": -4}]
    assert variables["target_pid"] == {
        "section": ".rodata",
        "offset": 0,
        "size": 4,
        "type": "const volatile u32",
        "value": 0,
        "linkage": "global",
        "weak": False,
        "constant": True,
    }
    text = show.text(path)
    assert row(text, "greeting")[1:] == [".data", "volatile char [8]", '"hello"']
    assert row(text, "packed")[-1] == "{.tag = 1, .number = 16909060}"
    assert row(text, "many")[-1] == "zeros"


@pytest.mark.parametrize("name", ["data", "arena_load"])
def test_types_are_those_that_the_compiler_sees(show: Show, name: str, tmp_path: Path) -> None:
    """A type's name would be another type's."""
    source = Path(__file__).parents[2] / "bpf" / f"{name}.bpf.c"
    variables = show.json(built(name))["variables"]
    claims = [
        # A pointer, because compilers compare types without their own qualifiers.
        f"_Static_assert(__builtin_types_compatible_p(__typeof__(&{name}),"
        f' __typeof__({variable["type"]}) *), "{name}");'
        for name, variable in variables.items()
        if "." not in name and variable["section"] != ".addr_space.1"
    ]
    assert claims
    text = f'#include "{source}"\n' + "\n".join(claims)
    command = [clangs()[0], "-target", "bpf", "-fsyntax-only", "-x", "c", "-"]
    result = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr


def test_externs_are_shown_as_they_are_declared(show: Show) -> None:
    """What the object needs of the kernel would not be seen."""
    path = built("externs")
    externs = show.json(path)["externs"]
    assert externs["CONFIG_MODULES"] == {
        "kind": "kconfig",
        "type": "enum libbpf_tristate",
        "weak": True,
    }
    kinds = Counter(extern["kind"] for extern in externs.values())
    assert kinds == {"kconfig": 8, "ksym": 2, "typed ksym": 2, "kfunc": 3}
    text = show.text(path)
    assert row(text, "CONFIG_DEFAULT_HOSTNAME")[1:] == [
        *("kconfig", "char CONFIG_DEFAULT_HOSTNAME[7]")
    ]
    declared = "struct task_struct *bpf_task_acquire(struct task_struct *)"
    assert row(text, "bpf_task_acquire")[1:] == ["kfunc", declared]


def test_the_whole_at_a_glance(show: Show) -> None:
    """License, attach target, or what a program calls would have to be looked for elsewhere."""
    text = show.text(built("functions"))
    head, *_ = text.splitlines()
    assert "license Dual MIT/GPL, little-endian, for Linux 6.12.1, " in head
    assert row(text, "sleepable")[1:4] == [
        *("fentry.s/bpf_fentry_test1", "TRACING", "TRACE_FENTRY bpf_fentry_test1")
    ]
    assert row(text, "not_loaded")[1] == "kprobe/do_unlinkat (not autoloaded)"
    own, called = map(int, row(text, "first")[-1].split(" + "))
    first = show.json(built("functions"))["programs"]["first"]
    functions = show.json(built("functions"))["functions"]
    assert own == first["instructions"]
    assert called == sum(functions[name]["instructions"] for name in first["calls"])


@pytest.mark.parametrize("name", ["data", "externs", "maps", "tracer"])
def test_objects_for_other_machines_are_shown_alike(show: Show, name: str) -> None:
    """What is in a file would depend on the machine that looks at it."""
    little = show.json(built(name), "--relocations")
    big = show.json(built(name, "bpfeb"), "--relocations")
    assert (little.pop("byte_order"), big.pop("byte_order")) == ("little", "big")
    assert little.pop("name") != big.pop("name")
    # Where it was compiled, and what halves of a number C shows in a union.
    for found in (little, big):
        found["variables"].pop("config", None)
        for one in found["relocations"]:
            del one["source"]
    assert big == little


def test_gigabytes_of_zeros_are_not_read(show: Show, tmp_path: Path) -> None:
    """An object of a few kilobytes could take all memory."""
    path = build("char huge[1 << 30]; int small = 7;", tmp_path)
    variables = show.json(path)["variables"]
    assert (variables["huge"]["value"], variables["huge"]["size"]) == (None, 1 << 30)
    assert variables["small"]["value"] == 7
    text = show.text(path)
    assert row(text, "huge")[1:] == [".bss", "char [1073741824]", "zeros"]


def test_json_is_json_with_every_number(show: Show, tmp_path: Path) -> None:
    """NaN and infinity, which JSON lacks, would make readers fail."""
    path = build('double up = __builtin_inf(), none = __builtin_nan("");', tmp_path)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads(show.text(path, "--json"), parse_constant=refuse)
    assert {name: one["value"] for name, one in found["variables"].items()} == {
        "up": "inf",
        "none": "nan",
    }


def test_names_do_not_reach_the_terminal_raw(show: Show, tmp_path: Path) -> None:
    """A file could clear the screen of whoever looks at it."""
    data = Path(built("tracer")).read_bytes()
    path = tmp_path / "evil.bpf.o"
    path.write_bytes(data.replace(b"parent_of", b"ev\x1b[2J\n\xff\xfe"))
    text = show.text(str(path), "--relocations")
    assert "\x1b" not in text
    assert "ev\\x1b[2J\\n\\udcff\\udcfe" in text
    evil = tmp_path / "no\x1bobject"
    evil.write_bytes(b"text")
    assert "\x1b" not in show.error(str(evil))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        (b"", "ELF"),
        (b"#!/bin/sh\n", "starts with"),
        (b"\x7fELF" + bytes(60), "ELF header"),
    ],
)
def test_what_is_no_object_is_one_line(
    show: Show, tmp_path: Path, content: bytes | None, problem: str
) -> None:
    """A wrong file would end in a traceback."""
    path = tmp_path / "file.o"
    if content is not None:
        path.write_bytes(content)
    line = show.error(str(path))
    assert line.startswith(f"{path}: ")
    assert problem in line


def test_objects_that_are_cut_off_are_one_line(show: Show, tmp_path: Path) -> None:
    """A download that broke off would end in a traceback."""
    data = Path(built("tracer")).read_bytes()
    path = tmp_path / "half.bpf.o"
    path.write_bytes(data[: len(data) // 2])
    assert "ELF" in show.error(str(path))


@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_objects_are_shown_or_refused(data: st.DataObject) -> None:
    """A damaged file would end in a traceback."""
    image = bytearray(Path(built("maps")).read_bytes())
    places = st.tuples(st.integers(0, len(image) - 1), st.integers(0, 255))
    for place, value in data.draw(st.lists(places, min_size=1, max_size=12)):
        image[place] = value
    with suppress(FormatError):
        spec = CollectionSpec.from_bytes(bytes(image))
        as_text(spec, relocations=True)
        json.dumps(as_json(spec, relocations=True))


def test_help_documents_every_member(show: Show, capsys: pytest.CaptureFixture[str]) -> None:
    """A script written by the help would not find what it reads."""
    with pytest.raises(SystemExit):
        main(["object", "show", "--help"])
    words = set(re.findall(r"\w+", capsys.readouterr().out.split("--json prints one object")[1]))
    for name in ("tracer", "maps", "functions"):
        found = show.json(built(name), "--relocations")
        assert set(found) <= words
        for members in ("programs", "functions", "maps", "variables", "externs"):
            for one in found[members].values():
                assert set(one) <= words
        for one in found["relocations"]:
            assert set(one) <= words
