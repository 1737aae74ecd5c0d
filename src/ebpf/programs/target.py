"""What a program attaches to, where the kernel wants to know it when the program is loaded."""

from __future__ import annotations

from ebpf import kallsyms
from ebpf._sys import Descriptor, facts
from ebpf._sys.arguments import check_text
from ebpf.errors import BpfPermissionError, NotSupportedError
from ebpf.links.functions import function_of, missing, nearest_type
from ebpf.types import AttachType, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.btf import Kind
    from ebpf.errors import BpfError, Version
    from ebpf.links.base import HasFileno

# What the kernel has types for, and the prefix of their names: bpf_core_find in libbpf.
_KINDS = {
    AttachType.TRACE_RAW_TP: ("tracepoint", "btf_trace_"),
    AttachType.TRACE_FENTRY: ("kernel function", ""),
    AttachType.TRACE_FEXIT: ("kernel function", ""),
    AttachType.MODIFY_RETURN: ("kernel function", ""),
    AttachType.TRACE_FSESSION: ("kernel function", ""),
    AttachType.LSM_MAC: ("LSM hook", "bpf_lsm_"),
    AttachType.LSM_CGROUP: ("LSM hook", "bpf_lsm_"),
    AttachType.TRACE_ITER: ("iterator", "bpf_iter_"),
}

# What runs by a trampoline at the function.
_TRAMPOLINES = {
    AttachType.TRACE_FENTRY,
    AttachType.TRACE_FEXIT,
    AttachType.MODIFY_RETURN,
    AttachType.TRACE_FSESSION,
}

# The iterators that came after 5.10.
_ITERATOR_SINCE: dict[str, Version] = {
    "task_vma": (5, 12),
    "unix": (5, 15),
    "bpf_link": (5, 19),
    "ksym": (6, 0),
    "cgroup": (6, 1),
}


def hook_type(attach_type: AttachType | None) -> tuple[str, Kind]:
    """The prefix and kind of the BTF type that stands for a hook: ("bpf_lsm_", FUNC)."""
    from ebpf.btf import Kind

    prefix = _KINDS[attach_type][1] if attach_type in _KINDS else ""
    return prefix, Kind.TYPEDEF if attach_type == AttachType.TRACE_RAW_TP else Kind.FUNC


def check_target(attach_type: AttachType | None, target: str | int) -> None:
    """Refuse a program whose attach type has a target, and that names none.

    Raises:
        TypeError: `target` is empty; the message says what to give.
    """
    if attach_type in _KINDS and not target:
        what = _KINDS[attach_type][0]
        raise TypeError(
            f"attach_to is missing: a program for {attach_type.name} is loaded for one {what}; give"
            " its name, or attach_btf_id"
        )


def closed_hook(type: ProgramType, attach_type: AttachType | int) -> bool:
    """Whether this kernel refuses such programs to a process that may load others.

    Asked after a refusal with EPERM. False where this process lacks the capabilities.
    """
    from ebpf import features

    try:
        if type == ProgramType.TRACING and attach_type in _TRAMPOLINES:
            return not features.fentry()
        return type == ProgramType.LSM and not features.lsm()
    except BpfPermissionError:
        return False


def find_target(
    attach_type: AttachType | None, name: str, program: HasFileno | None
) -> tuple[int, Descriptor | None]:
    """The BTF id of the hook `name` of the kernel, or of a function of `program`; and the BTF of
    the module that has it, where it is one's.

    Raises:
        BpfFileNotFoundError: there is no such; the message has the nearest names.
        BpfPermissionError: for the BTF of a module (CAP_SYS_ADMIN).
        NotSupportedError: an iterator that is younger than this kernel.
        TypeError: programs with this attach type have no target, or not one that is named.
    """
    check_text("attach_to", name)
    if program is not None:
        return function_of(program, name), None
    if attach_type not in _KINDS:
        names = ", ".join(known.name for known in _KINDS)
        raise TypeError(
            f"attach_to: goes with attach_program, or with one of the attach types {names}"
        )
    from ebpf.kernel_btf import VMLINUX, kernel_btf, module_names, module_with

    prefix, kind = hook_type(attach_type)
    owner, _, hook = name.rpartition(":")
    if owner in ("", VMLINUX):
        found = kernel_btf().find_all(prefix + hook, kind)
        if found:
            return found[0].id, None
    modules = module_names() if not owner else [] if owner == VMLINUX else [owner]
    of_module = module_with(prefix + hook, kind, modules)
    if of_module is None:
        raise not_found(attach_type, hook, owner)
    module, id = of_module
    return id, _module_btf(module)


def _module_btf(module: str) -> Descriptor:
    from ebpf.kernel_btf import module_descriptors

    descriptors = module_descriptors([module])
    if module not in descriptors:
        raise missing(f"no module {module}: it was unloaded meanwhile", [])
    return Descriptor(descriptors[module])


def not_found(attach_type: AttachType, name: str, owner: str, whose: str = "") -> BpfError:
    """The exception for a hook `name` that there is not, with what resembles it.

    `whose` begins its message, and `owner` is the module that was to have it.
    """
    from ebpf.kernel_btf import kernel_btf

    what = _KINDS[attach_type][0]
    since = _ITERATOR_SINCE.get(name) if attach_type == AttachType.TRACE_ITER else None
    if since is not None and since > facts.kernel_version():
        return NotSupportedError(f"{whose}the iterator {name}", since)
    prefix, kind = hook_type(attach_type)
    near = nearest_type(kernel_btf(), prefix, kind, name) if prefix else kallsyms.nearest(name)
    where = owner or "the kernel and its modules"
    return missing(f"{whose}no {what} {name} in the BTF of {where}", near)
