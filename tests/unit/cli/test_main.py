"""The command line itself: what it takes, prints and returns."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

import ebpf
from ebpf.cli import facts, main
from tests.unit.cli.test_findings import HEALTHY, ORDINARY


@pytest.fixture(params=["healthy", "ordinary"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> facts.Facts:
    """A machine that doctor finds, healthy or not."""
    found = HEALTHY if request.param == "healthy" else ORDINARY
    monkeypatch.setattr(facts, "gather", lambda: found)
    return found


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version must name the version that is installed."""
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"ebpf {ebpf.__version__}\n"


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["doctor", "--nonsense"]])
def test_a_wrong_command_line_exits_with_2(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """1 is doctor's own "no", and must not be mistaken for a typing error."""
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_the_exit_status_is_the_verdict(
    machine: facts.Facts, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scripts go by the exit status; the last line of the text must say the same."""
    status = main(["doctor"])
    assert status == (0 if machine is HEALTHY else 1)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("BPF cannot be used here" if status else "BPF can be used here")


def test_json_has_the_members_that_the_help_documents(
    machine: facts.Facts, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a script written by the help would not find what it reads."""
    status = main(["doctor", "--json"])
    shown = json.loads(capsys.readouterr().out)
    with pytest.raises(SystemExit):
        main(["doctor", "--help"])
    words = capsys.readouterr().out.split("--json prints one object:")[1].split()
    assert set(shown) == {"version", "ok", "checks"}
    assert shown["ok"] == (status == 0)
    for check in shown["checks"].values():
        assert set(check) == {"state", "essential", "value", "detail", "remedy", "command"}
        assert set(check) | set(shown) <= set(words)


def test_no_escape_sequences_without_a_terminal(
    machine: facts.Facts, capsys: pytest.CaptureFixture[str]
) -> None:
    """Colours in a file or a pipe would be read as text."""
    main(["doctor"])
    assert "\x1b" not in capsys.readouterr().out


def test_the_essential_alone_decides(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A machine without kprobes or bpffs can run BPF; its exit status has to be 0."""
    lesser = replace(HEALTHY, mounts=[], kprobe_pmu=False, tracefs=None, btf_size=0)
    monkeypatch.setattr(facts, "gather", lambda: lesser)
    assert main(["doctor"]) == 0
    assert "without what is not ok above" in capsys.readouterr().out


def test_the_command_line_is_read_without_what_commands_need() -> None:
    """--version must not cost the imports of every command."""
    code = (
        "import sys; from ebpf.cli import _parser; _parser();"
        "print([n for n in ('ebpf.features', 'ebpf.cli.facts', 'json') if n in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"
