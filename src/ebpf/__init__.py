"""The eBPF library for Python: maps, programs, attachments and event rings, straight to bpf().

::

    import ebpf
    from ebpf.asm import R0, exit_, mov

    counts = ebpf.Map.create(ebpf.MapType.HASH, key="I", value="Q", max_entries=1024)
    counts[7] = 1

    program = ebpf.Program.load(ebpf.ProgramType.RAW_TRACEPOINT, [mov(R0, 0), exit_()])
    program.attach_raw_tracepoint("sched_process_exec")

    for record in ebpf.RingBuffer(events): ...

    with ebpf.CollectionSpec.from_file("tracer.bpf.o").load() as objects:
        objects.attach()

Map, HashMap, ArrayMap, ...    maps, one class per behaviour; `ebpf.codec` says what keys and
                               values may be (struct formats, dataclasses, raw bytes, ...)
Program, Link                  loading, test runs, attaching
Interface, query               network interfaces, and what is attached there
RingBuffer, PerfBuffer         events
Token, delegate                bpf() in user namespaces
compile_c                      C to a CollectionSpec
CollectionSpec, Collection     object files that clang compiled
ebpf.asm                       programs written in Python
ebpf.features                  what the running kernel can do
EbpfError and its kind         `ebpf.errors` draws the tree

``python -m ebpf doctor`` looks at the machine and says what is missing, ``python -m ebpf object
show FILE`` says what is in an object file, ``gen FILE`` writes a typed Python module for it.
"""

# Imports point only downwards in this list (tests/unit/test_layers.py):
#
#     pure    errors, types, generic, plain, patterns, opcodes, codec, asm, btf, elf, spec,
#             embed: no system call
#     kernel  _ffi        the compiled core
#             _sys        the only importer of _ffi: bpf(), perf_event_open(), descriptors, facts
#             info, tracefs, kallsyms, kernel_btf, kconfig, features, pin, net
#             token
#             maps, links, queries, symbols, verifier
#             programs, reader, ringbuf, perfbuf, output
#     join    collection  a Spec and the kernel make a Collection
#     above   compile     C to a Spec
#             generated   what generated modules are made of
#             codegen     objects to Python modules
#             build       both for packages, with a command of setuptools
#             cli         python -m ebpf
#
# What takes time to import and is not always used comes on first use, see _LAZY.

from __future__ import annotations

