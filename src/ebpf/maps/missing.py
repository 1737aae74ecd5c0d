"""Operations that a class of maps does not have: asking for one says which there are.

A descriptor for each, and no ``__getattr__``, with which Python looks up every attribute of the
class the slow way.
"""

from __future__ import annotations

from ebpf.types import MapType, one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, NoReturn

# What makes maps is no operation of one.
_MAKING = frozenset({"create", "open", "from_id", "from_fd", "types", "default_type"})

# What Python calls for an operator.
_OPERATORS = {
    "__getitem__": "m[...]",
    "__setitem__": "m[...] = ...",
    "__delitem__": "del m[...]",
}

# By these names alone collections.abc, and others, tell what kind of object it is. Where there is
# none they are None, which is Python's word for that, and its errors name the class.
_KINDS = ("__contains__", "__iter__")

# What to use where a map has hardly any operations.
_ELSEWHERE = {
    MapType.RINGBUF: "; ebpf.RingBuffer(map) reads it",
    MapType.USER_RINGBUF: "; ebpf.UserRingBuffer(map) writes it",
    MapType.PERF_EVENT_ARRAY: "; ebpf.PerfBuffer(map) reads it",
    MapType.STRUCT_OPS: "; Collection.attach_struct_ops attaches it",
}


class Missing:
    """Stands for an operation that the class does not have."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, map: Any, cls: type[Any]) -> Any:
        raise AttributeError(_text(map, cls, repr(self._name)))

    def __set__(self, map: Any, value: object) -> NoReturn:
        raise AttributeError(_text(map, type(map), repr(self._name)))


class MissingOperator(Missing):
    """Stands for an operator: Python wants a function, and a TypeError when it is called."""

    def __get__(self, map: Any, cls: type[Any]) -> Any:
        def refuse(*arguments: object) -> NoReturn:
            raise TypeError(_text(map, cls, _OPERATORS[self._name]))

        return refuse


def present(cls: type[Any], names: Iterable[str]) -> list[str]:
    """Those of `names`, which an object of `cls` has, that stand for something."""
    return [name for name in names if not _is_missing(name, _static(cls, name))]


def _text(map: Any, cls: type[Any], operation: str) -> str:
    name = f"{'an' if cls.__name__[0] in 'AEIOU' else 'a'} {cls.__name__}"
    what = name if map is None else f"{one(map.type)} map"
    elsewhere = "" if map is None else _ELSEWHERE.get(map.type, "")
    there = ", ".join(sorted(name for name in _operations(cls) if name[0] != "_"))
    return f"{what} has no {operation}; {name} has: {there}{elsewhere}"


def name_missing(base: type[Any], classes: Mapping[type[Any], Iterable[str]]) -> None:
    """Give `base`, and each of `classes`, which derive from it, a `Missing` for what others have
    and it has not.

    With each class come the names that it inherits and that its type of map is not fit for.
    """
    own = {cls: _operations(cls) - set(without) for cls, without in classes.items()}
    own[base] = _operations(base)
    every = set().union(*own.values())
    for cls, names in own.items():
        # What comes from behind `base` (of a mapping) would be hidden by what that misses.
        for name in names - _operations(base):
            if not any(name in vars(parent) for parent in cls.__mro__[: cls.__mro__.index(base)]):
                setattr(cls, name, _static(cls, name))
        for name in every - names:
            if name in _KINDS:
                setattr(cls, name, None)
            else:
                setattr(cls, name, (MissingOperator if name in _OPERATORS else Missing)(name))


def _operations(cls: type[Any]) -> set[str]:
    found: dict[str, object] = {}
    for parent in reversed(cls.__mro__):
        found.update(vars(parent))
    there = {name for name, value in found.items() if not _is_missing(name, value)}
    return {name for name in there if name[0] != "_" or name in (*_OPERATORS, *_KINDS)} - _MAKING


def _static(cls: type[Any], name: str) -> object:
    """The attribute as it is defined; Ellipsis where an object has it by itself."""
    return next((vars(parent)[name] for parent in cls.__mro__ if name in vars(parent)), ...)


def _is_missing(name: str, value: object) -> bool:
    return isinstance(value, Missing) or (name in _KINDS and value is None)
