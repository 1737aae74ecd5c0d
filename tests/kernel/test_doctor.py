"""doctor on this machine: its findings against others' sources, and where things are missing."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DOCTOR = [sys.executable, "-m", "ebpf", "doctor"]
WITHOUT_CAPABILITIES = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]


def doctor(*wrapper: str, shell: str = "") -> tuple[int, Any]:
    """The exit status and the JSON of doctor, started by `wrapper`, after the commands `shell`."""
    command = [*wrapper, "sh", "-c", f'{shell}\nexec "$@"', "sh", *DOCTOR, "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not result.stderr, result.stderr
    return result.returncode, json.loads(result.stdout)


def in_other_mounts(shell: str) -> tuple[int, Any]:
    """doctor where the commands `shell` changed the mounts, for it alone."""
    return doctor("unshare", "--mount", "--propagation", "private", shell=shell)


@pytest.fixture(scope="module")
def checks() -> Any:
    """The checks of root on this machine, where all that is essential works."""
    status, found = doctor()
    assert status == 0
    assert found["ok"]
    return found["checks"]


def sysctl(name: str) -> int:
    return int(Path("/proc/sys", *name.split(".")).read_text(encoding="ascii"))


def mounted(kind: str) -> list[str]:
    """Where file systems of this kind are mounted, by findmnt."""
    command = ["findmnt", "--noheadings", "--output", "TARGET", "--list", "--types", kind]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.split()


def test_the_kernel_and_the_call(checks: Any) -> None:
    """The facts that everything else rests on."""
    assert checks["kernel"]["value"] == {
        "release": platform.release(),
        "machine": platform.machine(),
    }
    assert checks["bpf_call"]["value"] == {"errno": 0}


def test_capabilities_are_those_of_the_process(checks: Any) -> None:
    """Otherwise doctor would send its reader to get what is there."""
    shown = subprocess.check_output(["setpriv", "--dump"], text=True)
    effective = re.search(r"^Capability bounding set: (.*)$", shown, re.MULTILINE)
    assert effective is not None
    held = {f"CAP_{name.upper()}" for name in effective[1].split(",")}
    value = checks["capabilities"]["value"]
    assert set(value["held"]) <= held
    assert not held & set(value["missing"])
    assert {"CAP_BPF", "CAP_NET_ADMIN"} <= set(value["held"])


def test_mounts_are_those_that_findmnt_lists(checks: Any) -> None:
    """A path that is no bpffs or tracefs would be named as one."""
    assert [mount["path"] for mount in checks["bpffs"]["value"]] == mounted("bpf")
    assert all(mount["writable"] for mount in checks["bpffs"]["value"])
    assert checks["tracefs"]["value"]["path"] in mounted("tracefs")


def test_settings_are_those_of_proc_and_sys(checks: Any) -> None:
    """Each is read from its own file, so that a mixed-up path shows."""
    setting = checks["unprivileged_bpf"]["value"]["unprivileged_bpf_disabled"]
    assert setting == sysctl("kernel.unprivileged_bpf_disabled")
    paranoid = checks["perf_event_paranoid"]["value"]["perf_event_paranoid"]
    assert paranoid == sysctl("kernel.perf_event_paranoid")
    jit = checks["jit"]["value"]
    assert jit["bpf_jit_enable"] == sysctl("net.core.bpf_jit_enable")
    assert jit["enabled"] == (jit["bpf_jit_enable"] > 0)
    assert checks["btf"]["value"]["size"] == os.stat("/sys/kernel/btf/vmlinux").st_size
    pmus = os.listdir("/sys/bus/event_source/devices")
    assert checks["kprobes"]["value"]["pmu"] == ("kprobe" in pmus)
    assert checks["ring_buffer"]["state"] == "ok"
    assert checks["user_namespace"]["value"] == {"initial": True}


def test_security_modules_and_lockdown_once_they_can_be_seen() -> None:
    """The command that doctor gives shows them; what it then finds is what the files say."""
    directory = "/sys/kernel/security"
    _, found = in_other_mounts(f"mountpoint -q {directory} && umount {directory}")
    check = found["checks"]["lockdown"]
    assert (check["state"], found["checks"]["security_modules"]["state"]) == ("unknown",) * 2
    script = f"mountpoint -q {directory} || {check['command']}"
    _, found = in_other_mounts(script)
    files = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"{script}; cat {directory}/lsm; echo; "
         f"cat {directory}/lockdown 2>&1"],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    modules, lockdown = files.split("\n", 1)
    assert found["checks"]["security_modules"]["value"] == modules.split(",")
    level = re.search(r"\[(\w+)\]", lockdown)
    expected = level[1] if level else "absent"
    assert found["checks"]["lockdown"]["value"] == {"level": expected}


@pytest.mark.parametrize(
    ("name", "unmount"),
    [
        ("bpffs", "umount --all --types bpf"),
        # debugfs mounts a tracefs of its own whenever one looks into it.
        ("tracefs", "umount --all --types tracefs; umount --all --types debugfs"),
    ],
)
def test_the_command_that_it_gives_is_the_cure(name: str, unmount: str) -> None:
    """A remedy that does not help is worse than none."""
    status, found = in_other_mounts(unmount)
    check = found["checks"][name]
    assert (status, check["state"]) == (0, "not ok")
    _, found = in_other_mounts(f"{unmount}\n{check['command']}")
    assert found["checks"][name]["state"] == "ok"


def test_a_read_only_bpffs_is_not_taken_for_a_writable_one() -> None:
    """Pinning would fail where doctor found nothing wrong."""
    script = "umount --all --types bpf; mount -t bpf -o ro bpf /sys/fs/bpf"
    _, found = in_other_mounts(script)
    assert found["checks"]["bpffs"]["state"] == "not ok"
    assert found["checks"]["bpffs"]["value"] == [{"path": "/sys/fs/bpf", "writable": False}]


def test_without_capabilities_it_says_what_is_missing_and_exits_with_1() -> None:
    """That is the most frequent reason why nothing works."""
    # Tests that ran before may have raised the limit.
    limited = ["prlimit", "--memlock=65536:65536", *WITHOUT_CAPABILITIES]
    status, found = doctor(*limited)
    assert status == 1
    assert not found["ok"]
    checks = found["checks"]
    assert checks["capabilities"]["value"] == {
        "held": [],
        "missing": ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"]
        + ["CAP_SYS_RESOURCE"] * checks["memlock"]["value"]["charged"],
    }
    assert checks["bpf_call"]["value"] == {"errno": 1, "error": "EPERM"}
    assert checks["ring_buffer"]["state"] == "unknown"
    text = subprocess.run(
        [*WITHOUT_CAPABILITIES, *DOCTOR], capture_output=True, text=True, check=False
    )
    assert text.returncode == 1
    assert "CAP_PERFMON" in text.stdout
    assert text.stdout.splitlines()[-1] == "BPF cannot be used here: bpf() call, capabilities."


def test_in_a_user_namespace_capabilities_are_not_taken_for_real() -> None:
    """All of them are held there, and none reaches bpf()."""
    status, found = doctor("unshare", "--user", "--map-root-user")
    assert status == 1
    assert found["checks"]["user_namespace"]["state"] == "not ok"
    assert found["checks"]["capabilities"]["state"] == "ok"
    assert "user namespace" in found["checks"]["bpf_call"]["remedy"]


def test_without_sys_and_proc_what_is_unseen_is_unknown() -> None:
    """A stripped container must get an answer, not a traceback."""
    hidden = "mount -t tmpfs none /sys"
    status, found = in_other_mounts(hidden)
    checks = found["checks"]
    assert status == 0
    assert checks["bpffs"]["value"] == []
    for name in ("lockdown", "security_modules", "tracefs", "btf", "kprobes"):
        assert checks[name]["state"] == "unknown", name
    status, found = in_other_mounts(f"{hidden}; mount -t tmpfs none /proc")
    checks = found["checks"]
    assert status == 1
    assert checks["bpf_call"]["state"] == "ok"
    for name in ("capabilities", "user_namespace", "bpffs", "perf_event_paranoid", "btf"):
        assert checks[name]["state"] == "unknown", name


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`doctor | head` must not end in a traceback."""
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(DOCTOR, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert result.stderr == b""


EVENT = "sched:sched_process_exec"
# Each asks once as root, which imports all that it takes: nobody may not look into every folder
# that the tests run from.
AS_NOBODY = """
import contextlib, io, os
with contextlib.redirect_stdout(io.StringIO()):
    ask()
from ebpf import features
features.clear_cache()
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
ask()
"""
READ_ID = f"""
from ebpf import tracefs
def ask():
    try:
        print(tracefs.tracepoint_id(*{EVENT!r}.split(":")))
    except PermissionError as error:
        print(error)
"""
RUN_DOCTOR = """
from ebpf.cli import main
def ask():
    main(["doctor", "--json"])
"""


def test_tracepoints_that_may_not_be_read_and_the_cure() -> None:
    """Since 5.16 a directory that everybody may read has files that only its group may: a remedy
    that opens just the directory helps nobody."""
    directory = Path("/sys/kernel/tracing")
    number = (directory / "events" / EVENT.replace(":", "/") / "id").read_text().strip()
    before = directory.stat()

    def remount(options: str) -> None:
        # All mounts of it share their options.
        subprocess.run(["mount", "-o", f"remount,{options}", directory], check=True)

    def as_nobody(ask: str) -> str:
        command = [sys.executable, "-c", ask + AS_NOBODY]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def read() -> str:
        return as_nobody(READ_ID)

    def check() -> Any:
        return json.loads(as_nobody(RUN_DOCTOR))["checks"]["tracefs"]

    try:
        for mode in ("755", "700"):
            remount(f"gid=0,mode={mode}")
            told = read()
            found = check()
            assert (found["state"] == "ok") == (told == number)
            if told == number:
                # Before 5.16 everybody might read the files.
                assert mode == "755"
                continue
            assert found["command"] == f"mount -o remount,gid=GROUP,mode=750 {directory}"
            assert found["command"] in told
            subprocess.run(found["command"].replace("GROUP", "65534").split(), check=True)
            assert read() == number
            assert check()["state"] == "ok"
    finally:
        remount(f"gid={before.st_gid},mode={before.st_mode & 0o7777:o}")
