"""Probes against what others say of the running kernel: bpftool's probes, the kernel's own types
(BTF), its configuration and its symbols."""

from __future__ import annotations

import errno
import functools
import itertools
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ebpf import Program, asm, features
from ebpf._sys import bpf
from ebpf.asm import Helper
from ebpf.btf import Kind
from ebpf.errors import ENOTSUPP, AsmError, BpfError, BpfPermissionError
from ebpf.kernel_btf import kernel_btf
from ebpf.types import AttachType, MapType, ProgramFlags, ProgramType
from tests.kernel import environment

MAP_TYPES = [type for type in MapType if type != MapType.UNSPEC]
PROGRAM_TYPES = [type for type in ProgramType if type != ProgramType.UNSPEC]
BY_ATTACHMENT = (ProgramType.TRACING, ProgramType.EXT, ProgramType.LSM, ProgramType.STRUCT_OPS)

# In an emulated machine each load takes milliseconds, and bpftool has made all of them already.
EMULATED = "EBPF_VM" in os.environ


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Answers of one test must not serve the next."""
    features.clear_cache()
    yield
    features.clear_cache()


def bpftool(*arguments: str) -> str:
    run = subprocess.run(["bpftool", *arguments], capture_output=True, text=True, check=True)
    return run.stdout


@functools.cache
def probed() -> Any:
    """What bpftool finds by trying."""
    return json.loads(bpftool("-j", "feature", "probe", "kernel"))


@functools.cache
def kernel_types() -> str:
    """The kernel's own types, one to a paragraph."""
    return bpftool("btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format", "raw")


def enumerated(name: str) -> bool:
    """Whether the kernel has this enumerator."""
    return f"\t'{name}' val=" in kernel_types()


def struct_with(*members: str) -> bool:
    """Whether the kernel has a struct with these members in this order, among others or not."""
    wanted = r"(?:\n\t'[^\n]*)*?".join(rf"\n\t'{member}' type_id=[^\n]*" for member in members)
    return re.search(rf"\] STRUCT [^\n]*(?:\n\t'[^\n]*)*?{wanted}", kernel_types()) is not None


@functools.cache
def kernel_functions() -> frozenset[str]:
    text = Path("/proc/kallsyms").read_text(encoding="ascii", errors="replace")
    return frozenset(line.split()[2] for line in text.splitlines())


def answer(probe: Callable[..., bool], *arguments: Any) -> bool | None:
    """What the probe says; None where this machine does not let it try."""
    try:
        return probe(*arguments)
    except BpfPermissionError:
        return None


# ---- map types ------------------------------------------------------------------------------


@pytest.mark.parametrize("type", MAP_TYPES)
def test_map_types_are_those_that_bpftool_finds(type: MapType) -> None:
    """A wrong minimal definition would make a type that the kernel has look missing."""
    found = probed()["map_types"].get(f"have_{type.name.lower()}_map_type")
    # bpftool 7.5 asks for it with a field that kernels before 6.9 do not know.
    mistaken = type is MapType.STRUCT_OPS and environment.kernel_version() < (6, 9)
    if found is None or mistaken:
        # Younger than this bpftool, and in every kernel that enumerates it.
        found = enumerated(f"BPF_MAP_TYPE_{type.name}")
    assert features.map_type(type) == found


@pytest.mark.parametrize("type", MAP_TYPES)
def test_a_map_type_that_the_kernel_does_not_enumerate_is_not_there(type: MapType) -> None:
    """The probe must not take the refusal of an unknown type for something else."""
    if not enumerated(f"BPF_MAP_TYPE_{type.name}"):
        assert not features.map_type(type)


def test_what_cannot_be_probed_is_said() -> None:
    """An answer about a type whose definition is unknown would be a guess."""
    for unknown in (MapType.UNSPEC, MapType(9999)):
        with pytest.raises(ValueError, match="cannot be probed"):
            features.map_type(unknown)
    for unheard in (ProgramType.UNSPEC, ProgramType(9999)):
        with pytest.raises(ValueError, match="cannot be probed"):
            features.program_type(unheard)
    with pytest.raises(TypeError, match="MapType"):
        features.map_type(ProgramType.XDP)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="ProgramType"):
        features.program_type(6)  # type: ignore[arg-type]
    with pytest.raises(AsmError, match="map_lookup_elem"):
        features.helper("map_lookup_elm", ProgramType.XDP)
    for type in BY_ATTACHMENT:
        with pytest.raises(ValueError, match="attaches to"):
            features.helper("map_lookup_elem", type)
    with pytest.raises(ValueError, match="STRUCT_OPS"):
        features.batch_operations(MapType.STRUCT_OPS)


