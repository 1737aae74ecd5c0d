"""Probes of program types and of the helpers that they may call."""

from __future__ import annotations

import errno
import os
import struct

from ebpf._sys import bpf, facts
from ebpf._sys.cache import cached
from ebpf.errors import ENOTSUPP, BpfError, BpfPermissionError, VerifierError
from ebpf.patterns import Pattern
from ebpf.types import AttachType, ProgramFlags, ProgramType, one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.asm import Helper

_MOV_R0_0 = bytes.fromhex("b700000000000000")
_EXIT = bytes.fromhex("9500000000000000")
_CALL = 0x85

#: The shortest program, for probes of what else is asked for with it.
RETURN_0 = _MOV_R0_0 + _EXIT

# What each type is verified for, where 0 is not one of its hooks.
_ATTACH_TYPES = {
    ProgramType.CGROUP_SOCK_ADDR: AttachType.CGROUP_INET4_CONNECT,
    ProgramType.CGROUP_SOCKOPT: AttachType.CGROUP_GETSOCKOPT,
    # The one tracing hook that no trampoline and no policy about it stands before.
    ProgramType.TRACING: AttachType.TRACE_RAW_TP,
    ProgramType.LSM: AttachType.LSM_MAC,
    ProgramType.SK_LOOKUP: AttachType.SK_LOOKUP,
    ProgramType.NETFILTER: AttachType.NETFILTER,
}

# Types that are verified against the kernel function, struct or program they attach to. Without
# one the verifier, which runs only for types that the kernel knows, answers with this.
TARGET_MISSING = {
    ProgramType.TRACING: (errno.EINVAL, "must provide btf_id"),
    ProgramType.EXT: (errno.EINVAL, "must provide btf_id"),
    ProgramType.LSM: (errno.EINVAL, "must provide btf_id"),
    ProgramType.STRUCT_OPS: (ENOTSUPP, ""),
}

# What the verifier says of a call that the program may not make. The type, or a process of this
# one's capabilities, has no such helper (the older wording comes first):
_DENIED = Pattern(r"unknown func |program of this type cannot use helper ")
# The kernel has no such helper; the type has it, but not on this architecture or not for
# programs without such a hook; programs of the type cannot sleep.
_ABSENT = Pattern(
    r"invalid func |func .* not supported for program type|helper call is not allowed in probe"
    r"|.* programs can be sleepable|Program of this type cannot be sleepable"
)
# It has looked the helper up and misses arguments, which no probe passes.
_YES = Pattern(r"R\d+ ")
_SLEEPS = Pattern(
    r"helper call might sleep in a non-sleepable prog|sleepable helper .* in non-sleepable prog"
)
_CALL_LINE = Pattern(r"\d+: \(85\) call ")

LOG_SIZE = 1 << 14


@cached
def program_type(type: ProgramType) -> bool:
    """Whether programs of this type can be loaded (BPF_PROG_LOAD of one that returns 0).

    TRACING, EXT, LSM and STRUCT_OPS are verified for what they attach to: for them the answer
    is whether the kernel knows the type, not which hooks it has. False as well for a type that
    the kernel was built without (LIRC_MODE2 without CONFIG_BPF_LIRC_MODE2).

    Raises:
        TypeError: not a ProgramType.
        ValueError: UNSPEC, or a type newer than this library, which does not know what the
            kernel asks of such a program.
        BpfPermissionError, VerifierError, BpfError: see `ebpf.features`.
    """
    _check_type(type)
    # SYSCALL programs must be sleepable.
    flags = ProgramFlags.SLEEPABLE if type == ProgramType.SYSCALL else ProgramFlags(0)
    loaded, log = _load(type, _MOV_R0_0 + _EXIT, flags)
    if loaded.result >= 0:
        return True
    # The type is looked up before the verifier runs, and only the verifier writes a log.
    if loaded.result == -errno.EINVAL and not log:
        return False
    code, text = TARGET_MISSING.get(type, (0, ""))
    if log and loaded.result == -code and text in log:
        return True
    raise refusal(loaded, log, f"probe the program type {type.name}")


