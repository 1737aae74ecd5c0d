"""What a program attaches to, where the kernel wants to know it when the program is loaded."""

from __future__ import annotations

import os
from typing import NamedTuple

from ebpf._sys import bpf, ffi
from ebpf.btf import Btf, Kind
from ebpf.errors import RelocationError
from ebpf.types import AttachType, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.collection.kernel import KernelTypes
    from ebpf.programs import Program
    from ebpf.spec import ProgramSpec

# The kernel describes some hooks by a type whose name has a prefix: bpf_core_find in libbpf.
_PREFIXES = {
    AttachType.TRACE_RAW_TP: ("btf_trace_", Kind.TYPEDEF),
    AttachType.LSM_MAC: ("bpf_lsm_", Kind.FUNC),
    AttachType.LSM_CGROUP: ("bpf_lsm_", Kind.FUNC),
    AttachType.TRACE_ITER: ("bpf_iter_", Kind.FUNC),
}


class AttachTarget(NamedTuple):
    """``attach_btf_id`` and ``attach_prog_fd`` of BPF_PROG_LOAD, 0 where it takes none.

    ``fd`` is a BPF program, or the BTF of a module. ``member`` is the index in the kernel's struct
    that a STRUCT_OPS program has instead of an attach type.
    """

    btf_id: int = 0
    fd: int = 0
    member: int | None = None


def find_attach_target(
    program: ProgramSpec, kernel: KernelTypes, target: Program | None
) -> AttachTarget:
    """The BTF id of the function or hook that the program's section names.

    With `target` it is a function of that BPF program. Raises RelocationError for a name that
    there is none of.
    """
    if not program.btf_target:
        return AttachTarget()
    if not program.target:
        raise RelocationError(
            f"program {program.name!r}: its section {program.section!r} names no target; set"
            f" spec.programs[{program.name!r}].target"
        )
    if target is not None:
        return AttachTarget(_function_of(program, target), target.fileno())
    if program.type == ProgramType.EXT:
        raise RelocationError(
            f"program {program.name!r}: {program.section!r} replaces a function of another program;"
            f" load it with targets={{{program.name!r}: PROGRAM}}"
        )
    prefix, kind = _PREFIXES.get(program.attach_type or AttachType.TRACE_FENTRY, ("", Kind.FUNC))
    found = kernel.find(prefix + program.target, kind)
    if found is None:
        raise RelocationError(
            f"program {program.name!r}: {prefix}{program.target} is in the BTF of neither the"
            f" kernel nor its modules ({program.section!r})"
        )
    module, type = found
    return AttachTarget(type.id, module.fd)


def _function_of(program: ProgramSpec, target: Program) -> int:
    btf_id = target.info().btf_id
    functions = _loaded_btf(btf_id).find_all(program.target, Kind.FUNC) if btf_id else []
    if not functions:
        raise RelocationError(
            f"program {program.name!r}: {target!r} has no function {program.target!r} in its BTF"
        )
    return functions[0].id


def _loaded_btf(btf_id: int) -> Btf:
    """The BTF that a process has loaded, from the kernel."""
    fd = bpf.btf_get_fd_by_id(btf_id)
    try:
        info = ffi.new("struct ebpf_btf_info *")
        bpf.get_info(fd, info)
        data = ffi.new("unsigned char[]", int(info.btf_size))
        filled = ffi.new(
            "struct ebpf_btf_info *",
            {"btf": int(ffi.cast("uintptr_t", data)), "btf_size": len(data)},
        )
        bpf.get_info(fd, filled)
        return Btf(bytes(ffi.buffer(data)))
    finally:
        os.close(fd)
