"""Functions, what their instructions refer to, and programs."""

from __future__ import annotations

import struct
from enum import Enum

from ebpf.btf.ext import CoreRelocation
from ebpf.btf.types import Linkage
from ebpf.plain import NamedTuple, dataclass, field
from ebpf.spec.members import NONE, Checked, Members
from ebpf.spec.names import Shown, shortened
from ebpf.types import AttachType, ProgramFlags, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

    from ebpf.btf.raw import ByteOrder
    from ebpf.spec.members import Types

INSTRUCTION_SIZE = 8


class RelocationKind(Enum):
    """What an instruction of a function refers to.

    MAP             ldimm64 of a map: the kernel wants its descriptor (BPF_PSEUDO_MAP_FD)
    DATA            ldimm64 of an address in a map's value, or in the arena (BPF_PSEUDO_MAP_VALUE)
    EXTERN          ldimm64 of an extern: a kernel option's value, or the address of a symbol
    FUNCTION        ldimm64 of a function's address (BPF_PSEUDO_FUNC)
    CALL            call of a function of the object (BPF_PSEUDO_CALL)
    EXTERN_CALL     call of an extern, a kfunc (BPF_PSEUDO_KFUNC_CALL)
    JUMP_TABLE      ldimm64 of a table of instructions (a map of type INSN_ARRAY)
    """

    MAP = "map"
    DATA = "data"
    EXTERN = "extern"
    FUNCTION = "function"
    CALL = "call"
    EXTERN_CALL = "extern call"
    JUMP_TABLE = "jump table"


class Relocation(NamedTuple):
    """The instruction at `slot` of a function refers to `target`.

    ``slot`` counts units of 8 bytes from the start of the function. ``target`` is a key of
    ``maps``, ``functions`` or ``externs``, and empty for a jump table. ``offset`` counts bytes from
    the start of the map's value. ``table`` are the slots that a jump table leads to.
    """

    slot: int
    kind: RelocationKind
    target: str
    offset: int = 0
    table: tuple[int, ...] = ()


@dataclass(repr=False)
class FunctionSpec(Shown):
    """The instructions of one function, in the byte order of the object.

    ``section`` and ``offset`` (bytes) say where in the object. A ``hidden`` function is one that
    other objects cannot call, which the verifier may treat as a static one. ``type_id`` is its
    Func in the BTF, 0 without one. Calls, addresses of maps and the like are not filled in:
    ``relocations`` are in the order of the slots. ``core_relocations`` count ``insn_offset`` in
    bytes from the start of the function.
    """

    name: str
    section: str
    offset: int
    code: bytes = field(repr=False)
    linkage: Linkage = Linkage.GLOBAL
    weak: bool = False
    hidden: bool = False
    relocations: tuple[Relocation, ...] = field(default=(), repr=False)
    type_id: int = 0
    core_relocations: tuple[CoreRelocation, ...] = field(default=(), repr=False)
    line_records: bytes = field(default=b"", repr=False)
    line_record_size: int = 16
    byte_order: ByteOrder = "little"

    @property
    def slots(self) -> int:
        """The length in units of 8 bytes; an ldimm64 has two."""
        return len(self.code) // INSTRUCTION_SIZE

    def line_info(self, start: int = 0) -> list[tuple[int, int, int, int]]:
        """``struct bpf_line_info`` of each line, for a program that has the function at `start`.

        Slot of the first instruction, and file_name_off, line_off, line_col as the kernel takes
        them.
        """
        order = "<" if self.byte_order == "little" else ">"
        rest = self.line_record_size - 16
        first = start - self.offset // INSTRUCTION_SIZE
        rows = struct.iter_unpack(f"{order}IIII{rest}x", self.line_records)
        return [(first + at // INSTRUCTION_SIZE, a, b, c) for at, a, b, c in rows]


@dataclass(repr=False)
class ProgramSpec(Checked, Shown):
    """A function that the kernel can be asked to run.

    ``function`` is its key in ``CollectionSpec.functions``, and ``section`` its section without a
    leading ``?``. ``type`` is UNSPEC where the section's name says none: set it before loading.
    ``attach`` is the way to attach that the section names (``"kprobe"``, ``"uretprobe_multi"``,
    ``"cgroup"``), empty for none, and ``target`` what follows the slash:
    ``SEC("kprobe/do_unlinkat")`` -> ``"do_unlinkat"``. ``btf_target``: the kernel must find
    `target` when the program is loaded. With ``autoload`` off, load leaves the program out.
    """

    name: str
    function: str
    section: str
    type: ProgramType = ProgramType.UNSPEC
    attach_type: AttachType | None = None
    attach: str = ""
    target: str = ""
    flags: ProgramFlags = ProgramFlags(0)
    autoload: bool = True
    btf_target: bool = False

    _TYPES: ClassVar[Types] = {
        **dict.fromkeys(("name", "function", "section", "attach", "target"), (str,)),
        "type": (ProgramType,),
        "attach_type": (AttachType, NONE),
        "flags": (ProgramFlags,),
        **dict.fromkeys(("autoload", "btf_target"), (bool,)),
    }

    @property
    def sleepable(self) -> bool:
        return bool(self.flags & ProgramFlags.SLEEPABLE)

    @property
    def kernel_name(self) -> str:
        """What the kernel shows: the first 15 bytes."""
        return shortened(self.name)


class ProgramSpecs(Members[ProgramSpec]):
    """``CollectionSpec.programs``."""

    __slots__ = ()

    what = "program"
    kind = ProgramSpec
    advice = "change the members of spec.programs[{name!r}]"
