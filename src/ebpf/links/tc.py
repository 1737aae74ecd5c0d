"""Traffic control: programs as filters of the clsact qdisc, for kernels before tcx (6.6).

A filter stays on its interface until it is removed. Its name says which process made it.
"""

from __future__ import annotations

import errno
import re
from itertools import count

from ebpf._sys.arguments import check_number
from ebpf._sys.call import fail
from ebpf.errors import (
    ERRNO_TO_EXCEPTION,
    BpfError,
    BpfFileNotFoundError,
    EbpfError,
    NotSupportedError,
)
from ebpf.links.create import check_type
from ebpf.links.owner import MARK, is_gone, mark
from ebpf.links.unlinked import Unlinked
from ebpf.net import Interface
from ebpf.net.namespace import inode, run_in
from ebpf.net.netlink import Netlink
from ebpf.net.rtnetlink import CLSACT, bpf_filters, remove_clsact, remove_filter
from ebpf.types import ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from ebpf.links.base import HasFileno
    from ebpf.net.interface import AnyInterface
    from ebpf.net.namespace import Namespace
    from ebpf.net.rtnetlink import BpfFilter

# ETH_P_* of <linux/if_ether.h>, by the names that tc has for them.
PROTOCOLS = {"all": 0x3, "ip": 0x800, "arp": 0x806, "802.1q": 0x8100, "ipv6": 0x86DD}

# Names of filters of this library: the process, a number, whether it made the qdisc, the program.
_NAME = re.compile(rf"ebpf:({MARK})_\d+(q?):.*")
_numbers = count(1)

# Interfaces whose qdisc this process made: numbers of namespaces, and indexes.
_qdiscs: set[tuple[int, int]] = set()

# What the clsact qdisc and its BPF filters are built by.
_OPTIONS = "CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_BPF"

_REFUSALS = {
    errno.EEXIST: "a filter with this priority and handle is there already",
    errno.EINVAL: "the kernel takes no such filter; the interface may have an ingress qdisc in the"
    " place of clsact, or the priority one of another protocol",
}


def attach_tc(
    program: HasFileno,
    interface: AnyInterface,
    direction: str,
    *,
    protocol: str | int = "all",
    priority: int = 0,
    handle: int = 0,
    direct_action: bool = True,
) -> TcFilter:
    """Run a SCHED_CLS program as a filter of an interface (``tc filter add ... bpf da``).

    The clsact qdisc is made where there is none. Closing removes the filter, and the qdisc if it
    was made here and has no other filters. After SIGKILL both stay, until `ebpf.links.cleanup`
    removes them. It takes pyroute2: ``pip install 'ebpf[tc]'``.

    Args:
        interface: a name or index where the calling thread is, or an `Interface`.
        direction: "ingress" or "egress".
        protocol: what packets it is for: a key of `PROTOCOLS`, or an ETH_P number.
        priority: filters run from the lowest to the highest (1 to 65535); 0 for the kernel's
            choice, which is 49152 and then one less each time.
        handle: tells filters of the same priority apart (1 to 2^32 - 1); 0 for the kernel's choice.
        direct_action: what the program returns is the verdict (TC_ACT_OK 0, TC_ACT_SHOT 2,
            TC_ACT_REDIRECT 7, TC_ACT_UNSPEC -1 for the next filter); otherwise it is a class.

    Raises:
        EbpfError: pyroute2 is not installed.
        BpfFileNotFoundError: ENODEV, there is no such interface.
        BpfFileExistsError: a filter with this priority and handle is there already.
        BpfError: EINVAL, the program is of another type, or the place is one of other filters.
        NotSupportedError: the kernel was built without the qdisc or its BPF filters.
        BpfPermissionError: it takes CAP_NET_ADMIN.
    """
    if direction not in CLSACT:
        raise ValueError(f"direction: {direction!r} is not 'ingress' or 'egress'")
    number = _protocol(protocol)
    check_number("priority", priority, 16)
    check_number("handle", handle, 32)
    found = Interface.of(interface)
    target = f"tc {direction} of {found}"
    check_type(program, target, ProgramType.SCHED_CLS)
    place = {"parent": CLSACT[direction], "protocol": number, "prio": priority, "handle": handle}
    owner = _own_qdisc(found, target)
    name = f"ebpf:{mark()}_{next(_numbers)}{'q' if owner else ''}:{_name(program)}"
    flags = {"name": name, "direct_action": direct_action}
    try:
        _tc(found, target, "add-filter", "bpf", fd=program.fileno(), **place, **flags)
        row = _find(found, name)
    except BaseException:
        _remove_empty_qdisc(found, owner)
        raise
    if row is None:
        raise BpfFileNotFoundError(errno.ENOENT, f"attach to {target}: it was removed at once")
    return TcFilter(program, found, target, row)


