"""What the modules that ``python -m ebpf gen`` writes are made of.

Such a module derives from these classes: `Maps`, `Programs` and `Variables` are the mappings of a
collection, whose members a type checker knows by name and type, and `Objects` is the collection.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping

from ebpf.btf.types import Kind
from ebpf.codec import Codec, codec, from_btf
from ebpf.codec.btf_nodes import Record, RecordCodec, codec_of
from ebpf.collection import Collection
from ebpf.errors import BtfError
from ebpf.generic import Generic, overload
from ebpf.maps.objects import for_keys, for_values
from ebpf.spec import CollectionSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, TypeVar

    from typing_extensions import Self

    from ebpf.collection.loader import Loader
    from ebpf.collection.variables import Variable
    from ebpf.maps import Map
    from ebpf.programs import Program as Program
    from ebpf.spec import VariableSpec

    T = TypeVar("T")
    M = TypeVar("M")
else:
    T, M = "T", "M"

__all__ = ["Maps", "Objects", "Programs", "Record", "Value", "Variables", "record", "unpacked"]


def unpacked(text: str) -> bytes:
    """The object file that `text` holds: zlib's format, in base 64."""
    import zlib

    return zlib.decompress(b64decode(text))


def record(spec: CollectionSpec, name: str) -> type[Record]:
    """The class for a struct or union of the object that no dataclass can lay out.

    `name` is ``"struct key"``, ``"union key"``, or that of a typedef.
    """
    if spec.btf is None:
        raise BtfError(f"{spec.name!r} has no BTF; compile the object with -g")
    word, _, rest = name.rpartition(" ")
    kind = {"struct": Kind.STRUCT, "union": Kind.UNION}.get(word, Kind.TYPEDEF)
    made = from_btf(spec.btf, spec.btf.find(rest, kind).id)
    assert isinstance(made, RecordCodec)
    return made._node.cls  # type: ignore[attr-defined,no-any-return]


def _codec(given: object) -> Codec[Any]:
    if isinstance(given, type) and issubclass(given, Record):
        node = given._node
        return codec_of(node, "<" if node._byte_order == "little" else ">")
    return codec(given)


class _Members(Mapping[str, M]):
    """The members of a collection by name, those of a generated subclass also as attributes."""

    def __init__(self, members: Mapping[str, M]) -> None:
        self._members = members

    def __getitem__(self, name: str) -> M:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__}: {', '.join(self)}>"

    if not TYPE_CHECKING:  # which would take any attribute for one that can be set

        def __setattr__(self, name, value):
            if name != "_members" and not isinstance(getattr(type(self), name, None), Value):
                raise AttributeError(self._not_set(name))
            object.__setattr__(self, name, value)

    def _not_set(self, name: str) -> str:
        """Why ``self.NAME = ...`` would not reach the program; most often it is misspelt."""
        if name in self and isinstance(self, Variables):
            return f"variable {name!r} is no attribute: set [{name!r}].value"
        if name in self:
            return f"{name!r} cannot be set"
        import difflib

        near = difflib.get_close_matches(name, self)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(self)}"
        return f"no {name!r} can be set; {hint}"

    def _absent(self, name: str, what: str) -> AttributeError:
        there = ", ".join(self._members) or "none"
        return AttributeError(f"no {what} {name!r} was loaded; there are: {there}")


class Maps(_Members["Map[Any, Any]"]):
    """The maps. `_CODECS` gives a map's key and value the classes of the module."""

    _CODECS: ClassVar[Mapping[str, tuple[object, object]]] = {}

    def __init__(self, members: Mapping[str, Map[Any, Any]]) -> None:
        super().__init__(members)
        for name, (key, value) in self._CODECS.items():
            made = members.get(name)
            if made is None:
                continue
            if key is not None:
                made.key_codec = for_keys(made.type, _codec(key))
            if value is not None and made.record_codec is not None:
                made.record_codec = _codec(value)
            elif value is not None:
                made.value_codec = for_values(made.type, _codec(value))

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            if name.startswith("_") or name not in self._members:
                raise self._absent(name, "map")
            return self._members[name]


class Programs(_Members["Program"]):
    """The programs that were loaded."""

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            if name.startswith("_") or name not in self._members:
                raise self._absent(name, "program")
            return self._members[name]


class Variables(_Members["Any"]):
    """The variables: of a spec, where they are what the programs start with, or of loaded
    objects, where they are what the programs see now.

    A generated subclass has their values as attributes.
    """

    def __init__(
        self, members: CollectionSpec | Mapping[str, VariableSpec] | Mapping[str, Variable]
    ) -> None:
        super().__init__(members.variables if isinstance(members, CollectionSpec) else members)


class Value(Generic[T]):
    """The value of a variable, as an attribute of `Variables`.

    `kind` is the class of the module that a struct is given and taken as.
    """

    def __init__(self, name: str, kind: object = None) -> None:
        self._name = name
        self._kind = kind

    @overload
    def __get__(self, owner: None, cls: type[Variables]) -> Self: ...
    @overload
    def __get__(self, owner: Variables, cls: type[Variables]) -> T: ...
    def __get__(self, owner: Variables | None, cls: type[Variables]) -> Any:
        if owner is None:
            return self
        member = self._member(owner)
        value = member.value
        return value if self._kind is None else self._codec().unpack(member.codec.pack(value))

    def __set__(self, owner: Variables, value: T) -> None:
        member = self._member(owner)
        if self._kind is None:
            member.value = value
        else:
            member.value = member.codec.unpack(self._codec().pack(value))

    def _member(self, owner: Variables) -> VariableSpec | Variable:
        if self._name not in owner:
            raise owner._absent(self._name, "variable")
        member: VariableSpec | Variable = owner[self._name]
        return member

    def _codec(self) -> Codec[Any]:
        return _codec(self._kind)


class Objects(Collection):
    """A loaded object, with the maps, programs and variables of a generated module."""

    _MAPS: ClassVar[type[Maps]] = Maps
    _PROGRAMS: ClassVar[type[Programs]] = Programs
    _VARIABLES: ClassVar[type[Variables]] = Variables

    def _fill(self, spec: CollectionSpec, loader: Loader) -> None:
        super()._fill(spec, loader)
        self.maps = self._MAPS(self.maps)
        self.programs = self._PROGRAMS(self.programs)
        self.variables = self._VARIABLES(self.variables)
