"""What programs print: the trace pipe, and the streams of a program."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ebpf import BpfError, BpfFileNotFoundError, ClosedError, ProgramStream, ProgramType, TracePipe
from ebpf.asm import R1, R2, R3, R6, R10, add, call, lddw, ldxdw, mov, stxdw
from ebpf.spec import CollectionSpec
from ebpf.types import Stream
from tests.kernel.samples import NO_TIMES, PASS, load
from tests.objects import compiled


@pytest.fixture
def instance(tracefs: Path) -> Iterator[str]:
    """A trace of our own: the machine's belongs to everybody."""
    name = f"ebpf-test-{os.getpid()}"
    directory = tracefs / "instances" / name
    directory.mkdir()
    (directory / "events/bpf_trace/bpf_trace_printk/enable").write_text("1")
    yield name
    directory.rmdir()


def printer(text: bytes) -> list[Any]:
    """A program that prints `text`, in which %d is its first argument."""
    room = (len(text) + 8) // 8 * 8
    words = struct.unpack(f"={room // 8}q", text.ljust(room, b"\0"))
    return [
        ldxdw(R6, R1 + 0),
        [[lddw(R1, word), stxdw(R10 - (room - 8 * at), R1)] for at, word in enumerate(words)],
        mov(R1, R10),
        add(R1, -room),
        mov(R2, len(text) + 1),
        mov(R3, R6),
        call("trace_printk"),
        *PASS,
    ]


def say(program: Any, number: int) -> None:
    program.test_run(ctx=number.to_bytes(8, sys.byteorder))


def test_lines_of_a_program(instance: str) -> None:
    """Whole, in order, with the process that they were printed in."""
    with (
        TracePipe(instance) as pipe,
        load(ProgramType.RAW_TRACEPOINT, printer(b"number: %d, [x] it is")) as program,
    ):
        assert pipe.read() == []
        assert pipe.poll(0) is False
        for number in range(3):
            say(program, number)
        assert pipe.poll(10)
        lines = pipe.read()
        assert [line.message for line in lines] == [f"number: {n}, [x] it is" for n in range(3)]
        assert [line.pid for line in lines] == [os.getpid()] * 3
        # The trace remembers the names of processes only where it was told to.
        assert {line.task for line in lines} <= {"<...>", Path("/proc/self/comm").read_text()[:-1]}
        assert {line.event for line in lines} == {"bpf_trace_printk"}
        assert {line.cpu for line in lines} <= os.sched_getaffinity(0)
        times = [line.time or 0.0 for line in lines]
        assert times == sorted(times)
        assert times[0] > 0
        say(program, 7)
        assert next(iter(pipe)).message == "number: 7, [x] it is"
        assert pipe.lost == 0


FORGED = b"root-1       [000] d..31     1.000000: bpf_trace_printk: hi"


def test_a_text_that_looks_like_a_line(instance: str) -> None:
    """A program that prints what somebody named a file lets them speak for another process."""
    with (
        TracePipe(instance) as pipe,
        load(ProgramType.RAW_TRACEPOINT, printer(b"%d " + FORGED)) as program,
    ):
        say(program, 5)
        (line,) = pipe.read()
        assert (line.message, line.pid) == (f"5 {FORGED.decode()}", os.getpid())


@pytest.mark.parametrize(
    "name", [b"-1 [0] f 0: e: ", b"a-2 [0]", "é-1 [0] x".encode(), b"\xff", b"x"]
)
def test_a_name_that_looks_like_a_line(name: bytes) -> None:
    """Anybody may give themselves any name, which takes as many bytes as the kernel gives it."""
    pipe = TracePipe.__new__(TracePipe)
    rest = b"-4711    (   4700) [003] d..31  5678.125000: bpf_trace_printk: " + FORGED
    line = pipe._parse(name.rjust(16) + rest)
    shown = name.decode(errors="replace")
    assert line == (FORGED.decode(), shown, 4711, 3, "d..31", 5678.125, "bpf_trace_printk")


