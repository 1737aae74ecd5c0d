"""Iterating a large map takes the memory of a few chunks."""

from __future__ import annotations

import pytest

from tests.kernel.maps.support import python

CODE = """
import re
import sys
from array import array

import ebpf

def resident(what):
    with open("/proc/self/status") as file:
        return int(re.search(rf"^{what}:\\s+(\\d+) kB", file.read(), re.M)[1])

count = 400_000
with ebpf.HashMap.create(key="I", value="16s", max_entries=count) as m:
    for start in range(0, count, 50_000):
        keys = array("I", range(start, start + 50_000))
        m.update_batch(keys, bytes(16 * len(keys)))
    del keys
    # Whatever the first use of each way needs.
    next(iter(m.items())), next(iter(m)), next(m.batches())
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = resident("VmRSS")
    ways = {
        "items": lambda: sum(1 for _ in m.items()),
        "keys": lambda: sum(1 for _ in m),
        "values": lambda: sum(1 for _ in m.values()),
        "batches": lambda: sum(len(keys) for keys, _ in m.batches()),
        "len": lambda: len(m),
    }
    assert ways[sys.argv[1]]() == count
    print(resident("VmHWM") - before)
"""


@pytest.mark.parametrize("way", ["items", "keys", "values", "batches", "len"])
def test_it_does_not_grow_with_the_map(way: str) -> None:
    """A whole map of 8 MB, or of 50 MB as Python objects, is in memory while it is iterated."""
    grown = int(python(CODE, way))
    assert grown < 4000
