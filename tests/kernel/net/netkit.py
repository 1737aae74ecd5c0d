"""Making a pair of netkit interfaces, which iproute2 can from 6.7 on."""

from __future__ import annotations

import os
import socket
import struct

_NEWLINK, _REQUEST, _ACK, _CREATE = 16, 0x1, 0x4, 0x600
_IFNAME, _LINKINFO, _NET_NS_FD = 3, 18, 28
_INFO_KIND, _INFO_DATA = 1, 2
_NETKIT_PEER_INFO = 1


def add_pair(primary: str, peer: str, peer_namespace: int) -> None:
    """Make `primary` here and `peer` in the namespace with that descriptor."""
    there = _link() + _attribute(_IFNAME, peer.encode() + b"\0")
    there += _attribute(_NET_NS_FD, struct.pack("=I", peer_namespace))
    data = _attribute(_NETKIT_PEER_INFO, there)
    info = _attribute(_INFO_KIND, b"netkit\0") + _attribute(_INFO_DATA, data)
    body = _link() + _attribute(_IFNAME, primary.encode() + b"\0") + _attribute(_LINKINFO, info)
    header = struct.pack("=IHHII", 16 + len(body), _NEWLINK, _REQUEST | _ACK | _CREATE, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(header + body)
        (code,) = struct.unpack_from("=i", netlink.recv(4096), 16)
    if code:
        raise OSError(-code, os.strerror(-code))


def _link() -> bytes:
    return struct.pack("=BxHiII", 0, 0, 0, 0, 0)


def _attribute(number: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), number) + data + bytes(-len(data) % 4)
