"""What all maps have in common: creating, opening, pinning, describing, closing."""

from __future__ import annotations

import errno
import os

from ebpf import pin
from ebpf._sys import Descriptor, bpf, facts, lib
from ebpf._sys.call import fail
from ebpf.codec import Codec, PerCpu, codec
from ebpf.errors import BpfError, ClosedError, CodecError
from ebpf.generic import Generic
from ebpf.info import MapInfo
from ebpf.maps.limits import check_create
from ebpf.types import MapFlags, MapType, OpenFlags, PinFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, NoReturn, Protocol, TypeVar

    K = TypeVar("K")
    V = TypeVar("V")
    Self = TypeVar("Self", bound="Map[Any, Any]")

    class HasFileno(Protocol):
        def fileno(self) -> int: ...
else:
    K, V = "K", "V"

PER_CPU = frozenset(
    {
        MapType.PERCPU_HASH,
        MapType.PERCPU_ARRAY,
        MapType.LRU_PERCPU_HASH,
        MapType.PERCPU_CGROUP_STORAGE,
    }
)

# Filled by ebpf.maps with the class of each map type; what is not in it is a plain Map.
CLASS_OF: dict[MapType, type[Map[Any, Any]]] = {}


class Map(Descriptor, Generic[K, V]):
    """A BPF map. `create`, `open` and `from_id` return the class for the map's behaviour:

    HashMap, ArrayMap, DescriptorArray, StackTraceMap, QueueMap, BloomFilterMap; a type with no
    operations of its own (ring buffers, for one) is a plain Map.

    A map is always true, compares and hashes by identity, is a context manager, and warns
    (ResourceWarning) when it is collected while open. Operations on one map from several threads
    are safe: they share no buffers.
    """

    #: The types that this class may be created with; empty for `Map` itself, which takes all.
    types: ClassVar[tuple[MapType, ...]] = ()

    type: MapType
    name: str
    max_entries: int
    key_codec: Codec[K] | None
    value_codec: Codec[V] | None

    def __init__(
        self,
        fd: int,
        type: MapType,
        key: Codec[K] | None,
        value: Codec[V] | None,
        max_entries: int,
        name: str,
    ) -> None:
        super().__init__(fd)
        self.type = type
        self.name = name
        self.max_entries = max_entries
        self.key_codec = key
        self.value_codec = value

    @classmethod
    def create(
        cls: type[Self],
        type: MapType | None = None,
        *,
        key: object = None,
        value: object = None,
        max_entries: int = 0,
        name: str = "",
        flags: MapFlags | int = 0,
        numa_node: int | None = None,
        map_extra: int = 0,
        inner: HasFileno | None = None,
        btf: HasFileno | None = None,
        btf_key_type_id: int = 0,
        btf_value_type_id: int = 0,
    ) -> Self:
        """Create a map (BPF_MAP_CREATE).

        Args:
            type: the map type; may be left out where the class has just one.
            key, value: codecs, or what `ebpf.codec` makes one of: a struct format, a number of
                raw bytes, a dataclass, anything with pack and unpack. Arrays have "I" keys by
                themselves; ring buffers, queues, stacks and bloom filters have no key, ring
                buffers no value. For per-CPU types the value of one CPU.
            max_entries: of a ring buffer the size in bytes, a power of two times the page size.
            name: up to 15 characters of ``[A-Za-z0-9_.]``; bpftool shows it.
            flags: ``map_flags``.
            numa_node: allocate there (adds the flag NUMA_NODE).
            map_extra: of a bloom filter the number of hash functions (5.16).
            inner: a map like those that a map of maps is to hold.
            btf, btf_key_type_id, btf_value_type_id: BTF types of key and value.

        Raises:
            ValueError, TypeError: an argument that no kernel takes.
            NotSupportedError: the kernel does not know this map type or flag.
            BpfPermissionError: no CAP_BPF; the message lists the facts.
        """
        type = cls._creation_type(type)
        keys, values = cls._codecs(type, key, value)
        check_create(type, keys and keys.size, values and values.size, max_entries, name)
        flags = MapFlags(flags) | (0 if numa_node is None else MapFlags.NUMA_NODE)
        fd = bpf.map_create(
            action=f"create a {type.name} map" + (f" named {name!r}" if name else ""),
            needs=max(filter(None, (type.since, flags.since)), default=None),
            map_type=type,
            key_size=keys.size if keys else 0,
            value_size=values.size if values else 0,
            max_entries=max_entries,
            map_flags=flags,
            inner_map_fd=inner.fileno() if inner is not None else 0,
            numa_node=numa_node or 0,
            map_name=name.encode("ascii"),
            btf_fd=btf.fileno() if btf is not None else 0,
            btf_key_type_id=btf_key_type_id,
            btf_value_type_id=btf_value_type_id,
            map_extra=map_extra,
        )
        return cls._of_type(type)(fd, type, keys, _per_cpu(type, values), max_entries, name)

    @classmethod
    def _creation_type(cls, type: MapType | None) -> MapType:
        if type is None:
            if len(cls.types) != 1:
                allowed = ", ".join(t.name for t in cls.types) or "any MapType"
                raise TypeError(f"type: {cls.__name__} needs one of {allowed}")
            return cls.types[0]
        if not isinstance(type, MapType):
            raise TypeError(f"type: {type!r} is not an ebpf.MapType")
        if cls.types and type not in cls.types:
            allowed = ", ".join(t.name for t in cls.types)
            raise ValueError(f"type: a {cls.__name__} is one of {allowed}, not {type.name}")
        return type

    @classmethod
    def _of_type(cls: type[Self], type: MapType) -> type[Self]:
        found: Any = CLASS_OF.get(type, Map)
        # A subclass that a user derived is kept.
        return cls if issubclass(cls, found) else found

    @classmethod
    def _codecs(
        cls, type: MapType, key: object, value: object
    ) -> tuple[Codec[Any] | None, Codec[Any] | None]:
        defaults = CLASS_OF.get(type, Map)._default_formats(type)
        key = defaults[0] if key is None else key
        value = defaults[1] if value is None else value
        return (
            None if key is None else codec(key),
            None if value is None else codec(value),
        )

    @classmethod
    def _default_formats(cls, type: MapType) -> tuple[str | None, str | None]:
        """The formats of key and value where the type decides them."""
        return None, None

    @classmethod
    def open(
        cls: type[Self],
        path: str | os.PathLike[str],
        *,
        key: object = None,
        value: object = None,
        flags: PinFlags | int = 0,
    ) -> Self:
        """Open the map pinned at `path` (BPF_OBJ_GET).

        Without `key` and `value`, keys and values are raw bytes of the map's sizes.

        Raises:
            BpfFileNotFoundError: nothing is pinned there.
            BpfError: the path is on no bpffs, or another kind of object is pinned there.
            CodecError: a codec has another size than the map's keys or values.
        """
        fd = pin.open_pinned(path, "map", int(flags))
        return cls._adopt(fd, f"map pinned at {os.fspath(path)}", key, value)

    @classmethod
    def from_id(
        cls: type[Self],
        id: int,
        *,
        key: object = None,
        value: object = None,
        flags: OpenFlags | int = 0,
    ) -> Self:
        """Open the map with the kernel's id `id` (BPF_MAP_GET_FD_BY_ID).

        Raises:
            BpfFileNotFoundError: no map has this id.
        """
        fd = bpf.map_get_fd_by_id(id, int(flags), action=f"open the map with id {id}")
        return cls._adopt(fd, f"map with id {id}", key, value)

    @classmethod
    def from_fd(cls: type[Self], fd: int, *, key: object = None, value: object = None) -> Self:
        """A map for a duplicate of the descriptor `fd`, which stays the caller's."""
        return cls._adopt(_duplicate(fd), f"descriptor {fd}", key, value)

    @classmethod
    def _adopt(cls: type[Self], fd: int, what: str, key: object, value: object) -> Self:
        """A map that owns `fd`; `fd` is closed when that fails."""
        try:
            kind = pin.kind_of(fd)
            if kind != "map":
                raise BpfError(errno.EINVAL, f"open {what}: it is a {kind}, not a map")
            info = _info(fd)
            if cls.types and info.type not in cls.types:
                raise BpfError(
                    errno.EINVAL, f"open {what}: it is a {info.type.name} map, no {cls.__name__}"
                )
            keys, values = cls._codecs(info.type, key, value)
            keys = _fitting(keys, info.key_size, f"key of the {what}")
            values = _fitting(values, info.value_size, f"value of the {what}")
            values = _per_cpu(info.type, values)
            return cls._of_type(info.type)(
                fd, info.type, keys, values, info.max_entries, info.name
            )
        except BaseException:
            os.close(fd)
            raise

    def duplicate(self: Self) -> Self:
        """Another object for the same map, with a descriptor of its own."""
        fd = _duplicate(self.fileno())
        return self.__class__(
            fd, self.type, self.key_codec, self.value_codec, self.max_entries, self.name
        )

    def info(self) -> MapInfo:
        """What the kernel reports of the map (BPF_OBJ_GET_INFO_BY_FD, /proc fdinfo)."""
        return _info(self.fileno())

    def freeze(self) -> None:
        """Forbid writes from user space, for good (BPF_MAP_FREEZE)."""
        bpf.map_freeze(self.fileno(), action=f"freeze {self!r}")

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Pin the map at `path` on a bpffs: it then outlives this process.

        Raises:
            BpfFileExistsError: `path` exists.
            BpfFileNotFoundError: the directory does not exist.
            BpfError: the directory is on no bpffs; the message has the mount command.
        """
        pin.pin(self.fileno(), path, repr(self))

    @staticmethod
    def unpin(path: str | os.PathLike[str]) -> None:
        """Remove the name `path` from the bpffs; see `ebpf.unpin`."""
        pin.unpin(path)

    def _fail(self, result: int, action: str) -> NoReturn:
        """Raise what a map operation's -errno stands for."""
        if self._fd < 0:
            raise ClosedError(f"{action} {self!r}: the map is closed")
        fail(-result, f"{action} {self!r}")

    def __bool__(self) -> bool:
        # Without this an empty map would be false, and `if m:` would mean "has entries".
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        state = "closed" if self._fd < 0 else f"fd={self._fd}"
        name = f" {self.name!r}" if self.name else ""
        return f"<ebpf.{type(self).__name__}{name} {self.type.name} {state}>"


