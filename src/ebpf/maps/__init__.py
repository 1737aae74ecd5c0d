"""BPF maps: one class per behaviour, not per map type.

limits    definitions that no kernel takes
objects   which types have values per CPU, and which hold kernel objects
creation  Definition: MAP_CREATE, with BTF for dataclasses
opening   what an existing map is like, and the codecs for it
missing   what a class has not says what it has
base      Map: create, open, from_id, info, pin, freeze, close
values    packing values, reading them into buffers
keyed     KeyedMap: lookup, put, the walk over the keys; shared by all that have keys
scalars   keys and values that are one integer each
buffers   keys and values side by side
reader    reading a map in chunks
batch     BatchMap: many entries by one system call; shared by hashes and arrays
hash      HashMap, a MutableMapping
trie      LpmTrieMap
memory    an array's memory, mapped
array     ArrayMap, DescriptorArray
stack     StackTraceMap
storage   StorageMap
arena     ArenaMap
user_ring UserRingBuffer, the writing end of a USER_RINGBUF
queue     QueueMap, BloomFilterMap, which have no keys
html      tables for notebooks (only on use)
"""

from __future__ import annotations

from ebpf.maps.arena import ArenaMap
from ebpf.maps.array import ArrayMap, DescriptorArray
from ebpf.maps.base import CLASS_OF, Map
from ebpf.maps.hash import HashMap
from ebpf.maps.keyed import KeyedMap
from ebpf.maps.missing import name_missing
from ebpf.maps.queue import BloomFilterMap, QueueMap
from ebpf.maps.stack import StackTraceMap
from ebpf.maps.storage import StorageMap
from ebpf.maps.trie import LpmTrieMap
from ebpf.types import MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# A later class has the last word on a type.
_CLASSES = (
    HashMap,
    LpmTrieMap,
    ArrayMap,
    DescriptorArray,
    StackTraceMap,
    StorageMap,
    QueueMap,
    BloomFilterMap,
    ArenaMap,
)
CLASS_OF.update((_type, _class) for _class in _CLASSES for _type in _class.types)
# Their entries come and go with attachments: nothing to delete or to iterate as a dict.
CLASS_OF.update(dict.fromkeys((MapType.CGROUP_STORAGE, MapType.PERCPU_CGROUP_STORAGE), KeyedMap))
# LpmTrieMap has what HashMap has. What a class inherits and has no use for is named here.
_PER_CPU = ("lookup_cpu", "put_cpu")
_WITHOUT: dict[type[Map[Any, Any]], tuple[str, ...]] = {
    StackTraceMap: ("put", *_PER_CPU),
    StorageMap: ("dump", "to_dict", *_PER_CPU),
    ArrayMap: ("lookup_and_delete_batch",),
    DescriptorArray: _PER_CPU,
}
name_missing(
    Map, {_class: _WITHOUT.get(_class, ()) for _class in _CLASSES if _class is not LpmTrieMap}
)

__all__ = [
    "ArenaMap",
    "ArrayMap",
    "BloomFilterMap",
    "DescriptorArray",
    "HashMap",
    "LpmTrieMap",
    "Map",
    "QueueMap",
    "StackTraceMap",
    "StorageMap",
]
