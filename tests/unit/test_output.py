"""Streams of programs, as the kernel hands them out: in pieces that end anywhere."""

from __future__ import annotations

from collections import deque

import pytest

from ebpf import ProgramStream
from ebpf._sys import bpf


class Program:
    """Has a descriptor, which nobody asks the kernel about here."""

    def fileno(self) -> int:
        return 3


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> deque[bytes]:
    """What the kernel has for each of the next calls."""
    left: deque[bytes] = deque()
    monkeypatch.setattr(
        bpf, "prog_stream_read_by_fd", lambda fd, stream, size: left.popleft() if left else b""
    )
    return left


def test_a_character_in_two_pieces(pieces: deque[bytes]) -> None:
    """Two characters that nobody wrote would stand in its place."""
    stream = ProgramStream(Program())
    for cut in range(1, 3):
        whole = "a\N{SNOWMAN}b".encode()
        pieces.extend([whole[: cut + 1], b"", whole[cut + 1 :]])
        assert stream.read() == "a"
        assert stream.read() == "\N{SNOWMAN}b"
    pieces.extend([b"\xff", b"z"])
    assert stream.read() == "\N{REPLACEMENT CHARACTER}z"


def test_a_program_that_goes_on_writing(pieces: deque[bytes]) -> None:
    """A call that takes what is there would take what comes, and never return."""
    pieces.extend([bytes(1 << 16)] * 100)
    stream = ProgramStream(Program())
    # The kernel keeps 100,000 bytes.
    assert len(stream.read()) == 2 << 16
    assert len(stream.read()) == 2 << 16
