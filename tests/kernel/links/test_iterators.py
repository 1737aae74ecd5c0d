"""Iterators, read as a file and as records, compared with what else tells of the same objects."""

from __future__ import annotations

import io
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ebpf import (
    AttachType,
    BpfError,
    CodecError,
    HashMap,
    IteratorLink,
    Link,
    NotSupportedError,
    Program,
    ProgramType,
)
from ebpf._sys import facts
from ebpf.asm import (
    R1,
    R2,
    R3,
    R6,
    R7,
    R10,
    Label,
    add,
    call,
    jeq,
    ldxdw,
    ldxh,
    ldxw,
    mov,
    stdw,
    stxw,
)
from ebpf.errors import BpfFileNotFoundError, BpfPermissionError, BpfProcessLookupError
from ebpf.info import LinkInfo
from ebpf.kernel_btf import kernel_btf
from ebpf.types import CgroupIterOrder
from tests.kernel import environment
from tests.kernel.links.hooks import cgroup, remove_cgroups
from tests.kernel.samples import PASS, bpftool, load


def iterator(name: str, insns: list[Any]) -> Program:
    return Program.load(
        ProgramType.TRACING,
        insns,
        license="GPL",
        attach_type=AttachType.TRACE_ITER,
        attach_to=name,
    )


def writes(name: str, place: int, fields: list[tuple[str, str]]) -> Program:
    """An iterator that writes u32 numbers of each object: fields of a struct of the kernel.

    The context is a pointer to the meta data, then what the iterator gives; the object is the
    pointer at `place`.
    """
    size = 4 * len(fields)
    room = (size + 7) // 8 * 8
    copies = []
    for number, (type, field) in enumerate(fields):
        offset = kernel_btf().find_struct(type).offsetof(field)
        copies += [ldxw(R1, R7 + offset), stxw(R10 - room + 4 * number, R1)]
    return iterator(
        name,
        [
            mov(R6, R1),
            ldxdw(R7, R6 + place),
            # After the last object it is called once more, without one.
            jeq(R7, 0, "end"),
            copies,
            ldxdw(R1, R6 + 0),
            ldxdw(R1, R1 + 0),
            mov(R2, R10),
            add(R2, -room),
            mov(R3, size),
            call("seq_write"),
            Label("end"),
            *PASS,
        ],
    )


TASK = [("task_struct", "pid"), ("task_struct", "tgid")]


@pytest.fixture
def tasks() -> Iterator[Program]:
    with writes("task", 8, TASK) as program:
        yield program


def threads_of(pid: int) -> set[int]:
    return {int(name) for name in os.listdir(f"/proc/{pid}/task")}


def test_every_task_is_a_record(tasks: Program) -> None:
    """Tasks are missing, or records are cut where a read ends."""
    link = tasks.attach_iter()
    found = list(link.records("II"))
    me = os.getpid()
    assert {thread for thread, process in found if process == me} == threads_of(me)
    processes = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    # Some start and end meanwhile.
    assert len(processes & {process for _, process in found}) > len(processes) * 0.9


