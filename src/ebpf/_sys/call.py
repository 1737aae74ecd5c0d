"""How a bpf() command is made, and how what the kernel answers becomes an exception."""

from __future__ import annotations

import errno
import os
import signal

from ebpf._ffi import ffi, lib
from ebpf._sys import facts, tokens
from ebpf._sys.field_versions import FIELD_SINCE
from ebpf.errors import ENOTSUPP, BpfPermissionError, NotSupportedError, Version, from_errno
from ebpf.types import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

# How often a call that a signal ended early is made again before signals are held back.
ATTEMPTS = 5

# Signals that are never held back, because they are there to end or stop what a process is doing.
_ENDING = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP}

# What kernels answer to a command, a field or a number that they do not know.
_UNKNOWN_TO_KERNEL = (errno.EINVAL, errno.E2BIG, errno.EOPNOTSUPP, ENOTSUPP)

_MEMLOCK_COMMANDS = (Command.MAP_CREATE, Command.PROG_LOAD, Command.BTF_LOAD)

# Commands that reach other processes' objects, which takes this in the initial user namespace.
_SYS_ADMIN_COMMANDS = (
    Command.PROG_GET_NEXT_ID,
    Command.MAP_GET_NEXT_ID,
    Command.BTF_GET_NEXT_ID,
    Command.LINK_GET_NEXT_ID,
    Command.PROG_GET_FD_BY_ID,
    Command.MAP_GET_FD_BY_ID,
    Command.BTF_GET_FD_BY_ID,
    Command.LINK_GET_FD_BY_ID,
    Command.TASK_FD_QUERY,
    Command.ENABLE_STATS,
)

_ends: dict[str, dict[str, int]] = {}


def check(result: int, action: str) -> int:
    """`result` when it is not an error; otherwise raise what the errno in it stands for.

    `action` says what was tried ("look up a key in <map>"); the message starts with it.
    """
    if result < 0:
        fail(-result, action)
    return result


def fail(code: int, action: str, takes: str | None = None) -> NoReturn:
    """Raise the exception for the errno `code`; `takes` is the capability that it takes anyway."""
    if code == errno.EPERM:
        raise BpfPermissionError(code, f"{action}: {facts.explain_permission(takes)}")
    if code in (ENOTSUPP, errno.EOPNOTSUPP):
        # Some kinds of objects, some drivers, some builds: the code does not tell which it is.
        raise NotSupportedError(f"{action}: the kernel does not support this", None, code)
    raise from_errno(code, action)


class Attribute:
    """One `union bpf_attr`, as the mirror struct ``ebpf_attr_<name>``.

    The size that the kernel is told ends with the last field in use: a field left out, or 0, is
    not in use; `outputs` are fields that the kernel writes. So an old kernel never sees a tail
    that it does not know.
    """

    __slots__ = ("_inputs", "data", "name", "size")

    def __init__(self, name: str, outputs: tuple[str, ...] = (), /, **fields: int | bytes) -> None:
        ends = _ends.get(name) or _field_ends(name)
        self._inputs = tuple(field for field, value in fields.items() if value)
        self.name = name
        self.data: Any = ffi.new(f"struct ebpf_attr_{name} *", fields)
        self.size = max(map(ends.__getitem__, self._inputs + outputs), default=0)

    def newest_field(self) -> tuple[Version, str] | None:
        """The release and name of the input that came last, of those after 5.10.

        Outputs do not count: they go in as zeros, which no kernel objects to.
        """
        dated = [
            (FIELD_SINCE[self.name, field], field)
            for field in self._inputs
            if (self.name, field) in FIELD_SINCE
        ]
        return max(dated, default=None)


def _field_ends(name: str) -> dict[str, int]:
    fields = ffi.typeof(f"struct ebpf_attr_{name}").fields
    ends = {field: info.offset + ffi.sizeof(info.type) for field, info in fields}
    return _ends.setdefault(name, ends)


def run(command: Command, attribute: Attribute) -> int:
    """Make the call, again when a signal interrupted it; the kernel's answer, unchecked."""
    return _run(lib.ebpf_bpf, command, attribute)


