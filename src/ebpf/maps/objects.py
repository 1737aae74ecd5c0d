"""Codecs as the kernel sees them: values per CPU, and kernel objects given by their descriptor."""

from __future__ import annotations

from ebpf._sys import facts
from ebpf.codec import Codec, PerCpu
from ebpf.types import MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ebpf.codec.base import Buffer

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
