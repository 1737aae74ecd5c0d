"""Attaching programs. Every function takes anything with ``fileno()`` and returns a `Link`.

base         Link; PerfEventAttachment for kernels before 5.15
perf_event   a program on a perf event
tracepoint   attach_tracepoint, attach_raw_tracepoint
kprobe       attach_kprobe, attach_kretprobe
section      attach_by_section: by the name of an object file's section
"""

from ebpf.links.base import Link, PerfEventAttachment
from ebpf.links.kprobe import attach_kprobe, attach_kretprobe
from ebpf.links.section import attach as attach_by_section
from ebpf.links.tracepoint import attach_raw_tracepoint, attach_tracepoint

__all__ = [
    "Link",
    "PerfEventAttachment",
    "attach_by_section",
    "attach_kprobe",
    "attach_kretprobe",
    "attach_raw_tracepoint",
    "attach_tracepoint",
]
