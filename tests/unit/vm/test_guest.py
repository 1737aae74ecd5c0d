"""Judging guests, with a stand-in for vng that behaves like a guest in a given way."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest

from tests.vm import guest
from tests.vm.guest import Job, Root, Verdict, command_script, judge, overlays
from tests.vm.kernels import KERNELS, Kernel

KERNEL = Kernel(KERNELS["5.10"], "amd64", "5.10.0-32-amd64", Path("/nowhere"))


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """A tree with nothing but the options."""
    (tmp_path / "tree" / "boot").mkdir(parents=True)
    (tmp_path / "tree" / "boot" / "config-5.10.0-32-amd64").write_text("CONFIG_BPF=y\n")
    return Kernel(KERNELS["5.10"], "amd64", "5.10.0-32-amd64", tmp_path / "tree")


@pytest.mark.parametrize(
    ("files", "expired", "verdict", "status"),
    [
        ({"started": "", "status": "0\n"}, False, Verdict.FINISHED, 0),
        ({"started": "", "status": "124\n"}, False, Verdict.FINISHED, 124),
        # The command ended, only the power off did not.
        ({"started": "", "status": "3\n"}, True, Verdict.FINISHED, 3),
        ({"started": ""}, True, Verdict.TIMEOUT, None),
        ({"started": ""}, False, Verdict.DIED, None),
        ({}, False, Verdict.NO_BOOT, None),
        ({}, True, Verdict.NO_BOOT, None),
        ({"error": "no bpffs\n"}, False, Verdict.HARNESS, None),
        # The command ended well, but its files did not arrive.
        ({"started": "", "error": "cannot copy\n"}, False, Verdict.HARNESS, None),
        ({"started": "", "status": ""}, False, Verdict.HARNESS, None),
        ({"started": "", "status": "0 0\n"}, False, Verdict.HARNESS, None),
    ],
)
def test_verdicts(
    files: dict[str, str], expired: bool, verdict: Verdict, status: int | None
) -> None:
    """A guest that did not report its command's end passes, or one that did is called dead."""
    assert judge(files, expired)[:2] == (verdict, status)


def test_only_a_reported_zero_is_a_pass() -> None:
    """Some verdict other than a finished command yields exit status zero."""
    statuses = {verdict: guest.Outcome(verdict, None).exit_status for verdict in Verdict}
    assert 0 not in statuses.values()
    assert guest.Outcome(Verdict.FINISHED, 0).exit_status == 0
    assert statuses[Verdict.TIMEOUT] == 124
    assert statuses[Verdict.HARNESS] == 125
    assert statuses[Verdict.DIED] == statuses[Verdict.NO_BOOT] == 126


def test_the_command_reaches_the_guest_unchanged(tmp_path: Path) -> None:
    """Quotes, blanks or newlines in arguments or variables are changed by the shell."""
    words = ["a b", "it's", "$HOME", "*", "line\nbreak", "", "-x"]
    job = Job(["printf", "%s|", *words], {"VALUE": "it's $HOME\n*"})
    script = command_script(job, KERNEL, Root(checkout=tmp_path))
    script = script.replace("exec ", 'printf "%s|%s|%s|" "$VALUE" "$EBPF_VM" "$PWD"\nexec ')
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "|".join(["it's $HOME\n*", "5.10", str(tmp_path), *words, ""])


def test_overlays_do_not_nest() -> None:
    """A checkout below a folder that is an overlay already gets an overlay of its own."""
    assert overlays(Path("/home/me/ebpf")) == [Path("/root")]
    assert overlays(Path("/root/ebpf")) == [Path("/root")]
    assert overlays(Path("/builds/ebpf")) == [Path("/root"), Path("/builds/ebpf")]


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put a shell script in the place of vng; ``$job`` is the job folder as the guest sees it."""
    script = tmp_path / "vng"
    script.write_text(
        "#!/bin/sh\n"
        "for word; do case $word in --rwdir=*) job=${word##*=} ;; esac; done\n"
        f"echo boot >> {tmp_path}/boots\n{body}\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(guest, "find_program", lambda name: str(script))


def boots(tmp_path: Path) -> int:
    return (tmp_path / "boots").read_text().count("boot")


def test_output_and_status_come_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: Kernel
) -> None:
    """The command's output, bytes that are no text, its files or its exit status are lost."""
    body = (
        "echo kernel speaks >&2\n: > $job/started\ngrep -q CONFIG_BPF=y $job/config || exit 1\n"
        "sh $job/command.sh\nstatus=$?\necho kept > $job/output/result\necho $status > $job/status"
    )
    stand_in(tmp_path, monkeypatch, body)
    sink = io.BytesIO()
    job = Job(["sh", "-c", r"printf '\377\n'; exit 7"], output=tmp_path / "results")
    outcome = guest.run(kernel, job, sink)
    assert (outcome.verdict, outcome.status) == (Verdict.FINISHED, 7)
    assert sink.getvalue() == b"\xff\n"
    assert (tmp_path / "results" / "result").read_text() == "kept\n"
    assert outcome.serial_tail == "kernel speaks"
    assert boots(tmp_path) == 1


def test_a_guest_that_does_not_boot_is_tried_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: Kernel
) -> None:
    """A guest that ends at once, without a word and with status 0, passes or is given up."""
    stand_in(tmp_path, monkeypatch, "exit 0")
    outcome = guest.run(kernel, Job(["true"]), io.BytesIO())
    assert outcome.verdict is Verdict.NO_BOOT
    assert outcome.serial_tail == "(the guest printed nothing)"
    assert boots(tmp_path) == 2


def test_the_second_try_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: Kernel
) -> None:
    """A guest that comes up at the second try is still reported as dead."""
    first = f'[ "$(wc -l < {tmp_path}/boots)" = 1 ] && exit 255'
    stand_in(tmp_path, monkeypatch, f"{first}\n: > $job/started\necho 0 > $job/status")
    assert guest.run(kernel, Job(["true"]), io.BytesIO()).exit_status == 0


def test_a_panic_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: Kernel
) -> None:
    """A command that kills the guest gets a second chance to pass."""
    stand_in(tmp_path, monkeypatch, ": > $job/started\necho panic >&2\nexit 255")
    outcome = guest.run(kernel, Job(["true"]), io.BytesIO())
    assert outcome.verdict is Verdict.DIED
    assert outcome.serial_tail == "panic"
    assert boots(tmp_path) == 1


def test_a_hung_guest_is_ended_with_its_helpers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: Kernel
) -> None:
    """The guest goes on after its time, or the run waits for helpers that keep the pipes open."""
    stand_in(tmp_path, monkeypatch, ": > $job/started\nsleep 100000 &\nsleep 100000")
    outcome = guest.run(kernel, Job(["true"], timeout=0.1), io.BytesIO())
    assert outcome.verdict is Verdict.TIMEOUT
