"""What all maps have in common: creating, opening, pinning, describing, closing."""

from __future__ import annotations

import errno
import os

from ebpf import pin
from ebpf._sys import Descriptor, bpf, facts, lib
from ebpf._sys.arguments import check_number, check_numbers, check_objects
from ebpf._sys.call import fail
from ebpf.codec import Codec, codec
from ebpf.errors import (
    ENOTSUPP,
    BpfError,
    BpfPermissionError,
    ClosedError,
    CodecError,
    NotSupportedError,
)
from ebpf.generic import Generic
from ebpf.info import MapInfo
from ebpf.maps.limits import check_create, check_references, required_flags
from ebpf.maps.objects import for_keys, for_values
from ebpf.types import MapFlags, MapType, OpenFlags, PinFlags, UpdateFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, NoReturn, Protocol, TypeVar

    from typing_extensions import Self

    K = TypeVar("K")
    V = TypeVar("V")
    Formats = tuple[object, object]

    class HasFileno(Protocol):
        def fileno(self) -> int: ...
else:
    K, V = "K", "V"

# What kernels answer to an element flag that they do not know.
_UNKNOWN_FLAG = (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP)

# Maps of sockets say EOPNOTSUPP to a socket of a wrong kind or state (sock_map_sk_state_allowed).
_OF_SOCKETS = (MapType.SOCKMAP, MapType.SOCKHASH)
_WRONG_SOCKET = (
    "it takes no socket of this kind or in this state; a TCP socket has to be connected or"
    " listening, a UDP socket bound"
)

# The words of /proc for what a descriptor is, where they are not ours.
_KINDS = {"prog": "program"}

# Filled by ebpf.maps with the class of each map type; what is not in it is a plain Map.
CLASS_OF: dict[MapType, type[Map[Any, Any]]] = {}


