"""Traffic control: programs as filters of the clsact qdisc, for kernels before tcx (6.6).

A filter stays on its interface until it is removed. Its name says which process made it.
"""

from __future__ import annotations

import errno
import os
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
from ebpf.links.lock import alone
from ebpf.links.owner import MARK, is_gone, mark
from ebpf.links.unlinked import Unlinked
from ebpf.net import Interface
from ebpf.net.netlink import Netlink
from ebpf.net.rtnetlink import (
    CLSACT,
    bpf_filters,
    ingress_qdisc,
    remove_clsact,
    remove_filter,
)
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

# The qdiscs that this process made, by number of the namespace and index of the interface, and its
# filters there: these keep the namespace, whose number another one has later.
_qdiscs: dict[tuple[int, int], set[int]] = {}

# How often a filter is added whose qdisc somebody removes in between.
_ATTEMPTS = 5

# What the clsact qdisc and its BPF filters are built by.
_OPTIONS = "CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_BPF"

_REFUSALS = {
    errno.EEXIST: "a filter with this priority and handle is there already",
    errno.EINVAL: "the kernel takes no such filter; the priority may be one of another protocol",
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
    was made here and has no other filters. After SIGKILL or SIGTERM both stay, until
    `ebpf.links.cleanup` removes them. It takes pyroute2: ``pip install 'ebpf[tc]'``.

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
        BpfError: EINVAL, the program is of another type, the place is one of other filters, or the
            interface has the older ingress qdisc, which has no egress.
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
    link = TcFilter(program, found, target, direction)
    link._attach(lambda: link._add(program, direct_action=direct_action, **place))
    return link


class TcFilter(Unlinked):
    """A program that is a filter of an interface.

    `priority`, `handle` and `protocol` are those that it has.
    """

    def __init__(
        self, program: HasFileno, interface: Interface, target: str, direction: str
    ) -> None:
        self.priority = self.handle = self.protocol = 0
        self._direction = direction
        self._number = next(_numbers)
        self._row: BpfFilter | None = None
        self._name = ""
        super().__init__(program, interface, target)
        self._place = (self._netlink.inode, interface.index)

    def _add(self, program: HasFileno, **place: Any) -> None:
        """Add the filter; again where somebody has removed the qdisc in between."""
        for _ in range(_ATTEMPTS):
            with alone("tc"):
                row = self._added(program, place)
            if row is not None:
                self._row = row
                self.priority, self.handle, self.protocol = row.priority, row.handle, row.protocol
                return
        raise BpfFileNotFoundError(
            errno.ENOENT, f"attach to {self.target}: it was removed each time that it was made"
        )

    def _added(self, program: HasFileno, place: dict[str, Any]) -> BpfFilter | None:
        """Add the filter once; None where it, or the qdisc, was removed at once."""
        owner = self._own_qdisc()
        self._name = f"ebpf:{mark()}_{self._number}{'q' if owner else ''}:{_name(program)}"
        request = {"fd": program.fileno(), "name": self._name, **place}
        try:
            _tc(self.interface, self.target, "add-filter", "bpf", **request)
        except BpfError:
            if self._ingress_qdisc() or not self.interface.exists():
                raise
            return None
        return _find(self._netlink, self.interface, self._name)

    def _own_qdisc(self) -> bool:
        """Make the clsact qdisc if it is not there; whether this process made it."""
        try:
            _tc(self.interface, self.target, "add", "clsact")
        except BpfError as error:
            if error.errno != errno.EEXIST:
                raise
            self._check_qdisc()
        else:
            _qdiscs[self._place] = set()
        if self._place in _qdiscs:
            _qdiscs[self._place].add(self._number)
        return self._place in _qdiscs

    def _check_qdisc(self) -> None:
        # What is added to that as egress, it runs at ingress.
        if self._direction == "egress" and self._ingress_qdisc() == "ingress":
            name = self.interface.name
            raise BpfError(
                errno.EINVAL,
                f"attach to {self.target}: {name} has the older ingress qdisc, which has no"
                f" egress; use attach_tcx, or replace it (tc qdisc delete dev {name} ingress)",
            )

    def _ingress_qdisc(self) -> str:
        return ingress_qdisc(self._netlink, self.interface.index, self.interface.name)

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
        if row is None or _find(self._netlink, self.interface, row.name) is None:
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
        index, name = self.interface.index, self.interface.name
        with alone("tc"):
            filters = _qdiscs.get(self._place)
            # Also where it cannot be removed: a later namespace may have the number of this one.
            if filters is not None:
                filters.discard(self._number)
            try:
                row = _find(self._netlink, self.interface, self._name) if self._name else None
                if row is not None:
                    remove_filter(self._netlink, index, row, f"detach {self!r}")
                if filters is not None and remove_clsact(self._netlink, index, name):
                    filters.clear()
            finally:
                if not filters:
                    _qdiscs.pop(self._place, None)


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
        interface.inside(request)
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
    meaning = _REFUSALS.get(code, said)
    if said not in (meaning, os.strerror(code)):
        meaning += f"; the kernel says: {said}"
    raise cls(code, f"{action}: {meaning}") from None


def _find(netlink: Netlink, interface: Interface, name: str) -> BpfFilter | None:
    rows = bpf_filters(netlink, interface.index, interface.name)
    return next((row for row in rows if row.name == name), None)


def remove_stale_filters(netns: Namespace | None = None) -> list[str]:
    """Remove the filters of processes that are gone, and qdiscs that have none any more."""
    removed = []
    with alone("tc"), Netlink(netns) as netlink:
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
