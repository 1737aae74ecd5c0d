"""The modules that ``python -m ebpf gen`` writes: their classes, and what a type checker says."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ebpf import CollectionSpec
from ebpf.cli import main
from ebpf.codec import codec, from_btf
from ebpf.codec.btf_nodes import Record
from ebpf.codegen import generate
from ebpf.elf import ElfFile
from ebpf.elf.strip import without_debug
from ebpf.generated import unpacked
from tests.objects import NoCompiler, compiled

SRC = Path(__file__).parents[3] / "src"


@pytest.fixture(scope="module")
def built() -> Path:
    try:
        return compiled("generated")
    except NoCompiler as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def path(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module, as the command writes it."""
    path = tmp_path_factory.mktemp("generated") / "tracer.py"
    assert main(["gen", str(built), "-o", str(path)]) == 0
    return path


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look up the module of a class, whose annotations are text.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tracer(path: Path) -> ModuleType:
    return imported(path)


def test_dataclasses_have_the_layout_of_the_object(tracer: ModuleType) -> None:
    """A field would be read from where the compiler did not put it."""
    btf = tracer.spec().btf
    for name, cls in (("key", tracer.Key), ("usage", tracer.Usage), ("event", tracer.Event)):
        theirs = from_btf(btf, btf.find(name).id)
        ours = codec(cls)
        assert ours.size == theirs.size, name
        fields = [one.name for one in dataclasses.fields(cls) if one.init]
        assert fields == list(theirs.offsets)
        assert [ours.offsetof(one) for one in fields] == [theirs.offsetof(one) for one in fields]


def test_what_no_dataclass_can_lay_out_is_a_record(tracer: ModuleType) -> None:
    """Bit fields, unions, packed structs and Python's keywords would be lost or misplaced."""
    classes = (tracer.Flags, tracer.Number, tracer.Packed, tracer.Keywords)
    assert all(issubclass(cls, Record) for cls in classes)
    flags = tracer.Flags(low=5, high=17)
    assert (flags.low, flags.high, flags.whole) == (5, 17, 0)
    assert tracer.Number(whole=1 << 32).halves[sys.byteorder == "little"] == 1
    assert tracer.Keywords(**{"class": 3})["class"] == 3


def test_variables_are_set_before_load(tracer: ModuleType) -> None:
    """The object would start with other values than those that were given."""
    spec = tracer.spec()
    variables = tracer.Variables(spec)
    variables.lowest = 5
    variables.recent = (tracer.Key(1, 2), tracer.Key(3, 4))
    variables.bits = tracer.Flags(high=31)
    assert spec.variables["lowest"].value == 5
    assert spec.variables["recent"].value[1].pid == 3
    assert spec.variables["bits"].value.high == 31
    assert variables.recent == (tracer.Key(1, 2), tracer.Key(3, 4))
    assert tracer.Variables(tracer.spec()).lowest == 1, "another spec was changed"


def test_variables_that_are_not_there_are_refused(tracer: ModuleType) -> None:
    """A misspelt one would be set on the Python object alone, and the program trace everything."""
    spec = tracer.spec()
    variables = tracer.Variables(spec)
    with pytest.raises(AttributeError, match=r"no 'lowst' can be set; did you mean lowest"):
        variables.lowst = 5
    with pytest.raises(AttributeError, match=r"'items' is no attribute: set \['items'\].value"):
        variables.items = 5
    variables["items"].value = 5
    assert spec.variables["items"].value == 5
    with pytest.raises(AttributeError, match=r"no 'useless' can be set"):
        tracer.Maps({}).useless = 1


def test_a_variable_called_as_a_class(tracer: ModuleType) -> None:
    """The class would be hidden by it from the variables that are of the type."""
    variables = tracer.Variables(tracer.spec())
    variables.Task = variables.second = tracer.Task2(pid=4)
    assert variables.second == tracer.Task2(pid=4)


def test_structs_that_only_a_typedef_names(tracer: ModuleType) -> None:
    """The classes would be called by their order, or not be there."""
    assert codec(tracer.PlaceT).pack(tracer.PlaceT(pid=1, cpu=2)) == codec("II").pack((1, 2))
    bits = tracer.BitsT(high=9, _node=7)
    assert (bits.low, bits.high, bits["_node"]) == (0, 9, 7)
    assert "_node" in repr(bits)


def test_the_object_is_embedded_without_dwarf(built: Path, tracer: ModuleType) -> None:
    """Modules would be many times as large, and tell where they were built."""
    kept = unpacked(tracer._OBJECT)
    before, after = (
        {one.name: (one.index, one.size, bytes(file.data(one))) for one in file.sections}
        for file in (ElfFile(built.read_bytes()), ElfFile(kept))
    )
    assert before[".debug_info"][1]
    for name, section in before.items():
        assert after[name] == ((section[0], 0, b"") if ".debug_" in name else section), name
    assert len(kept) < len(built.read_bytes()) * 0.9
    assert without_debug(kept) == kept
    assert CollectionSpec.from_bytes(kept).functions.keys() == tracer.spec().functions.keys()


