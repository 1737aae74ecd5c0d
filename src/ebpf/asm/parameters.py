"""What tracing programs are called with, by name: arguments of functions and of tracepoints.

connect = asm.arguments("tcp_connect", kernel_btf)
code = [connect.load(R6, R1, "sk"), connect.struct("sk").load(R7, R6, "__sk_common.skc_dport")]

# In a kprobe the same arguments are in registers, other ones on each machine.
connect = asm.arguments("tcp_connect", kernel_btf, registers=asm.PtRegs())

switch = asm.tracepoint(ebpf.tracefs.tracepoint_fields("sched", "sched_switch"))
code = [switch.load(R6, R1, "prev_pid")]
"""

from __future__ import annotations

from ebpf.asm.alu import add, and32
from ebpf.asm.memory import ldxdw, ldxw
from ebpf.asm.operands import memory
from ebpf.asm.registers import Memory, Register
from ebpf.asm.structs import LOADS, Struct, address_of, btf_of, extend
from ebpf.btf import types as t
from ebpf.errors import AsmError, BtfError
from ebpf.plain import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from ebpf.asm.ptregs import PtRegs
    from ebpf.asm.structs import BtfSource, Code, Place
    from ebpf.btf import Btf

    class RecordField(Protocol):
        """As `ebpf.tracefs.tracepoint_fields` returns them; offset and size in bytes."""

        @property
        def declaration(self) -> str: ...
        @property
        def offset(self) -> int: ...
        @property
        def size(self) -> int: ...
        @property
        def signed(self) -> bool: ...
        @property
        def is_array(self) -> bool: ...


_SLOT = 8
# A function that is called where the tracepoint is: its parameters have names.
_NAMED = ("__bpf_trace_", "__traceiter_", "__probestub_")
# Where a string is: behind the start of the record, or (Linux 5.17) behind the end of the field.
_DYNAMIC, _RELATIVE = "__data_loc ", "__rel_loc "


class Argument(NamedTuple):
    """One argument; `slot` counts units of 8 bytes from the start of the context."""

    name: str
    type_id: int
    slot: int
    size: int


