"""What no kernel takes of a map's definition, said before the system call.

The kernel answers EINVAL to all of it, without a word.
"""

from __future__ import annotations

import mmap
import re

from ebpf.types import MapType

# include/uapi/linux/bpf.h BPF_OBJ_NAME_LEN, with the NUL.
NAME_LENGTH = 15

_KEYLESS = {MapType.QUEUE, MapType.STACK, MapType.BLOOM_FILTER}
_RINGS = {MapType.RINGBUF, MapType.USER_RINGBUF}
# Types whose number of entries is not the user's to say.
_UNSIZED = {
    MapType.CGROUP_STORAGE,
    MapType.PERCPU_CGROUP_STORAGE,
    MapType.SK_STORAGE,
    MapType.INODE_STORAGE,
    MapType.TASK_STORAGE,
    MapType.CGRP_STORAGE,
    # 0 means one per possible CPU
    MapType.PERF_EVENT_ARRAY,
}


def check_name(name: str) -> None:
    """Refuse an object name that the kernel would not take (bpf_obj_name_cpy)."""
    if not isinstance(name, str):
        raise TypeError(f"name: {name!r} is not a str")
    if len(name) > NAME_LENGTH:
        raise ValueError(
            f"name: {name!r} has {len(name)} characters; the kernel takes {NAME_LENGTH}"
        )
    if not re.fullmatch(r"[A-Za-z0-9_.]*", name):
        raise ValueError(f"name: {name!r} may only have letters, digits, '_' and '.'")


def check_create(
    type: MapType, key_size: int | None, value_size: int | None, max_entries: int, name: str
) -> None:
    """Refuse a definition that no kernel would take; sizes are None where none was given."""
    check_name(name)
    if type.since is None or type == MapType.UNSPEC:
        raise ValueError(f"type: {type.name} is not a map type that this library knows")
    if isinstance(max_entries, bool) or not isinstance(max_entries, int):
        raise TypeError(f"max_entries: {max_entries!r} is not an int")
    if type in _RINGS:
        _check_ring(type, key_size, value_size, max_entries)
        return
    if not 0 <= max_entries < 1 << 32:
        raise ValueError(f"max_entries: {max_entries} does not fit 32 bits")
    if not max_entries and type not in _UNSIZED:
        raise ValueError(f"max_entries: a {type.name} map needs at least 1")
    if type == MapType.ARENA:
        if key_size or value_size:
            raise ValueError("key, value: an ARENA map has neither; max_entries is in pages")
        return
    if type in _KEYLESS:
        if key_size:
            raise ValueError(f"key: a {type.name} map has no keys")
    elif not key_size:
        raise ValueError(f"key: a {type.name} map needs one of 1 byte or more")
    if not value_size:
        raise ValueError(f"value: a {type.name} map needs one of 1 byte or more")


def _check_ring(
    type: MapType, key_size: int | None, value_size: int | None, max_entries: int
) -> None:
    if key_size or value_size:
        raise ValueError(f"key, value: a {type.name} map has neither")
    page = mmap.PAGESIZE
    if max_entries < page or max_entries & (max_entries - 1) or max_entries >= 1 << 32:
        fit = max(page, 1 << (max(max_entries, 1) - 1).bit_length())
        raise ValueError(
            f"max_entries: {max_entries} bytes is no size for a {type.name}; it takes a power of"
            f" two, {page} or more and below 4 GiB: {min(fit, 1 << 31)} would do"
        )
