"""Judging facts: pure functions from `facts.Facts` to findings, one for each check."""

from __future__ import annotations

import errno as _errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ebpf.errors import errno_name, errno_text
from ebpf.tracefs import SHARE_COMMAND, WHY_EMPTY

if TYPE_CHECKING:
    from typing import Any

    from ebpf.cli.facts import Facts, Mount

State = Literal["ok", "not ok", "unknown"]

LOWEST_KERNEL = (5, 10)
BPFFS = "/sys/fs/bpf"

# What each capability is for. The kernel takes CAP_SYS_ADMIN where it asks for the first two.
PURPOSES = {
    "CAP_BPF": "every program and map",
    "CAP_PERFMON": "tracing, perf events, reading kernel memory",
    "CAP_NET_ADMIN": "XDP, TC and cgroup socket programs",
    "CAP_SYS_RESOURCE": "raising RLIMIT_MEMLOCK, which kernels before 5.11 charge",
}
_IMPLIED_BY_SYS_ADMIN = ("CAP_BPF", "CAP_PERFMON")


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    name: str  #: stable: the key in the JSON output
    title: str
    state: State
    detail: str
    value: Any = None  #: JSON: the fact itself
    essential: bool = False
    remedy: str | None = None
    command: str | None = None


def judge(facts: Facts) -> list[Finding]:
    """All findings, in the order in which they are best read."""
    return [check(facts) for check in CHECKS]


def healthy(findings: list[Finding]) -> bool:
    """Whether all that is essential is ok."""
    return all(finding.state == "ok" for finding in findings if finding.essential)


def _kernel(facts: Facts) -> Finding:
    name, title = "kernel", "kernel"
    value = {"release": facts.release, "machine": facts.machine}
    text = f"{facts.release} {facts.machine}"
    if facts.version is None:
        return Finding(name, title, "unknown", f"{text}: no version number in it", value, True)
    if facts.version >= LOWEST_KERNEL:
        return Finding(name, title, "ok", text, value, True)
    lowest = ".".join(map(str, LOWEST_KERNEL))
    return Finding(
        name, title, "not ok", text, value, True, f"this library needs Linux {lowest} or newer"
    )


def _bpf_call(facts: Facts) -> Finding:
    name, title = "bpf_call", "bpf() call"
    code = facts.bpf_errno
    if code is None:
        return Finding(name, title, "unknown", "failed without an errno", None, True)
    if code == 0:
        return Finding(name, title, "ok", "created a one-entry array map", {"errno": 0}, True)
    detail = f"creating a one-entry array map: {errno_text(code)} [{errno_name(code)}]"
    value = {"errno": code, "error": errno_name(code)}
    return Finding(name, title, "not ok", detail, value, True, _bpf_remedy(facts, code))


def _bpf_remedy(facts: Facts, code: int) -> str:
    if code == _errno.ENOSYS:
        return (
            "the kernel was built without CONFIG_BPF_SYSCALL, or a seccomp filter hides bpf()"
            " (containers: --security-opt seccomp=unconfined, or a profile that allows bpf)"
        )
    if code != _errno.EPERM:
        return "see bpf(2) for what this errno means"
    if facts.initial_user_namespace is False:
        return "run it outside of the user namespace, whose capabilities do not count here"
    if not _holds(facts, "CAP_BPF"):
        return "see capabilities"
    if facts.seccomp:
        return (
            "a seccomp filter is in force: allow bpf() in it"
            " (containers: --security-opt seccomp=unconfined)"
        )
    return "a security module refuses it: see its log (journalctl -k, ausearch -m avc)"


def _holds(facts: Facts, capability: str) -> bool:
    held = facts.capabilities or frozenset()
    return capability in held or (capability in _IMPLIED_BY_SYS_ADMIN and "CAP_SYS_ADMIN" in held)


def _capabilities(facts: Facts) -> Finding:
    name, title = "capabilities", "capabilities"
    if facts.capabilities is None:
        return Finding(
            name,
            title,
            "unknown",
            "/proc is not mounted",
            None,
            True,
            "mount it",
            "mount -t proc proc /proc",
        )
    wanted = [
        capability
        for capability in PURPOSES
        if capability != "CAP_SYS_RESOURCE" or _limited_memlock(facts)
    ]
    missing = [capability for capability in wanted if not _holds(facts, capability)]
    value = {"held": sorted(facts.capabilities), "missing": missing}
    held = ", ".join(value["held"])
    if not missing:
        if "CAP_SYS_ADMIN" not in facts.capabilities:
            held += "; without CAP_SYS_ADMIN, which opening objects by id takes"
        return Finding(name, title, "ok", held, value, True)
    detail = "missing " + ", ".join(f"{each} ({PURPOSES[each]})" for each in missing)
    if held:
        detail += f"; held: {held}"
    names = " ".join(missing)
    remedy = f"run it as root, or with these (systemd: AmbientCapabilities={names})"
    command = f"sudo {facts.python} -m ebpf doctor"
    if facts.root:
        remedy = "root without them, as in a container: start it with them"
        options = " ".join(f"--cap-add {cap.removeprefix('CAP_')}" for cap in missing)
        command = f"docker run {options} ..."
    return Finding(
        name, title, "not ok", detail, value, not _holds(facts, "CAP_BPF"), remedy, command
    )


