"""What no kernel takes of a map's definition, said before the system call.

The kernel answers EINVAL to all of it, without a word.
"""

from __future__ import annotations

import mmap

from ebpf._sys.arguments import check_number
from ebpf.types import MapFlags, MapType, one

# include/uapi/linux/bpf.h BPF_OBJ_NAME_LEN, without the NUL.
NAME_LENGTH = 15
_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.")

_KEYLESS = frozenset({MapType.QUEUE, MapType.STACK, MapType.BLOOM_FILTER})
_RINGS = frozenset({MapType.RINGBUF, MapType.USER_RINGBUF})
STORAGES = frozenset(
    {MapType.SK_STORAGE, MapType.INODE_STORAGE, MapType.TASK_STORAGE, MapType.CGRP_STORAGE}
)
_OF_MAPS = frozenset({MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})
# Types whose number of entries is not the user's to say.
_UNSIZED = STORAGES | {MapType.CGROUP_STORAGE, MapType.PERCPU_CGROUP_STORAGE}

# Types that are reached by a u32: an index, an id, a descriptor.
_U32_KEYS = STORAGES | {
    MapType.ARRAY,
    MapType.PERCPU_ARRAY,
    MapType.PROG_ARRAY,
    MapType.PERF_EVENT_ARRAY,
    MapType.CGROUP_ARRAY,
    MapType.ARRAY_OF_MAPS,
    MapType.STACK_TRACE,
    MapType.DEVMAP,
    MapType.DEVMAP_HASH,
    MapType.CPUMAP,
    MapType.XSKMAP,
    MapType.SOCKMAP,
    MapType.REUSEPORT_SOCKARRAY,
    MapType.INSN_ARRAY,
}

# A u32 prefix length, then 1 to 256 bytes: kernel/bpf/lpm_trie.c.
_LPM_KEY = range(5, 4 + 256 + 1)

# Types whose values are descriptors and nothing else.
_DESCRIPTORS = _OF_MAPS | {
    MapType.PROG_ARRAY,
    MapType.PERF_EVENT_ARRAY,
    MapType.CGROUP_ARRAY,
    MapType.XSKMAP,
}

# Flags without which the kernel takes no map of the type, so there is nothing to choose.
_REQUIRED_FLAGS = {
    MapType.LPM_TRIE: MapFlags.NO_PREALLOC,
    MapType.RHASH: MapFlags.NO_PREALLOC,
    MapType.ARENA: MapFlags.MMAPABLE,
    **dict.fromkeys(STORAGES, MapFlags.NO_PREALLOC),
}


def required_flags(type: MapType) -> MapFlags:
    """The flags that every map of this type has."""
    return _REQUIRED_FLAGS.get(type, MapFlags(0))


def check_name(name: str) -> None:
    """Refuse an object name that the kernel would not take (bpf_obj_name_cpy)."""
    if not isinstance(name, str):
        raise TypeError(f"name: {name!r} is not a str")
    if len(name) > NAME_LENGTH:
        raise ValueError(
            f"name: {name!r} has {len(name)} characters; the kernel takes {NAME_LENGTH}"
        )
    if not set(name) <= _NAME_CHARACTERS:
        raise ValueError(f"name: {name!r} may only have letters, digits, '_' and '.'")


def check_create(
    type: MapType, key_size: int, value_size: int, max_entries: int, name: str
) -> None:
    """Refuse a definition that no kernel would take; a size is 0 where there is no codec."""
    check_name(name)
    check_shape(type, key_size, value_size, max_entries)


def check_shape(type: MapType, key_size: int, value_size: int, max_entries: int) -> None:
    """Refuse sizes that no kernel would take; 0 stands for no keys or values."""
    if type.since is None or type == MapType.UNSPEC:
        raise ValueError(f"type: {type.name} is not a map type that this library knows")
    if type in _RINGS:
        _check_ring(type, key_size, value_size, max_entries)
        return
    _check_max_entries(type, max_entries)
    if type == MapType.ARENA:
        if key_size or value_size:
            raise ValueError("key, value: an ARENA map has neither; max_entries is in pages")
        return
    _check_key(type, key_size)
    if not value_size:
        raise ValueError(f"value: {one(type)} map needs one of 1 byte or more")
    if type in _DESCRIPTORS and value_size != 4:
        raise ValueError(f"value: of {value_size} bytes, but {one(type)} map has u32 values of 4")


def check_flags(type: MapType, flags: int) -> None:
    """Refuse flags without those that every map of this type has."""
    missing = required_flags(type) & ~flags
    if missing:
        raise ValueError(f"flags: {one(type)} map needs BPF_F_{missing.name}")


def check_references(type: MapType, inner: object) -> None:
    """Refuse a map without the object that the kernel wants for this type."""
    if type in _OF_MAPS and inner is None:
        raise ValueError(f"inner: {type.name} takes a map like those that it is to hold")


def _check_max_entries(type: MapType, max_entries: int) -> None:
    check_number("max_entries", max_entries, 32)
    if type in _UNSIZED and max_entries:
        raise ValueError(f"max_entries: {max_entries}, but {one(type)} map grows; leave it out")
    if type not in _UNSIZED and not max_entries:
        raise ValueError(f"max_entries: {one(type)} map needs at least 1")


def _check_key(type: MapType, size: int) -> None:
    if type in _KEYLESS:
        if size:
            raise ValueError(f"key: {one(type)} map has no keys")
        return
    if not size:
        raise ValueError(f"key: {one(type)} map needs one of 1 byte or more")
    if type in _U32_KEYS and size != 4:
        raise ValueError(f"key: of {size} bytes, but {one(type)} map has u32 keys of 4")
    if type == MapType.LPM_TRIE and size not in _LPM_KEY:
        raise ValueError(
            f"key: of {size} bytes, but an LPM_TRIE has keys of {_LPM_KEY[0]} to {_LPM_KEY[-1]}:"
            " a u32 prefix length in bits, then the data in network byte order"
        )


def _check_ring(type: MapType, key_size: int, value_size: int, max_entries: int) -> None:
    if key_size or value_size:
        raise ValueError(f"key, value: {one(type)} map has neither")
    check_number("max_entries", max_entries, 32)
    page = mmap.PAGESIZE
    if max_entries < page or max_entries & (max_entries - 1):
        fit = max(page, 1 << (max(max_entries, 1) - 1).bit_length())
        raise ValueError(
            f"max_entries: {max_entries} bytes is no size for {one(type)}; it takes a power of"
            f" two, {page} or more and below 4 GiB: {min(fit, 1 << 31)} would do"
        )