def test_a_struct_that_nothing_has(built: Path, tracer: ModuleType, tmp_path: Path) -> None:
    """The records of a ring whose map names no type would have no class."""
    path = tmp_path / "more.py"
    assert main(["gen", str(built), "-o", str(path), "--type", "struct spare"]) == 0
    module = imported(path)
    assert codec(module.Spare).unpack(codec("IQ").pack((7, 8))) == module.Spare(only=7, bytes=8)
    assert not hasattr(tracer, "Spare")
    # A variable points to it, as programs keep a type in the object.
    assert hasattr(tracer, "Pointed")


USER = """\
from __future__ import annotations

import tracer

spec = tracer.spec()
before = tracer.Variables(spec)
before.lowest = 2
before.latest = tracer.Usage(
    count=1, kind=2, name=b"x", last=tracer.Key(pid=1, kind=2), ports=(1, 2, 3), on=True, port=80,
    sum=1,
)
with tracer.Objects.load(spec) as objects:
    objects.attach()
    usage: tracer.Usage = objects.maps.uses[tracer.Key(pid=7, kind=3)]
    name: bytes = usage.name
    total: int = objects.maps.totals[0].sum()
    flags: tracer.Flags = objects.maps.marks[0]
    high: int = flags.high
    objects.variables.bits = tracer.Flags(low=1)
    whole: int = objects.variables.number.whole
    objects.programs.run.test_run()
    place: tracer.BitsT = objects.maps.places[tracer.PlaceT(pid=1, cpu=2)]
    second: tracer.Task2 = objects.variables.second
"""
MISTAKES = """\
objects.maps.uses[tracer.Key(pid="7", kind=3)]
objects.maps.uses[7]
objects.maps.missing
objects.programs.missing
before.lowest = "2"
before.missing = 1
text: str = usage.name
tracer.Flags(missing="x", low="1")
"""


def mypy(folder: Path, *files: str) -> str:
    """What ``mypy --strict`` says of files of `folder`."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"]
    # The library is checked elsewhere; here it only gives its types.
    command += ["--follow-imports", "silent", "--cache-dir", str(folder.parent / "mypy"), *files]
    environment = {**os.environ, "MYPYPATH": f"{SRC}{os.pathsep}{folder}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    return done.stdout


MYPY = pytest.mark.skipif(not importlib.util.find_spec("mypy"), reason="mypy is not installed")


@MYPY
def test_a_type_checker_knows_the_object(path: Path, tmp_path: Path) -> None:
    """The module would not be clean itself, or take a wrong name or type for right."""
    (tmp_path / "tracer.py").write_text(path.read_text())
    (tmp_path / "right.py").write_text(USER)
    lines = USER + "".join(f"    {line}\n" for line in MISTAKES.splitlines())
    (tmp_path / "wrong.py").write_text(lines)
    said = mypy(tmp_path, "tracer.py", "right.py", "wrong.py")
    found = [line for line in said.splitlines() if ": error:" in line]
    first = len(USER.splitlines())
    lines_with_errors = {int(line.split(":")[1]) for line in found}
    assert {line.split(":")[0] for line in found} == {"wrong.py"}, said
    assert lines_with_errors == {first + n for n in range(1, 9)}, said


def test_names_stay_names(built: Path) -> None:
    """An object file from elsewhere could put code into the module."""
    data = built.read_bytes()
    for name in ("usage", "flags", "latest", "uses", "run"):
        data = data.replace(
            f"\0{name}\0".encode(), f"\0{name[0]}{chr(34) * len(name[1:])}\0".encode()
        )
    text = generate(data, name='a"""b\\', file='x"""\nimport os\n"""\\', types=["event"])
    tree = ast.parse(text)
    assert "Event" in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    allowed = (ast.Expr, ast.ImportFrom, ast.Assign, ast.FunctionDef, ast.ClassDef, ast.If)
    assert all(isinstance(node, allowed) for node in tree.body)
    assert (ast.get_docstring(tree) or "").startswith('Made from x"""\nimport os\n"""\\ by')


@MYPY
def test_the_example_of_a_package_is_clean(built: Path, tmp_path: Path) -> None:
    """It would show code that the types of its module do not allow."""
    source = SRC.parent / "examples" / "package" / "src" / "exitwatch"
    package = tmp_path / "exitwatch"
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("*_bpf.py", "__pycache__"))
    assert main(["build", str(package)]) == 0
    assert mypy(tmp_path, "exitwatch/__main__.py") == ""


def test_objects_that_cannot_be_typed(
    tmp_path: Path, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback, or an empty module, would be all that is said."""
    (tmp_path / "text.o").write_text("not an object")
    assert main(["gen", str(tmp_path / "text.o")]) == 1
    assert "text.o: " in capsys.readouterr().err
    assert main(["gen", str(tmp_path / "missing.o")]) == 1
    assert "missing.o: No such file" in capsys.readouterr().err
    assert main(["gen", str(built), "--type", "nothing"]) == 1
    assert "no struct or union 'nothing'" in capsys.readouterr().err
    assert main(["gen", str(built), "-o", str(tmp_path / "no" / "x.py")]) == 1
    assert f"{tmp_path}/no/x.py: No such file" in capsys.readouterr().err