from ebpf.codec import Codec, PerCpu
from ebpf.embed import get_include
from ebpf.errors import (
    AsmError,
    BpfError,
    BpfFileExistsError,
    BpfFileNotFoundError,
    BpfPermissionError,
    BtfError,
    ClosedError,
    CodecError,
    CompileError,
    EbpfError,
    ElfError,
    FormatError,
    LinkError,
    NotSupportedError,
    RelocationError,
    VerifierError,
)
from ebpf.info import LinkInfo, MapInfo, ProgramInfo
from ebpf.maps import (
    ArenaMap,
    ArrayMap,
    BloomFilterMap,
    DescriptorArray,
    HashMap,
    LpmTrieMap,
    Map,
    QueueMap,
    StackTraceMap,
    StorageMap,
)
from ebpf.pin import unpin
from ebpf.types import (
    AttachType,
    LinkType,
    MapFlags,
    MapType,
    NetfilterHook,
    OpenFlags,
    PerfHardware,
    PerfSoftware,
    PinFlags,
    ProgramFlags,
    ProgramType,
    TestRunFlags,
    UpdateFlags,
    XdpAction,
    XdpMode,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf import asm, btf, features, generated, symbols
    from ebpf.collection import Collection
    from ebpf.compile import compile_c
    from ebpf.links import IteratorLink, Link, LinkGroup
    from ebpf.maps.user_ring import UserRingBuffer
    from ebpf.net import Interface, XskSocket
    from ebpf.output import ProgramStream, TraceLine, TracePipe
    from ebpf.perfbuf import PerfBuffer, PerfCounters
    from ebpf.programs import Program, RunTimeStats, TestRun
    from ebpf.queries import AttachedHook, AttachedProgram, query
    from ebpf.ringbuf import Records, RingBuffer, RingCounters
    from ebpf.spec import CollectionSpec, MapSpec, ProgramSpec, VariableSpec
    from ebpf.symbols import Symbolizer
    from ebpf.token import Token, TokenInfo, delegate

__version__ = "0.1.0"

__all__ = [
    "ArenaMap",
    "ArrayMap",
    "AsmError",
    "AttachType",
    "AttachedHook",
    "AttachedProgram",
    "BloomFilterMap",
    "BpfError",
    "BpfFileExistsError",
    "BpfFileNotFoundError",
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
    "Interface",
    "IteratorLink",
    "Link",
    "LinkError",
    "LinkGroup",
    "LinkInfo",
    "LinkType",
    "LpmTrieMap",
    "Map",
    "MapFlags",
    "MapInfo",
    "MapSpec",
    "MapType",
    "NetfilterHook",
    "NotSupportedError",
    "OpenFlags",
    "PerCpu",
    "PerfBuffer",
    "PerfCounters",
    "PerfHardware",
    "PerfSoftware",
    "PinFlags",
    "Program",
    "ProgramFlags",
    "ProgramInfo",
    "ProgramSpec",
    "ProgramStream",
    "ProgramType",
    "QueueMap",
    "Records",
    "RelocationError",
    "RingBuffer",
    "RingCounters",
    "RunTimeStats",
    "StackTraceMap",
    "StorageMap",
    "Symbolizer",
    "TestRun",
    "TestRunFlags",
    "Token",
    "TokenInfo",
    "TraceLine",
    "TracePipe",
    "UpdateFlags",
    "UserRingBuffer",
    "VariableSpec",
    "VerifierError",
    "XdpAction",
    "XdpMode",
    "XskSocket",
    "asm",
    "btf",
    "compile_c",
    "delegate",
    "features",
    "generated",
    "get_include",
    "query",
    "symbols",
    "unpin",
]

# Public names that cost time to import: the module that has each. A module of the same name is
# meant itself, so that `ebpf.asm` works without an import of its own.
_LAZY = {
    "AttachedHook": "queries",
    "AttachedProgram": "queries",
    "Collection": "collection",
    "CollectionSpec": "spec",
    "Interface": "net",
    "IteratorLink": "links",
    "Link": "links",
    "LinkGroup": "links",
    "MapSpec": "spec",
    "PerfBuffer": "perfbuf",
    "PerfCounters": "perfbuf",
    "Program": "programs",
    "ProgramSpec": "spec",
    "ProgramStream": "output",
    "Records": "ringbuf",
    "RingBuffer": "ringbuf",
    "RingCounters": "ringbuf",
    "RunTimeStats": "programs",
    "Symbolizer": "symbols",
    "TestRun": "programs",
    "Token": "token",
    "TokenInfo": "token",
    "TraceLine": "output",
    "TracePipe": "output",
    "UserRingBuffer": "maps.user_ring",
    "VariableSpec": "spec",
    "XskSocket": "net",
    "asm": "asm",
    "btf": "btf",
    "build": "build",
    "codegen": "codegen",
    "compile": "compile",
    "compile_c": "compile",
    "delegate": "token",
    "elf": "elf",
    "features": "features",
    "generated": "generated",
    "kallsyms": "kallsyms",
    "kernel_btf": "kernel_btf",
    "links": "links",
    "net": "net",
    "output": "output",
    "patterns": "patterns",
    "perfbuf": "perfbuf",
    "plain": "plain",
    "programs": "programs",
    "queries": "queries",
    "query": "queries",
    "ringbuf": "ringbuf",
    "spec": "spec",
    "symbols": "symbols",
    "token": "token",
    "tracefs": "tracefs",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'ebpf' has no attribute {name!r}")
    import importlib

    module = importlib.import_module(f"ebpf.{_LAZY[name]}")
    found = module if name == _LAZY[name] else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
