"""kprobe.multi, system calls by name, and kretprobes that take an event in tracefs."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ebpf import (
    AttachType,
    BpfError,
    BpfFileNotFoundError,
    HashMap,
    NotSupportedError,
    Program,
    ProgramType,
    kallsyms,
    tracefs,
)
from ebpf.asm import R0, exit_, mov
from ebpf.links import kprobe, remove_stale_events, tracefs_event
from tests.kernel import environment
from tests.kernel.links.hooks import FPROBE, KPROBES
from tests.kernel.samples import (
    ATTACH_COOKIE,
    CLONE,
    PASS,
    ROOT,
    Forked,
    count,
    keep,
    load,
    per_process,
    start_threads,
    wait_until,
)

MULTI = AttachType.TRACE_KPROBE_MULTI


@pytest.fixture
def counts() -> Iterator[HashMap[int, int]]:
    with per_process() as made:
        yield made


def load_multi(insns: list[Any], attach_type: AttachType = MULTI) -> Program:
    return Program.load(ProgramType.KPROBE, insns, license="GPL", attach_type=attach_type)


def runs(counts: HashMap[int, int]) -> int:
    return counts.lookup(os.getpid()) or 0


def address_of(symbol: str) -> int:
    with open("/proc/kallsyms") as file:
        return next(int(line.split()[0], 16) for line in file if line.split()[2] == symbol)


# Two functions that each start of a thread comes to.
BOTH = [CLONE, "copy_process"]


@FPROBE
def test_a_cookie_for_each_function() -> None:
    """The program could not tell which function it is at."""
    with per_process() as kept, load_multi(keep(kept, ATTACH_COOKIE)) as program:
        for cookies in ({CLONE: 7}, [7, 8]):
            symbols = [CLONE] if isinstance(cookies, dict) else [CLONE, "security_task_alloc"]
            with program.attach_kretprobe_multi(symbols, cookies=cookies):
                start_threads()
            # kernel_clone returns last.
            assert kept[os.getpid()] == 7
        with program.attach_kprobe_multi(f"{CLONE[:-1]}?", cookies={CLONE: 9}):
            start_threads()
        assert kept[os.getpid()] == 9


@FPROBE
def test_symbols_and_addresses(counts: HashMap[int, int]) -> None:
    """The arrays are taken for each other, or a name that is there twice is refused."""
    with load_multi(count(counts)) as program:
        with program.attach_kprobe_multi([CLONE, "security_task_alloc", CLONE]):
            start_threads()
        assert runs(counts) == 2
        with program.attach_kprobe_multi(addresses=[address_of(CLONE)]) as link:
            start_threads()
            details = link.info().details
        assert runs(counts) == 3
        if environment.kernel_version() >= (6, 6):
            assert details["addrs"] == [address_of(CLONE)]


@FPROBE
def test_a_name_that_several_functions_have() -> None:
    """The kernel takes the first of them; all are meant, where it tells their addresses (6.5)."""
    with load_multi(PASS) as program:
        # The addresses of a link are known since 6.6.
        if environment.kernel_version() < (6, 6):
            return
        listed = Path(tracefs.find(), "available_filter_functions_addrs")
        names = Counter(line.split()[1] for line in listed.read_text().splitlines())
        name = next(n for n, times in names.items() if times == 2 and not n.startswith("__ftrace"))
        with program.attach_kprobe_multi([name, CLONE], cookies={name: 1, CLONE: 2}) as link:
            addresses = set(link.info().details["addrs"])
        assert len(addresses) == 3
        assert addresses <= {*kallsyms.function_addresses(name), address_of(CLONE)}


@FPROBE
def test_a_session_that_says_so_skips_the_return(counts: HashMap[int, int]) -> None:
    """1 at the entry leaves the return out (6.10)."""
    insns = [*count(counts)[: -len(PASS)], mov(R0, 1), exit_()]
    with (
        load_multi(insns, AttachType.TRACE_KPROBE_SESSION) as program,
        program.attach_kprobe_session(CLONE),
    ):
        start_threads()
    assert runs(counts) == 1


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a pattern that none matches": (
        {"symbols": "kernel_clonx*"},
        BpfFileNotFoundError,
        "no kernel function matches kernel_clonx.*nearest: .*kernel_clone",
    ),
    "one of several": (
        {"symbols": [CLONE, "kernel_clnoe"]},
        BpfFileNotFoundError,
        "no kernel function kernel_clnoe; nearest: .*kernel_clone",
    ),
    "an address inside of a function": (
        {"addresses": [0xFFFF_FFFF_0000_0001]},
        BpfError,
        "function cannot be traced|no kernel function that can be traced",
    ),
    "none": ({"symbols": []}, ValueError, "nothing to attach to"),
    "both": ({"symbols": CLONE, "addresses": [1]}, TypeError, "either symbols or addresses"),
    "neither": ({}, TypeError, "either symbols or addresses"),
    "too few cookies": ({"symbols": BOTH, "cookies": [1]}, ValueError, "1 for 2 places"),
    "cookies for a pattern": (
        {"symbols": "kernel_clon?", "cookies": [1]},
        TypeError,
        "for a pattern they are by name",
    ),
    "a cookie for nothing": (
        {"symbols": [CLONE], "cookies": {"x": 1}},
        ValueError,
        "'x' is none of the symbols",
    ),
    "a NUL": ({"symbols": ["a\0b"]}, ValueError, "has a NUL"),
}


@FPROBE
@pytest.mark.parametrize("case", WRONG)
def test_functions_that_are_none(case: str) -> None:
    """The kernel says ESRCH or EINVAL, and not of which."""
    arguments, error, told = WRONG[case]
    with load_multi(PASS) as program:
        with pytest.raises(error, match=told):
            program.attach_kprobe_multi(**arguments)
        assert program._links == set()


@FPROBE
def test_a_program_that_was_loaded_for_single_probes() -> None:
    """The kernel says EINVAL; what is missing is an argument of loading."""
    with load(ProgramType.KPROBE, PASS) as program:
        with pytest.raises(BpfError) as caught:
            program.attach_kprobe_multi([CLONE])
        if isinstance(caught.value, NotSupportedError):
            raise caught.value
        assert "without the attach type TRACE_KPROBE_MULTI" in str(caught.value)


def test_a_kernel_without_fprobe_says_the_option() -> None:
    """EOPNOTSUPP would not help. Before 5.18 it is the release that counts."""
    if environment.kernel_has("CONFIG_FPROBE"):
        return
    with load_multi(PASS) as program:
        with pytest.raises(NotSupportedError) as caught:
            program.attach_kprobe_multi([CLONE])
        if environment.kernel_version() < (5, 18):
            raise caught.value
        assert "CONFIG_FPROBE" in str(caught.value)
        assert caught.value.minimum_version is None


# ---- system calls ---------------------------------------------------------------------------


@KPROBES
def test_an_unknown_system_call_has_its_neighbours_named() -> None:
    """The name with the wrapper's prefix is not what was asked for."""
    with (
        load(ProgramType.KPROBE, PASS) as program,
        pytest.raises(BpfFileNotFoundError, match=r"no system call getpipd; nearest: .*getppid"),
    ):
        program.attach_ksyscall("getpipd")


