"""Maps that may not be written or read: frozen, read-only, write-only."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ebpf
from ebpf import ArrayMap, HashMap, Map, MapFlags, MapType, PinFlags, QueueMap
from ebpf.types import OpenFlags
from tests.kernel.maps.support import dumped, increment, python, shown

ENTRIES: dict[str, Any] = {"key": "I", "value": "Q", "max_entries": 4}


def refused(use: Callable[[], object], reason: str) -> None:
    """The error says why, and does not list capabilities, which have nothing to do with it."""
    with pytest.raises(ebpf.BpfPermissionError, match=reason) as caught:
        use()
    assert caught.value.errno == errno.EPERM
    assert "CAP_" not in str(caught.value)


def test_a_frozen_map_is_read_only_for_user_space() -> None:
    """A frozen map can be written by user space, or no longer by programs, or hides its state."""
    with HashMap.create(name="cold", **ENTRIES) as m:
        m[1] = 10
        assert m.info().frozen is False
        m.freeze()
        assert m.info().frozen is True
        assert shown(m)["frozen"] == 1
        for use in (
            lambda: m.put(1, 11),
            lambda: m.delete(1),
            lambda: m.clear(),
            lambda: m.setdefault(2, 1),
            lambda: m.pop(1),
        ):
            refused(use, "'cold'.* the map is frozen")
        assert m.to_dict() == {1: 10}
        code = increment(m, 1)
        with ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, code, license="GPL") as program:
            program.test_run(bytes(14))
        assert m[1] == 11
        # EBUSY, and since 6.5 EPERM: freezing takes the right to write, which is gone.
        with pytest.raises(ebpf.BpfError, match=r"freeze .*'cold'.*: .* is frozen"):
            m.freeze()


def test_a_frozen_array_and_queue() -> None:
    """Arrays or queues don't say that they are frozen."""
    with ArrayMap.create(value="Q", max_entries=2, flags=MapFlags.RDONLY_PROG) as array:
        array[0] = 5
        array.freeze()
        refused(lambda: array.put(0, 6), "frozen")
        refused(array.clear, "frozen")
        assert array[0] == 5
    with QueueMap.create(value="Q", max_entries=2) as queue:
        queue.push(1)
        queue.freeze()
        refused(lambda: queue.push(2), "frozen")
        refused(queue.pop, "frozen")
        assert queue.peek() == 1


def test_a_map_created_read_only() -> None:
    """RDONLY does not keep user space from writing, or the error blames capabilities."""
    with HashMap.create(flags=MapFlags.RDONLY, **ENTRIES) as m:
        refused(lambda: m.put(1, 1), "the map was created or opened read-only")
        assert m.to_dict() == {}
        assert m.lookup(1) is None


def test_a_map_created_write_only() -> None:
    """WRONLY does not keep user space from reading, or the error blames capabilities."""
    with HashMap.create(flags=MapFlags.WRONLY, **ENTRIES) as m:
        m[1] = 1
        for use in (lambda: m[1], lambda: 1 in m, lambda: list(m), lambda: m.to_dict()):
            refused(use, "the map was created or opened write-only")


def test_open_flags_limit_one_descriptor(bpffs: Path) -> None:
    """RDONLY or WRONLY of open and from_id are lost, or limit the map for everybody."""
    with HashMap.create(**ENTRIES) as m:
        m.pin(bpffs / "m")
        m[1] = 10
        id = m.info().id
        for reader in (
            Map.open(bpffs / "m", key="I", value="Q", flags=PinFlags.RDONLY),
            Map.from_id(id, key="I", value="Q", flags=OpenFlags.RDONLY),
        ):
            with reader:
                assert reader[1] == 10
                refused(lambda reader=reader: reader.put(1, 11), "opened read-only")
        for writer in (
            Map.open(bpffs / "m", key="I", value="Q", flags=PinFlags.WRONLY),
            Map.from_id(id, key="I", value="Q", flags=OpenFlags.WRONLY),
        ):
            with writer:
                writer[2] = 20
                refused(lambda writer=writer: writer[2], "opened write-only")
        m[3] = 30
        assert len(dumped(m)) == 3


def test_programs_can_be_kept_from_writing() -> None:
    """RDONLY_PROG does not reach the kernel: a program that writes is loaded."""
    with (
        ArrayMap.create(value="Q", max_entries=1, flags=MapFlags.RDONLY_PROG) as m,
        pytest.raises(ebpf.VerifierError, match=r"write into map forbidden"),
    ):
        ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, increment(m, 0), license="GPL")


# Without any capability, still as uid 0: rights are the capabilities, not the user.
POWERLESS = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")

CREATE = """
import ebpf
try:
    ebpf.HashMap.create(ebpf.MapType.LPM_TRIE, key="I4s", value="Q", max_entries=1).close()
except ebpf.BpfPermissionError as error:
    print(error.errno, error)
"""


def test_without_capabilities_the_error_lists_the_facts() -> None:
    """Who has no rights is not told what the process lacks."""
    said = python(CREATE, prefix=POWERLESS)
    sysctl = Path("/proc/sys/kernel/unprivileged_bpf_disabled").read_text().strip()
    assert said.startswith("1 create an LPM_TRIE map: not permitted")
    assert "capabilities: none of CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN" in said
    assert f"unprivileged_bpf_disabled: {sysctl}" in said
    assert "lockdown: " in said
    assert "LSMs: " in said
    if sysctl != "0":
        assert "This process has neither CAP_BPF nor CAP_SYS_ADMIN" in said


def test_an_existing_map_is_not_opened_without_capabilities() -> None:
    """from_id without rights fails without saying what it was about."""
    code = """
import sys, ebpf
try:
    ebpf.Map.from_id(int(sys.argv[1])).close()
except ebpf.BpfPermissionError as error:
    print(error)
"""
    with HashMap.create(**ENTRIES) as m:
        said = python(code, str(m.info().id), prefix=POWERLESS)
    assert f"open the map with id {m!r}"[:21] in said
    assert "CAP_SYS_ADMIN" in said


@pytest.mark.parametrize(
    ("type", "options", "reader", "flags"),
    [
        (MapType.RINGBUF, {"max_entries": 4096}, ebpf.RingBuffer, OpenFlags.RDONLY),
        (MapType.RINGBUF, {"max_entries": 4096}, ebpf.RingBuffer, OpenFlags.WRONLY),
        (MapType.PERF_EVENT_ARRAY, {}, ebpf.PerfBuffer, OpenFlags.RDONLY),
        (MapType.USER_RINGBUF, {"max_entries": 4096}, ebpf.UserRingBuffer, OpenFlags.RDONLY),
        (MapType.USER_RINGBUF, {"max_entries": 4096}, ebpf.UserRingBuffer, OpenFlags.WRONLY),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_events_of_a_map_that_is_opened_for_less(
    type: MapType, options: dict[str, Any], reader: Callable[[Any], object], flags: OpenFlags
) -> None:
    """Reading a ring writes how far it was read; EACCES, EINVAL or a list of capabilities would
    not say that."""
    with (
        Map.create(type, **options) as events,
        Map.from_id(events.info().id, flags=flags) as opened,
    ):
        refused(lambda: reader(opened), r"created or opened (read|write)-only")