# ---- program types --------------------------------------------------------------------------


@pytest.mark.parametrize("type", PROGRAM_TYPES)
def test_program_types_are_those_that_bpftool_finds(type: ProgramType) -> None:
    """A wrong minimal program would make a type that the kernel has look missing."""
    found = probed()["program_types"].get(f"have_{type.name.lower()}_prog_type")
    mine = answer(features.program_type, type)
    if type == ProgramType.NETFILTER and found is None:
        # Younger than bpftool 7.1.
        found = enumerated("BPF_PROG_TYPE_NETFILTER") and environment.kernel_has(
            "CONFIG_NETFILTER_BPF_LINK"
        )
    if mine is None or mine != found:
        # bpftool takes every failure but one for "no", EPERM included, and asks about TRACING by
        # way of fentry. Where trampolines are refused it says no to TRACING, EXT and LSM.
        assert type in (ProgramType.TRACING, ProgramType.EXT, ProgramType.LSM)
        assert found is False
        assert enumerated(f"BPF_PROG_TYPE_{type.name}")
        with pytest.raises(BpfPermissionError):
            Program.load(
                ProgramType.TRACING,
                [asm.mov(asm.R0, 0), asm.exit_()],
                attach_type=AttachType.TRACE_FENTRY,
                attach_btf_id=1,
            )


# ---- helpers --------------------------------------------------------------------------------

# bpftool does not ask for these without "full": the kernel warns of them.
NOT_ASKED = {Helper.TRACE_PRINTK, Helper.TRACE_VPRINTK, Helper.PROBE_WRITE_USER}

# What libbpf 1.1 (bpftool 7.1) takes for "yes": any refusal in words that it does not know.
NOT_IN_SUCH_PROGRAMS = {
    # "func ... not supported for program type"
    *(
        (type, Helper.GET_FUNC_IP)
        for type in (
            ProgramType.TRACEPOINT,
            ProgramType.PERF_EVENT,
            ProgramType.RAW_TRACEPOINT,
            ProgramType.RAW_TRACEPOINT_WRITABLE,
            ProgramType.SYSCALL,
        )
    ),
    # "helper call is not allowed in probe": of other types, for some hooks
    (ProgramType.SYSCALL, Helper.SK_STORAGE_GET),
    (ProgramType.SYSCALL, Helper.SK_STORAGE_DELETE),
    (ProgramType.SYSCALL, Helper.D_PATH),
}
# What bpftool does not find because it never asks with BPF_F_SLEEPABLE.
IN_SLEEPABLE_PROGRAMS = {
    (ProgramType.KPROBE, Helper.COPY_FROM_USER),
    (ProgramType.KPROBE, Helper.COPY_FROM_USER_TASK),
}


def bpftool_reads_this_log() -> bool:
    """False for a bpftool that is older than the kernel's "program of this type cannot use".

    It then finds every helper in every program type.
    """
    return "bpf_xdp_adjust_head" not in probed()["helpers"]["socket_filter_available_helpers"]


def test_helpers_are_those_that_bpftool_finds() -> None:
    """A misread log would give programs helpers that they do not have, or deny those they do."""
    if not bpftool_reads_this_log():
        return  # test_a_helper_is_there_where_a_whole_program_with_it_loads does not need it
    different = {}
    for number, (type, helper) in enumerate(pairs(Helper)):
        theirs = probed()["helpers"].get(f"{type.name.lower()}_available_helpers")
        if theirs is None or helper in NOT_ASKED or (EMULATED and number % 23):
            continue
        found = f"bpf_{helper.name.lower()}" in theirs
        if features.helper(helper, type) != found:
            different[type, helper] = found
    assert {pair for pair, found in different.items() if found} <= NOT_IN_SUCH_PROGRAMS
    assert {pair for pair, found in different.items() if not found} <= IN_SLEEPABLE_PROGRAMS


def pairs(helpers: Iterable[Helper]) -> Iterator[tuple[ProgramType, Helper]]:
    types = [type for type in PROGRAM_TYPES if type not in BY_ATTACHMENT]
    return itertools.product(types, helpers)


