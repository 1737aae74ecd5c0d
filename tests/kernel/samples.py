"""Programs, events and other processes that the tests of programs, links and rings share."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

from ebpf import HashMap, Map, MapType, Program, ProgramType
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R7,
    R8,
    R10,
    Label,
    add,
    atomic_add,
    call,
    exit_,
    ja,
    jeq,
    jlt,
    jne,
    ld_map_fd,
    ldxdw,
    mov,
    rsh,
    stdw,
    stxdw,
    stxw,
)

ROOT = Path(__file__).resolve().parents[2]

PASS = [mov(R0, 0), exit_()]

# What no wait takes for seconds, and the error that says so.
NO_TIMES: list[tuple[Any, type[Exception]]] = [
    ("1", TypeError),
    (Decimal(1), TypeError),
    (True, TypeError),
    (float("nan"), ValueError),
]

# What a thread's start passes: the tracepoint, and the kernel function in which it is.
CLONED = ("sched", "sched_process_fork")
CLONE = "kernel_clone"


def bpftool(*arguments: str) -> Any:
    """What bpftool says, from its JSON."""
    run = subprocess.run(["bpftool", "-j", *arguments], check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def python(code: str, *arguments: str, prefix: Iterable[str] = (), status: int = 0) -> str:
    """The output of another process that runs `code` and ends with `status`."""
    command = [*prefix, sys.executable, "-c", code, *arguments]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == status, run.stderr
    return run.stdout + run.stderr


class Forked:
    """A child of this process in which `run` runs, and has told a number with its argument.

    It is forked, because an emulated machine takes half a minute to start an interpreter, and
    ends by SIGKILL: by `end`, or with the context.
    """

    def __init__(self, run: Callable[[Callable[[int], object]], object]) -> None:
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            # Nothing of pytest may run on in the child, whatever happens here.
            try:
                run(lambda number: os.write(writer, str(number).encode()))
            finally:
                traceback.print_exc()
                os._exit(1)
        os.close(writer)
        with open(reader, "rb", buffering=0) as told:
            text = told.read(64)
        if not text:
            os.waitpid(self.pid, 0)
            raise AssertionError("the child failed before it told a number: see what it printed")
        self.told = int(text)
        self._ended = False

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()


def in_child(run: Callable[[], object]) -> int:
    """How a forked child ends that does `run`: 0, 1 after an exception, less than 0 by a signal."""
    with warnings.catch_warnings():
        # From Python 3.12 on, that there are threads: some tests want to see just that.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        # One that hangs ends too.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)
        try:
            run()
            status = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            # Nothing of pytest may run on in the child.
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Holding:
    """Another thread holds these locks."""

    def __init__(self, *locks: Any) -> None:
        self._locks = locks
        self._held, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold)

    def _hold(self) -> None:
        with contextlib.ExitStack() as stack:
            for lock in self._locks:
                stack.enter_context(lock)
            self._held.set()
            self._over.wait()

    def __enter__(self) -> None:
        self._thread.start()
        self._held.wait()

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()


def wait_until(condition: Callable[[], object], what: str) -> None:
    """For what the kernel or another process does soon, but not at once."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"in vain waited until {what}"
        time.sleep(0.01)


def start_threads(count: int = 1) -> list[int]:
    """Start threads one after the other; their ids."""
    ids = []
    for _ in range(count):
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        ids.append(thread.native_id or 0)
    return ids


def per_process() -> HashMap[int, int]:
    """Process id -> a number."""
    return HashMap.create(key="I", value="Q", max_entries=1024, name="per_process")


def count(counts: HashMap[int, int]) -> list[Any]:
    """A program that counts its runs for each process."""
    return [
        call("get_current_pid_tgid"),
        rsh(R0, 32),
        stxw(R10 - 4, R0),
        ld_map_fd(R1, counts),
        mov(R2, R10),
        add(R2, -4),
        call("map_lookup_elem"),
        jeq(R0, 0, "first"),
        mov(R1, 1),
        atomic_add(R0 + 0, R1),
        ja("end"),
        Label("first"),
        stdw(R10 - 16, 1),
        ld_map_fd(R1, counts),
        mov(R2, R10),
        add(R2, -4),
        mov(R3, R10),
        add(R3, -16),
        mov(R4, 0),
        call("map_update_elem"),
        Label("end"),
        *PASS,
    ]


def keep(numbers: HashMap[int, int], computed: list[Any]) -> list[Any]:
    """A program that keeps for each process what `computed` leaves in R7; R6 is its context."""
    return [
        mov(R6, R1),
        *computed,
        stxdw(R10 - 16, R7),
        call("get_current_pid_tgid"),
        rsh(R0, 32),
        stxw(R10 - 4, R0),
        ld_map_fd(R1, numbers),
        mov(R2, R10),
        add(R2, -4),
        mov(R3, R10),
        add(R3, -16),
        mov(R4, 0),
        call("map_update_elem"),
        *PASS,
    ]


ATTACH_COOKIE = [mov(R1, R6), call("get_attach_cookie"), mov(R7, R0)]


def load(type: ProgramType, insns: list[Any], name: str = "") -> Program:
    return Program.load(type, insns, license="GPL", name=name)


def field_offset(tracefs: Path, category: str, name: str, field: str) -> int:
    """Where a field is in a tracepoint's record, from its format file."""
    text = (tracefs / "events" / category / name / "format").read_text()
    match = re.search(rf"\b{field};\s*offset:(\d+);", text)
    assert match is not None, text
    return int(match[1])


def ring_map(size: int = 1 << 16, name: str = "ring") -> Map[Any, Any]:
    made: Map[Any, Any] = Map.create(MapType.RINGBUF, max_entries=size, name=name)
    return made


class Producer:
    """Writes records of `size` bytes: 8 bytes that count up from a given number, then zeros."""

    def __init__(self, ring: Map[Any, Any], size: int = 8, batch: int = 1) -> None:
        room = (size + 7) // 8 * 8
        self.size = size
        self.batch = batch
        self.program = load(
            ProgramType.RAW_TRACEPOINT,
            [
                ldxdw(R7, R1 + 0),
                mov(R8, 0),
                [stdw(R10 - at, 0) for at in range(8, room, 8)],
                Label("next"),
                stxdw(R10 - max(room, 8), R7),
                ld_map_fd(R1, ring),
                mov(R2, R10),
                add(R2, -max(room, 8)),
                mov(R3, size),
                mov(R4, 0),
                call("ringbuf_output"),
                jne(R0, 0, "full"),
                add(R7, 1),
                add(R8, 1),
                jlt(R8, batch, "next"),
                Label("full"),
                mov(R0, R8),
                exit_(),
            ],
            "producer",
        )

    def run(self, first: int = 0) -> int:
        """Write `batch` records that count from `first`; how many the ring had room for."""
        return self.program.test_run(ctx=first.to_bytes(8, sys.byteorder)).return_value

    def record(self, number: int) -> bytes:
        """The record with that number."""
        return (number.to_bytes(8, sys.byteorder) + bytes(self.size))[: self.size]

    def records(self, first: int, count: int) -> list[bytes]:
        return [self.record(number) for number in range(first, first + count)]

    def __enter__(self) -> Producer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.program.close()


class Flood:
    """Another thread that writes records as fast as it can, counting from 0."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self.accepted = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.accepted += self.producer.run(self.accepted)

    def __enter__(self) -> Flood:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
