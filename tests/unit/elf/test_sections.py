"""What the parts of a section name mean; test_against_libbpf.py compares types with libbpf."""

from __future__ import annotations

import pytest

from ebpf.elf.sections import SECTION_DEFINITIONS, parse_section_name
from ebpf.types import AttachType, ProgramFlags, ProgramType


@pytest.mark.parametrize(
    ("name", "attach", "target"),
    [
        ("kprobe/do_unlinkat+0x10", "kprobe", "do_unlinkat+0x10"),
        ("kprobe", "kprobe", ""),
        ("kprobe/", "kprobe", ""),
        ("kretprobe.multi/tcp_*", "kretprobe_multi", "tcp_*"),
        ("tp/syscalls/sys_enter_openat", "tracepoint", "syscalls/sys_enter_openat"),
        ("tracepoint/sched/sched_switch", "tracepoint", "sched/sched_switch"),
        ("raw_tp.w/nbd_send_request", "raw_tracepoint", "nbd_send_request"),
        ("uprobe.s//usr/bin/python3:main", "uprobe", "/usr/bin/python3:main"),
        ("usdt/./server:provider:name", "usdt", "./server:provider:name"),
        ("fentry.s/bpf_map_free", "fentry", "bpf_map_free"),
        ("fexit.multi/tcp_*", "fexit_multi", "tcp_*"),
        ("lsm.s/bprm_committed_creds", "lsm", "bprm_committed_creds"),
        ("lsm_cgroup/socket_bind", "lsm_cgroup", "socket_bind"),
        ("iter/task", "iter", "task"),
        ("freplace/function", "freplace", "function"),
        ("tcx/ingress", "tcx", ""),
        ("netkit/peer", "netkit", ""),
        ("cgroup_skb/egress", "cgroup", ""),
        ("cgroup/connect4", "cgroup", ""),
        ("struct_ops/init", "struct_ops", "init"),
        ("xdp.frags/cpumap", "xdp_cpumap", ""),
    ],
)
def test_how_and_where_to_attach(name: str, attach: str, target: str) -> None:
    """attach() has nothing else to go by."""
    parsed = parse_section_name(name)
    assert parsed.definition is not None
    assert (parsed.definition.attach, parsed.target) == (attach, target)


def test_a_question_mark_turns_autoload_off() -> None:
    """libbpf's SEC("?...") declares a program that is loaded only when asked for."""
    parsed = parse_section_name("?xdp")
    assert (parsed.name, parsed.autoload) == ("xdp", False)
    assert parsed.definition is not None
    assert parsed.definition.type is ProgramType.XDP
    assert parse_section_name("xdp").autoload


@pytest.mark.parametrize("name", ["", "?", "xdp_prog", "from-netdev", "kprobe+", "tc/", "filter"])
def test_free_form_names_have_no_definition(name: str) -> None:
    """Guessing a type from a part of the name would load such a program as something else."""
    assert parse_section_name(name).definition is None


def test_flags_follow_the_name() -> None:
    """A sleepable program without the flag may call no sleeping helper; XDP drops big packets."""
    for row in SECTION_DEFINITIONS:
        head = row.pattern.rstrip("+").partition("/")[0]
        sleepable = head.endswith(".s") or head == "syscall"
        assert bool(row.flags & ProgramFlags.SLEEPABLE) == sleepable, row.pattern
        frags = head == "xdp.frags"
        assert bool(row.flags & ProgramFlags.XDP_HAS_FRAGS) == frags, row.pattern


def test_no_name_is_in_the_table_twice() -> None:
    """The second would never be found."""
    patterns = [row.pattern for row in SECTION_DEFINITIONS]
    assert len(patterns) == len(set(patterns))


def test_what_attaches_to_btf_names_its_target() -> None:
    """The kernel wants the BTF id of the target when such a program is loaded."""
    needs = {row.type for row in SECTION_DEFINITIONS if row.btf_target}
    assert needs == {ProgramType.TRACING, ProgramType.LSM, ProgramType.EXT}
    without = {
        row.attach_type
        for row in SECTION_DEFINITIONS
        if row.type is ProgramType.TRACING and not row.btf_target
    }
    assert without == {
        AttachType.TRACE_FENTRY_MULTI,
        AttachType.TRACE_FEXIT_MULTI,
        AttachType.TRACE_FSESSION_MULTI,
    }
