"""Naming a network interface."""

from __future__ import annotations

import errno
import socket

from ebpf._sys.arguments import check_number, check_text
from ebpf.errors import BpfFileNotFoundError
from ebpf.net.namespace import describe, run_in

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

    A value without a descriptor: it stands for the index, whatever becomes of the interface.

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

    __slots__ = ("index", "name", "netns")

    def __init__(self, interface: str | int, *, netns: Namespace | None = None) -> None:
        self.netns = netns
        if isinstance(interface, str):
            check_text("interface", interface)
            self.name = interface
            self.index = run_in(netns, lambda: _index(interface, netns))
        else:
            check_number("interface", interface, 31)
            self.index = interface
            self.name = run_in(netns, lambda: _name(interface, netns))

    @classmethod
    def of(cls, interface: AnyInterface) -> Interface:
        """`interface` itself, or the one that it names where the calling thread is."""
        return interface if isinstance(interface, Interface) else cls(interface)

    @classmethod
    def all(cls, netns: Namespace | None = None) -> list[Interface]:
        """Every interface of a network namespace, by index."""
        made = []
        for index, name in sorted(run_in(netns, socket.if_nameindex)):
            interface = cls.__new__(cls)
            interface.index, interface.name, interface.netns = index, name, netns
            made.append(interface)
        return made

    def exists(self) -> bool:
        """Whether the namespace still has an interface with this index."""
        try:
            run_in(self.netns, lambda: _name(self.index, self.netns))
        except BpfFileNotFoundError:
            return False
        return True

    def inside(self, function: Callable[[], T]) -> T:
        """What `function` returns, called in the interface's network namespace.

        For what the kernel looks up where the caller is: an index that is put into a DEVMAP, the
        address of a socket.
        """
        return run_in(self.netns, function)

    def missing(self) -> BpfFileNotFoundError:
        """The exception that says that it is gone."""
        return _missing(f"interface {self.name} (index {self.index})", "is gone from", self.netns)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Interface):
            return NotImplemented
        return (self.index, self.netns) == (other.index, other.netns)

    def __hash__(self) -> int:
        return hash(self.index)

    def __str__(self) -> str:
        return self.name + (f" in {describe(self.netns)}" if self.netns is not None else "")

    def __repr__(self) -> str:
        netns = "" if self.netns is None else f", netns={self.netns!r}"
        return f"ebpf.Interface({self.name!r}, index={self.index}{netns})"


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
    there = [found for _, found in run_in(netns, socket.if_nameindex)]
    if len(there) > _MANY:
        import difflib

        there = difflib.get_close_matches(name, there, n=_MANY, cutoff=0.0)
    return BpfFileNotFoundError(
        errno.ENODEV,
        f"{what} {is_not} {describe(netns) or 'this network namespace'}; there are"
        f" {', '.join(there)}",
    )
