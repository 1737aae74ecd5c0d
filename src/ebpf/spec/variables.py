"""Global variables."""

from __future__ import annotations

from ebpf.btf import Btf
from ebpf.btf.types import Linkage
from ebpf.codec import Codec, codec
from ebpf.codec.base import plural
from ebpf.errors import BtfError, CodecError
from ebpf.plain import dataclass, field, fields
from ebpf.spec.maps import MapSpec
from ebpf.spec.members import Checked, Members
from ebpf.spec.names import Shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

    from ebpf.spec.members import Types


# repr shows the values of variables that are no larger, in bytes.
_SHOWN = 64


@dataclass(repr=False)
class VariableSpec(Checked, Shown):
    """A global or static variable; setting ``value`` changes what the program starts with.

    ``map`` is the map of its section, ``offset`` counts bytes in it, ``size`` is in bytes.
    ``type_id`` is the variable's type in `btf`, 0 where the object does not tell. ``constant``:
    declared const, so that the verifier knows the value and no one can change it after load.
    """

    name: str
    section: str
    offset: int
    size: int
    map: MapSpec = field(repr=False)
    type_id: int = field(default=0, repr=False)
    linkage: Linkage = Linkage.GLOBAL
    weak: bool = False
    constant: bool = False
    btf: Btf | None = field(default=None, repr=False)
    _codec: Codec[Any] | None = field(default=None, repr=False, compare=False)

    _TYPES: ClassVar[Types] = {"map": (MapSpec,), "offset": (int,), "size": (int,)}

    @property
    def codec(self) -> Codec[Any]:
        """How the variable looks in memory; raw bytes where its type is unknown.

        Raises CodecError for a type that has no representation in Python.
        """
        if self._codec is None:
            self._codec = self._make_codec()
        return self._codec

    @property
    def type_name(self) -> str:
        """The variable's type as C writes it, ``"char[16]"``; empty where it is unknown."""
        if self.btf is None or not self.type_id:
            return ""
        from ebpf.btf.c_type import TypeNames

        return TypeNames(self.btf).declare(self.type_id, "")

    @property
    def value(self) -> Any:
        """The value that the variable has when the program starts, by its C type.

        int, bool, float; bytes for arrays of char (up to the first NUL) and of unsigned char
        (all); a tuple for other arrays; a record with the fields' names for a struct or union;
        enums are ints with a ``name``. Set it to the same, to a list for an array, to a dict for
        a struct. Raises CodecError for a value that does not fit the type.
        """
        return self.codec.unpack(self.map.read(self.offset, self.codec.size))

    @value.setter
    def value(self, value: Any) -> None:
        try:
            packed = self.codec.pack(value)
        except CodecError as error:
            raise CodecError(f"variable {self.name!r}: {error}") from None
        self.map.write(self.offset, packed)

    @property
    def raw(self) -> bytes:
        """The bytes of the value. Setting raises CodecError for another length."""
        return self.map.read(self.offset, self.size)

    @raw.setter
    def raw(self, data: bytes) -> None:
        if len(data) != self.size:
            raise CodecError(
                f"variable {self.name!r}: got {len(data)} {plural(len(data))}, it has {self.size}"
            )
        self.map.write(self.offset, bytes(data))

    def __repr__(self) -> str:
        shown = Shown.__repr__(self)[:-1]
        try:
            if name := self.type_name:
                shown += f", type={name!r}"
            if self.size <= _SHOWN:
                shown += f", value={self.value!r}"
        except (BtfError, CodecError):
            # A type without a name in C, or without values in Python.
            pass
        return f"{shown})"

    def __getstate__(self) -> dict[str, Any]:
        """Without the codec, which is made again where it is asked for."""
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"_codec": None}

    def _make_codec(self) -> Codec[Any]:
        if self.btf is None or not self.type_id:
            return codec(bytes, self.size)
        from ebpf.codec.btf import from_btf

        made = from_btf(self.btf, self.type_id)
        # A struct whose flexible array has elements is larger than its type.
        if made.size > self.size:
            raise CodecError(
                f"variable {self.name!r} has {self.size} bytes, but its type has {made.size}"
            )
        return made


class VariableSpecs(Members[VariableSpec]):
    """``CollectionSpec.variables``."""

    __slots__ = ()

    what = "variable"
    kind = VariableSpec
    advice = "what it starts with is set by spec.variables[{name!r}].value"
