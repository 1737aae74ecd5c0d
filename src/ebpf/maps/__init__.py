"""BPF maps: one class per behaviour, not per map type.

    base      Map: create, open, from_id, info, pin, freeze, close
    limits    definitions that no kernel takes
    keyed     lookup and put, shared by:
    hash      HashMap, a MutableMapping
    array     ArrayMap, DescriptorArray, StackTraceMap
    queue     QueueMap, BloomFilterMap
"""

from ebpf.maps.array import ArrayMap, DescriptorArray, StackTraceMap
from ebpf.maps.base import CLASS_OF, Map
from ebpf.maps.hash import HashMap
from ebpf.maps.queue import BloomFilterMap, QueueMap

for _class in (HashMap, ArrayMap, DescriptorArray, StackTraceMap, QueueMap, BloomFilterMap):
    CLASS_OF.update((_type, _class) for _type in _class.types)

__all__ = [
    "ArrayMap",
    "BloomFilterMap",
    "DescriptorArray",
    "HashMap",
    "Map",
    "QueueMap",
    "StackTraceMap",
]
