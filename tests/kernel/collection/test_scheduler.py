"""A scheduler whose functions are programs, for the tasks that ask for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ebpf
from ebpf import CollectionSpec
from tests.kernel.samples import wait_until
from tests.objects import compiled

pytestmark = pytest.mark.needs_config("CONFIG_SCHED_CLASS_EXT")

STATE = Path("/sys/kernel/sched_ext/state")
NAME = Path("/sys/kernel/sched_ext/root/ops")
SCHED_EXT = 7


def serve(requests: int, answers: int) -> None:
    """Ask for the scheduler, then give back each byte that comes."""
    os.sched_setscheduler(0, SCHED_EXT, os.sched_param(0))
    while data := os.read(requests, 1):
        os.write(answers, data)


class Task:
    """A process that waits for a byte, gives it back, and waits again."""

    def __init__(self) -> None:
        taken, self.requests = os.pipe()
        self.answers, given = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                os.close(self.requests)
                serve(taken, given)
            finally:
                os._exit(0)
        os.close(taken)
        os.close(given)

    def works(self) -> bool:
        os.write(self.requests, b"1")
        return os.read(self.answers, 1) == b"1"

    def close(self) -> None:
        os.close(self.requests)
        os.close(self.answers)
        assert os.waitpid(self.pid, 0)[1] == 0


@contextmanager
def task() -> Iterator[Task]:
    made = Task()
    try:
        yield made
    finally:
        made.close()


def test_a_task_runs_by_a_scheduler() -> None:
    """It is never asked, the task does not run, or what is left over stops it."""
    spec = CollectionSpec.from_file(compiled("struct_ops_scheduler"))
    with task() as running, spec.load() as objects:
        assert STATE.read_text().strip() == "disabled"
        runs = objects.variables["runs"]
        objects.variables["watched"].value = running.pid
        with objects.attach_struct_ops("scheduler"):
            assert STATE.read_text().strip() == "enabled"
            assert NAME.read_text().strip() == "ebpf_test"
            # A byte that is there already is no reason to sleep, and to be scheduled again.
            wait_until(lambda: running.works() and runs.value >= 3, "it has been scheduled")
            assert os.sched_getscheduler(running.pid) == SCHED_EXT
        assert STATE.read_text().strip() == "disabled"
        before = runs.value
        assert running.works()
        assert runs.value == before


def test_there_is_one_at_a_time() -> None:
    """The number of the error says something else."""
    spec = CollectionSpec.from_file(compiled("struct_ops_scheduler"))
    with spec.load() as first, spec.load() as second:
        first.attach_struct_ops("scheduler")
        with pytest.raises(ebpf.BpfError, match=r"scheduler: .*another is registered"):
            second.attach_struct_ops("scheduler")
        assert STATE.read_text().strip() == "enabled"
    assert STATE.read_text().strip() == "disabled"
