"""The judgement over the kernel tests of all kernels: what of their outcomes fails the matrix."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import matrix

OLD, NEW = "5.10.0-32-amd64", "6.12.90+deb13-amd64"


def results(directory: Path, **outcomes: tuple[str, str]) -> matrix.Results:
    """What runs on the old and the new kernel leave: test -> outcome on either, "" for not run."""
    for number, kernel in enumerate((NEW, OLD)):
        chosen = {f"t.py::{test}": each[1 - number] for test, each in outcomes.items()}
        report = {
            "kernel": kernel,
            "machine": "x86_64",
            "outcomes": {test: outcome for test, outcome in chosen.items() if outcome},
        }
        (directory / f"results-{number}.json").write_text(json.dumps(report))
    return matrix.load(directory)


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        (("works", "works"), ""),
        (("too old (5.15)", "works"), ""),
        (("works", "not built (CONFIG_X)"), ""),
        (("", "works"), ""),
        (("works", "failed"), f"failed on {NEW}: t.py::a"),
        (("failed", "works"), f"failed on {OLD}: t.py::a"),
        (("too old (5.15)", "not built (CONFIG_X)"), "works on no kernel: t.py::a"),
        (("refused (as x.c is)", ""), "works on no kernel: t.py::a"),
        # The new kernel has that release, so either the library names a wrong one or fails.
        (("too old (5.15)", "too old (6.13)"), "the release is wrong: t.py::a"),
    ],
)
def test_what_fails_the_matrix(
    outcomes: tuple[str, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure on one kernel, or a test that shows nothing on any, passes."""
    status = matrix.judge(results(tmp_path, other=("works", "works"), a=outcomes))
    output = capsys.readouterr().out
    assert status == bool(said)
    assert said in output
    assert said or "no kernel" not in output


def test_no_results_are_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No guest came up, and nothing was found wrong."""
    assert matrix.judge(matrix.load(tmp_path)) == 1
    assert "no results at all" in capsys.readouterr().out


def test_the_table_has_what_differs(tmp_path: Path) -> None:
    """A test that does not work somewhere is hidden among those that do."""
    table = matrix.table(
        results(tmp_path, a=("too old (5.15)", "works"), b=("works", "works"), c=("", "works"))
    )
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()]
    # The oldest kernel comes first, whatever the names of the files.
    assert lines[0] == ["test", OLD, NEW]
    assert lines[2:] == [
        ["**t.py**", "1 of 3", "3 of 3"],
        ["a", "too old (5.15)", "works"],
        ["c", "not run", "works"],
    ]


def test_what_worked_nowhere_is_run_again_once(tmp_path: Path) -> None:
    """CI's guests leave out what works on no kernel so far, or run it twice."""
    found = results(tmp_path, a=("not built (CONFIG_X)", ""), b=("works", ""), c=("refused", ""))
    assert matrix.missing(found, ["t.py::c"]) == ["t.py::a"]


def test_a_second_run_adds_to_the_first(tmp_path: Path) -> None:
    """What ran again hides the rest of a kernel's results, or its old outcome stays."""
    kept, made = tmp_path / "kept", tmp_path / "made"
    for directory in (kept, made):
        directory.mkdir()
    results(kept, a=("failed", "works"), b=("works", "works"))
    results(made, a=("works", "works"))
    matrix.keep(made, kept)
    assert matrix.load(kept)[OLD] == {"t.py::a": "works", "t.py::b": "works"}


@pytest.mark.parametrize(
    ("name", "release", "fitting"),
    [
        ("5.10", OLD, True),
        ("6.1", "6.12.90+deb13-amd64", False),
        ("6.12", NEW, True),
        ("7.x", "7.3.4+deb13-amd64", True),
        ("7.x", "6.18.44", False),
    ],
)
def test_which_kernel_has_a_release(name: str, release: str, fitting: bool) -> None:
    """What failed would be run again on another kernel."""
    assert matrix.fits(name, release) == fitting


