"""What all maps have in common: creating, opening, pinning, describing, closing."""

from __future__ import annotations

import errno
import os

from ebpf import pin
from ebpf._sys import Descriptor, bpf, facts, lib
from ebpf._sys.arguments import check_number
from ebpf._sys.call import fail
from ebpf.codec import Codec, codec
from ebpf.errors import ENOTSUPP, BpfError, BpfPermissionError, ClosedError, NotSupportedError
from ebpf.generic import Generic, overload
from ebpf.info import MapInfo
from ebpf.maps.creation import Definition
from ebpf.maps.missing import present
from ebpf.maps.objects import OF_SOCKETS, for_keys, for_values
from ebpf.maps.opening import fitting_codecs, map_info
from ebpf.types import MapFlags, MapType, OpenFlags, PinFlags, UpdateFlags, one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, NoReturn, TypeVar

    from typing_extensions import Self, Unpack

    from ebpf.maps.arena import ArenaMap
    from ebpf.maps.array import ArrayMap, DescriptorArray
    from ebpf.maps.creation import (
        Arena,
        Array,
        Bloom,
        Creation,
        Hash,
        Objects,
        Options,
        Queue,
        Stacks,
        Storage,
        Trie,
    )
    from ebpf.maps.hash import HashMap
    from ebpf.maps.queue import BloomFilterMap, QueueMap
    from ebpf.maps.stack import StackTraceMap
    from ebpf.maps.storage import StorageMap
    from ebpf.maps.trie import LpmTrieMap

    K = TypeVar("K")
    V = TypeVar("V")
    M = TypeVar("M")
    Formats = tuple[object, object]
else:
    K, V, M = "K", "V", "M"

# What kernels answer to an element flag that they do not know.
_UNKNOWN_FLAG = (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP)

# Maps of sockets say EOPNOTSUPP to a socket of a wrong kind or state (sock_map_sk_state_allowed).
_WRONG_SOCKET = (
    "it takes no socket of this kind or in this state; a TCP socket has to be connected or"
    " listening, a UDP socket bound"
)
# And ENOSPC to a lookup where values have no room for a socket's cookie.
_NO_COOKIE = (
    "a socket is read as its cookie, of 8 bytes, and the map's values have 4; make it with"
    ' value="Q" (in C: __type(value, __u64))'
)

# The words of /proc for what a descriptor is, where they are not ours.
_KINDS = {"prog": "program"}

# Filled by ebpf.maps with the class of each map type; what is not in it is a plain Map.
CLASS_OF: dict[MapType, type[Map[Any, Any]]] = {}


