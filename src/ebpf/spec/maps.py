"""Maps."""

from __future__ import annotations

from enum import IntEnum

from ebpf.errors import CodecError
from ebpf.plain import dataclass, field, replace
from ebpf.spec.members import NONE, Checked, Members
from ebpf.spec.names import Shown, data_name, shortened
from ebpf.types import MapFlags, MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

    from ebpf.spec.members import Types


class Pinning(IntEnum):
    """``LIBBPF_PIN_*``: whether a map is kept in the BPF file system under its name."""

    NONE = 0
    BY_NAME = 1


@dataclass(frozen=True, repr=False)
class StructOps(Shown):
    """What a map of type STRUCT_OPS is made of.

    ``type_id`` is its struct in the object's BTF. ``programs`` are the function pointers that
    name a program: {member: key of CollectionSpec.programs}. With ``link`` the map is attached by
    a link (``.struct_ops.link``, Linux 6.4).
    """

    type_id: int
    programs: dict[str, str]
    link: bool


@dataclass(frozen=True, repr=False)
class Iproute2(Shown):
    """The fields that ``struct bpf_elf_map`` of iproute2 has behind those of libbpf.

    ``pinning``: 0 none, 1 PIN_OBJECT_NS, 2 PIN_GLOBAL_NS. ``inner_id`` is the id of the map that
    serves as a template; a map with an ``inner_index`` other than -1 goes into that slot of the
    map whose inner_id it is.
    """

    id: int
    pinning: int
    inner_id: int
    inner_index: int


@dataclass(repr=False)
class MapSpec(Checked, Shown):
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
    flags: MapFlags = MapFlags(0)
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

    _TYPES: ClassVar[Types] = {
        "name": (str,),
        "type": (MapType,),
        **dict.fromkeys(("key_size", "value_size", "max_entries", "map_extra"), (int,)),
        "numa_node": (int,),
        "flags": (MapFlags,),
        "pinning": (Pinning,),
        "pin_path": (str, NONE),
        "slots": (dict,),
        "contents": (bytearray, NONE),
        "autocreate": (bool,),
        "frozen": (bool,),
        "struct_ops": (StructOps, NONE),
        "extra": (bytes,),
    }

    @property
    def kernel_name(self) -> str:
        """What the kernel shows: up to 15 bytes, and libbpf's name for a map of global data."""
        return data_name(self.object_name, self.name) if self.data else shortened(self.name)

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
            if not any(data):
                return
            self.contents = bytearray(self.value_size)
        self.contents[offset : offset + len(data)] = data

    def _check(self, offset: int, size: int) -> None:
        end = self.value_size if self.contents is None else len(self.contents)
        if offset < 0 or size < 0 or offset + size > end:
            raise CodecError(
                f"map {self.name!r}: bytes {offset}..{offset + size} are outside of its {end}"
            )


# Here, as a class cannot name itself in its own body.
MapSpec._TYPES["inner"] = (MapSpec, NONE)


class MapSpecs(Members[MapSpec]):
    """``CollectionSpec.maps``."""

    __slots__ = ()

    what = "map"
    kind = MapSpec
    advice = "for a map that exists: spec.load(maps={{{name!r}: map}})"
