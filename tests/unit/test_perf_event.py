"""perf_event_open(2), with a kernel that is played."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest

pytest.importorskip("ebpf._ffi", reason="the extension is not built", exc_type=ImportError)

from ebpf._sys import facts, perf


def play(monkeypatch: pytest.MonkeyPatch, online: list[int]) -> None:
    """A machine where only these CPUs run; descriptors have the number of the event's CPU."""

    def opened(attribute: object, pid: int, cpu: int, group: int, flags: int) -> int:
        return cpu if cpu in online or cpu == -1 else -errno.ENODEV

    monkeypatch.setattr(perf, "lib", SimpleNamespace(ebpf_perf_event_open=opened))
    monkeypatch.setattr(facts, "online_cpus", lambda: online)


@pytest.mark.parametrize(
    ("online", "cpu", "result"),
    [
        ([0, 1], None, 0),
        ([2, 3], None, 2),
        ([2, 3], 3, 3),
        ([2, 3], 0, -errno.ENODEV),
        ([2, 3], -1, -1),
    ],
)
def test_an_event_is_on_a_cpu_that_runs(
    online: list[int], cpu: int | None, result: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While CPU 0 is offline nothing can be traced; or another CPU is taken than was asked for."""
    play(monkeypatch, online)
    assert perf.event_open(type=perf.TYPE_TRACEPOINT, cpu=cpu) == result


def test_an_event_is_opened_in_spite_of_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer's signal while the process executes a program is no failure to attach to it."""
    answers = [-errno.EINTR, -errno.EINTR, -errno.ENODEV, -errno.EINTR, 7]
    cpus: list[int] = []

    def opened(attribute: object, pid: int, cpu: int, group: int, flags: int) -> int:
        assert pid == 4711
        cpus.append(cpu)
        return answers.pop(0)

    monkeypatch.setattr(perf, "lib", SimpleNamespace(ebpf_perf_event_open=opened))
    monkeypatch.setattr(facts, "online_cpus", lambda: [2])
    assert perf.event_open(type=perf.TYPE_TRACEPOINT, pid=4711) == 7
    assert cpus == [0, 0, 0, 2, 2]
