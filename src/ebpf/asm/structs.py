"""Structs of the kernel by the names of their fields.

    from ebpf.kernel_btf import kernel_btf

    task = asm.Struct("task_struct", kernel_btf)
    code = [
        task.read(R7, R6, "real_parent.tgid", buffer=R10 - 8),   # R7 = R6->real_parent->tgid
        task.copy(R10 - 24, R6, "comm"),
    ]

A path is a field's name, or names joined by dots, with ``[n]`` behind an array; a pointer on the
way is followed. The instructions carry CO-RE relocations: loaded on another kernel, they have that
kernel's offsets and sizes.
"""

from __future__ import annotations

from ebpf.asm.alu import add, arsh, lsh, mov, rsh, sub
from ebpf.asm.contexts import CONTEXTS
from ebpf.asm.excerpt import enumerator, steps
from ebpf.asm.instruction import Instruction
from ebpf.asm.jumps import call
from ebpf.asm.memory import ldxb, ldxdw, ldxh, ldxw, stdw, stxb, stxdw, stxh, stxw
from ebpf.asm.operands import memory, register
from ebpf.asm.prototypes import add_scalar
from ebpf.asm.registers import R1, R2, R3, Memory, Register
from ebpf.asm.relocated import Access, Relocated
from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.btf.ext import CoreKind
from ebpf.btf.fields import Field, Layout
from ebpf.errors import AsmError, BtfError
from ebpf.types import ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from ebpf.btf import Btf

    #: BTF, or what returns it when it is needed: `ebpf.kernel_btf.kernel_btf`.
    BtfSource: TypeAlias = Btf | Callable[[], Btf]
    Code: TypeAlias = list[Instruction]
    Place: TypeAlias = Register | Memory

LOADS = {1: ldxb, 2: ldxh, 4: ldxw, 8: ldxdw}
STORES = {1: stxb, 2: stxh, 4: stxw, 8: stxdw}
_LARGEST = 8
_HOLDER = "offset() and size() are those of the bytes that hold it, and others"
_KINDS = (t.Kind.STRUCT, t.Kind.UNION, t.Kind.TYPEDEF)


def btf_of(source: BtfSource) -> Btf:
    return source() if callable(source) else source


def address_of(dst: Register, place: Place) -> Code:
    """dst = &place: ``address_of(R1, R10 - 8)``."""
    base, offset = memory("place", place)
    code = [] if base == register("dst", dst) else [mov(dst, Register(base))]
    return [*code, add(dst, offset)] if offset else code


def extend(dst: Register, size: int, signed: bool) -> Code:
    """dst = its lowest `size` bytes, extended to 64 bits."""
    unused = 8 * (_LARGEST - size)
    return [lsh(dst, unused), (arsh if signed else rsh)(dst, unused)] if unused else []


