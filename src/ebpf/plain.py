"""``dataclass`` and ``NamedTuple`` without the 15 milliseconds that importing them costs.

The standard library's `dataclasses` imports `inspect`, and compiles six functions for each class
that it makes immutable; this package has fifty such classes, on the start-up path of every tool.
What is here takes the same arguments and makes classes that behave alike, as far as this package
needs it: fields with defaults, keyword-only, frozen, slots, equality, hash, pickling, replace().
`dataclasses.fields`, `replace`, `asdict`, `copy.replace` and `inspect.signature` take them as they
take its own; what is asked of a class for that is made when it is asked for. Type checkers see the
real `typing.NamedTuple`, and know from PEP 681 what `dataclass` does.
"""

from __future__ import annotations

from collections import namedtuple
from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar
    from typing import NamedTuple as NamedTuple

    from typing_extensions import dataclass_transform

    _T = TypeVar("_T")
else:

    def dataclass_transform(**options):
        """Means something to type checkers only."""
        return lambda function: function

    class _NamedTupleType(type):
        """Makes a named tuple of a class that is written as those of `typing.NamedTuple`."""

        def __new__(cls, name, bases, namespace):
            if not bases:
                return super().__new__(cls, name, bases, namespace)
            names = list(namespace.get("__annotations__", ()))
            defaults = [namespace.pop(name) for name in names if name in namespace]
            made = namedtuple(name, names, defaults=defaults, module=namespace["__module__"])
            for key, value in namespace.items():
                if key not in ("__module__", "__classcell__", "__slots__"):
                    setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_NamedTupleType):
        """Stands in for `typing.NamedTuple`."""


MISSING: Any = type("MISSING", (), {"__repr__": lambda self: "MISSING", "__slots__": ()})()


class Field:
    """What is known of one field; ``default`` and ``default_factory`` are MISSING for none."""

    __slots__ = ("compare", "default", "default_factory", "name", "repr", "type")

    def __init__(self, default: Any, default_factory: Any, compare: bool, repr: bool) -> None:
        self.name = ""
        self.type = ""
        self.default = default
        self.default_factory = default_factory
        self.compare = compare
        self.repr = repr


def field(
    *,
    default: Any = MISSING,
    default_factory: Any = MISSING,
    compare: bool = True,
    repr: bool = True,
) -> Any:
    """As `dataclasses.field`."""
    return Field(default, default_factory, compare, repr)


def fields(instance: object) -> tuple[Field, ...]:
    """The fields of a dataclass, or of an instance of one, in the order of the arguments."""
    return tuple(instance.__plain_fields__.values())  # type: ignore[attr-defined]


def replace(instance: _T, **changes: Any) -> _T:
    """A copy of `instance` with some fields changed. Raises TypeError for an unknown name."""
    values = {name: getattr(instance, name) for name in instance.__plain_fields__}  # type: ignore[attr-defined]
    return type(instance)(**{**values, **changes})


@dataclass_transform(field_specifiers=(field,))
def dataclass(
    cls: Any = None, /, *, frozen: bool = False, kw_only: bool = False, repr: bool = True
) -> Any:
    """As `dataclasses.dataclass`, always with slots.

    The class is made anew, so its methods cannot use ``super()`` without arguments.

    Raises:
        TypeError: a field without a default behind one with, or a ``__post_init__``, which would
            never be called.
        ValueError: a mutable default, which all instances would share.
    """
    if cls is None:
        return lambda cls: _made(cls, frozen, kw_only, repr)
    return _made(cls, frozen, kw_only, repr)


def _made(cls: Any, frozen: bool, kw_only: bool, repr: bool) -> Any:
    own = _own_fields(cls)
    inherited: dict[str, Field] = getattr(cls, "__plain_fields__", {})
    every = {**inherited, **own}
    _check(cls, every, kw_only)
    members = _members(cls.__qualname__, every, frozen, kw_only, repr)
    dropped = {*own, "__dict__", "__weakref__"}
    members |= {name: value for name, value in cls.__dict__.items() if name not in dropped}
    members["__slots__"] = tuple(name for name in own if name not in inherited)
    members["__qualname__"] = cls.__qualname__
    return type(cls)(cls.__name__, cls.__bases__, members)


def _check(cls: type, every: dict[str, Field], kw_only: bool) -> None:
    if hasattr(cls, "__post_init__"):
        raise TypeError(f"{cls.__qualname__}: __post_init__ is never called here; write __init__")
    optional = ""
    for field in every.values():
        # As dataclasses judges: lists, dicts, sets, and other values that have no hash.
        if field.default.__class__.__hash__ is None:
            raise ValueError(
                f"{cls.__qualname__}.{field.name}: mutable default {field.default!r}, shared by"
                " all instances; use field(default_factory=...)"
            )
        if field.default is not MISSING or field.default_factory is not MISSING:
            optional = field.name
        elif optional and not kw_only:
            raise TypeError(
                f"{cls.__qualname__}: field {field.name!r} has no default, but stands behind"
                f" {optional!r}, which has one"
            )


def _own_fields(cls: type) -> dict[str, Field]:
    own: dict[str, Field] = {}
    # On every Python the annotations of the class itself, as text.
    for name, annotation in cls.__annotations__.items():
        if not annotation.startswith("ClassVar"):
            default = cls.__dict__.get(name, MISSING)
            if not isinstance(default, Field):
                default = Field(default, MISSING, compare=True, repr=True)
            default.name, default.type = name, annotation
            own[name] = default
    return own


