"""``python -m ebpf build``, and the command of setuptools that does the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

import ebpf
from ebpf.build import build_module, build_object
from ebpf.cli import main
from ebpf.compile import find_compiler
from ebpf.errors import CompileError

SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
#ifdef NUMBER
int number = NUMBER;
#endif
SEC("raw_tp") int run(void *ctx) { return 0; }
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with two programs, one of them in a package below."""
    try:
        find_compiler()
    except CompileError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "package"
    (folder / "below").mkdir(parents=True)
    (folder / "one.bpf.c").write_text(SOURCE)
    (folder / "below" / "tcp-life.bpf.c").write_text(SOURCE)
    return folder


def test_a_directory_is_built(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A program would be left out, or its module have a name that cannot be imported."""
    assert main(["build", str(folder), "-D", "NUMBER=7"]) == 0
    made = capsys.readouterr().out.splitlines()
    assert made == [str(folder / "below" / "tcp_life_bpf.py"), str(folder / "one_bpf.py")]
    sys.path.insert(0, str(folder))
    try:
        import one_bpf  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(folder))
    assert one_bpf.Variables(one_bpf.spec()).number == 7


def test_hidden_directories_are_left_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`build .` would write into what is installed in .venv; or build nothing below such a name."""
    hidden = folder / ".venv" / "lib"
    hidden.mkdir(parents=True)
    (hidden / "other.bpf.c").write_text(SOURCE)
    assert main(["build", "--object", str(folder)]) == 0
    made = capsys.readouterr().out.splitlines()
    assert made == [str(folder / "below" / "tcp-life.bpf.o"), str(folder / "one.bpf.o")]
    assert main(["build", "--object", str(hidden)]) == 0
    assert (hidden / "other.bpf.o").exists()


def test_objects(folder: Path, tmp_path: Path) -> None:
    """The object would not be where it was asked for, or none."""
    out = tmp_path / "out"
    assert main(["build", "--object", "-o", str(out), str(folder / "one.bpf.c")]) == 0
    assert list(out.iterdir()) == [out / "one.bpf.o"]
    assert list(ebpf.CollectionSpec.from_file(out / "one.bpf.o").programs) == ["run"]


def test_places(folder: Path, tmp_path: Path) -> None:
    """Of two sources with one name one would be lost, or a module not be one that can be
    imported."""
    (folder / "below" / "one.bpf.c").write_text(SOURCE)
    (folder / "9p.bpf.c").write_text(SOURCE)
    assert main(["build", "-o", str(tmp_path / "out"), str(folder), str(folder)]) == 0
    made = sorted(str(path.relative_to(tmp_path / "out")) for path in tmp_path.rglob("*_bpf.py"))
    names = ["_9p_bpf.py", "below/one_bpf.py", "below/tcp_life_bpf.py", "one_bpf.py"]
    assert made == names


@pytest.mark.parametrize(("given", "value"), [("NUMBER=", None), ("NUMBER", 1)])
def test_macros(folder: Path, given: str, value: int | None) -> None:
    """A macro would have another value than compilers give it by the same words."""
    source = folder / "one.bpf.c"
    if value is None:
        source.write_text("int other = 4 NUMBER;\n")
    assert main(["build", "--object", "-D", given, str(source)]) == 0
    variables = ebpf.CollectionSpec.from_file(folder / "one.bpf.o").variables
    assert {name: one.value for name, one in variables.items()} == (
        {"other": 4} if value is None else {"number": value}
    )


def test_the_place_of_the_project_is_not_in_what_is_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two builds of one project would differ, and tell where its author works."""
    made = []
    for place in ("first", "second/below"):
        project = tmp_path / place
        (project / "src").mkdir(parents=True)
        (project / "src" / "one.bpf.c").write_text(SOURCE)
        monkeypatch.chdir(project)
        monkeypatch.setenv("PWD", str(project))
        inside = build_module(Path("src/one.bpf.c")).absolute()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PWD", str(folder))
        outside = build_object(project / "src" / "one.bpf.c")
        made.append((inside.read_bytes(), outside.read_bytes()))
    assert made[0] == made[1]
    assert str(tmp_path).encode() not in made[0][1]


def test_a_source_distribution_has_the_headers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is built from it would end with a header that is not found."""
    from setuptools import Distribution

    from ebpf.build.hook import BuildPy

    class Build(BuildPy):
        compile_options: ClassVar[dict[str, Any]] = {
            "include_dirs": ["include", str(tmp_path / "include"), "/usr/include"]
        }

    monkeypatch.chdir(tmp_path)
    (tmp_path / "include" / "deep").mkdir(parents=True)
    for header in ("package/beside.h", "include/z.h", "include/deep/y.h"):
        (tmp_path / header).touch()
    command = Build(Distribution({"packages": ["package"], "script_name": "setup.py"}))
    command.ensure_finalized()
    files = [name for name in command.get_source_files() if name.endswith((".h", ".bpf.c"))]
    assert files == [
        *("package/one.bpf.c", "include/deep/y.h", "include/z.h", "package/beside.h"),
    ]


def test_what_is_up_to_date_is_left_alone(folder: Path) -> None:
    """Each build would make everything newer that depends on it."""
    made = build_object(folder / "one.bpf.c")
    before = made.stat().st_mtime_ns
    assert build_object(folder / "one.bpf.c").stat().st_mtime_ns == before
    build_object(folder / "one.bpf.c", defines={"NUMBER": 1})
    assert made.stat().st_mtime_ns > before


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("bad.bpf.c", "int run(", "bad.bpf.c:1:"),
        ("warns.bpf.c", f"{SOURCE}\n#warning told\n#error refused\n", "refused"),
        ("two/a-b.bpf.c", SOURCE, "both become"),
        ("missing/file", "", "nosuch does not exist"),
        ("other.c", SOURCE, "has to end with .bpf.c"),
        ("empty/file", "", "there is no *.bpf.c in"),
    ],
)
def test_mistakes(
    name: str, text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback would be all that is said, or a build succeed with a program missing."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    if name.startswith("two/"):
        (path.parent / "a_b.bpf.c").write_text(text)
    asked = {"two": path.parent, "empty": path.parent, "missing": tmp_path / "nosuch"}
    assert main(["build", str(asked.get(name.partition("/")[0], path))]) == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


def test_warnings_are_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The compiler's advice would be lost."""
    (folder / "one.bpf.c").write_text(f"{SOURCE}\n#warning beware\n")
    assert main(["build", str(folder / "one.bpf.c")]) == 0
    assert "one.bpf.c:10:2: warning: beware" in capsys.readouterr().err


def test_the_module_names_its_source(folder: Path) -> None:
    """Nobody would know what to change in place of the module."""
    text = build_module(folder / "one.bpf.c").read_text()
    assert text.startswith('"""Made from one.bpf.c by')
