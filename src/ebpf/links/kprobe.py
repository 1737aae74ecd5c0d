"""kprobes and kretprobes, through the kprobe PMU (4.17)."""

from __future__ import annotations

import errno
import os
import re

from ebpf import kallsyms, tracefs
from ebpf._sys import perf
from ebpf._sys.arguments import c_string, check_number, check_numbers, check_text
from ebpf.errors import (
    BpfError,
    BpfFileNotFoundError,
    BpfPermissionError,
    NotSupportedError,
    from_errno,
)
from ebpf.links import perf_event, tracefs_event
from ebpf.links.base import Link
from ebpf.links.create import check_type
from ebpf.types import ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ebpf.links.base import HasFileno


# How kernels with wrappers for system calls call those, by architecture (uname -m).
_WRAPPERS = {
    "x86_64": "__x64_sys_",
    "aarch64": "__arm64_sys_",
    "s390x": "__s390x_sys_",
    "riscv64": "__riscv_sys_",
}

# KRETPROBE_MAXACTIVE_MAX of kernel/trace/trace_kprobe.c.
_MAXACTIVE_MAX = 4096

# A function's name, or the module's before it: what tracefs takes for one.
_NAME = re.compile(r"[\w.$:]+")


def attach_kprobe(
    program: HasFileno,
    symbol: str | None = None,
    *,
    offset: int = 0,
    address: int = 0,
    cookie: int = 0,
) -> Link:
    """Run a KPROBE program when the kernel comes to an instruction: a function's entry, mostly.

    The program's context is ``struct pt_regs``.

    Args:
        symbol: a kernel function, with `offset` bytes into it. Of several functions with the same
            name, kernels before 6.7 take the first; or
        address: the instruction's address (needs readable kallsyms to be known).
        cookie: what bpf_get_attach_cookie() returns in the program (5.15).

    Raises:
        BpfFileNotFoundError: no such function; the message has the nearest names.
        NotSupportedError: the kernel was built without CONFIG_KPROBES, or a cookie before 5.15.
        BpfError: EINVAL or EILSEQ where no probe can be set (a blacklisted function, an address
            inside an instruction), EADDRNOTAVAIL where several functions have the name (the
            message has their addresses), EINVAL where the program is of another type, or does
            what only a uprobe (sleeps), or not every function (bpf_override_return) allows.
    """
    return _attach(program, symbol, offset, address, cookie, retprobe=False)


def attach_kretprobe(
    program: HasFileno,
    symbol: str | None = None,
    *,
    address: int = 0,
    cookie: int = 0,
    maxactive: int = 0,
) -> Link:
    """Run a KPROBE program when a kernel function returns.

    Arguments and errors are those of `attach_kprobe`; the context holds the return value where
    the architecture returns it (``ax`` on x86-64).

    Args:
        maxactive: how many calls that have not returned yet are kept in mind, up to 4096; the
            returns of others are missed. By default twice the number of CPUs, at least 10. It takes
            an event in tracefs, which the process must be allowed to write to, and which a SIGKILL
            leaves behind: `remove_stale_events` finds it.
    """
    check_number("maxactive", maxactive, 32)
    if maxactive:
        return _attach_event(program, symbol, address, cookie, maxactive)
    return _attach(program, symbol, 0, address, cookie, retprobe=True)


def _attach_event(
    program: HasFileno, symbol: str | None, address: int, cookie: int, maxactive: int
) -> Link:
    """A kretprobe by way of tracefs, the only one that takes maxactive."""
    where, target = _place("kretprobe", symbol, 0, address)
    check_number("cookie", cookie, 64)
    # What tracefs would take for something else than a name.
    if symbol is not None and not _NAME.fullmatch(symbol):
        raise ValueError(f"symbol: {symbol!r} is no function name")
    check_type(program, target, ProgramType.KPROBE)
    _pmu(target)
    # What it raises is not of the function.
    tracefs.find()
    try:
        event = tracefs_event.create(f"r{maxactive}", where)
    except BpfPermissionError:
        raise
    except BpfError as error:
        code = error.errno or 0
        if code == errno.EINVAL and maxactive > _MAXACTIVE_MAX:
            action = f"open {target}: maxactive: {maxactive} is more than the kernel takes"
            raise BpfError(code, f"{action} ({_MAXACTIVE_MAX})") from None
        _failed(code, target, symbol)
    return event.attach(program, target, cookie)


def attach_ksyscall(program: HasFileno, name: str, *, cookie: int = 0) -> Link:
    """Run a KPROBE program when a system call is made.

    The program's context is ``struct pt_regs`` of the kernel's function for it. Where the kernel
    was built with wrappers (x86-64, arm64, s390x, riscv64), that function has one argument: the
    ``struct pt_regs`` of user space, in which the arguments of the system call are.

    Args:
        name: the system call's name: ``"openat"``.
        cookie: what bpf_get_attach_cookie() returns in the program (5.15).

    Raises:
        BpfFileNotFoundError: the kernel has no such system call; the message has the nearest.
        NotSupportedError, BpfError: as for `attach_kprobe`.
    """
    return attach_kprobe(program, syscall_function(name), cookie=cookie)