def _user_namespace(facts: Facts) -> Finding:
    name, title = "user_namespace", "user namespace"
    initial = facts.initial_user_namespace
    if initial is None:
        return Finding(name, title, "unknown", "/proc/self/uid_map cannot be read")
    if initial:
        return Finding(name, title, "ok", "the initial one", {"initial": True})
    detail = "not the initial one: capabilities held in it do not reach bpf()"
    remedy = (
        "run it in the initial user namespace (containers: not rootless, --userns=host), or have"
        " what it needs delegated (ebpf.delegate and ebpf.Token, Linux 6.9)"
    )
    return Finding(name, title, "not ok", detail, {"initial": False}, remedy=remedy)


def _unprivileged(facts: Facts) -> Finding:
    name, title = "unprivileged_bpf", "unprivileged bpf"
    setting = facts.unprivileged_bpf_disabled
    if setting is None:
        return Finding(
            name, title, "unknown", "/proc/sys/kernel/unprivileged_bpf_disabled cannot be read"
        )
    value = {"unprivileged_bpf_disabled": setting}
    if setting == 0:
        detail = "kernel.unprivileged_bpf_disabled=0: everybody may load socket filters"
        return Finding(name, title, "ok", detail, value)
    detail = f"kernel.unprivileged_bpf_disabled={setting}: bpf() takes CAP_BPF"
    if facts.capabilities is None or _holds(facts, "CAP_BPF"):
        return Finding(name, title, "ok", detail, value)
    return Finding(
        name,
        title,
        "not ok",
        detail + ", which this process lacks",
        value,
        remedy="get CAP_BPF: see capabilities",
    )


def _lockdown(facts: Facts) -> Finding:
    name, title = "lockdown", "lockdown"
    level = facts.lockdown
    if level is None:
        return _no_securityfs(facts, name, title)
    value = {"level": level}
    if level == "absent":
        return Finding(name, title, "ok", "this kernel has none", value)
    if level == "none":
        return Finding(name, title, "ok", "none", value)
    remedy = "boot with lockdown=none; where Secure Boot turns it on, turn that off"
    if level == "integrity":
        detail = "integrity: bpf_probe_write_user is not available, all else is"
        return Finding(name, title, "ok", detail, value)
    detail = (
        f"{level}: programs cannot read kernel memory (bpf_probe_read_kernel), and there are no"
        " kprobes and no tracefs"
    )
    return Finding(name, title, "not ok", detail, value, remedy=remedy)


def _security_modules(facts: Facts) -> Finding:
    name, title = "security_modules", "security modules"
    modules = facts.security_modules
    if modules is None:
        return _no_securityfs(facts, name, title)
    detail = ", ".join(modules) or "none"
    if "bpf" not in modules:
        detail += "; LSM programs do not run: bpf is not in the lsm= of the command line"
    return Finding(name, title, "ok", detail, modules)


def _no_securityfs(facts: Facts, name: str, title: str) -> Finding:
    directory = "/sys/kernel/security"
    if facts.mounts is None or _of_kind(facts, "securityfs"):
        return Finding(name, title, "unknown", f"{directory} cannot be read", remedy="run as root")
    return Finding(
        name,
        title,
        "unknown",
        f"securityfs is not mounted at {directory}",
        remedy="mount it to see",
        command=f"mount -t securityfs securityfs {directory}",
    )


def _limited_memlock(facts: Facts) -> bool:
    return bool(facts.charges_memlock) and facts.memlock[1] is not None


