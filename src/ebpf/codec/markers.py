"""What stands in ``Annotated[..., here]`` to say how a field looks in C."""

from __future__ import annotations

from ebpf.codec.composites import ArrayOf
from ebpf.codec.layout import HOST_ORDER, SCALARS, Node, OtherOrder, Padding, Scalar, Text
from ebpf.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Marker:
    """A C type. ``default_type`` is the Python type it has where none is given."""

    default_type: type

    def node(self, python_type: object, where: str, resolve: Callable[[object], Node]) -> Node:
        """The layout of the type, read into `python_type`; `resolve` is for element types.

        Raises:
            CodecError: the two do not go together; starts with `where`.
        """
        raise NotImplementedError

    def _require(self, python_type: object, allowed: tuple[type, ...], where: str) -> None:
        # list[int] counts as list; its element type is the type checker's business.
        bare = getattr(python_type, "__origin__", python_type)
        if bare not in allowed:
            names = " or ".join(kind.__name__ for kind in allowed)
            got = getattr(python_type, "__name__", repr(python_type))
            raise CodecError(f"{where}: {self!r} goes with {names}, not {got}")


class CType(Marker):
    """One scalar: a struct format character, ``">"`` or ``"<"`` in front for its byte order."""

    def __init__(self, code: str) -> None:
        letter = code[1:] if code[:1] in ("<", ">") else code
        if letter not in SCALARS:
            raise CodecError(f"CType({code!r}): not one of {', '.join(SCALARS)}")
        self._code = code
        self._letter = letter
        kinds = {"?": bool, "c": bytes, "e": float, "f": float, "d": float}
        self.default_type = kinds.get(letter, int)

    def node(self, python_type: object, where: str, resolve: Callable[[object], Node]) -> Node:
        self._require(python_type, (self.default_type,), where)
        scalar = Scalar(self._letter)
        order = self._code[0]
        if order in "<>" and order != HOST_ORDER and scalar.size > 1:
            return OtherOrder(order, self._letter)
        return scalar

    def __repr__(self) -> str:
        return f"CType({self._code!r})"


class _Sized(Marker):
    default_type = bytes

    def __init__(self, size: int) -> None:
        self.size = _at_least_one(type(self).__name__, "size", size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size})"


class Char(_Sized):
    """``char[size]`` that ends at the first NUL, or is full: ``bytes``, or ``str`` for UTF-8.

    A str goes both ways with surrogateescape, so no name is too odd to be read.
    """

    def node(self, python_type: object, where: str, resolve: Callable[[object], Node]) -> Node:
        self._require(python_type, (bytes, str), where)
        return Text(self.size, "str" if python_type is str else "char")


class Raw(_Sized):
    """Exactly `size` bytes, NULs included."""

    def node(self, python_type: object, where: str, resolve: Callable[[object], Node]) -> Node:
        self._require(python_type, (bytes,), where)
        return Text(self.size, "raw")


class Pad(_Sized):
    """`size` bytes of explicit padding, always zero; give the field the default ``b""``."""

    def node(self, python_type: object, where: str, resolve: Callable[[object], Node]) -> Node:
        self._require(python_type, (bytes,), where)
        return Padding(self.size)


class Array(Marker):
    """`count` values side by side; `element` is anything a field may be: ``Array(u64, 8)``."""

    default_type = list

    def __init__(self, element: object, count: int) -> None:
        self.element = element
        self.count = _at_least_one("Array", "count", count)

    def node(self, python_type: object, where: str, resolve: Callable[[object], Node]) -> Node:
        self._require(python_type, (list, tuple), where)
        element = resolve(self.element)
        if not element.width:
            raise CodecError(f"{where}: an array of padding; use Pad({element.size * self.count})")
        as_tuple = getattr(python_type, "__origin__", python_type) is tuple
        return ArrayOf(element, self.count, as_tuple)

    def __repr__(self) -> str:
        return f"Array({getattr(self.element, '__name__', self.element)}, {self.count})"


def _at_least_one(owner: str, name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{owner}: {name} is an int, not {value!r}")
    if value < 1:
        raise CodecError(f"{owner}: {name} is {value}, but must be at least 1")
    return value
