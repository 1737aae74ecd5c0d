"""Fields of a struct or union by name, through anonymous and embedded members."""

from __future__ import annotations

from ebpf.btf import types as t
from ebpf.errors import BtfError
from ebpf.patterns import Pattern
from ebpf.plain import NamedTuple, dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.btf.btf import Btf

_SEGMENT = Pattern(r"(?a)(\w+)((?:\[\d+\])*)")
# Comparing names is slow; no struct of a kernel has as many members.
_HINT_NAMES = 2000
_INDEX = Pattern(r"\[(\d+)\]")


class Field(NamedTuple):
    """Where a field lies in its struct.

    ``bit_offset`` counts bits from the start of the struct; ``bitfield_size`` is the width in
    bits, and 0 for what is no bitfield. ``type_id`` is the type as declared.
    """

    path: str
    type_id: int
    bit_offset: int
    bitfield_size: int = 0


@dataclass(frozen=True)
class Layout:
    """A struct or union and the BTF that its members' types are in.

    A path is a field's name, or names joined by dots through embedded structs and unions, with
    ``[n]`` after an array: ``"comm"``, ``"signal.rlim[3].rlim_cur"``. Names of anonymous members
    are left out, as in C. A path cannot go through a pointer: what lies behind it is in other
    memory.
    """

    btf: Btf
    type: t.Struct | t.Union

    @property
    def name(self) -> str:
        return self.type.name

    @property
    def size(self) -> int:
        """Bytes."""
        return self.type.size

    def offsetof(self, path: str) -> int:
        """The offset of a field, in bytes.

        Raises BtfError when the field does not exist, lies behind a pointer or is a bitfield
        (``field(path)`` says where that is).
        """
        field = self.field(path)
        if field.bitfield_size or field.bit_offset % 8:
            raise BtfError(
                f"{self._label()}.{path} is a {field.bitfield_size}-bit field at bit "
                f"{field.bit_offset}: it has no offset in bytes; use field()"
            )
        return field.bit_offset // 8

    def sizeof(self, path: str) -> int:
        """The size of a field, in bytes; 0 for a flexible array. Raises BtfError."""
        return self.btf.sizeof(self.field(path).type_id)

    def field(self, path: str) -> Field:
        """The field at `path`. Raises BtfError when the path leads nowhere."""
        layout = self
        bit_offset = 0
        done = ""
        segments = path.split(".")
        for number, segment in enumerate(segments):
            match = _SEGMENT.fullmatch(segment)
            if match is None:
                raise BtfError(
                    f"{path!r} is no path of field names: {segment!r} is not NAME or NAME[n]"
                )
            member = layout._member(match[1], done)
            done = f"{done}.{segment}" if done else segment
            type_id, inner = self._index(member.type_id, match[2], done)
            bit_offset += member.bit_offset + inner
            if number + 1 < len(segments):
                layout = self._enter(type_id, done)
        return self._field(path, type_id, bit_offset, member)

    def _field(self, path: str, type_id: int, bit_offset: int, member: t.Member) -> Field:
        if member.bitfield_size:
            return Field(path, type_id, bit_offset, member.bitfield_size)
        target = self.btf.resolve(type_id)
        if isinstance(target, t.Int) and (target.bits != 8 * target.size or target.bit_offset):
            # How bitfields were described before kind_flag. A _Bool alone has all its bits.
            return Field(path, type_id, bit_offset + target.bit_offset, target.bits)
        return Field(path, type_id, bit_offset)

    def _member(self, name: str, done: str) -> t.Member:
        """The member `name`, its offset counted from the start of this struct.

        Anonymous members are searched in order, each type once: a second time it could not hold
        a name that it did not hold before.
        """
        seen: set[int] = set()
        pending: list[tuple[t.Struct | t.Union, int]] = [(self.type, 0)]
        names: list[str] = []
        while pending:
            composite, base = pending.pop()
            inner = []
            for member in composite.members:
                if member.name == name:
                    return member._replace(bit_offset=base + member.bit_offset)
                if member.name:
                    names.append(member.name)
                elif member.type_id not in seen:
                    seen.add(member.type_id)
                    target = self.btf.resolve(member.type_id)
                    if isinstance(target, (t.Struct, t.Union)):
                        inner.append((target, base + member.bit_offset))
            pending.extend(reversed(inner))
        raise self._no_field(name, done, names)

    def _no_field(self, name: str, done: str, names: list[str]) -> BtfError:
        where = self._label() + (f" (the type of {done})" if done else "")
        import difflib

        close = difflib.get_close_matches(name, names[:_HINT_NAMES], n=3)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        return BtfError(f"{where} has no field {name!r}{hint}")

    def _index(self, type_id: int, brackets: str, done: str) -> tuple[int, int]:
        """The element type after the indices in `brackets`, and its bit offset in the array."""
        bit_offset = 0
        for index in map(int, _INDEX.findall(brackets)):
            target = self.btf.resolve(type_id)
            if not isinstance(target, t.Array):
                raise BtfError(f"{self._label()}: {done}: {_describe(target)} is no array")
            if target.length and index >= target.length:
                raise BtfError(
                    f"{self._label()}: {done}: index {index} in an array of {target.length}"
                )
            type_id = target.type_id
            bit_offset += 8 * index * self.btf.sizeof(type_id)
        return type_id, bit_offset

    def _enter(self, type_id: int, done: str) -> Layout:
        target = self.btf.resolve(type_id)
        if isinstance(target, (t.Struct, t.Union)):
            return Layout(self.btf, target)
        if isinstance(target, t.Pointer):
            pointee = self.btf.resolve(target.type_id)
            raise BtfError(
                f"{self._label()}.{done} is a pointer to {_describe(pointee)}: a path ends at a "
                "pointer; read it, and look the rest up in the type it points to"
            )
        if isinstance(target, t.Array):
            raise BtfError(f"{self._label()}.{done} is an array: write {done}[n]")
        raise BtfError(f"{self._label()}.{done} is {_describe(target)}, which has no fields")

    def _label(self) -> str:
        return _describe(self.type)


def _describe(type: t.Type) -> str:
    """``"struct task_struct"``, ``"int"``, ``"a pointer"``, ``"an anonymous union"``."""
    if isinstance(type, t.Pointer):
        return "a pointer"
    if isinstance(type, t.Fwd):
        word = "union" if type.is_union else "struct"
    elif isinstance(type, (t.Int, t.Float, t.Void)) and type.name:
        return type.name
    else:
        word = type.kind.name.lower()
    return f"{word} {type.name}" if type.name else f"an anonymous {word}"
