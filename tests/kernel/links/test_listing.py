"""Every link of the kernel, and what a descriptor of some process is attached to."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ebpf import BpfError, BpfFileNotFoundError, IteratorLink, Link, Program, ProgramType
from ebpf.errors import BpfProcessLookupError
from ebpf.links import query_task_fd
from ebpf.types import AttachType, TaskFdType
from tests.kernel import environment
from tests.kernel.links.hooks import KPROBES
from tests.kernel.samples import CLONE, CLONED, PASS, ROOT, bpftool, load


def test_every_link_is_listed_as_its_kind() -> None:
    """One is missing, or its class is that of another kind."""
    with (
        load(ProgramType.RAW_TRACEPOINT, PASS) as program,
        Program.load(
            ProgramType.TRACING,
            PASS,
            license="GPL",
            attach_type=AttachType.TRACE_ITER,
            attach_to="task",
        ) as iterator,
    ):
        own = {
            program.attach_raw_tracepoint(CLONED[1]).info().id: Link,
            iterator.attach_iter().info().id: IteratorLink,
        }
        found = {}
        for link in Link.all():
            with link:
                found[link.info().id] = type(link)
        assert own.items() <= found.items()
        assert found.keys() >= {shown["id"] for shown in bpftool("link", "show")}


def test_a_list_can_be_left_early() -> None:
    """The links that were not asked for would be opened, and stay so."""
    with load(ProgramType.RAW_TRACEPOINT, PASS) as program:
        program.attach_raw_tracepoint(CLONED[1])
        first = next(Link.all())
        first.close()


def test_a_raw_tracepoint_of_this_process() -> None:
    """The name or the program is another one's."""
    with load(ProgramType.RAW_TRACEPOINT, PASS) as program:
        link = program.attach_raw_tracepoint(CLONED[1])
        found = query_task_fd(os.getpid(), link.fileno())
        assert found.type is TaskFdType.RAW_TRACEPOINT
        assert found.name == CLONED[1]
        assert found.prog_id == program.info().id


OTHER = """
import sys
from ebpf._sys import perf
from ebpf import tracefs
from tests.kernel.samples import *
program = load(ProgramType.TRACEPOINT, PASS)
event = perf.event_open(type=perf.TYPE_TRACEPOINT, config=tracefs.tracepoint_id(*CLONED))
assert perf.set_bpf(event, program.fileno()) == 0
print(event, program.info().id, flush=True)
sys.stdin.read()
program.close()
"""


def test_a_perf_event_of_another_process() -> None:
    """What an older tool attached: bpftool perf shows the same."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with process:
        assert process.stdout is not None
        event, program_id = map(int, process.stdout.readline().split())
        found = query_task_fd(process.pid, event)
        shown = [row for row in bpftool("perf", "show") if row["pid"] == process.pid]
        process.communicate()
    assert found.type is TaskFdType.TRACEPOINT
    assert found.name == CLONED[1]
    assert found.prog_id == program_id
    assert [(row["fd"], row["tracepoint"]) for row in shown] == [(event, CLONED[1])]


@KPROBES
def test_a_kprobe_before_there_were_links() -> None:
    """Its attachment is the perf event itself, which says where it is."""
    with load(ProgramType.KPROBE, PASS) as program:
        link = program.attach_kprobe(CLONE, offset=0)
        if environment.kernel_version() >= (5, 15):
            with pytest.raises(BpfError, match="neither a raw tracepoint nor a perf event"):
                query_task_fd(os.getpid(), link.fileno())
            return
        found = query_task_fd(os.getpid(), link.fileno())
        assert (found.type, found.name, found.offset) == (TaskFdType.KPROBE, CLONE, 0)


def test_a_descriptor_that_is_attached_to_nothing() -> None:
    """The kernel's number would be all that is told."""
    with load(ProgramType.RAW_TRACEPOINT, PASS) as program, open("/dev/null") as file:
        with pytest.raises(BpfError, match="neither a raw tracepoint nor a perf event"):
            query_task_fd(os.getpid(), program.fileno())
        with pytest.raises(BpfError, match="neither a raw tracepoint nor a perf event"):
            query_task_fd(os.getpid(), file.fileno())
        with pytest.raises(BpfFileNotFoundError, match="it has no such descriptor"):
            query_task_fd(os.getpid(), 4000)
        with pytest.raises(BpfProcessLookupError, match="no process"):
            query_task_fd(0x3FFF_FFFF, 1)
        with pytest.raises(ValueError, match="fd: -1"):
            query_task_fd(os.getpid(), -1)
