"""Facts about this process and this kernel that explain why a request was refused.

Each function reports what can be read and None where it cannot be read; none guesses.
"""

from __future__ import annotations

import errno
import os
import resource

from ebpf.errors import BpfFileNotFoundError, Version

# include/uapi/linux/capability.h: those that bpf() asks for, and sockets and interfaces.
CAPABILITIES = {
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_RESOURCE": 24,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}

_READS_EVERY_FILE = 1 << 1 | 1 << 2

_SECCOMP_WORDS = {None: "unknown", False: "none", True: "a filter is in force"}


def kernel_version() -> Version:
    """The running kernel's release as ``(major, minor)``."""
    # What is asked when the kernel refuses imports nothing: a process that has given up its
    # privileges, or its root directory, may have no way to the standard library any more.
    release = os.uname().release
    major, _, rest = release.partition(".")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    if not major.isdecimal() or not minor:
        raise ValueError(f"the kernel release {release!r} has no version number")
    return int(major), int(minor)


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read().strip()


def _read(path: str) -> str | None:
    try:
        return _text(path)
    except OSError:
        # Absent, or not readable without privileges: the fact is unknown.
        return None


def process_status(pid: int | str) -> dict[str, str]:
    """The fields of /proc/PID/status.

    Raises:
        OSError: there is no such process, or no /proc.
    """
    # Bytes: of what a process may call itself, the kernel writes only the newline in another way.
    with open(f"/proc/{pid}/status", "rb") as file:
        lines = file.read().decode("utf-8", "replace").split("\n")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _status(name: str) -> str | None:
    """A field of this thread's status; None without /proc, or where the kernel has no such."""
    try:
        return process_status("thread-self").get(name)
    except OSError:
        return None


def effective_capabilities() -> frozenset[str] | None:
    """The names among `CAPABILITIES` that this thread holds in its user namespace."""
    text = _status("CapEff")
    if text is None:
        return None
    mask = int(text, 16)
    return frozenset(name for name, bit in CAPABILITIES.items() if mask >> bit & 1)


def reads_every_file() -> bool:
    """Whether this thread may read files whatever their modes say (CAP_DAC_OVERRIDE,
    CAP_DAC_READ_SEARCH)."""
    text = _status("CapEff")
    return text is not None and int(text, 16) & _READS_EVERY_FILE != 0


def seccomp() -> bool | None:
    """Whether seccomp judges this thread's system calls."""
    text = _status("Seccomp")
    if text is None:
        # Kernels without CONFIG_SECCOMP have no such line.
        return None if _status("Name") is None else False
    return text != "0"


def in_initial_user_namespace() -> bool | None:
    """Whether the capabilities count for the whole machine; None when it cannot be told."""
    uid_map = _read("/proc/self/uid_map")
    return None if uid_map is None else uid_map.split() == ["0", "0", "4294967295"]


def unprivileged_bpf_disabled() -> int | None:
    """kernel.unprivileged_bpf_disabled: 0 allowed, 1 never again, 2 disabled."""
    text = _read("/proc/sys/kernel/unprivileged_bpf_disabled")
    return None if text is None else int(text)


def perf_event_paranoid() -> int | None:
    """kernel.perf_event_paranoid."""
    text = _read("/proc/sys/kernel/perf_event_paranoid")
    return None if text is None else int(text)


def lockdown() -> str | None:
    """The lockdown level: none, integrity or confidentiality; None where it cannot be read."""
    text = _read("/sys/kernel/security/lockdown")
    # The chosen one is in brackets: "none [integrity] confidentiality".
    _, bracket, rest = (text or "").partition("[")
    return rest.partition("]")[0] if bracket else None


def security_modules() -> list[str] | None:
    """The active LSMs in their order; None where securityfs is not mounted."""
    text = _read("/sys/kernel/security/lsm")
    return None if text is None else text.split(",")


def memlock() -> tuple[int | None, int | None]:
    """RLIMIT_MEMLOCK, soft and hard, in bytes; None is unlimited."""
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    unlimited = resource.RLIM_INFINITY
    return (None if soft == unlimited else soft, None if hard == unlimited else hard)


def charges_memlock() -> bool:
    """Whether kernels of this release charge BPF memory to RLIMIT_MEMLOCK (those before 5.11).

    One to which 5.11's charging of memory cgroups was brought back does not; all that it gets is a
    higher limit after an EPERM.
    """
    return kernel_version() < (5, 11)


def raise_memlock() -> None:
    """Raise this process's RLIMIT_MEMLOCK as far as it may be, for good.

    For good, because the kernel compares with the limit at every creation of an object.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    unlimited = resource.RLIM_INFINITY
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (unlimited, unlimited))
    except (ValueError, PermissionError):
        # Without CAP_SYS_RESOURCE only up to the hard limit.
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))


def may_hold_bpf() -> bool:
    """Whether the rights to create BPF objects are there, as far as can be told."""
    held = effective_capabilities()
    if held is None or held & {"CAP_BPF", "CAP_SYS_ADMIN"}:
        return True
    return unprivileged_bpf_disabled() == 0


def explain_permission(takes: str | None = None) -> str:
    """What is known about an EPERM, as one line; a cause is named only where it is certain.

    `takes` is a capability that the kernel asks for in any case.
    """
    cause = _missing_capability(takes)
    return f"not permitted. {cause and cause + ' '}Facts: {'; '.join(_permission_facts())}"


def _missing_capability(takes: str | None) -> str:
    held = effective_capabilities()
    if held is None:
        return ""
    if takes is not None and takes not in held:
        return (
            f"The kernel asks for {takes}, which this process does not have: run it as root (a"
            f" container with --cap-add {takes.removeprefix('CAP_')})."
        )
    if not held & {"CAP_BPF", "CAP_SYS_ADMIN"} and unprivileged_bpf_disabled() in (1, 2):
        return (
            "This process has neither CAP_BPF nor CAP_SYS_ADMIN, and unprivileged BPF is disabled:"
            " run it as root or give it CAP_BPF (and CAP_PERFMON for tracing, CAP_NET_ADMIN for"
            " networking)."
        )
    return ""


def _permission_facts() -> list[str]:
    held = effective_capabilities()
    names = "none of " + ", ".join(CAPABILITIES)
    if held is None:
        names = "unknown (/proc is not mounted)"
    elif held:
        names = ", ".join(sorted(held))
    facts = [f"capabilities: {names}"]
    if in_initial_user_namespace() is False:
        facts.append(
            "inside a user namespace, where capabilities do not reach the machine (as far as it is"
            " delegated, a token does: ebpf.Token)"
        )
    facts.append(f"seccomp: {_SECCOMP_WORDS[seccomp()]}")
    facts.append(f"lockdown: {lockdown() or 'unknown'}")
    modules = security_modules()
    facts.append(f"LSMs: {'unknown' if modules is None else ', '.join(modules)}")
    setting = unprivileged_bpf_disabled()
    facts.append(f"unprivileged_bpf_disabled: {'unknown' if setting is None else setting}")
    soft, _ = memlock()
    if charges_memlock() and soft is not None:
        facts.append(
            f"RLIMIT_MEMLOCK: {soft} bytes, and kernels before 5.11 charge BPF memory to it"
            " (raise it with ulimit -l unlimited or LimitMEMLOCK=infinity)"
        )
    return facts


def possible_cpus() -> int:
    """The number of possible CPUs, which is the number of values in a per-CPU map's entry."""
    # "0-3", and "0,2-5" where numbers have holes: the kernel sizes by how many there are.
    return len(possible_cpu_numbers())


def possible_cpu_numbers() -> list[int]:
    """The numbers of the CPUs that this machine may ever have."""
    return _cpus("possible")


def online_cpus() -> list[int]:
    """The numbers of the CPUs that run now."""
    return _cpus("online")


def _cpus(which: str) -> list[int]:
    numbers: list[int] = []
    for part in _text(f"/sys/devices/system/cpu/{which}").split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def need_proc(action: str) -> None:
    """Refuse to go on where /proc, without which `action` can't be done, is not mounted."""
    if not os.path.exists("/proc/self"):
        raise BpfFileNotFoundError(
            errno.ENOENT, f"{action}: /proc is not mounted; mount it with: mount -t proc proc /proc"
        )


def is_frozen(fd: int) -> bool | None:
    """Whether user space may no longer write the map `fd`; None where it cannot be told."""
    try:
        return fdinfo(fd).get("frozen") == "1"
    except OSError:
        return None


def fdinfo(fd: int) -> dict[str, str]:
    """The fields of /proc/self/fdinfo/<fd>.

    Raises:
        BpfFileNotFoundError: /proc is not mounted.
    """
    need_proc(f"read /proc/self/fdinfo/{fd}")
    text = _text(f"/proc/self/fdinfo/{fd}")
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
