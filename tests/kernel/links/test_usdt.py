"""USDT probes: of a program of our own, with every form of argument, and of the interpreter."""

from __future__ import annotations

import os
import platform
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ebpf import (
    BpfError,
    BpfFileNotFoundError,
    Collection,
    CollectionSpec,
    FormatError,
    NotSupportedError,
    ProgramType,
    RingBuffer,
)
from ebpf._sys import facts
from ebpf.errors import BpfProcessLookupError
from tests.binaries import built
from tests.kernel import environment
from tests.kernel.samples import ATTACH_COOKIE, PASS, keep, load, per_process
from tests.objects import compiled

EVENT = struct.Struct("=QII12q")

# Where struct pt_regs has the instruction pointer.
IP_OFFSET = {"x86_64": 128, "aarch64": 256}[platform.machine()]

# What the probe "forms" passes: see tests/c/usdt.c.
FORMS = [-9, -5, -5, -3, 250, -300, 4000000000, 33, 0xFFFB, 0xFB]


class Traced:
    """The program with probes, which runs through them once for each line."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [str(built("usdt"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self.process.pid

    def run(self) -> int:
        """One time; how many watch the probe with a semaphore."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@pytest.fixture
def traced() -> Iterator[Traced]:
    made = Traced()
    # Its code is mapped once it answers.
    made.run()
    yield made
    with made.process:
        made.process.communicate()


@contextmanager
def loaded(layout: int) -> Iterator[Collection]:
    spec = CollectionSpec.from_file(compiled(f"usdt_{layout}"))
    spec.variables["ip_offset"].value = IP_OFFSET
    with spec.load() as objects:
        yield objects


def events(objects: Collection, pid: int) -> list[tuple[int, list[int]]]:
    """(cookie, arguments) of each time that the process came to a probe."""
    with RingBuffer(objects.maps["events"]) as ring:
        rows = [EVENT.unpack(record) for record in ring.read_batch(64)]
    return [(row[0], list(row[3 : 3 + row[1]])) for row in rows if row[2] == pid]


@pytest.mark.parametrize("layout", [16, 24])
def test_each_place_of_a_probe_has_its_own_arguments(layout: int, traced: Traced) -> None:
    """Of the two places of one probe, one has 4 bytes and a sign, the other 8."""
    with loaded(layout) as objects:
        program = objects.programs["on_probe"]
        with program.attach_usdt(built("usdt"), "sample", "twice", pid=traced.pid, cookie=77):
            for _ in range(2):
                traced.run()
        traced.run()
        assert sorted(events(objects, traced.pid)) == [(77, [2]), (77, [3])]


