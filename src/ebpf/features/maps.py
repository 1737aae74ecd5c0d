"""Probes of map types and of what maps can do."""

from __future__ import annotations

import errno
import mmap
import os
import struct
from contextlib import ExitStack

from ebpf._sys import bpf, check, ffi
from ebpf._sys.cache import cached
from ebpf._sys.call import address
from ebpf.errors import ENOTSUPP, BpfError
from ebpf.types import MapFlags, MapType, one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PLAIN: dict[str, Any] = {"key_size": 4, "value_size": 4, "max_entries": 1}
_KEYLESS = {"value_size": 4, "max_entries": 1}
_RING = {"max_entries": mmap.PAGESIZE}
# struct bpf_cgroup_storage_key, 16 bytes; the number of entries is not the user's to say.
_CGROUP_STORAGE = {"key_size": 16, "value_size": 4}
# Types 1 of the BTF below.
_LOCAL_STORAGE = {
    "key_size": 4,
    "value_size": 4,
    "map_flags": MapFlags.NO_PREALLOC,
    "btf_key_type_id": 1,
    "btf_value_type_id": 1,
}

# The smallest definition that a kernel with the type takes, of those that are not _PLAIN.
_DEFINITIONS: dict[MapType, dict[str, Any]] = {
    MapType.STACK_TRACE: {"key_size": 4, "value_size": 8, "max_entries": 1},
    # struct bpf_lpm_trie_key: a u32 and one byte or more.
    MapType.LPM_TRIE: {
        "key_size": 8,
        "value_size": 4,
        "max_entries": 1,
        "map_flags": MapFlags.NO_PREALLOC,
    },
    MapType.CGROUP_STORAGE: _CGROUP_STORAGE,
    MapType.PERCPU_CGROUP_STORAGE: _CGROUP_STORAGE,
    MapType.QUEUE: _KEYLESS,
    MapType.STACK: _KEYLESS,
    MapType.BLOOM_FILTER: _KEYLESS,
    MapType.SK_STORAGE: _LOCAL_STORAGE,
    MapType.INODE_STORAGE: _LOCAL_STORAGE,
    MapType.TASK_STORAGE: _LOCAL_STORAGE,
    MapType.CGRP_STORAGE: _LOCAL_STORAGE,
    # A real one takes the BTF id of a struct that the kernel registered, which id 1 never is.
    MapType.STRUCT_OPS: {**_PLAIN, "btf_vmlinux_value_type_id": 1},
    MapType.RINGBUF: _RING,
    MapType.USER_RINGBUF: _RING,
    MapType.ARENA: {"max_entries": 1, "map_flags": MapFlags.MMAPABLE},
    # struct bpf_insn_array_value
    MapType.INSN_ARRAY: {"key_size": 4, "value_size": 16, "max_entries": 1},
    MapType.RHASH: {**_PLAIN, "map_flags": MapFlags.NO_PREALLOC},
}
_OF_MAPS = (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS)


@cached
def map_type(type: MapType) -> bool:
    """Whether maps of this type can be created (BPF_MAP_CREATE of the smallest such map).

    False as well for a type that this kernel was built without (XSKMAP without
    CONFIG_XDP_SOCKETS), or that its architecture's JIT cannot serve (ARENA). STRUCT_OPS: whether
    the kernel knows the type; which structs it takes is another question.

    Raises:
        TypeError: not a MapType.
        ValueError: UNSPEC, or a type newer than this library. Kernels answer EINVAL to a type
            that they do not know and to a definition that does not suit it, so a type can only
            be probed by who knows its definition.
        BpfPermissionError, BpfError: see `ebpf.features`.
    """
    if not isinstance(type, MapType):
        raise TypeError(f"type: {type!r} is not an ebpf.MapType")
    if type.since is None or type == MapType.UNSPEC:
        raise ValueError(
            f"type: {type.name} cannot be probed: this library does not know how such a map is"
            " defined, and a kernel refuses a wrong definition as it refuses an unknown type"
        )
    with ExitStack() as stack:
        result = _create(type, stack)
    if type == MapType.STRUCT_OPS and result == -ENOTSUPP:
        return True
    if result == -errno.EINVAL or (type == MapType.ARENA and result == -errno.EOPNOTSUPP):
        return False
    check(result, f"probe the map type {type.name}")
    return True