# Helpers that a program may call with its context and zeros, or with any numbers.
CALLABLE = [
    Helper.KTIME_GET_NS,
    Helper.GET_PRANDOM_U32,
    Helper.GET_SMP_PROCESSOR_ID,
    Helper.CLONE_REDIRECT,
    Helper.GET_CURRENT_PID_TGID,
    Helper.GET_CURRENT_UID_GID,
    Helper.GET_CGROUP_CLASSID,
    Helper.SKB_VLAN_PUSH,
    Helper.SKB_VLAN_POP,
    Helper.GET_ROUTE_REALM,
    Helper.SKB_CHANGE_PROTO,
    Helper.SKB_CHANGE_TYPE,
    Helper.GET_HASH_RECALC,
    Helper.GET_CURRENT_TASK,
    Helper.SKB_CHANGE_TAIL,
    Helper.SKB_PULL_DATA,
    Helper.CSUM_UPDATE,
    Helper.SET_HASH_INVALID,
    Helper.GET_NUMA_NODE_ID,
    Helper.SKB_CHANGE_HEAD,
    Helper.XDP_ADJUST_HEAD,
    Helper.GET_SOCKET_UID,
    Helper.SET_HASH,
    Helper.SKB_ADJUST_ROOM,
    Helper.XDP_ADJUST_META,
    Helper.SOCK_OPS_CB_FLAGS_SET,
    Helper.MSG_APPLY_BYTES,
    Helper.MSG_CORK_BYTES,
    Helper.MSG_PULL_DATA,
    Helper.XDP_ADJUST_TAIL,
    Helper.RC_REPEAT,
    Helper.SKB_CGROUP_ID,
    Helper.GET_CURRENT_CGROUP_ID,
    Helper.MSG_PUSH_DATA,
    Helper.MSG_POP_DATA,
    Helper.SKB_ECN_SET_CE,
    Helper.SEND_SIGNAL,
    Helper.JIFFIES64,
    Helper.GET_NETNS_COOKIE,
    Helper.KTIME_GET_BOOT_NS,
    Helper.KTIME_GET_COARSE_NS,
    Helper.GET_FUNC_IP,
    Helper.GET_ATTACH_COOKIE,
    Helper.SYS_CLOSE,
    Helper.GET_RETVAL,
    Helper.KTIME_GET_TAI_NS,
]
ATTACH_TYPES = {
    ProgramType.CGROUP_SOCK_ADDR: AttachType.CGROUP_INET4_CONNECT,
    ProgramType.CGROUP_SOCKOPT: AttachType.CGROUP_GETSOCKOPT,
    ProgramType.SK_LOOKUP: AttachType.SK_LOOKUP,
    ProgramType.NETFILTER: AttachType.NETFILTER,
}


def loads(type: ProgramType, helper: Helper) -> bool:
    """Whether a program that does nothing but call the helper is accepted."""
    zeros = [asm.mov(register, 0) for register in (asm.R2, asm.R3, asm.R4, asm.R5)]
    try:
        Program.load(
            type,
            [*zeros, asm.call(int(helper)), asm.mov(asm.R0, 0), asm.exit_()],
            license="GPL",
            attach_type=ATTACH_TYPES.get(type),
            flags=ProgramFlags.SLEEPABLE if type == ProgramType.SYSCALL else 0,
        ).close()
    except BpfError as error:
        if error.errno not in (errno.EINVAL, ENOTSUPP):
            raise
        return False
    return True


def test_a_helper_is_there_where_a_whole_program_with_it_loads() -> None:
    """The probe's program is wrong on purpose, and its log says why; a right one has no log to
    misread."""
    answers = set()
    for number, (type, helper) in enumerate(pairs(CALLABLE)):
        if EMULATED and number % 7:
            continue
        answers.add(found := features.helper(helper, type))
        assert found == loads(type, helper), (type, helper)
    assert answers == {True, False}


def test_a_helper_goes_by_name_and_number() -> None:
    """All spellings of a helper are one helper."""
    spellings = (Helper.XDP_ADJUST_HEAD, 44, "xdp_adjust_head", "bpf_xdp_adjust_head")
    assert [features.helper(one, ProgramType.XDP) for one in spellings] == [True] * 4
    assert [features.helper(one, ProgramType.SOCKET_FILTER) for one in spellings] == [False] * 4


def test_no_kernel_has_a_helper_that_nobody_wrote() -> None:
    """Helpers are never added any more: a number beyond the last one is unknown everywhere."""
    assert not features.helper(100_000, ProgramType.XDP)


# ---- single features ------------------------------------------------------------------------


def test_links_and_cookies_are_where_the_kernel_has_their_types() -> None:
    """Attaching would fall back to what cannot be pinned, or refuse a cookie that works."""
    assert features.perf_event_link() == enumerated("BPF_LINK_TYPE_PERF_EVENT")
    assert features.perf_event_cookie() == struct_with("bpf_cookie")
    assert features.raw_tracepoint_cookie() == struct_with("name", "prog_fd", "cookie")


