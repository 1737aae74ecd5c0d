"""Programs of a socket: filters, and who of a group of sockets gets a packet."""

from __future__ import annotations

import errno
import os
import weakref

from ebpf._sys.arguments import check_objects
from ebpf.errors import BpfError, ClosedError, NotSupportedError, from_errno
from ebpf.links.base import Link
from ebpf.links.create import check_type
from ebpf.net.namespace import cookie_of
from ebpf.types import ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from typing_extensions import Self

    from ebpf.info import LinkInfo
    from ebpf.links.base import HasFileno

# Options of SOL_SOCKET (uapi asm-generic/socket.h), which the socket module does not name.
_SO_ATTACH_BPF = 50
_SO_DETACH_BPF = 27
_SO_ATTACH_REUSEPORT_EBPF = 52
_SO_DETACH_REUSEPORT_BPF = 68

# Options that tell sockets, and groups of them, apart (5.0).
_SO_COOKIE, _SO_BINDTOIFINDEX = 57, 62

# Who attached last in this process, by the option that detaches, and the socket or group.
_latest: weakref.WeakValueDictionary[tuple[object, ...], SocketAttachment] = (
    weakref.WeakValueDictionary()
)

_FILTER_REFUSALS = {
    errno.ENOTSOCK: "this is no socket",
    errno.EPERM: "the socket's filter is locked (SO_LOCK_FILTER)",
}
_GROUP_REFUSALS = {
    errno.ENOTSOCK: "this is no socket",
    errno.EINVAL: "the socket is in no group: set SO_REUSEPORT and bind it",
    errno.ENOPROTOOPT: "only TCP and UDP sockets are in groups that take programs of this type",
    errno.EOPNOTSUPP: "only TCP and UDP sockets are in groups",
}


def attach_socket_filter(program: HasFileno, socket: HasFileno) -> Link:
    """Have a SOCKET_FILTER program judge what a socket receives (SO_ATTACH_BPF).

    It returns how many bytes of the packet are kept, 0 to drop it. A filter that the socket has is
    replaced: its attachment is closed without an effect. It ends when it is closed, which leaves
    the socket without a filter, and with the socket, which the attachment does not keep open.

    Raises:
        BpfError: ENOTSOCK; EPERM, the filter is locked; EINVAL, the program is of another type.
    """
    target = f"socket {_named(socket)}"
    check_type(program, target, ProgramType.SOCKET_FILTER)
    what = f"attach {program!r} to the {target}"
    identity = _attach(socket, _SO_ATTACH_BPF, program, what, _FILTER_REFUSALS)
    return SocketAttachment(socket, _SO_DETACH_BPF, identity, target)


def attach_reuseport(program: HasFileno, socket: HasFileno) -> Link:
    """Have a program choose the socket that gets a packet or connection, among those of a port.

    The sockets have SO_REUSEPORT and the same address: `socket` stands for them all. A SK_REUSEPORT
    program calls bpf_sk_select_reuseport(); a SOCKET_FILTER program returns the number of the
    socket, in the order in which they were bound (SO_ATTACH_REUSEPORT_EBPF).

    It ends when it is closed, if `socket` is still open and no other program has taken its place,
    and with the last socket of the group.

    Raises:
        BpfError: ENOTSOCK; EINVAL, the socket is in no group, or the program is of another type.
    """
    target = f"group of the socket {_named(socket)}"
    check_type(program, target, ProgramType.SK_REUSEPORT, ProgramType.SOCKET_FILTER)
    what = f"attach {program!r} to the {target}"
    identity = _attach(socket, _SO_ATTACH_REUSEPORT_EBPF, program, what, _GROUP_REFUSALS)
    return SocketAttachment(socket, _SO_DETACH_REUSEPORT_BPF, identity, target)


def _named(socket: HasFileno) -> str:
    check_objects(socket=socket)
    return f"with descriptor {socket.fileno()}"