class Struct:
    """A struct or union of `btf`, or a typedef of one, by name; the BTF is looked at when needed.

    With `portable` off the instructions have no relocations: for types that are the same in
    every kernel, such as the contexts of programs.
    """

    def __init__(self, name: str, btf: BtfSource, *, portable: bool = True) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"name must be the name of a struct, not {name!r}")
        self.name = name
        self.portable = portable
        self._source = btf
        self._layout: Layout | None = None
        self._type_id = 0

    @classmethod
    def of(cls, btf: Btf, type_id: int, *, portable: bool = True) -> Struct:
        """The struct with the id `type_id`. Raises BtfError for what is none."""
        layout = btf.layout(type_id)
        name = layout.name or btf.type(type_id).name or "(anonymous)"
        made = cls(name, btf, portable=portable and name != "(anonymous)")
        made._layout, made._type_id = layout, layout.type.id if layout.name else type_id
        return made

    @classmethod
    def declared(cls, name: str, fields: Mapping[str, str]) -> Struct:
        """A struct with fields that the BTF at hand may lack, as a program in C declares it.

            task = asm.Struct.declared("task_struct", {"tgid": "int", "newest": "u64"})

        Whether the kernel has them is to be asked with `exists`, before they are read.

        Args:
            fields: the type of each in C, a number or a pointer; pointers are not followed.
        """
        builder = BtfBuilder()
        members = tuple(
            t.Member(field, add_scalar(builder, kind, f"{name}.{field}"), 64 * number)
            for number, (field, kind) in enumerate(fields.items())
        )
        builder.add(t.Struct(name=name, size=_LARGEST * len(members), members=members))
        return cls(name, builder.to_btf())

    @property
    def layout(self) -> Layout:
        """Where its fields are, in the BTF that it comes from. Raises BtfError."""
        if self._layout is None:
            btf = btf_of(self._source)
            found = [type for type in btf.find_all(self.name) if type.kind in _KINDS]
            if not found:
                raise BtfError(f"BTF has no struct named {self.name!r}")
            best = min(found, key=lambda type: _KINDS.index(type.kind))
            self._layout, self._type_id = btf.layout(best.id), best.id
        return self._layout

    def __repr__(self) -> str:
        return f"<Struct {self.name}>"

    # What the instructions of a program are made of.

    def load(self, dst: Register, base: Place, path: str) -> Code:
        """dst = base->path, by loads of the memory itself; a signed number keeps its sign.

        For memory that a program may look at: its context, arguments of fentry and tp_btf
        programs and what they point to, map values. `base` is the register with the address.

        Raises:
            BtfError: the struct has no such field.
            AsmError: the field is a bitfield, or does not fit a register: see `read`, `copy`.
        """
        *hops, (holder, last) = self._hops(path)
        code: Code = []
        for hop, name in hops:
            code.append(hop._placed(ldxdw(dst, _at(base, hop._offset(name))), name))
            base = dst
        field = holder._whole(last, "load", "read() it")
        size, signed = holder._scalar(field)
        code.append(holder._placed(LOADS[size](dst, _at(base, holder._offset(last))), last))
        return [*code, *(holder._sign(dst, last, size) if signed else [])]

    def store(self, base: Place, path: str, src: Register) -> Code:
        """base->path = src; the path leads through no pointer. Raises as `load`."""
        holder, last = self._only_hop(path, "store")
        size, _ = holder._scalar(holder._whole(last, "store"))
        return [holder._placed(STORES[size](_at(base, holder._offset(last)), src), last)]

    def read(
        self, dst: Register, base: Place, path: str, *, buffer: Memory, user: bool = False
    ) -> Code:
        """dst = base->path, by probe_read_kernel; 0 where the memory cannot be read.

        Clobbers R0 to R5. Bitfields are read too. Raises BtfError, AsmError.

        Args:
            dst: any register.
            buffer: 8 bytes on the stack, at a multiple of 8.
            user: read memory of the process (probe_read_user), with all that the path leads to.
        """
        *hops, (holder, last) = self._hops(path)
        code: Code = []
        for hop, name in hops:
            code += hop._probe(base, name, buffer, user)
            code.append(ldxdw(dst, buffer))
            base = dst
        field = holder.layout.field(last)
        size, signed = holder._scalar(field)
        code += [stdw(buffer, 0), *holder._probe(base, last, buffer, user)]
        code.append(ldxdw(dst, buffer))
        if field.bitfield_size:
            return [*code, *holder._shifts(dst, last, signed)]
        return [*code, *(holder._sign(dst, last, size) if signed else [])]

    def copy(
        self, target: Place, base: Place, path: str, size: int | None = None, *, user: bool = False
    ) -> Code:
        """The bytes at target = base->path; R0 is 0, or -EFAULT and the bytes are zeros.

        For fields of any size but bitfields; the path leads through no pointer. Clobbers R0 to R5;
        `target` is not in R3. The `size` in bytes is the field's in this struct's BTF where it is
        not given: `target` has room for that, in every kernel.
        """
        holder, last = self._only_hop(path, "copy")
        holder._whole(last, "copy", "read() it")
        if memory("target", target)[0] == R3.number:
            raise AsmError("target must not be in R3, which takes the field's address")
        wanted = holder.layout.sizeof(last) if size is None else size
        return [
            *holder._address(R3, base, last), *address_of(R1, target), mov(R2, wanted),
            call("probe_read_user" if user else "probe_read_kernel"),
        ]  # fmt: skip

    def address(self, dst: Register, base: Place, path: str) -> Code:
        """dst = &base->path; the path leads through no pointer, and to no bitfield."""
        holder, last = self._only_hop(path, "address")
        holder._whole(last, "address")
        return holder._address(dst, base, last)

    def offset(self, dst: Register, path: str) -> Code:
        """dst = the offset of the field in bytes; of a bitfield, of the bytes that hold it."""
        holder, last = self._only_hop(path, "offset")
        return [holder._placed(mov(dst, holder._offset(last)), last)]

    def size(self, dst: Register, path: str = "") -> Code:
        """dst = the size in bytes of the field, or of the struct without a `path`.

        Of a bitfield, that of the bytes which hold it, and others.
        """
        if not path:
            layout = self.layout
            return [self._relocated(mov(dst, layout.size), "", CoreKind.TYPE_SIZE)]
        holder, last = self._only_hop(path, "size")
        size = holder.layout.sizeof(last)
        return [holder._relocated(mov(dst, size), last, CoreKind.FIELD_BYTE_SIZE)]

    def exists(self, dst: Register, path: str = "") -> Code:
        """dst = 1 if the kernel that loads this has the field, or the struct; else 0.

        Of what the BTF of this struct lacks itself: see `declared`.
        """
        if not path:
            _ = self.layout
            return [self._relocated(mov(dst, 1), "", CoreKind.TYPE_EXISTS)]
        try:
            holder, last = self._only_hop(path, "exists")
        except BtfError as error:
            raise BtfError(
                f"{error}; asm.Struct.declared({self.name!r}, ...) asks for what this BTF lacks"
            ) from None
        return [holder._relocated(mov(dst, 1), last, CoreKind.FIELD_EXISTS)]

    def pointee(self, path: str) -> Struct:
        """The struct that the pointer at `path` points to. Raises BtfError."""
        holder, last = self._hops(path)[-1]
        btf = holder.layout.btf
        pointer = btf.resolve(holder.layout.field(last).type_id)
        if not isinstance(pointer, t.Pointer):
            raise BtfError(f"{self.name}.{path} is no pointer")
        return Struct.of(btf, pointer.type_id, portable=self.portable)

    # Where a path leads.

    def _hops(self, path: str) -> list[tuple[Struct, str]]:
        """The structs that a path leads through, each with its part of the path."""
        hops: list[tuple[Struct, str]] = []
        holder, done = self, ""
        segments = path.split(".")
        for number, segment in enumerate(segments):
            done = f"{done}.{segment}" if done else segment
            btf = holder.layout.btf
            found = btf.resolve(holder.layout.field(done).type_id)
            if isinstance(found, t.Pointer) and number + 1 < len(segments):
                hops.append((holder, done))
                holder, done = Struct.of(btf, found.type_id, portable=self.portable), ""
        return [*hops, (holder, done)]

    def _only_hop(self, path: str, what: str) -> tuple[Struct, str]:
        first, *others = self._hops(path)
        if others:
            raise AsmError(
                f"{what}: {self.name}.{path} leads through the pointer {first[1]}: load or read"
                f" that, and use pointee({first[1]!r})"
            )
        return first

    def _whole(self, path: str, what: str, remedy: str = _HOLDER) -> Field:
        """The field, which is no bitfield: that shares its bytes, which `what` would take."""
        field = self.layout.field(path)
        if field.bitfield_size:
            raise AsmError(f"{what}: {self.name}.{path} is a bitfield: {remedy}")
        return field

    def _offset(self, path: str) -> int:
        """Bytes; those of a bitfield begin at a multiple of its type's size, as CO-RE has it."""
        field = self.layout.field(path)
        if not field.bitfield_size:
            return field.bit_offset // 8
        return self._storage(field)[0]

    def _storage(self, field: Field) -> tuple[int, int]:
        """The offset and size of the bytes that hold a bitfield."""
        size = self.layout.btf.sizeof(field.type_id)
        while True:
            start = field.bit_offset // 8 // size * size
            if field.bit_offset + field.bitfield_size <= 8 * (start + size):
                return start, size
            size *= 2
            if size > _LARGEST:
                raise AsmError(f"{self.name}.{field.path}: no aligned 8 bytes hold the bitfield")

    def _scalar(self, field: Field) -> tuple[int, bool]:
        """The size in bytes and the sign of a field that fits a register."""
        btf = self.layout.btf
        found = btf.resolve(field.type_id)
        if isinstance(found, (t.Struct, t.Union, t.Array)):
            raise AsmError(
                f"{self.name}.{field.path} is {found.kind.name.lower()} of"
                f" {btf.sizeof(found.id)} bytes, no number: copy() it, or take its address()"
            )
        size = btf.sizeof(found.id)
        if size not in LOADS:
            raise AsmError(f"{self.name}.{field.path} has {size} bytes, a register has 8")
        signed = isinstance(found, (t.Int, t.Enum, t.Enum64)) and found.signed
        return size, signed and (size < _LARGEST or bool(field.bitfield_size))

    # The instructions, with their relocations.

    def _relocated(self, instruction: Instruction, path: str, kind: CoreKind) -> Instruction:
        if not self.portable:
            return instruction
        return Relocated(instruction, Access(self.layout.btf, self._type_id, path, kind))

    def _placed(self, instruction: Instruction, path: str) -> Instruction:
        return self._relocated(instruction, path, CoreKind.FIELD_BYTE_OFFSET)

    def _address(self, dst: Register, base: Place, path: str) -> Code:
        code = address_of(dst, base)
        return [*code, self._placed(add(dst, self._offset(path)), path)]

    def _probe(self, base: Place, path: str, buffer: Memory, user: bool) -> Code:
        """Reads the field into the lowest bytes of the 8 at `buffer`."""
        field = self.layout.field(path)
        size = self.layout.btf.sizeof(field.type_id)
        if field.bitfield_size:
            size = self._storage(field)[1]
        code = [
            *self._address(R3, base, path), *address_of(R1, buffer),
            self._relocated(mov(R2, size), path, CoreKind.FIELD_BYTE_SIZE),
        ]  # fmt: skip
        if self.layout.btf.byte_order == "big":
            code += [add(R1, _LARGEST), sub(R1, R2)]
        return [*code, call("probe_read_user" if user else "probe_read_kernel")]

    def _sign(self, dst: Register, path: str, size: int) -> Code:
        """Extends a signed number that was loaded with zeros above it."""
        *_, last = steps(self.layout, path)
        if last.indices or not self.portable:
            # Of an element CO-RE knows neither sign nor width.
            return extend(dst, size, True)
        unused = 8 * (_LARGEST - size)
        kind = CoreKind.FIELD_RSHIFT_U64
        return [
            self._relocated(lsh(dst, unused), path, kind),
            self._relocated(arsh(dst, unused), path, kind),
        ]

    def _shifts(self, dst: Register, path: str, signed: bool) -> Code:
        """Leaves of the bytes of a bitfield its own bits."""
        field = self.layout.field(path)
        start, size = self._storage(field)
        first = field.bit_offset - 8 * start
        above = 64 - first - field.bitfield_size
        if self.layout.btf.byte_order == "big":
            above = 8 * (_LARGEST - size) + first
        shift = (arsh if signed else rsh)(dst, 64 - field.bitfield_size)
        return [
            self._relocated(lsh(dst, above), path, CoreKind.FIELD_LSHIFT_U64),
            self._relocated(shift, path, CoreKind.FIELD_RSHIFT_U64),
        ]


