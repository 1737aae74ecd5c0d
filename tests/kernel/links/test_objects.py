"""Links as kernel objects: described, found, pinned, ended, and what ends them."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ebpf import (
    BpfError,
    ClosedError,
    HashMap,
    Link,
    LinkType,
    NotSupportedError,
    Program,
    ProgramType,
)
from ebpf._sys import bpf
from ebpf.btf.types import Kind
from ebpf.errors import BpfFileExistsError, BpfFileNotFoundError
from ebpf.kernel_btf import kernel_btf, release
from ebpf.types import AttachType, PerfEventType
from tests.kernel import environment
from tests.kernel.samples import (
    CLONE,
    CLONED,
    PASS,
    ROOT,
    bpftool,
    count,
    load,
    per_process,
    python,
    start_threads,
    wait_until,
)

RAW = ProgramType.RAW_TRACEPOINT


def test_a_raw_tracepoint_link_is_described_as_bpftool_does() -> None:
    """The name is behind a pointer, which needs a buffer and a second call."""
    with load(RAW, PASS) as program, program.attach_raw_tracepoint(CLONED[1]) as link:
        info = link.info()
        (shown,) = bpftool_links(link)
    assert info.type == LinkType.RAW_TRACEPOINT
    assert info.prog_id == shown["prog_id"]
    assert info.details["tp_name"] == shown["tp_name"] == CLONED[1]


def test_a_cookie_of_a_raw_tracepoint_link_is_told() -> None:
    """Since 6.17; before that it is 0."""
    with load(RAW, PASS) as program, program.attach_raw_tracepoint(CLONED[1], cookie=7) as link:
        expected = 7 if environment.kernel_version() >= (6, 17) else 0
        assert link.info().details["cookie"] == expected


def perf_details(link: Link) -> dict[str, Any]:
    """What the kernel says of a perf event's link; only since 6.6 it says more than the type."""
    if environment.kernel_version() < (5, 15):
        raise NotSupportedError("details of perf event links, and the links", (6, 6))
    info = link.info()
    assert info.type == LinkType.PERF_EVENT
    if environment.kernel_version() < (6, 6):
        assert info.details["perf_event_type"] == PerfEventType.UNSPEC
        raise NotSupportedError("details of perf event links", (6, 6))
    return info.details


def test_a_tracepoint_link_is_described() -> None:
    """Its name is behind a pointer, in the struct of this kind of event."""
    cookie = 9 if environment.kernel_version() >= (5, 15) else 0
    with (
        load(ProgramType.TRACEPOINT, PASS) as program,
        program.attach_tracepoint(*CLONED, cookie=cookie) as link,
    ):
        details = perf_details(link)
        (shown,) = bpftool_links(link)
    assert details["perf_event_type"] == PerfEventType.TRACEPOINT
    assert details["tp_name"] == CLONED[1]
    assert shown.get("tracepoint", CLONED[1]) == CLONED[1]
    assert details["cookie"] == (9 if environment.kernel_version() >= (6, 9) else 0)
    assert "name_len" not in details


@pytest.mark.needs_config("CONFIG_KPROBES")
@pytest.mark.parametrize("kind", ["kprobe", "kretprobe"])
def test_a_kprobe_link_is_described(kind: str) -> None:
    """Function, offset and address: what was attached to, in the kernel's words."""
    cookie = 9 if environment.kernel_version() >= (5, 15) else 0
    with (
        load(ProgramType.KPROBE, PASS) as program,
        getattr(program, f"attach_{kind}")(CLONE, cookie=cookie) as link,
    ):
        details = perf_details(link)
        (shown,) = bpftool_links(link)
    assert details["perf_event_type"] == PerfEventType[kind.upper()]
    assert details["func_name"] == CLONE
    assert details["offset"] == 0
    assert details["addr"] > 1 << 63
    assert shown.get("func", CLONE) == CLONE
    assert details["cookie"] == (9 if environment.kernel_version() >= (6, 9) else 0)


def bpftool_links(link: Link) -> Any:
    """What bpftool shows of the link; an old bpftool leaves out what it does not know."""
    number = link.info().id
    return [shown for shown in bpftool("link", "show") if shown["id"] == number]


def test_an_iterators_link_names_its_target() -> None:
    """The iterator's name is behind a pointer, and decides which members follow."""
    function = kernel_btf().find("bpf_iter_task", Kind.FUNC)
    release()
    with Program.load(
        ProgramType.TRACING,
        PASS,
        license="GPL",
        attach_type=AttachType.TRACE_ITER,
        attach_btf_id=function.id,
    ) as program:
        created = bpf.link_create(prog_fd=program.fileno(), attach_type=AttachType.TRACE_ITER)
        with Link(created) as link:
            info = link.info()
            (shown,) = bpftool_links(link)
    assert info.type == LinkType.ITER
    assert info.details["target_name"] == shown["target_name"] == "task"
    assert {"tid", "pid"} <= info.details.keys()


