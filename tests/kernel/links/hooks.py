"""Every hook that a tracing program attaches to, with a call that shows the effect of being there.

test_hooks.py goes through them; docs/attachments.md is the table of what came of it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from ebpf import (
    AttachType,
    Collection,
    CollectionSpec,
    HashMap,
    IteratorLink,
    Link,
    NotSupportedError,
    PerfSoftware,
    Program,
    ProgramFlags,
    ProgramType,
)
from ebpf.asm import R0, exit_, mov
from tests.binaries import built
from tests.kernel import environment
from tests.kernel.samples import CLONE, CLONED, PASS, count, load, start_threads
from tests.objects import compiled

if TYPE_CHECKING:
    from ebpf.links.base import HasFileno

Counts = HashMap[int, int]
Load = Callable[[Counts], Program]

LIBC = "libc.so.6"

# Called when a thread is started, on every kernel; fmod_ret and LSM programs may be there.
TASK_ALLOC = "task_alloc"

# Where struct pt_regs has what a function returned.
RETURNED = {"x86_64": 80, "aarch64": 0}[platform.machine()]

KPROBES = pytest.mark.needs_config("CONFIG_KPROBES")
FPROBE = pytest.mark.needs_config("CONFIG_KPROBES", "CONFIG_FPROBE")
FENTRY = pytest.mark.refused_like("fentry.c")
FREPLACE = pytest.mark.refused_like("freplace.c")
# What could deny something to the whole machine.
FMOD_RET = (FENTRY, pytest.mark.in_vm)
BPF_LSM = (
    pytest.mark.needs_config("CONFIG_BPF_LSM"),
    pytest.mark.refused_like("lsm.c"),
    pytest.mark.in_vm,
)


class Attachment(Protocol):
    """What ends when it is closed: a link, or several things together."""

    def close(self) -> object: ...

    def __enter__(self) -> Any: ...

    def __exit__(self, type: Any, value: Any, traceback: Any, /) -> object: ...


@dataclass
class Hook:
    """How to load a program that counts for each process, attach it, and make it run.

    `trigger` makes it run `runs` times for each call in the calling process; `cleanup` removes
    what `attach` and `trigger` made beside the attachment. A forked process forgets with `disown`
    what would keep its attachment: a socket, a map. An attachment without a link stays when its
    process is killed; `stale` is what `links.cleanup` takes to find it: a network namespace, or
    `anywhere`.
    """

    load: Load
    attach: Callable[[Program], Attachment]
    trigger: Callable[[Any], object]
    runs: int = 1
    marks: tuple[Any, ...] = field(default=())
    cleanup: Callable[[], None] | None = None
    disown: Callable[[], None] | None = None
    stale: Callable[[], HasFileno | None] | None = None


def anywhere() -> None:
    """It is left in no network namespace."""


def counting(
    type: ProgramType, attach_type: AttachType | None = None, returns: int = 0, **options: Any
) -> Load:
    """Loads a program that counts its runs for each process, and returns a number."""

    def load(counts: Counts) -> Program:
        insns = [*count(counts)[: -len(PASS)], mov(R0, returns), exit_()]
        return Program.load(type, insns, license="GPL", attach_type=attach_type, **options)

    return load


def for_function(attach_type: AttachType, name: str = CLONE, **options: Any) -> Load:
    return counting(ProgramType.TRACING, attach_type, attach_to=name, **options)


def sleepable_lsm(name: str) -> Load:
    return counting(
        ProgramType.LSM, AttachType.LSM_MAC, attach_to=name, flags=ProgramFlags.SLEEPABLE
    )


def sleepable_file_open(counts: Counts) -> Program:
    """5.10 has bprm_committed_creds alone on its list of hooks that may sleep."""
    if environment.kernel_version() < (5, 11):
        raise NotSupportedError("a sleepable LSM program at file_open", (5, 11))
    return sleepable_lsm("file_open")(counts)


def threads(link: Link | None) -> None:
    start_threads()


def parent(link: Link | None) -> None:
    """A call of a function of the C library, and of a system call."""
    os.getppid()


def library() -> Any:
    return ctypes.CDLL(str(built("library")))


def calls_library(link: Link | None) -> None:
    assert library().twice(4) == 8


def file_open(link: Link | None) -> None:
    with open("/dev/null"):
        pass


def probed(link: Link | None) -> None:
    assert library().probed(4) == 4


def test_run(link: Link | None) -> None:
    """Any test run comes to the one writable tracepoint that every kernel has."""
    with load(ProgramType.SOCKET_FILTER, PASS) as program:
        program.test_run(bytes(64))


def page_fault(link: Link | None) -> None:
    with mmap.mmap(-1, mmap.PAGESIZE) as memory:
        memory[0] = 1


def walk(link: Link | None) -> None:
    if isinstance(link, IteratorLink):
        link.read()


def cgroup() -> Path:
    """A cgroup of this process's own, in which it is."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    root = next(line.split()[1] for line in mounts if line.split()[2] == "cgroup2")
    made = Path(root) / f"ebpf-test-{os.getpid()}"
    made.mkdir(exist_ok=True)
    return made


