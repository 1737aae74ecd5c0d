"""XDP over netlink: what ``ip link set dev eth0 xdp`` does, and kernels before 5.9 have only.

The interface keeps the program, and no owner of it. A file in /run/ebpf/xdp, whose name says
everything, tells what was attached by whom.
"""

from __future__ import annotations

import errno
import os
import re
from itertools import count

from ebpf._sys import bpf
from ebpf.errors import BpfError, BpfFileNotFoundError, NotSupportedError, from_errno
from ebpf.links.create import check_type
from ebpf.links.owner import MARK, is_gone, mark
from ebpf.links.unlinked import Unlinked
from ebpf.links.xdp import MODE_FLAGS, mode_flags, no_such_mode, target_of
from ebpf.net import Interface
from ebpf.net.namespace import inode
from ebpf.net.netlink import Netlink
from ebpf.net.rtnetlink import set_xdp, xdp_attached
from ebpf.types import ProgramType, XdpMode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.links.base import HasFileno
    from ebpf.net.interface import AnyInterface
    from ebpf.net.namespace import Namespace

# Of XDP_FLAGS_*: only where nothing is attached; only in the place of the expected program (5.7).
_UPDATE_IF_NOEXIST, _REPLACE = 1 << 0, 1 << 4

RECORDS = "/run/ebpf/xdp"

# Whoever may attach (CAP_NET_ADMIN, CAP_BPF) need not be able to write there.
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)

# Process, number of the namespace, index of the interface, id of the program, a number.
_RECORD = re.compile(rf"({MARK})_(\d+)_(\d+)_(\d+)_\d+")
_numbers = count(1)

# The link of this process that attached last, by number of the namespace, index of the interface,
# and whether it is in the card.
_latest: dict[tuple[int, int, bool], int] = {}


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
    """An XDP program that an interface keeps without a link."""

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
        old = self.fileno() if expected is None else expected.fileno()
        check_type(program, self.target, ProgramType.XDP)
        self._put(program, mode_flags(self.mode) | _REPLACE, f"update {self!r}", old)
        self._replaced_by(program)

    def _put(self, program: HasFileno, flags: int, action: str, expected: int | None) -> None:
        """Attach `program`, which is written down before."""
        record = self._written(program)
        try:
            set_xdp(self._netlink, self.interface.index, program.fileno(), flags, action, expected)
        except BpfError as error:
            _forget(record)
            if error.errno == errno.ENODEV:
                raise self.interface.missing() from None
            raise
        except BaseException:
            self._interrupted(program, record)
            raise
        before, self._record = self._record, record
        _latest[self._place] = self._number
        _forget(before)

    def _interrupted(self, program: HasFileno, record: str) -> None:
        """Detach what may be attached, unless another link of this process stands for it."""
        if self._place not in _latest:
            self._detach(program.fileno())
            _forget(record)

    def _written(self, program: HasFileno) -> str:
        """Write down that this process attaches `program`; the file, "" where it may not."""
        id = bpf.prog_info(program.fileno())["id"]
        inode, index, _ = self._place
        # One program may be attached twice, and the second attachment be refused.
        path = f"{RECORDS}/{mark()}_{inode}_{index}_{id}_{next(_numbers)}"
        try:
            os.makedirs(RECORDS, mode=0o700, exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            if error.errno in _NOT_ALLOWED:
                return ""
            raise from_errno(
                error.errno or 0, f"write down in {RECORDS} what is attached to {self.interface}"
            ) from None
        return path

    def _detach(self, fd: int) -> None:
        _detach(self._netlink, self.interface.index, fd, mode_flags(self.mode), f"detach {self!r}")

    def _remove(self, fd: int) -> None:
        # The program may be the same again, by another link that took the place of this one.
        if _latest.get(self._place) == self._number:
            del _latest[self._place]
            self._detach(fd)
        _forget(self._record)


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


def _forget(record: str) -> None:
    if not record:
        return
    try:
        os.unlink(record)
    except FileNotFoundError:
        # Somebody has emptied the directory.
        return


def _records() -> list[str]:
    """What is written down, of all processes."""
    try:
        return sorted(os.listdir(RECORDS))
    except FileNotFoundError:
        return []
    except OSError as error:
        what = f"list {RECORDS}, where it is written down what processes attached"
        raise from_errno(error.errno or 0, what) from None


def remove_stale_xdp(netns: Namespace | None = None) -> list[str]:
    """Detach the programs that processes which are gone attached over netlink; the interfaces."""
    removed: list[str] = []
    here = inode(netns)
    for name in _records():
        match = _RECORD.fullmatch(name)
        if match is None or not is_gone(match[1]):
            continue
        namespace, index, id = int(match[2]), int(match[3]), int(match[4])
        try:
            fd = bpf.prog_get_fd_by_id(id, action=f"open the program with id {id}")
        except BpfFileNotFoundError:
            # Nothing has it attached any more.
            _forget(f"{RECORDS}/{name}")
            continue
        try:
            # Elsewhere it may still be attached; that is for a call with that namespace.
            if namespace == here:
                removed += _detach_everywhere(index, netns, id, fd)
                _forget(f"{RECORDS}/{name}")
        finally:
            os.close(fd)
    return removed


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