def test_a_walk_is_a_file(tasks: Program) -> None:
    """It can't be read line by line or in pieces, or a second walk goes on where one ended."""
    link = tasks.attach_iter()
    whole = link.read()
    with link.walk() as file:
        assert isinstance(file, io.BufferedReader)
        pieces = b"".join(iter(lambda: file.read(7), b""))
    first = struct.iter_unpack("II", whole)
    assert (os.getpid(), os.getpid()) in first
    assert (os.getpid(), os.getpid()) in struct.iter_unpack("II", pieces[: len(pieces) // 8 * 8])
    with pytest.raises(ValueError, match="closed file"):
        file.read(1)


def test_a_forgotten_walk_warns(tasks: Program) -> None:
    """The descriptor of a walk keeps its program in the kernel."""
    link = tasks.attach_iter()
    with pytest.warns(ResourceWarning, match="unclosed"):
        link.walk().read(1)


def test_records_of_another_size_say_so() -> None:
    """The last bytes would be dropped."""
    with HashMap.create(key="I", value="Q", max_entries=1) as map, elements() as program:
        map[1] = 2
        link = program.attach_iter(map=map)
        with pytest.raises(CodecError, match=r"4 bytes are left at the end, where a record has 8"):
            list(link.records("Q"))


def test_tasks_of_one_process(tasks: Program) -> None:
    """All others are walked over as well (6.1)."""
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    me = os.getpid()
    try:
        link = tasks.attach_iter(pid=me)
        assert {number for number, _ in link.records("II")} == threads_of(me)
        assert link.info().details["pid"] == me
        one = tasks.attach_iter(tid=thread.native_id)
        assert list(one.records("II")) == [(thread.native_id, me)]
    finally:
        release.set()
        thread.join()


def test_files_of_one_process() -> None:
    """The parameters of another iterator over tasks; the file is at another place."""
    with writes("task_file", 24, [("file", "f_flags")]) as program:
        link = program.attach_iter(pid=os.getpid())
        with open("/dev/null", "ab"):
            flags = [number for (number,) in struct.iter_unpack("I", link.read())]
            # The walk's own descriptor is one of them, as is the directory's here.
            assert len(flags) == len(os.listdir("/proc/self/fd"))
        assert any(number & os.O_APPEND for number in flags)


def test_memory_of_one_process() -> None:
    """One record for each line of its maps."""
    with writes("task_vma", 16, [("vm_area_struct", "vm_start")]) as program:
        link = program.attach_iter(pid=os.getpid())
        starts = {number for (number,) in struct.iter_unpack("I", link.read())}
        lines = Path("/proc/self/maps").read_text().splitlines()
        listed = {int(line.split("-")[0], 16) & 0xFFFF_FFFF for line in lines}
        # [vsyscall] is none of the process's.
        assert len(listed & starts) >= len(listed) - 3


def test_every_map_is_a_record() -> None:
    """Compared with bpftool's list."""
    with HashMap.create(key="I", value="Q", max_entries=1) as map:
        with writes("bpf_map", 8, [("bpf_map", "id")]) as program:
            ids = {number for (number,) in struct.iter_unpack("I", program.attach_iter().read())}
        assert map.info().id in ids & {shown["id"] for shown in bpftool("map", "show")}


def test_every_program_is_a_record() -> None:
    """Compared with bpftool's list."""
    with programs() as program:
        ids = {number for (number,) in struct.iter_unpack("I", program.attach_iter().read())}
        assert program.info().id in ids & {shown["id"] for shown in bpftool("prog", "show")}


def programs() -> Program:
    """Writes the id of each program, which is behind a pointer in it."""
    aux = kernel_btf().find_struct("bpf_prog").offsetof("aux")
    number = kernel_btf().find_struct("bpf_prog_aux").offsetof("id")
    return iterator(
        "bpf_prog",
        [
            mov(R6, R1),
            ldxdw(R7, R6 + 8),
            jeq(R7, 0, "end"),
            ldxdw(R7, R7 + aux),
            ldxw(R1, R7 + number),
            stxw(R10 - 8, R1),
            ldxdw(R1, R6 + 0),
            ldxdw(R1, R1 + 0),
            mov(R2, R10),
            add(R2, -8),
            mov(R3, 4),
            call("seq_write"),
            Label("end"),
            *PASS,
        ],
    )


def elements() -> Program:
    """Writes key and value of each element of a hash of u32 to u64."""
    return iterator(
        "bpf_map_elem",
        [
            mov(R6, R1),
            ldxdw(R7, R6 + 24),
            jeq(R7, 0, "end"),
            ldxdw(R2, R6 + 16),
            jeq(R2, 0, "end"),
            ldxdw(R1, R6 + 0),
            ldxdw(R1, R1 + 0),
            mov(R3, 4),
            call("seq_write"),
            ldxdw(R1, R6 + 0),
            ldxdw(R1, R1 + 0),
            ldxdw(R2, R6 + 24),
            jeq(R2, 0, "end"),
            mov(R3, 8),
            call("seq_write"),
            Label("end"),
            *PASS,
        ],
    )


def test_the_elements_of_a_map() -> None:
    """Another map is walked over."""
    with (
        HashMap.create(key="I", value="Q", max_entries=8) as one,
        HashMap.create(key="I", value="Q", max_entries=8) as other,
        elements() as program,
    ):
        one.update({1: 10, 2: 20})
        other.update({3: 30})
        for map in (one, other):
            link = program.attach_iter(map=map)
            assert dict(link.records("=IQ")) == map.to_dict()
            assert link.info().details["map_id"] == map.info().id


def test_sockets() -> None:
    """Compared with the ports that are open."""
    for name, kind in (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)):
        with socket.socket(socket.AF_INET, kind) as sock:
            sock.bind(("127.0.0.1", 0))
            if kind == socket.SOCK_STREAM:
                sock.listen()
            with port_iterator(name) as program:
                ports = {
                    number for (number,) in struct.iter_unpack("I", program.attach_iter().read())
                }
            assert sock.getsockname()[1] in {number & 0xFFFF for number in ports}


def port_iterator(name: str) -> Program:
    layout = kernel_btf().find_struct("sock_common")
    offset = layout.field("skc_num").bit_offset // 8
    return iterator(
        name,
        [
            mov(R6, R1),
            ldxdw(R7, R6 + 8),
            jeq(R7, 0, "end"),
            ldxh(R1, R7 + offset),
            stxw(R10 - 8, R1),
            ldxdw(R1, R6 + 0),
            ldxdw(R1, R1 + 0),
            mov(R2, R10),
            add(R2, -8),
            mov(R3, 4),
            call("seq_write"),
            Label("end"),
            *PASS,
        ],
    )


def test_kernel_symbols() -> None:
    """One record for each (6.0); kallsyms lists the same."""
    with iterator("ksym", RECORD_1) as program:
        walked = len(program.attach_iter().read())
        listed = len(Path("/proc/kallsyms").read_text().splitlines())
        assert abs(walked - listed) < 1000


# Writes one byte for each object whose pointer is the first behind the meta data.
RECORD_1 = [
    mov(R6, R1),
    ldxdw(R7, R6 + 8),
    jeq(R7, 0, "end"),
    ldxdw(R1, R6 + 0),
    ldxdw(R1, R1 + 0),
    mov(R2, R10),
    add(R2, -8),
    stdw(R10 - 8, 1),
    mov(R3, 1),
    call("seq_write"),
    Label("end"),
    *PASS,
]


def test_cgroups_in_an_order() -> None:
    """Another part of the tree is walked over, or in another order (6.1)."""
    made = cgroup()
    below = [made / "a", made / "b"]
    try:
        for directory in below:
            directory.mkdir()
        with iterator("cgroup", RECORD_1) as program:
            counts = {
                order: len(program.attach_iter(cgroup=made, order=order).read())
                for order in (
                    CgroupIterOrder.SELF_ONLY,
                    CgroupIterOrder.DESCENDANTS_PRE,
                    CgroupIterOrder.DESCENDANTS_POST,
                )
            }
            assert list(counts.values()) == [1, 3, 3]
            assert len(program.attach_iter(cgroup=made).read()) == 3
            assert len(program.attach_iter().read()) > 3
            # Whose object does not know what it is for.
            with Program.from_id(program.info().id) as opened:
                assert len(opened.attach_iter().read()) > 3
            with pytest.raises(BpfFileNotFoundError, match="open the cgroup /no/such"):
                program.attach_iter(cgroup="/no/such")
    finally:
        for directory in below:
            directory.rmdir()
        remove_cgroups()


def test_an_iterator_that_was_opened_can_be_read(tasks: Program, bpffs: Path) -> None:
    """Who finds it by its pin or its id has made no program."""
    link = tasks.attach_iter()
    link.pin(bpffs / "tasks")
    me = (os.getpid(), os.getpid())
    with Link.open(bpffs / "tasks") as pinned, Link.from_id(link.info().id) as found:
        for other in (pinned, found):
            assert isinstance(other, IteratorLink)
            assert me in list(other.records("II"))
    # The kernel itself makes a file of a pinned iterator.
    assert me in struct.iter_unpack("II", (bpffs / "tasks").read_bytes())


def test_the_program_of_an_iterator_is_updated(tasks: Program) -> None:
    """The old one runs on, or a program of another kind is taken."""
    with writes("task", 8, TASK[:1]) as other, load(ProgramType.RAW_TRACEPOINT, PASS) as wrong:
        link = tasks.attach_iter()
        both = len(link.read())
        link.update(other)
        assert len(link.read()) < both
        assert link.info().prog_id == other.info().id
        with pytest.raises(BpfError):
            link.update(wrong)
        # Only where the given program is the attached one.
        with pytest.raises(BpfPermissionError):
            link.update(tasks, expected=tasks)
        link.update(tasks, expected=other)
        assert link.info().prog_id == tasks.info().id


# ---- what cannot be attached ----------------------------------------------------------------


def test_parameters_that_the_iterator_does_not_have(tasks: Program) -> None:
    """The kernel ignores them, and walks over everything."""
    with HashMap.create(key="I", value="Q", max_entries=1) as map, elements() as of_map:
        with pytest.raises(TypeError, match="iter task takes task, no map"):
            tasks.attach_iter(map=map)
        with pytest.raises(TypeError, match="iter bpf_map_elem takes map, no task"):
            of_map.attach_iter(pid=os.getpid())
        with pytest.raises(BpfError, match="takes a map"):
            of_map.attach_iter()
        with pytest.raises(TypeError, match="exclude each other"):
            tasks.attach_iter(pid=1, tid=1)
        with pytest.raises(BpfProcessLookupError, match="pid: no process"):
            tasks.attach_iter(pid=0x3FFF_FFFF)
    with programs() as plain, pytest.raises(TypeError, match="bpf_prog takes no parameters"):
        plain.attach_iter(pid=os.getpid())


def test_before_6_1_a_process_would_be_ignored(tasks: Program) -> None:
    """Kernels before walk over all tasks and do not say so: of a thread without any error."""
    if environment.kernel_version() < (6, 1):
        for pid, tid in ((os.getpid(), None), (None, os.getpid())):
            with pytest.raises(NotSupportedError) as caught:
                tasks.attach_iter(pid=pid, tid=tid)
            assert caught.value.minimum_version == (6, 1)
        return
    assert len(tasks.attach_iter(pid=os.getpid()).read()) == 8 * len(threads_of(os.getpid()))


def test_the_kernel_is_asked_and_not_its_release(
    tasks: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Distributions bring features to releases that had none of them (RHEL 9 is a 5.14)."""
    monkeypatch.setattr(facts, "kernel_version", lambda: (5, 14))
    assert len(tasks.attach_iter(tid=os.getpid()).read()) == 8
    # And what a kernel ignores is seen from what it says of the link.
    info = IteratorLink.info

    def ignoring(link: IteratorLink) -> LinkInfo:
        found = info(link)
        found.details["tid"] = 0
        return found

    monkeypatch.setattr(IteratorLink, "info", ignoring)
    with pytest.raises(NotSupportedError) as caught:
        tasks.attach_iter(tid=os.getpid())
    assert caught.value.minimum_version == (6, 1)


def test_parameters_of_a_program_that_was_opened() -> None:
    """Only the kernel knows what it iterates over: its records would be those of all programs."""
    with programs() as program, Program.from_id(program.info().id) as same:
        with pytest.raises(TypeError, match="takes no parameters, no task"):
            same.attach_iter(pid=os.getpid())
        same.attach_iter().close()


def test_a_program_that_does_not_fit_the_map() -> None:
    """It would read beyond the map's value."""
    with (
        HashMap.create(key="I", value="I", max_entries=1) as small,
        elements() as program,
        pytest.raises(BpfPermissionError),
    ):
        program.attach_iter(map=small)


def test_a_program_of_another_kind() -> None:
    """EINVAL may be anything."""
    with (
        load(ProgramType.RAW_TRACEPOINT, PASS, "wrong") as program,
        pytest.raises(BpfError, match=r"'wrong'.*another type \(RAW_TRACEPOINT\)"),
    ):
        program.attach_iter()
    with (
        Program.load(
            ProgramType.TRACING,
            PASS,
            license="GPL",
            attach_type=AttachType.TRACE_RAW_TP,
            attach_to="sched_process_fork",
        ) as program,
        pytest.raises(BpfError, match="loaded for no iterator"),
    ):
        program.attach_iter()
