"""Programs of routes: lightweight tunnels (LWT), which see the packets that a route is for."""

from __future__ import annotations

import errno
import ipaddress
import re
from itertools import count

from ebpf._sys import bpf
from ebpf._sys.arguments import check_number, check_objects
from ebpf.errors import BpfError, from_errno
from ebpf.links.create import check_type
from ebpf.links.owner import MARK, is_gone, mark
from ebpf.links.unlinked import Unlinked
from ebpf.net import Interface
from ebpf.net.netlink import Netlink
from ebpf.net.routes import GONE, SEGMENT, BpfRoute, bpf_routes, remove_route, set_route
from ebpf.types import ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.links.base import HasFileno
    from ebpf.net.interface import AnyInterface
    from ebpf.net.namespace import Namespace
    from ebpf.net.routes import Address, Network

_PLACES = {
    ProgramType.LWT_IN: "in",
    ProgramType.LWT_OUT: "out",
    ProgramType.LWT_XMIT: "xmit",
    ProgramType.LWT_SEG6LOCAL: SEGMENT,
}

# Names of programs of routes of this library: the process, a number, the program.
_NAME = re.compile(rf"ebpf:({MARK})_\d+:.*")
_numbers = count(1)

# The kernel's limit (MAX_PROG_NAME and LWT_BPF_MAX_HEADROOM).
_MAX_HEADROOM = 256

_REFUSALS = {
    errno.EEXIST: "there is such a route already; give another metric",
    errno.EOPNOTSUPP: "the kernel was built without programs of such routes"
    " (CONFIG_LWTUNNEL_BPF, CONFIG_IPV6_SEG6_BPF)",
    errno.ENETUNREACH: "the gateway cannot be reached by the interface",
    errno.ENETDOWN: "the interface is down",
}


def attach_lwt(
    program: HasFileno,
    destination: str | Network,
    interface: AnyInterface,
    *,
    gateway: str | Address | None = None,
    metric: int = 0,
    headroom: int = 0,
) -> LwtRoute:
    """Have a program of the LWT types see the packets of a new route.

    As ``ip route add DESTINATION encap bpf out ... dev INTERFACE`` does it: LWT_IN programs run for
    packets that came in and go on by the route, LWT_OUT for those of this machine's sockets,
    LWT_XMIT for both when they are sent, and may redirect or prepend. BPF_OK (0) lets a packet go
    on, BPF_DROP (2) is EPERM to its sender, BPF_REDIRECT (7) is for LWT_XMIT.

    A LWT_SEG6LOCAL program is what a segment does (``encap seg6local action End.BPF``): it runs
    for packets that came in with a segment routing header whose current segment the route has, and
    which has gone on to the next one; BPF_OK sends them there.

    Closing removes the route, and so does the end of the process. After SIGKILL or SIGTERM it
    stays, until `ebpf.links.cleanup` removes it.

    Args:
        destination: the network, such as "10.9.0.0/24"; for LWT_SEG6LOCAL one of IPv6.
        interface: a name or index where the calling thread is, or an `Interface`.
        gateway: the router that the packets go to; without it they go to their own address.
        metric: the route with the lowest is used; 0 for the kernel's choice.
        headroom: bytes that a LWT_XMIT program may want to prepend, up to 256.

    Raises:
        ValueError: no network or address, or of two versions of IP; no headroom that there is.
        BpfFileNotFoundError: ENODEV, there is no such interface.
        BpfFileExistsError: there is such a route already.
        BpfError: EINVAL, the program is of another type; ENETUNREACH, ENETDOWN.
        NotSupportedError: a kernel that was built without it.
    """
    check_objects(program=program)
    network = _network(destination, gateway)
    check_number("metric", metric, 32)
    check_number("headroom", headroom, 32)
    if headroom > _MAX_HEADROOM:
        raise ValueError(f"headroom: {headroom} is more than {_MAX_HEADROOM} bytes")
    found = Interface.of(interface)
    target = f"route to {network} by {found}"
    check_type(program, target, *_PLACES)
    place = _PLACES[ProgramType(bpf.prog_type(program.fileno()))]
    if place == SEGMENT and network.version != 6:
        raise ValueError(f"destination: {network} is no segment, which is an IPv6 network")
    router = None if gateway is None else ipaddress.ip_address(gateway)
    route = BpfRoute(network, found.index, place, _new_name(program), metric, router, headroom)
    link = LwtRoute(program, found, target, route)
    action = f"attach {program!r} to the {target}"
    link._attach(lambda: _set(link._netlink, found, route, program, action))
    return link


