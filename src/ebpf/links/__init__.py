"""Attaching programs. Every function takes anything with ``fileno()`` and returns a `Link`.

base         Link; PerfEventAttachment for kernels before 5.15
perf_event   a program on a perf event
tracepoint   attach_tracepoint, attach_raw_tracepoint
kprobe       attach_kprobe, attach_kretprobe
section      attach_by_section: by the name of an object file's section
"""

from __future__ import annotations

from ebpf.links.base import Link, PerfEventAttachment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.links.kprobe import attach_kprobe, attach_kretprobe
    from ebpf.links.section import attach_by_section
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

# Imported by the first program that is attached in this way.
_LAZY = {
    "attach_by_section": "section",
    "attach_kprobe": "kprobe",
    "attach_kretprobe": "kprobe",
    "attach_raw_tracepoint": "tracepoint",
    "attach_tracepoint": "tracepoint",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'ebpf.links' has no attribute {name!r}")
    import importlib

    found = getattr(importlib.import_module(f"ebpf.links.{_LAZY[name]}"), name)
    globals()[name] = found
    return found
