"""What attachments to network interfaces have in common."""

from __future__ import annotations

import errno
import os

from ebpf._sys import bpf
from ebpf.errors import BpfError, from_errno
from ebpf.links.base import Link
from ebpf.links.create import explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ebpf.errors import Version
    from ebpf.links.base import HasFileno
    from ebpf.net import Interface

# What LINK_UPDATE means when it refuses for a link of an interface.
_UPDATE_REFUSALS = {
    errno.ENOLINK: "the interface is gone, and the attachment with it",
    errno.EPERM: "another program than `expected` is attached",
    errno.EINVAL: "the program is of another type, or was loaded for another kind of hook",
}


class InterfaceLink(Link):
    """A program at a network interface. It ends with the interface, too."""

    def update(self, program: HasFileno, *, expected: HasFileno | None = None) -> None:
        """Put `program` in the place of the attached one, atomically: no packet passes without.

        Args:
            expected: only where this is the attached program.

        Raises:
            BpfError: ENOLINK, the interface is gone; EINVAL, the program is of another type.
            BpfPermissionError: EPERM, another program than `expected` is attached.
        """
        try:
            super().update(program, expected=expected)
        except BpfError as error:
            code = error.errno or 0
            if code not in _UPDATE_REFUSALS or (code == errno.EPERM and expected is None):
                raise
            raise from_errno(code, f"update {self!r}: {_UPDATE_REFUSALS[code]}") from None


def create_interface_link(
    program: HasFileno,
    interface: Interface,
    target: str,
    variant: str = "",
    *,
    refusals: Mapping[int, str],
    needs: Version | None = None,
    **fields: Any,
) -> int:
    """LINK_CREATE where the interface is. `refusals` are the errors with a single meaning here."""
    try:
        return interface.inside(
            lambda: bpf.link_create(
                variant,
                f"attach to {target}",
                needs,
                prog_fd=program.fileno(),
                target_fd=interface.index,
                **fields,
            ),
            # Of an attachment that nobody has: closing ends it.
            os.close,
        )
    except BpfError as error:
        # Several errors stand for an interface that went since it was named.
        if error.errno in (errno.EINVAL, errno.ENODEV) and not interface.exists():
            raise interface.missing() from None
        explain(error, program, target, refusals)
        raise
