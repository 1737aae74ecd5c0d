"""Programs as kernel objects: described, found again, pinned, closed."""

from __future__ import annotations

import gc
import os
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ebpf import (
    BpfError,
    ClosedError,
    Link,
    Map,
    MapType,
    NotSupportedError,
    Program,
    ProgramType,
    RunTimeStats,
    asm,
    links,
)
from ebpf.asm import R0, R1, R2, R10, add, call, exit_, ld_map_fd, mov, stxdw
from ebpf.errors import BpfFileExistsError, BpfFileNotFoundError
from tests.kernel.environment import kernel_version
from tests.kernel.samples import (
    CLONED,
    PASS,
    bpftool,
    count,
    load,
    per_process,
    python,
    start_threads,
)

FILTER = ProgramType.SOCKET_FILTER


@pytest.mark.everywhere
def test_info_agrees_with_bpftool() -> None:
    """Both read bpf_prog_info; a field read from another's place differs."""
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    with per_process() as counts, load(ProgramType.KPROBE, count(counts), "described") as program:
        info = program.info()
        shown = bpftool("prog", "show", "id", str(info.id))
    assert info.type == ProgramType.KPROBE
    assert shown["type"] == "kprobe"
    assert (info.name, info.tag) == (shown["name"], shown["tag"])
    assert info.gpl_compatible is shown["gpl_compatible"] is True
    assert info.created_by_uid == shown["uid"] == os.getuid()
    assert info.map_ids == shown["map_ids"]
    assert info.xlated_size == shown["bytes_xlated"]
    assert info.jited_size == shown.get("bytes_jited", 0)
    assert info.btf_id == shown.get("btf_id", 0)
    assert before <= info.load_time <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def test_info_counts_more_maps_than_it_guessed() -> None:
    """The ids are asked for with a buffer, whose size is the kernel's to say."""
    maps = [Map.create(MapType.ARRAY, value="I", max_entries=1) for _ in range(20)]
    with load(FILTER, [[ld_map_fd(R1, map) for map in maps], *PASS]) as program:
        assert sorted(program.info().map_ids) == sorted(map.info().id for map in maps)
    for map in maps:
        map.close()


def test_instructions_are_those_that_bpftool_dumps(tmp_path: Path) -> None:
    """The instructions after the verifier's rewrites, byte for byte."""
    with per_process() as counts, load(ProgramType.KPROBE, count(counts)) as program:
        file = tmp_path / "xlated"
        number = str(program.info().id)
        subprocess.run(
            ["bpftool", "prog", "dump", "xlated", "id", number, "file", str(file)], check=True
        )
        assert program.instructions() == file.read_bytes()
        assert len(program.instructions()) == program.info().xlated_size


def test_instructions_can_be_disassembled() -> None:
    """What comes back is what `asm` reads."""
    with load(FILTER, PASS) as program:
        assert [str(insn) for insn in asm.disassemble(program.instructions())] == ["r0 = 0", "exit"]


def test_statistics_grow_by_exactly_the_runs() -> None:
    """Counting costs time, so the kernel does it only while somebody asks."""
    with load(FILTER, PASS) as program:
        program.test_run(bytes(14), repeat=50)
        assert (program.info().run_count, program.info().run_time) == (0, 0)
        assert program.info().average_run_time is None
        with RunTimeStats() as stats:
            program.test_run(bytes(14), repeat=50)
            counted = program.info()
        assert counted.run_count == 50
        assert counted.run_time > 0
        assert counted.average_run_time == counted.run_time / 50
        assert stats.closed
        program.test_run(bytes(14), repeat=50)
        assert program.info() == counted


def test_the_instructions_that_the_verifier_walked_are_counted() -> None:
    """The number is another field's."""
    if kernel_version() < (5, 16):
        raise NotSupportedError("the number of verified instructions", (5, 16))
    with load(FILTER, [mov(R0, 0), [add(R0, 1)] * 300, exit_()]) as program:
        assert program.info().verified_insns == 302


def test_runs_that_a_running_program_missed_are_counted() -> None:
    """A program that stops itself seems to see everything."""
    # Before 6.3 the helper holds a lock that the program would wait for.
    if kernel_version() < (6, 3):
        raise NotSupportedError("printing from the tracepoint of printing", (6, 3))
    code = [
        *(mov(R1, ord("x")), stxdw(R10 - 8, R1), mov(R1, R10), add(R1, -8), mov(R2, 2)),
        *(call("trace_printk"), *PASS),
    ]
    with load(ProgramType.RAW_TRACEPOINT, code, "printing") as program:
        assert program.info().recursion_misses == 0
        with program.attach_raw_tracepoint("bpf_trace_printk"):
            # Run by hand it prints, for which it is run, and not once more when it prints again.
            program.test_run()
        assert program.info().recursion_misses > 0


