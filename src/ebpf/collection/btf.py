"""Loading an object's BTF, less what the running kernel does not know, and what it knows."""

from __future__ import annotations

import errno
import os
import struct
import sys

from ebpf import opcodes as op
from ebpf._sys import bpf, check
from ebpf._sys.cache import cached
from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.btf.sanitize import Feature, probe_blob, sanitize
from ebpf.errors import VerifierError
from ebpf.types import ProgramType

_LOG_SIZE = 1 << 16

# What the kernel finds wrong in types is EINVAL, and a longer header that is not all zero E2BIG;
# anything else says nothing about what it knows.
_UNKNOWN = (-errno.EINVAL, -errno.E2BIG)

# What the verifier says to a program.
_REFUSED = (-errno.EINVAL, -errno.EACCES)

# The helper bpf_get_socket_cookie (4.12), which takes the context of a socket filter.
_GET_SOCKET_COOKIE = 46


def load_btf(data: bytes) -> int:
    """A descriptor of the BTF in `data`, for programs and maps (BPF_BTF_LOAD).

    Kernels older than the compiler lack some kinds; those that a probe shows to be missing are
    replaced by what libbpf replaces them by. Raises VerifierError with the kernel's log.
    """
    result, _ = bpf.btf_load(data)
    if result >= 0:
        return result
    if result in _UNKNOWN:
        missing = missing_features()
        if missing:
            data = sanitize(Btf(data), missing)
    result, log = bpf.btf_load(data, _LOG_SIZE)
    if result >= 0:
        return result
    text = log.decode("utf-8", "replace")
    lines = text.strip().splitlines()
    if lines:
        raise VerifierError(-result, f"load BTF: {lines[-1]}", text)
    return check(result, "load BTF")


@cached
def missing_features() -> frozenset[Feature]:
    """The features of BTF that the running kernel refuses, found out by loading some of each."""
    return frozenset(feature for feature in Feature if not _accepts(probe_blob(feature)))


def _accepts(blob: bytes) -> bool:
    result, _ = bpf.btf_load(blob)
    if result in _UNKNOWN:
        return False
    os.close(check(result, "probe BTF"))
    return True


@cached
def knows_context_tags() -> bool:
    """Whether the verifier takes a parameter for the context because it is tagged (6.8).

    Asked with a function of a ``void *`` that passes it to a helper which wants the context.
    Raises BpfError for what is no answer of the verifier's, as without a descriptor left.
    """
    builder = BtfBuilder()
    number = builder.add(t.Int(name="int", size=4, bits=32, encoding=t.IntEncoding.SIGNED))
    parameter = t.Parameter("context", builder.add(t.Pointer(type_id=0)))
    prototype = builder.add(t.FuncProto(type_id=number, parameters=(parameter,)))
    main = builder.add(t.Func(name="main", type_id=prototype, linkage=t.Linkage.GLOBAL))
    tagged = builder.add(t.Func(name="tagged", type_id=prototype, linkage=t.Linkage.GLOBAL))
    builder.add(t.DeclTag(name="arg:ctx", type_id=tagged, component_index=0))
    btf_fd, _ = bpf.btf_load(builder.to_bytes())
    if btf_fd in _UNKNOWN:
        return False  # tags as such, which came before (5.16)
    check(btf_fd, "probe tags of contexts")
    slot = struct.Struct("=BBhi").pack
    call, leave = op.CALL_OPCODE, slot(op.EXIT_OPCODE, 0, 0, 0)
    source = op.PSEUDO_CALL << 4 if sys.byteorder == "little" else op.PSEUDO_CALL
    try:
        loaded = bpf.prog_load(
            prog_type=ProgramType.SOCKET_FILTER,
            insns=slot(call, source, 0, 1) + leave + slot(call, 0, 0, _GET_SOCKET_COOKIE) + leave,
            license=b"GPL\0",
            prog_btf_fd=btf_fd,
            func_info=struct.pack("=IIII", 0, main, 2, tagged),
            func_info_rec_size=8,
            func_info_cnt=2,
        )
    finally:
        os.close(btf_fd)
    if loaded.result in _REFUSED:
        return False
    os.close(check(loaded.result, "probe tags of contexts"))
    return True