def _attach(
    socket: HasFileno, option: int, program: HasFileno, what: str, refusals: dict[int, str]
) -> tuple[object, ...]:
    """Set the option; what tells the socket, or its group, from all others."""
    try:
        # Before: what fails afterwards, for want of a descriptor, would leave it to nobody.
        identity = _identity(socket.fileno(), group=option == _SO_ATTACH_REUSEPORT_EBPF)
        _setsockopt(socket.fileno(), option, program.fileno())
    except OSError as error:
        code = error.errno or 0
        meaning = refusals.get(code)
        raise from_errno(code, f"{what}: {meaning}" if meaning else what) from None
    return identity


def _setsockopt(fd: int, option: int, value: int) -> None:
    from socket import SOL_SOCKET

    with _opened(fd) as same:
        same.setsockopt(SOL_SOCKET, option, value)


def _opened(fd: int) -> socket:
    """The socket as an object, with a descriptor of its own."""
    from socket import socket

    copy = os.dup(fd)
    try:
        return socket(fileno=copy)
    except BaseException:
        os.close(copy)
        raise


def _identity(fd: int, *, group: bool) -> tuple[object, ...]:
    """What tells a socket from all others, or the group of those that share its address."""
    from socket import SOL_SOCKET

    with _opened(fd) as same:
        if not group:
            return (same.getsockopt(SOL_SOCKET, _SO_COOKIE, 8),)
        device = same.getsockopt(SOL_SOCKET, _SO_BINDTOIFINDEX)
        return (cookie_of(same), same.type, same.proto, device, same.getsockname())


def _weak(socket: HasFileno) -> Callable[[], HasFileno | None]:
    try:
        return weakref.ref(socket)
    except TypeError:
        # Of a class that takes no such references; it is no socket.socket.
        return lambda: socket


class SocketAttachment(Link):
    """A program of a socket, for which the kernel has no link."""

    def __init__(
        self, socket: HasFileno, detach: int, identity: tuple[object, ...], target: str
    ) -> None:
        super().__init__(-1, target)
        # What the socket, or the group, has now is what was attached to it last.
        self._key = (detach, *identity)
        _latest[self._key] = self
        # Closing the socket is to end the connection, so nothing here may keep it open.
        self._socket: Callable[[], HasFileno | None] | None = _weak(socket)
        self._detach = detach
        self._pid = os.getpid()

    @property
    def closed(self) -> bool:
        """True once `close` was called."""
        return self._socket is None

    def fileno(self) -> int:
        """Not to be had: the kernel keeps no link."""
        raise self._not_a_link("take the descriptor of")

    def info(self) -> LinkInfo:
        """Not to be had: the kernel keeps no link."""
        raise self._not_a_link("describe")

    def update(self, program: HasFileno, *, expected: HasFileno | None = None) -> None:
        """Not to be had: attach the other program, which takes the place of this."""
        raise self._not_a_link("update")

    def detach(self) -> None:
        """Detach by closing."""
        self.close()

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Not to be had: the kernel keeps no link."""
        raise self._not_a_link("pin")

    def close(self) -> None:
        """Detach, if the socket is open. Closing twice does nothing."""
        found, self._socket = self._socket, None
        socket = found() if found is not None else None
        if socket is None or socket.fileno() < 0 or self._pid != os.getpid():
            # What a parent attached is not a forked child's to detach.
            return
        if _latest.get(self._key) is not self:
            # Another program has taken its place.
            return
        del _latest[self._key]
        try:
            _setsockopt(socket.fileno(), self._detach, 0)
        except OSError as error:
            # Detached by somebody else; a group has one program, that the last socket took along.
            if error.errno not in (errno.ENOENT, errno.EINVAL):
                raise BpfError(error.errno or 0, f"detach from {self!r}: {error}") from None

    def __enter__(self) -> Self:
        if self.closed:
            raise ClosedError(f"{self!r} is closed")
        return self

    def _not_a_link(self, action: str) -> NotSupportedError:
        return NotSupportedError(f"{action} {self!r}: programs of sockets have no links")

    def __repr__(self) -> str:
        state = "closed" if self._socket is None else "attached"
        return f"<ebpf.SocketAttachment to {self.target} {state}>"
