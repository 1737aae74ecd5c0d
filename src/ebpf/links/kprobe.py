"""kprobes and kretprobes, through the kprobe PMU (4.17)."""

from __future__ import annotations

import errno

from ebpf import kallsyms
from ebpf._sys import perf
from ebpf._sys.arguments import c_string, check_numbers
from ebpf.errors import BpfError, BpfFileNotFoundError, NotSupportedError, from_errno
from ebpf.links import perf_event
from ebpf.links.base import Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ebpf.links.base import HasFileno


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
            message has their addresses), EINVAL where the program is of another type.
    """
    return _attach(program, symbol, offset, address, cookie, retprobe=False)


def attach_kretprobe(
    program: HasFileno, symbol: str | None = None, *, address: int = 0, cookie: int = 0
) -> Link:
    """Run a KPROBE program when a kernel function returns.

    Arguments and errors are those of `attach_kprobe`; the context holds the return value where
    the architecture returns it (``ax`` on x86-64).
    """
    return _attach(program, symbol, 0, address, cookie, retprobe=True)


def _attach(
    program: HasFileno,
    symbol: str | None,
    offset: int,
    address: int,
    cookie: int,
    retprobe: bool,
) -> Link:
    kind = "kretprobe" if retprobe else "kprobe"
    function = None if symbol is None else c_string("symbol", symbol)
    check_numbers(64, offset=offset, address=address, cookie=cookie)
    if (symbol is None) == (not address):
        raise TypeError(f"attach_{kind}: give either symbol or address")
    if symbol == "":
        raise ValueError("symbol: '' is no function name")
    if offset and symbol is None:
        raise ValueError("offset: goes with a symbol, not with an address")
    where = f"{address:#x}" if symbol is None else symbol + (f"+{offset:#x}" if offset else "")
    target = f"{kind} {where}"
    pmu = perf.pmu_type("kprobe")
    if pmu is None:
        raise NotSupportedError(
            f"attach to {target}: this kernel has no kprobes (CONFIG_KPROBES, CONFIG_KPROBE_EVENTS)"
        )
    name = None if function is None else perf.text(function)
    fd = perf.event_open(
        type=pmu,
        config=perf.pmu_flag("kprobe", "retprobe") if retprobe else 0,
        config1=perf.address(name) if name is not None else 0,
        config2=offset if name is not None else address,
    )
    if fd < 0:
        _failed(-fd, target, symbol)
    return perf_event.attach(program, fd, target, cookie)


def _failed(code: int, target: str, symbol: str | None) -> NoReturn:
    if code not in (errno.ENOENT, errno.EINVAL, errno.EILSEQ, errno.EADDRNOTAVAIL):
        perf.fail(code, f"open {target}")
    addresses = kallsyms.function_addresses(symbol) if symbol is not None else []
    if symbol is not None and not addresses:
        near = kallsyms.nearest(symbol)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise BpfFileNotFoundError(errno.ENOENT, f"no kernel function {symbol}{hint}")
    if code == errno.EADDRNOTAVAIL:
        choice = f"choose one by its address: {', '.join(map(hex, addresses))}"
        if not all(addresses):
            choice = (
                "to choose one takes its address, and the kernel hides addresses from this process"
                " (kernel.kptr_restrict; CAP_SYSLOG shows them where that is below 2)"
            )
        raise BpfError(code, f"open {target}: {len(addresses)} functions have this name; {choice}")
    raise from_errno(
        code,
        f"open {target}: no probe can be set there (the function is blacklisted, or this is not"
        " the start of an instruction)",
    )