def _members(
    name: str, every: dict[str, Field], frozen: bool, kw_only: bool, repr: bool
) -> dict[str, Any]:
    compared = [field.name for field in every.values() if field.compare]
    members: dict[str, Any] = {
        "__plain_fields__": every,
        "__dataclass_fields__": _OfTwin("__dataclass_fields__"),
        "__dataclass_params__": _OfTwin("__dataclass_params__"),
        "__signature__": _Signature(),
        "__replace__": replace,
        "__match_args__": () if kw_only else tuple(every),
        "__init__": _initializer(name, every, frozen, kw_only),
        "__getstate__": _get_state,
        "__setstate__": _set_state,
        "__hash__": None,
        **_comparisons(compared, frozen),
    }
    if repr:
        members["__repr__"] = _show
    if frozen:
        members |= {"__setattr__": _refuse_set, "__delattr__": _refuse_delete}
    return members


class _OfTwin:
    """What the functions of `dataclasses` ask for, taken from a dataclass like this one."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: Any) -> Any:
        found = getattr(_twin(owner), self.name)
        type.__setattr__(owner, self.name, found)
        return found


def _twin(cls: Any) -> Any:
    import dataclasses

    fields = []
    for one in cls.__plain_fields__.values():
        options = {"compare": one.compare, "repr": one.repr}
        for option in ("default", "default_factory"):
            if getattr(one, option) is not MISSING:
                options[option] = getattr(one, option)
        fields.append((one.name, one.type, dataclasses.field(**options)))
    frozen = cls.__setattr__ is _refuse_set
    return dataclasses.make_dataclass(
        cls.__name__, fields, frozen=frozen, kw_only=not cls.__match_args__
    )


class _Signature:
    """What `inspect.signature` asks for: ``__init__`` is not compiled before the first instance."""

    __slots__ = ()

    def __get__(self, instance: object, owner: Any) -> Any:
        every = owner.__plain_fields__
        if not hasattr(owner.__init__, _GENERATED):
            raise AttributeError("__signature__")
        import inspect

        keyword, either = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
        kind = either if owner.__match_args__ else keyword
        parameters = []
        for one in every.values():
            default = one.default
            if one.default_factory is not MISSING:
                default = MISSING
            elif default is MISSING:
                default = inspect.Parameter.empty
            parameters.append(
                inspect.Parameter(one.name, kind, default=default, annotation=one.type)
            )
        return inspect.Signature(parameters, return_annotation=None)


# Marks an ``__init__`` that was made here.
_GENERATED = "_plain"


def _initializer(name: str, every: dict[str, Field], frozen: bool, kw_only: bool) -> Any:
    """``__init__``, which replaces itself by a compiled one when the first instance is made.

    Most programs use few of the classes that they import, and compiling is what costs time.
    """

    def __init__(self: Any, *args: Any, **options: Any) -> None:
        made = _compiled(name, every, frozen, kw_only)
        for cls in type(self).__mro__:
            # Another thread may have been here before.
            if cls.__dict__.get("__init__") is __init__:
                type.__setattr__(cls, "__init__", made)
        made(self, *args, **options)

    setattr(__init__, _GENERATED, True)
    return __init__


def _compiled(name: str, every: dict[str, Field], frozen: bool, kw_only: bool) -> Any:
    """``__init__`` as written by hand, so that calls are as fast and errors as clear."""
    scope: dict[str, Any] = {"_MISSING": MISSING, "_set": object.__setattr__}
    arguments, body = [], []
    for field in every.values():
        argument, value = field.name, field.name
        if field.default is not MISSING:
            scope[f"_default_{field.name}"] = field.default
            argument += f"=_default_{field.name}"
        elif field.default_factory is not MISSING:
            scope[f"_make_{field.name}"] = field.default_factory
            argument += "=_MISSING"
            value = f"_make_{field.name}() if {field.name} is _MISSING else {field.name}"
        arguments.append(argument)
        body.append(
            f"_set(self, {field.name!r}, {value})" if frozen else f"self.{field.name} = {value}"
        )
    star = ["*"] if kw_only and arguments else []
    text = f"def __init__({', '.join(['self', *star, *arguments])}):\n "
    exec(text + ("\n ".join(body) or "pass"), scope)
    made = scope["__init__"]
    made.__qualname__ = f"{name}.__init__"
    setattr(made, _GENERATED, True)
    return made


def _comparisons(names: list[str], frozen: bool) -> dict[str, Any]:
    key: Callable[[Any], Any] = attrgetter(*names) if names else type

    def __eq__(self: object, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(key(self) == key(other))

    def __hash__(self: object) -> int:
        return hash(key(self))

    return {"__eq__": __eq__, "__hash__": __hash__} if frozen else {"__eq__": __eq__}


def _show(self: Any) -> str:
    shown = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refuse_set(self: object, name: str, value: object) -> None:
    raise AttributeError(f"{type(self).__name__} is immutable: cannot set {name!r}")


def _refuse_delete(self: object, name: str) -> None:
    raise AttributeError(f"{type(self).__name__} is immutable: cannot delete {name!r}")


def _get_state(self: Any) -> dict[str, object]:
    return {name: getattr(self, name) for name in self.__plain_fields__}


def _set_state(self: object, state: dict[str, object]) -> None:
    # Past __setattr__, which immutable classes refuse.
    for name, value in state.items():
        object.__setattr__(self, name, value)
