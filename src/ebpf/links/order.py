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

    `before` and `after` are a program or a link of the hook. All zero: behind what is there.
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
    if isinstance(anchor, Link):
        flags |= AttachFlags.LINK
    return {
        "flags": int(flags),
        "relative_fd": 0 if anchor is None else anchor.fileno(),
        "expected_revision": expected_revision,
    }
