"""Attachments, each proven by what the program does when the event happens, and not after."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ebpf import (
    BpfError,
    BpfPermissionError,
    Link,
    NotSupportedError,
    Program,
    ProgramFlags,
    ProgramType,
    links,
)
from ebpf.asm import R0, R1, R6, R7, Label, call, exit_, jne, ldxdw, ldxw, mov, rsh, stw
from ebpf.errors import BpfFileExistsError, BpfFileNotFoundError
from ebpf.links import PerfEventAttachment
from tests.kernel import environment
from tests.kernel.samples import (
    ATTACH_COOKIE,
    CLONE,
    CLONED,
    PASS,
    count,
    field_offset,
    keep,
    load,
    per_process,
    start_threads,
)

KPROBES = pytest.mark.needs_config("CONFIG_KPROBES")

# Where struct pt_regs has what a function returned.
RETURNED = {"x86_64": 80, "aarch64": 0}[platform.machine()]


def attach(kind: str, program: Program, **options: Any) -> Link:
    if kind == "tracepoint":
        return program.attach_tracepoint(*CLONED, **options)
    if kind == "raw_tracepoint":
        return program.attach_raw_tracepoint(CLONED[1], **options)
    return getattr(program, f"attach_{kind}")(CLONE, **options)  # type: ignore[no-any-return]


TYPES = {
    "tracepoint": ProgramType.TRACEPOINT,
    "raw_tracepoint": ProgramType.RAW_TRACEPOINT,
    "kprobe": ProgramType.KPROBE,
    "kretprobe": ProgramType.KPROBE,
}
KINDS = [
    "tracepoint",
    "raw_tracepoint",
    pytest.param("kprobe", marks=KPROBES),
    pytest.param("kretprobe", marks=KPROBES),
]


@pytest.mark.everywhere
@pytest.mark.parametrize("kind", KINDS)
def test_the_program_runs_at_the_event_until_the_link_is_closed(kind: str) -> None:
    """Once for each time, in the process that caused it, on whatever CPU."""
    me = os.getpid()
    with per_process() as counts, load(TYPES[kind], count(counts)) as program:
        start_threads()
        assert counts.lookup(me) is None
        with attach(kind, program) as link:
            for _ in range(2):
                for cpu in os.sched_getaffinity(0):
                    before = counts.lookup(me) or 0
                    home = os.sched_getaffinity(0)
                    os.sched_setaffinity(0, {cpu})
                    start_threads(2)
                    os.sched_setaffinity(0, home)
                    assert counts[me] == before + 2
        seen = counts[me]
        start_threads()
        assert counts[me] == seen
        assert link.closed


@pytest.mark.parametrize("kind", KINDS)
def test_the_functions_of_links_do_the_same_without_a_program_object(kind: str) -> None:
    """They take anything with a descriptor, and the caller owns what they return."""
    function = getattr(links, f"attach_{kind}")
    target = {"tracepoint": CLONED, "raw_tracepoint": CLONED[1:]}.get(kind, (CLONE,))
    with per_process() as counts, load(TYPES[kind], count(counts)) as program:
        with function(program, *target):
            start_threads()
        assert program._links == set()
        start_threads()
        assert counts[os.getpid()] == 1


@pytest.mark.everywhere
def test_a_tracepoint_program_reads_the_record(tracefs: Path) -> None:
    """Its context is the record that the format file describes."""
    offset = field_offset(tracefs, *CLONED, "child_pid")
    insns = [ldxw(R7, R6 + offset)]
    with per_process() as kept, load(ProgramType.TRACEPOINT, keep(kept, insns)) as program:
        with program.attach_tracepoint(*CLONED):
            (child,) = start_threads()
        assert kept[os.getpid()] == child


@KPROBES
def test_a_kretprobe_program_reads_what_was_returned() -> None:
    """The function returns the number of the new thread."""
    insns = [ldxdw(R7, R6 + RETURNED)]
    with per_process() as kept, load(ProgramType.KPROBE, keep(kept, insns)) as program:
        with program.attach_kretprobe(CLONE):
            (child,) = start_threads()
        assert kept[os.getpid()] == child


def address_of(symbol: str) -> int:
    with open("/proc/kallsyms") as file:
        return next(int(line.split()[0], 16) for line in file if line.split()[2] == symbol)


@KPROBES
@pytest.mark.parametrize("by", ["symbol", "address"])
def test_a_kprobe_inside_the_function(by: str) -> None:
    """The first instruction of its own: behind a landing pad of 4 bytes, a call of 5 without one,
    or what arm64 has, a landing pad and two instructions of ftrace."""
    with per_process() as counts, load(ProgramType.KPROBE, count(counts)) as program:

        def attach_at(offset: int) -> Link:
            if by == "symbol":
                return program.attach_kprobe(CLONE, offset=offset)
            return program.attach_kprobe(address=address_of(CLONE) + offset)

        def attach_inside() -> Link:
            for offset in (4, 5, 8):
                with contextlib.suppress(BpfError):
                    return attach_at(offset)
            return attach_at(12)

        with attach_inside():
            start_threads(3)
        start_threads()
        assert counts[os.getpid()] == 3


@KPROBES
@pytest.mark.parametrize("kind", ["kprobe", "kretprobe"])
def test_a_kprobe_by_address(kind: str) -> None:
    """For functions that share their name."""
    with per_process() as counts, load(ProgramType.KPROBE, count(counts)) as program:
        with getattr(program, f"attach_{kind}")(address=address_of(CLONE)):
            start_threads(3)
        assert counts[os.getpid()] == 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_program_sees_its_cookie(kind: str) -> None:
    """One program on several targets tells them apart by it (5.15; raw tracepoints 6.10)."""
    with per_process() as kept:
        since = (6, 10) if kind == "raw_tracepoint" else (5, 15)
        if environment.kernel_version() < since:
            # The helper itself is refused there; the library's word on the argument counts.
            with load(TYPES[kind], PASS) as plain:
                attach(kind, plain, cookie=1)
        with load(TYPES[kind], keep(kept, ATTACH_COOKIE)) as program:
            for cookie in (1, 0xFEDC_BA98_7654_3210):
                with attach(kind, program, cookie=cookie):
                    start_threads()
                assert kept[os.getpid()] == cookie


def test_cookies_of_two_links_are_apart() -> None:
    """Each link has its own, though the program is the same."""
    with (
        per_process() as kept,
        load(ProgramType.TRACEPOINT, keep(kept, ATTACH_COOKIE)) as program,
        program.attach_tracepoint("sched", "sched_process_exit", cookie=2),
        program.attach_tracepoint(*CLONED, cookie=3),
    ):
        # Not this process: when one of its threads ends, that is the last of it which is kept.
        command = ["sh", "-c", "true & wait $!; echo $!; read end"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
            assert parent.stdout
            child = int(parent.stdout.readline())
            assert kept[parent.pid] == 3
            assert kept[child] == 2


def test_before_5_15_the_attachment_is_the_event_itself() -> None:
    """It works like a link, but there is no object to describe, pin or update."""
    with load(ProgramType.TRACEPOINT, PASS) as program, attach("tracepoint", program) as link:
        if environment.kernel_version() >= (5, 15):
            assert type(link) is Link
            assert link.info().prog_id == program.info().id
            return
        assert type(link) is PerfEventAttachment
        for use in (link.info, lambda: link.pin("/sys/fs/bpf/x"), lambda: link.update(program)):
            with pytest.raises(NotSupportedError, match="BPF links for perf events") as caught:
                use()
            assert caught.value.minimum_version == (5, 15)
        link.detach()
        assert link.closed


def test_a_writable_tracepoint_program_changes_what_comes_after_it() -> None:
    """What it writes is dropped, or written elsewhere: here the outcome of a test run."""
    insns = [
        mov(R6, R1),
        call("get_current_pid_tgid"),
        rsh(R0, 32),
        # Other processes make test runs, too.
        jne(R0, os.getpid(), "others"),
        ldxdw(R7, R6 + 0),
        stw(R7 + 0, -errno.EXDEV),
        Label("others"),
        *PASS,
    ]
    with (
        load(ProgramType.RAW_TRACEPOINT_WRITABLE, insns) as program,
        load(ProgramType.SOCKET_FILTER, PASS) as runs,
    ):
        assert runs.test_run(bytes(64)).return_value == 0
        with program.attach_raw_tracepoint("bpf_test_finish"):
            with pytest.raises(BpfError) as caught:
                runs.test_run(bytes(64))
            assert caught.value.errno == errno.EXDEV
        assert runs.test_run(bytes(64)).return_value == 0


# ---- what cannot be attached ----------------------------------------------------------------


def test_an_unknown_tracepoint_has_its_neighbours_named() -> None:
    """Names change between releases; the right one is mostly near."""
    with load(ProgramType.TRACEPOINT, PASS) as program:
        with pytest.raises(
            BpfFileNotFoundError,
            match=r"no tracepoint sched:sched_process_frok; nearest: sched:sched_process_fork",
        ):
            program.attach_tracepoint("sched", "sched_process_frok")
        with pytest.raises(
            BpfFileNotFoundError,
            match=r"no tracepoint task:sched_process_fork; nearest: sched:sched_process_fork",
        ):
            program.attach_tracepoint("task", "sched_process_fork")
        with pytest.raises(
            BpfFileNotFoundError, match=r"no category tusk; nearest: sched:sched_process_fork"
        ):
            program.attach_tracepoint("tusk", "sched_process_fork")
        with pytest.raises(BpfFileNotFoundError, match=r"no category shced; nearest: .*\bsched\b"):
            program.attach_tracepoint("shced", "nothing")
        with pytest.raises(ValueError, match=r"category: '\.\.' is no tracepoint category"):
            program.attach_tracepoint("..", "x")
        with pytest.raises(ValueError, match=r"name: 'a/b' is no tracepoint name"):
            program.attach_tracepoint("sched", "a/b")


def test_an_unknown_raw_tracepoint_has_its_neighbours_named() -> None:
    """The kernel says ENOENT, and nothing else."""
    with (
        load(ProgramType.RAW_TRACEPOINT, PASS) as program,
        pytest.raises(
            BpfFileNotFoundError,
            match=r"no raw tracepoint sched_process_frok; nearest: sched_process_fork",
        ),
    ):
        program.attach_raw_tracepoint("sched_process_frok")


WITHOUT_TRACEFS = """
umount -a -t tracefs,debugfs
exec "$0" -c '
import ebpf
from ebpf.asm import R0, exit_, mov
PASS = [mov(R0, 0), exit_()]
with ebpf.Program.load(ebpf.ProgramType.RAW_TRACEPOINT, PASS) as program:
    try:
        program.attach_raw_tracepoint("sched_process_frok")
    except ebpf.BpfFileNotFoundError as error:
        print(error)