def _at(base: Place, offset: int) -> Memory:
    """A relocated load has nothing but the field's offset in it."""
    number, own = memory("base", base)
    if own:
        raise AsmError(f"base must be a register, not {base!r}: add the offset to it first")
    return Memory(Register(number), offset)


def enum_value(dst: Register, enum: str, name: str, btf: BtfSource) -> Code:
    """dst = what the enumerator `name` of the enum is in the kernel that loads this."""
    source = btf_of(btf)
    found = source.find(enum)
    value = enumerator(source, found.id, name).value
    access = Access(source, source.resolve(found.id).id, name, CoreKind.ENUMVAL_VALUE)
    return [Relocated(mov(dst, value), access)]


def context(type: ProgramType, btf: BtfSource) -> Struct:
    """What programs of `type` get in R1, as a Struct: ``ctx.load(R0, R1, "len")``.

    Of tracepoints see `tracepoint`, of tracing, LSM and raw tracepoint programs `arguments`.

    Raises:
        AsmError: such programs have no struct of their own.
    """
    name = CONTEXTS.get(type)
    if name is None:
        raise AsmError(
            f"type: {type.name} programs have no context with fields; see asm.tracepoint and"
            " asm.arguments"
        )
    # Part of what the kernel promises to programs, the registers of a machine apart, which
    # are what the hardware has.
    return Struct(name, btf, portable=type is ProgramType.NETFILTER)
