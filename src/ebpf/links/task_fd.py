"""What a descriptor of some process is attached to (BPF_TASK_FD_QUERY)."""

from __future__ import annotations

import errno
import os

from ebpf._sys import bpf
from ebpf._sys.arguments import check_number
from ebpf.errors import BpfError, BpfFileNotFoundError, NotSupportedError
from ebpf.info import Info
from ebpf.links.create import check_process
from ebpf.types import TaskFdType


class TaskFd(Info):
    """What the kernel says of one descriptor."""

    prog_id: int  #: the attached program
    type: TaskFdType
    name: str  #: the tracepoint, function or file; empty for a kprobe at an address
    offset: int  #: into the function or file, in bytes
    address: int  #: of a kprobe, 0 where the kernel hides it


def query_task_fd(pid: int, fd: int) -> TaskFd:
    """What the descriptor `fd` of process `pid` is attached to (4.18).

    The kernel answers for raw tracepoints, and for perf events (tracepoints, kprobes, uprobes)
    that a program is attached to; of other links `Link.info` tells.

    Raises:
        BpfProcessLookupError: no such process.
        BpfFileNotFoundError: it has no such descriptor, or no program is attached to it.
        BpfError: EOPNOTSUPP, it is a descriptor of something else.
        BpfPermissionError: it takes CAP_SYS_ADMIN.
    """
    check_process("pid", pid)
    check_number("fd", fd, 31)
    action = f"find out what the descriptor {fd} of process {pid} is attached to"
    try:
        raw = bpf.task_fd_query(pid, fd, action=action)
    except NotSupportedError as error:
        raise BpfError(
            errno.EOPNOTSUPP, f"{action}: it is neither a raw tracepoint nor a perf event"
        ) from error
    except BpfError as error:
        if error.errno not in (errno.EBADF, errno.ENOENT):
            raise
        reason = "it has no such descriptor" if error.errno == errno.EBADF else "no program is"
        raise BpfFileNotFoundError(errno.ENOENT, f"{action}: {reason}") from None
    return TaskFd(
        prog_id=raw["prog_id"],
        type=TaskFdType(raw["fd_type"]),
        name=os.fsdecode(raw["name"]),
        offset=raw["probe_offset"],
        address=raw["probe_addr"],
    )