def in_cgroup(link: Link | None) -> None:
    """Starts a thread inside of the cgroup."""
    with inside_cgroup():
        start_threads()


@contextmanager
def inside_cgroup(made: Path | None = None) -> Iterator[None]:
    """Has this process in the cgroup, or another one below the root."""
    made = made or cgroup()
    home = next(
        line for line in Path("/proc/self/cgroup").read_text().splitlines() if "0::" in line
    )
    procs = made / "cgroup.procs"
    procs.write_text(str(os.getpid()))
    try:
        yield
    finally:
        old = Path(made.parent, home.partition("::")[2].lstrip("/"), "cgroup.procs")
        old.write_text(str(os.getpid()))


def remove_cgroups() -> None:
    """Remove what `cgroup` made here and in processes that are gone."""
    own = cgroup()
    for made in own.parent.glob("ebpf-test-*"):
        pid = made.name.rpartition("-")[2]
        if made == own or not Path(f"/proc/{pid}").exists():
            made.rmdir()


# What the freplace hook loaded, the replaced program first.
_replaced: list[Collection] = []


def replaced() -> Program:
    """A program with a function for others to replace; a child that is forked has the same one."""
    if not _replaced:
        _replaced.append(CollectionSpec.from_file(compiled("replacement")).load())
    return _replaced[0].programs["calls_number"]


def in_its_place(counts: Counts) -> Program:
    """A function that counts its calls for the process that loaded it."""
    spec = CollectionSpec.from_file(compiled("replacement"))
    spec.select("counts_number")
    spec.variables["loader"].value = os.getpid()
    objects = spec.load(targets={"counts_number": replaced()}, maps={"counts": counts})
    _replaced.append(objects)
    return objects.programs["counts_number"]


def calls_number(link: Link | None) -> None:
    replaced().test_run(bytes(64))


def forget_replaced() -> None:
    while _replaced:
        _replaced.pop().close()


