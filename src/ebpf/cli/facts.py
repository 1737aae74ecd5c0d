"""Gathering what `findings` judges. Nothing here decides whether a fact is good.

A fact that cannot be read is None; only that is what the `except` clauses here stand for.
"""

from __future__ import annotations

import gzip
import os
import platform
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ebpf import features, tracefs
from ebpf._sys import facts
from ebpf._sys.call import Attribute, run_fd
from ebpf._sys.mounts import mounted
from ebpf.compile.compilers import find_compiler
from ebpf.errors import BpfFileNotFoundError, CompileError, EbpfError
from ebpf.types import Command, MapType

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# The kinds of file systems that matter here.
MOUNTS = ("bpf", "securityfs")


@dataclass(frozen=True)
class Mount:
    """A mounted file system."""

    point: str
    kind: str
    writable: bool  #: for this process


@dataclass(frozen=True)
class Facts:
    """What is known of the machine and of this process; None is unknown."""

    release: str  #: "6.12.43+deb13-amd64"
    version: tuple[int, int] | None  #: (6, 12)
    machine: str
    python: str  #: the interpreter's path
    root: bool  #: effective user id 0
    capabilities: frozenset[str] | None = None  #: held ones of `facts.CAPABILITIES`
    reads_every_file: bool = False  #: whatever the modes of files say
    initial_user_namespace: bool | None = None
    seccomp: bool | None = None  #: a seccomp filter is in force
    bpf_errno: int | None = None  #: of creating a one-entry array map; 0 is success
    unprivileged_bpf_disabled: int | None = None
    lockdown: str | None = None  #: none, integrity, confidentiality, or absent
    security_modules: list[str] | None = None
    charges_memlock: bool | None = None
    memlock: tuple[int | None, int | None] = (None, None)  #: soft, hard; None is unlimited
    mounts: list[Mount] | None = field(default_factory=list)  #: of the kinds in `MOUNTS`
    sysfs: bool = True  #: mounted at /sys
    tracefs: str | None = None  #: where it can be read
    tracefs_hidden: bool = False  #: a directory that could be it may not be read
    tracefs_empty: str | None = None  #: where it is mounted, and the kernel has no files in it
    tracepoints_readable: bool | None = True  #: the numbers of tracepoints in it
    btf_size: int | None = None  #: 0: none
    jit_enable: int | None = None  #: the setting
    jit_always_on: bool | None = None  #: the kernel's configuration
    jit_works: bool | None = None  #: the probe
    kprobe_pmu: bool | None = None
    fentry: bool | None = None  #: the probe
    lsm: bool | None = None  #: the probe
    ring_buffer: bool | None = None
    perf_event_paranoid: int | None = None
    compiler: str | None = None  #: what `compile_c` would use; empty: none


def gather() -> Facts:
    """The facts of this moment."""
    mounts = _known(_mounts)
    tracing, hidden = _tracefs()
    # Before the call, which raises the limit where the kernel charges it.
    memlock = facts.memlock()
    jit_enable = _known(lambda: int(_text("/proc/sys/net/core/bpf_jit_enable")))
    return Facts(
        release=os.uname().release,
        version=_known(facts.kernel_version),
        machine=platform.machine(),
        python=sys.executable,
        root=os.geteuid() == 0,
        capabilities=_known(facts.effective_capabilities),
        reads_every_file=facts.reads_every_file(),
        initial_user_namespace=facts.in_initial_user_namespace(),
        seccomp=facts.seccomp(),
        bpf_errno=_known(_create_map),
        unprivileged_bpf_disabled=_known(facts.unprivileged_bpf_disabled),
        lockdown=_lockdown(mounts),
        security_modules=facts.security_modules(),
        charges_memlock=_known(facts.charges_memlock),
        memlock=memlock,
        mounts=mounts,
        sysfs=os.path.isdir("/sys/kernel"),
        tracefs=tracing,
        tracefs_hidden=hidden,
        tracefs_empty=_known(tracefs.empty_mount),
        tracepoints_readable=_known(lambda: tracefs.readable(tracing)) if tracing else None,
        btf_size=_btf_size(),
        jit_enable=jit_enable,
        jit_always_on=_known(_jit_always_on),
        jit_works=_known(features.jit),
        kprobe_pmu=_known(features.kprobe_pmu),
        fentry=_known(features.fentry),
        lsm=_known(features.lsm),
        ring_buffer=_known(features.ring_buffer),
        perf_event_paranoid=_known(facts.perf_event_paranoid),
        compiler=_known(_compiler),
    )


def _known(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except (EbpfError, OSError, ValueError):
        return None


def _text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace").strip()


def _compiler() -> str:
    try:
        return " ".join(find_compiler().command)
    except CompileError:
        return ""


def _create_map() -> int:
    attribute = Attribute(
        "map_create", map_type=MapType.ARRAY, key_size=4, value_size=4, max_entries=1
    )
    result = run_fd(Command.MAP_CREATE, attribute)
    if result < 0:
        return -result
    os.close(result)
    return 0


def _lockdown(mounts: list[Mount] | None) -> str | None:
    level = facts.lockdown()
    if level is not None or mounts is None:
        return level
    # With securityfs in view, a missing file means that the kernel was built without lockdown.
    for mount in mounts:
        if mount.kind == "securityfs" and not os.path.exists(f"{mount.point}/lockdown"):
            return "absent"
    return None


def _mounts() -> list[Mount]:
    found = []
    for point, kind, options in mounted():
        # The others are not looked at: asking a network file system may never end.
        if kind not in MOUNTS:
            continue
        # Another file system may hide it, which the list does not tell.
        if not os.path.ismount(point):
            continue
        writable = "ro" not in options and os.access(point, os.W_OK)
        found.append(Mount(point, kind, writable))
    return found


def _tracefs() -> tuple[str | None, bool]:
    try:
        return tracefs.find(), False
    except BpfFileNotFoundError:
        return None, False
    except PermissionError:
        return None, True
    except OSError:
        return None, False


def _btf_size() -> int | None:
    try:
        return os.stat("/sys/kernel/btf/vmlinux").st_size
    except OSError:
        return 0 if os.path.isdir("/sys/kernel") else None


def _jit_always_on() -> bool | None:
    release = os.uname().release
    for path in (f"/boot/config-{release}", f"/lib/modules/{release}/config", "/proc/config.gz"):
        if os.path.exists(path):
            opener = gzip.open if path.endswith(".gz") else open
            with opener(path, "rt", encoding="utf-8", errors="replace") as file:
                return any(line.startswith("CONFIG_BPF_JIT_ALWAYS_ON=y") for line in file)
    return None
