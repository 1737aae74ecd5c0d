"""Operations that a class of maps does not have: asking for one says which there are.

A descriptor for each, and no ``__getattr__``, with which Python looks up every attribute of the
class the slow way.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn

# What makes maps is no operation of one.
_MAKING = frozenset({"create", "open", "from_id", "from_fd", "types", "default_type"})


class Missing:
    """Stands for an operation that the class does not have."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, map: Any, cls: type[Any]) -> NoReturn:
        what = cls.__name__ if map is None else f"{map.type.name} map"
        there = ", ".join(sorted(_operations(cls)))
        raise AttributeError(f"a {what} has no {self._name!r}; a {cls.__name__} has: {there}")

    def __set__(self, map: Any, value: object) -> NoReturn:
        self.__get__(map, type(map))


def name_missing(classes: Iterable[type[Any]]) -> None:
    """Give each class a `Missing` for what others have and it has not."""
    classes = tuple(classes)
    every = set().union(*map(_operations, classes))
    for cls in classes:
        for name in every - _operations(cls):
            setattr(cls, name, Missing(name))


def _operations(cls: type[Any]) -> set[str]:
    missing = {name for name, value in vars(cls).items() if isinstance(value, Missing)}
    return {name for name in dir(cls) if name[0] != "_"} - _MAKING - missing
