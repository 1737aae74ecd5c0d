"""The kernel's part of creating a map: MAP_CREATE, with BTF for its keys and values."""

from __future__ import annotations

import os

from ebpf._sys import bpf, facts, ffi
from ebpf._sys.arguments import check_number, check_numbers, check_objects
from ebpf._sys.call import address
from ebpf.codec import Codec
from ebpf.codec.structs import is_record
from ebpf.maps.limits import STORAGES, check_create, check_references, required_flags
from ebpf.maps.objects import for_keys, for_values, likeness, value_format
from ebpf.token import used
from ebpf.types import MapFlags, MapType, one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, Protocol, TypeAlias, TypedDict

    from ebpf.maps.base import Map
    from ebpf.token import Token

    class HasFileno(Protocol):
        def fileno(self) -> int: ...

    class Options(TypedDict, total=False):
        """What `Map.create` takes beside the type, key and value."""

        max_entries: int
        name: str
        flags: MapFlags | int
        numa_node: int | None
        map_extra: int
        inner: HasFileno | None
        exclusive: bytes | None
        token: Token | None
        btf: HasFileno | None
        btf_key_type_id: int
        btf_value_type_id: int

    class Creation(Options, total=False):
        """What `Map.create` takes beside the type."""

        key: object
        value: object

    _T = MapType
    Hash: TypeAlias = Literal[
        _T.HASH,
        _T.LRU_HASH,
        _T.PERCPU_HASH,
        _T.LRU_PERCPU_HASH,
        _T.HASH_OF_MAPS,
        _T.DEVMAP_HASH,
        _T.SOCKHASH,
        _T.RHASH,
    ]
    Trie: TypeAlias = Literal[_T.LPM_TRIE]
    Array: TypeAlias = Literal[_T.ARRAY, _T.PERCPU_ARRAY, _T.INSN_ARRAY]
    Objects: TypeAlias = Literal[
        _T.PROG_ARRAY,
        _T.PERF_EVENT_ARRAY,
        _T.CGROUP_ARRAY,
        _T.ARRAY_OF_MAPS,
        _T.DEVMAP,
        _T.CPUMAP,
        _T.XSKMAP,
        _T.SOCKMAP,
        _T.REUSEPORT_SOCKARRAY,
    ]
    Stacks: TypeAlias = Literal[_T.STACK_TRACE]
    Storage: TypeAlias = Literal[_T.SK_STORAGE, _T.INODE_STORAGE, _T.TASK_STORAGE, _T.CGRP_STORAGE]
    Queue: TypeAlias = Literal[_T.QUEUE, _T.STACK]
    Arena: TypeAlias = Literal[_T.ARENA]
    Bloom: TypeAlias = Literal[_T.BLOOM_FILTER]

# Of a SHA-256, in bytes.
_DIGEST_SIZE = 32