def test_a_line_break_in_a_message(instance: str) -> None:
    """The second line has nothing in front of it."""
    with (
        TracePipe(instance) as pipe,
        load(ProgramType.RAW_TRACEPOINT, printer(b"one %d\ntwo")) as program,
    ):
        say(program, 5)
        first, second = pipe.read()
        assert (first.message, first.pid) == ("one 5", os.getpid())
        assert (second.message, second.pid, second.task) == ("two", None, None)


def test_lost_lines_are_counted(instance: str, tracefs: Path) -> None:
    """A trace that is full goes round; without the count nobody would know."""
    (tracefs / "instances" / instance / "buffer_size_kb").write_text("4")
    with (
        TracePipe(instance) as pipe,
        load(ProgramType.RAW_TRACEPOINT, printer(b"number %d, with text behind it")) as program,
    ):
        for number in range(3000):
            say(program, number)
        read: list[int] = []
        while lines := pipe.read():
            read += [int(line.message.split()[1].rstrip(",")) for line in lines]
        assert pipe.lost > 0
        assert len(read) + pipe.lost == 3000


def test_pipes_that_are_not_there() -> None:
    with pytest.raises(BpfFileNotFoundError, match="no-such-instance; make it with mkdir"):
        TracePipe("no-such-instance")
    for name in ("", "../x", "a/b", "."):
        with pytest.raises(ValueError, match="is no name of a directory"):
            TracePipe(name)


def test_a_closed_pipe_says_so(instance: str) -> None:
    pipe = TracePipe(instance)
    pipe.close()
    pipe.close()
    for use in (pipe.read, pipe.poll, pipe.fileno, pipe.__enter__):
        with pytest.raises(ClosedError):
            use()


def test_a_pipe_that_somebody_else_reads(instance: str) -> None:
    """Newer kernels let one at a time, and EBUSY alone does not say so."""
    with TracePipe(instance):
        try:
            TracePipe(instance).close()
        except BpfError as error:
            wanted = f"{instance}/trace_pipe is open elsewhere, and takes one reader at a time"
            assert wanted in str(error)  # noqa: PT017


def test_a_forgotten_pipe_says_so(instance: str) -> None:
    """Where one reader is let in, nobody would know who it is."""
    with pytest.warns(ResourceWarning, match=f"unclosed <ebpf.TracePipe .*{instance}/trace_pipe>"):
        TracePipe(instance).__repr__()


def test_a_timeout_that_is_no_time(instance: str) -> None:
    """poll(2) takes NaN for a moment, and its error for a text does not name the argument."""
    with TracePipe(instance) as pipe:
        for timeout, error in NO_TIMES:
            with pytest.raises(error, match=r"^timeout: "):
                pipe.poll(timeout)


def test_the_machines_own_trace_can_be_opened() -> None:
    """Without reading: its lines belong to whoever waits for them."""
    with TracePipe() as pipe:
        assert pipe.fileno() > 2


def test_a_program_writes_to_its_streams() -> None:
    """Each has what was written to it, once (6.17)."""
    with load(ProgramType.SOCKET_FILTER, PASS) as program:
        # Says whether the kernel has them.
        assert ProgramStream(program).read() == ""
        assert ProgramStream(program, Stream.STDERR).read() == ""
        with pytest.raises(TypeError, match=r"stream: 1 is not an ebpf\.types\.Stream"):
            ProgramStream(program, 1)  # type: ignore[arg-type]
    with CollectionSpec.from_file(compiled("stream")).load() as objects:
        speak = objects.programs["speak"]
        out, error = ProgramStream(speak), ProgramStream(speak, Stream.STDERR)
        results = [
            speak.test_run(ctx=number.to_bytes(8, sys.byteorder)).return_value for number in (5, 6)
        ]
        # Where the allocator has nothing for it, the program is told so, and nothing is written.
        written = results == [0, 0]
        assert written or set(results) == {2**32 - 12}
        assert out.read() == ("number 5\nnumber 6\n" if written else "")
        assert out.read() == ""
        if written:
            assert next(error.follow()) == "wrong 5\nwrong 6\n"
