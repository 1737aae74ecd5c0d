"""Programs at counters: how often they run, for whom, and on which CPU."""

from __future__ import annotations

import errno
import mmap
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ebpf import (
    BpfError,
    BpfFileNotFoundError,
    ClosedError,
    HashMap,
    LinkGroup,
    NotSupportedError,
    PerfHardware,
    PerfSoftware,
    Program,
    ProgramType,
)
from ebpf.asm import R1, R2, R3, R4, R6, R7, R10, add, call, ld_map_fd, mov, stdw, stxw
from ebpf.errors import BpfProcessLookupError
from tests.kernel import environment
from tests.kernel.samples import ATTACH_COOKIE, PASS, count, keep, load, per_process


@pytest.fixture
def counts() -> Iterator[HashMap[int, int]]:
    with per_process() as made:
        yield made


@pytest.fixture
def program(counts: HashMap[int, int]) -> Iterator[Program]:
    with load(ProgramType.PERF_EVENT, count(counts)) as made:
        yield made


def spin(seconds: float) -> None:
    """Use that much time of a processor."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def page_faults(pages: int) -> None:
    """Touch memory that was never touched, of small pages."""
    with mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE) as memory:
        for page in range(pages):
            memory[page * mmap.PAGESIZE] = 1


def runs(counts: HashMap[int, int]) -> int:
    return counts.lookup(os.getpid()) or 0


def test_each_period_runs_the_program_once(program: Program, counts: HashMap[int, int]) -> None:
    """A period of 10 would be taken for another, or for a frequency."""
    with program.attach_perf_event(PerfSoftware.PAGE_FAULTS, period=10, pid=os.getpid()):
        before = runs(counts)
        page_faults(400)
        # Some faults are the test's own.
        assert 40 <= runs(counts) - before <= 60


def test_a_frequency_is_in_hertz(program: Program, counts: HashMap[int, int]) -> None:
    """It would be taken for a period, which is a run in each hundred nanoseconds."""
    with program.attach_perf_event(PerfSoftware.CPU_CLOCK, frequency=100, pid=os.getpid()):
        spin(0.5)
    # An emulated machine loses ticks.
    assert 2 <= runs(counts) <= 500


# A page at a time, whatever the kernel thinks of huge ones.
TOUCH = """
import mmap
memory = mmap.mmap(-1, 1 << 22)
memory.madvise(mmap.MADV_NOHUGEPAGE)
for page in range(0, len(memory), 4096):
    memory[page] = 1