class Map(Descriptor, Generic[K, V]):
    """A BPF map. `create`, `open`, `from_id` and `from_fd` return the class for the map's
    behaviour (for a type checker Any: annotate the variable, ``counts: HashMap[int, int]``):

    HashMap, LpmTrieMap, ArrayMap, DescriptorArray, StackTraceMap, StorageMap, QueueMap,
    BloomFilterMap; a type with no operations of its own (ring buffers, for one) is a plain Map.

    A map is always true, compares and hashes by identity, is a context manager, and warns
    (ResourceWarning) when it is collected while open. Operations on one map from several threads
    are safe.
    """

    #: The types that this class may be created with; empty for `Map` itself, which takes all.
    types: ClassVar[tuple[MapType, ...]] = ()
    #: What `create` makes when it is given no type; None where there is no obvious one.
    default_type: ClassVar[MapType | None] = None

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
        cls,
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
    ) -> Any:
        """Create a map (BPF_MAP_CREATE).

        Args:
            type: the map type; may be left out where the class has an obvious one
                (``HashMap.create`` makes a HASH).
            key, value: codecs, or what `ebpf.codec.codec` makes one of: a struct format, a
                number of raw bytes, a dataclass, anything with pack and unpack. Arrays have "I"
                keys by themselves; ring buffers, queues, stacks and bloom filters have no key,
                ring buffers no value. For per-CPU types the value of one CPU.
            max_entries: of a ring buffer the size in bytes, a power of two times the page size;
                of a PERF_EVENT_ARRAY by default the number of possible CPUs.
            name: up to 15 characters of ``[A-Za-z0-9_.]``; bpftool shows it.
            flags: ``map_flags``. What the type can't do without is added: NO_PREALLOC for an
                LPM_TRIE, an RHASH and local storage, MMAPABLE for an ARENA.
            numa_node: allocate there (adds the flag NUMA_NODE).
            map_extra: of a bloom filter the number of hash functions (5.16).
            inner: a map like those that a map of maps is to hold.
            btf, btf_key_type_id, btf_value_type_id: BTF types of key and value, where the kernel
                has to know them (a bpf_spin_lock in the value, local storage).

        Raises:
            ValueError, TypeError: an argument that no kernel takes.
            NotSupportedError: the kernel does not know this map type or flag.
            BpfPermissionError: no CAP_BPF; the message lists the facts.
        """
        type = cls._creation_type(type)
        flags = _creation_flags(type, flags, numa_node)
        found = class_of(cls, type)
        keys, values = found._formats(key, value, flags)
        if type == MapType.PERF_EVENT_ARRAY and not max_entries:
            max_entries = facts.possible_cpus()
        key_size = 0 if keys is None else keys.size
        value_size = 0 if values is None else values.size
        check_create(type, key_size, value_size, max_entries, name)
        check_objects(inner=inner, btf=btf)
        check_references(type, inner, btf)
        check_number("map_extra", map_extra, 64)
        check_numbers(32, btf_key_type_id=btf_key_type_id, btf_value_type_id=btf_value_type_id)
        fd = bpf.map_create(
            action=f"create a {type.name} map" + (f" named {name!r}" if name else ""),
            needs=max(filter(None, (type.since, flags.since)), default=None),
            map_type=type,
            key_size=key_size,
            value_size=value_size,
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
        return found(fd, type, for_keys(type, keys), for_values(type, values), max_entries, name)

    @classmethod
    def _creation_type(cls, type: MapType | None) -> MapType:
        allowed = ", ".join(t.name for t in cls.types) or "any MapType"
        if type is None:
            if cls.default_type is None:
                raise TypeError(f"type: {cls.__name__} needs one of {allowed}")
            return cls.default_type
        if not isinstance(type, MapType):
            raise TypeError(f"type: {type!r} is not an ebpf.MapType")
        if cls.types and type not in cls.types:
            raise ValueError(f"type: a {cls.__name__} is one of {allowed}, not {type.name}")
        return type

    @classmethod
    def _formats(
        cls, key: object, value: object, flags: MapFlags
    ) -> tuple[Codec[Any] | None, Codec[Any] | None]:
        """The codecs for a new map, of what was given and what the class supplies."""
        default_key, default_value = cls._default_formats(flags, None)
        key = default_key if key is None else key
        value = default_value if value is None else value
        return (
            None if key is None else codec(key),
            None if value is None else codec(value),
        )

    @classmethod
    def _default_formats(cls, flags: MapFlags, value_size: int | None) -> Formats:
        """The formats of key and value where the class decides them.

        `value_size` is None for a map that is yet to be created.
        """
        return None, None

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        key: object = None,
        value: object = None,
        flags: PinFlags | int = 0,
    ) -> Any:
        """Open the map pinned at `path` (BPF_OBJ_GET).

        Without `key` and `value`, keys and values are what the type decides (an array's "I"
        keys), or raw bytes of the map's sizes.

        Raises:
            BpfFileNotFoundError: nothing is pinned there.
            BpfError: the path is on no bpffs, or another kind of object is pinned there.
            CodecError: a codec has another size than the map's keys or values.
        """
        check_number("flags", flags, 32)
        fd = pin.open_pinned(path, "map", int(flags))
        return cls._adopt(fd, f"map pinned at {os.fspath(path)}", key, value)

    @classmethod
    def from_id(
        cls,
        id: int,
        *,
        key: object = None,
        value: object = None,
        flags: OpenFlags | int = 0,
    ) -> Any:
        """Open the map with the kernel's id `id` (BPF_MAP_GET_FD_BY_ID); otherwise as `open`.

        Raises:
            BpfFileNotFoundError: no map has this id.
        """
        check_number("id", id, 32)
        check_number("flags", flags, 32)
        fd = bpf.map_get_fd_by_id(id, int(flags), action=f"open the map with id {id}")
        return cls._adopt(fd, f"map with id {id}", key, value)

    @classmethod
    def from_fd(cls, fd: int, *, key: object = None, value: object = None) -> Any:
        """A map for a duplicate of the descriptor `fd`, which stays the caller's."""
        return cls._adopt(_duplicate(fd), f"descriptor {fd}", key, value)

    @classmethod
    def _adopt(cls, fd: int, what: str, key: object, value: object) -> Any:
        """A map that owns `fd`; `fd` is closed when that fails."""
        try:
            kind = pin.kind_of(fd)
            if kind != "map":
                kind = _KINDS.get(kind, kind)
                raise BpfError(errno.EINVAL, f"open {what}: it is a {kind}, not a map")
            info = _info(fd)
            if cls.types and info.type not in cls.types:
                raise BpfError(
                    errno.EINVAL, f"open {what}: it is a {info.type.name} map, no {cls.__name__}"
                )
            found = class_of(cls, info.type)
            defaults = found._default_formats(info.flags, info.value_size)
            keys = _fitting(key, defaults[0], info.key_size, f"key of the {what}")
            values = _fitting(value, defaults[1], info.value_size, f"value of the {what}")
            return found(
                fd,
                info.type,
                for_keys(info.type, keys),
                for_values(info.type, values),
                info.max_entries,
                info.name,
            )
        except BaseException:
            os.close(fd)
            raise

    def duplicate(self) -> Self:
        """Another object for the same map, with a descriptor of its own."""
        fd = _duplicate(self.fileno())
        return self.__class__(
            fd, self.type, self.key_codec, self.value_codec, self.max_entries, self.name
        )

    def info(self) -> MapInfo:
        """What the kernel reports of the map (BPF_OBJ_GET_INFO_BY_FD, /proc fdinfo)."""
        return _info(self.fileno())

    def freeze(self) -> None:
        """Forbid writes from user space, for good (BPF_MAP_FREEZE).

        Raises:
            BpfError: it is frozen already, or mapped into memory for writing (EBUSY).
        """
        try:
            bpf.map_freeze(self.fileno())
        except BpfError as error:
            if error.errno == errno.EBUSY:
                cause = "is frozen already" if self.info().frozen else "is mapped for writing"
                raise BpfError(errno.EBUSY, f"freeze {self!r}: the map {cause}") from None
            self._fail(-(error.errno or 0), "freeze")

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

    def _fail(self, result: int, action: str, flags: UpdateFlags | int = 0) -> NoReturn:
        """Raise what a map operation's -errno stands for; `flags` are those of the operation."""
        if self._fd < 0:
            raise ClosedError(f"{action} {self!r}: the map is closed")
        if result == -errno.EPERM:
            self._refuse_access(action)
        if result == -errno.EOPNOTSUPP and self.type in _OF_SOCKETS:
            raise BpfError(errno.EOPNOTSUPP, f"{action} {self!r}: {_WRONG_SOCKET}")
        if -result in _UNKNOWN_FLAG and flags:
            self._refuse_flags(-result, action, flags)
        fail(-result, f"{action} {self!r}")

    def _refuse_access(self, action: str) -> None:
        """Explain an EPERM that the map itself is the cause of, not this process's rights."""
        # Imported here: only this takes it.
        import fcntl

        access = fcntl.fcntl(self._fd, fcntl.F_GETFL) & os.O_ACCMODE
        causes = []
        if access != os.O_RDWR:
            mode = "read-only" if access == os.O_RDONLY else "write-only"
            causes.append(f"the map was created or opened {mode}")
        if facts.is_frozen(self._fd):
            causes.append("the map is frozen")
        if causes:
            raise BpfPermissionError(errno.EPERM, f"{action} {self!r}: {', and '.join(causes)}")

    def _refuse_flags(self, code: int, action: str, flags: UpdateFlags | int) -> None:
        # Above 32 bits the flags hold a CPU's number.
        named = UpdateFlags(flags & 0xFFFFFFFF)
        if named.since is not None and named.since > facts.kernel_version():
            raise NotSupportedError(f"{action} {self!r} with the flags {named}", named.since, code)
        if named & UpdateFlags.LOCK:
            raise BpfError(
                code,
                f"{action} {self!r} with the flag LOCK: it needs a value that has a"
                " struct bpf_spin_lock, known to the kernel by BTF",
            )

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


def class_of(asked: type[Map[Any, Any]], map_type: MapType) -> type[Map[Any, Any]]:
    """The class for a map of this type: a subclass that a user derived is kept."""
    found = CLASS_OF.get(map_type, Map)
    return asked if issubclass(asked, found) else found


def _creation_flags(type: MapType, flags: MapFlags | int, numa_node: int | None) -> MapFlags:
    check_number("flags", flags, 32)
    flags = MapFlags(flags) | required_flags(type)
    if numa_node is not None:
        check_number("numa_node", numa_node, 32)
        flags |= MapFlags.NUMA_NODE
    return flags


def _duplicate(fd: int) -> int:
    result = int(lib.ebpf_dup(fd))
    return result if result >= 0 else fail(-result, f"duplicate descriptor {fd}")


def _fitting(given: object, default: object, size: int, what: str) -> Codec[Any] | None:
    """The codec for `size` bytes: what was given must fit, the default is used if it does."""
    if given is not None:
        made: Codec[Any] = codec(given)
        if made.size != size:
            raise CodecError(f"{what} has {size} bytes, but {made!r} takes {made.size}")
        return made
    if size == 0:
        return None
    if default is not None and codec(default).size == size:
        return codec(default)
    return codec(size)


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
