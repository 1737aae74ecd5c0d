"""Attachments to interfaces that the kernel keeps without a link.

Such an attachment has no owner: it stays when the process that made it is killed. So what is made
carries a mark of the process, it is removed when it is closed or the process ends by itself, and
`ebpf.links.cleanup` removes what processes that are gone have left.
"""

from __future__ import annotations

import os
import weakref

from ebpf._sys import check, lib
from ebpf._sys.closing import close_all
from ebpf.errors import NotSupportedError
from ebpf.links.at_exit import at_exit
from ebpf.links.base import Link
from ebpf.net.netlink import Netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ebpf.info import LinkInfo
    from ebpf.links.base import HasFileno
    from ebpf.net import Interface

# Those of this process that are open.
_open: weakref.WeakSet[Unlinked] = weakref.WeakSet()


class Unlinked(Link):
    """A program at an interface until it is removed: by closing, or when this process ends.

    It has a descriptor of the program, so that the attachment of somebody else, who has replaced
    it, is not removed; and a socket of the interface's network namespace, which stays until it is
    closed, so that it can be removed when the namespace has no name and no process any more.

    It is made before it is attached: `_attach` does that, or leaves nothing.
    """

    def __init__(self, program: HasFileno, interface: Interface, target: str) -> None:
        super().__init__(copied(program), target)
        self.interface = interface
        self._pid = os.getpid()
        try:
            self._netlink = Netlink(interface)
        except BaseException:
            os.close(self.__dict__.pop("_fd"))
            raise
        at_exit(_remove_own)
        _open.add(self)

    def _attach(self, attach: Callable[[], None]) -> None:
        """Attach it by `attach`; where that fails or is interrupted, nothing of it is left."""
        try:
            attach()
        except BaseException:
            self.close()
            raise

    def _remove(self, fd: int) -> None:
        """Remove it from the interface, if it is there; `fd` is the program."""
        raise NotImplementedError

    def _replaced_by(self, program: HasFileno) -> None:
        """Have `program` in the place of the one that was."""
        old, self._fd = self._fd, copied(program)
        os.close(old)

    def close(self) -> None:
        """Detach. Closing twice does nothing."""
        fd = self.__dict__.pop("_fd", -1)
        if fd < 0:
            return
        try:
            # What a parent attached is not a forked child's to remove.
            if self._pid == os.getpid():
                self._remove(fd)
        finally:
            os.close(fd)
            self._netlink.close()

    def detach(self) -> None:
        """Detach by closing: the kernel has no object that others could hold."""
        self.close()

    def _anchor(self) -> tuple[int, bool]:
        raise TypeError(
            f"{self!r} has no place among the programs of a hook; give a program or link of that"
        )

    def info(self) -> LinkInfo:
        """Not to be had: the kernel keeps no link. `ebpf.query` tells what is attached."""
        raise self._not_a_link("describe")

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Not to be had: the kernel keeps no link."""
        raise self._not_a_link("pin")

    def _not_a_link(self, action: str) -> NotSupportedError:
        return NotSupportedError(f"{action} {self!r}: it is attached over netlink, without a link")


def copied(program: HasFileno) -> int:
    """Another descriptor of the program."""
    return check(int(lib.ebpf_dup(program.fileno())), "duplicate the program's descriptor")


def _remove_own() -> None:
    close_all(list(_open))
