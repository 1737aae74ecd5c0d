"""The hooks of a cgroup: which programs they take, and which programs they have."""

from __future__ import annotations

import errno

from ebpf._sys import bpf, ffi
from ebpf._sys.call import address
from ebpf.errors import BpfError, NotSupportedError
from ebpf.plain import NamedTuple
from ebpf.types import AttachFlags, AttachType, ProgramType, QueryFlags

# As many programs as one hook of a cgroup has at most (BPF_CGROUP_MAX_PROGS), and those that are
# effective in it come from each of its ancestors.
_MAX_PROGRAMS = 64

# prog_attach_flags of PROG_QUERY.
_PROGRAM_FLAGS_SINCE = (6, 0)

_A, _P = AttachType, ProgramType

#: Each hook of a cgroup, and the type of its programs.
CGROUP_HOOKS: dict[AttachType, ProgramType] = {
    _A.CGROUP_INET_INGRESS: _P.CGROUP_SKB,
    _A.CGROUP_INET_EGRESS: _P.CGROUP_SKB,
    _A.CGROUP_INET_SOCK_CREATE: _P.CGROUP_SOCK,
    _A.CGROUP_INET_SOCK_RELEASE: _P.CGROUP_SOCK,
    _A.CGROUP_INET4_POST_BIND: _P.CGROUP_SOCK,
    _A.CGROUP_INET6_POST_BIND: _P.CGROUP_SOCK,
    **dict.fromkeys(
        (
            *(_A.CGROUP_INET4_BIND, _A.CGROUP_INET6_BIND),
            *(_A.CGROUP_INET4_CONNECT, _A.CGROUP_INET6_CONNECT, _A.CGROUP_UNIX_CONNECT),
            *(_A.CGROUP_UDP4_SENDMSG, _A.CGROUP_UDP6_SENDMSG, _A.CGROUP_UNIX_SENDMSG),
            *(_A.CGROUP_UDP4_RECVMSG, _A.CGROUP_UDP6_RECVMSG, _A.CGROUP_UNIX_RECVMSG),
            *(_A.CGROUP_INET4_GETPEERNAME, _A.CGROUP_INET6_GETPEERNAME),
            *(_A.CGROUP_UNIX_GETPEERNAME, _A.CGROUP_UNIX_GETSOCKNAME),
            *(_A.CGROUP_INET4_GETSOCKNAME, _A.CGROUP_INET6_GETSOCKNAME),
        ),
        _P.CGROUP_SOCK_ADDR,
    ),
    _A.CGROUP_SOCK_OPS: _P.SOCK_OPS,
    _A.CGROUP_DEVICE: _P.CGROUP_DEVICE,
    _A.CGROUP_SYSCTL: _P.CGROUP_SYSCTL,
    _A.CGROUP_GETSOCKOPT: _P.CGROUP_SOCKOPT,
    _A.CGROUP_SETSOCKOPT: _P.CGROUP_SOCKOPT,
}


class HookPrograms(NamedTuple):
    """The programs of one hook, in the order in which they run.

    ``flags`` says how the hook lets others in: 0 single, ALLOW_OVERRIDE or ALLOW_MULTI;
    ``program_flags`` are the same for each program, empty before 6.0; ``revision`` counts the
    changes, 0 before 6.17.
    """

    ids: tuple[int, ...]
    flags: AttachFlags
    program_flags: tuple[AttachFlags, ...]
    revision: int


def hook_programs(
    cgroup_fd: int, hook: AttachType, what: str, *, effective: bool = False
) -> HookPrograms:
    """What PROG_QUERY says of one hook of a cgroup.

    With `effective`, also what its ancestors have there: then nothing but the ids is known.
    """
    size = _MAX_PROGRAMS
    while True:
        try:
            return _query(cgroup_fd, hook, what, effective, size)
        except BpfError as error:
            if error.errno != errno.ENOSPC:
                raise
        size *= 2


def _query(cgroup_fd: int, hook: AttachType, what: str, effective: bool, size: int) -> HookPrograms:
    ids, flags = ffi.new("uint32_t[]", size), ffi.new("uint32_t[]", size)
    outputs = ("attach_flags", "prog_cnt", "revision")
    action = f"query {hook.name} of {what}"
    fields = {
        "target_fd": cgroup_fd,
        "attach_type": hook,
        "query_flags": int(QueryFlags.EFFECTIVE) if effective else 0,
        "prog_ids": address(ids),
        "prog_cnt": size,
    }
    flagged = 0
    try:
        # The kernel refuses to tell the flags of programs that come from elsewhere.
        if effective:
            found = bpf.prog_query(outputs, action, **fields)
        else:
            found = bpf.prog_query(outputs, action, prog_attach_flags=address(flags), **fields)
            flagged = found["prog_cnt"]
    except NotSupportedError as error:
        if error.minimum_version != _PROGRAM_FLAGS_SINCE:
            raise
        found = bpf.prog_query(outputs, action, **fields)
    return HookPrograms(
        tuple(ids[0 : found["prog_cnt"]]),
        AttachFlags(found["attach_flags"]),
        tuple(map(AttachFlags, flags[0:flagged])),
        found["revision"],
    )
