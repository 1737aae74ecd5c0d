"""Programs of a network namespace: socket lookup and flow dissection."""

from __future__ import annotations

import errno

from ebpf._sys import Descriptor, bpf
from ebpf._sys.arguments import check_objects
from ebpf.errors import BpfError
from ebpf.links.base import Link
from ebpf.links.create import create_link
from ebpf.net.namespace import describe, open_namespace
from ebpf.types import AttachType, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.links.base import HasFileno
    from ebpf.net.namespace import Namespace

# The hooks of a namespace by the type of their programs.
_HOOKS = {
    ProgramType.SK_LOOKUP: AttachType.SK_LOOKUP,
    ProgramType.FLOW_DISSECTOR: AttachType.FLOW_DISSECTOR,
}

# What the kernel means when it refuses to attach (netns_bpf_link_create).
_REFUSALS = {
    errno.E2BIG: "the hook is taken: it has as many programs as it has room for",
    errno.EEXIST: "the hook is taken: by a program without a link, or a flow dissector of the"
    " initial namespace, which is for all of them",
}


def attach_netns(program: HasFileno, netns: Namespace | None = None) -> Link:
    """Run a SK_LOOKUP (5.9) or FLOW_DISSECTOR program for a network namespace.

    A namespace has room for 64 programs that look up sockets, which run in the order in which they
    were attached, and for one flow dissector.

    Args:
        netns: a name of ``ip netns``, the path of a namespace's file, the id of a process that is
            in it, or an object with its descriptor; by default what the calling thread is in.

    Raises:
        BpfFileNotFoundError: no such namespace, or no such process.
        BpfError: E2BIG or EEXIST, the hook is taken; EINVAL, this is no network namespace, or the
            program is of another type.
    """
    check_objects(program=program)
    named = describe(netns) or "network namespace of the calling thread"
    type = ProgramType(bpf.prog_type(program.fileno(), action=f"attach to the {named}"))
    if type not in _HOOKS:
        wanted = " or ".join(type.name for type in _HOOKS)
        raise BpfError(
            errno.EINVAL,
            f"attach {program!r} to the {named}: the program is of another type ({type.name}); it"
            f" takes {wanted}",
        )
    target = f"{_HOOKS[type].name} of the {named}"
    path = "/proc/thread-self/ns/net" if netns is None else netns
    with Descriptor(open_namespace(path)) as opened:
        fd = create_link(
            program,
            target,
            refusals={**_REFUSALS, errno.EINVAL: "this is no network namespace"},
            needs=_HOOKS[type].since,
            target_fd=opened.fileno(),
            attach_type=_HOOKS[type],
        )
    return Link(fd, target)
