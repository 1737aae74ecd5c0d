"""doctor's judgement of facts that no single machine has."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf.cli.doctor import as_json, as_text
from ebpf.cli.facts import Facts, Mount
from ebpf.cli.findings import Finding, healthy, judge

BPF, PERFMON, NET, ADMIN = "CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"
RESOURCE = "CAP_SYS_RESOURCE"

SHARE = "mount -o remount,gid=GROUP,mode=750"

HEALTHY = Facts(
    release="6.12.43-amd64",
    version=(6, 12),
    machine="x86_64",
    python="/usr/bin/python3",
    root=True,
    capabilities=frozenset({BPF, PERFMON, NET, ADMIN, RESOURCE}),
    initial_user_namespace=True,
    seccomp=False,
    bpf_errno=0,
    unprivileged_bpf_disabled=2,
    lockdown="none",
    security_modules=["lockdown", "capability", "bpf"],
    charges_memlock=False,
    memlock=(8388608, 8388608),
    mounts=[Mount("/sys/fs/bpf", "bpf", True), Mount("/sys/kernel/security", "securityfs", True)],
    sysfs=True,
    tracefs="/sys/kernel/tracing",
    btf_size=5515236,
    jit_enable=1,
    jit_always_on=True,
    jit_works=True,
    kprobe_pmu=True,
    fentry=True,
    lsm=True,
    ring_buffer=True,
    perf_event_paranoid=3,
    compiler="/usr/bin/clang-19",
)

# What an ordinary user has on the same machine.
ORDINARY = replace(
    HEALTHY,
    root=False,
    capabilities=frozenset(),
    bpf_errno=errno.EPERM,
    tracefs=None,
    tracefs_hidden=True,
    jit_enable=None,
    jit_works=None,
    fentry=None,
    lsm=None,
    ring_buffer=None,
    perf_event_paranoid=2,
)


def found(name: str, facts: Facts = HEALTHY, **changes: Any) -> Finding:
    """The finding `name` for `facts` with some of them changed."""
    (finding,) = (one for one in judge(replace(facts, **changes)) if one.name == name)
    return finding


def test_a_healthy_machine_is_found_healthy() -> None:
    """Otherwise doctor complains where nothing is wrong."""
    findings = judge(HEALTHY)
    assert {finding.name: finding.state for finding in findings} == {
        finding.name: "ok" for finding in findings
    }
    assert healthy(findings)
    assert not [finding for finding in findings if finding.remedy or finding.command]


def test_names_are_unique() -> None:
    """Otherwise one check would overwrite another in the JSON output."""
    names = [finding.name for finding in judge(HEALTHY)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("version", "state"),
    [((5, 10), "ok"), ((5, 9), "not ok"), ((4, 19), "not ok"), (None, "unknown")],
)
def test_the_lowest_kernel(version: tuple[int, int] | None, state: str) -> None:
    """A kernel below 5.10 must not pass: nothing here is tested on it."""
    finding = found("kernel", version=version)
    assert finding.state == state
    assert healthy([finding]) == (state == "ok")
    assert state != "not ok" or "5.10" in (finding.remedy or "")


def test_an_ordinary_user_learns_what_is_missing_and_how_to_get_it() -> None:
    """Otherwise the most frequent reason of all stays unexplained."""
    finding = found("capabilities", ORDINARY)
    assert finding.state == "not ok"
    assert finding.value == {"held": [], "missing": [BPF, PERFMON, NET]}
    assert all(name in finding.detail for name in (BPF, PERFMON, NET))
    assert finding.command == "sudo /usr/bin/python3 -m ebpf doctor"
    assert "AmbientCapabilities=CAP_BPF CAP_PERFMON CAP_NET_ADMIN" in (finding.remedy or "")
    assert not healthy(judge(ORDINARY))


def test_an_ordinary_user_is_not_told_what_root_would_see() -> None:
    """What an ordinary user cannot find out is unknown or refused, never ok by assumption."""
    states = {finding.name: finding.state for finding in judge(ORDINARY)}
    for name in ("bpf_call", "unprivileged_bpf", "tracefs", "perf_event_paranoid"):
        assert states[name] == "not ok", name
    assert states["ring_buffer"] == "unknown"


def test_root_in_a_container_is_told_the_capabilities_to_add() -> None:
    """sudo would not help there."""
    finding = found("capabilities", capabilities=frozenset({NET, "CAP_BPF"}))
    assert finding.value["missing"] == [PERFMON]
    assert finding.command == "docker run --cap-add PERFMON ..."


@pytest.mark.parametrize(
    ("held", "missing", "essential"),
    [
        ({ADMIN, NET}, [], True),
        ({ADMIN}, [NET], False),
        ({BPF, PERFMON, NET}, [], True),
        ({BPF}, [PERFMON, NET], False),
        ({PERFMON, NET}, [BPF], True),
    ],
)
def test_capabilities_that_stand_for_others(
    held: set[str], missing: list[str], essential: bool
) -> None:
    """CAP_SYS_ADMIN implies CAP_BPF and CAP_PERFMON, but not CAP_NET_ADMIN; only what lacks
    CAP_BPF can do nothing."""
    finding = found("capabilities", capabilities=frozenset(held))
    assert finding.value["missing"] == missing
    assert finding.essential == essential
    assert finding.state == ("not ok" if missing else "ok")


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"initial_user_namespace": False}, "user namespace"),
        ({"capabilities": frozenset()}, "see capabilities"),
        ({"capabilities": None}, "see capabilities"),
        ({"seccomp": True}, "seccomp"),
        ({}, "security module"),
        ({"bpf_errno": errno.ENOSYS}, "CONFIG_BPF_SYSCALL"),
    ],
)
def test_the_refused_call_names_the_likeliest_cause(changes: dict[str, Any], hint: str) -> None:
    """A cause must be named only where the facts leave it as the likeliest."""
    finding = found("bpf_call", **{"bpf_errno": errno.EPERM, **changes})
    assert finding.state == "not ok"
    assert hint in (finding.remedy or "")
    assert finding.value == {
        "errno": finding.value["errno"],
        "error": errno.errorcode[finding.value["errno"]],
    }


@pytest.mark.parametrize(
    ("level", "state"),
    [
        ("none", "ok"),
        ("absent", "ok"),
        ("integrity", "ok"),
        ("confidentiality", "not ok"),
        (None, "unknown"),
    ],
)
def test_lockdown(level: str | None, state: str) -> None:
    """Only confidentiality keeps programs from reading kernel memory."""
    assert found("lockdown", lockdown=level).state == state


@pytest.mark.parametrize("name", ["lockdown", "security_modules"])
@pytest.mark.parametrize(
    ("mounts", "command"),
    [
        ([], "mount -t securityfs securityfs /sys/kernel/security"),
        ([Mount("/sys/kernel/security", "securityfs", False)], None),
        (None, None),
    ],
)
def test_securityfs_is_to_be_mounted_only_where_it_is_not(
    name: str, mounts: list[Mount] | None, command: str | None
) -> None:
    """A command that mounts what is mounted would be wrong advice."""
    finding = found(name, lockdown=None, security_modules=None, mounts=mounts)
    assert (finding.state, finding.command) == ("unknown", command)


@pytest.mark.parametrize(
    ("mounts", "state", "command"),
    [
        (None, "unknown", None),
        ([], "not ok", "mount -t bpf bpf /sys/fs/bpf"),
        ([Mount("/sys/fs/bpf", "tmpfs", True)], "not ok", "mount -t bpf bpf /sys/fs/bpf"),
        (
            [Mount("/sys/fs/bpf", "bpf", False)],
            "not ok",
            "mount -t bpf -o mode=1777 bpf DIRECTORY",
        ),
        ([Mount("/sys/fs/bpf", "bpf", False), Mount("/run/bpf", "bpf", True)], "ok", None),
    ],
)
def test_bpffs(mounts: list[Mount] | None, state: str, command: str | None) -> None:
    """Objects can be pinned where a writable bpffs is mounted, and nowhere else."""
    finding = found("bpffs", mounts=mounts)
    assert (finding.state, finding.command) == (state, command)
    assert state != "ok" or "/run/bpf" in finding.detail


@pytest.mark.parametrize(
    ("changes", "state", "command"),
    [
        ({}, "not ok", "mount -t tracefs tracefs /sys/kernel/tracing"),
        ({"tracefs_hidden": True}, "not ok", f"{SHARE} /sys/kernel/tracing"),
        ({"tracefs": "/t", "tracepoints_readable": False}, "not ok", f"{SHARE} /t"),
        # Modes are not what keeps root out, and nothing is left to mount.
        ({"tracefs_hidden": True, "reads_every_file": True}, "not ok", None),
        (
            {"tracefs": "/t", "tracepoints_readable": False, "reads_every_file": True},
            "not ok",
            None,
        ),
        ({"tracefs": "/t", "tracepoints_readable": None}, "ok", None),
        # The mount point is a directory of sysfs.
        ({"sysfs": False}, "unknown", "mount -t sysfs sysfs /sys"),
    ],
)
def test_tracefs(changes: dict[str, Any], state: str, command: str | None) -> None:
    """The command has to fit the reason why tracepoints cannot be found, or not be attached to."""
    finding = found("tracefs", **{"tracefs": None, **changes})
    assert (finding.state, finding.command) == (state, command)


def test_tracefs_that_the_kernel_leaves_empty() -> None:
    """A command that mounts it, or opens it to a group, would be wrong advice."""
    finding = found("tracefs", tracefs=None, tracefs_hidden=True, tracefs_empty="/t")
    assert (finding.state, finding.command) == ("not ok", None)
    assert finding.detail == "/t has no files: tracepoints cannot be found"
    assert "lockdown=integrity" in (finding.remedy or "")


@pytest.mark.parametrize(("size", "state"), [(1, "ok"), (0, "not ok"), (None, "unknown")])
def test_btf(size: int | None, state: str) -> None:
    """A kernel without BTF, and a /sys that does not show it, are two things."""
    assert found("btf", btf_size=size).state == state


@pytest.mark.parametrize(
    ("works", "setting", "always", "state"),
    [
        (True, None, None, "ok"),
        (False, 0, False, "not ok"),
        (None, 1, None, "ok"),
        (None, 0, False, "not ok"),
        (None, None, True, "ok"),
        (None, None, False, "unknown"),
        (None, None, None, "unknown"),
    ],
)
def test_jit(works: bool | None, setting: int | None, always: bool | None, state: str) -> None:
    """What was tried counts before the setting, and the setting before the configuration."""
    finding = found("jit", jit_works=works, jit_enable=setting, jit_always_on=always)
    assert finding.state == state
    assert finding.value["enabled"] == {"ok": True, "not ok": False, "unknown": None}[state]
    assert (finding.command is not None) == (state == "not ok")


@pytest.mark.parametrize(
    ("setting", "held", "state"),
    [
        (3, {PERFMON}, "ok"),
        (3, {ADMIN}, "ok"),
        (3, {BPF}, "not ok"),
        (0, set(), "not ok"),
        (-1, set(), "ok"),
        (None, {ADMIN}, "unknown"),
    ],
)
def test_perf_event_paranoid_matters_without_the_capability(
    setting: int | None, held: set[str], state: str
) -> None:
    """CAP_PERFMON overrides the setting; without it only -1 lets tracepoints be opened."""
    finding = found(
        "perf_event_paranoid", perf_event_paranoid=setting, capabilities=frozenset(held)
    )
    assert finding.state == state


@pytest.mark.parametrize(
    ("charged", "limit", "held", "state"),
    [
        (False, (65536, 65536), set(), "ok"),
        (True, (65536, None), set(), "ok"),
        (True, (None, None), set(), "ok"),
        (True, (65536, 65536), {RESOURCE}, "ok"),
        (True, (65536, 65536), {BPF}, "not ok"),
        (None, (65536, 65536), set(), "unknown"),
    ],
)
def test_memlock_matters_where_it_is_charged_and_cannot_be_raised(
    charged: bool | None, limit: tuple[int | None, int | None], held: set[str], state: str
) -> None:
    """Since 5.11 the limit is no problem, and its size no reason to complain."""
    changes: dict[str, Any] = {
        "charges_memlock": charged,
        "memlock": limit,
        "capabilities": frozenset(held),
    }
    finding = found("memlock", **changes)
    assert finding.state == state
    wanted = RESOURCE in found("capabilities", **changes).value["missing"]
    assert wanted == (state == "not ok")


@pytest.mark.parametrize(
    ("setting", "held", "state"),
    [(0, set(), "ok"), (2, {BPF}, "ok"), (1, set(), "not ok"), (None, {BPF}, "unknown")],
)
def test_unprivileged_bpf(setting: int | None, held: set[str], state: str) -> None:
    """The setting is a problem only for who lacks CAP_BPF."""
    finding = found(
        "unprivileged_bpf", unprivileged_bpf_disabled=setting, capabilities=frozenset(held)
    )
    assert finding.state == state


@pytest.mark.parametrize("name", ["kprobe_pmu", "fentry", "lsm", "ring_buffer"])
@pytest.mark.parametrize(("fact", "state"), [(False, "not ok"), (None, "unknown")])
def test_probes_that_said_no_or_nothing(name: str, fact: bool | None, state: str) -> None:
    """A probe that could not be made is no "no"."""
    check = {"kprobe_pmu": "kprobes"}.get(name, name)
    changes: dict[str, Any] = {name: fact}
    assert found(check, **changes).state == state


def test_a_compiler_is_a_choice() -> None:
    """Who compiles elsewhere would be told that something is wrong; who does not, nothing."""
    assert found("compiler", compiler="/usr/bin/clang-19").detail == "/usr/bin/clang-19"
    without = found("compiler", compiler="")
    assert without.state == "ok"
    assert "apt-get install clang" in without.detail


def test_user_namespace() -> None:
    """Capabilities of another user namespace must not look as if they counted."""
    assert found("user_namespace", initial_user_namespace=False).state == "not ok"
    assert found("user_namespace", initial_user_namespace=None).state == "unknown"


def test_nothing_known_is_nothing_ok() -> None:
    """With no fact at hand (no /proc, no /sys) a check that says ok would be a guess."""
    blind = Facts("6.12", None, "x86_64", "python", True, mounts=None, sysfs=False)
    findings = judge(blind)
    assert {finding.state for finding in findings} == {"unknown"}
    assert not healthy(findings)


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


FACTS = st.builds(
    Facts,
    release=st.just("6.12.43-cloud-amd64"),
    version=optional(st.tuples(st.integers(2, 9), st.integers(0, 30))),
    machine=st.sampled_from(["x86_64", "aarch64"]),
    python=st.just("/usr/bin/python3"),
    root=st.booleans(),
    capabilities=optional(st.frozensets(st.sampled_from([BPF, PERFMON, NET, ADMIN, RESOURCE]))),
    reads_every_file=st.booleans(),
    initial_user_namespace=optional(st.booleans()),
    seccomp=optional(st.booleans()),
    bpf_errno=optional(st.sampled_from([0, 1, 22, 38, 524, 600])),
    unprivileged_bpf_disabled=optional(st.integers(0, 2)),
    lockdown=optional(st.sampled_from(["none", "integrity", "confidentiality", "absent"])),
    security_modules=optional(st.lists(st.sampled_from(["lockdown", "yama", "apparmor", "bpf"]))),
    charges_memlock=optional(st.booleans()),
    memlock=st.tuples(optional(st.integers(0, 1 << 40)), optional(st.integers(0, 1 << 40))),
    mounts=optional(
        st.lists(
            st.builds(
                Mount,
                st.sampled_from(["/sys/fs/bpf", "/run/bpf"]),
                st.sampled_from(["bpf", "tmpfs", "securityfs"]),
                st.booleans(),
            )
        )
    ),
    sysfs=st.booleans(),
    tracefs=optional(st.just("/sys/kernel/tracing")),
    tracefs_hidden=st.booleans(),
    tracefs_empty=optional(st.just("/sys/kernel/tracing")),
    tracepoints_readable=optional(st.booleans()),
    btf_size=optional(st.integers(0, 1 << 24)),
    jit_enable=optional(st.integers(0, 2)),
    jit_always_on=optional(st.booleans()),
    jit_works=optional(st.booleans()),
    kprobe_pmu=optional(st.booleans()),
    fentry=optional(st.booleans()),
    lsm=optional(st.booleans()),
    ring_buffer=optional(st.booleans()),
    perf_event_paranoid=optional(st.integers(-1, 4)),
)


@given(FACTS)
def test_every_machine_can_be_told_of(facts: Facts) -> None:
    """The text fits 80 columns (but for commands) in ASCII, the JSON has the same checks for
    every machine, and what is not ok says what to do."""
    findings = judge(facts)
    text = as_text(findings)
    assert text.isascii()
    for line in text.splitlines():
        assert len(line) <= 80 or line.lstrip().startswith("$ "), line
    shown = json.loads(json.dumps(as_json(findings)))
    assert list(shown["checks"]) == [finding.name for finding in judge(HEALTHY)]
    assert shown["ok"] == healthy(findings)
    for finding in findings:
        assert finding.state != "not ok" or finding.remedy, finding.name
        assert finding.state != "ok" or finding.value is not None, finding.name
