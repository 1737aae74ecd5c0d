"""Where a program goes among those of a hook that has several (BPF_F_BEFORE, BPF_F_AFTER)."""

from __future__ import annotations

from ebpf._sys.arguments import check_number, check_objects
from ebpf.links.base import Link
from ebpf.types import AttachFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ebpf.links.base import HasFileno


def order_fields(
    before: HasFileno | None,
    after: HasFileno | None,
    first: bool,
    expected_revision: int,
) -> dict[str, Any]:
    """The fields ``flags``, ``relative_fd`` and ``expected_revision`` of attaching.

    `before` and `after` are a program or a link of the hook, where a program that was attached
    without a link stands for itself. All zero: behind what is there.
    """
    check_objects(before=before, after=after)
    check_number("expected_revision", expected_revision, 64)
    if (before is not None) + (after is not None) + bool(first) > 1:
        raise TypeError("before, after, first: a program has one place; give one of them")
    flags = AttachFlags(0)
    anchor = before if before is not None else after
    if first or before is not None:
        flags |= AttachFlags.BEFORE
    elif after is not None:
        flags |= AttachFlags.AFTER
    relative = 0
    if isinstance(anchor, Link):
        relative, is_link = anchor._anchor()
        flags |= AttachFlags.LINK if is_link else 0
    elif anchor is not None:
        relative = anchor.fileno()
    return {
        "flags": int(flags),
        "relative_fd": relative,
        "expected_revision": expected_revision,
    }