def _memlock(facts: Facts) -> Finding:
    name, title = "memlock", "memlock limit"
    soft, hard = facts.memlock
    value = {"charged": facts.charges_memlock, "soft": soft, "hard": hard}
    if facts.charges_memlock is None:
        return Finding(name, title, "unknown", "the kernel's version is unknown", value)
    if not facts.charges_memlock:
        return Finding(name, title, "ok", "not charged by this kernel", value)
    if hard is None:
        return Finding(name, title, "ok", "unlimited, or raised when it is needed", value)
    if "CAP_SYS_RESOURCE" in (facts.capabilities or ()):
        detail = f"{hard} bytes, raised when it is needed"
        return Finding(name, title, "ok", detail, value)
    return Finding(
        name,
        title,
        "not ok",
        f"{hard} bytes for all maps and programs: kernels before 5.11 charge them to it",
        value,
        remedy="raise it as root (systemd: LimitMEMLOCK=infinity)",
        command=f"prlimit --memlock=unlimited {facts.python} ...",
    )


def _of_kind(facts: Facts, kind: str) -> list[Mount]:
    return [mount for mount in facts.mounts or [] if mount.kind == kind]


def _bpffs(facts: Facts) -> Finding:
    name, title = "bpffs", "bpffs"
    if facts.mounts is None:
        return Finding(name, title, "unknown", "/proc/self/mounts cannot be read")
    mounted = _of_kind(facts, "bpf")
    value = [{"path": mount.point, "writable": mount.writable} for mount in mounted]
    if not mounted:
        return Finding(
            name,
            title,
            "not ok",
            "not mounted: nothing can be pinned",
            value,
            remedy="mount it",
            command=f"mount -t bpf bpf {BPFFS}",
        )
    writable = [mount.point for mount in mounted if mount.writable]
    if writable:
        return Finding(name, title, "ok", f"{', '.join(writable)}, writable", value)
    first = mounted[0].point
    return Finding(
        name,
        title,
        "not ok",
        f"{first} is not writable by this process",
        value,
        remedy="run as root, or mount one that this user may write",
        command="mount -t bpf -o mode=1777 bpf DIRECTORY",
    )


def _tracefs(facts: Facts) -> Finding:
    name, title = "tracefs", "tracefs"
    value = {"path": facts.tracefs}
    if facts.tracefs is not None and facts.tracepoints_readable is not False:
        return Finding(name, title, "ok", facts.tracefs, value)
    if facts.tracefs_empty is not None:
        detail = f"{facts.tracefs_empty} has no files: tracepoints cannot be found"
        return Finding(name, title, "not ok", detail, value, remedy=WHY_EMPTY)
    if facts.reads_every_file and (facts.tracefs is not None or facts.tracefs_hidden):
        detail = "this process may not read it, though modes of files do not bind it"
        remedy = "see lockdown, security modules and user namespace"
        return Finding(name, title, "not ok", detail, value, remedy=remedy)
    if facts.tracefs is not None:
        return Finding(
            name,
            title,
            "not ok",
            f"{facts.tracefs}: this process may not read the tracepoints' numbers, which"
            " attaching takes (raw tracepoints take none)",
            value,
            remedy="run as root, or let a group read it",
            command=f"{SHARE_COMMAND} {facts.tracefs}",
        )
    if facts.tracefs_hidden:
        return Finding(
            name,
            title,
            "not ok",
            "this process may not read it: tracepoints cannot be found",
            value,
            remedy="run as root, or let a group read it",
            command=f"{SHARE_COMMAND} /sys/kernel/tracing",
        )
    if not facts.sysfs:
        return _no_sysfs(name, title)
    return Finding(
        name,
        title,
        "not ok",
        "not mounted: tracepoints cannot be found",
        value,
        remedy="mount it",
        command="mount -t tracefs tracefs /sys/kernel/tracing",
    )


def _no_sysfs(name: str, title: str) -> Finding:
    detail, command = "sysfs is not mounted at /sys", "mount -t sysfs sysfs /sys"
    return Finding(name, title, "unknown", detail, remedy="mount it", command=command)


def _btf(facts: Facts) -> Finding:
    name, title = "btf", "kernel BTF"
    size = facts.btf_size
    if size is None:
        return _no_sysfs(name, title)
    if size:
        return Finding(
            name, title, "ok", f"/sys/kernel/btf/vmlinux, {size:,} bytes", {"size": size}
        )
    return Finding(
        name,
        title,
        "not ok",
        "none: no CO-RE, no fentry, no typed tracepoints",
        {"size": 0},
        remedy="use a kernel built with CONFIG_DEBUG_INFO_BTF",
    )