def _duplicate(fd: int) -> int:
    result = int(lib.ebpf_dup(fd))
    return result if result >= 0 else fail(-result, f"duplicate descriptor {fd}")


def _fitting(given: Codec[Any] | None, size: int, what: str) -> Codec[Any] | None:
    """The codec to use for `size` bytes: the given one if it fits, raw bytes without one."""
    if size == 0:
        return None
    if given is None:
        return codec(size)
    if given.size != size:
        raise CodecError(f"{what} has {size} bytes, but {given!r} takes {given.size}")
    return given


def _per_cpu(type: MapType, value: Codec[Any] | None) -> Codec[Any] | None:
    return PerCpu(value, facts.possible_cpus()) if value and type in PER_CPU else value


def _info(fd: int) -> MapInfo:
    raw = bpf.obj_get_info_by_fd(fd, "map")
    fdinfo = facts.fdinfo(fd)
    return MapInfo(
        type=MapType(raw["type"]),
        id=raw["id"],
        name=raw["name"].decode("ascii", "replace"),
        key_size=raw["key_size"],
        value_size=raw["value_size"],
        max_entries=raw["max_entries"],
        flags=MapFlags(raw["map_flags"]),
        ifindex=raw["ifindex"],
        btf_id=raw["btf_id"],
        btf_key_type_id=raw["btf_key_type_id"],
        btf_value_type_id=raw["btf_value_type_id"],
        map_extra=raw["map_extra"],
        frozen=fdinfo.get("frozen") == "1",
        memlock=int(fdinfo["memlock"]),
    )
