"""Attachments and forked children, which have their parent's descriptors."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from ebpf import HashMap, ProgramType
from tests.binaries import built
from tests.kernel.links.hooks import library
from tests.kernel.samples import Forked, count, load, per_process, wait_until


def is_seen(counts: HashMap[int, int]) -> bool:
    """Whether a call of this process is counted."""
    before = counts.lookup(os.getpid()) or 0
    library().twice(1)
    return counts.lookup(os.getpid()) != before


def test_a_child_that_keeps_what_it_was_given() -> None:
    """A process that becomes a daemon would lose what it has attached."""
    with per_process() as counts, load(ProgramType.KPROBE, count(counts)) as program:
        link = program.attach_uprobe(built("library"), "twice", pid=os.getpid())

        def run(tell: Callable[[int], object]) -> None:
            tell(1)
            signal.pause()

        with Forked(run):
            link.close()
            assert is_seen(counts)
        wait_until(lambda: not is_seen(counts), "the child's end has detached")


def test_a_child_that_closes_the_program() -> None:
    """Its parent's attachment would end, or go on when the parent closes it."""
    with per_process() as counts, load(ProgramType.KPROBE, count(counts)) as program:
        link = program.attach_uprobe(built("library"), "twice", pid=os.getpid())

        def run(tell: Callable[[int], object]) -> None:
            program.close()
            tell(int(link.closed))
            signal.pause()

        with Forked(run) as child:
            assert child.told
            assert is_seen(counts)
            link.close()
            wait_until(lambda: not is_seen(counts), "closing has detached")