def test_the_function_of_a_system_call() -> None:
    """Another architecture's name is looked for; kallsyms tells without kprobes too."""
    from ebpf.links.kprobe import syscall_function

    function = syscall_function("openat")
    assert function.endswith("sys_openat")
    assert address_of(function) > 0


def test_a_function_of_a_module_that_takes_no_probe() -> None:
    """The name would be looked for with the module's, and the function not be there."""
    with pytest.raises(BpfError, match="open kprobe one:kernel_clone: no probe can be set there"):
        kprobe._failed(errno.EINVAL, "kprobe one:kernel_clone", "one:kernel_clone")
    with pytest.raises(BpfFileNotFoundError, match=r"function one:kernel_clnoe; nearest: .*_clone"):
        kprobe._failed(errno.ENOENT, "kprobe one:kernel_clnoe", "one:kernel_clnoe")


# ---- events of tracefs ----------------------------------------------------------------------


def own_events() -> list[str]:
    text = Path("/sys/kernel/tracing/kprobe_events").read_text()
    return [line for line in text.splitlines() if ":ebpf/" in line]


@KPROBES
def test_maxactive_reaches_the_kernel_and_the_event_goes_with_the_link() -> None:
    """The number is dropped on the way, or the event stays."""
    before = own_events()
    with load(ProgramType.KPROBE, PASS) as program:
        link = program.attach_kretprobe(CLONE, maxactive=17)
        (event,) = set(own_events()) - set(before)
        assert event.startswith(f"r17:ebpf/p{os.getpid()}_")
        link.close()
        link.close()
        assert own_events() == before
        program.attach_kretprobe(CLONE, maxactive=17)
    assert own_events() == before


@KPROBES
def test_an_event_that_a_forked_child_has() -> None:
    """It cannot be removed while the child has it, and would stay for good."""
    before = own_events()

    def hold(tell: Callable[[int], object]) -> None:
        tell(1)
        signal.pause()

    def removed() -> bool:
        # As when this process ends.
        tracefs_event._remove_own()
        return own_events() == before

    with load(ProgramType.KPROBE, PASS) as program:
        link = program.attach_kretprobe(CLONE, maxactive=3)
        with Forked(hold):
            link.close()
            assert own_events() != before
            assert not removed()
        wait_until(removed, "the event is removed")


HELD = """
import signal, sys
from tests.kernel.samples import *
program = load(ProgramType.KPROBE, PASS)
link = program.attach_kretprobe(CLONE, maxactive=3)
print("attached", flush=True)
if sys.argv[1] == "killed":
    signal.pause()
"""


@KPROBES
@pytest.mark.parametrize("end", ["killed", "exit"])
def test_events_of_a_process_that_ended(end: str) -> None:
    """One that ends by itself removes its events; what a killed one leaves is found."""
    before = own_events()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HELD, end], stdout=subprocess.PIPE, cwd=ROOT
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"attached\n"
        # Of a process that runs, nothing is removed.
        if end == "killed":
            assert remove_stale_events() == []
            process.send_signal(signal.SIGKILL)
    left = set(own_events()) - set(before)
    assert len(left) == (end == "killed")
    removed = remove_stale_events()
    assert removed == [line.split()[0].partition("/")[2] for line in left]
    assert own_events() == before


@KPROBES
def test_a_name_that_tracefs_would_take_for_something_else() -> None:
    """A space begins the arguments of an event."""
    before = own_events()
    with load(ProgramType.KPROBE, PASS) as program:
        with pytest.raises(ValueError, match="is no function name"):
            program.attach_kretprobe(f"{CLONE} $retval", maxactive=1)
        with pytest.raises(BpfFileNotFoundError, match="no kernel function kernel_clnoe"):
            program.attach_kretprobe("kernel_clnoe", maxactive=1)
        with pytest.raises(ValueError, match="maxactive: -1"):
            program.attach_kretprobe(CLONE, maxactive=-1)
        # Later kernels need not have the limit.
        if environment.kernel_version() < (6, 15):
            with pytest.raises(BpfError, match=r"maxactive: 5000 is more .* takes \(4096\)"):
                program.attach_kretprobe(CLONE, maxactive=5000)
    assert own_events() == before
