"""How a bpf() command is made, and how what the kernel answers becomes an exception."""

from __future__ import annotations

import errno
from typing import Any, NoReturn

from ebpf._ffi import ffi, lib
from ebpf._sys import facts
from ebpf._sys.field_versions import FIELD_SINCE
from ebpf.errors import ENOTSUPP, BpfPermissionError, NotSupportedError, Version, from_errno
from ebpf.types import Command

# BPF_PROG_LOAD answers EAGAIN when a signal arrives while the verifier runs. Python's handlers
# run between the attempts; what still says EAGAIN after this many is not a passing signal.
LOAD_ATTEMPTS = 10

# What kernels answer to a command, a field or a number that they do not know.
_UNKNOWN_TO_KERNEL = (errno.EINVAL, errno.E2BIG, errno.EOPNOTSUPP, ENOTSUPP)

_MEMLOCK_COMMANDS = (Command.MAP_CREATE, Command.PROG_LOAD, Command.BTF_LOAD)

_ends: dict[str, dict[str, int]] = {}


def check(result: int, action: str) -> int:
    """`result` when it is not an error; otherwise raise what the errno in it stands for.

    `action` says what was tried ("look up a key in <map>"); the message starts with it.
    """
    if result < 0:
        fail(-result, action)
    return result


def fail(code: int, action: str) -> NoReturn:
    """Raise the exception for the errno `code`."""
    if code == errno.EPERM:
        raise BpfPermissionError(code, f"{action}: {facts.explain_permission()}")
    if code in (ENOTSUPP, errno.EOPNOTSUPP):
        raise NotSupportedError(f"{action}: not supported by this kernel", None, code)
    raise from_errno(code, action)


class Attribute:
    """One `union bpf_attr`, as the mirror struct ``ebpf_attr_<name>``.

    The size that the kernel is told ends with the last field in use: a field left out, or 0, is
    not in use; `outputs` are fields that the kernel writes. So an old kernel never sees a tail
    that it does not know.
    """

    __slots__ = ("_used", "data", "name", "size")

    def __init__(
        self, name: str, outputs: tuple[str, ...] = (), /, **fields: int | bytes
    ) -> None:
        ends = _ends.get(name) or _field_ends(name)
        self._used = tuple(field for field, value in fields.items() if value) + outputs
        self.name = name
        self.data: Any = ffi.new(f"struct ebpf_attr_{name} *", fields)
        self.size = max(map(ends.__getitem__, self._used), default=0)

    def newest_field(self) -> tuple[Version, str] | None:
        """The release and name of the used field that came last, of those after 5.10."""
        dated = [
            (FIELD_SINCE[self.name, field], field)
            for field in self._used
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


def run_fd(command: Command, attribute: Attribute) -> int:
    """`run` for commands that return a descriptor, which is never 0, 1 or 2."""
    result = _run(lib.ebpf_bpf_fd, command, attribute)
    if result == -errno.EPERM and command in _MEMLOCK_COMMANDS and facts.charges_memlock():
        facts.raise_memlock()
        result = _run(lib.ebpf_bpf_fd, command, attribute)
    return result


def _run(function: Any, command: Command, attribute: Attribute) -> int:
    # A loop in Python and not in C: signal handlers run between two calls, and may raise.
    attempts = 0
    while True:
        result = int(function(command, attribute.data, attribute.size))
        attempts += 1
        if result == -errno.EINTR:
            continue
        if result == -errno.EAGAIN and command == Command.PROG_LOAD and attempts < LOAD_ATTEMPTS:
            continue
        return result


def checked(
    command: Command,
    attribute: Attribute,
    result: int,
    action: str | None = None,
    needs: Version | None = None,
) -> int:
    """`result`, or the exception for it.

    Kernels refuse what they do not know as if it were wrong. Where the command, a field in use,
    or what `needs` dates is younger than the running kernel, the exception is NotSupportedError
    with the release that has it.
    """
    if result >= 0:
        return result
    action = action or f"bpf({command.name})"
    if -result in _UNKNOWN_TO_KERNEL:
        newest = attribute.newest_field()
        candidates = [(since, action) for since in (command.since, needs) if since is not None]
        if newest is not None:
            candidates.append((newest[0], f"{action} with {newest[1]}"))
        since, what = max(candidates)
        if since > facts.kernel_version():
            raise NotSupportedError(f"{what}: not in this kernel", since, -result)
    fail(-result, action)


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
