"""Programs that were loaded for their hook: fentry, fexit, fmod_ret, tp_btf, LSM, freplace."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager

from ebpf._sys import bpf, facts
from ebpf._sys.arguments import check_number, check_objects
from ebpf.errors import ENOTSUPP, BpfError, NotSupportedError
from ebpf.links.base import Link
from ebpf.links.cgroup import open_cgroup
from ebpf.links.create import check_type, create_link, explain
from ebpf.types import AttachType, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ebpf.links.base import HasFileno
    from ebpf.links.cgroup import Cgroup

# The words of SEC() for the hooks of TRACING and LSM programs.
_WORDS = {
    AttachType.TRACE_RAW_TP: "tp_btf",
    AttachType.TRACE_FENTRY: "fentry",
    AttachType.TRACE_FEXIT: "fexit",
    AttachType.MODIFY_RETURN: "fmod_ret",
    AttachType.TRACE_FSESSION: "fsession",
    AttachType.LSM_MAC: "lsm",
    AttachType.LSM_CGROUP: "lsm_cgroup",
    AttachType.TRACE_ITER: "iter",
}

# What the kernel means when it refuses to attach (bpf_tracing_prog_attach, bpf_trampoline).
_REFUSALS = {
    errno.EINVAL: "it was loaded for no hook of this kind (attach_type, attach_to)",
    errno.EBUSY: "the function is taken: replaced by an freplace program, or used by live patching",
    errno.EEXIST: "the program is attached to it already",
    errno.E2BIG: "as many programs as the kernel takes are attached to it already",
    errno.ENOENT: "the hook is gone; its module was unloaded",
}

# LINK_CREATE takes these programs, with a cookie.
_LINK_SINCE = (5, 19)

# Architectures on which programs could be loaded for functions before they could be attached:
# that takes ftrace's direct calls.
_FUNCTIONS_SINCE = {"aarch64": (6, 4)}


def hook_of(program: HasFileno, default: str = "the hook it was loaded for") -> str:
    """ "fentry do_unlinkat", as far as the object knows what it was loaded for."""
    word = _WORDS.get(getattr(program, "attach_type", None) or AttachType(0), "")
    name = getattr(program, "attach_to", "")
    return f"{word} {name}".strip() or default


def attach_tracing(
    program: HasFileno, *, cookie: int = 0, attach_type: AttachType | None = None
) -> Link:
    """Run a TRACING program at the function or tracepoint that it was loaded for.

    fentry, fexit, fmod_ret and fsession programs run at a kernel function, or a function of
    another BPF program; tp_btf programs (TRACE_RAW_TP) at a tracepoint. Sleepable or not is
    a matter of loading.

    Args:
        cookie: what bpf_get_attach_cookie() returns in the program (5.19; tp_btf 6.10).
        attach_type: what the program was loaded for; a cookie needs it where that is not known,
            because the program was opened by id or pin.

    Raises:
        BpfError: EINVAL, the program is of another type, or was loaded for an iterator or several
            functions; EBUSY, the function is replaced; E2BIG, it has as many programs as fit.
        NotSupportedError: a cookie on a kernel before 5.19 (tp_btf: 6.10), or an architecture
            whose kernel has no trampolines.
    """
    return _attach(program, cookie, attach_type, ProgramType.TRACING)


def attach_lsm(
    program: HasFileno, *, cookie: int = 0, attach_type: AttachType | None = None
) -> Link:
    """Have an LSM program judge what it was loaded for: 0 allows, a negative errno denies.

    Arguments and errors are those of `attach_tracing`, and NotSupportedError where the BPF LSM is
    not among the active ones (kernel parameter ``lsm=``): the program would never run. Without
    securityfs that cannot be told.
    """
    active = facts.security_modules()
    if active is not None and "bpf" not in active:
        raise NotSupportedError(
            f"attach to {hook_of(program)}: the BPF LSM is not active; start the kernel with"
            f" lsm={','.join([*active, 'bpf'])}"
        )
    return _attach(program, cookie, attach_type, ProgramType.LSM)


def _attach(
    program: HasFileno, cookie: int, attach_type: AttachType | None, type: ProgramType
) -> Link:
    check_number("cookie", cookie, 64)
    target = hook_of(program)
    check_type(program, target, type)
    hook = attach_type or getattr(program, "attach_type", None)
    if cookie and hook is None:
        raise TypeError(f"attach_type: a cookie takes the attach type {program!r} was loaded for")
    with _functions_of(target):
        if cookie and hook != AttachType.TRACE_RAW_TP:
            fd = create_link(
                program,
                target,
                "tracing",
                refusals=_REFUSALS,
                needs=_LINK_SINCE,
                attach_type=hook,
                cookie=cookie,
            )
        else:
            fd = _raw_open(program, target, cookie)
    return Link(fd, target)


@contextmanager
def _functions_of(target: str) -> Iterator[None]:
    """Says since when this architecture has them, where the kernel does not support `target`."""
    try:
        yield
    except NotSupportedError as error:
        machine = os.uname().machine
        since = _FUNCTIONS_SINCE.get(machine)
        if since is None or error.errno != ENOTSUPP or facts.kernel_version() >= since:
            raise
        raise NotSupportedError(
            f"attach to {target}: not to functions of the kernel on {machine}", since, ENOTSUPP
        ) from None


def _raw_open(program: HasFileno, target: str, cookie: int = 0) -> int:
    """RAW_TRACEPOINT_OPEN without a name: what every kernel takes (5.5)."""
    try:
        return bpf.raw_tracepoint_open(None, program.fileno(), cookie, action=f"attach to {target}")
    except BpfError as error:
        explain(error, program, target, _REFUSALS)
        raise


def attach_freplace(
    program: HasFileno, target: HasFileno | None = None, function: str = ""
) -> Link:
    """Have an EXT program run in the place of a global function of another program.

    Args:
        target: a program with a function of the same prototype; by default the one that
            `program` was loaded for (its `attach_program`).
        function: the function's name in `target`, with it.

    Raises:
        BpfFileNotFoundError: `target` has no such function; the message has the nearest names.
        BpfError: EINVAL, the prototypes differ or `program` is of another type; EBUSY, the
            function is traced (fentry) or replaced already.
    """
    described = f"function {function} of {target!r}" if target is not None else hook_of(program)
    check_objects(target=target)
    if (target is None) != (not function):
        raise TypeError("attach_freplace: target and function go together")
    check_type(program, described, ProgramType.EXT)
    if target is None:
        return Link(_raw_open(program, described), described)
    from ebpf.links.functions import function_of

    fd = create_link(
        program,
        described,
        "target_btf",
        refusals=_REFUSALS | {errno.EINVAL: "the prototypes differ"},
        target_fd=target.fileno(),
        target_btf_id=function_of(target, function),
    )
    return Link(fd, described)


def attach_lsm_cgroup(program: HasFileno, cgroup: Cgroup) -> Link:
    """Have an LSM program judge what the processes of one cgroup do (6.0).

    The program was loaded with the attach type LSM_CGROUP; 1 allows, 0 denies (EPERM, or what
    bpf_set_retval() says).

    Args:
        cgroup: a directory of the cgroup v2 file system, or an object with its descriptor.

    Raises:
        BpfFileNotFoundError: no such directory.
        BpfError: EBADF, it is on no cgroup v2 file system; EINVAL, the program is of another type
            or was loaded for another hook.
        NotSupportedError: a kernel before 6.0.
    """
    with open_cgroup(cgroup) as opened:
        target = f"{hook_of(program, 'lsm_cgroup')} for {opened.name}"
        check_type(program, target, ProgramType.LSM)
        with _functions_of(target):
            fd = create_link(
                program,
                target,
                refusals={
                    errno.EINVAL: "it was loaded with another attach type than LSM_CGROUP",
                    errno.EBADF: f"{opened.name} is no cgroup v2 directory",
                    errno.EBUSY: "a program is attached there that allows no other",
                },
                needs=(6, 0),
                target_fd=opened.fileno(),
                attach_type=AttachType.LSM_CGROUP,
            )
    return Link(fd, target)
