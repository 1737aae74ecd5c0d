"""The examples that measure how long something takes, and the one that lists threads."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import ebpf
from ebpf.tracefs import tracepoint_fields
from tests.binaries import built
from tests.kernel import environment
from tests.kernel.examples.support import run, running
from tests.objects import EXAMPLES

# As Python does for a program that is run there.
sys.path.insert(0, str(EXAMPLES))
try:
    import runqlat
    from parts import latency
finally:
    sys.path.remove(str(EXAMPLES))


def slots(text: str) -> dict[str, int]:
    """The histogram that an example printed: start of each slot -> how often."""
    return {low: int(count) for low, count in re.findall(r"(\S+) \.\. \S+ +\| +(\d+) \|", text)}


def test_funclatency_measures_calls_of_a_library() -> None:
    """Calls are missed, or their time is another's."""
    library = ctypes.CDLL(str(built("library")))
    arguments = (str(built("library")), "twice", "--pid", str(os.getpid()))
    with running("funclatency", *arguments, ready="counting") as output:
        for number in range(10):
            assert library.twice(number) == 2 * number
        other = f"import ctypes; ctypes.CDLL({arguments[0]!r}).twice(1)"
        subprocess.run([sys.executable, "-c", other], check=True)
    assert output.text.startswith("twice: 10 times\n")
    assert sum(slots(output.text).values()) == 10


def test_funclatency_tells_short_calls_from_long_ones() -> None:
    """The histogram's slots are powers of two of nanoseconds."""
    with running("funclatency", "libc.so.6", "usleep", ready="counting") as output:
        ctypes.CDLL(None).usleep(300_000)
    assert slots(output.text).keys() & {"134ms", "268ms", "537ms", "1.07s"}


def test_funclatency_says_what_is_not_there() -> None:
    """A name that is misspelt would measure nothing until it is ended."""
    told = run("funclatency", "libc.so.6", "getadrinfo", status=1)
    assert "no function getadrinfo" in told
    assert "nearest: getaddrinfo" in told
    assert "no library libnone.so" in run("funclatency", "libnone.so", "f", status=1)


def test_pygc_sees_collections_of_another_process() -> None:
    """Which were there before it started to watch."""
    python = os.path.realpath("/usr/bin/python3")
    notes = subprocess.run(["readelf", "-n", python], capture_output=True, text=True)
    if "gc__start" not in notes.stdout:
        assert "no USDT probe" in run("pygc", "--python", python, status=1)
        return
    code = "import gc; gc.disable(); print(flush=True); input(); [gc.collect() for _ in range(3)]"
    process = subprocess.Popen(
        [python, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        with running(
            "pygc", "--python", python, "--pid", str(process.pid), ready="count"
        ) as output:
            process.communicate(b"\n")
    # Python collects again when it ends.
    assert int(output.text.split(":")[1].split()[0]) >= 3


def test_runqlat_sees_a_thread_wait() -> None:
    """Two threads that want one processor: each waits while the other has it."""
    home = os.sched_getaffinity(0)
    with running("runqlat", ready="counting") as output:
        spin = "import os, time; os.sched_setaffinity(0, {%d}); end = time.monotonic() + 1\n"
        code = spin % min(home) + "while time.monotonic() < end: pass"
        both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
        assert [process.wait() for process in both] == [0, 0]
    found = slots(output.text)
    waits = {"524us", "1.05ms", "2.1ms", "4.19ms", "8.39ms", "16.8ms", "33.6ms", "67.1ms"}
    assert sum(found.get(slot, 0) for slot in waits) > 5


def switch(previous: int, state: int, next: int) -> bytes:
    """A record of the tracepoint sched_switch."""
    fields = tracepoint_fields("sched", "sched_switch")
    record = bytearray(max(field.offset + field.size for field in fields.values()))
    numbers = {"prev_pid": previous, "prev_state": state, "next_pid": next}
    for name, number in numbers.items():
        start, size = fields[name].offset, fields[name].size
        record[start : start + size] = number.to_bytes(size, sys.byteorder)
    return bytes(record)


@pytest.mark.parametrize(
    ("state", "waits"),
    [(0, True), (0x100, True), (1, False), (2, False), (0x80, False)],
    ids=["runs", "preempted", "sleeps", "waits for a disk", "idle kernel thread"],
)
def test_runqlat_knows_who_wants_to_run(state: int, waits: bool) -> None:
    """Time asleep would be told as waiting, or the wait after a preemption be missed.

    The program runs as one of a type that can be run by hand, on records as the scheduler's.
    """
    with latency.maps() as (starts, histogram):
        with ebpf.Program.load(
            ebpf.ProgramType.SYSCALL,
            runqlat.switched(starts, histogram),
            license="GPL",
            flags=ebpf.ProgramFlags.SLEEPABLE,
        ) as program:
            for record in (switch(7, state, 8), switch(8, 1, 7)):
                program.test_run(ctx=record)
            assert sum(histogram) == waits
            # The idle task, of which each processor has one, waits for nothing.
            for record in (switch(0, 0, 8), switch(8, 1, 0)):
                program.test_run(ctx=record)
        assert sum(histogram) == waits
        assert dict(starts.items()) == {}


def disk_writes() -> int:
    """Requests to write that disks have done, those that take requests: a guest may have none."""
    rows = [line.split() for line in Path("/proc/diskstats").read_text().splitlines()]
    return sum(int(row[7]) for row in rows if not row[2].startswith(("zram", "dm-", "md")))


def test_biolatency_measures_writes(tmp_path: Path) -> None:
    """Requests are missed, or their end is another's."""
    with running("biolatency", ready="counting") as output:
        before = disk_writes()
        with open(tmp_path / "file", "wb") as file:
            file.write(bytes(1 << 22))
            os.fsync(file.fileno())
        written = disk_writes() - before
    total = int(output.text.split(":")[1].split()[0])
    assert (total > 0) == (written > 0)
    assert sum(slots(output.text).values()) == total


def test_tasks_lists_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared with /proc, for this process and the kernel's first thread.

    A thread has named itself with half a character and what terminals obey: that must not end the
    list, and reach no terminal.
    """
    named, release = threading.Event(), threading.Event()

    def run_named() -> None:
        Path("/proc/thread-self/comm").write_bytes(b"caf\xc3\n\x1b[31m")
        named.set()
        release.wait()

    thread = threading.Thread(target=run_named)
    thread.start()
    assert named.wait(60)
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")
    try:
        rows = [line.split(maxsplit=3) for line in run("tasks").splitlines()[1:]]
    finally:
        release.set()
        thread.join()
    me = os.getpid()
    name = Path("/proc/self/comm").read_text().strip()
    own = [row for row in rows if row[0] == str(me)]
    assert [str(me), str(thread.native_id), str(os.getppid()), r"caf\xc3\n\x1b[31m"] in own
    assert [str(me), str(me), str(os.getppid()), name] in own
    assert ["2", "2", "0", "[kthreadd]"] in rows


def test_tasks_of_one_process() -> None:
    """Before 6.1 the kernel would list all of them: that is said."""
    if environment.kernel_version() < (6, 1):
        assert "requires Linux 6.1 or newer" in run("tasks", "--pid", "1", status=1)
        return
    rows = run("tasks", "--pid", str(os.getpid())).splitlines()[1:]
    assert {row.split()[0] for row in rows} == {str(os.getpid())}
    assert "no process" in run("tasks", "--pid", str(0x3FFF_FFFF), status=1)
