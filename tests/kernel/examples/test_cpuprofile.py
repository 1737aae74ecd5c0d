"""The profiler: stacks of a program whose time goes where its source says."""

from __future__ import annotations

import re
import shlex
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.examples.support import TIMEOUT, command, run

SOURCE = r"""
#include <sys/prctl.h>
__attribute__((noinline)) static long busy_part(long n)
{
	volatile long sum = 0;
	for (long i = 0; i < n; i++)
		sum += i;
	return sum;
}
__attribute__((noinline)) static long rare(long n) { return busy_part(n) + 1; }
__attribute__((noinline)) static long often(long n) { return busy_part(9 * n) + 1; }
int main(void)
{
	volatile long sum = 0;
	prctl(PR_SET_NAME, "spin;\x1b\xc3");
	for (;;)
		sum += rare(100000) + often(100000);
}
"""


@pytest.fixture(scope="module")
def spin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that spends nine tenths of its time below often()."""
    path = tmp_path_factory.mktemp("cpuprofile") / "spin"
    path.with_suffix(".c").write_text(SOURCE)
    flags = ["-O1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls"]
    subprocess.run(["cc", *flags, "-o", path, path.with_suffix(".c")], check=True)
    return path


@pytest.fixture
def spinning(spin: Path) -> Iterator[int]:
    """The id of a process that runs it."""
    with subprocess.Popen([spin]) as process:
        yield process.pid
        process.kill()


def test_the_profile_has_the_stacks_and_how_often(
    spinning: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time that is given to the wrong function sends whoever reads it to the wrong place.

    The process has named itself with half a character and what terminals obey, which must neither
    end the profiler nor make its files unreadable.
    """
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")
    svg = tmp_path / "graph.svg"
    arguments = ("--pid", str(spinning), "--seconds", "3", "--frequency", "199")
    told = run("cpuprofile", *arguments, "--svg", str(svg))
    counts: dict[str, int] = {}
    for line in told.splitlines():
        names, _, number = line.rpartition(" ")
        if names.startswith(r"spin:\x1b\xc3;"):
            counts[names] = int(number)
    total = sum(counts.values())
    often = sum(n for names, n in counts.items() if "main;often;busy_part" in names)
    rare = sum(n for names, n in counts.items() if "main;rare;busy_part" in names)
    # On a machine that does much else, too.
    assert total >= 10
    assert often + rare > 0.7 * total
    assert often > 2 * rare

    root = ElementTree.parse(svg).getroot()
    space = {"s": "http://www.w3.org/2000/svg"}
    boxes = {}
    for group in root.findall("s:g", space):
        title, box = group.find("s:title", space), group.find("s:rect", space)
        assert title is not None
        assert title.text is not None
        assert box is not None
        boxes[title.text.partition(" (")[0]] = (float(box.attrib["width"]), box.attrib["y"])
    assert boxes["often"][0] > 2 * boxes.get("rare", (0.0, ""))[0]
    # Callers below, callees above.
    assert float(boxes["main"][1]) > float(boxes["often"][1])
    assert boxes["all"][0] == pytest.approx(1180, abs=1)


@pytest.mark.parametrize("option", ["", "--pid $!"], ids=["all", "one process"])
def test_ids_in_a_container_are_its_own(spin: Path, option: str) -> None:
    """No process has the id that was asked for, or functions get the names of another one's."""
    script = f'{shlex.quote(str(spin))} & exec "$@" {option}'
    arguments = command("cpuprofile", "--seconds", "2", "--frequency", "199")
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", script, "sh", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    assert "main;often;busy_part" in done.stdout


@pytest.mark.usefixtures("spinning")
def test_what_there_is_no_room_for_is_told() -> None:
    """Samples that the maps do not take are missing without a word, or seem to have no stack."""
    done = subprocess.run(
        command("cpuprofile", "--seconds", "2", "--frequency", "199", "--stacks", "1"),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    told = re.search(r"(\d+) samples were not counted, and of (\d+) a stack is", done.stderr)
    assert told is not None, done.stderr
    missed, lost = map(int, told.groups())
    counts = [line.rpartition(" ") for line in done.stdout.splitlines()]
    assert len(counts) <= 2
    assert sum(int(number) for names, _, number in counts if "[lost]" in names) == lost > 0
    assert missed > 0


def test_what_cannot_be_sampled_is_told() -> None:
    """And not an empty profile."""
    assert "there is no process" in run("cpuprofile", "--pid", str(0x3FFF_FFFF), status=1)
    assert "frequency" in run("cpuprofile", "--frequency", "0", status=1)
    assert "cpuprofile: " in run("cpuprofile", "--frequency", "100000000", status=1)
