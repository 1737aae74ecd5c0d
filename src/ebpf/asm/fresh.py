"""Labels for snippets, which a program may have several times."""

from __future__ import annotations

import itertools

_numbers = itertools.count(1)


def fresh(what: str) -> str:
    """The name of a label that no other has: ``".found7"``; `what` ends in no digit."""
    return f".{what}{next(_numbers)}"
