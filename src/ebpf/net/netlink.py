"""Netlink messages, as far as attachments to interfaces need them (``<linux/netlink.h>``).

A message is a header, a struct of its family and attributes; an attribute is a length, a number
and what it holds, which may be attributes again. All of it is in the byte order of the machine.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from _thread import RLock

from ebpf._sys.call import fail
from ebpf._sys.descriptor import off_streams
from ebpf.errors import ERRNO_TO_EXCEPTION, BpfError, EbpfError, NotSupportedError, from_errno
from ebpf.net.interface import Interface
from ebpf.net.namespace import inode, run_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from typing_extensions import Self

    from ebpf.net.namespace import Namespace

    # Number -> what it holds: bytes, or attributes again.
    Attributes: TypeAlias = "dict[int, bytes | Attributes]"

# Flags of a request.
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
# Numbers of messages that end an answer.
_ERROR, _DONE = 2, 3
# Flags of an answer: it changed while it was told; attributes follow the code.
_DUMP_INTERRUPTED, _ACK_TLVS = 0x10, 0x200
# How often a dump that was interrupted is asked for again.
_ATTEMPTS = 10
# NETLINK_EXT_ACK and NETLINK_CAP_ACK of SOL_NETLINK: errors come with words, and without a copy
# of the request.
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_ERROR_TEXT = 1
_NESTED, _TYPE_MASK = 0x8000, 0x3FFF

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_CODE = struct.Struct("=i")


def attributes(values: Attributes) -> bytes:
    """Attributes as the kernel reads them."""
    parts = []
    for number, value in values.items():
        kind = number
        if isinstance(value, dict):
            value = attributes(value)
            kind |= _NESTED
        parts += [_ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind), value]
        parts.append(bytes(-len(value) % 4))
    return b"".join(parts)


def parse(data: bytes) -> dict[int, bytes]:
    """The attributes in `data`, one level deep; of two with a number, the last."""
    found = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_MASK] = data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def number(data: bytes | None) -> int:
    """An attribute's unsigned number; 0 where there is no such attribute."""
    return int.from_bytes(data or b"", "little" if sys.byteorder == "little" else "big")


class Netlink:
    """A socket for messages about one network namespace; a context manager.

    It keeps the namespace, also when that has no name and no process any more. Threads may share
    it, a forked child may not.

    Args:
        where: the namespace, or an interface that is in it; None for the calling thread's.
        protocol: what the messages are about: interfaces and routes, or NETLINK_NETFILTER.

    Raises:
        BpfFileNotFoundError, BpfPermissionError: the namespace cannot be entered.
        NotSupportedError: EPROTONOSUPPORT, the kernel was built without this protocol.
    """

    def __init__(
        self, where: Namespace | Interface | None = None, protocol: int = socket.NETLINK_ROUTE
    ) -> None:
        def make() -> tuple[socket.socket, int]:
            return _socket(protocol)

        # A socket stays in the namespace that it was made in, whoever uses it.
        if isinstance(where, Interface):
            self._socket, self.inode = where.inside(make)
        else:
            self._socket, self.inode = run_in(where, make)
        self._sequence = 0
        self._lock = RLock()
        self._pid = os.getpid()
        try:
            self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
            self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
            self._socket.bind((0, 0))
        except BaseException:
            self._socket.close()
            raise

    def check_process(self, action: str) -> None:
        """Refuse a forked child, which would take the answers that its parent waits for.

        Raises:
            EbpfError: the socket was made by another process.
        """
        if self._pid != os.getpid():
            raise EbpfError(f"{action}: it is of process {self._pid}; attach in this one")

    def request(self, kind: int, body: bytes, action: str, flags: int = 0) -> bytes:
        """Ask for one thing: the body of the answer, empty where it is only acknowledged.

        Raises:
            BpfError: what the kernel refused, with its own words where it has any.
        """
        rows, _ = self._exchange(kind, body, flags | _ACK, action)
        return rows[0] if rows else b""

    def dump(self, kind: int, body: bytes, action: str) -> list[bytes]:
        """Ask for all there is; again where that changed meanwhile."""
        for _ in range(_ATTEMPTS):
            rows, interrupted = self._exchange(kind, body, _DUMP, action)
            if not interrupted:
                return rows
        raise from_errno(errno.EINTR, f"{action}: it changed each time that it was asked for")

    def _exchange(
        self, kind: int, body: bytes, flags: int, action: str
    ) -> tuple[list[bytes], bool]:
        """Send a request; what answers it, and whether that changed while it was told."""
        self.check_process(action)
        with self._lock:
            try:
                return self._answers(kind, body, flags, action)
            except BpfError:
                raise
            except OSError as error:
                raise from_errno(error.errno or 0, f"{action}: {error.strerror}") from None

    def _answers(self, kind: int, body: bytes, flags: int, action: str) -> tuple[list[bytes], bool]:
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, flags | _REQUEST, self._sequence, 0)
        self._socket.send(header + body)
        rows: list[bytes] = []
        interrupted = False
        while True:
            for found, flags, content in self._receive():
                interrupted = interrupted or bool(flags & _DUMP_INTERRUPTED)
                if found in (_ERROR, _DONE):
                    _check(found, flags, content, action)
                    return rows, interrupted
                rows.append(content)

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        """Number, flags and content of the next messages that answer the last request."""
        # The length of what waits, so that no answer is cut off.
        length = self._socket.recv_into(bytearray(1), 1, socket.MSG_PEEK | socket.MSG_TRUNC)
        data = self._socket.recv(length)
        at = 0
        while at + _HEADER.size <= len(data):
            length, found, flags, sequence, _ = _HEADER.unpack_from(data, at)
            if sequence == self._sequence:
                yield found, flags, data[at + _HEADER.size : at + length]
            at += (max(length, _HEADER.size) + 3) & ~3

    def close(self) -> None:
        """Give the socket back. Closing twice does nothing."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _socket(protocol: int) -> tuple[socket.socket, int]:
    """A socket of the namespace of the calling thread, and the number of that."""
    number = inode()
    try:
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:
            what = f"the kernel has no netlink protocol {protocol}"
            raise NotSupportedError(what, None, errno.EPROTONOSUPPORT) from None
        raise from_errno(error.errno or 0, "make a netlink socket") from None
    fd = off_streams(made.detach())
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol, fd), number


def _check(found: int, flags: int, content: bytes, action: str) -> None:
    """Raise what an acknowledgement, or the end of a dump, says that went wrong."""
    code = -_CODE.unpack_from(content)[0] if len(content) >= _CODE.size else 0
    if code <= 0:
        return
    # The header of the request comes between the code and the words.
    skipped = _CODE.size + (_HEADER.size if found == _ERROR else 0)
    words = parse(content[skipped:]).get(_ERROR_TEXT, b"") if flags & _ACK_TLVS else b""
    said = words.rstrip(b"\0").decode("utf-8", "replace")
    if not said or code == errno.EPERM:
        fail(code, action, "CAP_NET_ADMIN")
    if code == errno.EOPNOTSUPP:
        raise NotSupportedError(f"{action}: {said}", None, code)
    cls = ERRNO_TO_EXCEPTION.get(code, BpfError)
    raise cls(code, f"{action}: {said}")
