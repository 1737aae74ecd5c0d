"""`ebpf.plain` beside what it stands in for: the standard library's dataclasses and NamedTuple."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import pprint
import typing
from typing import Any, ClassVar

import pytest

from ebpf import plain

# The same classes, made by the library and by Python itself.
MAKERS = [(plain.dataclass, plain.field), (dataclasses.dataclass, dataclasses.field)]


def frozen_pair(make: Any, field: Any) -> type:
    @make(frozen=True)
    class Pair:
        kind: ClassVar[str] = "pair"
        first: int
        second: str = "two"
        third: int = field(default=3, compare=False, repr=False)

    return Pair  # type: ignore[no-any-return]


def mutable(make: Any, field: Any) -> type:
    @make()
    class Box:
        name: str = "box"
        items: list[int] = field(default_factory=list)

        def size(self) -> int:
            return len(self.items)

    return Box


def derived(make: Any, field: Any) -> type:
    @make(frozen=True, kw_only=True)
    class Base:
        name: str = ""
        id: int = field(default=0, compare=False)

    @make(frozen=True, kw_only=True)
    class Derived(Base):
        size: int

    return Derived


CALLS: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
    (frozen_pair, (1,), {}),
    (frozen_pair, (1, "x"), {"third": 9}),
    (frozen_pair, (), {"second": "y", "first": 2}),
    (mutable, (), {}),
    (mutable, ("b", [1, 2]), {}),
    (derived, (), {"size": 3}),
    (derived, (), {"size": 3, "name": "n", "id": 7}),
]


@pytest.mark.parametrize(("build", "args", "options"), CALLS)
def test_an_instance_shows_what_a_dataclass_shows(build: Any, args: Any, options: Any) -> None:
    """Fails when a default, the order of the fields, or what is left out differs."""
    own, real = (build(*maker)(*args, **options) for maker in MAKERS)
    # Each test has classes of its own, whose names say where they were made.
    assert repr(own).partition("(")[2] == repr(real).partition("(")[2]
    assert own.__match_args__ == real.__match_args__
    assert [field.name for field in plain.fields(own)] == [
        field.name for field in dataclasses.fields(real)
    ]


@pytest.mark.parametrize(
    ("build", "args", "options"),
    [
        (frozen_pair, (), {}),
        (frozen_pair, (1, "x", 3, 4), {}),
        (frozen_pair, (1,), {"first": 1}),
        (frozen_pair, (1,), {"fourth": 1}),
        (derived, (3,), {}),
        (derived, (), {"name": "n"}),
    ],
)
def test_wrong_arguments_are_refused_in_the_same_words(build: Any, args: Any, options: Any) -> None:
    """Fails when a missing or unknown argument is accepted, or its name is not said."""
    messages = []
    for maker in MAKERS:
        with pytest.raises(TypeError) as caught:
            build(*maker)(*args, **options)
        messages.append(str(caught.value).partition("__init__")[2])
    assert messages[0] == messages[1]


@pytest.mark.parametrize("maker", MAKERS, ids=["plain", "dataclasses"])
def test_equality_and_hash_follow_the_compared_fields(maker: Any) -> None:
    """Fails when an id makes two equal types differ, or another class counts as equal."""
    pair, other = frozen_pair(*maker), frozen_pair(*maker)
    assert pair(1, third=4) == pair(1, third=5)
    assert hash(pair(1, third=4)) == hash(pair(1, third=5))
    assert pair(1) != pair(2)
    assert pair(1) != other(1)
    with pytest.raises(TypeError, match="unhashable"):
        hash(mutable(*maker)())


@pytest.mark.parametrize("maker", MAKERS, ids=["plain", "dataclasses"])
def test_a_frozen_instance_cannot_be_changed(maker: Any) -> None:
    """Fails when a cached value can be spoilt through one of its users."""
    pair = frozen_pair(*maker)(1)
    with pytest.raises(AttributeError):
        pair.first = 2
    with pytest.raises(AttributeError):
        del pair.first
    assert pair.first == 1


def test_no_attribute_but_the_fields() -> None:
    """Fails when a misspelt field of a spec is set without an error."""
    box = mutable(*MAKERS[0])()
    box.items.append(1)
    assert box.size() == 1
    with pytest.raises(AttributeError, match="nmae"):
        box.nmae = "typo"


def test_factories_are_called_for_each_instance() -> None:
    """Fails when two specs share a list."""
    make = mutable(*MAKERS[0])
    make().items.append(1)
    assert make().items == []


def test_replace_changes_what_is_named_and_keeps_the_rest() -> None:
    """Fails when a copy loses a field, or an unknown name is passed over."""
    pair = frozen_pair(*MAKERS[0])(1, "x", 9)
    changed = plain.replace(pair, second="y")
    assert (changed.first, changed.second, changed.third) == (1, "y", 9)
    assert pair.second == "x"
    with pytest.raises(TypeError, match="fourth"):
        plain.replace(pair, fourth=1)


def test_mistakes_are_refused_with_the_class() -> None:
    """Fails when a list is shared by all instances, a method never called, or the mistake found
    only by who makes the first instance."""
    with pytest.raises(ValueError, match=r"Shared.items: mutable default \[\].*default_factory"):

        @plain.dataclass
        class Shared:
            items: list[int] = []  # noqa: RUF012

    with pytest.raises(TypeError, match=r"Ordered: field 'last' has no default.*behind 'first'"):

        @plain.dataclass
        class Ordered:
            first: int = 0
            last: int  # type: ignore[misc]

    with pytest.raises(TypeError, match=r"Checked: __post_init__ is never called"):

        @plain.dataclass
        class Checked:
            size: int

            def __post_init__(self) -> None:
                pass

    @plain.dataclass(kw_only=True)
    class Named:
        first: int = 0
        last: int

    assert Named(last=2).first == 0


@pytest.mark.parametrize(("build", "args", "options"), CALLS)
def test_the_standard_library_takes_them_for_its_own(build: Any, args: Any, options: Any) -> None:
    """Fails when a spec cannot be changed, listed or shown as every other dataclass can."""
    own, real = (build(*maker)(*args, **options) for maker in MAKERS)
    shown = [
        [(f.name, f.type, f.default, f.compare, f.repr, f.kw_only) for f in dataclasses.fields(one)]
        for one in (type(own), real)
    ]
    assert shown[0] == shown[1]
    assert dataclasses.asdict(own) == dataclasses.asdict(real)
    assert dataclasses.astuple(own) == dataclasses.astuple(real)
    last = dataclasses.fields(real)[-1].name
    # pprint() looks at the parameters of what is longer than its lines.
    assert pprint.pformat(own, width=5) == repr(own)
    frozen = [type(one).__dataclass_params__.frozen for one in (own, real)]
    assert frozen[0] == frozen[1]
    changed = dataclasses.replace(own, **{last: 77})
    assert (getattr(changed, last), type(changed)) == (77, type(own))
    assert own.__replace__(**{last: 77}) == changed
    with pytest.raises(TypeError, match="fourth"):
        dataclasses.replace(own, fourth=1)


@pytest.mark.parametrize("build", [frozen_pair, mutable, derived])
def test_the_signature_is_known_before_the_first_instance(build: Any) -> None:
    """Fails when help() and editors show (*args, **options)."""
    own, real = (inspect.signature(build(*maker)) for maker in MAKERS)
    assert list(own.parameters) == list(real.parameters)
    for name, one in real.parameters.items():
        if repr(one.default) != "<factory>":
            assert own.parameters[name] == one


def test_a_signature_of_ones_own() -> None:
    """Fails when a derived class is said to take what its base takes."""

    class Other(Kept):
        def __init__(self, other: int) -> None:
            pass

    assert list(inspect.signature(Other).parameters) == ["other"]
    assert list(inspect.signature(Kept).parameters) == ["name", "sizes"]


@plain.dataclass(frozen=True)
class Kept:
    """At module level, where pickle finds it."""

    name: str
    sizes: tuple[int, ...] = (1, 2)


class Point(plain.NamedTuple):
    """A point."""

    x: int
    y: int = 2

    @property
    def sum(self) -> int:
        return self.x + self.y


class Original(typing.NamedTuple):
    """A point."""

    x: int
    y: int = 2

    @property
    def sum(self) -> int:
        return self.x + self.y


@pytest.mark.parametrize("value", [Kept("n"), Kept("m", (3,)), Point(1), Point(1, y=5)])
def test_values_are_copied_and_pickled(value: object) -> None:
    """Fails when a spec cannot be sent to another process."""
    assert copy.copy(value) == copy.deepcopy(value) == value
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(value, protocol)) == value


def test_a_named_tuple_is_one() -> None:
    """Fails when a field, a default, a property or the documentation is lost."""
    for made in (Point, Original):
        assert made._fields == ("x", "y")
        assert made._field_defaults == {"y": 2}
        assert (made.__doc__, made.__module__) == ("A point.", __name__)
        assert made(3) == (3, 2)
        assert made(3).sum == 5
        assert made(1)._replace(x=7) == (7, 2)
    assert repr(Point(1)) == "Point(x=1, y=2)"