def helper(helper: Helper | str | int, type: ProgramType) -> bool:
    """Whether programs of this type may call the helper, sleepable ones included.

    Args:
        helper: an `asm.Helper`, a name ("bpf_ktime_get_ns" or "ktime_get_ns") or a number.
        type: the program type. CGROUP_SOCK_ADDR and CGROUP_SOCKOPT programs are asked about for
            INET4_CONNECT and GETSOCKOPT: some of their helpers are for other hooks only.

    False as well where the kernel does not know the program type, and for what it withholds:
    lockdown hides bpf_probe_read_kernel. Asking about bpf_probe_write_user makes the kernel log
    a warning, asking about bpf_trace_printk turns on its trace event.

    Raises:
        AsmError: no helper has this name.
        ValueError: TRACING, EXT, LSM and STRUCT_OPS programs: what they attach to decides.
        BpfPermissionError: this process may not load such programs, or lacks CAP_PERFMON or
            CAP_BPF, without which the verifier denies helpers as if there were none.
        TypeError, VerifierError, BpfError: see `ebpf.features`.
    """
    from ebpf.asm.helpers import helper_number

    number = helper_number(helper)
    _check_type(type)
    if type in TARGET_MISSING:
        raise ValueError(
            f"type: which helpers {one(type)} program may call depends on what it attaches to;"
            " load the program to find out"
        )
    if not program_type(type):
        return False
    return _may_call(number, type)


@cached
def _may_call(number: int, type: ProgramType) -> bool:
    if type != ProgramType.SYSCALL and _call_verdict(number, type, ProgramFlags(0)):
        return True
    # Helpers that may sleep are there for sleepable programs only.
    return _call_verdict(number, type, ProgramFlags.SLEEPABLE)


def _call_verdict(number: int, type: ProgramType, flags: ProgramFlags) -> bool:
    call = struct.pack("=BBhi", _CALL, 0, 0, number)
    loaded, log = _load(type, call + _MOV_R0_0 + _EXIT, flags)
    if loaded.result >= 0:
        return True
    reason = _reason(log)
    if loaded.result in (-errno.EINVAL, -errno.EACCES, -ENOTSUPP):
        if _DENIED.match(reason):
            _check_capabilities(number, type)
            return False
        if _ABSENT.match(reason) or _SLEEPS.match(reason):
            return False
        if _YES.match(reason):
            return True
    raise refusal(loaded, log, f"probe helper {number} in {type.name} programs")


def _check_capabilities(number: int, type: ProgramType) -> None:
    """Raise where "no such helper" may mean "not for you"."""
    held = facts.effective_capabilities() or frozenset()
    if "CAP_SYS_ADMIN" in held or {"CAP_BPF", "CAP_PERFMON"} <= held:
        return
    raise BpfPermissionError(
        errno.EPERM,
        f"probe helper {number} in {type.name} programs: without CAP_BPF and CAP_PERFMON the"
        f" verifier denies helpers that it has: {facts.explain_permission()}",
    )


def _check_type(type: ProgramType) -> None:
    if not isinstance(type, ProgramType):
        raise TypeError(f"type: {type!r} is not an ebpf.ProgramType")
    if type.since is None or type == ProgramType.UNSPEC:
        raise ValueError(
            f"type: {type.name} cannot be probed: this library does not know what a kernel asks"
            " of such a program"
        )


def verify_a_program() -> None:
    """Have the kernel verify the shortest program, for what it does with its first one.

    Raises BpfPermissionError, BpfError: it does not take it.
    """
    loaded = bpf.prog_load(prog_type=ProgramType.SOCKET_FILTER, insns=RETURN_0, license=b"GPL\0")
    os.close(loaded.checked("load a SOCKET_FILTER program"))


def _load(type: ProgramType, insns: bytes, flags: ProgramFlags) -> tuple[bpf.LoadResult, str]:
    """The answer, its descriptor closed already, and the log."""
    loaded = bpf.prog_load(
        LOG_SIZE,
        prog_type=type,
        insns=insns,
        license=b"GPL\0",
        prog_flags=int(flags),
        expected_attach_type=int(_ATTACH_TYPES.get(type, 0)),
    )
    if loaded.result >= 0:
        os.close(loaded.result)
    return loaded, loaded.log.decode("utf-8", "replace")


def _reason(log: str) -> str:
    """What the verifier says of the call: the line after it, the first one where it has none.

    The last line is none to go by: since 7.3 the log closes with advice.
    """
    lines = [line for line in log.splitlines() if line.strip()]
    for number, line in enumerate(lines[:-1]):
        if _CALL_LINE.match(line):
            return lines[number + 1]
    return lines[0] if lines else ""


def refusal(loaded: bpf.LoadResult, log: str, action: str) -> BpfError:
    """The exception for an answer that says nothing of what was asked."""
    if log.strip():
        message = f"{action}: an answer unknown to this library: {_reason(log)}"
        return VerifierError(-loaded.result, message, log)
    try:
        loaded.checked(action)
    except BpfError as error:
        return error
    raise AssertionError("a descriptor is no refusal")