def run_once(command: Command, attribute: Attribute) -> int:
    """`run` for what should not be done in part and then again: signals are held back from the
    start, but for those that are to end or stop the process."""
    return _run_undisturbed(lib.ebpf_bpf, command, attribute)


def run_fd(command: Command, attribute: Attribute) -> int:
    """`run` for commands that return a descriptor, which is never 0, 1 or 2."""
    result = _run(lib.ebpf_bpf_fd, command, attribute)
    refused = result == -errno.EPERM and command in _MEMLOCK_COMMANDS
    # Where the rights are missing, more memory would not help.
    if refused and facts.charges_memlock() and facts.may_hold_bpf():
        facts.raise_memlock()
        result = _run(lib.ebpf_bpf_fd, command, attribute)
    return result


def _run(function: Any, command: Command, attribute: Attribute) -> int:
    # A loop in Python and not in C: signal handlers run between two calls, and may raise.
    for _ in range(ATTEMPTS):
        result = int(function(command, attribute.data, attribute.size))
        if not _interrupted(command, result):
            return result
    return _run_undisturbed(function, command, attribute)


def _interrupted(command: Command, result: int) -> bool:
    # The verifier says EAGAIN when a signal waits for the process, all other code EINTR.
    return result == -errno.EINTR or (result == -errno.EAGAIN and command == Command.PROG_LOAD)


def _run_undisturbed(function: Any, command: Command, attribute: Attribute) -> int:
    """The call with signals held back in this thread until it is over.

    A timer that fires more often than a program takes to verify would have the call begin anew for
    ever.
    """
    result = -errno.EINTR
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _ENDING)
    try:
        try:
            for _ in range(ATTEMPTS):
                result = int(function(command, attribute.data, attribute.size))
                if not _interrupted(command, result):
                    break
        finally:
            # Here the handlers of what was held back run, and may raise.
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    except BaseException:
        # Nobody gets the object that was made.
        if function is lib.ebpf_bpf_fd and result >= 0:
            os.close(result)
        raise
    return result


def checked(
    command: Command,
    attribute: Attribute,
    result: int,
    action: str | None = None,
    needs: Version | None = None,
    asked: str = "",
) -> int:
    """`result`, or the exception for it.

    Kernels refuse what they do not know as if it were wrong. Where the command, a field in use,
    or what `needs` dates is younger than the running kernel, the exception is NotSupportedError
    with the release that has it. `asked` says what `needs` dates where `action` does not.
    """
    if result >= 0:
        return result
    action = action or f"bpf({command.name})"
    if -result in _UNKNOWN_TO_KERNEL:
        candidates = [(command.since or (0, 0), action)]
        if needs is not None:
            candidates.append((needs, f"{action}{asked and f' with {asked}'}"))
        newest = attribute.newest_field()
        if newest is not None:
            candidates.append((newest[0], f"{action} with {newest[1]}"))
        # Of two of the same release what was asked for goes before a field.
        since, what = max(candidates, key=lambda candidate: candidate[0])
        if since > facts.kernel_version():
            raise NotSupportedError(f"{what}: not in this kernel", since, -result)
    lacks = tokens.lacking(command, attribute.data) if result == -errno.EPERM else ""
    if lacks:
        raise BpfPermissionError(errno.EPERM, f"{action}: {lacks}")
    fail(-result, action, "CAP_SYS_ADMIN" if command in _SYS_ADMIN_COMMANDS else None)


def call(
    command: Command, attribute: Attribute, action: str | None = None, needs: Version | None = None
) -> int:
    """`run`, checked."""
    return checked(command, attribute, run(command, attribute), action, needs)


def call_fd(
    command: Command, attribute: Attribute, action: str | None = None, needs: Version | None = None
) -> int:
    """`run_fd`, checked."""
    return checked(command, attribute, run_fd(command, attribute), action, needs)


def address(buffer: Any) -> int:
    """The address of a cffi buffer, for a pointer field; the caller keeps the buffer alive."""
    return int(ffi.cast("uintptr_t", buffer))