class Definition:
    """What a map of the class `found` is to be like: checked, then created."""

    def __init__(
        self,
        found: type[Map[Any, Any]],
        type: MapType,
        key: object,
        value: object,
        *,
        max_entries: int = 0,
        name: str = "",
        flags: MapFlags | int = 0,
        numa_node: int | None = None,
        map_extra: int = 0,
        inner: HasFileno | None = None,
        exclusive: bytes | None = None,
        token: Token | None = None,
        btf: HasFileno | None = None,
        btf_key_type_id: int = 0,
        btf_value_type_id: int = 0,
        **unknown: object,
    ) -> None:
        if unknown:
            there = ", ".join(Definition.__init__.__kwdefaults__ or ())
            raise TypeError(f"{min(unknown)}: a map has no such option; it has {there}")
        if type == MapType.PERF_EVENT_ARRAY and not max_entries:
            # By the CPU's number; where numbers have holes that is more than there are CPUs.
            max_entries = facts.possible_cpu_numbers()[-1] + 1
        self.found, self.type, self.max_entries, self.name = found, type, max_entries, name
        self.flags = _creation_flags(type, flags, numa_node)
        value = value_format(type) if value is None else value
        self.key, self.value = found._formats(key, value, self.flags)
        self._check(inner, btf)
        self._inner, self._token = inner, used(token)
        check_number("map_extra", map_extra, 64)
        check_numbers(32, btf_key_type_id=btf_key_type_id, btf_value_type_id=btf_value_type_id)
        self._described_by_caller = btf is not None
        self._fields: dict[str, Any] = {
            "map_type": type,
            "key_size": _size(self.key),
            "value_size": _size(self.value),
            "max_entries": max_entries,
            "map_flags": self.flags,
            "inner_map_fd": inner.fileno() if inner is not None else 0,
            "numa_node": numa_node or 0,
            "map_name": name.encode("ascii"),
            "btf_fd": btf.fileno() if btf is not None else 0,
            "btf_key_type_id": btf_key_type_id,
            "btf_value_type_id": btf_value_type_id,
            "map_extra": map_extra,
            **self._exclusive_fields(exclusive),
        }

    def _exclusive_fields(self, digest: bytes | None) -> dict[str, int]:
        """The fields that say which program alone may use the map."""
        if digest is None:
            return {}
        if not isinstance(digest, bytes):
            raise TypeError(f"exclusive: {digest!r} is not bytes; Assembly.digest() has them")
        if len(digest) != _DIGEST_SIZE:
            raise ValueError(f"exclusive: {len(digest)} bytes are no SHA-256, which has 32")
        # Kept for as long as the kernel may read it.
        self._digest = ffi.from_buffer(digest)
        return {"excl_prog_hash": address(self._digest), "excl_prog_hash_size": _DIGEST_SIZE}

    def _check(self, inner: HasFileno | None, btf: HasFileno | None) -> None:
        sizes = _size(self.key), _size(self.value)
        check_create(self.type, *sizes, self.max_entries, self.name)
        check_objects(inner=inner, btf=btf)
        check_references(self.type, inner)

    def create(self) -> Map[Any, Any]:
        """The new map."""
        with self._token:
            fd = self._described() or self._plain()
        made = self.found._owning(
            fd,
            self.type,
            for_keys(self.type, self.key),
            for_values(self.type, self.value),
            self.max_entries,
            self.name,
        )
        try:
            if self._inner is not None:
                made._inner = likeness(self._inner)
        except BaseException:
            made.close()
            raise
        return made

    def _plain(self) -> int:
        """The descriptor of a map with what BTF the caller gave."""
        named = f" named {self.name!r}" if self.name else ""
        needs = max(filter(None, (self.type.since, self.flags.since)), default=None)
        return bpf.map_create(f"create {one(self.type)} map{named}", needs, **self._fields)

    def _described(self) -> int | None:
        """The descriptor of a map with BTF for its codecs.

        None where there is nothing to tell (no fields with names), and where the kernel takes no
        BTF: it is too old for one of the C types, or has none for this map type. A refusal for
        another reason comes again without.
        """
        if self._described_by_caller or not (
            self.type in STORAGES or is_record(self.key) or is_record(self.value)
        ):
            return None
        from ebpf.codec.to_btf import btf_of

        data, key_id, value_id = btf_of(self.key, self.value)
        btf_fd, _ = bpf.btf_load(data)
        if btf_fd < 0:
            return None
        try:
            ids = {"btf_fd": btf_fd, "btf_key_type_id": key_id, "btf_value_type_id": value_id}
            result = bpf.map_create_unchecked(**{**self._fields, **ids})
        finally:
            os.close(btf_fd)
        return result if result >= 0 else None


def _size(codec: Codec[Any] | None) -> int:
    return 0 if codec is None else codec.size


def _creation_flags(type: MapType, flags: MapFlags | int, numa_node: int | None) -> MapFlags:
    check_number("flags", flags, 32)
    flags = MapFlags(flags) | required_flags(type)
    if numa_node is not None:
        check_number("numa_node", numa_node, 32)
        flags |= MapFlags.NUMA_NODE
    return flags