def _jit(facts: Facts) -> Finding:
    name, title = "jit", "JIT"
    enabled = facts.jit_works
    if enabled is None and facts.jit_enable is not None:
        enabled = facts.jit_enable > 0
    if enabled is None and facts.jit_always_on:
        enabled = True
    value = {
        "enabled": enabled,
        "bpf_jit_enable": facts.jit_enable,
        "always_on": facts.jit_always_on,
    }
    if enabled is None:
        detail = "net.core.bpf_jit_enable cannot be read"
        return Finding(name, title, "unknown", detail, value, remedy="run as root")
    if enabled:
        detail = "on"
        if facts.jit_always_on:
            detail = "on (CONFIG_BPF_JIT_ALWAYS_ON)"
        elif facts.jit_enable is not None:
            detail = f"on (net.core.bpf_jit_enable={facts.jit_enable})"
        return Finding(name, title, "ok", detail, value)
    return Finding(
        name,
        title,
        "not ok",
        "off: programs are interpreted, several times slower",
        value,
        remedy="turn it on",
        command="sysctl -w net.core.bpf_jit_enable=1",
    )


def _kprobes(facts: Facts) -> Finding:
    name, title = "kprobes", "kprobes"
    if facts.kprobe_pmu is None:
        return _no_sysfs(name, title)
    value = {"pmu": facts.kprobe_pmu}
    if facts.kprobe_pmu:
        return Finding(name, title, "ok", "can be opened as perf events", value)
    return Finding(
        name,
        title,
        "not ok",
        "this kernel has none (CONFIG_KPROBE_EVENTS)",
        value,
        remedy="attach to tracepoints and raw tracepoints",
    )


def _fentry(facts: Facts) -> Finding:
    name, title = "fentry", "fentry programs"
    remedy = "attach to tracepoints (tp_btf, raw_tp) or kprobes"
    return _loading(name, title, facts.fentry, "fentry, fexit, fmod_ret", remedy)


def _lsm(facts: Facts) -> Finding:
    remedy = "use a kernel built with CONFIG_BPF_LSM that allows them"
    return _loading("lsm", "LSM programs", facts.lsm, "LSM programs", remedy)


def _loading(name: str, title: str, verified: bool | None, what: str, remedy: str) -> Finding:
    """What the verifier says to programs of a kind, once the type itself can be loaded."""
    if verified is None:
        detail = "cannot be tried without the capabilities above"
        return Finding(name, title, "unknown", detail)
    value = {"supported": verified}
    if verified:
        return Finding(name, title, "ok", "can be loaded", value)
    return Finding(name, title, "not ok", f"this kernel refuses {what}", value, remedy=remedy)


def _ring_buffer(facts: Facts) -> Finding:
    name, title = "ring_buffer", "ring buffer"
    if facts.ring_buffer is None:
        return Finding(name, title, "unknown", "cannot be tried without bpf()")
    value = {"supported": facts.ring_buffer}
    if facts.ring_buffer:
        return Finding(name, title, "ok", "can be created", value)
    return Finding(
        name, title, "not ok", "this kernel has none", value, remedy="use perf event arrays"
    )


def _perf_event_paranoid(facts: Facts) -> Finding:
    name, title = "perf_event_paranoid", "perf_event_paranoid"
    setting = facts.perf_event_paranoid
    if setting is None:
        detail = "/proc/sys/kernel/perf_event_paranoid cannot be read"
        return Finding(name, title, "unknown", detail)
    value = {"perf_event_paranoid": setting}
    if facts.capabilities is not None and _holds(facts, "CAP_PERFMON"):
        return Finding(name, title, "ok", f"{setting}, without effect on this process", value)
    if setting < 0:
        return Finding(name, title, "ok", f"{setting}: everybody may open tracepoints", value)
    return Finding(
        name,
        title,
        "not ok",
        f"{setting}: without CAP_PERFMON no tracepoint can be opened",
        value,
        remedy="get CAP_PERFMON (see capabilities), or let everybody open them",
        command="sysctl -w kernel.perf_event_paranoid=-1",
    )


def _compiler(facts: Facts) -> Finding:
    """A note: objects that others compiled, and programs in Python, take no compiler."""
    name, title = "compiler", "compiler for C"
    if facts.compiler is None:
        return Finding(name, title, "unknown", "what is on PATH cannot be read")
    if facts.compiler:
        return Finding(name, title, "ok", facts.compiler, {"command": facts.compiler})
    detail = (
        "none, which only compiling C takes: apt-get install clang, pip install 'ebpf[compile]'"
    )
    return Finding(name, title, "ok", detail, {"command": None})


CHECKS = (
    _kernel,
    _bpf_call,
    _capabilities,
    _user_namespace,
    _unprivileged,
    _lockdown,
    _security_modules,
    _memlock,
    _bpffs,
    _tracefs,
    _btf,
    _jit,
    _kprobes,
    _fentry,
    _lsm,
    _ring_buffer,
    _perf_event_paranoid,
    _compiler,
)
