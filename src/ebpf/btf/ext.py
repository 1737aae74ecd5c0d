""".BTF.ext of an object file: the function, source line and CO-RE relocation of instructions.

The section belongs to the .BTF section of the same file, which has its strings. Records are kept
as the file has them, and decoded when they are asked for.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from enum import IntEnum

from ebpf.btf.btf import Btf
from ebpf.btf.raw import MAGIC, VERSION, ByteOrder
from ebpf.errors import BtfError
from ebpf.plain import NamedTuple, dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MINIMUM_HEADER = 24
CORE_HEADER = 32  # Linux 5.4 added core_relo_off and core_relo_len
INSTRUCTION_SIZE = 8
_COLUMN_BITS = 10


class CoreKind(IntEnum):
    """``enum bpf_core_relo_kind``: what of the target a CO-RE relocation asks for."""

    FIELD_BYTE_OFFSET = 0
    FIELD_BYTE_SIZE = 1
    FIELD_EXISTS = 2
    FIELD_SIGNED = 3
    FIELD_LSHIFT_U64 = 4
    FIELD_RSHIFT_U64 = 5
    TYPE_ID_LOCAL = 6
    TYPE_ID_TARGET = 7
    TYPE_EXISTS = 8
    TYPE_SIZE = 9
    ENUMVAL_EXISTS = 10
    ENUMVAL_VALUE = 11
    TYPE_MATCHES = 12


class FunctionInfo(NamedTuple):
    """``struct bpf_func_info``: the function that begins at `insn_offset`.

    ``insn_offset`` counts bytes from the start of the ELF section; ``type_id`` is a Func.
    """

    insn_offset: int
    type_id: int


class CoreRelocation(NamedTuple):
    """``struct bpf_core_relo``: an instruction that holds a fact of a type of the target.

    ``insn_offset`` counts bytes from the start of the ELF `section`. ``type_id`` is the type in
    the object's own BTF, ``access_string`` leads from it to a field or an enumerator
    (``"0:1:2"``). ``kind`` is a CoreKind; a number that none has is kept as it is.
    """

    insn_offset: int
    type_id: int
    access_string: str
    kind: int
    section: str = ""


@dataclass(frozen=True)
class LineInfo:
    """``struct bpf_line_info``: the source of the instructions from `insn_offset` on.

    ``insn_offset`` counts bytes from the start of the ELF section; ``line`` and ``column`` count
    from 1, 0 means unknown.
    """

    insn_offset: int
    line: int
    column: int
    _btf: Btf
    _file_off: int
    _text_off: int

    @property
    def file_name(self) -> str:
        """As the compiler was given it. Raises BtfError."""
        return self._btf.strings.get(self._file_off)

    @property
    def line_text(self) -> str:
        """The source line, empty where the compiler left it out. Raises BtfError."""
        return self._btf.strings.get(self._text_off)


_NONE = memoryview(b"")


class Records:
    """The records of one kind for one ELF section, as the file has them.

    ``data`` are their bytes, in the file's byte order, each ``size`` long; its first word is the
    offset of the instruction, and what the format has grown by follows the known fields.
    """

    __slots__ = ("_offset", "_order", "_what", "data", "size")

    def __init__(
        self, what: str, order: str, size: int, data: memoryview = _NONE, offset: int = 0
    ) -> None:
        self.size = size
        self.data = data
        self._what = what
        self._order = order
        self._offset = offset

    def __len__(self) -> int:
        return len(self.data) // self.size if self.size else 0

    def rows(self, format: str) -> list[tuple[int, ...]]:
        """Each record as struct `format`. Raises BtfError for an offset inside an instruction."""
        known = struct.calcsize("=" + format)
        reader = struct.Struct(f"{self._order}{format}{max(self.size - known, 0)}x")
        rows = list(reader.iter_unpack(self.data))
        for number, row in enumerate(rows):
            if row[0] % INSTRUCTION_SIZE:
                raise BtfError(
                    f".BTF.ext {self._what} at offset {self._offset + number * self.size}: "
                    f"instruction offset {row[0]} is no multiple of {INSTRUCTION_SIZE}"
                )
        return rows


class SectionInfo:
    """What .BTF.ext says about one ELF section.

    ``function_records``, ``line_records`` and ``relocation_records`` are the raw records.
    """

    def __init__(self, name: str, btf: Btf, order: str) -> None:
        self.name = name
        self._btf = btf
        self.function_records = Records("func_info", order, 8)
        self.line_records = Records("line_info", order, 16)
        self.relocation_records = Records("core_relo", order, 16)
        self._line_starts: list[int] | None = None

    def __repr__(self) -> str:
        return (
            f"<SectionInfo {self.name!r}: {len(self.function_records)} functions, "
            f"{len(self.line_records)} lines, {len(self.relocation_records)} relocations>"
        )

    @property
    def functions(self) -> list[FunctionInfo]:
        """In the order of the file. Raises BtfError."""
        return [FunctionInfo(*row) for row in self.function_records.rows("II")]

    @property
    def lines(self) -> list[LineInfo]:
        """In the order of the file; names and texts are decoded when asked for. Raises BtfError."""
        return [self._line(row) for row in self.line_records.rows("IIII")]

    @property
    def relocations(self) -> list[CoreRelocation]:
        """In the order of the file. Raises BtfError."""
        text = self._btf.strings.get
        return [
            CoreRelocation(insn, type_id, text(access), _kind(kind), self.name)
            for insn, type_id, access, kind in self.relocation_records.rows("IIII")
        ]

    def line_at(self, insn_offset: int) -> LineInfo | None:
        """The source of the instruction at `insn_offset` (bytes), None where nothing says it.

        Raises BtfError.
        """
        if self._line_starts is None:
            self._line_starts = [row[0] for row in self.line_records.rows("IIII")]
        position = bisect_right(self._line_starts, insn_offset) - 1
        if position < 0:
            return None
        size = self.line_records.size
        start = position * size
        row = self.line_records.data[start : start + 16]
        return self._line(struct.unpack(self.line_records._order + "IIII", row))

    def _line(self, row: tuple[int, ...]) -> LineInfo:
        insn, file_off, text_off, line_column = row
        line, column = line_column >> _COLUMN_BITS, line_column & (1 << _COLUMN_BITS) - 1
        return LineInfo(insn, line, column, self._btf, file_off, text_off)


def _kind(number: int) -> int:
    return _KINDS[number] if number < len(_KINDS) else number


_KINDS = list(CoreKind)


@dataclass(frozen=True)
class _Part:
    """One sub-section: `offset` counts from the end of the header, `minimum` is a record's size."""

    name: str
    offset: int
    length: int
    minimum: int


