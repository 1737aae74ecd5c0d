"""tcx: programs at an interface's traffic control hooks, without a qdisc and in an order (6.6)."""

from __future__ import annotations

import errno

from ebpf.links.create import check_type
from ebpf.links.device import InterfaceLink, create_interface_link
from ebpf.links.order import order_fields
from ebpf.net import Interface
from ebpf.types import AttachType, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.links.base import HasFileno, Link
    from ebpf.net.interface import AnyInterface

_HOOKS = {AttachType.TCX_INGRESS: "tcx/ingress", AttachType.TCX_EGRESS: "tcx/egress"}

# What the kernel means when it refuses (kernel/bpf/mprog.c).
REFUSALS = {
    errno.ESTALE: "what is attached there has changed since `expected_revision`; `ebpf.query`"
    " tells the revision of now",
    errno.EEXIST: "the program is attached there already",
    errno.ENOENT: "the anchor is not attached there",
    errno.ERANGE: "as many programs as the kernel takes are attached there already",
    errno.EINVAL: "it was loaded for another kind of hook",
}


def attach_tcx(
    program: HasFileno,
    interface: AnyInterface,
    attach_type: AttachType | None = None,
    *,
    before: HasFileno | None = None,
    after: HasFileno | None = None,
    first: bool = False,
    expected_revision: int = 0,
) -> Link:
    """Run a SCHED_CLS program for each packet that an interface receives or sends (6.6).

    It returns TCX_NEXT (-1) to have the next program decide, TCX_PASS (0), TCX_DROP (2) or
    TCX_REDIRECT (7).

    Args:
        interface: a name or index where the calling thread is, or an `Interface`.
        attach_type: TCX_INGRESS or TCX_EGRESS; by default what the program was loaded for.
        before, after: the program or link beside which it is to run; by default after all others.
        first: before all others.
        expected_revision: only where this is the revision of the hook, from `ebpf.query`.

    Raises:
        BpfFileNotFoundError: ENODEV, there is no such interface; ENOENT, the anchor is not there.
        BpfFileExistsError: the program is attached there already.
        BpfError: EINVAL, the program is of another type; ESTALE, the revision is another one;
            ERANGE, as many programs as fit (63) are there.
        NotSupportedError: a kernel before 6.6; `attach_tc` has the clsact qdisc for those.
    """
    hook = hook_of(program, attach_type, _HOOKS)
    found = Interface.of(interface)
    target = f"{_HOOKS[hook]} of {found}"
    check_type(program, target, ProgramType.SCHED_CLS)
    fd = create_interface_link(
        program,
        found,
        target,
        "tcx",
        refusals=REFUSALS,
        needs=(6, 6),
        attach_type=hook,
        **order_fields(before, after, first, expected_revision),
    )
    return InterfaceLink(fd, target)


def hook_of(
    program: HasFileno, attach_type: AttachType | None, hooks: dict[AttachType, str]
) -> AttachType:
    """The one of `hooks` that was asked for, or that the program was loaded for."""
    chosen = attach_type or getattr(program, "attach_type", None)
    if chosen not in hooks:
        words = " or ".join(hook.name for hook in hooks)
        raise TypeError(
            f"attach_type: it takes {words}"
            + ("" if chosen is None else f", not {AttachType(chosen).name}")
        )
    return AttachType(chosen)