def test_links_are_as_before_when_closed() -> None:
    """Nothing of ours is left in the kernel's list."""
    before = {shown["id"] for shown in bpftool("link", "show")}
    with load(RAW, PASS) as program:
        names = (CLONED[1], "sched_process_exit", "sched_process_exec")
        links = [program.attach_raw_tracepoint(name) for name in names]
        numbers = {link.info().id for link in links}
        assert numbers <= {shown["id"] for shown in bpftool("link", "show")}
    after = {shown["id"] for shown in bpftool("link", "show")}
    assert not numbers & after
    assert after <= before


def test_a_link_is_found_by_its_id() -> None:
    """Another descriptor for the same attachment: it lasts until the last is closed."""
    with per_process() as counts, load(RAW, count(counts)) as program:
        link = program.attach_raw_tracepoint(CLONED[1])
        with Link.from_id(link.info().id) as found, Link.from_fd(link.fileno()) as copy:
            assert found.info() == copy.info() == link.info()
            link.close()
            start_threads()
            assert counts[os.getpid()] == 1
        start_threads()
        assert counts[os.getpid()] == 1


def test_an_id_that_is_no_link_says_so() -> None:
    """ENOENT alone could be anything."""
    with pytest.raises(BpfFileNotFoundError, match="open the link with id 4294967294"):
        Link.from_id(0xFFFF_FFFE)


def test_another_object_is_refused_by_name() -> None:
    """Without leaving its descriptor open, which the check around each test sees."""
    with load(RAW, PASS) as program, pytest.raises(BpfError, match="it is a program, not a link"):
        Link.from_fd(program.fileno())


def test_a_pinned_link_outlives_its_process(bpffs: Path) -> None:
    """The effect goes on after the process that attached, and ends when it is unpinned."""
    path = bpffs / "link"
    with per_process() as counts:
        counts.pin(bpffs / "counts")
        python(
            f"""
import ebpf
from tests.kernel.samples import *
with ebpf.Map.open({str(bpffs / "counts")!r}) as counts, load(ProgramType.RAW_TRACEPOINT,
        count(counts)) as program, program.attach_raw_tracepoint(CLONED[1]) as link:
    link.pin({str(path)!r})
"""
        )
        start_threads(2)
        assert counts[os.getpid()] == 2
        with Link.open(path) as link:
            assert link.info().details["tp_name"] == CLONED[1]
            with pytest.raises(BpfFileExistsError):
                link.pin(path)
        start_threads(2)
        assert counts[os.getpid()] == 4
        Link.unpin(path)
        # The kernel lets go of the attachment a moment after the name.
        wait_until(lambda: silent(counts), "the program stops")


def silent(counts: HashMap[int, int]) -> bool:
    """Whether a thread's start goes uncounted."""
    before = counts[os.getpid()]
    start_threads()
    return counts[os.getpid()] == before


def test_opening_what_is_pinned_as_something_else(bpffs: Path) -> None:
    """A program taken for a link would fail later, where nobody knows why."""
    with load(RAW, PASS) as program:
        program.pin(bpffs / "program")
        with pytest.raises(BpfError, match="it is a program, not a link"):
            Link.open(bpffs / "program")


def test_a_link_that_cannot_be_updated_or_detached_says_so() -> None:
    """Tracing links keep their program, and end with their last descriptor."""
    with (
        per_process() as counts,
        load(RAW, count(counts)) as program,
        load(RAW, PASS) as other,
        program.attach_raw_tracepoint(CLONED[1]) as link,
    ):
        with pytest.raises(BpfError, match=r"update <ebpf.Link to raw tracepoint") as caught:
            link.update(other)
        assert caught.value.errno == errno.EINVAL
        with pytest.raises(BpfError, match=r"detach <ebpf.Link to raw tracepoint"):
            link.detach()
        start_threads()
        assert counts[os.getpid()] == 1


def test_a_closed_link_never_acts_on_a_reused_number() -> None:
    """The number of a closed descriptor soon belongs to something else."""
    with load(RAW, PASS) as program:
        link = program.attach_raw_tracepoint(CLONED[1])
        link.close()
        link.close()
        for use in (link.fileno, link.info, link.detach, lambda: link.update(program)):
            with pytest.raises(ClosedError, match="is closed"):
                use()


def test_a_forgotten_link_of_no_program_warns_and_detaches() -> None:
    """Nobody could close it any more."""
    from ebpf.links import attach_raw_tracepoint

    with per_process() as counts, load(RAW, count(counts)) as program:
        link = attach_raw_tracepoint(program, CLONED[1])
        with pytest.warns(ResourceWarning, match="unclosed <ebpf.Link to raw tracepoint"):
            del link
        gc.collect()
        start_threads()
        assert counts.lookup(os.getpid()) is None


# ---- how processes end ----------------------------------------------------------------------

