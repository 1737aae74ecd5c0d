"""``Generic`` and ``overload`` without the 12 milliseconds that importing `typing` costs.

Type checkers take any name ``TYPE_CHECKING`` for true and see the real `typing.Generic`; at run
time ``Map[int, int]`` is a `types.GenericAlias`, which is all that subclassing and annotations
need.
"""

from __future__ import annotations

from types import GenericAlias

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Generic as Generic
    from typing import overload as overload
else:

    class Generic:
        """Stands in for `typing.Generic`."""

        __class_getitem__ = classmethod(GenericAlias)

    def overload(function):
        """Stands in for `typing.overload`."""
        return function
