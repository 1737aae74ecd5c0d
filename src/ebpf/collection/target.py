"""What a program attaches to, where the kernel wants to know it when the program is loaded."""

from __future__ import annotations

from ebpf.errors import BpfFileNotFoundError, RelocationError
from ebpf.links.functions import function_of, missing
from ebpf.plain import NamedTuple
from ebpf.programs.target import hook_type, not_found
from ebpf.types import ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.programs import Program
    from ebpf.programs.kernel_types import KernelTypes
    from ebpf.spec import ProgramSpec


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
    """The BTF id of the function or hook that the program's section names, with its module in front
    where the name alone is not enough (``fentry/nf_nat:nf_nat_setup_info``).

    With `target` it is a function of that BPF program. Raises BpfFileNotFoundError for a name
    that there is none of, NotSupportedError for an iterator that is younger than this kernel,
    RelocationError where the target is not said, ValueError for one that the program does not take.
    """
    if not program.btf_target:
        if target is not None:
            raise ValueError(
                f"targets[{program.name!r}]: the program ({program.section!r}) attaches to no"
                " other program; leave it out"
            )
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
    prefix, kind = hook_type(program.attach_type)
    owner, _, name = program.target.rpartition(":")
    found = kernel.find(prefix + name, kind, owner)
    if found is None:
        assert program.attach_type is not None
        raise not_found(program.attach_type, name, owner, f"program {program.name!r}: ")
    module, type = found
    return AttachTarget(type.id, module.fd)


def _function_of(program: ProgramSpec, target: Program) -> int:
    try:
        return function_of(target, program.target)
    except BpfFileNotFoundError as error:
        raise missing(f"program {program.name!r}: {error.strerror}", []) from None
