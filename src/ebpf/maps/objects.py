"""Codecs as the kernel sees them: values per CPU, and kernel objects given by their descriptor."""

from __future__ import annotations

import errno

from ebpf._sys import bpf, facts
from ebpf.codec import Codec, PerCpu
from ebpf.errors import BpfError
from ebpf.types import MapFlags, MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ebpf.codec.base import Buffer
    from ebpf.links.base import HasFileno

PER_CPU = frozenset(
    {
        MapType.PERCPU_HASH,
        MapType.PERCPU_ARRAY,
        MapType.LRU_PERCPU_HASH,
        MapType.PERCPU_CGROUP_STORAGE,
    }
)

# Maps whose values are kernel objects, and maps whose keys are.
OBJECT_VALUES = frozenset(
    {
        MapType.PROG_ARRAY,
        MapType.PERF_EVENT_ARRAY,
        MapType.CGROUP_ARRAY,
        MapType.ARRAY_OF_MAPS,
        MapType.HASH_OF_MAPS,
        MapType.SOCKMAP,
        MapType.SOCKHASH,
        MapType.XSKMAP,
        MapType.REUSEPORT_SOCKARRAY,
    }
)
OBJECT_KEYS = frozenset(
    {
        MapType.SK_STORAGE,
        MapType.INODE_STORAGE,
        MapType.TASK_STORAGE,
        MapType.CGRP_STORAGE,
    }
)


# What the values of a type are descriptors of.
_HELD = {
    MapType.PROG_ARRAY: "program that fits those that use the map (type, attach type, context)",
    MapType.PERF_EVENT_ARRAY: "perf event",
    MapType.CGROUP_ARRAY: "cgroup v2 directory",
    MapType.ARRAY_OF_MAPS: "map",
    MapType.HASH_OF_MAPS: "map",
    MapType.SOCKMAP: "socket",
    MapType.SOCKHASH: "socket",
    MapType.XSKMAP: "AF_XDP socket",
    MapType.REUSEPORT_SOCKARRAY: "bound socket with SO_REUSEPORT",
}
_OF_MAPS = frozenset({MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})


def likeness(map: HasFileno) -> str:
    """What a map has to have in common with the inner maps of another."""
    info = bpf.obj_get_info_by_fd(map.fileno(), "map")
    type, flags = MapType(info["type"]), MapFlags(info["map_flags"])
    named = f", flags {flags}" if flags else ""
    return (
        f"{type.name} with keys of {info['key_size']} and values of {info['value_size']} bytes,"
        f" {info['max_entries']} entries{named}"
    )


def why_refused(type: MapType, value: Any, code: int, inner: str) -> str:
    """Why a map of this type does not take the object `value`; "" where that is not the reason.

    `inner` is the `likeness` of the inner maps, where it is known.
    """
    if type is MapType.XSKMAP and code == errno.ENOBUFS:
        return " (value: the socket has no ring for what it receives; set XDP_RX_RING up first)"
    if type not in _HELD or code not in (errno.EBADF, errno.EINVAL):
        return ""
    refused = f" (value: {value!r} is no {_HELD[type]})"
    if type not in _OF_MAPS or code != errno.EINVAL:
        return refused
    try:
        own = likeness(value) if hasattr(value, "fileno") else ""
    except BpfError:
        return refused
    wanted = f", not {inner}" if inner else ", unlike the inner map that it was created with"
    return f" (value: {value!r} is {own}{wanted})" if own else f" (value: {value!r} is{wanted[1:]})"


# Interfaces and CPUs are numbers, behind which may be a program's descriptor.
_NUMBERED = frozenset({MapType.DEVMAP, MapType.DEVMAP_HASH, MapType.CPUMAP})


# Of values of 8 bytes user space reads the sockets' cookies; of 4, nothing (sock_map_lookup_sys).
OF_SOCKETS = frozenset({MapType.SOCKMAP, MapType.SOCKHASH})


def value_format(type: MapType, size: int | None = None) -> str | None:
    """The format of values of `size` bytes where the type decides it: a descriptor, or a number and
    a descriptor, or a socket's cookie. `size` is None for a map that is yet to be created."""
    if size is None:
        size = 8 if type in OF_SOCKETS else 4
    if type in _NUMBERED:
        return {4: "I", 8: "II"}.get(size)
    return {4: "I", 8: "Q"}.get(size) if type in OBJECT_VALUES else None


class ByDescriptor(Codec["Any"]):
    """`inner`, whose integers are descriptors: takes anything with ``fileno()`` as well.

    What it unpacks is what the kernel has put there, which for most types is an id.
    """

    def __init__(self, inner: Codec[Any]) -> None:
        self.inner = inner
        self.size = inner.size
        self.format = inner.format

    def pack(self, value: Any) -> bytes:
        return self.inner.pack(value.fileno() if hasattr(value, "fileno") else value)

    def unpack(self, buffer: Buffer) -> Any:
        return self.inner.unpack(buffer)

    def _meaning(self) -> tuple[object, ...]:
        return (ByDescriptor, self.inner)

    def __repr__(self) -> str:
        return repr(self.inner)


def for_keys(type: MapType, key: Codec[Any] | None) -> Codec[Any] | None:
    """The codec for the keys of a map of this type."""
    return ByDescriptor(key) if key and type in OBJECT_KEYS else key


def for_values(type: MapType, value: Codec[Any] | None) -> Codec[Any] | None:
    """The codec for the values of a map of this type; `value` is for one CPU's."""
    if value and type in PER_CPU:
        return PerCpu(value, facts.possible_cpus())
    return ByDescriptor(value) if value and type in OBJECT_VALUES else value
