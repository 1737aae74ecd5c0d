"""Hooks that run several programs in an order: before which, after which, and at which revision."""

from __future__ import annotations

import errno

from ebpf import pin
from ebpf._sys.arguments import check_number, check_objects
from ebpf.types import AttachFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from ebpf.links.base import HasFileno

    # True: before, or after, everything that is there.
    Anchor: TypeAlias = HasFileno | bool | None

# What the kernel means when it refuses (kernel/bpf/mprog.c).
REFUSALS = {
    errno.ESTALE: "what is attached there has changed since `expected_revision`; `ebpf.query`"
    " tells the revision of now",
    errno.EEXIST: "the program is attached there already",
    errno.ENOENT: "the anchor is not attached there",
    errno.ERANGE: "as many programs as the kernel takes are attached there already",
}


def order(before: Anchor, after: Anchor, expected_revision: int) -> dict[str, int]:
    """The fields of LINK_CREATE for a place among the programs of a hook.

    Raises:
        TypeError: an anchor is neither a program, a link nor True, or there are two.
    """
    check_number("expected_revision", expected_revision, 64)
    if before is not None and after is not None:
        raise TypeError("before, after: a program has one place; give one of them")
    fields = {"expected_revision": expected_revision}
    for name, anchor, flag in (
        ("before", before, AttachFlags.BEFORE),
        ("after", after, AttachFlags.AFTER),
    ):
        if anchor is not None and anchor is not False:
            fields |= _anchored(name, anchor, flag)
    return fields


def _anchored(name: str, anchor: HasFileno | bool, flag: AttachFlags) -> dict[str, int]:
    if isinstance(anchor, bool):
        return {"flags": int(flag)}
    check_objects(**{name: anchor})
    fd = anchor.fileno()
    if pin.kind_of(fd) == "link":
        flag |= AttachFlags.LINK
    return {"flags": int(flag), "relative_fd": fd}
