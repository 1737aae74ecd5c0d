"""Closing several things, of which one may fail."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    class Closable(Protocol):
        def close(self) -> None: ...


def close_all(things: Iterable[Closable]) -> None:
    """Close every one of `things`, also behind one that fails, whose exception is raised then.

    Of several exceptions the last is raised; those before are its context.
    """
    pending = iter(things)
    for thing in pending:
        try:
            thing.close()
        except BaseException:
            close_all(pending)
            raise
