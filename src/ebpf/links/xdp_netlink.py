"""XDP over netlink: what ``ip link set dev eth0 xdp`` does, and kernels before 5.9 have only.

The interface keeps the program, and no owner of it. A file in /run/ebpf/xdp, whose name says
everything, tells what was attached by whom.
"""

from __future__ import annotations

import errno
import os
import re
from itertools import count

from ebpf._sys import Descriptor, bpf
from ebpf.errors import (
    BpfError,
    BpfFileNotFoundError,
    BpfPermissionError,
    NotSupportedError,
)
from ebpf.links import records
from ebpf.links.create import check_type
from ebpf.links.lock import alone
from ebpf.links.owner import MARK, is_gone, mark
from ebpf.links.unlinked import Unlinked, copied
from ebpf.links.xdp import MODE_FLAGS, mode_flags, no_such_mode, target_of
from ebpf.net import Interface
from ebpf.net.namespace import inode
from ebpf.net.netlink import Netlink
from ebpf.net.rtnetlink import set_xdp, xdp_attached
from ebpf.plain import NamedTuple
from ebpf.types import ProgramType, XdpMode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.links.base import HasFileno
    from ebpf.net.interface import AnyInterface
    from ebpf.net.namespace import Namespace

# Of XDP_FLAGS_*: only where nothing is attached; only in the place of the expected program (5.7).
_UPDATE_IF_NOEXIST, _REPLACE = 1 << 0, 1 << 4

RECORDS = "/run/ebpf/xdp"

# What is written there and what is attached, change together.
_LOCK = "xdp"

# Process, number of the namespace, index of the interface, id of the program, a number.
_RECORD = re.compile(rf"({MARK})_(\d+)_(\d+)_(\d+)_\d+")
_numbers = count(1)


class _Holder(NamedTuple):
    """A link that stands for what is attached, and the id of that program."""

    number: int
    id: int


class _Request(NamedTuple):
    """What the kernel was asked to attach, for as long as it is not known whether it did."""

    fd: int
    id: int
    record: str


# The link of this process that attached last, by number of the namespace, index of the interface,
# and whether it is in the card.
_latest: dict[tuple[int, int, bool], _Holder] = {}


def attach_xdp_netlink(
    program: HasFileno,
    interface: AnyInterface,
    *,
    mode: XdpMode | None = None,
    replace: HasFileno | None = None,
) -> Unlinked:
    """Attach an XDP program over netlink, without a link.

    It is what `attach_xdp` does on kernels that have no links for XDP, and a way to take over what
    ``ip link`` attached. Closing detaches; after SIGKILL or SIGTERM the program stays on the
    interface, until `ebpf.links.cleanup` removes it.

    Args:
        interface, mode: as for `attach_xdp`.
        replace: the program that is attached, to be replaced by this one atomically.

    Raises:
        BpfFileNotFoundError: ENODEV, there is no such interface.
        BpfFileExistsError: another program than `replace` is attached, or one in another mode.
        BpfError: EBUSY, a program is attached there already, or a link; EINVAL, the program is of
            another type, or was loaded for a map or another device.
        NotSupportedError: the driver has no XDP in this mode.
        BpfPermissionError: it takes CAP_NET_ADMIN. Who may not write in /run leaves nothing there
            by which `ebpf.links.cleanup` could know it.
    """
    found = Interface.of(interface)
    flags = mode_flags(mode) | (_UPDATE_IF_NOEXIST if replace is None else _REPLACE)
    target = f"{target_of(found, mode)} (netlink)"
    check_type(program, target, ProgramType.XDP)
    if replace is not None:
        check_type(replace, target, ProgramType.XDP)
    expected = None if replace is None else replace.fileno()
    link = NetlinkXdp(program, found, target, mode)
    try:
        action = f"attach {program!r} to {target}"
        link._attach(lambda: link._put(program, flags, action, expected))
    except NotSupportedError as error:
        raise no_such_mode(error, found, mode) from None
    return link