class TcFilter(Unlinked):
    """A program that is a filter of an interface.

    `priority`, `handle` and `protocol` are those that it has.
    """

    def __init__(
        self, program: HasFileno, interface: Interface, target: str, row: BpfFilter
    ) -> None:
        self._row = row
        self.priority, self.handle, self.protocol = row.priority, row.handle, row.protocol
        super().__init__(program, interface, target)

    def update(self, program: HasFileno, *, expected: HasFileno | None = None) -> None:
        """Put `program` in the place of the attached one, atomically.

        Raises:
            TypeError: with `expected`, which the kernel does not compare for filters.
            BpfFileNotFoundError: the filter, or the interface, is gone.
        """
        if expected is not None:
            raise TypeError(f"update {self!r}: the kernel replaces filters whatever they are")
        self.fileno()
        check_type(program, self.target, ProgramType.SCHED_CLS)
        row = self._row
        if _find(self.interface, row.name) is None:
            raise BpfFileNotFoundError(errno.ENOENT, f"update {self!r}: it was removed")
        _tc(
            self.interface,
            self.target,
            *("replace-filter", "bpf"),
            fd=program.fileno(),
            parent=CLSACT[row.parent],
            protocol=row.protocol,
            prio=row.priority,
            handle=row.handle,
            name=row.name,
            direct_action=row.direct_action,
        )
        self._replaced_by(program)

    def _remove(self, fd: int) -> None:
        owner = (match := _NAME.fullmatch(self._row.name)) is not None and bool(match[2])
        try:
            _remove_named(self.interface, self._row.name)
            _remove_empty_qdisc(self.interface, owner)
        except BpfFileNotFoundError:
            # The interface, or its namespace, is gone.
            return


def _protocol(protocol: str | int) -> int:
    if isinstance(protocol, str):
        if protocol not in PROTOCOLS:
            there = ", ".join(PROTOCOLS)
            raise ValueError(f"protocol: {protocol!r} is none of {there}; give its ETH_P number")
        return PROTOCOLS[protocol]
    check_number("protocol", protocol, 16)
    return protocol


def _name(program: HasFileno) -> str:
    return str(getattr(program, "name", "") or "program")


def _own_qdisc(interface: Interface, target: str) -> bool:
    """Make the clsact qdisc if it is not there; whether this process made it."""
    place = (inode(interface.netns), interface.index)
    try:
        _tc(interface, target, "add", "clsact")
    except BpfError as error:
        if error.errno != errno.EEXIST:
            raise
        return place in _qdiscs
    _qdiscs.add(place)
    return True


def _tc(interface: Interface, target: str, command: str, kind: str, **arguments: Any) -> None:
    """A request by pyroute2, where the interface is."""
    try:
        from pyroute2 import IPRoute
        from pyroute2.netlink.exceptions import NetlinkError
    except ImportError as error:
        raise EbpfError(
            f"attach to {target}: it takes pyroute2 ({error}); pip install 'ebpf[tc]'"
        ) from error

    def request() -> None:
        with IPRoute() as route:
            route.tc(command, kind, index=interface.index, **arguments)

    try:
        run_in(interface.netns, request)
    except NetlinkError as error:
        _refuse(interface, f"attach to {target}", int(error.code), str(error.args[-1]))


def _refuse(interface: Interface, action: str, code: int, said: str) -> NoReturn:
    if code == errno.ENODEV:
        raise interface.missing() from None
    if code == errno.EPERM:
        fail(code, action, "CAP_NET_ADMIN")
    if code == errno.ENOENT:
        raise NotSupportedError(f"{action}: not built ({_OPTIONS}): {said}", errno=code) from None
    cls = ERRNO_TO_EXCEPTION.get(code, BpfError)
    raise cls(code, f"{action}: {_REFUSALS.get(code, said)}") from None


def _find(interface: Interface, name: str) -> BpfFilter | None:
    with Netlink(interface.netns) as netlink:
        rows = bpf_filters(netlink, interface.index, interface.name)
    return next((row for row in rows if row.name == name), None)


def _remove_named(interface: Interface, name: str) -> None:
    """Remove the filter with this name, if it is there."""
    with Netlink(interface.netns) as netlink:
        for row in bpf_filters(netlink, interface.index, interface.name):
            if row.name == name:
                remove_filter(netlink, interface.index, row, f"remove a filter of {interface}")


def _remove_empty_qdisc(interface: Interface, owner: bool) -> None:
    """Remove the clsact qdisc that this library made, if it has no filters."""
    if not owner:
        return
    with Netlink(interface.netns) as netlink:
        if remove_clsact(netlink, interface.index, interface.name):
            _qdiscs.discard((inode(interface.netns), interface.index))


def remove_stale_filters(netns: Namespace | None = None) -> list[str]:
    """Remove the filters of processes that are gone, and qdiscs that have none any more."""
    removed = []
    with Netlink(netns) as netlink:
        for interface in Interface.all(netns):
            made = False
            for row in bpf_filters(netlink, interface.index, interface.name):
                match = _NAME.fullmatch(row.name)
                if match is None or not is_gone(match[1]):
                    continue
                remove_filter(netlink, interface.index, row, f"remove a filter of {interface}")
                removed.append(f"tc {row.parent} of {interface}")
                made = made or bool(match[2])
            if made:
                remove_clsact(netlink, interface.index, interface.name)
    return removed
