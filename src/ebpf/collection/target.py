"""What a program attaches to, where the kernel wants to know it when the program is loaded."""

from __future__ import annotations

from ebpf.btf import Kind
from ebpf.errors import RelocationError
from ebpf.types import AttachType, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.collection.kernel import KernelTypes
    from ebpf.spec import ProgramSpec

# The kernel describes some hooks by a type whose name has a prefix: bpf_core_find in libbpf.
_PREFIXES = {
    AttachType.TRACE_RAW_TP: ("btf_trace_", Kind.TYPEDEF),
    AttachType.LSM_MAC: ("bpf_lsm_", Kind.FUNC),
    AttachType.LSM_CGROUP: ("bpf_lsm_", Kind.FUNC),
    AttachType.TRACE_ITER: ("bpf_iter_", Kind.FUNC),
}


class AttachTarget:
    """``attach_btf_id`` and ``attach_prog_fd`` of BPF_PROG_LOAD, 0 where it takes none."""

    __slots__ = ("btf_id", "fd")

    def __init__(self, btf_id: int = 0, fd: int = 0) -> None:
        self.btf_id = btf_id
        self.fd = fd


def find_attach_target(program: ProgramSpec, kernel: KernelTypes) -> AttachTarget:
    """The BTF id of the function or hook that the program's section names.

    Raises RelocationError for a name that neither the kernel nor a module has.
    """
    if not program.btf_target:
        return AttachTarget()
    if program.type == ProgramType.EXT:
        raise RelocationError(
            f"program {program.name!r}: freplace needs the program to replace a function of, which"
            " this version does not take yet"
        )
    if not program.target:
        raise RelocationError(
            f"program {program.name!r}: its section {program.section!r} names no target; set"
            f" spec.programs[{program.name!r}].target"
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
