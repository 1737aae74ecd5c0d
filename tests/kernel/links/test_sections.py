"""Attaching by the name of the section, as libbpf does."""

from __future__ import annotations

import os
import subprocess

import pytest

from ebpf import Collection, CollectionSpec, EbpfError, IteratorLink, LinkGroup, query
from ebpf.elf.sections import parse_section_name
from tests.binaries import built
from tests.kernel.links.hooks import FENTRY, FMOD_RET, FPROBE, KPROBES, library
from tests.kernel.links.network_hooks import NETKIT, forget_networks, near, netkit
from tests.kernel.samples import start_threads
from tests.objects import compiled

# Section -> a call in this process that runs the program.
LIBRARY = built("library")
CALLS = {
    "tracepoint/sched/sched_process_fork": start_threads,
    "tp/sched/sched_process_fork": start_threads,
    "raw_tracepoint/sched_process_fork": start_threads,
    "raw_tp/sched_process_fork": start_threads,
    "tp_btf/sched_process_fork": start_threads,
    f"uprobe/{LIBRARY}:twice": lambda: library().twice(1),
    f"uprobe/{LIBRARY}:twice+0x0": lambda: library().twice(1),
    f"uretprobe/{LIBRARY}:twice": lambda: library().twice(1),
    "uprobe/libc.so.6:getppid": os.getppid,
    f"uprobe.multi/{LIBRARY}:tw*": lambda: library().twice(1),
    f"uretprobe.multi/{LIBRARY}:tw?ce": lambda: library().twice(1),
    f"uprobe.session/{LIBRARY}:twice": lambda: library().twice(1),
}
KERNEL_CALLS = {
    "kprobe/kernel_clone": (start_threads, KPROBES),
    "kprobe/kernel_clone+0": (start_threads, KPROBES),
    "kretprobe/kernel_clone": (start_threads, KPROBES),
    "ksyscall/getppid": (os.getppid, KPROBES),
    "kretsyscall/getppid": (os.getppid, KPROBES),
    "kprobe.multi/kernel_clon?": (start_threads, FPROBE),
    "kretprobe.multi/kernel_clone": (start_threads, FPROBE),
    "kprobe.session/kernel_clone": (start_threads, FPROBE),
    "fentry/kernel_clone": (start_threads, FENTRY),
    "fexit/kernel_clone": (start_threads, FENTRY),
    "fmod_ret/security_task_alloc": (start_threads, FMOD_RET),
    "fsession/kernel_clone": (start_threads, FENTRY),
    "fentry.multi/kernel_clone": (start_threads, FENTRY),
}
EVERY = [*CALLS, *(pytest.param(name, marks=marks) for name, (_, marks) in KERNEL_CALLS.items())]


def with_section(section: str, program_name: str = "counts_runs") -> Collection:
    """The program, alone, as if it were compiled into `section`."""
    spec = CollectionSpec.from_file(compiled("attach"))
    spec.select(program_name)
    parsed = parse_section_name(section)
    assert parsed.definition is not None
    program = spec.programs[program_name]
    program.section, program.target = section, parsed.target
    program.attach, program.type = parsed.definition.attach, parsed.definition.type
    program.attach_type, program.flags = parsed.definition.attach_type, parsed.definition.flags
    program.btf_target = parsed.definition.btf_target
    spec.variables["only"].value = os.getpid()
    return spec.load()


@pytest.mark.parametrize("section", EVERY, ids=lambda name: name.replace(str(LIBRARY), "LIBRARY"))
def test_the_section_says_where(section: str) -> None:
    """The program is attached elsewhere, or not at all."""
    call = CALLS.get(section) or KERNEL_CALLS[section][0]
    with with_section(section) as objects:
        (link,) = objects.attach()
        call()
        seen = objects.variables["runs"].value
        assert seen >= 1
        link.close()
        call()
        assert objects.variables["runs"].value == seen


def test_an_iterator_is_attached_by_its_section() -> None:
    """What it returns cannot be read."""
    with with_section("iter/bpf_prog") as objects:
        (link,) = objects.attach()
        assert isinstance(link, IteratorLink)
        link.read()
        assert objects.variables["runs"].value > 0


PLACED = {
    "xdp": "xdp",
    "xdp.frags": "xdp",
    "tcx/ingress": "tcx/ingress",
    "tc/egress": "tcx/egress",
    "netkit/peer": "netkit/peer",
}


@pytest.mark.parametrize(
    "section",
    [pytest.param(name, marks=NETKIT if "netkit" in name else ()) for name in PLACED],
)
def test_a_section_and_an_interface_say_where(section: str) -> None:
    """The program is attached to another hook of the interface."""
    try:
        interface = netkit() if "netkit" in section else near()
        with with_section(section, "passes") as objects:
            program = objects.programs["passes"]
            with pytest.raises(TypeError, match=r"a program of .* takes interface="):
                program.attach()
            program.attach(interface=interface)
            assert query(interface)[PLACED[section]].program_ids == [program.info().id]
            assert objects.attach() == []
    finally:
        forget_networks()


def test_a_usdt_probe_is_attached_by_its_section() -> None:
    """The path, provider or name is taken for another part."""
    with with_section(f"usdt/{built('usdt')}:sample:watched") as objects:
        (link,) = objects.attach()
        assert isinstance(link, LinkGroup)
        process = subprocess.Popen(
            [str(built("usdt"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        objects.variables["only"].value = process.pid
        out, _ = process.communicate(b"\n\n")
        assert out == b"1\n1\n"
        assert objects.variables["runs"].value == 2


WRONG = {
    "kprobe": "followed by no target",
    "kprobe/a+b": "is not FUNCTION",
    "kprobe/+4": "is not FUNCTION",
    "uprobe": "followed by no target",
    "uprobe/libc.so.6": "is not PATH:FUNCTION",
    "uprobe//bin/true:": "is not PATH:FUNCTION",
    "uprobe.multi/libc.so.6": "is not PATH:PATTERN",
    "usdt/libc.so.6:malloc": "is not PATH:PROVIDER:NAME",
    "tracepoint/sched_process_fork": "is not CATEGORY/NAME",
    "perf_event": "perf_event cannot be attached by name",
}


# Sections that libbpf leaves out when it attaches all programs of an object.
NOWHERE = ("kprobe", "uprobe", "perf_event")


@pytest.mark.parametrize("section", WRONG)
def test_a_section_that_names_no_target(section: str) -> None:
    """Something else would be attached, or the kernel's error would be of a part of the name."""
    with with_section(section) as objects:
        with pytest.raises(EbpfError, match=WRONG[section]):
            objects.programs["counts_runs"].attach()
        if section in NOWHERE:
            assert objects.attach() == []
        else:
            with pytest.raises(EbpfError, match=WRONG[section]):
                objects.attach()