def test_a_program_is_found_by_its_id() -> None:
    """By the number that bpftool shows, another process gets at it."""
    with load(FILTER, PASS, "findable") as program, Program.from_id(program.info().id) as found:
        assert (found.type, found.name) == (FILTER, "findable")
        assert found.info() == program.info()
        assert found.fileno() != program.fileno()


def test_an_id_that_is_no_program_says_so() -> None:
    """ENOENT alone could be anything."""
    with pytest.raises(BpfFileNotFoundError, match="open the program with id 4294967295"):
        Program.from_id(0xFFFF_FFFF)


def test_from_fd_owns_a_duplicate() -> None:
    """A number that two objects own is closed twice, the second time under somebody else."""
    with load(FILTER, PASS, "twice") as program:
        with Program.from_fd(program.fileno()) as copy:
            assert copy.fileno() != program.fileno()
            assert copy.info() == program.info()
        assert program.info().name == "twice"


def test_another_object_is_refused_by_name() -> None:
    """A map taken for a program would fail later, where nobody knows why."""
    with per_process() as map, pytest.raises(BpfError, match="it is a map, not a program"):
        Program.from_fd(map.fileno())
    with (
        per_process() as counts,
        load(ProgramType.RAW_TRACEPOINT, count(counts)) as program,
        program.attach_raw_tracepoint(CLONED[1]) as link,
        pytest.raises(BpfError, match="it is a link, not a program"),
    ):
        Program.from_fd(link.fileno())
    with open("/dev/null") as file, pytest.raises(BpfError, match="not a program"):
        Program.from_fd(file.fileno())
    with pytest.raises(BpfError, match="duplicate descriptor -1"):
        Program.from_fd(-1)


@pytest.mark.everywhere
def test_a_pinned_program_outlives_its_process(bpffs: Path) -> None:
    """That is what pinning is for; bpftool sees it by its path."""
    path = bpffs / "program"
    python(
        f"""
import ebpf
from ebpf.asm import *
with ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, [mov(R0, 42), exit_()], name="kept") as p:
    p.pin({str(path)!r})
"""
    )
    with Program.open(path) as program:
        assert program.name == "kept"
        assert program.test_run(bytes(14)).return_value == 42
        assert bpftool("prog", "show", "pinned", str(path))["id"] == program.info().id
    Program.unpin(path)
    with pytest.raises(BpfFileNotFoundError, match="nothing is pinned at"):
        Program.open(path)


def test_pinning_errors_say_what_is_in_the_way(bpffs: Path, tmp_path: Path) -> None:
    """The kernel's EINVAL, EPERM and ENOENT would not."""
    with load(FILTER, PASS, "p") as program, per_process() as map:
        program.pin(bpffs / "p")
        map.pin(bpffs / "m")
        with pytest.raises(BpfFileExistsError, match="unpin it first"):
            program.pin(bpffs / "p")
        with pytest.raises(BpfFileNotFoundError, match=r"directory .* does not exist"):
            program.pin(bpffs / "none" / "p")
        with pytest.raises(BpfError, match="not on a BPF file system"):
            program.pin(tmp_path / "p")
        with pytest.raises(BpfError, match="not a program"):
            Program.open(bpffs / "m")


def test_closing_the_program_closes_its_links() -> None:
    """A program owns its attachments: dropping the link itself must not detach."""
    with per_process() as counts:
        program = load(ProgramType.RAW_TRACEPOINT, count(counts))
        program.attach_raw_tracepoint(CLONED[1])
        gc.collect()
        start_threads(2)
        assert counts[os.getpid()] == 2
        program.close()
        start_threads(2)
        assert counts[os.getpid()] == 2


def test_a_link_that_was_closed_is_not_kept() -> None:
    """A tool that attaches and detaches for days must not grow."""
    with per_process() as counts, load(ProgramType.RAW_TRACEPOINT, count(counts)) as program:
        for _ in range(5):
            program.attach_raw_tracepoint(CLONED[1]).close()
        assert len(program._links) == 1


