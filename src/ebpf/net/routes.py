"""Routes that run BPF programs (lightweight tunnels), over rtnetlink.

Every function takes the socket of the namespace that it is about.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct

from ebpf.net.netlink import Netlink, attributes, number, parse
from ebpf.plain import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from ebpf.net.netlink import Attributes

    Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
    Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_REPLACE, _EXCL, _CREATE = 0x100, 0x200, 0x400

# struct rtmsg: family, bits of destination and source, tos, table, protocol, scope, type, flags.
_ROUTE = struct.Struct("=BBBBBBBBI")
_TABLE_MAIN, _STATIC, _UNICAST = 254, 4, 1
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253

_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 1, 4, 5, 6
_RTA_ENCAP_TYPE, _RTA_ENCAP = 21, 22
# LWTUNNEL_ENCAP_BPF, and what is in it; the places are the numbers of LWT_BPF_IN, _OUT, _XMIT.
_ENCAP_BPF = 6
PLACES = {"in": 1, "out": 2, "xmit": 3}
_XMIT_HEADROOM = 4
_PROG_FD, _PROG_NAME = 1, 2
# LWTUNNEL_ENCAP_SEG6_LOCAL, and what is in it of <linux/seg6_local.h>.
_ENCAP_SEG6_LOCAL = 7
_SEG6_ACTION, _SEG6_BPF = 1, 8
_END_BPF = 15
#: The place of a program that is the action of an IPv6 segment.
SEGMENT = "seg6local"

_U16 = struct.Struct("=H")
_U32 = struct.Struct("=I")


class BpfRoute(NamedTuple):
    """A route whose packets a program sees, in the main table."""

    destination: Network
    interface: int
    place: str
    name: str
    metric: int
    gateway: Address | None
    headroom: int = 0


def set_route(netlink: Netlink, route: BpfRoute, fd: int, action: str, *, replace: bool) -> None:
    """Make the route with the program `fd`; or put another program in the route that is there."""
    program: Attributes = {
        _PROG_FD: _U32.pack(fd),
        _PROG_NAME: route.name.encode("utf-8", "replace") + b"\0",
    }
    kind, encap = _encapsulation(route, program)
    more: Attributes = {_RTA_ENCAP_TYPE: _U16.pack(kind), _RTA_ENCAP: encap}
    flags = _REPLACE if replace else _CREATE | _EXCL
    netlink.request(_NEWROUTE, _message(route, more), action, flags)


def _encapsulation(route: BpfRoute, program: Attributes) -> tuple[int, Attributes]:
    """The kind of a route's tunnel, and what says that it is the program."""
    if route.place == SEGMENT:
        return _ENCAP_SEG6_LOCAL, {_SEG6_ACTION: _U32.pack(_END_BPF), _SEG6_BPF: program}
    encap: Attributes = {PLACES[route.place]: program}
    if route.headroom:
        encap[_XMIT_HEADROOM] = _U32.pack(route.headroom)
    return _ENCAP_BPF, encap


def remove_route(netlink: Netlink, route: BpfRoute, action: str) -> None:
    """Remove the route."""
    netlink.request(_DELROUTE, _message(route, {}), action)


def _message(route: BpfRoute, more: Attributes) -> bytes:
    version4 = route.destination.version == 4
    family = socket.AF_INET if version4 else socket.AF_INET6
    scope = _SCOPE_LINK if version4 and route.gateway is None else _SCOPE_UNIVERSE
    head = _ROUTE.pack(
        *(family, route.destination.prefixlen, 0, 0),
        *(_TABLE_MAIN, _STATIC, scope, _UNICAST, 0),
    )
    fields: Attributes = {
        _RTA_DST: route.destination.network_address.packed,
        _RTA_OIF: _U32.pack(route.interface),
    }
    if route.metric:
        fields[_RTA_PRIORITY] = _U32.pack(route.metric)
    if route.gateway is not None:
        fields[_RTA_GATEWAY] = route.gateway.packed
    return head + attributes({**fields, **more})


def bpf_routes(netlink: Netlink) -> list[BpfRoute]:
    """Every route of the main table whose packets a program sees."""
    found = []
    for family in (socket.AF_INET, socket.AF_INET6):
        body = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
        for row in netlink.dump(_GETROUTE, body, "list the routes"):
            route = _bpf_route(row)
            if route is not None:
                found.append(route)
    return found


def _bpf_route(row: bytes) -> BpfRoute | None:
    _, bits, _, _, table, *_ = _ROUTE.unpack_from(row)
    given = parse(row[_ROUTE.size :])
    found = _program(number(given.get(_RTA_ENCAP_TYPE)), parse(given.get(_RTA_ENCAP, b"")))
    if table != _TABLE_MAIN or found is None:
        return None
    place, program = found
    gateway = given.get(_RTA_GATEWAY)
    # The default route names no destination.
    any_address = bytes(4 if row[0] == socket.AF_INET else 16)
    return BpfRoute(
        destination=ipaddress.ip_network((given.get(_RTA_DST, any_address), bits)),
        interface=number(given.get(_RTA_OIF)),
        place=place,
        name=program.get(_PROG_NAME, b"").rstrip(b"\0").decode("utf-8", "replace"),
        metric=number(given.get(_RTA_PRIORITY)),
        gateway=None if gateway is None else ipaddress.ip_address(gateway),
    )


def _program(kind: int, encap: dict[int, bytes]) -> tuple[str, dict[int, bytes]] | None:
    """The place and the attributes of the program of a tunnel; None where it has none."""
    if kind == _ENCAP_SEG6_LOCAL and number(encap.get(_SEG6_ACTION)) == _END_BPF:
        return SEGMENT, parse(encap.get(_SEG6_BPF, b""))
    if kind != _ENCAP_BPF:
        return None
    place = next((name for name, kind in PLACES.items() if kind in encap), "")
    return place, parse(encap.get(PLACES.get(place, 0), b""))


#: What the kernel answers where there is no such route any more.
GONE = (errno.ESRCH, errno.ENODEV, errno.ENETUNREACH)
