"""``python -m ebpf build``, and the command of setuptools that does the same."""

from __future__ import annotations

import sys
from pathlib import Path

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


def test_objects(folder: Path, tmp_path: Path) -> None:
    """The object would not be where it was asked for, or none."""
    out = tmp_path / "out"
    assert main(["build", "--object", "-o", str(out), str(folder / "one.bpf.c")]) == 0
    assert list(out.iterdir()) == [out / "one.bpf.o"]
    assert list(ebpf.CollectionSpec.from_file(out / "one.bpf.o").programs) == ["run"]


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
    assert main(["build", str(path.parent if name == "empty/file" else path)]) == 1
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
