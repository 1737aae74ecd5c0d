"""The eBPF library for Python.

Imports point only downwards in this list:

    pure    errors, types, generic, codec, asm, btf, elf, spec      no system call, no extension
    kernel  _ffi        the compiled core
            _sys        the only importer of _ffi: bpf(), perf_event_open(), descriptors, facts
            info, tracefs, kallsyms, kernel_btf, kconfig, features
            pin, maps, links, verifier, programs, ringbuf
    join    collection  a Spec and the kernel make a Collection
    above   cli         python -m ebpf

What takes time to import and is not always used comes on first use: `asm`, `btf`, `elf`, `spec`,
`collection`, `features`, `cli`.
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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf import asm, btf, features
    from ebpf.collection import Collection
    from ebpf.spec import CollectionSpec, MapSpec, ProgramSpec, VariableSpec

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
    "Collection",
    "CollectionSpec",
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
    "MapSpec",
    "MapType",
    "NotSupportedError",
    "PerCpu",
    "PinFlags",
    "Program",
    "ProgramFlags",
    "ProgramInfo",
    "ProgramSpec",
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
    "VariableSpec",
    "VerifierError",
    "asm",
    "btf",
    "features",
    "get_include",
    "unpin",
]

# Public names that cost time to import: the module that has each. A module of the same name is
# meant itself, so that `ebpf.asm` works without an import of its own.
_LAZY = {
    "Collection": "collection",
    "CollectionSpec": "spec",
    "MapSpec": "spec",
    "ProgramSpec": "spec",
    "VariableSpec": "spec",
    "asm": "asm",
    "btf": "btf",
    "features": "features",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'ebpf' has no attribute {name!r}")
    import importlib

    module = importlib.import_module(f"ebpf.{_LAZY[name]}")
    return module if name == _LAZY[name] else getattr(module, name)