ATTACHED = """
import signal, sys, time
from tests.kernel.samples import *
counts = Map.from_id(int(sys.argv[1]), key="I", value="Q")
program = load(ProgramType.RAW_TRACEPOINT, count(counts))
link = program.attach_raw_tracepoint(CLONED[1])
print(program.info().id, flush=True)
"""

ENDS = {
    "exception": ("sys.stdin.readline(); raise RuntimeError('on purpose')", None, 1),
    "handler that closes": (
        "signal.signal(signal.SIGTERM, lambda *_: (program.close(), sys.exit(6)));"
        "print('ready', flush=True); signal.pause()",
        signal.SIGTERM,
        6,
    ),
    "SIGKILL": ("print('ready', flush=True); signal.pause()", signal.SIGKILL, -signal.SIGKILL),
    "Ctrl-C": ("print('ready', flush=True); signal.pause()", signal.SIGINT, -signal.SIGINT),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_attachment_ends_with_its_process(end: str) -> None:
    """A tool that crashes must not leave its program running on the machine."""
    code, number, status = ENDS[end]
    with per_process() as counts:
        process = subprocess.Popen(
            [sys.executable, "-c", ATTACHED + code, str(counts.info().id)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            program_id = int(process.stdout.readline())
            start_threads()
            assert counts[os.getpid()] == 1
            if number is None:
                process.stdin.write("\n")
                process.stdin.close()
            else:
                assert process.stdout.readline() == "ready\n"
                process.send_signal(number)
            assert process.wait() == status
        wait_until(lambda: gone(program_id), "the program is freed")
        start_threads()
        assert counts[os.getpid()] == 1


def gone(program_id: int) -> bool:
    try:
        Program.from_id(program_id).close()
    except BpfFileNotFoundError:
        return True
    return False


def test_a_handler_may_close_what_it_interrupts() -> None:
    """A lock that close takes would be held by the very close that the handler interrupted."""
    told = python(
        """
import signal
from tests.kernel.samples import *
closed = 0
def handler(number, frame):
    global closed
    link.close()
    closed += 1
signal.signal(signal.SIGALRM, handler)
program = load(ProgramType.RAW_TRACEPOINT, PASS)
link = program.attach_raw_tracepoint(CLONED[1])
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
while closed < 200:
    link = program.attach_raw_tracepoint(CLONED[1])
    link.close()
signal.setitimer(signal.ITIMER_REAL, 0)
program.close()
print("done")
"""
    )
    assert told == "done\n"


# ---- tracefs --------------------------------------------------------------------------------

# Run in a mount namespace of its own, where nothing else sees what is unmounted.
ALONE = ("unshare", "--mount", "--propagation", "private", "sh", "-c")


def test_without_tracefs_the_error_has_the_mount_command() -> None:
    """On many machines nothing mounts it; "no such file" would not say what to do."""
    told = _in_namespace(
        "umount -l /sys/kernel/debug 2>/dev/null; umount -l /sys/kernel/tracing",
        """
from tests.kernel.samples import *
with load(ProgramType.TRACEPOINT, PASS) as program:
    try:
        program.attach_tracepoint(*CLONED)
    except FileNotFoundError as error:
        print(error)
with load(ProgramType.RAW_TRACEPOINT, PASS) as program:
    program.attach_raw_tracepoint(CLONED[1]).close()
    try:
        program.attach_raw_tracepoint("no_such_thing")
    except FileNotFoundError as error:
        print(error)
""",
    )
    first, second = told.splitlines()
    assert "mount -t tracefs tracefs /sys/kernel/tracing" in first
    assert "no raw tracepoint no_such_thing" in second
    assert "mount -t tracefs" in second


def test_tracefs_is_found_where_debugfs_has_it() -> None:
    """Older systems mount debugfs only, with tracefs inside."""
    told = _in_namespace(
        "umount -l /sys/kernel/tracing;"
        " mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug",
        """
from ebpf import tracefs
from tests.kernel.samples import *
with load(ProgramType.TRACEPOINT, PASS) as program:
    program.attach_tracepoint(*CLONED).close()
print(tracefs.find())
""",
    )
    assert told == "/sys/kernel/debug/tracing\n"


def _in_namespace(commands: str, code: str) -> str:
    script = f'{commands}; exec {sys.executable} -c "$0"'
    run = subprocess.run(
        [*ALONE, script, code], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_link_that_was_opened_says_what_it_is_attached_to(bpffs: Path) -> None:
    """Its path or number says where it came from, not what it is."""
    with load(RAW, PASS) as program, program.attach_raw_tracepoint(CLONED[1]) as link:
        link.pin(bpffs / "link")
        with Link.open(bpffs / "link") as pinned, Link.from_id(link.info().id) as found:
            for other in (pinned, found):
                assert repr(other) == f"<ebpf.Link to {link.target} fd={other.fileno()}>"
