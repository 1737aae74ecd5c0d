"""What a map's type decides, as `ebpf.Map.create` does: its keys, values and flags."""

from __future__ import annotations

from ebpf.types import MapFlags
from ebpf.types import MapType as T

_STORAGES = (T.SK_STORAGE, T.INODE_STORAGE, T.TASK_STORAGE, T.CGRP_STORAGE)
# Numbers and descriptors by their position.
_OBJECTS = (
    T.PROG_ARRAY, T.PERF_EVENT_ARRAY, T.CGROUP_ARRAY, T.ARRAY_OF_MAPS, T.DEVMAP, T.CPUMAP, T.XSKMAP,
    T.SOCKMAP, T.REUSEPORT_SOCKARRAY,
)  # fmt: skip
_MAX_STACK_DEPTH = 127  # PERF_MAX_STACK_DEPTH of uapi linux/perf_event.h

KEYS = {
    **dict.fromkeys((T.ARRAY, T.PERCPU_ARRAY, T.INSN_ARRAY, T.STACK_TRACE, *_OBJECTS), "I"),
    **dict.fromkeys(_STORAGES, "i"),
}
_VALUES = {
    **dict.fromkeys((*_OBJECTS, T.HASH_OF_MAPS, T.DEVMAP_HASH), "I"),
    # The sockets' cookies, which need room to be read.
    **dict.fromkeys((T.SOCKMAP, T.SOCKHASH), "Q"),
    T.STACK_TRACE: f"{_MAX_STACK_DEPTH}Q",
}
_FLAGS = {
    **dict.fromkeys((T.LPM_TRIE, T.RHASH, *_STORAGES), MapFlags.NO_PREALLOC),
    T.ARENA: MapFlags.MMAPABLE,
}


def value(type: T, flags: MapFlags) -> str | None:
    """The format of the values, None where it is the user's to say."""
    if type == T.STACK_TRACE and flags & MapFlags.STACK_BUILD_ID:
        # Structs, of which the user says how many.
        return None
    return _VALUES.get(type)


def needed_flags(type: T) -> MapFlags:
    """The flags that every map of the type has."""
    return _FLAGS.get(type, MapFlags(0))