program = ebpf.Program.load(ebpf.ProgramType.TRACEPOINT, PASS)
program.close()
try:
    program.attach_tracepoint("sched", "sched_process_fork")
except ebpf.ClosedError as error:
    print("closed")
'
"""


def test_without_tracefs_a_mistake_is_told_all_the_same() -> None:
    """Names come from BTF then, and a closed program has nothing to do with tracefs."""
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", WITHOUT_TRACEFS]
    said = subprocess.check_output([*command, sys.executable], text=True).splitlines()
    assert "no raw tracepoint sched_process_frok; nearest: sched_process_fork" in said[0]
    assert said[1:] == ["closed"]


@KPROBES
def test_an_unknown_function_has_its_neighbours_named() -> None:
    """The kernel says ENOENT or EINVAL, and nothing else."""
    with (
        load(ProgramType.KPROBE, PASS) as program,
        pytest.raises(
            BpfFileNotFoundError, match=r"no kernel function kernel_clnoe; nearest: .*kernel_clone"
        ),
    ):
        program.attach_kprobe("kernel_clnoe")


@KPROBES
def test_a_place_that_takes_no_probe_says_so() -> None:
    """EINVAL and EILSEQ do not."""
    with load(ProgramType.KPROBE, PASS) as program:
        # NOKPROBE_SYMBOL in kernel/trace/trace_kprobe.c: a probe there would run for ever.
        with pytest.raises(BpfError, match="no probe can be set there"):
            program.attach_kprobe("kprobe_dispatcher")
        with pytest.raises(BpfError, match="no probe can be set there"):
            program.attach_kprobe(CLONE, offset=1)
        with pytest.raises(BpfError, match="no probe can be set there"):
            program.attach_kprobe(address=0x1000)


@KPROBES
def test_a_name_that_several_functions_have() -> None:
    """The error has their addresses, of which one can be chosen.

    Since 6.7 and its backports; kernels before take the first of them.
    """
    found: dict[str, list[int]] = {}
    with open("/proc/kallsyms") as file:
        for line in file:
            address, kind, name, *module = line.split()
            if kind in "tT" and not module:
                found.setdefault(name, []).append(int(address, 16))
    several = [name for name, addresses in found.items() if len(set(addresses)) == 2]
    with load(ProgramType.KPROBE, PASS) as program:
        outcome = first_outcome(program, several)
        if not isinstance(outcome, BpfError):
            outcome.close()
            assert environment.kernel_version() < (6, 7)
            return
    name = next(name for name in several if f"kprobe {name}:" in str(outcome))
    assert "2 functions have this name" in str(outcome)
    assert all(hex(address) in str(outcome) for address in found[name])


def first_outcome(program: Program, symbols: list[str]) -> Link | BpfError:
    """What comes of the first of `symbols` where a probe can be set at all."""
    for symbol in symbols:
        try:
            return program.attach_kprobe(symbol)
        except BpfError as error:
            if "no probe can be set there" not in str(error):
                return error
    raise AssertionError("no function takes a probe")


@pytest.mark.parametrize("kind", KINDS)
def test_a_program_of_another_type_says_so(kind: str) -> None:
    """EINVAL may be anything."""
    message = rf"'wrong' .* of another type \(SOCKET_FILTER\); it takes {TYPES[kind].name}"
    with (
        load(ProgramType.SOCKET_FILTER, PASS, "wrong") as program,
        pytest.raises(BpfError, match=message),
    ):
        attach(kind, program)


@KPROBES
def test_a_sleepable_program_on_a_kprobe_says_so() -> None:
    """The type is right, and the error says that it is another one."""
    with (
        Program.load(
            ProgramType.KPROBE, PASS, license="GPL", flags=ProgramFlags.SLEEPABLE
        ) as program,
        pytest.raises(BpfError, match=r"kprobe kernel_clone: only a uprobe takes .* sleepable"),
    ):
        program.attach_kprobe(CLONE)


def test_a_tracepoint_program_that_reads_beyond_the_record_says_so() -> None:
    """The verifier does not know the tracepoint; attaching does."""
    with (
        load(ProgramType.TRACEPOINT, [ldxdw(R0, R1 + 2000), *PASS]) as program,
        pytest.raises(BpfPermissionError, match="reads beyond the event's record"),
    ):
        attach("tracepoint", program)


def test_a_raw_tracepoint_program_that_reads_too_many_arguments_says_so() -> None:
    """It would read what is not there."""
    with (
        load(ProgramType.RAW_TRACEPOINT, [ldxdw(R0, R1 + 64), *PASS]) as program,
        pytest.raises(BpfError, match="reads more arguments than there are"),
    ):
        attach("raw_tracepoint", program)


def test_the_same_program_twice_on_one_tracepoint_says_so() -> None:
    """The kernel takes a program once (EEXIST)."""
    with load(ProgramType.TRACEPOINT, PASS) as program, attach("tracepoint", program):
        with pytest.raises(BpfFileExistsError, match="attached to it already"):
            attach("tracepoint", program)
        # The attempt took nothing from the first attachment.
        with load(ProgramType.TRACEPOINT, PASS) as other, attach("tracepoint", other):
            pass


def test_the_same_program_twice_on_one_raw_tracepoint() -> None:
    """Since 6.10 it runs twice then; before, the kernel takes a program once."""
    with (
        per_process() as counts,
        load(ProgramType.RAW_TRACEPOINT, count(counts)) as program,
        attach("raw_tracepoint", program),
    ):
        if environment.kernel_version() < (6, 10):
            with pytest.raises(BpfFileExistsError, match="attached to it already"):
                attach("raw_tracepoint", program)
            return
        with attach("raw_tracepoint", program):
            start_threads()
        assert counts[os.getpid()] == 2


def test_arguments_that_make_no_sense_are_refused_before_the_call() -> None:
    with load(ProgramType.KPROBE, [mov(R0, 0), exit_()]) as program:
        for arguments in ((None,), ()):
            with pytest.raises(TypeError, match="attach_kprobe: give either symbol or address"):
                program.attach_kprobe(*arguments)
        with pytest.raises(TypeError, match="attach_kretprobe: give either symbol or address"):
            program.attach_kretprobe("a", address=1)
        with pytest.raises(ValueError, match="offset: -1 does not fit"):
            program.attach_kprobe("a", offset=-1)
        with pytest.raises(ValueError, match="goes with a symbol"):
            program.attach_kprobe(address=1, offset=1)
        with pytest.raises(ValueError, match="is no function name"):
            program.attach_kprobe("")
        with pytest.raises(ValueError, match=r"symbol: .* has a NUL"):
            program.attach_kprobe("a\0b")


def test_a_kernel_without_kprobes_says_the_option() -> None:
    """Neither "no such file" nor a release would help."""
    if environment.kernel_has("CONFIG_KPROBES"):
        assert Path("/sys/bus/event_source/devices/kprobe/type").exists()
        return
    with (
        load(ProgramType.KPROBE, PASS) as program,
        pytest.raises(NotSupportedError, match="CONFIG_KPROBES") as caught,
    ):
        program.attach_kprobe(CLONE)
    assert caught.value.minimum_version is None


def test_hidden_addresses_are_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Address 0 is no choice: with kernel.kptr_restrict that is all that kallsyms shows."""
    from ebpf import kallsyms
    from ebpf.links import kprobe

    for addresses, told in (([0, 0], "kernel.kptr_restrict"), ([16, 32], "0x10, 0x20")):
        monkeypatch.setattr(kallsyms, "function_addresses", lambda name, found=addresses: found)
        with pytest.raises(BpfError, match="2 functions have this name") as caught:
            kprobe._failed(errno.EADDRNOTAVAIL, "kprobe twice", "twice")
        assert told in str(caught.value)
        assert "0x0" not in str(caught.value)