def _network(destination: str | Network, gateway: str | Address | None) -> Network:
    network = ipaddress.ip_network(destination)
    if gateway is not None and ipaddress.ip_address(gateway).version != network.version:
        raise ValueError(f"gateway: {gateway} is of another version of IP than {network}")
    return network


def _new_name(program: HasFileno) -> str:
    return f"ebpf:{mark()}_{next(_numbers)}:{getattr(program, 'name', '') or 'program'}"


def _set(
    netlink: Netlink,
    interface: Interface,
    route: BpfRoute,
    program: HasFileno,
    action: str,
    *,
    replace: bool = False,
) -> None:
    try:
        set_route(netlink, route, program.fileno(), action, replace=replace)
    except BpfError as error:
        code = error.errno or 0
        if code in (errno.ENODEV, errno.EINVAL) and not interface.exists():
            raise interface.missing() from None
        if code in _REFUSALS:
            raise from_errno(code, f"{action}: {_REFUSALS[code]}") from None
        raise


class LwtRoute(Unlinked):
    """A route with a program; closing it removes the route."""

    def __init__(
        self, program: HasFileno, interface: Interface, target: str, route: BpfRoute
    ) -> None:
        self._route = route
        # What its program may be called: two names while it is replaced, which may be interrupted.
        self._names: tuple[str, ...] = (route.name,)
        super().__init__(program, interface, target)

    def update(self, program: HasFileno, *, expected: HasFileno | None = None) -> None:
        """Put `program` in the place of the attached one, atomically.

        Raises:
            TypeError: with `expected`, which the kernel does not compare for routes.
            BpfError: EINVAL, the program is of another type; ENOENT, the route is gone.
        """
        if expected is not None:
            raise TypeError(f"update {self!r}: the kernel replaces routes whatever they are")
        self.fileno()
        check_objects(program=program)
        wanted = next(type for type, place in _PLACES.items() if place == self._route.place)
        check_type(program, self.target, wanted)
        found = _find(self._netlink, self._names)
        if found is None:
            raise from_errno(errno.ENOENT, f"update {self!r}: the route was removed")
        # The kernel takes programs of the same name for the same, and would keep the old one.
        route = self._route._replace(name=_new_name(program))
        self._names = (found.name, route.name)
        _set(self._netlink, self.interface, route, program, f"update {self!r}", replace=True)
        self._names = (route.name,)
        self._replaced_by(program)

    def _remove(self, fd: int) -> None:
        found = _find(self._netlink, self._names)
        if found is not None:
            _remove(self._netlink, found)


def _find(netlink: Netlink, names: tuple[str, ...]) -> BpfRoute | None:
    """The route with the program of one of the names, if it is still there."""
    return next((route for route in bpf_routes(netlink) if route.name in names), None)


def _remove(netlink: Netlink, route: BpfRoute) -> None:
    try:
        remove_route(netlink, route, f"remove the route to {route.destination}")
    except BpfError as error:
        # It went since it was found.
        if error.errno not in GONE:
            raise


def remove_stale_routes(netns: Namespace | None = None) -> list[str]:
    """Remove the routes of a namespace that processes which are gone have left."""
    removed = []
    with Netlink(netns) as netlink:
        for route in bpf_routes(netlink):
            match = _NAME.fullmatch(route.name)
            if match is not None and is_gone(match[1]):
                _remove(netlink, route)
                removed.append(f"route to {route.destination}")
    return removed