class Arguments:
    """The arguments of fentry, fexit, fmod_ret, LSM, tp_btf and struct_ops programs.

    They are in R1, 8 bytes each; those of 16 bytes, structs by value, have two such places.
    ``names`` are in their order, and their numbers from 0 do in place of them: the BTF of some
    kernels has no names for tracepoints. Of a parameter without a name it is its number, ``"0"``.

    With `registers` they are those of kprobe and kretprobe programs, in ``struct pt_regs``.
    """

    def __init__(
        self,
        what: str,
        btf: Btf,
        prototype: t.FuncProto,
        names: list[str],
        registers: PtRegs | None = None,
    ) -> None:
        self.what = what
        self._btf = btf
        self._registers = registers
        #: Of arguments in registers the first that is passed by value, and takes none or several.
        self._unplaced = ""
        self._returns = prototype.type_id
        self._arguments: dict[str, Argument] = {}
        slot = 0
        for number, parameter in enumerate(prototype.parameters):
            if not parameter.name and not parameter.type_id:
                break
            name = names[number] or str(number)
            size = btf.sizeof(parameter.type_id)
            self._arguments[name] = Argument(name, parameter.type_id, slot, size)
            slot += max(1, -(-size // _SLOT))
            if not self._unplaced and not self._is_plain(parameter.type_id):
                self._unplaced = name
        self._slots = slot

    def _is_plain(self, type_id: int) -> bool:
        """Whether every machine passes the type in one register for numbers."""
        found = self._btf.resolve(type_id)
        return isinstance(found, (t.Int, t.Enum, t.Enum64, t.Pointer)) and (
            self._btf.sizeof(type_id) <= _SLOT
        )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._arguments)

    def __repr__(self) -> str:
        return f"<Arguments of {self.what}: {', '.join(self.names) or 'none'}>"

    def load(self, dst: Register, base: Place, name: str | int) -> Code:
        """dst = the argument; a number shorter than 64 bits is extended by its type.

        `base` is where R1 pointed when the program began. Raises AsmError for a struct by value,
        and for an argument that is in no register.
        """
        argument = self._find(name)
        self._check_value(base, argument.slot, argument.type_id, argument.size, argument.name)
        if self._registers is None:
            code = _slot(dst, base, argument.slot)
        else:
            self._check_register(argument)
            code = self._registers.argument(dst, base, argument.slot)
        return [*code, *self._extended(dst, argument.type_id, argument.size)]

    def result(self, dst: Register, base: Place) -> Code:
        """dst = what the function returned, in fexit, fmod_ret and kretprobe programs."""
        if not self._returns:
            raise AsmError(f"{self.what} returns nothing")
        size = self._btf.sizeof(self._returns)
        self._check_value(base, self._slots, self._returns, size, "result")
        if self._registers is None:
            code = _slot(dst, base, self._slots)
        else:
            code = self._registers.result(dst, base)
        return [*code, *self._extended(dst, self._returns, size)]

    def struct(self, name: str | int) -> Struct:
        """The struct that the argument points to. Raises BtfError."""
        target = self._btf.resolve(self._find(name).type_id)
        if not isinstance(target, t.Pointer):
            raise BtfError(f"{self.what}: argument {name} is no pointer")
        return Struct.of(self._btf, target.type_id)

    def _find(self, name: str | int) -> Argument:
        known = self.names
        if isinstance(name, int) and 0 <= name < len(known):
            return self._arguments[known[name]]
        if name not in self._arguments:
            there = ", ".join(known) or "none"
            raise AsmError(f"{self.what} has no argument {name!r}; it has: {there}")
        return self._arguments[str(name)]

    def _check_value(self, base: Place, slot: int, type_id: int, size: int, name: str) -> None:
        found = self._btf.resolve(type_id)
        if not isinstance(found, (t.Struct, t.Union)):
            return
        what = f"{self.what}: {name} is a {found.kind.name.lower()} of {size} bytes, by value"
        if self._registers is None:
            raise AsmError(f"{what}: they begin {_SLOT * slot} bytes behind {base!r}")
        raise AsmError(f"{what}: where that is, the machine's calling convention says")

    def _check_register(self, argument: Argument) -> None:
        if self._unplaced and argument.slot >= self._arguments[self._unplaced].slot:
            raise AsmError(
                f"{self.what}: {argument.name} is not told, as from {self._unplaced} on, which may"
                " take several registers or none: say which by PtRegs.argument(dst, base, number)"
            )

    def _extended(self, dst: Register, type_id: int, size: int) -> Code:
        found = self._btf.resolve(type_id)
        signed = isinstance(found, (t.Int, t.Enum, t.Enum64)) and found.signed
        return extend(dst, min(size, _SLOT), signed)


def _slot(dst: Register, base: Place, slot: int) -> Code:
    number, offset = memory("base", base)
    return [ldxdw(dst, Memory(Register(number), offset + _SLOT * slot))]


def arguments(function: str, btf: BtfSource, *, registers: PtRegs | None = None) -> Arguments:
    """The arguments of a function of the kernel; of an LSM hook it is ``bpf_lsm_NAME``, of a
    struct_ops program ``STRUCT.MEMBER``: ``"tcp_congestion_ops.ssthresh"``.

    For programs whose arguments are in R1, or with `registers` for kprobes and kretprobes, which
    have ``struct pt_regs`` in it: arguments at the function's entry, its result at its return.

    Raises:
        BtfError: `btf` has no such function, or no such member, or that is no function.
    """
    source = btf_of(btf)
    struct, _, member = function.partition(".")
    if member:
        prototype = _member_prototype(source, struct, member)
        # What stands for it in the kernel, under such a name in some subsystems.
        names = _names(source, prototype.parameters, [f"{struct}__{member}"])
    else:
        prototype = _prototype(source, function)
        names = [parameter.name for parameter in prototype.parameters]
    return Arguments(function, source, prototype, names, registers)


def tracepoint_arguments(name: str, btf: BtfSource) -> Arguments:
    """The arguments of a tracepoint, for tp_btf (and raw tracepoint) programs.

    Raises:
        BtfError: `btf` has no such tracepoint.
    """
    source = btf_of(btf)
    try:
        typedef = source.find(f"btf_trace_{name}", t.Kind.TYPEDEF)
    except BtfError:
        raise BtfError(f"BTF has no tracepoint named {name!r}") from None
    pointer = source.resolve(typedef.id)
    found = source.resolve(pointer.type_id) if isinstance(pointer, t.Pointer) else pointer
    assert isinstance(found, t.FuncProto)
    # The first is the data of whoever registered, which programs do not get.
    own = t.FuncProto(type_id=0, parameters=found.parameters[1:])
    names = _names(source, own.parameters, [prefix + name for prefix in _NAMED], skip=1)
    return Arguments(f"tracepoint {name}", source, own, names)


def _names(
    btf: Btf, parameters: tuple[t.Parameter, ...], functions: list[str], skip: int = 0
) -> list[str]:
    """The names of parameters: their own, or those in one of `functions` behind its first ones."""
    names = [parameter.name for parameter in parameters]
    for function in functions:
        try:
            named = _prototype(btf, function).parameters[skip:]
        except BtfError:
            continue
        if len(named) == len(names) and not all(names):
            names = [parameter.name for parameter in named]
    return names


def _member_prototype(btf: Btf, struct: str, member: str) -> t.FuncProto:
    pointer = btf.resolve(btf.find_struct(struct).field(member).type_id)
    found = btf.resolve(pointer.type_id) if isinstance(pointer, t.Pointer) else pointer
    if not isinstance(found, t.FuncProto):
        raise BtfError(f"struct {struct}: {member} is no function")
    return found


def _prototype(btf: Btf, function: str) -> t.FuncProto:
    found = btf.find(function, t.Kind.FUNC)
    assert isinstance(found, t.Func)
    prototype = btf.resolve(found.type_id)
    assert isinstance(prototype, t.FuncProto)
    return prototype


class TracepointRecord:
    """The record that a program of type TRACEPOINT gets in R1, by its fields."""

    def __init__(self, fields: Mapping[str, RecordField]) -> None:
        self._fields = dict(fields)

    def __repr__(self) -> str:
        return f"<TracepointRecord: {', '.join(self._fields)}>"

    def load(self, dst: Register, base: Place, name: str) -> Code:
        """dst = the field; a signed number keeps its sign.

        `base` is where R1 pointed when the program began.

        Raises:
            AsmError: there is no such field, or it is no number: see `address`.
        """
        field = self._find(name)
        if field.is_array or field.size not in LOADS:
            raise AsmError(f"{field.declaration!r} is no number: take its address()")
        number, offset = memory("base", base)
        code = LOADS[field.size](dst, Memory(Register(number), offset + field.offset))
        return [code, *(extend(dst, field.size, True) if field.signed else [])]

    def address(self, dst: Register, base: Place, name: str) -> Code:
        """dst = the address of the field, or of what it leads to (``__data_loc``, ``__rel_loc``).

        It is to be read with probe_read_kernel or probe_read_kernel_str: see `snippets.read_str`.
        `dst` and `base` differ.
        """
        field = self._find(name)
        number, offset = memory("base", base)
        place = Memory(Register(number), offset + field.offset)
        if not field.declaration.startswith((_DYNAMIC, _RELATIVE)):
            return address_of(dst, place)
        if number == dst.number:
            raise AsmError(f"dst must not be the register of base, {base!r}: both are needed")
        # How far behind is in the lower half, the length above it.
        code: Code = [ldxw(dst, place), and32(dst, 0xFFFF), add(dst, Register(number))]
        if field.declaration.startswith(_RELATIVE):
            offset += field.offset + field.size
        return [*code, add(dst, offset)] if offset else code

    def _find(self, name: str) -> RecordField:
        field = self._fields.get(name)
        if field is None:
            there = ", ".join(one for one in self._fields if not one.startswith("common_"))
            raise AsmError(f"the record has no field {name!r}; it has: {there or 'none'}")
        if name.startswith("common_"):
            raise AsmError(f"{name}: the kernel does not let programs read the common fields")
        return field


def tracepoint(fields: Mapping[str, RecordField]) -> TracepointRecord:
    """The record of a tracepoint, from ``ebpf.tracefs.tracepoint_fields(category, name)``.

    Without tracefs, and for programs that go to other kernels, its struct does as well:
    ``asm.Struct("trace_event_raw_sched_switch", kernel_btf)``.
    """
    return TracepointRecord(fields)
