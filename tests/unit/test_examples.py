"""The parts of the examples that need no kernel: how they show things, and --help."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf.asm import packet, snippets

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


# As Python does for a program that is run there.
sys.path.insert(0, str(EXAMPLES))
try:
    import map_frames
    import opensnoop
    from parts import command, execsnoop_bpf, execsnoop_events, terminal
finally:
    sys.path.remove(str(EXAMPLES))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_help(path: Path) -> None:
    """An example would not say how it is used."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert "usage:" in done.stdout
    assert f"sudo python {path.name}" in done.stdout


def library() -> set[str]:
    """The functions of the assembler's library, as programs write them: ``packet.load``."""
    own = {"ebpf.asm.packet", "ebpf.asm.checksums", "ebpf.asm.snippets"}
    return {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in (packet, snippets)
        for name, value in vars(module).items()
        if isinstance(value, FunctionType) and value.__module__ in own and name[0] != "_"
    }


def attributes(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}


def test_examples_use_the_whole_library() -> None:
    """There would be a function of the assembler's library that no example shows."""
    assert "packet.update_checksum" in library()
    assert library() - set().union(*map(attributes, EXAMPLES.rglob("*.py"))) == set()


def test_the_guide_names_the_whole_library() -> None:
    """There would be a function of the assembler's library that its guide does not know."""
    guide = (ROOT / "docs" / "asm-library.md").read_text("utf-8")
    named = {text.partition("(")[0] for text in re.findall(r"`([^`\n]+)`", guide)}
    assert {name.partition(".")[2] for name in library()} - named == set()


def test_the_readme_lists_each_example() -> None:
    """There would be an example that nobody finds."""
    readme = (ROOT / "README.md").read_text("utf-8")
    listed = set(re.findall(r"^\| \[(\w+)\.py\]\(examples/\1\.py\) \|", readme, re.MULTILINE))
    assert listed == {path.stem for path in EXAMPLES.glob("*.py")}


