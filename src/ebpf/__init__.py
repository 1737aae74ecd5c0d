"""The eBPF library for Python.

Imports point only downwards in this list:

    pure    errors, types, generic, codec, asm, btf          no system call, no extension
    kernel  _ffi        the compiled core
            _sys        the only importer of _ffi: bpf(), perf_event_open(), descriptors, facts
            info, tracefs, kallsyms, kernel_btf, features
            pin, maps, links, verifier, programs, ringbuf
    above   cli         python -m ebpf

`asm`, `btf`, `features` and `cli` are imported when they are used.
"""

from __future__ import annotations

from ebpf.codec import Codec, PerCpu
from ebpf.embed import get_include
from ebpf.errors import (
    AsmError,
    BpfError,
    BpfPermissionError,
    BtfError,
    ClosedError,
    CodecError,
    CompileError,
    EbpfError,
    ElfError,
    FormatError,
    NotSupportedError,
    RelocationError,
    VerifierError,
)
from ebpf.info import LinkInfo, MapInfo, ProgramInfo
from ebpf.links import Link
from ebpf.maps import (
    ArrayMap,
    BloomFilterMap,
    DescriptorArray,
    HashMap,
    Map,
    QueueMap,
    StackTraceMap,
)
from ebpf.pin import unpin
from ebpf.programs import Program, RunTimeStats, TestRun
from ebpf.ringbuf import Records, RingBuffer, RingCounters
from ebpf.types import (
    AttachType,
    LinkType,
    MapFlags,
    MapType,
    PinFlags,
    ProgramFlags,
    ProgramType,
    TestRunFlags,
    UpdateFlags,
)

__version__ = "0.1.0"

__all__ = [
    "ArrayMap",
    "AsmError",
    "AttachType",
    "BloomFilterMap",
    "BpfError",
    "BpfPermissionError",
    "BtfError",
    "ClosedError",
    "Codec",
    "CodecError",
    "CompileError",
    "DescriptorArray",
    "EbpfError",
    "ElfError",
    "FormatError",
    "HashMap",
    "Link",
    "LinkInfo",
    "LinkType",
    "Map",
    "MapFlags",
    "MapInfo",
    "MapType",
    "NotSupportedError",
    "PerCpu",
    "PinFlags",
    "Program",
    "ProgramFlags",
    "ProgramInfo",
    "ProgramType",
    "QueueMap",
    "Records",
    "RelocationError",
    "RingBuffer",
    "RingCounters",
    "RunTimeStats",
    "StackTraceMap",
    "TestRun",
    "TestRunFlags",
    "UpdateFlags",
    "VerifierError",
    "get_include",
    "unpin",
]

_LAZY = ("asm", "btf", "features", "links")


def __getattr__(name: str) -> object:
    # Submodules that cost time to import, on first use: `ebpf.asm` works without an import.
    if name in _LAZY:
        import importlib

        return importlib.import_module(f"ebpf.{name}")
    raise AttributeError(f"module 'ebpf' has no attribute {name!r}")
