"""What is read in the compiler's words."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import pytest

import ebpf
from ebpf.compile import CompileWarning
from ebpf.compile.diagnostics import parse
from ebpf.errors import CompileError
from tests.unit.compile.conftest import Fake


def test_a_mistake_has_its_place(clang: str, tmp_path: Path) -> None:
    """An editor or notebook would have to parse the compiler's text."""
    source = tmp_path / "wrong.bpf.c"
    source.write_text("int first;\n\nint f(void) { return missing; }\nint g(void) { return 1 }\n")
    with pytest.raises(CompileError, match="use of undeclared identifier 'missing'") as caught:
        ebpf.compile_c(source, compiler=clang)
    error = caught.value
    assert (error.file, error.line, error.column) == (str(source), 3, 22)
    assert error.message == "use of undeclared identifier 'missing'"
    assert [(one.line, one.severity) for one in error.diagnostics][:2] == [
        (3, "error"),
        (4, "error"),
    ]
    assert "return missing;" in error.output
    copied = pickle.loads(pickle.dumps(error))
    assert (copied.line, copied.diagnostics, str(copied)) == (3, error.diagnostics, str(error))


def test_a_mistake_in_text_or_in_a_header(clang: str, tmp_path: Path) -> None:
    """The place would be a temporary file that is gone, or the line that includes the header."""
    with pytest.raises(CompileError) as caught:
        ebpf.compile_c("int x;\nint f(void) { return y; }\n", name="cell", compiler=clang)
    assert (caught.value.file, caught.value.line) == ("cell.bpf.c", 2)
    (tmp_path / "bad.h").write_text("\nint f(;\n")
    with pytest.raises(CompileError) as caught:
        ebpf.compile_c('#include "bad.h"\n', include_dirs=[tmp_path], compiler=clang)
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "bad.h"), 2)


def test_a_header_that_is_missing(clang: str) -> None:
    """What clang calls a fatal error would not count as one."""
    with pytest.raises(CompileError) as caught:
        ebpf.compile_c("#include <nowhere.h>\n", compiler=clang)
    assert caught.value.message == "'nowhere.h' file not found"
    assert (caught.value.line, caught.value.column) == (1, 10)


def test_mistakes_without_a_place(clang: str) -> None:
    """An option that clang does not know would look like a mistake in line 0 of some file."""
    with pytest.raises(CompileError) as caught:
        ebpf.compile_c("int x;", flags=["--nonsense"], compiler=clang)
    assert (caught.value.file, caught.value.line, caught.value.column) == ("", 0, 0)
    assert "--nonsense" in caught.value.message


def test_a_compiler_that_crashes(fake: Fake) -> None:
    """Its command and end would be lost, and with them what can be reported."""
    fake("clang", then="echo boom; kill -SEGV $$")
    with pytest.raises(CompileError, match=r"(?s)-target bpfel.* ended with signal 11\nboom"):
        ebpf.compile_c("int x;")


@pytest.mark.parametrize("flag", ["-fsyntax-only", "-S", "-E", "-flto"])
def test_flags_that_make_no_object(clang: str, flag: str) -> None:
    """A file would be missing that the user has never heard of, or be none that loads."""
    with pytest.raises(CompileError, match=rf"{flag} .*made no object file"):
        ebpf.compile_c("int x;", compiler=clang, flags=[flag])


def test_warnings_are_pythons(clang: str) -> None:
    """A warning would vanish, at the latest when the object comes from the cache."""
    for _ in range(2):
        with pytest.warns(
            CompileWarning, match=r"program.bpf.c:1:2\d: warning: .*division"
        ) as found:
            ebpf.compile_c("int f(void) { return 1 / 0; }\n", compiler=clang)
        assert [warning.filename for warning in found] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ebpf.compile_c("int f(void) { return 1; }\n", compiler=clang)


def test_notes_follow_their_error() -> None:
    """Which remark belongs to which place would be mixed up."""
    text = (
        "In file included from a.c:1:\n"
        "./b.h:2:5: error: redefinition of 'f'\n    2 | int f;\n      |     ^\n"
        "a.c:3:7: note: previous definition is here: error: no\n"
        "clang: warning: argument unused\n"
        "fatal error: error in backend: cannot select\n"
    )
    found = [(one.file, one.line, one.column, one.severity) for one in parse(text)]
    assert found == [
        ("./b.h", 2, 5, "error"),
        ("a.c", 3, 7, "note"),
        ("", 0, 0, "warning"),
        ("", 0, 0, "fatal error"),
    ]
    assert str(parse(text)[0]) == "./b.h:2:5: error: redefinition of 'f'"
    assert str(parse(text)[3]) == "fatal error: error in backend: cannot select"


def test_a_notebook_shows_the_compilers_words(clang: str) -> None:
    """Frames of this library would hide the line of C that is wrong, or its backticks end the
    block that it is shown in."""
    with pytest.raises(CompileError) as caught:
        ebpf.compile_c("// ```\nint run(void)\n{ return missing; } // ``` \n", compiler=clang)
    error = caught.value
    shown = "\n".join(error._render_traceback_())
    assert shown.startswith("CompileError: program.bpf.c does not compile\nprogram.bpf.c:3:10: ")
    assert "return missing;" in shown
    assert "Traceback" not in shown
    markdown = error._repr_markdown_()
    assert f"\n````text\n{error}\n````\n" in markdown
    assert markdown.startswith("**CompileError**")