class BtfExt:
    """The .BTF.ext section of an object file; `btf` is its .BTF section.

    ``sections`` holds a SectionInfo by the name of each ELF section that has records. Construction
    checks that every record lies inside the data; strings and instruction offsets are checked when
    the records are decoded. Raises BtfError, which names the sub-section and the offset in `data`.

    libbpf loads an object whose .BTF.ext is malformed as if it had none; that is for the caller
    to decide.
    """

    def __init__(self, data: object, btf: Btf) -> None:
        self._data = memoryview(data).cast("B")  # type: ignore[arg-type]
        self._btf = btf
        self.byte_order, self._length, parts = _parse_header(self._data)
        if self.byte_order != btf.byte_order:
            raise BtfError(
                f".BTF.ext header: {self.byte_order}-endian, but btf is {btf.byte_order}-endian"
            )
        self._order = "<" if self.byte_order == "little" else ">"
        self.sections: dict[str, SectionInfo] = {}
        for part in parts:
            if part.length:
                self._parse(part)

    def __repr__(self) -> str:
        return f"<BtfExt: {len(self.sections)} sections, {self.byte_order}-endian>"

    def __deepcopy__(self, memo: object) -> BtfExt:
        """Itself: it never changes, so copies of specs share it."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """By its bytes, which are read again."""
        return BtfExt, (bytes(self._data), self._btf)

    def _parse(self, part: _Part) -> None:
        start = self._length + part.offset
        end = start + part.length
        if part.offset % 4:
            raise _error(part, start, f"offset {part.offset} is no multiple of 4")
        if end > len(self._data) or part.length < 4:
            raise _error(part, start, f"{part.length} bytes in {len(self._data)} bytes of data")
        (size,) = self._words(start, "I")
        if size < part.minimum or size % 4:
            raise _error(
                part, start, f"record size {size}, at least {part.minimum} and a multiple of 4"
            )
        # Nothing after the size of records: clang before 9 wrote that for code without BTF.
        for name, ranges in self._ranges(part, start + 4, end, size).items():
            # Linkers may write several parts for sections of one name.
            pieces = [self._data[first:after] for first, after in ranges]
            data = pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))
            section = self.sections.setdefault(name, SectionInfo(name, self._btf, self._order))
            records = Records(part.name, self._order, size, data, ranges[0][0])
            setattr(section, _ATTRIBUTES[part.name], records)

    def _ranges(
        self, part: _Part, position: int, end: int, size: int
    ) -> dict[str, list[tuple[int, int]]]:
        """Where the records of each ELF section are: ``struct btf_ext_info_sec``, one by one."""
        found: dict[str, list[tuple[int, int]]] = {}
        while position < end:
            first = position + 8
            if first > end:
                raise _error(part, position, f"{end - position} bytes hold no section's header")
            name_off, count = self._words(position, "II")
            after = first + count * size
            if not count or after > end:
                room = (end - first) // size
                problem = f"{count} records of {size} bytes, there is room for 1 to {room}"
                raise _error(part, position, problem)
            found.setdefault(self._name(part, position, name_off), []).append((first, after))
            position = after
        return found

    def _name(self, part: _Part, position: int, name_off: int) -> str:
        try:
            name = self._btf.strings.get(name_off)
        except BtfError as error:
            raise _error(part, position, str(error)) from None
        if not name:
            raise _error(part, position, "a section without a name")
        return name

    def _words(self, position: int, format: str) -> tuple[int, ...]:
        return struct.unpack_from(self._order + format, self._data, position)


_ATTRIBUTES = {
    "func_info": "function_records",
    "line_info": "line_records",
    "core_relo": "relocation_records",
}


def _error(part: _Part, offset: int, problem: str) -> BtfError:
    return BtfError(f".BTF.ext {part.name} at offset {offset}: {problem}")


def _parse_header(data: memoryview) -> tuple[ByteOrder, int, list[_Part]]:
    """``struct btf_ext_header``: the byte order, the header's length, and the sub-sections."""
    if len(data) < MINIMUM_HEADER:
        raise BtfError(f".BTF.ext header: {len(data)} bytes, it has at least {MINIMUM_HEADER}")
    magic = bytes(data[:2])
    order: ByteOrder = "little" if magic[0] == MAGIC & 0xFF else "big"
    if magic != MAGIC.to_bytes(2, order):
        raise BtfError(f".BTF.ext header: magic {magic.hex()} at offset 0, it is 9feb or eb9f")
    mark = "<" if order == "little" else ">"
    version, flags, length, *ranges = struct.unpack_from(mark + "BBIIIII", data, 2)
    if version != VERSION:
        raise BtfError(f".BTF.ext header: version {version} at offset 2, only {VERSION} is known")
    if flags:
        raise BtfError(f".BTF.ext header: flags {flags:#x} at offset 3, none is known")
    if not MINIMUM_HEADER <= length < len(data):
        raise BtfError(
            f".BTF.ext header: hdr_len {length} at offset 4 is outside "
            f"{MINIMUM_HEADER}..{len(data) - 1} (the whole data, less a record)"
        )
    if length >= CORE_HEADER:
        ranges += struct.unpack_from(mark + "II", data, MINIMUM_HEADER)
    known = (("func_info", 8), ("line_info", 16), ("core_relo", 16))
    parts = [
        _Part(name, offset, size, minimum)
        for (name, minimum), offset, size in zip(known, ranges[::2], ranges[1::2], strict=False)
    ]
    return order, length, parts