class Map(Descriptor, Generic[K, V]):
    """A BPF map. `create`, `open`, `from_id` and `from_fd` return the class for the map's
    behaviour (for a type checker Any where the type is not known before, so ``HashMap.open`` where
    you know it, or ``counts: HashMap[int, int] = ...``):

    HashMap, LpmTrieMap, ArrayMap, DescriptorArray, StackTraceMap, StorageMap, QueueMap,
    BloomFilterMap, ArenaMap; a type with no operations of its own (ring buffers, for one) is a
    plain Map.

    What is read is a copy of what the map holds. An object changed in place, ``m[1].packets = 9``
    or ``m[1][0] = 9``, changes that copy and nothing in the map: change it and write it back,
    ``value = m[1]; value.packets = 9; m[1] = value``. A dataclass with ``frozen=True`` refuses the
    mistake, as the records of BTF types do (``m[1] = dataclasses.replace(m[1], packets=9)``).

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
    #: Of a RINGBUF that an object declares with a value type: what its records are.
    record_codec: Codec[Any] | None = None

    # Of a map of maps that was created here: what its inner maps are like.
    _inner: str = ""

    def __init__(self, *arguments: object, **options: object) -> None:
        name = self.__class__.__name__
        raise TypeError(
            f"{name}(...) makes no map: {name}.create(...) does; one that exists comes from"
            f" {name}.open(path), {name}.from_id(id) or {name}.from_fd(fd)"
        )

    @classmethod
    def _owning(
        cls,
        fd: int,
        type: MapType,
        key: Codec[Any] | None,
        value: Codec[Any] | None,
        max_entries: int,
        name: str,
    ) -> Self:
        """The object for a map whose descriptor is then its own."""
        made = cls.__new__(cls)
        made.type = type
        made.name = name
        made.max_entries = max_entries
        made.key_codec = key
        made.value_codec = value
        made._prepare()
        Descriptor.__init__(made, fd)
        return made

    def _prepare(self) -> None:
        """What a class keeps beside; the codecs are there."""

    # For type checkers: the class depends on the type. On a subclass it is the subclass, see Made.
    @overload
    @classmethod
    def create(cls, type: Hash, **options: Unpack[Creation]) -> HashMap[Any, Any]: ...
    @overload
    @classmethod
    def create(cls, type: Trie, **options: Unpack[Creation]) -> LpmTrieMap[Any, Any]: ...
    @overload
    @classmethod
    def create(cls, type: Array, **options: Unpack[Creation]) -> ArrayMap[Any]: ...
    @overload
    @classmethod
    def create(cls, type: Objects, **options: Unpack[Creation]) -> DescriptorArray: ...
    @overload
    @classmethod
    def create(cls, type: Stacks, **options: Unpack[Creation]) -> StackTraceMap[Any]: ...
    @overload
    @classmethod
    def create(cls, type: Storage, **options: Unpack[Creation]) -> StorageMap[Any]: ...
    @overload
    @classmethod
    def create(cls, type: Queue, **options: Unpack[Creation]) -> QueueMap[Any]: ...
    @overload
    @classmethod
    def create(cls, type: Bloom, **options: Unpack[Creation]) -> BloomFilterMap[Any]: ...
    @overload
    @classmethod
    def create(cls, type: Arena, **options: Unpack[Creation]) -> ArenaMap: ...
    @overload
    @classmethod
    def create(cls, type: MapType | None = None, **options: Unpack[Creation]) -> Any: ...
    @classmethod
    def create(
        cls,
        type: MapType | None = None,
        *,
        key: object = None,
        value: object = None,
        **options: Unpack[Options],
    ) -> Any:
        """Create a map (BPF_MAP_CREATE).

        Args:
            type: the map type; may be left out where the class has an obvious one
                (``HashMap.create`` makes a HASH).
            key, value: codecs, or what `ebpf.codec.codec` makes one of: a struct format, a
                number of raw bytes, a dataclass, anything with pack and unpack. Arrays have "I"
                keys by themselves, and maps of kernel objects "I" values (of sockets "Q"); ring
                buffers, queues, stacks and bloom filters have no key, ring buffers no value. For
                per-CPU types the value of one CPU.
            max_entries: of a ring buffer the size in bytes, a power of two times the page size;
                of a PERF_EVENT_ARRAY by default one for every possible CPU.
            name: up to 15 characters of ``[A-Za-z0-9_.]``; bpftool shows it.
            flags: ``map_flags``. What the type can't do without is added: NO_PREALLOC for an
                LPM_TRIE, an RHASH and local storage, MMAPABLE for an ARENA.
            numa_node: allocate there (adds the flag NUMA_NODE).
            map_extra: of a bloom filter the number of hash functions (5.16).
            inner: a map like those that a map of maps is to hold.
            token: lets a process in a user namespace create the map (6.9); see `ebpf.Token`.
            exclusive: the digest (`asm.Assembly.digest`) of the only program that the verifier
                lets use the map (6.18).
            btf, btf_key_type_id, btf_value_type_id: BTF types of key and value, where the kernel
                has to know them (a bpf_spin_lock in the value). Without, dataclasses and the types
                of local storage are described by themselves where the kernel takes it: bpftool
                then prints the fields' names, and `open` decodes them.

        Raises:
            ValueError, TypeError: an argument that no kernel takes.
            NotSupportedError: the kernel does not know this map type or flag.
            BpfPermissionError: no CAP_BPF; the message lists the facts.
        """
        type = cls._creation_type(type)
        return Definition(class_of(cls, type), type, key, value, **options).create()

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
            raise ValueError(f"type: {cls.__name__} is one of {allowed}, not {type.name}")
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
        keys), or have the C types that the map's BTF says (structs are then records, see
        `ebpf.codec.from_btf`), or are raw bytes of the map's sizes.

        Raises:
            BpfFileNotFoundError: nothing is pinned there.
            BpfError: the path is on no bpffs, or another kind of object is pinned there.
            CodecError: a codec has another size than the map's keys or values.
            BpfPermissionError: to read the map's BTF takes CAP_SYS_ADMIN; not with `key` and
                `value`.
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
            info = map_info(fd)
        except BaseException:
            os.close(fd)
            raise
        return cls._described(fd, info, what, key, value)

    @classmethod
    def _described(cls, fd: int, info: MapInfo, what: str, key: object, value: object) -> Any:
        """A map that owns `fd`, of which `info` is known; `fd` is closed when that fails."""
        try:
            if cls.types and info.type not in cls.types:
                raise BpfError(
                    errno.EINVAL, f"open {what}: it is {one(info.type)} map, no {cls.__name__}"
                )
            found = class_of(cls, info.type)
            defaults = found._default_formats(info.flags, info.value_size)
            keys, values = fitting_codecs(info, what, (key, value), defaults)
            return found._owning(
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
        copy = self._owning(
            fd, self.type, self.key_codec, self.value_codec, self.max_entries, self.name
        )
        copy.record_codec = self.record_codec
        copy._inner = self._inner
        return copy

    def info(self) -> MapInfo:
        """What the kernel reports of the map (BPF_OBJ_GET_INFO_BY_FD, /proc fdinfo)."""
        return map_info(self.fileno())

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
        if result == -errno.EOPNOTSUPP and self.type in OF_SOCKETS:
            raise BpfError(errno.EOPNOTSUPP, f"{action} {self!r}: {_WRONG_SOCKET}")
        if result == -errno.ENOSPC and self._hides_sockets():
            raise BpfError(errno.ENOSPC, f"{action} {self!r}: {_NO_COOKIE}")
        if -result in _UNKNOWN_FLAG and flags:
            self._refuse_flags(-result, action, flags)
        fail(-result, f"{action} {self!r}")

    def _hides_sockets(self) -> bool:
        return (
            self.type in OF_SOCKETS and self.value_codec is not None and self.value_codec.size < 8
        )

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

    def __dir__(self) -> list[str]:
        return present(type(self), super().__dir__())

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

    def _repr_html_(self) -> str | None:
        """The first entries as a table, for notebooks; None where reading has no such meaning."""
        if self._fd < 0 or not hasattr(type(self), "items"):
            return None
        from ebpf.maps.html import table

        return table(self)


class Made(Generic[M]):
    """For type checkers: what creating or opening a map by a subclass of `Map` returns."""

    if TYPE_CHECKING:

        @classmethod
        def create(cls, type: MapType | None = None, **options: Unpack[Creation]) -> M: ...
        @classmethod
        def open(
            cls,
            path: str | os.PathLike[str],
            *,
            key: object = None,
            value: object = None,
            flags: PinFlags | int = 0,
        ) -> M: ...
        @classmethod
        def from_id(
            cls, id: int, *, key: object = None, value: object = None, flags: OpenFlags | int = 0
        ) -> M: ...
        @classmethod
        def from_fd(cls, fd: int, *, key: object = None, value: object = None) -> M: ...


def class_of(asked: type[Map[Any, Any]], map_type: MapType) -> type[Map[Any, Any]]:
    """The class for a map of this type: a subclass that a user derived is kept."""
    found = CLASS_OF.get(map_type, Map)
    return asked if issubclass(asked, found) else found


def _duplicate(fd: int) -> int:
    result = int(lib.ebpf_dup(fd))
    return result if result >= 0 else fail(-result, f"duplicate descriptor {fd}")
