"""What the C types of BTF are in Python: records, enum values, and their layouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ebpf.btf import types as t
from ebpf.btf.raw import ByteOrder
from ebpf.codec.base import Codec, no_such_field
from ebpf.codec.composites import ArrayOf
from ebpf.codec.layout import Node, Scalar, located, shown
from ebpf.codec.structs import ItemsCodec, ScalarCodec, over
from ebpf.errors import CodecError
from ebpf.plain import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

# struct codes by size in bytes
SIGNED = {1: "b", 2: "h", 4: "i", 8: "q"}
UNSIGNED = {1: "B", 2: "H", 4: "I", 8: "Q"}


# Characters of a type's name that messages show; each codec keeps that. Names in C are shorter.
_LONGEST_LABEL = 512


def _short(name: str) -> str:
    return name[:_LONGEST_LABEL]


class EnumValue(int):
    """A number that has a name in an enum; equal to the plain number.

    No enum.IntEnum: C allows names that Python's enums do not.
    """

    name: str
    enum: str

    def __new__(cls, value: int, name: str, enum: str) -> EnumValue:
        made = super().__new__(cls, value)
        made.name = name
        made.enum = enum
        return made

    def __repr__(self) -> str:
        return f"<{self.enum or 'enum'}.{self.name}: {int(self)}>"

    def __str__(self) -> str:
        return self.name

    def __format__(self, spec: str) -> str:
        if spec and spec[-1] in "bcdnoxX":
            return int.__format__(self, spec)
        return format(self.name, spec)

    def __getnewargs__(self) -> tuple[int, str, str]:  # type: ignore[override]
        return int(self), self.name, self.enum


class Member(NamedTuple):
    """A field of a struct: ``bit_offset`` from its start; ``bits`` is 0 for what is no bitfield."""

    name: str
    bit_offset: int
    bits: int
    signed: bool
    codec: Codec[Any]

    @property
    def offset(self) -> int:
        return self.bit_offset // 8

    def covers(self) -> tuple[int, int]:
        """The first bit and the first after it."""
        return self.bit_offset, self.bit_offset + (self.bits or 8 * self.codec.size)


class Record:
    """The value of a C struct or union, immutable.

    Fields are attributes; ``record["name"]`` finds those whose names Python does not allow. The
    rest is as in a named tuple: ``_fields``, ``_asdict()`` and ``_replace(field=value)``.
    """

    __slots__ = ("_raw",)

    _node: ClassVar[RecordNode]
    _fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **fields: Any) -> None:
        self._set(self._node.from_mapping(fields))

    def _set(self, raw: bytes) -> None:
        object.__setattr__(self, "_raw", raw)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"{type(self).__name__} is a copy of what was read: make a changed one with "
            f"_replace({name}=...) and write that"
        )

    def __getitem__(self, name: str) -> Any:
        member = self._node.members.get(name)
        if member is None:
            raise KeyError(name)
        return self._node.read(object.__getattribute__(self, "_raw"), member)

    def _asdict(self) -> dict[str, Any]:
        return {name: self[name] for name in self._node.members}

    def _replace(self, **fields: Any) -> Record:
        """A record with these fields changed."""
        made = type(self).__new__(type(self))
        made._set(self._node.from_mapping(fields, self._raw))  # type: ignore[attr-defined]
        return made

    def __iter__(self) -> Iterator[Any]:
        return iter(self._asdict().values())

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._asdict() == other._asdict()

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
        return f"{type(self).__name__}({fields})"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(f"{type(self).__name__} cannot be pickled; its _asdict() can")


#: Names that a field has to be asked for by ``record["name"]``: the class needs them for itself.
RESERVED = frozenset({*dir(Record), "_node"})


class RecordNode(Node):
    """A struct or union as one run of bytes, whose fields are read when they are asked for.

    So bitfields, unions and fields at any offset are nothing special, and a record from which two
    fields are read costs two reads.
    """

    def __init__(
        self, byte_order: ByteOrder, type: t.Struct | t.Union, members: list[Member]
    ) -> None:
        self.size = type.size
        self.align = 1
        self._label = _short(type.name) or f"anonymous {type.kind.name.lower()}"
        self._byte_order = byte_order
        self.members = {member.name: member for member in members}
        self._mask: int | None = None
        self._mask_known = False
        self.cls = _record_class(self._label, self)
        self.encode = self._encode
        self.decode = self._decode

    def codes(self) -> str:
        return f"{self.size}s"

    def name(self) -> str:
        return f"{self._label}@{id(self)}"

    def read(self, raw: bytes, member: Member) -> Any:
        if not member.bits:
            return member.codec.unpack(raw[member.offset : member.offset + member.codec.size])
        first, end, shift = self._bits(member)
        value = int.from_bytes(raw[first:end], self._byte_order) >> shift & (1 << member.bits) - 1
        if member.signed and value >> member.bits - 1:
            value -= 1 << member.bits
        # Through the codec, which knows what an enum or a bool is in Python.
        return member.codec.unpack(
            value.to_bytes(member.codec.size, self._byte_order, signed=value < 0)
        )

    def from_mapping(self, fields: Mapping[str, Any], base: bytes | None = None) -> bytes:
        """The bytes of a struct with these fields, the others as in `base`, or zero."""
        raw = bytearray(self.size) if base is None else bytearray(base)
        written: list[tuple[int, int, str]] = []
        for name, value in fields.items():
            member = self.members.get(name)
            if member is None:
                raise no_such_field(self._label, str(name), self.members)
            start, end = member.covers()
            for first, after, other in written:
                if start < after and first < end:
                    raise CodecError(
                        f"{self._label}: {other} and {name} share their bytes; give one of them"
                    )
            if end > start:
                written.append((start, end, name))
            self._write(raw, member, value)
        return bytes(raw)

    def problem(self, value: Any, path: str) -> str | None:
        if isinstance(value, self.cls):
            return None
        if not isinstance(value, Mapping):
            return located(path, f"{shown(value)} is not a {self._label}, nor a dict of its fields")
        try:
            self.from_mapping(value)
        except CodecError as error:
            return located(path, str(error))
        return None

    def _encode(self, value: Any) -> bytes:
        if isinstance(value, self.cls):
            raw: bytes = value._raw  # type: ignore[attr-defined]
            if not self._mask_known:
                # As large as the value, so not made for every struct inside of another one.
                self._mask, self._mask_known = self._covered(), True
            if self._mask is None:
                return raw
            # Padding may hold what the kernel's stack held; as a key it would find nothing.
            return (int.from_bytes(raw, "little") & self._mask).to_bytes(self.size, "little")
        if not isinstance(value, Mapping):
            raise TypeError("not a record")
        return self.from_mapping(value)

    def _decode(self, raw: bytes) -> Any:
        made = self.cls.__new__(self.cls)
        made._set(raw)
        return made

    def _write(self, raw: bytearray, member: Member, value: Any) -> None:
        try:
            packed = member.codec.pack(value)
        except CodecError as error:
            raise CodecError(f"{member.name}: {error}") from None
        if not member.bits:
            raw[member.offset : member.offset + len(packed)] = packed
            return
        number = int.from_bytes(packed, self._byte_order, signed=member.signed)
        low = -(1 << member.bits - 1) if member.signed else 0
        high = low + (1 << member.bits) - 1
        if not low <= number <= high:
            raise CodecError(
                f"{member.name}: {shown(value)} does not fit {member.bits} bits ({low}..{high})"
            )
        first, end, shift = self._bits(member)
        mask = (1 << member.bits) - 1
        old = int.from_bytes(raw[first:end], self._byte_order) & ~(mask << shift)
        new = old | (number & mask) << shift
        raw[first:end] = new.to_bytes(end - first, self._byte_order)

    def _bits(self, member: Member) -> tuple[int, int, int]:
        """The bytes that a bitfield touches, and how far it is from their lowest bit.

        Bits are counted from the least significant one on little-endian machines, and from the
        most significant one on the others.
        """
        first, end = member.bit_offset // 8, -(-(member.bit_offset + member.bits) // 8)
        before = member.bit_offset - 8 * first
        shift = 8 * (end - first) - before - member.bits if self._byte_order == "big" else before
        return first, end, shift

    def _covered(self) -> int | None:
        """The bits that some field has, as a number of the whole; None for all of them."""
        covered = bytearray(self.size)
        for member in self.members.values():
            if not member.bits:
                end = member.offset + member.codec.size
                covered[member.offset : end] = b"\xff" * (end - member.offset)
                continue
            first, end, shift = self._bits(member)
            bits = (1 << member.bits) - 1 << shift
            old = int.from_bytes(covered[first:end], self._byte_order)
            covered[first:end] = (old | bits).to_bytes(end - first, self._byte_order)
        if covered.count(0xFF) == self.size:
            return None
        return int.from_bytes(covered, "little")


def _record_class(name: str, node: RecordNode) -> type[Record]:
    namespace: dict[str, Any] = {"__slots__": (), "_node": node, "_fields": tuple(node.members)}
    for field, member in node.members.items():
        special = field.startswith("__") and field.endswith("__")
        if field not in RESERVED and not special:
            namespace[field] = property(_reader(node, member))
    return type(name.encode("utf-8", "replace").decode(), (Record,), namespace)


def _reader(node: RecordNode, member: Member) -> Any:
    read = node.read
    if member.bits:
        return lambda record: read(record._raw, member)
    start, end, unpack = member.offset, member.offset + member.codec.size, member.codec.unpack
    return lambda record: unpack(record._raw[start:end])


class RecordCodec(ScalarCodec):
    """A struct or union, whose fields have offsets."""

    @property
    def offsets(self) -> Mapping[str, int]:
        assert isinstance(self._node, RecordNode)
        return {m.name: m.offset for m in self._node.members.values() if not m.bits}

    def offsetof(self, path: str) -> int:
        """As Codec.offsetof, by the BTF of the struct."""
        assert isinstance(self._node, RecordNode)
        head, _, rest = path.partition(".")
        name, *indexes = head.split("[")
        member = self._node.members.get(name)
        if member is None or member.bits:
            raise no_such_field(repr(self), name, self.offsets)
        offset, inner = member.offset, member.codec
        for index in indexes:
            node = inner._node if isinstance(inner, ItemsCodec) else None
            order = inner._order if isinstance(inner, ItemsCodec) else ""
            number = index[:-1]
            if not isinstance(node, ArrayOf) or index[-1:] != "]" or not number.isdecimal():
                raise CodecError(f"{path!r}: [{index} does not index an array")
            if int(number) >= node.count:
                raise CodecError(f"{path!r}: [{index} is outside of an array of {node.count}")
            offset += int(number) * node.element.size
            inner = codec_of(node.element, order)
        return offset + inner.offsetof(rest) if rest else offset


class EnumNode(Node):
    """An enum: takes numbers and names, gives an EnumValue for a number that has a name."""

    def __init__(self, type: t.Enum | t.Enum64) -> None:
        codes = SIGNED if type.signed else UNSIGNED
        self._scalar = Scalar(codes[type.size])
        self.size = self.align = type.size
        self._label = f"enum {_short(type.name)}".rstrip()
        wrap = (1 << 8 * type.size) - 1
        self._numbers = {
            name: value if type.signed else value & wrap for name, value in type.values
        }
        # Of several names for one number the first, as a debugger shows it.
        self._values = {
            number: EnumValue(number, name, type.name)
            for name, number in reversed(self._numbers.items())
        }
        self.encode = self._encode
        self.decode = self._decode

    def codes(self) -> str:
        return self._scalar.code

    def name(self) -> str:
        return f"{self._label}@{id(self)}"

    def problem(self, value: Any, path: str) -> str | None:
        if isinstance(value, str) and not isinstance(value, int):
            if value in self._numbers:
                return None
            names = ", ".join(list(self._numbers)[:20])
            return located(path, f"{self._label} has no {value!r}; it has {names}")
        return self._scalar.problem(value, path)

    def _encode(self, value: Any) -> int:
        if isinstance(value, str):
            if value not in self._numbers:
                raise ValueError("no such name")
            return self._numbers[value]
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError("not a number")
        return int(value)

    def _decode(self, item: int) -> int:
        return self._values.get(item, item)


class WideNode(Node):
    """An integer of 16 bytes, which struct does not know."""

    def __init__(self, size: int, signed: bool, byte_order: Any) -> None:
        self.size = self.align = size
        self._signed = signed

        def encode(value: Any) -> bytes:
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError("not an integer")
            return value.to_bytes(size, byte_order, signed=signed)

        def decode(item: bytes) -> int:
            return int.from_bytes(item, byte_order, signed=signed)

        self.encode, self.decode = encode, decode

    def codes(self) -> str:
        return f"{self.size}s"

    def name(self) -> str:
        return f"{'s' if self._signed else 'u'}{8 * self.size}"

    def problem(self, value: Any, path: str) -> str | None:
        assert self.encode is not None
        try:
            self.encode(value)
        except (TypeError, OverflowError):
            return located(path, f"{shown(value)} does not fit {self.name()}")
        return None


class Nothing(Node):
    """An array without elements or of empty ones, as at the end of a struct: ``()``."""

    def __init__(self) -> None:
        self.size, self.align = 0, 1
        self.encode = self._encode
        self.decode = self._decode

    def codes(self) -> str:
        return "0s"

    def name(self) -> str:
        return "nothing"

    def problem(self, value: Any, path: str) -> str | None:
        return None if value in ((), [], b"") else located(path, f"{shown(value)} is not empty")

    def _encode(self, value: Any) -> bytes:
        if value not in ((), [], b""):
            raise ValueError("not empty")
        return b""

    def _decode(self, item: bytes) -> tuple[()]:
        return ()


def codec_of(node: Node, order: str) -> ScalarCodec | ItemsCodec:
    if isinstance(node, RecordNode):
        return RecordCodec(node, node._label, order=order)
    return over(node, node.name().partition("@")[0], order=order)
