"""Naming a network interface."""

from __future__ import annotations

import errno
import socket

from ebpf._sys.arguments import check_number, check_text
from ebpf.errors import BpfFileNotFoundError
from ebpf.net.namespace import describe, identity, run_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias, TypeVar

    from ebpf.net.namespace import Namespace

    T = TypeVar("T")

    AnyInterface: TypeAlias = "str | int | Interface"

# A message with more names than this has the nearest ones only.
_MANY = 8


class Interface:
    """A network interface, by its name or its index, in a network namespace.

    A value without a descriptor: it stands for the index in that namespace, whatever becomes of
    the interface. Where the name, path or process id of `netns` comes to stand for another
    namespace, it is an error (ENODEV), not the interface with that index there; kernels before
    5.14 may take a new namespace for one that ended before.

    Args:
        interface: the name ("eth0"), or the index.
        netns: where it is: a name that ``ip netns add`` gave, a path, the id of a process that is
            there, or an object with a descriptor of the namespace. By default where the calling
            thread is.

    Raises:
        BpfFileNotFoundError: ENODEV, there is no such interface; the message has those there are.
            ENOENT, there is no such namespace.
        BpfPermissionError: another namespace takes CAP_SYS_ADMIN.
    """

    __slots__ = ("_space", "index", "name", "netns")

    def __init__(self, interface: str | int, *, netns: Namespace | None = None) -> None:
        self.netns = netns
        if isinstance(interface, str):
            check_text("interface", interface)
            self.name = interface
            self.index, self._space = run_in(
                netns, lambda: (_index(interface, netns), _identity(netns))
            )
        else:
            check_number("interface", interface, 31)
            self.index = interface
            self.name, self._space = run_in(
                netns, lambda: (_name(interface, netns), _identity(netns))
            )

    @classmethod
    def of(cls, interface: AnyInterface) -> Interface:
        """`interface` itself, or the one that it names where the calling thread is."""
        return interface if isinstance(interface, Interface) else cls(interface)

    @classmethod
    def all(cls, netns: Namespace | None = None) -> list[Interface]:
        """Every interface of a network namespace, by index."""
        made = []
        found, space = run_in(netns, lambda: (socket.if_nameindex(), _identity(netns)))
        for index, name in sorted(found):
            interface = cls.__new__(cls)
            interface.index, interface.name, interface.netns = index, name, netns
            interface._space = space
            made.append(interface)
        return made

    def exists(self) -> bool:
        """Whether the namespace still has an interface with this index."""
        try:
            self.inside(lambda: _name(self.index, self.netns))
        except BpfFileNotFoundError:
            return False
        return True

    def inside(self, function: Callable[[], T], discard: Callable[[T], object] | None = None) -> T:
        """What `function` returns, called in the interface's network namespace.

        For what the kernel looks up where the caller is: an index that is put into a DEVMAP, the
        address of a socket.

        Args:
            discard: what to do with a result that the caller does not get, because it was
                interrupted (Ctrl-C) while `function` ran in another namespace.

        Raises:
            BpfFileNotFoundError: ENODEV, `netns` stands for another namespace now; ENOENT, for
                none.
        """
        return run_in(self.netns, lambda: self._checked(function), discard)

    def _checked(self, function: Callable[[], T]) -> T:
        if self._space != _identity(self.netns):
            raise BpfFileNotFoundError(
                errno.ENODEV,
                f"the {describe(self.netns)} is another one than that with {self.name} (index"
                f" {self.index})",
            )
        return function()

    def missing(self) -> BpfFileNotFoundError:
        """The exception that says that it is gone."""
        what = f"interface {self.name} (index {self.index})"
        try:
            return self.inside(lambda: _missing(what, "is gone from", self.netns))
        except BpfFileNotFoundError as error:
            # So is its namespace.
            return error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Interface):
            return NotImplemented
        return (self.index, self._space) == (other.index, other._space)

    def __hash__(self) -> int:
        return hash(self.index)

    def __str__(self) -> str:
        return self.name + (f" in {describe(self.netns)}" if self.netns is not None else "")

    def __repr__(self) -> str:
        netns = "" if self.netns is None else f", netns={self.netns!r}"
        return f"ebpf.Interface({self.name!r}, index={self.index}{netns})"


def _identity(netns: Namespace | None) -> int:
    """Of a namespace that is not the thread's own, which of all it is."""
    return 0 if netns is None else identity()


def _index(name: str, netns: Namespace | None) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise _missing(f"interface {name!r}", "is not in", netns, name) from None


def _name(index: int, netns: Namespace | None) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        raise _missing(f"interface {index}", "is not in", netns) from None


def _missing(
    what: str, is_not: str, netns: Namespace | None, name: str = ""
) -> BpfFileNotFoundError:
    there = [found for _, found in socket.if_nameindex()]
    if len(there) > _MANY:
        import difflib

        there = difflib.get_close_matches(name, there, n=_MANY, cutoff=0.0)
    return BpfFileNotFoundError(
        errno.ENODEV,
        f"{what} {is_not} {describe(netns) or 'this network namespace'}; there are"
        f" {', '.join(there)}",
    )