"""


def test_every_cpu_is_watched_unless_there_is_one(
    program: Program, counts: HashMap[int, int]
) -> None:
    """The processes on another CPU are missing, or there although they were not asked for."""
    home = os.sched_getaffinity(0)
    other = f"import os; os.sched_setaffinity(0, {{{max(home)}}}){TOUCH}"
    with program.attach_perf_event(PerfSoftware.PAGE_FAULTS, period=1, cpu=min(home)) as link:
        assert len(link.links) == 1
        child = subprocess.Popen([sys.executable, "-c", other])
        child.wait()
        # It starts where this process is, and goes on elsewhere.
        one = counts.lookup(child.pid) or 0
    with program.attach_perf_event(PerfSoftware.PAGE_FAULTS, period=1) as link:
        assert len(link.links) == os.sysconf("SC_NPROCESSORS_ONLN")
        child = subprocess.Popen([sys.executable, "-c", other])
        child.wait()
        assert counts[child.pid] > 1000
    assert one < counts[child.pid] or len(home) == 1


def test_one_process_is_watched(program: Program, counts: HashMap[int, int]) -> None:
    """Another process counts as well."""
    with program.attach_perf_event(PerfSoftware.PAGE_FAULTS, period=1, pid=os.getpid()):
        subprocess.run([sys.executable, "-c", ""], check=True)
        page_faults(10)
    assert list(counts) == [os.getpid()]


def test_every_thread_of_a_process_is_watched(program: Program, counts: HashMap[int, int]) -> None:
    """Only the first thread counts, in which a server does next to nothing; or one that starts
    later is missing (5.13)."""
    parts: queue.SimpleQueue[tuple[int, threading.Event] | None] = queue.SimpleQueue()

    def work() -> None:
        for pages, done in iter(parts.get, None):
            page_faults(pages)
            done.set()

    def have_done(pages: int) -> int:
        before = runs(counts)
        done = threading.Event()
        parts.put((pages, done))
        assert done.wait(600)
        return runs(counts) - before

    worker = threading.Thread(target=work)
    worker.start()
    with program.attach_perf_event(PerfSoftware.PAGE_FAULTS, period=1, pid=os.getpid()) as link:
        assert len(link.links) == len(os.listdir("/proc/self/task"))
        assert 1000 <= have_done(1000) < 1500
        parts.put(None)
        worker.join()
        later = threading.Thread(target=work)
        later.start()
        inherited = environment.kernel_version() >= (5, 13)
        assert 1000 * inherited <= have_done(1000) < 1000 * inherited + 500
    after = runs(counts)
    parts.put((1000, threading.Event()))
    parts.put(None)
    later.join()
    assert runs(counts) == after


def test_a_thread_that_starts_later_is_counted_beside_a_cookie() -> None:
    """A thread's counter is another's: its cookie is neither the one that was given nor none.

    The kernel inherits a counter without its cookie, but lets threads that run one after the other
    swap theirs.
    """
    with per_process() as cookies:
        note = [
            mov(R6, R1),
            *ATTACH_COOKIE,
            stxw(R10 - 4, R7),
            stdw(R10 - 16, 1),
            ld_map_fd(R1, cookies),
            mov(R2, R10),
            add(R2, -4),
            mov(R3, R10),
            add(R3, -16),
            mov(R4, 0),
            call("map_update_elem"),
            *PASS,
        ]
        here = {"period": 1, "pid": os.getpid()}
        with (
            load(ProgramType.PERF_EVENT, note) as program,
            program.attach_perf_event(PerfSoftware.PAGE_FAULTS, cookie=9, **here),
        ):
            thread = threading.Thread(target=page_faults, args=(1000,))
            thread.start()
            thread.join()
        found = set(cookies)
        assert found
        assert found <= {0, 9}


def test_the_program_sees_its_cookie() -> None:
    """One program at several counters could not tell them apart (5.15)."""
    me = os.getpid()
    with per_process() as kept:
        if environment.kernel_version() < (5, 15):
            with load(ProgramType.PERF_EVENT, PASS) as plain:
                plain.attach_perf_event(PerfSoftware.PAGE_FAULTS, period=1, pid=me, cookie=1)
        with load(ProgramType.PERF_EVENT, keep(kept, ATTACH_COOKIE)) as program:
            with program.attach_perf_event(PerfSoftware.PAGE_FAULTS, period=1, pid=me, cookie=9):
                page_faults(10)
            assert kept[me] == 9


def test_a_counter_by_its_numbers(program: Program, counts: HashMap[int, int]) -> None:
    """Counters of processors have no name here."""
    threads = len(os.listdir("/proc/self/task"))
    with program.attach_perf_event((1, 2), period=1, pid=os.getpid()) as link:
        page_faults(10)
        assert repr(link) == f"<ebpf.LinkGroup to perf event type 1 config 0x2 {threads} links>"
    assert runs(counts) >= 10


def test_a_group_is_closed_as_one(program: Program) -> None:
    """One of its links stays attached."""
    link = program.attach_perf_event(PerfSoftware.CPU_CLOCK, period=1 << 40)
    assert isinstance(link, LinkGroup)
    for use in (link.fileno, link.info, lambda: link.pin("/sys/fs/bpf/x")):
        with pytest.raises(TypeError, match="each of its `links` has one"):
            use()
    program.close()
    assert link.closed
    assert all(each.closed for each in link.links)
    with pytest.raises(ClosedError), link:
        pass


# ---- what cannot be attached ----------------------------------------------------------------

CLOCK = PerfSoftware.CPU_CLOCK
WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no such counter": ({"event": (1, 99), "period": 1}, BpfFileNotFoundError, "no such counter"),
    "no such kind": ({"event": (1 << 20, 0), "period": 1}, BpfFileNotFoundError, "no such counter"),
    "no such CPU": ({"event": CLOCK, "period": 1, "cpu": 4000}, BpfError, "no CPU 4000 is online"),
    "no such process": (
        {"event": CLOCK, "period": 1, "pid": 0x3FFF_FFFF},
        BpfProcessLookupError,
        "no process",
    ),
    "too often": (
        {"event": CLOCK, "frequency": 10**9, "pid": 1},
        BpfError,
        "perf_event_max_sample_rate allows",
    ),
    "neither": ({"event": CLOCK}, ValueError, "either period or frequency"),
    "both": ({"event": CLOCK, "period": 1, "frequency": 1}, ValueError, "either period or"),
    "a name": ({"event": "cpu-clock", "period": 1}, TypeError, "event: 'cpu-clock' is no"),
    "a negative period": ({"event": CLOCK, "period": -1}, ValueError, "period: -1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_counter_that_is_none(case: str) -> None:
    """The kernel's numbers would not say which of the arguments is wrong."""
    arguments, error, told = WRONG[case]
    with load(ProgramType.PERF_EVENT, PASS) as program:
        with pytest.raises(error, match=told):
            program.attach_perf_event(**arguments)
        assert program._links == set()


def test_a_program_of_another_type_says_so() -> None:
    """EINVAL may be anything."""
    with (
        load(ProgramType.KPROBE, PASS, "wrong") as program,
        pytest.raises(BpfError, match=r"'wrong'.*of another type \(KPROBE\); it takes PERF_EVENT"),
    ):
        program.attach_perf_event(CLOCK, period=1)


def test_a_processor_without_counters_says_so(program: Program, counts: HashMap[int, int]) -> None:
    """Guests have none: the errno is the one of a file that is missing."""
    outcome = attach_cycles(program)
    if isinstance(outcome, BpfError):
        assert outcome.errno in (errno.ENOENT, errno.EOPNOTSUPP)
        assert "perf event cpu_cycles" in str(outcome)
        return
    with outcome:
        spin(0.1)
    assert runs(counts) > 0


def attach_cycles(program: Program) -> LinkGroup | BpfError:
    try:
        return program.attach_perf_event(PerfHardware.CPU_CYCLES, period=100_000, pid=os.getpid())
    except (BpfFileNotFoundError, NotSupportedError) as error:
        return error
