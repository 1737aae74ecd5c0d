"""From nothing to the first event: python loader_event.py OBJECT, as a tool would do it.

Prints when the event came (ns of CLOCK_MONOTONIC) and the peak of resident memory (KiB).
"""

import os
import sys
import time

import ebpf

spec = ebpf.CollectionSpec.from_file(sys.argv[1])
spec.variables["target"].value = os.getpid()
with spec.load() as objects:
    objects.attach()
    with ebpf.RingBuffer(objects.maps["events"]) as events:
        next(iter(events))
        arrived = time.monotonic_ns()
        with open("/proc/self/status", encoding="ascii") as status:
            peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
        print(arrived, peak)