@pytest.mark.parametrize("way", map_frames.WAYS)
def test_each_way_shows_the_same_columns(way: str, capsys: pytest.CaptureFixture[str]) -> None:
    """pandas or Arrow would not take the columns, or see other numbers in their memory."""
    numpy = pytest.importorskip("numpy")
    module, show = map_frames.WAYS[way]
    pytest.importorskip(module)
    calls = {number: (number * 7) % 13 for number in range(13)}
    show(numpy.array([*calls], "u4"), numpy.array([*calls.values()], "u8"))
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == f"{head.partition(':')[0]}: 13 processes, {sum(calls.values())} calls"
    rows = [[int(word) for word in line.split()] for line in lines if "pid" not in line]
    most = sorted(calls.items(), key=lambda entry: -entry[1])[: map_frames.MOST]
    assert rows == [list(entry) for entry in most]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--"], "no command"),
        (["--ring-size", "5000"], "5000 is not a power of two"),
        (["--ring-size", "large"], "'large' is no number"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake on the command line would end in a traceback."""
    with pytest.raises(SystemExit):
        command.split_command(command.snooper("execsnoop", ""), arguments)
    assert complaint in capsys.readouterr().err


def test_the_command_keeps_its_options() -> None:
    """Options of the command would be taken for execsnoop's."""
    options = command.split_command(
        command.snooper("execsnoop", ""), ["--json", "--", "git", "--json", "--", "file"]
    )
    assert options.json
    assert options.command == ["git", "--json", "--", "file"]


# A stopped or continued process does not end, so only these are statuses of an exit.
STATUSES = [
    (0, "0"),
    (7 << 8, "7"),
    (255 << 8, "255"),
    (signal.SIGKILL, "SIGKILL"),
    (signal.SIGSEGV | 0x80, "SIGSEGV"),
    (45, "SIG45"),
]


@pytest.mark.parametrize(("status", "text"), STATUSES)
def test_status(status: int, text: str) -> None:
    """A signal would be shown as an exit status, or an unnamed one would end the trace."""
    assert execsnoop_events.describe_status(status) == text


def test_duration() -> None:
    """The unit would be wrong by a factor of a thousand."""
    times = [400_000, 5_900_000, 1_240_000_000, 123_000_000_000]
    shown = [execsnoop_events.describe_duration(time) for time in times]
    assert shown == ["0.4 ms", "5.9 ms", "1.24 s", "2 min 3 s"]


@given(st.lists(st.binary().map(lambda data: data.replace(b"\0", b"x")), min_size=1))
def test_arguments_are_split_where_they_end(arguments: list[bytes]) -> None:
    """Empty arguments, or the last one, would be lost."""
    data = b"".join(argument + b"\0" for argument in arguments)
    assert execsnoop_events.split_arguments(data) == arguments


def test_cut_off_arguments_are_kept() -> None:
    """The beginning of the argument that did not fit would be lost."""
    assert execsnoop_events.split_arguments(b"true\0start of") == [b"true", b"start of"]
    assert execsnoop_events.split_arguments(b"") == []


@given(st.binary() | st.text().map(os.fsencode))
def test_nothing_reaches_the_terminal_raw(data: bytes) -> None:
    """An argument could move the cursor, clear the screen or break a line."""
    assert terminal.printable(data).isprintable()


def test_text_stays_readable() -> None:
    """Letters outside ASCII would be escaped, or escapes would not tell what is there."""
    assert terminal.printable("grün 木".encode()) == "grün 木"
    assert terminal.printable(b"\xff\n\x1b[31m") == "\\xff\\n\\x1b[31m"


@given(st.text("ab木e\u0301"), st.integers(1, 12))
def test_fit(text: str, width: int) -> None:
    """A line would wrap, be cut though it fits, or lose its beginning."""
    fitted = terminal.fit(text, width)
    size = sum(map(terminal.cells, text))
    assert sum(map(terminal.cells, fitted)) <= width
    assert (fitted == text) == (size <= width)
    assert text.startswith(fitted.removesuffix("…"))


def record(kind: int, time: int, pid: int, arguments: bytes = b"", status: int = 0) -> bytes:
    header = execsnoop_bpf.Header(time, "name", kind, pid, 1, 1000, status, 1, len(arguments))
    return bytes(execsnoop_bpf.HEADER.pack(header)) + arguments


def test_an_end_belongs_to_the_last_execution() -> None:
    """A process that executes twice would end as what it was first, one end could come twice, or
    one whose execution is unknown would be made up."""
    decoder = execsnoop_events.Decoder()
    decoder.decode(record(execsnoop_bpf.EXEC, 10, 5, b"sh\0"))
    second = decoder.decode(record(execsnoop_bpf.EXEC, 20, 5, b"true\0"))
    end = decoder.decode(record(execsnoop_bpf.EXIT, 30, 5))
    assert end.execution is second
    assert decoder.decode(record(execsnoop_bpf.EXIT, 31, 5)) is None
    assert decoder.decode(record(execsnoop_bpf.EXIT, 32, 6)) is None


def test_json() -> None:
    """A field would be missing, or bytes would not survive."""
    out = io.StringIO()
    lines = execsnoop_events.JsonLines(out)
    decoder = execsnoop_events.Decoder()
    lines.show(decoder.decode(record(execsnoop_bpf.EXEC, 10**9, 5, b"a\0\xff\n\0")))
    lines.show(
        decoder.decode(record(execsnoop_bpf.EXIT, 3 * 10**9, 5, status=signal.SIGSEGV | 0x80))
    )
    execution, end = map(json.loads, out.getvalue().splitlines())
    assert [os.fsencode(argument) for argument in execution["arguments"]] == [b"a", b"\xff\n"]
    assert execution["arguments_complete"] is True
    assert (execution["pid"], execution["parent_pid"], execution["uid"]) == (5, 1, 1000)
    assert "exit_status" not in execution
    assert end["signal"] == "SIGSEGV"
    assert end["exit_status"] is None
    assert end["core_dumped"] is True
    assert end["duration"] == 2


def test_table_fits_a_pipe_and_says_what_is_missing() -> None:
    """Arguments that are not all there would look as if they were."""
    out = io.StringIO()
    header = execsnoop_bpf.Header(0, "name", execsnoop_bpf.EXEC, 5, 1, 0, 0, 0, 0)
    execsnoop_events.Table(out).show(execsnoop_events.Execution(header, [b"a b", b"x" * 500]))
    assert out.getvalue().endswith(f" 'a b' {'x' * 500} (incomplete)\n")


@given(st.integers(0, (1 << 32) - 1))
def test_flags_of_open_are_named_once(flags: int) -> None:
    """A flag would be lost, or O_DSYNC be shown beside the O_SYNC that contains it."""
    names = opensnoop.flag_names(flags)
    values = [int(name, 16) if name.startswith("0x") else getattr(os, name) for name in names]
    assert sum(values) == flags


def test_flags_of_open_have_the_names_of_the_manual() -> None:
    """An alias would be shown that nobody writes."""
    assert opensnoop.flag_names(os.O_RDONLY) == ["O_RDONLY"]
    flags = os.O_RDWR | os.O_SYNC | os.O_NONBLOCK | os.O_CLOEXEC
    assert set(opensnoop.flag_names(flags)) == {"O_RDWR", "O_SYNC", "O_NONBLOCK", "O_CLOEXEC"}
    assert opensnoop.flag_names(os.O_TMPFILE | os.O_WRONLY) == ["O_WRONLY", "O_TMPFILE"]
