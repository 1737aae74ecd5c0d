"""What a type checker says of a user's module."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[3] / "src"

USER_MODULE = """\
from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import ebpf
from ebpf.codec import Array, Char, Codec, Pad, PerCpu, Raw, be32, codec, u32, u64


@dataclass
class Inner:
    address: be32


@dataclass
class Event:
    pid: u32
    comm: Annotated[str, Char(16)]
    mac: Annotated[bytes, Raw(6)]
    inner: Inner
    stack: Annotated[list[int], Array(u64, 8)]
    regs: Annotated[tuple[int, ...], Array(u64, 8)]
    many: Annotated[list[Inner], Array(Inner, 2)]
    _pad: Annotated[bytes, Pad(2)] = b""


events = codec(Event)
event = events.unpack(bytes(events.size))
total: int = event.pid + event.stack[0] + event.inner.address
upper: str = event.comm.upper()
inners: list[Inner] = event.many
data: bytes = events.pack(event)
offset: int = events.offsetof("inner.address")
per_cpu: Codec[object] | PerCpu[Event] = PerCpu(events, 4)
raw: bytes = codec(16).unpack(bytes(16))
count = codec("I").unpack(bytes(4)) + 1
same: Codec[Event] = codec(events)
for one in events.iter_unpack(data):
    print(one.comm)

counts = ebpf.Map.create(ebpf.MapType.HASH, key="I", value="Q", max_entries=1)
counts[1] = counts.get(1, 0) + 1
own: ebpf.HashMap[int, Event] = ebpf.HashMap.open("/sys/fs/bpf/x", key="I", value=Event)
first: Event = own[1]
slots = ebpf.Map.create(ebpf.MapType.ARRAY, value="Q", max_entries=1)
length: int = len(slots)
ebpf.QueueMap.from_id(7).push(1)
memory: memoryview = ebpf.ArenaMap.create(max_entries=1).memory
"""

MISTAKES = """\
events.pack(3)
event.comm + 1
Event("7", "", b"", Inner(1), [], (), [])
PerCpu(events, 4).pack(event)
codec(16).pack("text")
ebpf.Map.create(ebpf.MapType.QUEUE, value="I", max_entries=1)[0]
ebpf.ArrayMap.open("/sys/fs/bpf/x").delete(1)
"""


def mypy(source: str, folder: Path) -> str:
    path = folder / "user.py"
    path.write_text(source)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"]
    # The library is checked elsewhere; here it only gives its types.
    command += ["--follow-imports", "silent"]
    command += ["--cache-dir", str(folder / "cache"), "--no-incremental", str(path)]
    env = dict(os.environ, MYPYPATH=str(SRC))
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
def test_user_code_passes_mypy_strict_and_mistakes_do_not(tmp_path: Path) -> None:
    """Wrong: annotated records need `type: ignore`, or their types are Any and check nothing."""
    assert mypy(USER_MODULE, tmp_path) == ""
    first = USER_MODULE.count("\n") + 1
    found = mypy(USER_MODULE + MISTAKES, tmp_path)
    lines = {int(line.split(":")[1]) for line in found.splitlines() if ": error:" in line}
    assert lines == set(range(first, first + MISTAKES.count("\n"))), found