def test_map_operations_are_where_the_kernel_has_their_functions() -> None:
    """Reading a map would fall back to what is fifty times slower, or fail."""
    found = features.hash_lookup_and_delete()
    assert found == ("htab_map_lookup_and_delete_elem" in kernel_functions())
    assert features.batch_operations() == ("htab_map_lookup_batch" in kernel_functions())
    assert not features.batch_operations(MapType.QUEUE)
    assert features.object_names()


def test_memory_is_charged_where_the_kernel_keeps_whom_to_charge() -> None:
    """RLIMIT_MEMLOCK would be raised for nothing, or not where it is needed."""
    of_a_map = re.search(r"STRUCT 'bpf_map' [^\n]*(?:\n\t'[^\n]*)*", kernel_types())
    assert of_a_map is not None
    charged = re.search(r"'(memcg|objcg)'", of_a_map[0]) is not None
    assert features.memcg_accounting() == charged


def test_maps_are_exclusive_where_the_kernel_keeps_for_whom() -> None:
    """A map would be open to all programs, or refused although the kernel has it."""
    of_a_map = re.search(r"STRUCT 'bpf_map' [^\n]*(?:\n\t'[^\n]*)*", kernel_types())
    assert of_a_map is not None
    assert features.exclusive_maps() == ("'excl_prog_sha'" in of_a_map[0])


def test_tokens_are_where_the_kernel_has_their_type() -> None:
    """A token would be looked for in vain, or not used where it is needed."""
    assert features.tokens() == (re.search(r"STRUCT 'bpf_token' ", kernel_types()) is not None)


def test_programs_are_signed_where_the_kernel_has_the_field_and_the_check() -> None:
    """A signature would be refused as a mistake, or left out although the kernel wants it."""
    checks = environment.kernel_has("CONFIG_SYSTEM_DATA_VERIFICATION")
    has_field = struct_with("signature", "signature_size", "keyring_id")
    assert features.program_signatures() == (checks and has_field)


@pytest.mark.parametrize(
    ("probe", "function"),
    [
        (features.xdp_link, "bpf_xdp_link_attach"),
        (features.tcx, "tcx_link_attach"),
        (features.netkit, "netkit_link_attach"),
        (features.netfilter_link, "bpf_nf_link_attach"),
        (features.cgroup_link, "cgroup_bpf_link_attach"),
        (features.netns_link, "netns_bpf_link_create"),
        (features.sockmap_link, "sock_map_link_create"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_links_are_where_the_kernel_has_their_functions(
    probe: Callable[[], bool], function: str
) -> None:
    """A program would be attached in an older way, or in one that there is not."""
    assert probe() == (function in kernel_functions())


def test_links_to_cgroups_are_ordered_where_the_kernel_counts_revisions() -> None:
    """An order would be refused, or not asked for where it matters."""
    of_a_cgroup = re.search(r"STRUCT 'cgroup_bpf' [^\n]*(?:\n\t'[^\n]*)*", kernel_types())
    assert of_a_cgroup is not None
    assert features.cgroup_order() == ("'revisions'" in of_a_cgroup[0])


def test_what_the_configuration_decides() -> None:
    """The kernel's own configuration must not contradict the probes."""
    assert features.kprobe_pmu() == environment.kernel_has("CONFIG_KPROBE_EVENTS")
    assert features.kernel_btf() == environment.kernel_has("CONFIG_DEBUG_INFO_BTF")
    assert features.ring_buffer() == probed()["map_types"]["have_ringbuf_map_type"]


@pytest.mark.parametrize(
    ("probe", "type", "attach_type", "target"),
    [
        ("fentry", ProgramType.TRACING, AttachType.TRACE_FENTRY, "do_nanosleep"),
        ("lsm", ProgramType.LSM, AttachType.LSM_MAC, "bpf_lsm_file_open"),
    ],
)
def test_a_hook_is_there_where_a_whole_program_for_it_loads(
    probe: str, type: ProgramType, attach_type: AttachType, target: str
) -> None:
    """A tool would choose what is refused, or do without what works."""
    function = kernel_btf().find_all(target, Kind.FUNC)
    loads = False
    if function:
        loaded = bpf.prog_load(
            prog_type=type,
            insns=bytes.fromhex("b7000000000000009500000000000000"),
            license=b"GPL\0",
            expected_attach_type=attach_type,
            attach_btf_id=function[0].id,
        )
        loads = loaded.result >= 0
        if loads:
            os.close(loaded.result)
    assert getattr(features, probe)() == loads


def test_the_jit_as_it_is_set() -> None:
    """Where the setting can be read, it and the probe are one."""
    setting = Path("/proc/sys/net/core/bpf_jit_enable").read_text(encoding="ascii")
    assert features.jit() == (int(setting) > 0)
