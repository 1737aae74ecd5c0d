"""Attaching without the rights for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.kernel.links.hooks import KPROBES
from tests.kernel.samples import python

# Each attaches or opens what was made with the rights for that, which the process then gives up. To
# attach to raw tracepoints and iterators takes none on newer kernels.
ATTEMPTS = {
    "kprobe": "kprobe.attach_kprobe(CLONE)",
    "uprobe": "kprobe.attach_uprobe('libc.so.6', 'getppid')",
    "usdt": "kprobe.attach_usdt(built('usdt'), 'sample', 'twice')",
    "perf_event": "counter.attach_perf_event(PerfSoftware.CPU_CLOCK, period=1)",
    "tracepoint": "tracepoint.attach_tracepoint(*CLONED)",
    "list": "next(Link.all())",
    "task_fd": "links.query_task_fd(os.getpid(), 0)",
    "perf buffer": "PerfBuffer(events)",
    # Where unprivileged BPF is enabled, anybody may have most of the others.
    "map": "Map.create(MapType.LPM_TRIE, key=8, value=4, max_entries=1, flags=NO_PREALLOC)",
}
MARKS = {"kprobe": KPROBES}

CODE = """
import ctypes, json, os
from ebpf import BpfPermissionError, Link, Map, MapFlags, MapType, NotSupportedError, PerfBuffer
from ebpf import PerfSoftware, links
NO_PREALLOC = MapFlags.NO_PREALLOC
from tests.binaries import built
from tests.kernel.links.test_rights import ATTEMPTS
from tests.kernel.samples import *
kprobe = load(ProgramType.KPROBE, PASS)
counter = load(ProgramType.PERF_EVENT, PASS)
tracepoint = load(ProgramType.TRACEPOINT, PASS)
events = Map.create(MapType.PERF_EVENT_ARRAY)
# capset(2), its third version, for this thread: no capabilities.
header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert ctypes.CDLL(None).capset(header, none) == 0
told = {}
for name, attempt in ATTEMPTS.items():
    try:
        eval(attempt)
    except BpfPermissionError as error:
        told[name] = str(error)
    except NotSupportedError as error:
        # A kernel without kprobes: the test that asks for this one knows.
        told[name] = str(error)
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told() -> Any:
    """What a process without rights is told of each attempt."""
    return json.loads(python(CODE, prefix=("env", "PYTHONWARNINGS=ignore")))


@pytest.mark.parametrize(
    "attempt", [pytest.param(name, marks=MARKS.get(name, ())) for name in ATTEMPTS]
)
def test_missing_rights_are_told_as_facts(attempt: str, told: Any) -> None:
    """EPERM would be all, or "need root" although the process is root."""
    assert "capabilities: none" in told[attempt]
    assert "CAP_SYS_ADMIN" in told[attempt] or "perf_event_paranoid" in told[attempt]