HOOKS: dict[str, Hook] = {
    "tracepoint": Hook(
        counting(ProgramType.TRACEPOINT), lambda p: p.attach_tracepoint(*CLONED), threads
    ),
    "raw_tracepoint": Hook(
        counting(ProgramType.RAW_TRACEPOINT), lambda p: p.attach_raw_tracepoint(CLONED[1]), threads
    ),
    "raw_tracepoint, writable": Hook(
        counting(ProgramType.RAW_TRACEPOINT_WRITABLE),
        lambda p: p.attach_raw_tracepoint("bpf_test_finish"),
        test_run,
    ),
    "tp_btf": Hook(
        for_function(AttachType.TRACE_RAW_TP, CLONED[1]), lambda p: p.attach_tracing(), threads
    ),
    "kprobe": Hook(
        counting(ProgramType.KPROBE), lambda p: p.attach_kprobe(CLONE), threads, marks=(KPROBES,)
    ),
    "kretprobe": Hook(
        counting(ProgramType.KPROBE),
        lambda p: p.attach_kretprobe(CLONE),
        threads,
        marks=(KPROBES,),
    ),
    "kretprobe, maxactive": Hook(
        counting(ProgramType.KPROBE),
        lambda p: p.attach_kretprobe(CLONE, maxactive=7),
        threads,
        marks=(KPROBES,),
    ),
    "ksyscall": Hook(
        counting(ProgramType.KPROBE),
        lambda p: p.attach_ksyscall("getppid"),
        parent,
        marks=(KPROBES,),
    ),
    "kretsyscall": Hook(
        counting(ProgramType.KPROBE),
        lambda p: p.attach_kretsyscall("getppid"),
        parent,
        marks=(KPROBES,),
    ),
    "kprobe.multi": Hook(
        counting(ProgramType.KPROBE, AttachType.TRACE_KPROBE_MULTI),
        lambda p: p.attach_kprobe_multi(f"{CLONE[:-1]}?"),
        threads,
        marks=(FPROBE,),
    ),
    "kretprobe.multi": Hook(
        counting(ProgramType.KPROBE, AttachType.TRACE_KPROBE_MULTI),
        lambda p: p.attach_kretprobe_multi([CLONE]),
        threads,
        marks=(FPROBE,),
    ),
    "kprobe.session": Hook(
        counting(ProgramType.KPROBE, AttachType.TRACE_KPROBE_SESSION),
        lambda p: p.attach_kprobe_session(CLONE),
        threads,
        runs=2,
        marks=(FPROBE,),
    ),
    "uprobe": Hook(
        counting(ProgramType.KPROBE), lambda p: p.attach_uprobe(LIBC, "getppid"), parent
    ),
    "uprobe, sleepable": Hook(
        counting(ProgramType.KPROBE, flags=ProgramFlags.SLEEPABLE),
        lambda p: p.attach_uprobe(LIBC, "getppid"),
        parent,
    ),
    "uretprobe": Hook(
        counting(ProgramType.KPROBE), lambda p: p.attach_uretprobe(LIBC, "getppid"), parent
    ),
    "uprobe.multi": Hook(
        counting(ProgramType.KPROBE, AttachType.TRACE_UPROBE_MULTI),
        lambda p: p.attach_uprobe_multi(built("library"), "t*ce"),
        calls_library,
    ),
    "uretprobe.multi": Hook(
        counting(ProgramType.KPROBE, AttachType.TRACE_UPROBE_MULTI),
        lambda p: p.attach_uretprobe_multi(built("library"), ["twice", "thrice"]),
        calls_library,
    ),
    "uprobe.session": Hook(
        counting(ProgramType.KPROBE, AttachType.TRACE_UPROBE_SESSION),
        lambda p: p.attach_uprobe_session(built("library"), "twice"),
        calls_library,
        runs=2,
    ),
    "usdt": Hook(
        counting(ProgramType.KPROBE),
        lambda p: p.attach_usdt(built("library"), "library", "probed"),
        probed,
    ),
    "perf_event": Hook(
        counting(ProgramType.PERF_EVENT),
        lambda p: p.attach_perf_event(PerfSoftware.PAGE_FAULTS, period=1, pid=os.getpid()),
        page_fault,
    ),
    "fentry": Hook(
        for_function(AttachType.TRACE_FENTRY),
        lambda p: p.attach_tracing(),
        threads,
        marks=(FENTRY,),
    ),
    "fexit": Hook(
        for_function(AttachType.TRACE_FEXIT), lambda p: p.attach_tracing(), threads, marks=(FENTRY,)
    ),
    "fmod_ret": Hook(
        for_function(AttachType.MODIFY_RETURN, f"security_{TASK_ALLOC}"),
        lambda p: p.attach_tracing(),
        threads,
        marks=FMOD_RET,
    ),
    "fsession": Hook(
        for_function(AttachType.TRACE_FSESSION),
        lambda p: p.attach_tracing(),
        threads,
        runs=2,
        marks=(FENTRY,),
    ),
    "fentry.multi": Hook(
        counting(ProgramType.TRACING, AttachType.TRACE_FENTRY_MULTI),
        lambda p: p.attach_tracing_multi([CLONE]),
        threads,
        marks=(FENTRY,),
    ),
    "fexit.multi": Hook(
        counting(ProgramType.TRACING, AttachType.TRACE_FEXIT_MULTI),
        lambda p: p.attach_tracing_multi(f"{CLONE[:-1]}?"),
        threads,
        marks=(FENTRY,),
    ),
    "fsession.multi": Hook(
        counting(ProgramType.TRACING, AttachType.TRACE_FSESSION_MULTI),
        lambda p: p.attach_tracing_multi(CLONE),
        threads,
        runs=2,
        marks=(FENTRY,),
    ),
    "lsm": Hook(
        counting(ProgramType.LSM, AttachType.LSM_MAC, attach_to=TASK_ALLOC),
        lambda p: p.attach_lsm(),
        threads,
        marks=BPF_LSM,
    ),
    "lsm, sleepable": Hook(
        sleepable_file_open,
        lambda p: p.attach_lsm(),
        file_open,
        marks=BPF_LSM,
    ),
    "lsm_cgroup": Hook(
        counting(ProgramType.LSM, AttachType.LSM_CGROUP, returns=1, attach_to=TASK_ALLOC),
        lambda p: p.attach_lsm_cgroup(cgroup()),
        in_cgroup,
        marks=BPF_LSM,
        cleanup=remove_cgroups,
    ),
    "freplace": Hook(
        in_its_place,
        lambda p: p.attach_freplace(),
        calls_number,
        marks=(FREPLACE,),
        cleanup=forget_replaced,
    ),
    "iter": Hook(for_function(AttachType.TRACE_ITER, "bpf_prog"), lambda p: p.attach_iter(), walk),
    "iter, sleepable": Hook(
        for_function(AttachType.TRACE_ITER, "task", flags=ProgramFlags.SLEEPABLE),
        lambda p: p.attach_iter(),
        walk,
    ),
}