class NetlinkXdp(Unlinked):
    """An XDP program that an interface keeps without a link.

    Where another process has attached the same program since, or still has what this one replaced
    by the same, closing leaves it to that.
    """

    _request: _Request | None = None

    def __init__(
        self,
        program: HasFileno,
        interface: Interface,
        target: str,
        mode: XdpMode | None,
    ) -> None:
        self.mode = mode
        self._number = next(_numbers)
        self._record = ""
        super().__init__(program, interface, target)
        self._place = (self._netlink.inode, interface.index, mode is XdpMode.OFFLOAD)

    def update(self, program: HasFileno, *, expected: HasFileno | None = None) -> None:
        """Put `program` in the place of the attached one, atomically.

        Args:
            expected: the program that is attached, if not the one that was attached here.

        Raises:
            BpfFileExistsError: another program than `expected` is attached.
            BpfFileNotFoundError: ENODEV, the interface is gone.
        """
        self._netlink.check_process(f"update {self!r}")
        self._settle()
        old = self.fileno() if expected is None else expected.fileno()
        check_type(program, self.target, ProgramType.XDP)
        self._put(program, mode_flags(self.mode) | _REPLACE, f"update {self!r}", old)

    def _put(self, program: HasFileno, flags: int, action: str, expected: int | None) -> None:
        """Attach `program`, which is written down before."""
        with alone(_LOCK):
            # Kept where Ctrl-C comes between what the kernel does and what is noted of it.
            self._request = self._prepared(program)
            try:
                index, fd = self.interface.index, program.fileno()
                set_xdp(self._netlink, index, fd, flags, action, expected)
            except BpfError as error:
                self._forget_request()
                if error.errno == errno.ENODEV:
                    raise self.interface.missing() from None
                raise
            self._stand_for(self._request)

    def _prepared(self, program: HasFileno) -> _Request:
        """Write down that this process attaches `program`."""
        id = bpf.prog_info(program.fileno())["id"]
        inode, index, _ = self._place
        # One program may be attached twice, and the second attachment be refused.
        name = f"{mark()}_{inode}_{index}_{id}_{next(_numbers)}"
        fd = copied(program)
        try:
            record = records.write(RECORDS, name, f"what is attached to {self.interface}")
        except BaseException:
            os.close(fd)
            raise
        return _Request(fd, id, record)

    def _stand_for(self, request: _Request) -> None:
        """The kernel has done what it was asked for."""
        _latest[self._place] = _Holder(self._number, request.id)
        fd, record = self._fd, self._record
        self._fd, self._record, self._request = request.fd, request.record, None
        os.close(fd)
        records.forget(record)

    def _forget_request(self) -> None:
        """The kernel has not done it, or it is undone."""
        request, self._request = self._request, None
        if request is not None:
            os.close(request.fd)
            records.forget(request.record)

    def _settle(self) -> None:
        """Find out what the kernel made of a request that was interrupted."""
        request = self._request
        if request is None:
            return
        there = xdp_attached(self._netlink, self.interface.index, self.interface.name)
        attached = request.id in [one.program_id for one in there]
        if attached and not self._is_of_another_link(request.id):
            self._stand_for(request)
        else:
            self._forget_request()

    def _is_of_another_link(self, id: int) -> bool:
        """Whether another link of this process stands for that program in this place."""
        holder = _latest.get(self._place)
        return holder is not None and holder.number != self._number and holder.id == id

    def _remove(self, fd: int) -> None:
        with alone(_LOCK):
            request = self._request
            if request is not None and not self._is_of_another_link(request.id):
                self._detach(request.fd, request.id, request.record)
            self._forget_request()
            # The program may be the same again, by another link that took the place of this one.
            holder = _latest.get(self._place)
            if holder is not None and holder.number == self._number:
                del _latest[self._place]
                self._detach(fd, holder.id, self._record)
            records.forget(self._record)

    def _detach(self, fd: int, id: int, record: str) -> None:
        """Detach the program, unless another process that is there has attached the same."""
        if record and _is_held(self._place[:2], id, besides=mark()):
            return
        action = f"detach {self!r}"
        _detach(self._netlink, self.interface.index, fd, mode_flags(self.mode), action)


def _detach(netlink: Netlink, index: int, fd: int, flags: int, action: str) -> bool:
    """Detach the program `fd`; False where it is not attached any more."""
    try:
        set_xdp(netlink, index, -1, flags | _REPLACE, action, fd)
    except BpfError as error:
        # EEXIST: another program is attached; EBUSY: a link; ENODEV: the interface is gone.
        if error.errno not in (errno.EEXIST, errno.EBUSY, errno.ENODEV):
            raise
        return False
    return True


def _is_held(place: tuple[int, int], id: int, besides: str = "") -> bool:
    """Whether a process that is there has attached the program, other than that of a mark."""
    try:
        written = records.names(RECORDS)
    except BpfPermissionError:
        # It has given up the rights by which it wrote there.
        return False
    for name in written:
        match = _RECORD.fullmatch(name)
        if match is None or match[1] == besides:
            continue
        if (int(match[2]), int(match[3]), int(match[4])) == (*place, id) and not is_gone(match[1]):
            return True
    return False


def remove_stale_xdp(netns: Namespace | None = None) -> list[str]:
    """Detach the programs that processes which are gone attached over netlink; the interfaces."""
    removed: list[str] = []
    here = inode(netns)
    with alone(_LOCK):
        for name in records.names(RECORDS):
            match = _RECORD.fullmatch(name)
            if match is None or not is_gone(match[1]):
                continue
            namespace, index, id = int(match[2]), int(match[3]), int(match[4])
            fd = _stale_program((namespace, index), id)
            if fd is not None:
                with Descriptor(fd):
                    # Elsewhere it may still be attached; that is for a call with that namespace.
                    if namespace != here:
                        continue
                    removed += _detach_everywhere(index, netns, id, fd)
            records.forget(f"{RECORDS}/{name}")
    return removed


def _stale_program(place: tuple[int, int], id: int) -> int | None:
    """A descriptor of the program; None if it is gone, or attached in that place by somebody."""
    if _is_held(place, id):
        return None
    try:
        return bpf.prog_get_fd_by_id(id, action=f"open the program with id {id}")
    except BpfFileNotFoundError:
        return None


def _detach_everywhere(index: int, netns: Namespace | None, id: int, fd: int) -> list[str]:
    """Detach the program from the interface `index`, in whatever mode; its name if it was there."""
    with Netlink(netns) as netlink:
        try:
            interface = Interface(index, netns=netns)
            there = xdp_attached(netlink, index, interface.name)
        except BpfFileNotFoundError:
            return []
        modes = [attached.mode for attached in there if attached.program_id == id]
        action = f"detach what a process that is gone attached to {interface}"
        done = [_detach(netlink, index, fd, MODE_FLAGS[mode], action) for mode in modes]
    return [f"xdp of {interface}"] if any(done) else []
