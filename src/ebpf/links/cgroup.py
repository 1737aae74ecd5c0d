"""Naming a cgroup: by its directory, or by a descriptor of it."""

from __future__ import annotations

import os
from contextlib import contextmanager

from ebpf._sys import Descriptor
from ebpf._sys.arguments import check_objects
from ebpf.errors import from_errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from ebpf.links.base import HasFileno

    Cgroup: TypeAlias = str | os.PathLike[str] | HasFileno


class OpenCgroup(Descriptor):
    """A descriptor of a cgroup's directory, and the name that the caller gave."""

    def __init__(self, fd: int, name: str) -> None:
        super().__init__(fd)
        self.name = name


@contextmanager
def open_cgroup(cgroup: Cgroup) -> Iterator[OpenCgroup]:
    """The directory, for as long as it takes to attach to it.

    Raises:
        BpfFileNotFoundError, BpfPermissionError, BpfError: it cannot be opened.
    """
    with _opened(cgroup) as opened:
        yield opened


def _opened(cgroup: Cgroup) -> OpenCgroup:
    if not isinstance(cgroup, (str, os.PathLike)):
        check_objects(cgroup=cgroup)
        return OpenCgroup(os.dup(cgroup.fileno()), repr(cgroup))
    name = os.fspath(cgroup)
    try:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise from_errno(error.errno or 0, f"open the cgroup {name}") from None
    return OpenCgroup(fd, name)