def test_the_object_and_the_library_agree_about_cookies(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Distributions bring them to older releases (RHEL 9 is a 5.14): the program would look for its
    arguments by a cookie that nobody has set, and find those of the first probe."""
    monkeypatch.setattr(facts, "kernel_version", lambda: min((5, 14), environment.kernel_version()))
    with loaded(16) as objects:
        program = objects.programs["on_probe"]
        with (
            program.attach_usdt(built("usdt"), "sample", "watched", pid=traced.pid, cookie=1),
            program.attach_usdt(built("usdt"), "sample", "twice", pid=traced.pid, cookie=2),
        ):
            for _ in range(2):
                traced.run()
        seen = sorted(events(objects, traced.pid))
        assert seen == [(1, [42]), (1, [42]), (2, [2]), (2, [3])]


def test_every_form_of_argument(traced: Traced) -> None:
    """Constants, registers, memory, scaled indexes, all sizes and signs."""
    with loaded(24) as objects:
        program = objects.programs["on_probe"]
        with program.attach_usdt(built("usdt"), "sample", "forms", pid=traced.pid):
            traced.run()
        assert events(objects, traced.pid) == [(0, FORMS)]


# Only x86-64 has scaled indexes: elsewhere there is nothing to test, which is none of the outcomes.
if platform.machine() == "x86_64":

    def test_an_index_that_the_objects_header_does_not_know(traced: Traced) -> None:
        """The program would read another address."""
        with loaded(16) as objects:
            program = objects.programs["on_probe"]
            with pytest.raises(FormatError, match=r"scaled index.*libbpf 1\.7"):
                program.attach_usdt(built("usdt"), "sample", "forms", pid=traced.pid)


def test_a_semaphore_is_raised_while_somebody_watches(traced: Traced) -> None:
    """Programs leave out the work for arguments that nobody reads."""
    with loaded(16) as objects:
        assert traced.run() == 0
        program = objects.programs["on_probe"]
        with program.attach_usdt(built("usdt"), "sample", "watched", pid=traced.pid):
            assert traced.run() == 1
        assert traced.run() == 0
        assert events(objects, traced.pid) == [(0, [42])]


def test_without_a_pid_every_process_is_watched(traced: Traced) -> None:
    """Those to come included. Before 5.15 programs can't tell, without a pid, where they are."""
    with loaded(16) as objects, Later() as later:
        program = objects.programs["on_probe"]
        with program.attach_usdt(built("usdt"), "sample", "watched"):
            traced.run()
            later.start()
            later.traced.run()
        pids = [traced.pid, later.traced.pid]
        with RingBuffer(objects.maps["events"]) as ring:
            rows = [EVENT.unpack(record) for record in ring.read_batch(64)]
        assert [row[2] for row in rows if row[2] in pids] == pids


class Later:
    """A second traced process, which starts when it is told to."""

    traced: Traced

    def start(self) -> None:
        self.traced = Traced()

    def __enter__(self) -> Later:
        return self

    def __exit__(self, *exception: object) -> None:
        if hasattr(self, "traced"):
            with self.traced.process:
                self.traced.process.communicate()


def test_descriptions_are_shared_and_freed(traced: Traced) -> None:
    """The object's map has 4 entries: after some attachments there would be none left."""
    with loaded(16) as objects:
        program = objects.programs["on_probe"]
        for cookie in range(6):
            with program.attach_usdt(
                built("usdt"), "sample", "twice", pid=traced.pid, cookie=cookie
            ):
                traced.run()
        assert [cookie for cookie, _ in events(objects, traced.pid)] == list(range(6))
        first = program.attach_usdt(built("usdt"), "sample", "twice", pid=traced.pid)
        with program.attach_usdt(built("usdt"), "sample", "twice", pid=traced.pid, cookie=8):
            with pytest.raises(BpfError, match="room for 4 descriptions"):
                program.attach_usdt(built("usdt"), "sample", "watched", pid=traced.pid)
            first.close()
            program.attach_usdt(built("usdt"), "sample", "watched", pid=traced.pid).close()


def test_a_program_without_descriptions_has_a_cookie(traced: Traced) -> None:
    """As for uprobes; an assembled program may read the registers itself."""
    with per_process() as kept:
        if environment.kernel_version() < (5, 15):
            with load(ProgramType.KPROBE, PASS) as plain:
                plain.attach_usdt(built("usdt"), "sample", "watched", cookie=1)
        with load(ProgramType.KPROBE, keep(kept, ATTACH_COOKIE)) as program:
            with program.attach_usdt(built("usdt"), "sample", "watched", cookie=5):
                traced.run()
            assert kept[traced.pid] == 5


def test_the_probes_of_an_interpreter(tmp_path: Path) -> None:
    """Probes that others built: Debian's python3 has them, with semaphores."""
    interpreter = os.path.realpath("/usr/bin/python3")
    notes = subprocess.run(["readelf", "-n", interpreter], capture_output=True, text=True)
    if "gc__start" not in notes.stdout:
        with (
            load(ProgramType.KPROBE, PASS) as program,
            pytest.raises(BpfFileNotFoundError, match="no USDT probe"),
        ):
            program.attach_usdt(interpreter, "python", "gc__start")
        return
    code = "import gc, sys; print(flush=True); input(); gc.collect(1); gc.collect(2)"
    process = subprocess.Popen(
        [interpreter, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process, loaded(16) as objects:
        assert process.stdout is not None
        process.stdout.readline()
        program = objects.programs["on_probe"]
        with program.attach_usdt(interpreter, "python", "gc__start", pid=process.pid):
            process.communicate(b"\n")
        generations = [arguments for _, arguments in events(objects, process.pid)]
        assert generations[:2] == [[1], [2]]


def test_a_probe_that_is_none() -> None:
    """The uprobe's offset would be wrong, or nothing would be attached."""
    with load(ProgramType.KPROBE, PASS) as program:
        with pytest.raises(BpfFileNotFoundError, match=r"sample:twise .*nearest: sample:twice"):
            program.attach_usdt(built("usdt"), "sample", "twise")
        with pytest.raises(BpfFileNotFoundError, match="no USDT probes in"):
            program.attach_usdt("true", "sample", "twice")
        with pytest.raises(BpfFileNotFoundError, match="path: /no/such"):
            program.attach_usdt("/no/such", "sample", "twice")
        with pytest.raises(BpfProcessLookupError, match="no process"):
            program.attach_usdt(built("usdt"), "sample", "twice", pid=0x3FFF_FFFF)
        assert program._links == set()


def test_a_library_without_cookies_needs_a_pid() -> None:
    """Before 5.15 a probe is known by its address, which differs from process to process."""
    if environment.kernel_version() >= (5, 15):
        return
    with loaded(16) as objects, pytest.raises(NotSupportedError, match="without pid") as caught:
        objects.programs["on_probe"].attach_usdt(built("usdt"), "sample", "twice")
    assert caught.value.minimum_version == (5, 15)
