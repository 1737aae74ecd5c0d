"""What the refusal of a program for a perf event means, with a kernel that is played."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import NoReturn

import pytest

pytest.importorskip("ebpf._ffi", reason="the extension is not built", exc_type=ImportError)

from ebpf.errors import BpfError
from ebpf.links import perf_event
from ebpf.types import ProgramType


@pytest.mark.parametrize(
    ("type", "said"),
    [
        (ProgramType.KPROBE, r"to the event: only a uprobe takes .* sleepable"),
        (ProgramType.TRACEPOINT, r"^attach to the event: Invalid argument"),
        (ProgramType.PERF_EVENT, r"^attach to the event: Invalid argument"),
    ],
)
def test_a_cause_is_named_where_there_is_one(
    type: ProgramType, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The type is looked at before; that it is another one is never the cause."""

    def refuse(*variant: str, action: str, **fields: object) -> NoReturn:
        raise BpfError(errno.EINVAL, f"{action}: Invalid argument")

    played = SimpleNamespace(link_create=refuse, prog_type=lambda fd: type)
    monkeypatch.setattr(perf_event, "bpf", played)
    program = SimpleNamespace(fileno=lambda: 3)
    with pytest.raises(BpfError, match=said):
        perf_event.attach(program, os.open("/dev/null", os.O_RDONLY), "the event", 0)
