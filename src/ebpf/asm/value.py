"""The base of everything immutable in this package."""

from __future__ import annotations

# Instances of Value are written once, in __init__, through this.
set_field = object.__setattr__


class Value:
    """An immutable object with slots; equality and hash come from `_key()`.

    Written by hand because importing ``dataclasses`` costs more time than the rest of this
    package together.
    """

    __slots__: tuple[str, ...] = ()

    def _key(self) -> tuple[object, ...]:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash((type(self), self._key()))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot delete {name!r}")

    def __reduce__(self) -> tuple[object, ...]:
        # The default would restore the slots with setattr, which is refused above.
        fields = {name: getattr(self, name) for name in type(self).__slots__}
        return _restore, (type(self), fields)


def _restore(cls: type[Value], fields: dict[str, object]) -> Value:
    value = cls.__new__(cls)
    for name, field in fields.items():
        set_field(value, name, field)
    return value
