"""Attaching programs. Every function takes anything with ``fileno()`` and returns a `Link`.

    base         Link; PerfEventAttachment for kernels before 5.15
    perf_event   a program on a perf event
    tracepoint   attach_tracepoint, attach_raw_tracepoint
    kprobe       attach_kprobe, attach_kretprobe
"""

from ebpf.links.base import Link, PerfEventAttachment
from ebpf.links.kprobe import attach_kprobe, attach_kretprobe
from ebpf.links.tracepoint import attach_raw_tracepoint, attach_tracepoint

__all__ = [
    "Link",
    "PerfEventAttachment",
    "attach_kprobe",
    "attach_kretprobe",
    "attach_raw_tracepoint",
    "attach_tracepoint",
]