def _create(type: MapType, stack: ExitStack) -> int:
    """The smallest map of `type`, which `stack` closes: a descriptor or -errno."""
    fields = dict(_DEFINITIONS.get(type, _PLAIN))
    if fields.get("btf_key_type_id"):
        fields["btf_fd"] = _owned(_load_int_btf(), stack)
    if type in _OF_MAPS:
        inner = bpf.map_create("create an inner map", map_type=MapType.ARRAY, **_PLAIN)
        fields["inner_map_fd"] = _owned(inner, stack)
    try:
        return _owned(bpf.map_create(map_type=type, **fields), stack)
    except BpfError as error:
        return -(error.errno or errno.EIO)


def _owned(fd: int, stack: ExitStack) -> int:
    stack.callback(os.close, fd)
    return fd


def _load_int_btf() -> int:
    """A descriptor of BTF whose type 1 is ``int``."""
    kind_int, signed, names = 1 << 24, 1 << 24, b"\0int\0"
    types = struct.pack("=4I", 1, kind_int, 4, signed | 32)
    header = struct.pack("=HBB5I", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(names))
    fd, _ = bpf.btf_load(header + types + names)
    return check(fd, "load the BTF of a probe")


def ring_buffer() -> bool:
    """Whether BPF ring buffers can be created (BPF_MAP_TYPE_RINGBUF, 5.8)."""
    return map_type(MapType.RINGBUF)


@cached
def object_names() -> bool:
    """Whether objects can have names, with dots in them (``map_name``, 4.15; dots 5.2)."""
    action = "probe object names"
    try:
        fd = bpf.map_create(action, map_type=MapType.ARRAY, map_name=b"probe.name", **_PLAIN)
    except BpfError as error:
        if error.errno in (errno.EINVAL, errno.E2BIG):
            return False
        raise
    os.close(fd)
    return True


@cached
def exclusive_maps() -> bool:
    """Whether a map can be for one program alone (``excl_prog_hash``, 6.18)."""
    digest = ffi.new("unsigned char[]", 32)
    try:
        fd = bpf.map_create(
            "probe exclusive maps",
            map_type=MapType.ARRAY,
            excl_prog_hash=address(digest),
            excl_prog_hash_size=32,
            **_PLAIN,
        )
    except BpfError as error:
        if error.errno in (errno.EINVAL, errno.E2BIG):
            return False
        raise
    os.close(fd)
    return True


@cached
def hash_lookup_and_delete() -> bool:
    """Whether BPF_MAP_LOOKUP_AND_DELETE_ELEM works on hash maps (5.14; queues had it first)."""
    with ExitStack() as stack:
        fd = _owned(bpf.map_create(map_type=MapType.HASH, **_PLAIN), stack)
        try:
            bpf.map_lookup_and_delete_elem(fd, bytes(4), 4)
        except BpfError as error:
            # The map is empty: a kernel that looks finds nothing.
            if error.errno == errno.ENOENT:
                return True
            if error.errno in (ENOTSUPP, errno.EINVAL):
                return False
            raise
    raise BpfError(errno.EIO, "probe lookup_and_delete: an empty hash map returned an entry")


@cached
def batch_operations(type: MapType = MapType.HASH) -> bool:
    """Whether maps of this type can be read in batches (BPF_MAP_LOOKUP_BATCH, 5.6).

    False as well where the kernel has no such map type.

    Raises:
        TypeError, ValueError: as `map_type`; STRUCT_OPS, of which a map takes a registered struct.
    """
    if type == MapType.STRUCT_OPS:
        raise ValueError("type: STRUCT_OPS cannot be probed, such a map takes a registered struct")
    if not map_type(type):
        return False
    with ExitStack() as stack:
        fd = check(_create(type, stack), f"create {one(type)} map")
        # No entries are asked for, so the kernel looks at no buffer.
        result, _ = bpf.map_lookup_batch(map_fd=fd, count=0)
    if result in (-ENOTSUPP, -errno.EINVAL):
        return False
    check(result, f"probe batch operations on {type.name} maps")
    return True
