"""Probes without rights, without resources, asked twice and by threads."""

from __future__ import annotations

import contextlib
import errno
import json
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ebpf import features
from ebpf.errors import BpfError
from ebpf.types import MapType


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Answers of one test must not serve the next."""
    features.clear_cache()
    yield
    features.clear_cache()


ASK = """
import json, sys
from ebpf import MapType, ProgramType, features
from ebpf.errors import BpfPermissionError

def ask(probe, *arguments):
    try:
        return probe(*arguments)
    except BpfPermissionError:
        return None
    except ValueError:
        return "cannot be probed"

answers = {}
for type in MapType:
    answers[f"map {type}"] = ask(features.map_type, type)
for type in ProgramType:
    answers[f"program {type}"] = ask(features.program_type, type)
    for helper in ("ktime_get_ns", "probe_read_kernel", "trace_printk", "xdp_adjust_head"):
        answers[f"{helper} in {type}"] = ask(features.helper, helper, type)
for name in features.__all__:
    if name not in ("map_type", "program_type", "helper", "clear_cache"):
        answers[name] = ask(getattr(features, name))
json.dump(answers, sys.stdout)
"""


def asked(*wrapper: str) -> dict[str, Any]:
    """The answers of a process that `wrapper` starts; None stands for a BpfPermissionError."""
    command = [*wrapper, sys.executable, "-c", ASK]
    answers = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(answers.stdout)
    return found


def test_without_rights_a_probe_says_so_and_never_no() -> None:
    """A refusal taken for "not supported" sends a program down a path that fails later."""
    root = asked()
    for capabilities in [(), ("bpf",), ("net_admin", "perfmon")]:
        names = ",".join(["-all", *(f"+{name}" for name in capabilities)])
        answers = asked("setpriv", f"--inh-caps={names}", f"--bounding-set={names}")
        wrong = {
            what: (said, root[what])
            for what, said in answers.items()
            if said is not None and said != root[what] and root[what] is not None
        }
        assert not wrong, capabilities
        assert (answers["map HASH"] is None) == ("bpf" not in capabilities)
        assert answers["program KPROBE"] is None


def test_answers_are_kept_and_refusals_are_not() -> None:
    """A kept refusal would outlive its cause; an answer that is not kept costs each time."""
    assert features.map_type(MapType.HASH)
    with resource_limit(resource.RLIMIT_NOFILE, 3):
        # No descriptor can be had: a new question fails, an old one does not arise.
        assert features.map_type(MapType.HASH)
        with pytest.raises(BpfError) as refused:
            features.map_type(MapType.LRU_HASH)
        assert refused.value.errno == errno.EMFILE
        features.clear_cache()
        with pytest.raises(BpfError):
            features.map_type(MapType.HASH)
    assert features.map_type(MapType.LRU_HASH)


@contextlib.contextmanager
def resource_limit(which: int, soft: int) -> Iterator[None]:
    before = resource.getrlimit(which)
    resource.setrlimit(which, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(which, before)


def test_threads_may_ask_at_once() -> None:
    """Probes share nothing but their answers."""
    answers: list[bool] = []
    threads = [
        threading.Thread(target=lambda: answers.append(features.map_type(MapType.RINGBUF)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 8
