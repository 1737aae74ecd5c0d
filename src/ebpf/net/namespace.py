"""Network namespaces: naming one, and doing something in it."""

from __future__ import annotations

import errno
import os
import socket
import sys
from _thread import get_native_id

from ebpf._sys import check, lib
from ebpf._sys.arguments import check_number
from ebpf._sys.call import fail
from ebpf.errors import BpfError, from_errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, TypeAlias, TypeVar

    class HasFileno(Protocol):
        def fileno(self) -> int: ...

    Namespace: TypeAlias = str | os.PathLike[str] | int | HasFileno
    T = TypeVar("T")

# SO_NETNS_COOKIE (5.14, uapi asm-generic/socket.h).
_SO_NETNS_COOKIE = 71

# Seconds in which a thread begins.
_START = 2.0

# Where `ip netns add` keeps its namespaces.
NAMED = "/run/netns"


def describe(netns: Namespace | None) -> str:
    """How messages call a namespace: "network namespace blue"; "" for the caller's own."""
    if netns is None:
        return ""
    if isinstance(netns, int):
        return f"network namespace of process {netns}"
    if isinstance(netns, (str, os.PathLike)):
        return f"network namespace {os.fspath(netns)}"
    return f"network namespace {netns!r}"


def open_namespace(netns: Namespace) -> int:
    """A descriptor of `netns`, which is the caller's to close.

    Args:
        netns: a name that ``ip netns add`` gave, the path of a namespace's file, the id of
            a process that is in it, or an object with its descriptor.

    Raises:
        BpfFileNotFoundError: no such file, or no such process.
        BpfPermissionError: it is not this process's to open.
    """
    if isinstance(netns, (str, os.PathLike)):
        path = os.fspath(netns)
        path = path if "/" in path else f"{NAMED}/{path}"
    elif isinstance(netns, int):
        check_number("netns", netns, 31)
        path = f"/proc/{netns}/ns/net"
    elif callable(getattr(netns, "fileno", None)):
        return _copy(netns)
    else:
        raise TypeError(f"netns: {netns!r} is no name, path, process id or object with fileno")
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise from_errno(error.errno or 0, f"{describe(netns)}: open {path}") from None


def _copy(netns: HasFileno) -> int:
    try:
        return os.dup(netns.fileno())
    except OSError as error:
        code = error.errno or 0
        raise from_errno(code, f"{describe(netns)}: its descriptor was closed") from None


def run_in(
    netns: Namespace | None,
    function: Callable[[], T],
    discard: Callable[[T], object] | None = None,
) -> T:
    """What `function` returns or raises, called in the network namespace `netns`.

    None is the caller's own. Another one is entered by a thread that ends with the call, so that
    nothing else of the process is moved.

    Args:
        discard: what to do with a result that the caller does not get: it was interrupted.

    Raises:
        BpfPermissionError: entering a namespace takes CAP_SYS_ADMIN.
        BpfError: EINVAL, `netns` is no network namespace.
    """
    if netns is None:
        return function()
    from threading import Event, Thread

    begun, done = Event(), Event()
    fd = open_namespace(netns)
    caller = get_native_id()
    outcome: list[T] = []
    failure: list[BaseException] = []

    def enter() -> None:
        _enter(fd, netns)
        outcome.append(function())

    def run() -> None:
        # The descriptor is this thread's: the caller may have been interrupted meanwhile.
        begun.set()
        try:
            # Some frameworks (gevent) have threads that are none of the kernel's.
            _there_and_back(enter) if get_native_id() == caller else enter()
        except BaseException as error:  # noqa: BLE001 raised by the caller's thread
            failure.append(error)
        finally:
            os.close(fd)
            done.set()

    try:
        Thread(target=run, name="ebpf-netns", daemon=True).start()
        # Not by join(), which takes a thread whose end it did not wait for to have ended (3.11).
        done.wait()
    except RuntimeError:
        # Some Pythons start no thread any more when the process ends.
        run()
    except BaseException:
        # What interrupted may have come before the thread was.
        if begun.wait(_START):
            done.wait()
        if outcome and discard is not None:
            discard(outcome[0])
        raise
    if failure:
        try:
            raise failure[0]
        finally:
            failure.clear()
    return outcome[0]


def _there_and_back(enter: Callable[[], None]) -> None:
    """Call what moves this thread to another namespace, and move it back."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            enter()
        finally:
            back = "return to the own network namespace, which this thread has left"
            check(int(lib.ebpf_enter_network(own)), back)
    finally:
        os.close(own)


def _enter(fd: int, netns: Namespace) -> None:
    result = int(lib.ebpf_enter_network(fd))
    if result == -errno.EINVAL:
        raise BpfError(errno.EINVAL, f"{describe(netns)}: this is no network namespace")
    if result < 0:
        fail(-result, f"enter the {describe(netns)}", "CAP_SYS_ADMIN")


def inode(netns: Namespace | None = None) -> int:
    """The number by which the kernel tells a namespace from the others, while it is there."""
    if netns is None:
        return os.stat("/proc/thread-self/ns/net").st_ino
    fd = open_namespace(netns)
    try:
        return os.fstat(fd).st_ino
    finally:
        os.close(fd)


def identity() -> int:
    """What tells the network namespace of the calling thread from any other since the boot.

    Before 5.14 its `inode`, which a later namespace may have again.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as any_socket:
        return cookie_of(any_socket) or inode()


def cookie_of(made: socket.socket) -> int:
    """The number that no other network namespace ever has than this socket's; 0 before 5.14."""
    try:
        cookie = made.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            raise
        return 0
    return int.from_bytes(cookie, "little" if sys.byteorder == "little" else "big")