def test_each_row_tells_its_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of different states of the code stand side by side as if they were of one."""
    kept, made = tmp_path / "kept", tmp_path / "made"
    for directory in (kept, made):
        directory.mkdir()
    results(made, a=("works", "works"))
    for commit, again, known in (
        ("0123456789ab", False, ["0123456789ab"]),
        ("fedcba987654", True, ["0123456789ab", "fedcba987654"]),
        ("fedcba987654", True, ["0123456789ab", "fedcba987654"]),
        ("aaaaaaaaaaaa", False, ["aaaaaaaaaaaa"]),
    ):
        monkeypatch.setattr(matrix, "head", lambda commit=commit: commit)
        matrix.keep(made, kept, again)
        assert matrix.commits(kept) == {"t.py": known}
        row = f"| **t.py** | 1 of 1 | 1 of 1 | {', '.join(known)} |"
        assert row in matrix.document(matrix.load(kept), matrix.commits(kept)).splitlines()


def test_what_was_not_run_is_named(tmp_path: Path) -> None:
    """The table of a part of the tests passes for that of all."""
    text = matrix.document(whole(3), {})
    assert re.search(r"Not run: .*\btest_features\.py\b", text)
    assert "test_pin.py, " not in text


def test_tests_that_are_gone_have_no_row(tmp_path: Path) -> None:
    """A test that was renamed stays in the table for ever."""
    name = next(iter(re.findall(r"def (test_\w+)", (matrix.CHECKOUT / FILE).read_text())))
    there = f"{FILE}::{name}[a param with :: and [brackets]]"
    found = {NEW: {there: "works", f"{FILE}::test_gone": "works", "tests/kernel/gone.py::a": "x"}}
    assert matrix.still_there(found) == {NEW: {there: "works"}}


LINES = ("5.10.1", "6.1.2", "6.12.3", "7.3.4", "6.18.5")
FILE = "tests/kernel/test_pin.py"


def whole(works: int, other: str = "too old (6.1)", file: str = FILE) -> matrix.Results:
    """Results of all kernels for three tests, of which so many work on 5.10."""
    return {
        kernel: {
            f"{file}::{test}": "works" if kernel != LINES[0] or test < works else other
            for test in range(3)
        }
        for kernel in LINES
    }


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docs/kernels.md by which two of three tests of each file work on 5.10."""
    path = tmp_path / "kernels.md"
    both = {k: {**whole(2)[k], **whole(2, file="tests/kernel/test_gone.py")[k]} for k in LINES}
    newer = {kernel.replace("5.10.1", "5.10.0-9-amd64"): both[kernel] for kernel in both}
    path.write_text(matrix.document(newer, {}))
    monkeypatch.setattr(matrix, "DOCUMENT", path)
    return path


def test_what_works_no_longer_is_told(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A test that became too old, or is not run any more, leaves no trace but the table."""
    told = [f"{FILE} on 5.10.1: 1, were 2 on 5.10.0-9-amd64"]
    assert matrix.lost(whole(1), matrix.WHOLE) == told
    assert matrix.judge(whole(1), told) == 1
    assert f"fewer tests work: {told[0]}" in capsys.readouterr().out
    dropped = whole(3)
    dropped["7.3.4"].popitem()
    assert matrix.lost(dropped, matrix.WHOLE) == [f"{FILE} on 7.3.4: 2, were 3 on 7.3.4"]
    none: matrix.Results = {kernel: {} for kernel in LINES}
    assert len(matrix.lost(none, matrix.WHOLE)) == len(LINES)


def test_what_is_no_loss(written: Path) -> None:
    """A whole matrix could not be passed, or part of one would be taken for it."""
    for enough in (whole(2), whole(3), whole(1, "failed")):
        assert matrix.lost(enough, matrix.WHOLE) == []
        assert matrix.judge(whole(2), []) == 0
    assert matrix.lost(whole(1), ["tests/kernel/links"]) == []
    part = whole(1)
    del part["6.1.2"]
    assert matrix.lost(part, matrix.WHOLE) == []
    written.unlink()
    assert matrix.lost(whole(1), matrix.WHOLE) == []


@pytest.fixture
def again(written: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """``again(results, "--write", ...)``: the command, where runs have left these results."""
    monkeypatch.setattr(matrix, "still_there", lambda results: results)
    monkeypatch.setattr(matrix, "run_again", lambda kept: 0)
    monkeypatch.setattr(matrix, "ATTACHMENTS", written.with_name("attachments.md"))
    (written.with_name("attachments.md")).write_text("| hook |\n")

    def main(found: matrix.Results, *options: str) -> int:
        monkeypatch.setattr(matrix, "load", lambda kept: found)
        monkeypatch.setattr("sys.argv", ["matrix", "--again", *options])
        return matrix.main()

    return main


def test_nothing_is_written_over_a_loss(written: Path, again: Callable[..., int]) -> None:
    """The next run would compare with the smaller number."""
    before = written.read_text()
    assert again(whole(1), "--write") == 1
    assert written.read_text() == before
    assert again(whole(1), "--write", "--accept-fewer") == 0
    assert matrix.recorded(written.read_text())["5.10.1"] == {FILE: 1}


def test_the_table_of_some_kernels_is_not_written(
    written: Path, again: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """`make test-kernels KERNELS=6.1` would take the others out of docs/kernels.md."""
    before = written.read_text()
    part = whole(3)
    del part["6.1.2"], part["7.3.4"]
    assert again(part, "--write") == 0
    assert written.read_text() == before
    assert "stays as it is: there are no results of 6.1, 7.x\n" in capsys.readouterr().out
    assert again(whole(3)) == 0
    assert written.read_text() == before
    assert again(whole(3), "--write") == 0
    assert "written: docs/kernels.md" in capsys.readouterr().out
    assert written.read_text() != before


def test_what_is_written_can_be_read_again() -> None:
    """The next matrix would compare with nothing, or with the numbers of other kernels."""
    name = f"{FILE}::a[b|c]"
    results = {kernel: {**whole(1)[kernel], name: "not built (CONFIG_X)"} for kernel in LINES}
    text = matrix.document(results, {FILE: ["0123456789ab", "fedcba987654"]})
    assert matrix.recorded(text) == {
        kernel: {FILE: 1 if kernel == LINES[0] else 3} for kernel in results
    }
