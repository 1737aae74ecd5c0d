"""What creating any attachment has in common: checks before, and what a refusal means."""

from __future__ import annotations

import errno
import os

from ebpf._sys import bpf
from ebpf._sys.arguments import check_number, check_objects
from ebpf.errors import (
    BpfError,
    BpfPermissionError,
    BpfProcessLookupError,
    NotSupportedError,
    from_errno,
)
from ebpf.types import ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ebpf.errors import Version
    from ebpf.links.base import HasFileno


def check_type(program: HasFileno, target: str, *types: ProgramType) -> None:
    """Refuse a program that can't be attached to `target`, where EINVAL would not say why."""
    check_objects(program=program)
    actual = ProgramType(bpf.prog_type(program.fileno(), action=f"attach to {target}"))
    if actual not in types:
        wanted = " or ".join(type.name for type in types)
        raise BpfError(
            errno.EINVAL,
            f"attach {program!r} to {target}: the program is of another type ({actual.name}); it"
            f" takes {wanted}",
        )


def create_link(
    program: HasFileno,
    target: str,
    variant: str = "",
    *,
    refusals: Mapping[int, str],
    needs: Version | None = None,
    **fields: Any,
) -> int:
    """LINK_CREATE. `refusals` are the errors that have a single meaning here."""
    try:
        return bpf.link_create(
            variant,
            action=f"attach to {target}",
            needs=needs,
            prog_fd=program.fileno(),
            **fields,
        )
    except BpfError as error:
        explain(error, program, target, refusals)
        raise


def explain(error: BpfError, program: HasFileno, target: str, refusals: Mapping[int, str]) -> None:
    """Raise the refusal with its meaning, where `refusals` has one for its number."""
    code = error.errno or 0
    if code in refusals and not isinstance(error, (NotSupportedError, BpfPermissionError)):
        raise from_errno(code, f"attach {program!r} to {target}: {refusals[code]}") from None


def check_process(name: str, pid: int) -> None:
    """Refuse a process or thread that does not exist: the kernel would wait for it for ever."""
    check_number(name, pid, 31)
    if pid == 0:
        raise ValueError(f"{name}: 0 is no process; leave it out for all of them")
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        raise BpfProcessLookupError(errno.ESRCH, f"{name}: no process {pid}") from None
    except PermissionError:
        # It is there.
        return