def attach_kretsyscall(program: HasFileno, name: str, *, cookie: int = 0) -> Link:
    """Run a KPROBE program when a system call returns.

    Arguments and errors are those of `attach_ksyscall`.
    """
    return attach_kretprobe(program, syscall_function(name), cookie=cookie)


def syscall_function(name: str) -> str:
    """The kernel's function for a system call: ``__x64_sys_openat`` for ``openat``.

    Raises:
        BpfFileNotFoundError: there is none; the message has the nearest names.
    """
    check_text("name", name)
    prefix = _WRAPPERS.get(os.uname().machine, "")
    # bpf() is a system call of every kernel that this library runs on.
    wrapped = bool(prefix) and bool(kallsyms.function_addresses(f"{prefix}bpf"))
    function = f"{prefix}{name}" if wrapped else f"__se_sys_{name}"
    if not wrapped and not kallsyms.function_addresses(function):
        function = f"sys_{name}"
    if not kallsyms.function_addresses(function):
        own = prefix if wrapped else "sys_"
        near = [found[len(own) :] for found in kallsyms.nearest(f"{own}{name}")
                if found.startswith(own)]  # fmt: skip
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise BpfFileNotFoundError(errno.ENOENT, f"no system call {name}{hint}")
    return function


def _attach(
    program: HasFileno,
    symbol: str | None,
    offset: int,
    address: int,
    cookie: int,
    retprobe: bool,
) -> Link:
    kind = "kretprobe" if retprobe else "kprobe"
    check_numbers(64, offset=offset, address=address, cookie=cookie)
    _, target = _place(kind, symbol, offset, address)
    check_type(program, target, ProgramType.KPROBE)
    pmu = _pmu(target)
    name = None if symbol is None else perf.text(c_string("symbol", symbol))
    fd = perf.event_open(
        type=pmu,
        config=perf.pmu_flag("kprobe", "retprobe") if retprobe else 0,
        config1=perf.address(name) if name is not None else 0,
        config2=offset if name is not None else address,
    )
    if fd < 0:
        _failed(-fd, target, symbol)
    return perf_event.attach(program, fd, target, cookie)


def _pmu(target: str) -> int:
    """The perf event type of kprobes."""
    pmu = perf.pmu_type("kprobe")
    if pmu is None:
        raise NotSupportedError(
            f"attach to {target}: this kernel has no kprobes (CONFIG_KPROBES, CONFIG_KPROBE_EVENTS)"
        )
    return pmu


def _place(kind: str, symbol: str | None, offset: int, address: int) -> tuple[str, str]:
    """Where a probe goes, and the whole target: ("do_unlinkat+0x4", "kprobe do_unlinkat+0x4")."""
    if symbol is not None:
        check_text("symbol", symbol)
    check_numbers(64, offset=offset, address=address)
    if (symbol is None) == (not address):
        raise TypeError(f"attach_{kind}: give either symbol or address")
    if symbol == "":
        raise ValueError("symbol: '' is no function name")
    if offset and symbol is None:
        raise ValueError("offset: goes with a symbol, not with an address")
    where = f"{address:#x}" if symbol is None else symbol + (f"+{offset:#x}" if offset else "")
    return where, f"{kind} {where}"


def _failed(code: int, target: str, symbol: str | None) -> NoReturn:
    if code not in (errno.ENOENT, errno.EINVAL, errno.EILSEQ, errno.EADDRNOTAVAIL):
        perf.fail(code, f"open {target}")
    # "module:function" is the kernel's way to choose among several.
    name = None if symbol is None else symbol.rpartition(":")[2]
    listed = kallsyms.readable()
    addresses = kallsyms.function_addresses(name) if name is not None and listed else []
    if name is not None and not addresses and (listed or code == errno.ENOENT):
        near = kallsyms.nearest(name)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise BpfFileNotFoundError(errno.ENOENT, f"no kernel function {symbol}{hint}")
    if code == errno.EADDRNOTAVAIL:
        choice = f"choose one by its address: {', '.join(map(hex, addresses))}"
        if not all(addresses):
            choice = (
                "to choose one takes its address, and the kernel hides addresses from this process"
                " (kernel.kptr_restrict; CAP_SYSLOG shows them where that is below 2)"
            )
        if not listed:
            choice = f"choose one by its address, for which there is {kallsyms.PATH}; mount /proc"
        several = len(addresses) or "several"
        raise BpfError(code, f"open {target}: {several} functions have this name; {choice}")
    raise from_errno(
        code,
        f"open {target}: no probe can be set there (the function is blacklisted, or this is not"
        " the start of an instruction)",
    )
