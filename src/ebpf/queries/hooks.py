"""Asking one hook what is attached to it, by PROG_QUERY."""

from __future__ import annotations

import errno

from ebpf._sys import bpf
from ebpf.errors import BpfError
from ebpf.queries.attached import AttachedHook, AttachedProgram
from ebpf.types import AttachFlags, AttachType, QueryFlags

# The answer may grow between asking how long it is and asking for it.
_ATTEMPTS = 10


def query_hook(
    fd_or_index: int, attach_type: AttachType, action: str, *, effective: bool = False
) -> AttachedHook:
    """The programs of the hook `attach_type` of a cgroup, namespace or interface.

    With `effective`, also those of the cgroups above that run in this one, of all of which nothing
    but the ids is known.

    Raises:
        BpfError: what the kernel refused; ENOSPC where programs came faster than they were listed.
    """
    room = 16
    for _ in range(_ATTEMPTS):
        try:
            return _query(fd_or_index, attach_type, action, effective, room)
        except BpfError as error:
            if error.errno != errno.ENOSPC:
                raise
            room *= 2
    raise BpfError(errno.ENOSPC, f"{action}: more programs came each time that it was asked")


def _query(
    target: int, attach_type: AttachType, action: str, effective: bool, room: int
) -> AttachedHook:
    answer, arrays = bpf.prog_query_arrays(
        room,
        action,
        # The kernel refuses to tell the flags of programs that come from elsewhere.
        arrays=1 if effective else len(bpf.QUERY_ARRAYS),
        target_fd=target,
        attach_type=attach_type,
        query_flags=int(QueryFlags.EFFECTIVE) if effective else 0,
    )
    rows = zip(*(arrays[name] for name in bpf.QUERY_ARRAYS), strict=True)
    programs = [
        AttachedProgram(
            id, flags=AttachFlags(flags), link_id=link, link_flags=AttachFlags(link_flags)
        )
        for id, flags, link, link_flags in rows
    ]
    return AttachedHook(
        programs, flags=AttachFlags(answer["attach_flags"]), revision=answer["revision"]
    )
