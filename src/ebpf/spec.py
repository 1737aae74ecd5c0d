"""What an object file holds, as plain values: no system call is made and no descriptor is held.

    spec = CollectionSpec.from_file("tracer.bpf.o")
    spec.variables["target_pid"].value = 42
    spec.maps["events"].max_entries = 1 << 20
    with spec.load() as objects: ...

Everything may be changed before ``load``. Programs, maps, variables and functions are found by
the names they have in the object, and refer to each other by those: a map that is renamed
(``spec.maps["events"].name = "trace"``) stays where it is in ``spec.maps``. Where an object has
several of one name, as static functions of linked files may be, the later ones are found as
``name#2``, ``name#3``.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any

from ebpf.btf import Btf
from ebpf.btf.ext import BtfExt, CoreRelocation
from ebpf.btf.fixups import BtfFixups
from ebpf.btf.types import Linkage
from ebpf.codec import Codec, codec
from ebpf.codec.base import plural
from ebpf.errors import CodecError, ElfError
from ebpf.types import AttachType, MapFlags, MapType, ProgramFlags, ProgramType

if TYPE_CHECKING:
    from ebpf.btf.raw import ByteOrder
    from ebpf.collection import Collection

INSTRUCTION_SIZE = 8
# BPF_OBJ_NAME_LEN of uapi linux/bpf.h, less the NUL.
KERNEL_NAME_LENGTH = 15


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


@dataclass(frozen=True, slots=True)
class Relocation:
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


@dataclass(slots=True)
class FunctionSpec:
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


@dataclass(slots=True)
class ProgramSpec:
    """A function that the kernel can be asked to run.

    ``function`` is its key in ``CollectionSpec.functions``, and ``section`` its section without a
    leading ``?``. ``type`` is UNSPEC where the section's name says none: set it before loading.
    ``attach`` is the way to attach that the section names (``"kprobe"``, ``"uretprobe_multi"``,
    ``"cgroup"``), empty for none, and ``target`` what follows the slash:
    ``SEC("kprobe/do_unlinkat")`` -> ``"do_unlinkat"``. With ``attach_type_optional`` the program
    loads without its ``attach_type`` too. ``btf_target``: the kernel must find `target` when the
    program is loaded. With ``autoload`` off, load leaves the program out.
    """

    name: str
    function: str
    section: str
    type: ProgramType = ProgramType.UNSPEC
    attach_type: AttachType | None = None
    attach: str = ""
    target: str = ""
    flags: ProgramFlags = ProgramFlags(0)  # noqa: RUF009
    autoload: bool = True
    attach_type_optional: bool = False
    btf_target: bool = False

    @property
    def sleepable(self) -> bool:
        return bool(self.flags & ProgramFlags.SLEEPABLE)

    @property
    def kernel_name(self) -> str:
        """What the kernel shows: the first 15 bytes."""
        return _shortened(self.name)


class Pinning(IntEnum):
    """``LIBBPF_PIN_*``: whether a map is kept in the BPF file system under its name."""

    NONE = 0
    BY_NAME = 1


@dataclass(frozen=True, slots=True)
class StructOps:
    """What a map of type STRUCT_OPS is made of.

    ``type_id`` is its struct in the object's BTF. ``programs`` are the function pointers that
    name a program: {member: key of CollectionSpec.programs}. With ``link`` the map is attached by
    a link (``.struct_ops.link``, Linux 6.4).
    """

    type_id: int
    programs: dict[str, str]
    link: bool


@dataclass(frozen=True, slots=True)
class Iproute2:
    """The fields that ``struct bpf_elf_map`` of iproute2 has behind those of libbpf.

    ``pinning``: 0 none, 1 PIN_OBJECT_NS, 2 PIN_GLOBAL_NS. ``inner_id`` is the id of the map that
    serves as a template; a map with an ``inner_index`` other than -1 goes into that slot of the
    map whose inner_id it is.
    """

    id: int
    pinning: int
    inner_id: int
    inner_index: int


@dataclass(slots=True)
class MapSpec:
    """How to create a map, and what to put into it.

    ``key_type_id`` and ``value_type_id`` are types of the object's BTF, 0 for none. ``inner`` is
    the template of a map of maps, and ``slots`` what the object puts into a map of maps or a
    program array: {index: key of CollectionSpec.maps or .programs}. ``contents`` is the value of a
    map of global data, the start of an arena, or the struct of a STRUCT_OPS map; None stands
    for zeros. ``data`` says that the map holds global data: it has one value, which is
    the section `section`. ``frozen``: user space cannot write it once it is loaded either.
    ``object_name`` goes in front of the name of such a map. ``extra`` are bytes behind the known
    fields of a legacy definition, where any of them is not zero.

    Sizes in bytes. ``max_entries`` is as written in the object: load rounds the size of a ring
    buffer up to a power of two of pages, and takes the number of CPUs for a perf event array of 0.
    """

    name: str
    type: MapType
    key_size: int = 0
    value_size: int = 0
    max_entries: int = 0
    flags: MapFlags = MapFlags(0)  # noqa: RUF009
    map_extra: int = 0
    numa_node: int = 0
    pinning: Pinning = Pinning.NONE
    pin_path: str | None = None
    key_type_id: int = 0
    value_type_id: int = 0
    inner: MapSpec | None = None
    slots: dict[int, str] = field(default_factory=dict)
    contents: bytearray | None = field(default=None, repr=False)
    data: bool = False
    frozen: bool = False
    autocreate: bool = True
    section: str = ""
    object_name: str = ""
    struct_ops: StructOps | None = None
    iproute2: Iproute2 | None = None
    extra: bytes = b""

    @property
    def kernel_name(self) -> str:
        """What the kernel shows: up to 15 bytes, and libbpf's name for a map of global data."""
        return _data_name(self.object_name, self.name) if self.data else _shortened(self.name)

    def copy(self) -> MapSpec:
        """A spec that can be changed without changing this one."""
        return replace(
            self,
            inner=self.inner.copy() if self.inner else None,
            slots=dict(self.slots),
            contents=None if self.contents is None else bytearray(self.contents),
            struct_ops=self.struct_ops
            and replace(self.struct_ops, programs=dict(self.struct_ops.programs)),
        )

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes of the contents."""
        self._check(offset, size)
        if self.contents is None:
            return bytes(size)
        return bytes(self.contents[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        """Puts `data` into the contents."""
        self._check(offset, len(data))
        if self.contents is None:
            self.contents = bytearray(self.value_size)
        self.contents[offset : offset + len(data)] = data

    def _check(self, offset: int, size: int) -> None:
        end = self.value_size if self.contents is None else len(self.contents)
        if offset < 0 or size < 0 or offset + size > end:
            raise CodecError(
                f"map {self.name!r}: bytes {offset}..{offset + size} are outside of its {end}"
            )


@dataclass(slots=True)
class VariableSpec:
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
    type_id: int = 0
    linkage: Linkage = Linkage.GLOBAL
    weak: bool = False
    constant: bool = False
    btf: Btf | None = field(default=None, repr=False)
    _codec: Codec[Any] | None = field(default=None, repr=False, compare=False)

    @property
    def codec(self) -> Codec[Any]:
        """How the variable looks in memory; raw bytes where its type is unknown.

        Raises CodecError for a type that has no representation in Python.
        """
        if self._codec is None:
            self._codec = self._make_codec()
        return self._codec

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


class ExternKind(Enum):
    """What provides an extern.

    KCONFIG     an option of the kernel's configuration, or libbpf's LINUX_* (``__kconfig``)
    KSYM        a symbol of the kernel, by address (``extern const void x __ksym``)
    TYPED_KSYM  a variable of the kernel that its BTF knows (``extern const int x __ksym``)
    KFUNC       a function of the kernel or of a module (``extern int f(void) __ksym``)
    UNDEFINED   nothing that the object names: another object, to be linked with it
    """

    KCONFIG = "kconfig"
    KSYM = "ksym"
    TYPED_KSYM = "typed ksym"
    KFUNC = "kfunc"
    UNDEFINED = "undefined"


class KconfigType(Enum):
    """How the value of a kernel option is to be written."""

    BOOL = "bool"
    CHAR = "char"
    INT = "int"
    TRISTATE = "tristate"
    TEXT = "char[]"


@dataclass(slots=True)
class ExternSpec:
    """Something that the object uses and does not define; a ``weak`` one may be missing.

    ``btf_id`` is the Var or Func in the object's BTF and ``type_id`` the type behind it. For a
    KCONFIG extern ``offset`` and ``size`` (bytes) say where it is in the map ``.kconfig``, and
    ``kconfig`` and ``signed`` how it is to be written.
    """

    name: str
    kind: ExternKind
    weak: bool = False
    btf_id: int = 0
    type_id: int = 0
    offset: int = 0
    size: int = 0
    kconfig: KconfigType | None = None
    signed: bool = False


@dataclass(slots=True)
class CollectionSpec:
    """Everything that an object file holds.

    ``name`` begins the names of its data maps. ``kernel_version`` is LINUX_VERSION_CODE, 0 where
    the object does not say. ``byte_order``: only objects of this machine's order can be loaded.
    ``btf`` is the object's own, unchanged; ``btf_fixups`` is what it lacks.
    """

    name: str = ""
    programs: dict[str, ProgramSpec] = field(default_factory=dict)
    maps: dict[str, MapSpec] = field(default_factory=dict)
    variables: dict[str, VariableSpec] = field(default_factory=dict)
    functions: dict[str, FunctionSpec] = field(default_factory=dict)
    externs: dict[str, ExternSpec] = field(default_factory=dict)
    license: str = ""
    kernel_version: int = 0
    byte_order: ByteOrder = "little"
    btf: Btf | None = None
    btf_ext: BtfExt | None = None
    btf_fixups: BtfFixups = field(default_factory=BtfFixups)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, name: str | None = None) -> CollectionSpec:
        """The spec of the object file `path`; `name` is the file's name up to its first dot.

        Raises FormatError (ElfError, BtfError, RelocationError) for a file that is no BPF object
        or a malformed one, and OSError when it cannot be read.
        """
        with open(path, "rb") as file:
            data = file.read()
        if name is None:
            name = os.path.basename(os.fspath(path)).partition(".")[0]
        return cls.from_bytes(data, name=name)

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str = "") -> CollectionSpec:
        """As from_file, for the contents of an object file."""
        from ebpf.elf.object import parse

        return parse(bytes(data), name)

    def __repr__(self) -> str:
        parts = [
            f"{label}={list(names)}"
            for label, names in (
                ("programs", self.programs),
                ("maps", self.maps),
                ("variables", self.variables),
                ("externs", self.externs),
            )
            if names
        ]
        return f"<CollectionSpec {self.name!r}: {', '.join(parts) or 'empty'}>"

    def copy(self) -> CollectionSpec:
        """A spec that can be changed without changing this one; the BTF is shared."""
        copies = {id(spec): spec.copy() for spec in self.maps.values()}
        return replace(
            self,
            programs={key: replace(spec) for key, spec in self.programs.items()},
            maps={key: copies[id(spec)] for key, spec in self.maps.items()},
            variables={
                key: replace(spec, map=copies.get(id(spec.map)) or spec.map.copy())
                for key, spec in self.variables.items()
            },
            functions={key: replace(spec) for key, spec in self.functions.items()},
            externs={key: replace(spec) for key, spec in self.externs.items()},
            btf_fixups=self.btf_fixups.copy(),
        )

    def select(self, *names: str) -> None:
        """Turns ``autoload`` on for these programs and off for all others.

        Raises KeyError for a name that is no program.
        """
        missing = [name for name in names if name not in self.programs]
        if missing:
            there = ", ".join(self.programs) or "none"
            raise KeyError(f"no program {missing[0]!r} in {self.name!r}; its programs: {there}")
        for name, program in self.programs.items():
            program.autoload = name in names

    def check(self) -> None:
        """Raises ElfError for what cannot be loaded and can be said without a kernel.

        A program without a type, an extern of another object, fields of a legacy map definition
        that nobody knows, the byte order of another machine.
        """
        import sys

        if self.byte_order != sys.byteorder:
            raise ElfError(
                f"{self.name!r} was compiled for {self.byte_order}-endian machines; compile it "
                f"with -target {'bpfel' if sys.byteorder == 'little' else 'bpfeb'}"
            )
        for name, program in self.programs.items():
            if program.autoload and program.type is ProgramType.UNSPEC:
                raise ElfError(
                    f"program {name!r}: its section {program.section!r} says no program type; "
                    f"set spec.programs[{name!r}].type, or autoload = False"
                )
        for name, spec in self.maps.items():
            if spec.extra:
                raise ElfError(
                    f"map {name!r}: its definition in section {spec.section!r} has unknown fields "
                    f"that are not zero ({spec.extra[:16].hex()}); clear spec.maps[{name!r}].extra"
                )

    def load(self, **options: Any) -> Collection:
        """Creates the maps and loads the programs; see ebpf.Collection.load for the options."""
        from ebpf.collection import Collection

        self.check()
        return Collection.load(self, **options)


def _shortened(name: str) -> str:
    raw = name.encode("utf-8", "surrogateescape")
    return raw[:KERNEL_NAME_LENGTH].decode("utf-8", "surrogateescape")


def _data_name(object_name: str, section: str) -> str:
    """libbpf's name for a map of global data: ``my_objec.rodata`` of ``my_object``.

    Up to 8 bytes of the object's name, less where the section's name is longer than 7; none for
    a section with a second dot, such as ``.data.custom``. What the kernel takes for no name's
    byte becomes ``_``.
    """
    suffix = section.encode("utf-8", "surrogateescape")
    room = KERNEL_NAME_LENGTH - min(max(7, len(suffix)), KERNEL_NAME_LENGTH)
    prefix = b"" if b"." in suffix[1:] else object_name.encode("utf-8", "surrogateescape")[:room]
    allowed = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_."
    whole = (prefix + suffix)[:KERNEL_NAME_LENGTH]
    return bytes(byte if byte in allowed else 0x5F for byte in whole).decode("ascii")
