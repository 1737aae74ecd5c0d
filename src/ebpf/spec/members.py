"""What may be put into a Spec: values of another type are refused where they are assigned."""

from __future__ import annotations

from enum import Enum, IntFlag
from types import GeneratorType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, TypeAlias, TypeVar

    Types: TypeAlias = dict[str, tuple[type, ...]]

    _V = TypeVar("_V")

# For a class with a member of the name `type`.
NONE = type(None)

# A message with more names than this has the nearest ones only.
_LISTED = 30


class Checked:
    """Members have the types that `_TYPES` says; a plain number becomes the flags it stands for."""

    __slots__ = ()

    _TYPES: ClassVar[Types] = {}

    # Type checkers take a class with this method for one that has members of any name.
    if not TYPE_CHECKING:

        def __setattr__(self, name, value):
            wanted = self._TYPES.get(name)
            if wanted is not None and not isinstance(value, wanted):
                value = _as_flags(f"{type(self).__name__}.{name}", value, wanted)
            object.__setattr__(self, name, value)


def _as_flags(member: str, value: object, wanted: tuple[type, ...]) -> object:
    if issubclass(wanted[0], IntFlag) and isinstance(value, int):
        return wanted[0](value)
    names = " or ".join("None" if kind is NONE else kind.__name__ for kind in wanted)
    raise TypeError(f"{member}: {value!r} is not {names}{_member_of(wanted[0], value)}")


def _member_of(kind: type, value: object) -> str:
    """What to write instead of the text of an enum's member."""
    if not issubclass(kind, Enum) or not isinstance(value, (str, int)):
        return ""
    name = str(value).upper()
    for member in kind:
        if name == member.name or value == member.value:
            return f"; write {kind.__name__}.{member.name}"
    return f"; write one of its members, such as {kind.__name__}.{list(kind)[-1].name}"


class Named(dict[str, "_V"]):
    """A dict whose KeyError says which names there are."""

    __slots__ = ()

    what = "entry"

    def __missing__(self, name: object) -> _V:
        there = list(map(str, self))
        if len(there) > _LISTED:
            import difflib

            there = difflib.get_close_matches(str(name), there, n=3)
            raise KeyError(f"no {self.what} {name!r}; near it: {', '.join(there) or 'none'}")
        raise KeyError(f"no {self.what} {name!r}; there are: {', '.join(there) or 'none'}")


class Members(Named["_V"]):
    """The specs of one kind by name; others are refused with `advice`, a format of the name."""

    __slots__ = ()

    kind: type[Any] = object
    advice = ""

    def __new__(cls, values: Any = (), /, **named: _V) -> Any:
        # dataclasses.asdict copies a dict by calling its class with a generator of pairs, and
        # the specs in them are dicts by then: what they are put into is one as well.
        if isinstance(values, GeneratorType):
            return dict(values, **named)
        return super().__new__(cls)

    def __init__(self, values: Any = (), /, **named: _V) -> None:
        super().__init__()
        self.update(values, **named)

    def __setitem__(self, name: str, value: _V) -> None:
        if not isinstance(value, self.kind):
            raise TypeError(
                f"{value!r} is not a {self.kind.__name__}; {self.advice.format(name=name)}"
            )
        super().__setitem__(name, value)

    def setdefault(self, name: str, default: Any = None, /) -> _V:
        if name not in self:
            self[name] = default
        return self[name]

    def update(self, values: Any = (), /, **named: _V) -> None:
        for name, value in dict(values, **named).items():
            self[name] = value

    def __ior__(self, values: Any) -> Members[_V]:  # type: ignore[override,misc]
        self.update(values)
        return self