def test_links_attached_by_threads_at_once_are_all_owned() -> None:
    """A link that its program forgot is detached by the garbage collector."""
    names = ["sched_process_fork", "sched_process_exit", "sched_process_exec", "sched_switch"]
    with per_process() as counts, load(ProgramType.RAW_TRACEPOINT, count(counts)) as program:
        threads = [
            threading.Thread(target=program.attach_raw_tracepoint, args=(name,)) for name in names
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(program._links) == len(names)


def test_a_forgotten_program_warns_and_detaches_nothing_held() -> None:
    """Who still holds a link keeps it; the program itself lives as long as that."""
    with per_process() as counts:
        program = load(ProgramType.RAW_TRACEPOINT, count(counts), "forgotten")
        link = program.attach_raw_tracepoint(CLONED[1])
        with pytest.warns(ResourceWarning, match=r"unclosed <ebpf.Program 'forgotten'"):
            del program
        start_threads()
        assert counts[os.getpid()] == 1
        link.close()
        start_threads()
        assert counts[os.getpid()] == 1


def test_a_forgotten_program_is_closed_even_where_warnings_are_errors() -> None:
    """With -W error the warning is an exception, after which the descriptor would stay open."""
    told = python(
        """
import gc, os, warnings
import ebpf
from ebpf.asm import *
before = os.listdir("/proc/self/fd")
p = ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, [mov(R0, 0), exit_()])
warnings.simplefilter("error")
del p
gc.collect()
print(os.listdir("/proc/self/fd") == before)
"""
    )
    assert told.startswith("True")
    assert "ResourceWarning: unclosed <ebpf.Program" in told


def test_a_closed_program_never_acts_on_a_reused_number() -> None:
    """The number of a closed descriptor soon belongs to something else."""
    program = load(FILTER, PASS, "gone")
    program.close()
    program.close()
    calls: list[Any] = [
        program.fileno,
        program.info,
        program.instructions,
        program.test_run,
        lambda: program.pin("/sys/fs/bpf/x"),
        lambda: program.attach_raw_tracepoint(CLONED[1]),
        program.__enter__,
    ]
    for use in calls:
        with pytest.raises(ClosedError, match="'gone' SOCKET_FILTER closed> is closed"):
            use()


@pytest.mark.parametrize("late", [False, True])
def test_what_is_attached_while_the_program_is_closed_is_detached(
    late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another thread or a handler: nobody has the link that goes on. `late` is in the midst of
    closing, when the other links are closed already."""
    made: list[Link] = []
    attach = links.attach_raw_tracepoint

    def closing(program: Program, name: str, **options: Any) -> Link:
        made.append(attach(program, name, **options))
        program.close()
        return made[-1]

    class Last:
        closed = False

        def close(self) -> None:
            if not self.closed:
                self.closed = True
                made.append(program.attach_raw_tracepoint(CLONED[1]))

    program = load(ProgramType.RAW_TRACEPOINT, PASS, "both")
    if late:
        program._links.add(Last())  # type: ignore[arg-type]
        action: Callable[[], object] = program.close
    else:
        monkeypatch.setattr(links, "attach_raw_tracepoint", closing)
        action = partial(program.attach_raw_tracepoint, CLONED[1])
    with pytest.raises(ClosedError, match=r"'both' .*is closed"):
        action()
    assert [link.closed for link in made] == [True] * (not late)
    assert program.closed


def test_threads_that_close_at_once_close_once() -> None:
    """The second close would hit a descriptor that a third thread has just opened."""
    for _ in range(20):
        program = load(FILTER, PASS)
        barrier = threading.Barrier(3)

        def close(program: Program = program, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            program.close()

        threads = [threading.Thread(target=close) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert program.closed


def test_descriptors_are_never_the_standard_streams() -> None:
    """A daemon has closed them; whatever prints would write into the program."""
    told = python(
        """
import os, ebpf
from ebpf.asm import *
os.dup2(1, 10)
for number in (0, 1, 2):
    os.close(number)
with ebpf.Program.load(ebpf.ProgramType.RAW_TRACEPOINT, [mov(R0, 0), exit_()]) as p, \\
        p.attach_raw_tracepoint("sched_process_fork") as link:
    with ebpf.Program.from_fd(p.fileno()) as copy, ebpf.Program.from_id(p.info().id) as by_id:
        every = [p, link, copy, by_id]
        good = [x.fileno() > 2 and not os.get_inheritable(x.fileno()) for x in every]
        os.write(10, repr(good).encode())
"""
    )
    assert told == "[True, True, True, True]"
