"""What a forked child must not go on with: another process's mappings, wake-ups and locks."""

from __future__ import annotations

import os
from _weakref import ref  # without the weak dictionaries of `weakref`

from ebpf.errors import ClosedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Forked(Protocol):
        def _forked(self) -> None: ...


_watched: set[ref[Any]] = set()


def watch(thing: Forked) -> None:
    """Have `thing._forked()` called in each child that this process forks, before anything else of
    it runs there."""
    _watched.add(ref(thing, _watched.discard))


def closed(what: str, owner: int) -> ClosedError:
    """Why `what`, which process `owner` made, can't be used."""
    if owner == os.getpid():
        return ClosedError(f"{what} is closed")
    return ClosedError(f"{what} is of process {owner}; make another of the map in this one")


def _after_fork() -> None:
    for watched in list(_watched):
        thing = watched()
        if thing is not None:
            thing._forked()


os.register_at_fork(after_in_child=_after_fork)
